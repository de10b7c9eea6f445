//! Messages that must arrive even over a crash: a row in the same Persist as the change that causes them, deleted when
//! the other object has answered, sent again at the start of a life and after a while.
//!
//! What Rooms must know is first a row for a person: [`Message::Blocked`] for the one who is blocked means the direct
//! conversation of both, [`Message::PersonChanged`] for oneself means all of one's own. The people database names the
//! Rooms, and a row for each takes its place.

use std::mem::discriminant;

use wire::{RoomId, Timestamp, UserId};

use super::{Called, State, User};
use crate::limits;
use crate::map::{Map, Set};
use crate::object::{CallError, CallKey, Kind, ObjectId, PersistError, Store};
use crate::objects::{self, Message};
use crate::sql::{self, Rows, Statement, people, projection};

/// Pause between tries.
const RETRY_MS: u64 = 5_000;

/// Rooms whose answer a handler waits for, those with the newest activity; the others follow.
const ROOMS_AWAITED: usize = 100;

/// What was not answered yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Map<u64, (ObjectId, Message)>,
    next_id: u64,
    retry_at: Option<Timestamp>,
}

impl Outbox {
    /// The rows that an earlier life left.
    pub(super) fn stored(rows: &Rows, now: Timestamp) -> Self {
        let waiting: Map<u64, (ObjectId, Message)> = rows
            .iter()
            .filter_map(|row| {
                let to = ObjectId::parse(row.get(1)?.as_str()?)?;
                Some((row.first()?.as_u64()?, (to, Message::from_bytes(row.get(2)?.as_str()?.as_bytes()))))
            })
            .collect();
        let next_id = waiting.keys().next_back().map_or(0, |id| id + 1);
        let retry_at = (!waiting.is_empty()).then_some(now);
        Self { waiting, next_id, retry_at }
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        self.retry_at
    }

    /// Whom it tells that the contact with them has changed.
    pub(super) fn contacts_changed(&self) -> impl Iterator<Item = UserId> {
        let changed = self.waiting.values().filter(|(_, msg)| matches!(msg, Message::ContactChanged { .. }));
        changed.filter_map(|(to, _)| UserId::parse(&to.name))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// An answer that waits until the other side knows: whoever was told of a change finds it everywhere.
#[derive(Debug)]
pub(super) struct Settling {
    pub(super) to: ObjectId,
    pub(super) call: CallKey,
    pub(super) msg: Message,
    /// Messages of the outbox that were not answered yet.
    pub(super) outbox: Set<u64>,
}

impl User {
    /// Answers whoever waits for nothing any more.
    pub(super) fn settle(&mut self) {
        let State::Ready(ready) = &mut self.state else { return };
        for one in std::mem::take(&mut ready.settling) {
            if one.outbox.is_empty() {
                self.fx.reply(&one.to, one.call, one.msg);
            } else {
                ready.settling.push(one);
            }
        }
    }

    /// Adds the row to the Persist of the change; [`User::outbox_send`] sends it behind that. Of messages that say how
    /// something is, only the newest waits.
    pub(super) fn outbox_row(&mut self, to: ObjectId, msg: Message, rows: &mut Vec<Statement>) -> Option<u64> {
        let State::Ready(ready) = &mut self.state else { return None };
        if matches!(msg, Message::Blocked { .. } | Message::PersonChanged | Message::PersonIs { .. }) {
            let older = |(target, known): &(ObjectId, Message)| *target == to && discriminant(known) == discriminant(&msg);
            let older: Vec<u64> = ready.outbox.waiting.iter().filter(|(_, one)| older(one)).map(|(id, _)| *id).collect();
            for id in older {
                ready.outbox.waiting.remove(&id);
                rows.push(sql::user::delete_outbox(self.id, id));
                for one in &mut ready.settling {
                    one.outbox.remove(&id);
                }
            }
        }
        let id = ready.outbox.next_id;
        ready.outbox.next_id += 1;
        rows.push(sql::user::put_outbox(self.id, id, &to.to_string(), &String::from_utf8_lossy(&msg.to_bytes())));
        ready.outbox.waiting.insert(id, (to, msg));
        Some(id)
    }

    /// Sends everything that waits.
    pub(super) fn outbox_send(&mut self, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        let called = ready.calls.values().filter_map(|called| if let Called::Outbox { id } = called { Some(*id) } else { None });
        let under_way: Set<u64> = called.chain(ready.lookups.values().copied()).collect();
        for (id, (to, msg)) in ready.outbox.waiting.iter().filter(|(id, _)| !under_way.contains(id)) {
            let rooms = match msg {
                Message::Blocked { .. } if to.kind == Kind::User => {
                    UserId::parse(&to.name).map(|other| vec![projection::direct_room(self.id, other)])
                }
                Message::PersonChanged => Some(vec![people::rooms_of(self.id, limits::ROOMS_TOLD), people::profile(self.id)]),
                _ => None,
            };
            match rooms {
                Some(statements) => {
                    ready.lookups.insert(self.fx.load(Store::People, statements), *id);
                }
                None => {
                    let call = self.fx.call(to.clone(), msg.clone());
                    ready.calls.insert(call, Called::Outbox { id: *id });
                }
            }
        }
        ready.outbox.retry_at = (!ready.outbox.waiting.is_empty()).then(|| now.plus_ms(RETRY_MS));
    }

    /// Rooms that must be told take the place of message `id`.
    pub(super) fn rooms_found(&mut self, id: u64, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        let Some((_, msg)) = ready.outbox.waiting.get(&id) else { return };
        let Ok(found) = result else { return self.outbox_replied(id, &Err(CallError::Lost), now) };
        let msg = match msg {
            Message::PersonChanged => found
                .get(1)
                .and_then(|rows| people::profile_from(rows.first()?))
                .map(|profile| Message::PersonIs { profile }),
            msg => Some(msg.clone()),
        };
        ready.outbox.waiting.remove(&id);
        let mut rows = vec![sql::user::delete_outbox(self.id, id)];
        let rooms = found.first().into_iter().flatten().filter_map(|row| RoomId::parse(row.first()?.as_str()?));
        let mut told = Set::new();
        if let Some(msg) = msg {
            for room in rooms {
                told.extend(self.outbox_row(objects::room(room), msg.clone(), &mut rows));
            }
        }
        self.fx.persist(rows);
        let State::Ready(ready) = &mut self.state else { return };
        for one in ready.settling.iter_mut().filter(|one| one.outbox.contains(&id)) {
            one.outbox.remove(&id);
            one.outbox.extend(told.iter().take(ROOMS_AWAITED));
        }
        self.outbox_send(now);
        self.settle();
    }

    pub(super) fn outbox_replied(&mut self, id: u64, result: &Result<Message, CallError>, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if objects::is_taken(result) && ready.outbox.waiting.remove(&id).is_some() {
            self.fx.persist(vec![sql::user::delete_outbox(self.id, id)]);
        }
        if ready.outbox.waiting.is_empty() {
            ready.outbox.retry_at = None;
        } else if ready.outbox.retry_at.is_none() {
            ready.outbox.retry_at = Some(now.plus_ms(RETRY_MS));
        }
        // Without an answer the change still holds, and is told again: nobody waits longer for it.
        for one in &mut ready.settling {
            one.outbox.remove(&id);
        }
        self.settle();
    }

    pub(super) fn outbox_alarm(&mut self, now: Timestamp) {
        if let State::Ready(ready) = &self.state
            && ready.outbox.retry_at.is_some_and(|at| at <= now)
        {
            self.outbox_send(now);
        }
    }
}
