//! P1 and P2 when everything is at rest: whatever happened before, everybody sees who is there and nobody else; whoever
//! goes is seen to go in time, whoever comes back within the grace is not, and a lost host leaves nobody online for ever.
//! Whoever hides or is blocked is not seen, and a block silences a direct conversation, whatever dies right behind its
//! answer.

use std::collections::BTreeSet;

use edge_core::objects::{self, Message};
use serde_json::json;

use crate::client::Pending;
use crate::history::Id;
use crate::world::{Event, World, tell};

/// For what is on its way between client, gateway, User and the watchers' gateways, and for `PRESENCE_COALESCE_MS`.
const SLACK_US: u64 = 4_000_000;
/// A clean close is told after this time (P1).
const CLEAN_US: u64 = 2_000_000;
/// A loss that the host notices: up to 2 s until then, and the grace of 10 s.
const LOST_US: u64 = 12_000_000;
/// Where objects sleep, a half-open socket is closed by the first sweep more than 45 s after its last sign of life. Pongs
/// follow sweeps, so behind a pong that is the third one, within 60 s; behind another frame at most 45 s and one sweep of
/// 20 s. The loss is old then: it is told like a clean close.
const HALF_OPEN_US: u64 = 65_000_000 + CLEAN_US;
/// On our own host (P1).
const HALF_OPEN_WARM_US: u64 = 40_000_000;
/// Gateways whose sockets were cut with the host wake for their next sweep at the latest, then the grace.
const DEPLOY_US: u64 = 20_000_000 + 10_000_000;
/// On our own host they are new (P1).
const DEPLOY_WARM_US: u64 = 10_000_000;
/// Nobody is online for longer without a socket (P1).
const LONGEST_US: u64 = 60_000_000;
/// From the first connection to being seen.
const BACK_US: u64 = 8_000_000;
/// Time to connect and to ask who is there.
const ASK_US: u64 = 15_000_000;
/// A block takes effect (P2).
const BLOCK_US: u64 = 1_000_000;
/// And when something dies: a new life, and another try of what must arrive (twice, where a call waits for the one that died).
const BLOCK_AGAIN_US: u64 = 20_000_000;

/// How somebody goes, or is not to be seen.
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
    /// One device of several.
    OneDevice,
    /// Nobody goes, but the gateway dies.
    GatewayDies,
    /// Nobody goes, but the User dies.
    UserDies,
    /// Cleanly, when the User has died.
    UserDiesClean,
    /// Stays, and is not seen.
    Hides,
    /// Stays, and is not seen by one person.
    Blocks,
}

const WAYS: [Way; 12] = [
    Way::Clean,
    Way::Lost,
    Way::HalfOpen,
    Way::Deploy,
    Way::Flap,
    Way::DeployFlap,
    Way::OneDevice,
    Way::GatewayDies,
    Way::UserDies,
    Way::UserDiesClean,
    Way::Hides,
    Way::Blocks,
];
/// Those of runs in which people have nothing to do with each other.
const PLAIN_WAYS: usize = 6;

impl World {
    /// Everybody is connected and nothing fails any more.
    pub(crate) fn check_presence(&mut self) {
        self.nap();
        self.watching = true;
        for index in 0..self.clients.len() {
            self.clients[index].view = None;
            if self.scenario.think_ms > 5_000 {
                // It may think for minutes yet.
                self.after(0, Event::Wake { client: index });
            }
            if self.scenario.relations {
                self.chooses(index, "online");
            }
        }
        // Whoever was left behind half open is gone by then.
        self.rest(HALF_OPEN_US + ASK_US);
        self.views_hold("at rest", None);
        let apart: Vec<(usize, usize)> = self.relations.iter().filter(|(_, one)| one.on).map(|(pair, _)| *pair).collect();
        for (one, other) in apart {
            self.hidden.insert((one.min(other), one.max(other)), self.now_us);
        }
        self.blocks_hold("at rest");
        let ways = if self.scenario.relations { &WAYS[..] } else { &WAYS[..PLAIN_WAYS] };
        let Some(way) = self.rng.pick(ways).copied() else { return };
        let watched: Vec<usize> = (0..self.people.len()).filter(|user| !self.visible(*user).is_empty()).collect();
        let Some(user) = self.rng.pick(&watched).copied() else { return };
        tell!(self, "{} goes: {way:?}", self.people[user].name);
        self.offline_heard.clear();
        let began = self.now_us;
        match way {
            Way::OneDevice => self.one_device_goes(user),
            Way::Hides => self.one_hides(user),
            Way::Blocks => self.one_blocks(user),
            _ => self.somebody_goes(user, way),
        }
        let text = self.people[user].text.clone();
        let goes = !matches!(way, Way::Flap | Way::DeployFlap | Way::OneDevice | Way::GatewayDies | Way::UserDies);
        for (at, who) in std::mem::take(&mut self.offline_heard) {
            if !goes || (who != text && way != Way::Blocks) {
                let after = (at - began) / 1000;
                self.breach(format!("P1 flap: somebody was told offline {after} ms after {way:?} and was not away"));
            }
        }
    }

    fn somebody_goes(&mut self, user: usize, way: Way) {
        let stays_away = matches!(way, Way::Clean | Way::Lost | Way::HalfOpen | Way::Deploy | Way::UserDiesClean);
        let devices = self.devices_of(user);
        match way {
            Way::UserDies | Way::UserDiesClean => self.user_dies(user),
            Way::GatewayDies => self.gateway_of_dies(user),
            _ => {}
        }
        for index in devices {
            self.clients[index].away = stays_away;
            self.goes(index, way);
        }
        if matches!(way, Way::Deploy | Way::DeployFlap) {
            self.host_crash();
        }
        let sleeps = self.sleeps();
        let within = match way {
            Way::Clean => CLEAN_US,
            Way::Lost => LOST_US,
            Way::HalfOpen if sleeps => HALF_OPEN_US,
            Way::HalfOpen => HALF_OPEN_WARM_US,
            Way::Deploy if sleeps => DEPLOY_US,
            Way::Deploy => DEPLOY_WARM_US,
            Way::UserDiesClean => LONGEST_US,
            _ => 2 * ASK_US,
        };
        self.rest(within + self.slack());
        self.views_hold(&format!("after {way:?}"), stays_away.then_some(user));
        if stays_away {
            self.all_come_back();
        }
    }

    /// The others are still there.
    fn one_device_goes(&mut self, user: usize) {
        let devices = self.devices_of(user);
        if let [first, _, ..] = devices[..] {
            self.clients[first].away = true;
            self.leave(first);
            self.rest(LOST_US + self.slack());
            self.views_hold("after one device of several went", None);
            self.all_come_back();
        }
    }

    fn all_come_back(&mut self) {
        for index in 0..self.clients.len() {
            if std::mem::take(&mut self.clients[index].away) {
                self.after(0, Event::Connect { client: index });
            }
        }
        self.rest(BACK_US + SLACK_US);
        self.views_hold("after a return", None);
    }

    fn one_hides(&mut self, user: usize) {
        let Some(first) = self.devices_of(user).first().copied() else { return };
        self.chooses(first, "invisible");
        self.rest(CLEAN_US + self.slack());
        self.hides.insert(user, self.now_us);
        self.views_hold("hiding", Some(user));
        match self.rng.below(4) {
            0 => {
                self.user_dies(user);
                // It knows nobody any more who watches, until they say so again.
                self.rest(if self.sleeps() { 0 } else { LONGEST_US });
            }
            1 => self.gateway_of_dies(user),
            2 => self.host_crash(),
            _ => {}
        }
        self.come_back(user);
        self.views_hold("still hiding", Some(user));
        self.hides.remove(&user);
        let Some(first) = self.devices_of(user).first().copied() else { return };
        self.chooses(first, "online");
        self.rest(CLEAN_US + self.slack());
        self.views_hold("after hiding", None);
    }

    fn one_blocks(&mut self, user: usize) {
        let others: Vec<usize> = self.visible(user).into_iter().collect();
        let Some(other) = self.rng.pick(&others).copied() else { return };
        let pair = (user.min(other), user.max(other));
        self.settles(user, other, true);
        let dies = self.rng.below(6);
        match dies {
            0 => self.user_dies(user),
            1 => self.user_dies(other),
            2 => self.gateway_of_dies(other),
            3 => self.host_crash(),
            4 => self.nap(),
            _ => {}
        }
        self.rest(if dies < 4 { BLOCK_AGAIN_US } else { BLOCK_US } + self.slack());
        self.hidden.insert(pair, self.now_us);
        self.views_hold("behind a block", None);
        self.blocks_hold("behind a block");
        self.come_back(other);
        self.views_hold("behind a block and a return", None);
        self.hidden.remove(&pair);
        self.settles(user, other, false);
        self.rest(ASK_US + self.slack());
        self.views_hold("after a block", None);
    }

    /// Blocks, or lifts the block, and is answered.
    fn settles(&mut self, user: usize, other: usize, on: bool) {
        let (to, msg) = (objects::user(self.people[user].id), self.block_message(user, other, on));
        match self.ask_object(&to, msg) {
            Ok(Message::ContactIs { .. }) => {
                let relation = self.relations.entry((user, other)).or_default();
                (relation.on, relation.sure) = (on, true);
            }
            answer => self.breach(format!("a block was answered {answer:?}")),
        }
    }

    fn devices_of(&self, user: usize) -> Vec<usize> {
        (0..self.clients.len()).filter(|index| self.clients[*index].user == user).collect()
    }

    fn chooses(&mut self, index: usize, state: &str) {
        self.emit(index, &json!(["presence:set", { "state": state }]), Some(Pending::Plain));
    }

    /// All devices go and are back at once.
    fn come_back(&mut self, user: usize) {
        for index in self.devices_of(user) {
            self.leave(index);
        }
        self.rest(2 * ASK_US);
    }

    fn user_dies(&mut self, user: usize) {
        let slot = self.find_object(&objects::user(self.people[user].id));
        let how = self.draw_end();
        self.crash(slot, how);
    }

    fn gateway_of_dies(&mut self, user: usize) {
        let sockets = self.devices_of(user).into_iter().filter_map(|index| self.clients[index].socket);
        let gateways: Vec<usize> = sockets.filter_map(|socket| Some(self.sockets.get(&socket)?.gateway)).collect();
        if let Some(slot) = gateways.first() {
            let how = self.draw_end();
            self.crash(*slot, how);
        }
    }

    /// Where objects sleep, all of them do.
    pub(crate) fn nap(&mut self) {
        if self.sleeps() {
            self.all_sleep();
        }
    }

    fn slack(&self) -> u64 {
        SLACK_US + 4 * self.scenario.client_latency_ms * 1000
    }

    fn goes(&mut self, index: usize, way: Way) {
        let Some(socket) = self.clients[index].socket else { return };
        match way {
            Way::Clean | Way::UserDiesClean => self.leave(index),
            Way::Lost | Way::Flap => {
                let (client_us, server_us) = (self.rng.below(1_000_000), self.rng.below(2_000_000));
                self.cut_as(socket, false, client_us, server_us);
            }
            Way::HalfOpen => self.cut_as(socket, true, 1, 0),
            _ => {}
        }
    }

    pub(crate) fn rest(&mut self, us: u64) {
        let until = self.now_us + us;
        self.run_until(until);
    }

    fn views_hold(&mut self, when: &str, away: Option<usize>) {
        let mut wrong = Vec::new();
        for client in self.clients.iter().filter(|client| Some(client.user) != away && !client.away) {
            let there = self.visible(client.user).into_iter().filter(|other| Some(*other) != away);
            let there: BTreeSet<Id> = there.map(|other| self.people[other].text.clone()).collect();
            let Some(view) = &client.view else {
                wrong.push(format!("P1 unknown {when}: {} was never told who is there", client.device));
                continue;
            };
            let name = |text: &Id| self.people.iter().find(|person| person.text == *text).map_or("?", |person| &person.name);
            if let Some(other) = view.difference(&there).next() {
                wrong.push(format!("P1 still online {when}: {} sees {}, who is not there", client.device, name(other)));
            }
            if let Some(other) = there.difference(view).next() {
                wrong.push(format!("P1 still offline {when}: {} does not see {}, who is there", client.device, name(other)));
            }
        }
        for what in wrong {
            self.breach(what);
        }
    }
}
