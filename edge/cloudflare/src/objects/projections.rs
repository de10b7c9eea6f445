//! Rows of the people database, which is elsewhere: those that somebody waits for at once, the others at most
//! [`limits::PROJECT_WRITES`] times per [`limits::PROJECT_COALESCE_MS`], the newest per key. What a crash loses is found by the comparison at the next start.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use edge_core::limits;
use edge_core::map::Map;
use edge_core::object::Input;
use edge_core::sql::Statement;
use wire::Timestamp;
use worker::Delay;

use super::{Host, now};
use crate::hrana::People;

/// How often a row that somebody waits for is tried.
const TRIES: u32 = 3;
/// Pause between tries, in milliseconds.
const PAUSE_MS: u64 = 300;
/// How often is looked whether a write under way is done, in milliseconds.
const TURN_MS: u64 = 2;
/// More than these do not wait: a life that begins when the database is in reach again repairs the rest.
const WAITING_ROWS: usize = 5_000;
/// What a failed write adds to the usual time until the next one, in milliseconds.
const REST_MS: u64 = 7_000;

#[derive(Debug, Default)]
pub(super) struct Projections {
    waiting: Map<String, Statement>,
    /// Of the window that began with the first of them.
    writes: u32,
    window: Timestamp,
    /// A write is under way.
    writing: bool,
    /// Those of [`Self::waiting`] that somebody waits for, by their number, until a task takes them.
    held: Vec<u64>,
    /// That task is there.
    waited_for: bool,
}

impl Projections {
    /// When what waits is to be written.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let at = if self.writes < limits::PROJECT_WRITES { self.window } else { self.window.plus_ms(limits::PROJECT_COALESCE_MS) };
        (!self.waiting.is_empty() && !self.writing).then_some(at)
    }

    /// The database was out of reach for so long that it is better to forget everything.
    pub(super) fn too_many(&self) -> bool {
        self.waiting.len() > WAITING_ROWS
    }

    fn take(&mut self, now: Timestamp) -> Map<String, Statement> {
        self.writing = true;
        if now.since(self.window) >= limits::PROJECT_COALESCE_MS {
            (self.window, self.writes) = (now, 0);
        }
        self.writes += 1;
        std::mem::take(&mut self.waiting)
    }
}

impl Projections {
    /// A new life: who waited in the one before is gone. Rows stay.
    pub(super) fn nobody_waits(&mut self) {
        self.held.clear();
    }
}

impl Host {
    pub(super) fn project(self: &Rc<Self>, n: u64, key: String, statement: Statement, hold: bool, inputs: &mut VecDeque<Input>) {
        let first = {
            let mut inner = self.inner.borrow_mut();
            inner.projections.waiting.insert(key, statement);
            inner.holding += u32::from(hold);
            if hold {
                inner.projections.held.push(n);
            }
            hold && !std::mem::replace(&mut inner.projections.waited_for, true)
        };
        if !hold {
            inputs.push_back(Input::Persisted { n });
            return self.project_if_due();
        }
        if first {
            let host = self.clone();
            self.spawn(async move { host.write_held().await });
        }
    }

    /// Writes rows that somebody waits for; those of one decision together.
    async fn write_held(self: &Rc<Self>) {
        loop {
            // A write under way may have taken the rows.
            while self.inner.borrow().projections.writing {
                Delay::from(Duration::from_millis(TURN_MS)).await;
            }
            let (held, epoch) = {
                let mut inner = self.inner.borrow_mut();
                inner.projections.waited_for = !inner.projections.held.is_empty();
                (std::mem::take(&mut inner.projections.held), inner.epoch)
            };
            if held.is_empty() {
                return;
            }
            for _ in 0..TRIES {
                if self.write_projections().await {
                    break;
                }
                Delay::from(Duration::from_millis(PAUSE_MS)).await;
            }
            // Still not written: it is true all the same, and the next start compares.
            {
                let mut inner = self.inner.borrow_mut();
                if inner.epoch != epoch {
                    continue;
                }
                inner.holding = inner.holding.saturating_sub(u32::try_from(held.len()).unwrap_or(u32::MAX));
            }
            for n in held {
                self.give(Input::Persisted { n });
            }
        }
    }

    /// Writes what waits, when it may be written again.
    pub(super) fn project_if_due(self: &Rc<Self>) {
        let due = self.inner.borrow().projections.due().is_some_and(|at| at <= now());
        if due {
            // From now on, not only when the task begins: no alarm is needed for it.
            self.inner.borrow_mut().projections.writing = true;
            let host = self.clone();
            self.spawn(async move {
                host.write_projections().await;
                // What came meanwhile waits for its turn.
                host.set_alarm();
            });
        }
    }

    /// `false`: the database refused or was not reached; the rows wait for the next time.
    async fn write_projections(self: &Rc<Self>) -> bool {
        let waiting = self.inner.borrow_mut().projections.take(now());
        let written = waiting.is_empty() || self.write(waiting.values().cloned().collect()).await;
        let mut inner = self.inner.borrow_mut();
        inner.projections.writing = false;
        if !written {
            // Not at once again: who cannot be reached is not helped by that.
            (inner.projections.window, inner.projections.writes) = (now().plus_ms(REST_MS), limits::PROJECT_WRITES);
            for (key, statement) in waiting {
                inner.projections.waiting.or_insert_with(key, || statement);
            }
        }
        written
    }

    async fn write(&self, statements: Vec<Statement>) -> bool {
        self.meter.count("people", 1);
        let written = match People::new(&self.env) {
            Ok(people) => people.batch(&statements).await.map(|_| ()),
            Err(error) => Err(error),
        };
        written.inspect_err(|error| worker::console_error!("{:?}: {} rows of the people database wait: {error:?}", self.id(), statements.len())).is_ok()
    }
}
