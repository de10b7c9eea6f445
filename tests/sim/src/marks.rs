//! M7 in time: what somebody has read, every client of every member knows within [`KNOWN_US`], whichever host it is and
//! whoever sleeps meanwhile. When the Room dies on the way, it is known with the next resume.

use std::collections::BTreeMap;

use edge_core::objects;
use serde_json::json;

use crate::client::{Client, Pending};
use crate::history::{Id, What};
use crate::world::World;

/// From the ack of what was read.
const KNOWN_US: u64 = 10_000_000;
/// Until a message is with everybody.
const HEARD_US: u64 = 5_000_000;

impl World {
    /// Everybody is connected and nothing fails.
    pub(crate) fn check_marks(&mut self) {
        let mut told: Vec<(usize, u64)> = Vec::new();
        for n in 0..self.conversations.len() {
            told.extend(self.one_more(n).map(|row| (n, row.seq)));
        }
        self.rest(HEARD_US);
        for client in &mut self.clients {
            client.reading.clear();
        }
        let mut readers: Vec<(usize, usize)> = Vec::new();
        for (n, _) in &told {
            readers.extend(self.conversations[*n].members.iter().map(|user| (*n, *user)));
        }
        let newest: BTreeMap<usize, u64> = told.into_iter().collect();
        let mut wanted: BTreeMap<(usize, Id), u64> = BTreeMap::new();
        while !readers.is_empty() {
            let (n, user) = readers.swap_remove(self.rng.below(readers.len() as u64) as usize);
            if self.reads(n, user, newest[&n]) {
                wanted.insert((n, self.people[user].text.clone()), newest[&n]);
            }
            let us = self.rng.below(1_500_000);
            self.rest(us);
            if self.rng.chance(0.3) {
                self.nap();
            }
        }
        let dies = self.rng.chance(0.3);
        if dies {
            self.rest(1_000_000);
            for n in newest.into_keys() {
                let slot = self.find_object(&objects::room(self.conversations[n].id));
                let how = self.draw_end();
                self.crash(slot, how);
            }
            for index in 0..self.clients.len() {
                self.leave(index);
            }
        }
        self.rest(KNOWN_US + 4 * self.scenario.client_latency_ms * 1000);
        self.marks_are_known(&wanted, dies);
    }

    /// A device of this member reads to the end, if it has got so far.
    fn reads(&mut self, n: usize, user: usize, up_to: u64) -> bool {
        let has = |client: &Client| {
            client.user == user && client.conn.is_some() && client.newest.get(&n).is_some_and(|row| row.seq == up_to)
        };
        let Some(reader) = self.clients.iter().position(has) else { return false };
        let conversation = self.conversations[n].text.clone();
        let op = self.op();
        let body = json!(["chat:markRead", { "conversationId": conversation, "upTo": up_to }]);
        self.log(What::Mark { op, user: self.people[user].text.clone(), conversation, up_to });
        self.emit(reader, &body, Some(Pending::Mark { op }));
        true
    }

    /// With `resumed`: by those who have resumed since.
    fn marks_are_known(&mut self, wanted: &BTreeMap<(usize, Id), u64>, resumed: bool) {
        let mut late = Vec::new();
        for client in self.clients.iter().filter(|client| !resumed || !client.live_only) {
            for ((n, user), up_to) in wanted {
                let member = self.conversations[*n].members.contains(&client.user);
                let known = client.reading.get(&(*n, user.clone())).copied().unwrap_or(0);
                if member && known < *up_to {
                    let when = if resumed { "with the next resume" } else { "in time" };
                    late.push(format!("M7 late: {} does not learn {when} that {user} read up to {up_to} of {n}", client.device));
                }
            }
        }
        for what in late {
            self.breach(what);
        }
    }

    /// A client is told how far somebody has read.
    pub(crate) fn read_by(&mut self, index: usize, conversation: &Id, user: &Id, up_to: u64) {
        let Some(n) = self.conversations.iter().position(|one| one.text == *conversation) else { return };
        let known = self.clients[index].reading.entry((n, user.clone())).or_default();
        *known = (*known).max(up_to);
    }
}
