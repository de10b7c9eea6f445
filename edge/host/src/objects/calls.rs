//! Calls under way: every call gets exactly one answer, an error at worst.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Without an answer for this long a call is lost.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Who made a call: an object in one of its lives, or an HTTP request (life 0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `<kind>/<name>`.
    pub name: Arc<str>,
    pub life: u64,
}

/// The calls that one object has made and waits for.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    until: HashMap<u64, Instant>,
}

impl Outgoing {
    /// A call was made, or repeated with the same key. When it will be lost.
    pub(super) fn made(&mut self, call: u64, now: Instant) -> Instant {
        let until = now + TIMEOUT;
        self.until.insert(call, until);
        until
    }

    /// An answer came. Whether somebody waits for it.
    pub(super) fn answered(&mut self, call: u64) -> bool {
        self.until.remove(&call).is_some()
    }

    /// The time set by [`Outgoing::made`] is over. Whether the call was still without answer and not repeated since.
    pub(super) fn expired(&mut self, call: u64, until: Instant) -> bool {
        let due = self.until.get(&call) == Some(&until);
        if due {
            self.until.remove(&call);
        }
        due
    }
}

/// The calls that reached one object and that it has not answered.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    calls: VecDeque<(Caller, u64, Instant)>,
}

impl Inbound {
    /// A call arrived.
    pub(super) fn arrived(&mut self, from: Caller, call: u64, now: Instant) {
        // Whoever made older ones was told long ago that they are lost.
        while self.calls.front().is_some_and(|(_, _, at)| now.duration_since(*at) > TIMEOUT * 2) {
            self.calls.pop_front();
        }
        self.calls.push_back((from, call, now));
    }

    /// The object answers `call` of the caller of this name: the oldest one when a later life used the same key.
    pub(super) fn answer(&mut self, name: &str, call: u64) -> Option<Caller> {
        let at = self.calls.iter().position(|(from, key, _)| *key == call && &*from.name == name)?;
        self.calls.remove(at).map(|(from, _, _)| from)
    }

    /// All of them: the object's life is over.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Caller, u64)> + use<> {
        std::mem::take(&mut self.calls).into_iter().map(|(from, call, _)| (from, call))
    }
}

/// When the calls of a shard are lost. All wait equally long, so a queue is enough.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    queue: VecDeque<(Instant, Caller, u64)>,
}

impl Deadlines {
    pub(super) fn push(&mut self, until: Instant, from: Caller, call: u64) {
        self.queue.push_back((until, from, call));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.front().map(|(until, _, _)| *until)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, Caller, u64)> {
        self.queue.pop_front_if(|(until, _, _)| *until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str, life: u64) -> Caller {
        Caller { name: name.into(), life }
    }

    #[test]
    fn a_call_is_answered_once() {
        let now = Instant::now();
        let mut outgoing = Outgoing::default();
        let until = outgoing.made(7, now);
        assert!(outgoing.answered(7));
        assert!(!outgoing.answered(7));
        assert!(!outgoing.expired(7, until));
    }

    #[test]
    fn a_repeated_call_waits_again() {
        let now = Instant::now();
        let mut outgoing = Outgoing::default();
        let first = outgoing.made(7, now);
        let second = outgoing.made(7, now + Duration::from_secs(5));
        assert!(!outgoing.expired(7, first));
        assert!(outgoing.expired(7, second));
        assert!(!outgoing.answered(7));
    }

    #[test]
    fn answers_find_their_caller_by_name_and_key() {
        let now = Instant::now();
        let mut inbound = Inbound::default();
        inbound.arrived(caller("user/a", 1), 1, now);
        inbound.arrived(caller("user/b", 1), 1, now);
        inbound.arrived(caller("user/a", 2), 1, now);
        assert_eq!(inbound.answer("user/b", 1), Some(caller("user/b", 1)));
        assert_eq!(inbound.answer("user/a", 2), None);
        assert_eq!(inbound.answer("user/a", 1), Some(caller("user/a", 1)));
        assert_eq!(inbound.take().collect::<Vec<_>>(), [(caller("user/a", 2), 1)]);
    }

    #[test]
    fn calls_that_nobody_answers_are_forgotten() {
        let now = Instant::now();
        let mut inbound = Inbound::default();
        inbound.arrived(caller("user/a", 1), 1, now);
        inbound.arrived(caller("user/a", 1), 2, now + TIMEOUT * 3);
        assert_eq!(inbound.take().count(), 1);
    }
}
