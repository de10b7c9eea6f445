//! Tasks that keep an object awake, and (`SLEEP=on` in development) sleep after every event that leaves none: what the
//! runtime may do at any time, done every time; and by itself when too many rows of the people database wait.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use wire::Timestamp;
use worker::Env;

use super::{Host, Inner, now};
use crate::config;

/// The runtime never drops an object that had a request this short a time ago.
const AWAKE_AFTER_POLL_MS: u64 = 10_000;

pub(super) struct Sleep {
    always: bool,
    tasks: Cell<u32>,
    polled_at: Cell<Timestamp>,
}

impl Sleep {
    pub(super) fn new(env: &Env) -> Self {
        Self { always: config::development_switch(env, "SLEEP"), tasks: Cell::new(0), polled_at: Cell::new(Timestamp(0)) }
    }

    /// Sessions on polling live in memory only.
    pub(super) fn polled(&self, now: Timestamp) {
        self.polled_at.set(now);
    }
}

impl Host {
    /// Runs a task behind the event.
    pub(super) fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let host = self.clone();
        self.sleep.tasks.set(self.sleep.tasks.get() + 1);
        self.state.wait_until(async move {
            task.await;
            host.sleep.tasks.set(host.sleep.tasks.get().saturating_sub(1));
            host.sleep_if_told();
        });
    }

    pub(super) fn sleep_if_told(&self) {
        if self.sleep.tasks.get() > 0 || now().since(self.sleep.polled_at.get()) < AWAKE_AFTER_POLL_MS {
            return;
        }
        let Ok(mut inner) = self.inner.try_borrow_mut() else { return };
        if !self.sleep.always && !inner.projections.too_many() {
            return;
        }
        // The runtime lets 10 s pass, a socket that is not authenticated has 5.
        let nobody_waits = inner.polls.is_empty() && inner.answers.is_empty() && inner.fresh.is_empty();
        if inner.object.is_some() && nobody_waits && inner.held.is_empty() && inner.holding == 0 && self.turns.borrow().is_empty() {
            let epoch = inner.epoch;
            *inner = Inner { epoch, ..Inner::default() };
        }
    }
}
