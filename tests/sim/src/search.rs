//! G-07 at the end of a run. Every conversation gets one more message, and the host dies before the index can have it:
//! whoever searches then wakes what was forgotten, and after a moment everybody finds everything that is his to find.

use std::collections::BTreeSet;

use edge_core::objects::{self, Actor, Message, NewMessage};
use serde_json::Value;
use wire::MessageKind;

use crate::history::{Hit, Id, Row, What};
use crate::scenario::Projections;
use crate::world::World;

/// A conversation is looked at only when its newest message has been there for `INDEX_LATE_MS`.
const FORGOTTEN_US: u64 = 5_000_000;
/// For what a search has woken: to load, to read batches, and to gather what is written (`PROJECT_COALESCE_MS`).
const WOKEN_US: u64 = 8_000_000;
/// Messages begin with their `m` and a number; behind edits there is one more.
const EDITED: &str = "#e1";

impl World {
    /// Clients neither act nor listen any more; what happens here is in the log behind `quiesced`.
    pub(crate) fn check_search(&mut self) {
        self.sign_in();
        let mut newest = Vec::new();
        for n in 0..self.conversations.len() {
            newest.extend(self.one_more(n).map(|row| row.content.to_string()));
        }
        self.host_crash();
        let up = self.host_up_at_us.max(self.now_us) + FORGOTTEN_US;
        self.run_until(up);
        for user in 0..self.people.len() {
            self.get(user, "/api/chats/search?q=nothing");
        }
        // Where the people database is apart the host may have died before it knew of the message: whoever opens the
        // conversation wakes it.
        for n in 0..self.conversations.len() {
            if self.scenario.projections != Projections::SameTransaction && self.conversations[n].created {
                let user = self.people[self.conversations[n].members[0]].id;
                self.ask(n, Message::Describe { user });
            }
        }
        self.rest(WOKEN_US);
        // Pages of what is too short for the full text follow the times of messages, which a clock that jumps mixes up.
        let (lowest, highest) = if self.scenario.faults.clock_jump_every_ms == 0 { (1, 9) } else { (10, 99) };
        let beginnings: BTreeSet<u64> = (0..20).map(|_| self.rng.between(lowest, highest)).chain([lowest]).collect();
        for user in 0..self.people.len() {
            for number in &beginnings {
                self.search(user, &format!("m{number}"));
            }
            self.search(user, EDITED);
            for text in &newest {
                self.search(user, text);
            }
        }
    }

    /// One more message of a member.
    pub(crate) fn one_more(&mut self, n: usize) -> Option<Row> {
        let conversation = self.conversations[n].clone();
        let members: Vec<usize> = conversation.members.iter().copied().filter(|user| self.may_send(*user, n)).collect();
        let member = *self.rng.pick(&members).filter(|_| conversation.created)?;
        let person = self.people[member].clone();
        let op = self.op();
        let content = format!("m{op}");
        let client_id = format!("last.{op}");
        self.log(What::Send {
            op,
            user: person.text,
            device: None,
            conversation: conversation.text,
            client_id: Some(Id::from(client_id.as_str())),
            content: Id::from(content.as_str()),
        });
        let from = Actor { id: person.id, username: person.name };
        let message =
            NewMessage { content, kind: MessageKind::Text, client_id: Some(client_id), reply_to: None, metadata: None };
        match self.ask_object(&objects::room(conversation.id), Message::Send { from, message }) {
            Ok(Message::Sent { message, .. }) => {
                let row = crate::client::row_of(&message);
                self.log(What::Ok { op, row: row.clone() });
                Some(row)
            }
            other => {
                self.breach(format!("the last message was answered {other:?}"));
                None
            }
        }
    }

    /// Every page of what a person finds.
    fn search(&mut self, user: usize, text: &str) {
        let op = self.op();
        self.log(What::Search { op, user: self.people[user].text.clone(), text: Id::from(text) });
        let mut hits = Vec::new();
        let mut cursor = String::new();
        loop {
            let query = text.replace('#', "%23");
            let (status, body) = self.get(user, &format!("/api/chats/search?q={query}&limit=50{cursor}"));
            if status != 200 {
                return self.breach(format!("G-07 a search was answered {status} {body}"));
            }
            let page = body["hits"].as_array().map(Vec::as_slice).unwrap_or_default();
            let word = |hit: &Value, name: &str| Id::from(hit["message"][name].as_str().unwrap_or_default());
            hits.extend(page.iter().map(|hit| Hit {
                conversation: word(hit, "conversation_id"),
                id: word(hit, "id"),
                content: word(hit, "content"),
            }));
            match body["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        self.log(What::Found { op, hits });
    }
}
