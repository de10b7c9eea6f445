//! The outbox that every object keeps: numbered outputs in order.

use std::collections::VecDeque;

use crate::object::{CallKey, ObjectId, Output, Store};
use crate::objects::Message;
use crate::sql::Statement;

/// Outputs waiting for `poll_output`, and the numbers for the next ones.
#[derive(Debug, Default)]
pub struct Effects {
    queue: VecDeque<Output>,
    life: u64,
    calls: u64,
    loads: u64,
    persists: u64,
    /// Persists and Projects that are not durable yet.
    pending: u64,
}

impl Effects {
    /// Fresh numbers for a life: call keys of two lives never meet.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { life: epoch << 24, ..Self::default() }
    }

    /// A number above every number that an earlier life counted from its own [`Effects::life`].
    #[must_use]
    pub fn life(&self) -> u64 {
        self.life
    }

    /// The next output.
    pub fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    /// Appends any output.
    pub fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    /// Calls `to` and wants a reply.
    pub fn call(&mut self, to: ObjectId, msg: Message) -> CallKey {
        self.calls += 1;
        let call = CallKey(self.life.wrapping_add(self.calls).max(1));
        self.push(Output::Object { to, call, msg });
        call
    }

    /// Tells `to` and wants no reply.
    pub fn tell(&mut self, to: ObjectId, msg: Message) {
        self.push(Output::Object { to, call: CallKey::NONE, msg });
    }

    /// Answers a call; nothing when none was wanted.
    pub fn reply(&mut self, to: &ObjectId, call: CallKey, msg: Message) {
        if call != CallKey::NONE {
            self.push(Output::Reply { to: to.clone(), call, msg });
        }
    }

    /// Reads; the number comes back in `Loaded`.
    pub fn load(&mut self, store: Store, statements: Vec<Statement>) -> u64 {
        self.loads += 1;
        self.push(Output::Load { load: self.loads, store, statements });
        self.loads
    }

    /// Writes own storage; everything pushed later waits for it.
    pub fn persist(&mut self, statements: Vec<Statement>) -> u64 {
        self.persists += 1;
        self.pending += 1;
        self.push(Output::Persist { n: self.persists, statements });
        self.persists
    }

    /// Writes a row of the people database; with `hold` everything pushed later waits for it.
    pub fn project(&mut self, key: String, version: u64, statement: Statement, hold: bool) -> u64 {
        self.persists += 1;
        self.pending += 1;
        self.push(Output::Project { n: self.persists, key, version, statement, hold });
        self.persists
    }

    /// One of them is durable.
    pub fn persisted(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// Whether everything that was written is durable.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.pending == 0
    }
}
