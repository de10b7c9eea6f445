//! What people do about each other: blocks that come and go, in direct conversations and groups, ways of being there, and
//! sessions of others that somebody got hold of. Under faults nobody can say when a block holds (its answer does not wait
//! for a Room that is away); so everything is said once more when the faults are over, and from then on it holds.

use std::collections::BTreeSet;

use edge_core::object::CallError;
use edge_core::objects::{self, Actor, ContactAnswer, Message, NewMessage};
use serde_json::json;
use wire::MessageKind;

use crate::client::{Pending, RequestKind};
use crate::history::{Id, What};
use crate::world::{Event, World};

/// Until requests and their repetitions from the time of faults have come.
pub(crate) const LATE_US: u64 = 8_000_000;

/// What somebody asked for about another person.
#[derive(Debug, Default)]
pub(crate) struct Relation {
    /// Blocked.
    pub(crate) on: bool,
    under_way: bool,
    /// Answered after the faults.
    pub(crate) sure: bool,
}

impl World {
    /// Now and then somebody blocks somebody, or wants to be seen otherwise. Answers whether that was it for now.
    pub(crate) fn relates(&mut self, index: usize, n: usize) -> bool {
        if !self.scenario.relations || !self.rng.chance(0.03) {
            return false;
        }
        let by = self.clients[index].user;
        let others: Vec<usize> = self.conversations[n].members.iter().copied().filter(|other| *other != by).collect();
        match self.rng.pick(&others).copied() {
            Some(other) if self.rng.chance(0.7) => {
                let on = self.rng.chance(0.6);
                self.relate(by, other, on, false);
            }
            _ => {
                let state = self.rng.pick(&["online", "away", "dnd", "invisible"]).copied().unwrap_or_default();
                self.emit(index, &json!(["presence:set", { "state": state }]), Some(Pending::Plain));
            }
        }
        true
    }

    fn relate(&mut self, by: usize, other: usize, on: bool, last: bool) {
        // Handlers refuse to open a conversation with somebody who blocks: these are made by nobody.
        let both = (by.min(other), by.max(other));
        if (0..self.conversations.len()).any(|n| !self.conversations[n].created && self.pair(n) == Some(both)) {
            return;
        }
        let relation = self.relations.entry((by, other)).or_default();
        if relation.under_way {
            if last {
                self.after(500_000, Event::Relate { by, other });
            }
            return;
        }
        (relation.on, relation.under_way) = (on, true);
        let msg = self.block_message(by, other, on);
        let to = objects::user(self.people[by].id);
        self.request_of(0, &to, RequestKind::Relate { by, other, last }, msg);
    }

    pub(crate) fn block_message(&self, by: usize, other: usize, on: bool) -> Message {
        let me = Actor { id: self.people[by].id, username: self.people[by].name.clone() };
        let answer = if on { ContactAnswer::Blocked } else { ContactAnswer::Removed };
        Message::ContactAnswer { me, other: self.people[other].id, answer }
    }

    pub(crate) fn related(&mut self, by: usize, other: usize, last: bool, result: Result<Message, CallError>) {
        let relation = self.relations.entry((by, other)).or_default();
        relation.under_way = false;
        match result {
            Ok(Message::ContactIs { .. }) => relation.sure = last,
            Ok(Message::Refused { .. }) | Err(_) if last => self.after(500_000, Event::Relate { by, other }),
            Ok(Message::Refused { .. }) | Err(_) => {}
            Ok(answer) => self.breach(format!("a block was answered {answer:?}")),
        }
    }

    /// Once everything late has come, everybody says again what is to hold.
    pub(crate) fn settle_relations(&mut self) {
        for (by, other) in self.relations.keys().copied().collect::<Vec<_>>() {
            self.after(LATE_US, Event::Relate { by, other });
        }
    }

    pub(crate) fn relate_at_last(&mut self, by: usize, other: usize) {
        let on = self.relations.get(&(by, other)).is_some_and(|relation| relation.on);
        self.relate(by, other, on, true);
    }

    /// Whether either of them blocks the other.
    pub(crate) fn apart(&self, one: usize, other: usize) -> bool {
        let on = |pair| self.relations.get(&pair).is_some_and(|relation| relation.on);
        on((one, other)) || on((other, one))
    }

    /// The two people of a direct conversation that blocks are about.
    pub(crate) fn pair(&self, n: usize) -> Option<(usize, usize)> {
        let people = |one: &crate::world::Conversation| match one.members[..] {
            [one_of, other] if one.direct => Some((one_of.min(other), one_of.max(other))),
            _ => None,
        };
        let pair = people(&self.conversations[n])?;
        let first = self.conversations.iter().position(|one| people(one) == Some(pair))?;
        (first == n && self.scenario.relations).then_some(pair)
    }

    /// Whether a message of this member is taken.
    pub(crate) fn may_send(&self, user: usize, n: usize) -> bool {
        self.conversations[n].members.contains(&user) && self.pair(n).is_none_or(|(one, other)| !self.apart(one, other))
    }

    // ---- what nobody may see

    fn user_named(&self, text: &Id) -> Option<usize> {
        self.people.iter().position(|person| person.text == *text)
    }

    /// Somebody is shown to this client as being there (P2).
    pub(crate) fn is_seen(&mut self, index: usize, user: &Id) {
        let me = self.clients[index].user;
        let Some(other) = self.user_named(user).filter(|other| *other != me) else { return };
        let shares = self.conversations.iter().any(|one| one.members.contains(&me) && one.members.contains(&other));
        if !shares {
            self.breach(format!("P2 stranger: {} sees {}", self.clients[index].device, self.people[other].name));
        }
        let now = self.now_us;
        let over = |from: Option<&u64>| from.is_some_and(|from| *from < now);
        if over(self.hidden.get(&(me.min(other), me.max(other)))) {
            self.breach(format!("P2 blocked: {} sees {}", self.clients[index].device, self.people[other].name));
        }
        if over(self.hides.get(&other)) {
            self.breach(format!("P2 invisible: {} sees {}", self.clients[index].device, self.people[other].name));
        }
    }

    /// Typing and marks vanish where one blocks the other.
    pub(crate) fn not_hushed(&mut self, index: usize, conversation: &Id, user: &Id) {
        let me = self.clients[index].user;
        let Some(other) = self.user_named(user).filter(|other| *other != me) else { return };
        let Some(n) = self.conversations.iter().position(|one| one.text == *conversation) else { return };
        let pair = (me.min(other), me.max(other));
        if self.pair(n) == Some(pair) && self.hidden.get(&pair).is_some_and(|from| *from < self.now_us) {
            self.breach(format!("P2 hushed: {} hears {}", self.clients[index].device, self.people[other].name));
        }
    }

    /// Where one blocks the other nothing is said in either direction: messages are refused, typing and marks go nowhere.
    pub(crate) fn blocks_hold(&mut self, when: &str) {
        for n in 0..self.conversations.len() {
            let apart = |(one, other): &(usize, usize)| self.conversations[n].created && self.apart(*one, *other);
            let Some((one, other)) = self.pair(n).filter(apart) else { continue };
            for user in [one, other] {
                self.is_refused(user, n, when);
                let text = self.conversations[n].text.clone();
                for index in 0..self.clients.len() {
                    if self.clients[index].user == user && self.clients[index].socket.is_some() {
                        self.emit(index, &json!(["chat:join", text]), Some(Pending::Plain));
                        self.emit(index, &json!(["chat:typing", { "conversationId": text }]), None);
                        let read = json!(["chat:markRead", { "conversationId": text, "upTo": u32::MAX }]);
                        self.emit(index, &read, Some(Pending::Plain));
                    }
                }
            }
        }
    }

    fn is_refused(&mut self, user: usize, n: usize, when: &str) {
        let (person, conversation) = (self.people[user].clone(), self.conversations[n].clone());
        let op = self.op();
        let (content, client_id) = (format!("m{op}"), format!("blocked.{op}"));
        self.log(What::Send {
            op,
            user: person.text,
            device: None,
            conversation: conversation.text,
            client_id: Some(Id::from(client_id.as_str())),
            content: Id::from(content.as_str()),
        });
        let from = Actor { id: person.id, username: person.name };
        let message = NewMessage { content, kind: MessageKind::Text, client_id: Some(client_id), reply_to: None, metadata: None };
        match self.ask_object(&objects::room(conversation.id), Message::Send { from, message }) {
            Ok(Message::Sent { message, .. }) => {
                self.log(What::Ok { op, row: crate::client::row_of(&message) });
                self.breach(format!("P2 heard {when}: a message was taken although one blocks the other"));
            }
            Ok(Message::Refused { failure }) => {
                self.log(What::Fail { op, code: crate::client::code_of(&failure).into() });
            }
            other => self.breach(format!("a send was answered {other:?}")),
        }
    }

    // ---- sessions of others

    /// A client of somebody else whose session this one tries to go on with.
    pub(crate) fn foreign_session(&mut self, index: usize) -> Option<usize> {
        if !self.scenario.relations || self.settling || !self.rng.chance(0.05) {
            return None;
        }
        let user = self.clients[index].user;
        let others = self.clients.iter().enumerate().filter(|(_, other)| other.user != user && !other.session_id.1.is_empty());
        let others: Vec<usize> = others.map(|(other, _)| other).collect();
        self.rng.pick(&others).copied()
    }

    /// People whom nothing hides from this one: in a conversation together, and no block between them.
    pub(crate) fn visible(&self, user: usize) -> BTreeSet<usize> {
        let mine = self.conversations.iter().filter(|one| one.created && one.members.contains(&user));
        let others = mine.flat_map(|one| one.members.iter().copied()).filter(|other| *other != user);
        others.filter(|other| !self.apart(user, *other)).collect()
    }
}
