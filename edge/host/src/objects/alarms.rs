//! One heap of alarms per shard. An object has at most one; replaced ones are skipped when they come up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Alarms {
    heap: BinaryHeap<Reverse<(u64, Arc<str>)>>,
}

impl Alarms {
    /// `object` wants to be woken at `at` (milliseconds since the epoch).
    pub(super) fn set(&mut self, at: u64, object: Arc<str>) {
        self.heap.push(Reverse((at, object)));
    }

    /// The earliest time, perhaps of an alarm that was replaced.
    pub(super) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The earliest alarm whose time has come.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<(u64, Arc<str>)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(alarm)| alarm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_come_in_time_order_and_not_early() {
        let mut alarms = Alarms::default();
        alarms.set(20, "b".into());
        alarms.set(10, "a".into());
        assert_eq!((alarms.next(), alarms.pop_due(9)), (Some(10), None));
        assert_eq!(alarms.pop_due(20), Some((10, "a".into())));
        assert_eq!(alarms.pop_due(20), Some((20, "b".into())));
        assert_eq!(alarms.pop_due(20), None);
    }
}
