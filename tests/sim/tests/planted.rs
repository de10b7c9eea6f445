//! Every planted bug is found within the seeds of CI, under the right name.

#![allow(clippy::unwrap_used)]

use sim::planted::Planted;
use sim::product;
use sim::run::run;
use sim::scenario::Scenario;

/// Runs seeds until the checker names the bug.
fn is_caught(bug: Planted) {
    let shows = bug.verdict();
    let mut stores = product::stores().unwrap();
    let mut others = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let scenario = Scenario { shards: 0, ..Scenario::on(bug.host(), seed) };
        let (outcome, kept) = run(scenario, bug.hooks(), stores, false).unwrap();
        stores = kept;
        if shows.in_run(&outcome) {
            println!("{bug:?}: {shows:?} at seed {seed}");
            return;
        }
        others.extend(outcome.verdict.violations.iter().map(|violation| violation.what.to_owned()));
        others.extend(outcome.breaches);
    }
    panic!("{bug:?} was not found as {shows:?}, only {others:?}");
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
    an_edit_stored_without_its_event_is_caught: EditWithoutEvent,
    an_event_stored_without_its_edit_is_caught: EventWithoutEdit,
    a_reaction_told_before_it_is_stored_is_caught: ReactionTooEarly,
    an_epoch_raised_by_a_sleep_is_caught: EpochRaised,
    listeners_not_stored_are_caught: ListenersForgotten,
    sockets_not_stored_are_caught: SocketsForgotten,
    call_keys_that_repeat_after_a_sleep_are_caught: CallsRepeated,
    a_cursor_written_late_is_caught: CursorLate,
    restored_sockets_never_pinged_are_caught: NeverPinged,
    a_recovery_that_repeats_is_caught: RecoveryRepeats,
    a_recovery_that_skips_is_caught: RecoverySkips,
    former_members_that_are_still_told_are_caught: OutsidersKept,
    a_batch_that_the_search_index_lost_is_caught: IndexBatchLost,
    a_search_that_wakes_nobody_is_caught: SearchWakesNobody,
    a_search_in_conversations_of_others_is_caught: SearchEverywhere,
    a_session_given_to_another_person_is_caught: SessionOfAnother,
    history_shown_to_former_members_is_caught: HistoryUnchecked,
    events_replayed_to_former_members_are_caught: ResumeUnchecked,
    read_marks_of_former_members_are_caught: MarksUnchecked,
    changes_by_former_members_are_caught: ChangesUnchecked,
    typing_told_to_former_members_is_caught: TypingKept,
    an_invisible_person_that_is_seen_is_caught: InvisibleSeen,
    one_device_taken_for_the_last_is_caught: LastDevice,
    a_room_that_ignores_blocks_is_caught: BlockIgnored,
    presence_shown_in_spite_of_a_block_is_caught: BlockedSeen,
    an_outbox_that_is_not_stored_is_caught: OutboxForgotten,
    read_marks_that_are_not_told_are_caught: MarksUntold,
    read_marks_put_off_and_forgotten_are_caught: MarksPutOff,
}
