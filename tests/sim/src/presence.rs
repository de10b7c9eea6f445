//! P1 at the end of a run, where objects sleep: whatever happened before, everybody sees who is there; whoever goes is
//! seen to go in time, whoever comes back within the grace is not, and a lost host leaves nobody online for ever.

use std::collections::BTreeSet;

use crate::history::Id;
use crate::world::{Event, World, tell};

/// For what is on its way between client, gateway, User and the watchers' gateways, and for `PRESENCE_COALESCE_MS`.
const SLACK_US: u64 = 4_000_000;
/// A clean close is told after this time (P1).
const CLEAN_US: u64 = 2_000_000;
/// A loss that the host notices: up to 2 s until then, and the grace of 10 s.
const LOST_US: u64 = 12_000_000;
/// A half-open socket is closed by the first sweep more than 45 s after its last sign of life. Pongs follow sweeps, so
/// behind a pong that is the third one, within 60 s; behind another frame at most 45 s and one sweep of 20 s. The loss is
/// old then: it is told like a clean close.
const HALF_OPEN_US: u64 = 65_000_000 + CLEAN_US;
/// Gateways whose sockets were cut with the host wake for their next sweep at the latest, then the grace.
const DEPLOY_US: u64 = 20_000_000 + 10_000_000;
/// From the first connection to being seen.
const BACK_US: u64 = 8_000_000;
/// Time to connect and to ask who is there.
const ASK_US: u64 = 15_000_000;

/// How somebody goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Clean,
    Lost,
    HalfOpen,
    Deploy,
    /// Back within the grace.
    Flap,
    /// All of them, back within the grace.
    DeployFlap,
}

const WAYS: [Way; 6] = [Way::Clean, Way::Lost, Way::HalfOpen, Way::Deploy, Way::Flap, Way::DeployFlap];

impl World {
    /// Everybody is connected and nothing fails any more.
    pub(crate) fn check_presence(&mut self) {
        self.all_sleep();
        for client in &mut self.clients {
            client.view = None;
        }
        // Whoever was left behind half open is gone by then.
        self.rest(HALF_OPEN_US + ASK_US);
        self.views_hold("at rest", None);
        let Some(way) = self.rng.pick(&WAYS).copied() else { return };
        let watched: Vec<usize> = (0..self.people.len()).filter(|user| self.shares(*user).next().is_some()).collect();
        let Some(user) = self.rng.pick(&watched).copied() else { return };
        let text = self.people[user].text.clone();
        tell!(self, "{} goes: {way:?}", self.people[user].name);
        self.offline_heard.clear();
        let began = self.now_us;
        let stays_away = !matches!(way, Way::Flap | Way::DeployFlap);
        for index in 0..self.clients.len() {
            if self.clients[index].user == user {
                self.clients[index].away = stays_away;
                self.goes(index, way);
            }
        }
        if matches!(way, Way::Deploy | Way::DeployFlap) {
            self.host_crash();
        }
        let within = match way {
            Way::Clean => CLEAN_US,
            Way::Lost => LOST_US,
            Way::HalfOpen => HALF_OPEN_US,
            Way::Deploy => DEPLOY_US,
            Way::Flap | Way::DeployFlap => 2 * ASK_US,
        };
        self.rest(within + SLACK_US + 4 * self.scenario.client_latency_ms * 1000);
        self.views_hold(&format!("after {way:?}"), stays_away.then_some(user));
        for (at, who) in std::mem::take(&mut self.offline_heard) {
            if !stays_away || who != text {
                let after = (at - began) / 1000;
                self.breach(format!("P1 flap: somebody was told offline {after} ms after {way:?} and was not away"));
            }
        }
        if stays_away {
            for index in 0..self.clients.len() {
                if self.clients[index].away {
                    self.clients[index].away = false;
                    self.after(0, Event::Connect { client: index });
                }
            }
            self.rest(BACK_US + SLACK_US);
            self.views_hold("after a return", None);
        }
    }

    fn goes(&mut self, index: usize, way: Way) {
        let Some(socket) = self.clients[index].socket else { return };
        match way {
            Way::Clean => self.leave(index),
            Way::Lost | Way::Flap => {
                let (client_us, server_us) = (self.rng.below(1_000_000), self.rng.below(2_000_000));
                self.cut_as(socket, false, client_us, server_us);
            }
            Way::HalfOpen => self.cut_as(socket, true, 1, 0),
            Way::Deploy | Way::DeployFlap => {}
        }
    }

    fn rest(&mut self, us: u64) {
        let until = self.now_us + us;
        self.run_until(until);
    }

    /// People in a conversation with this one.
    fn shares(&self, user: usize) -> impl Iterator<Item = usize> + '_ {
        let mine = self.conversations.iter().filter(move |one| one.created && one.members.contains(&user));
        mine.flat_map(|one| one.members.iter().copied()).filter(move |other| *other != user)
    }

    fn views_hold(&mut self, when: &str, away: Option<usize>) {
        let mut wrong = Vec::new();
        for client in self.clients.iter().filter(|client| Some(client.user) != away) {
            let there = self.shares(client.user).filter(|other| Some(*other) != away);
            let there: BTreeSet<Id> = there.map(|other| self.people[other].text.clone()).collect();
            match &client.view {
                None => wrong.push(format!("P1 unknown {when}: somebody was never told who is there")),
                Some(view) if view.difference(&there).next().is_some() => {
                    wrong.push(format!("P1 still online {when}: somebody sees a person who is not there"));
                }
                Some(view) if there.difference(view).next().is_some() => {
                    wrong.push(format!("P1 still offline {when}: somebody does not see a person who is there"));
                }
                Some(_) => {}
            }
        }
        for what in wrong {
            self.breach(what);
        }
    }
}
