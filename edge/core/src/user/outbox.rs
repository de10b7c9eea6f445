//! Messages that must arrive even over a crash: a row in the same Persist as the change that causes them, deleted when
//! the other object has answered, sent again at the start of a life and after a while.

use std::collections::{BTreeMap, BTreeSet};

use wire::Timestamp;

use super::{Called, State, User};
use crate::object::{CallError, CallKey, ObjectId};
use crate::objects::Message;
use crate::sql::{self, Rows, Statement};

/// Pause between tries.
const RETRY_MS: u64 = 5_000;

/// What was not answered yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: BTreeMap<u64, (ObjectId, Message)>,
    next_id: u64,
    retry_at: Option<Timestamp>,
}

impl Outbox {
    /// The rows that an earlier life left.
    pub(super) fn stored(rows: &Rows, now: Timestamp) -> Self {
        let waiting: BTreeMap<u64, (ObjectId, Message)> = rows
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
    pub(super) outbox: BTreeSet<u64>,
    /// A look-up that may add one.
    pub(super) lookup: Option<u64>,
}

impl User {
    /// Answers whoever waits for nothing any more.
    pub(super) fn settle(&mut self) {
        let State::Ready(ready) = &mut self.state else { return };
        for one in std::mem::take(&mut ready.settling) {
            if one.outbox.is_empty() && one.lookup.is_none() {
                self.fx.reply(&one.to, one.call, one.msg);
            } else {
                ready.settling.push(one);
            }
        }
    }

    /// The row for the Persist of the change; [`User::outbox_send`] sends it behind that.
    pub(super) fn outbox_row(&mut self, to: ObjectId, msg: Message) -> Option<(u64, Statement)> {
        let State::Ready(ready) = &mut self.state else { return None };
        let id = ready.outbox.next_id;
        ready.outbox.next_id += 1;
        let row = sql::user::put_outbox(self.id, id, &to.to_string(), &String::from_utf8_lossy(&msg.to_bytes()));
        ready.outbox.waiting.insert(id, (to, msg));
        Some((id, row))
    }

    /// Sends everything that waits.
    pub(super) fn outbox_send(&mut self, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        for (id, (to, msg)) in &ready.outbox.waiting {
            if ready.calls.values().any(|called| matches!(called, Called::Outbox { id: under_way } if under_way == id)) {
                continue;
            }
            let call = self.fx.call(to.clone(), msg.clone());
            ready.calls.insert(call, Called::Outbox { id: *id });
        }
        ready.outbox.retry_at = (!ready.outbox.waiting.is_empty()).then(|| now.plus_ms(RETRY_MS));
    }

    pub(super) fn outbox_replied(&mut self, id: u64, result: &Result<Message, CallError>, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if result.is_ok() && ready.outbox.waiting.remove(&id).is_some() {
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
