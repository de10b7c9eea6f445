//! Every planted bug is found within the seeds of CI, under the right name.

#![allow(clippy::unwrap_used)]

use sim::planted::Planted;
use sim::product;
use sim::run::run;
use sim::scenario::Scenario;

/// Runs seeds until the checker names the bug.
fn is_caught(bug: Planted) {
    let (rule, what) = bug.verdict();
    let mut stores = product::stores().unwrap();
    let mut others = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let scenario = Scenario { shards: 0, ..Scenario::of(seed) };
        let (outcome, kept) = run(scenario, bug.hooks(), stores, false).unwrap();
        stores = kept;
        if outcome.verdict.broke(rule) && outcome.verdict.found(what) {
            println!("{bug:?}: {rule:?} {what} at seed {seed}");
            return;
        }
        others.extend(outcome.verdict.violations.iter().map(|violation| violation.what));
    }
    panic!("{bug:?} was not found as {rule:?} {what}, only {others:?}");
}

macro_rules! caught {
    ($($name:ident: $bug:ident),+ $(,)?) => {$(
        #[test]
        fn $name() {
            is_caught(Planted::$bug);
        }
    )+

        #[test]
        fn every_bug_has_its_test() {
            assert_eq!([$(Planted::$bug),+].as_slice(), Planted::ALL.as_slice());
        }
    };
}

caught! {
    ack_before_commit_is_caught: AckBeforeCommit,
    ack_after_a_failed_sync_is_caught: AckAfterFailure,
    a_write_that_never_happened_is_caught: DroppedWrite,
    dedupe_in_memory_only_is_caught: MemoryOnlyDedupe,
    missing_dedupe_is_caught: NoDedupe,
    a_cursor_by_time_is_caught: CursorByTime,
    a_missing_fence_at_the_hand_over_is_caught: MissingFence,
    a_lost_delivery_is_caught: LostDelivery,
    a_double_delivery_is_caught: DoubleDelivery,
    an_overtaken_delivery_is_caught: OvertakenDelivery,
    an_overwritten_receipt_is_caught: ReceiptOverwrite,
    a_stale_history_is_caught: StaleHistory,
}
