//! The checker on resumes whose person was taken out of the conversation before the ack: what they may look like, and
//! what is still a violation.

#![allow(clippy::unwrap_used)]

use sim::check::{self, Verdict};
use sim::history::from_json_lines;

/// A connection that holds 23 and resumes twice: the first ack says `removed`, the second comes after `replayed`, with
/// these heads; `early` was written before the server had the second resume, `behind` after the ack.
fn verdict(early: &[u64], replayed: &[u64], heads: &str, behind: &[u64]) -> Verdict {
    let deliver = |seqs: &[u64]| -> String {
        let row = |seq: &u64| {
            format!(
                r#"{{"e":"deliver","conn":"c","conversation":"x","row":{{"seq":{seq},"id":"m{seq}","sender":"u","content":"t{seq}"}}}}"#
            ) + "\n"
        };
        seqs.iter().map(row).collect()
    };
    let resume = |op| format!(r#"{{"e":"resume","op":{op},"conn":"c","cursors":{{"x":23}}}}"#) + "\n";
    let lines = [
        r#"{"e":"connect","conn":"c","device":"d","user":"u"}"#.to_owned() + "\n",
        resume(1),
        r#"{"e":"resumed","op":1}"#.to_owned() + "\n",
        resume(2),
        deliver(early),
        deliver(replayed),
        format!(r#"{{"e":"resumed","op":2,"heads":{heads}}}"#) + "\n",
        deliver(behind),
    ];
    check::check(&from_json_lines(lines.concat().as_bytes()).unwrap())
}

/// The rows are stored nowhere in these logs, which the other rules tell: only what concerns connections counts.
fn connections_hold(verdict: &Verdict) -> bool {
    !["seq_fell_on_connection", "repeat_in_run", "hole_in_run", "hole_behind_resume", "ack_before_replay"]
        .iter()
        .any(|what| verdict.found(what))
}

#[test]
fn live_events_from_before_the_resume_may_repeat_in_a_replay_that_a_removal_ends() {
    assert!(connections_hold(&verdict(&[30, 31], &[24, 25, 26], "{}", &[])));
    assert!(connections_hold(&verdict(&[24, 26], &[24, 25, 26], "{}", &[])));
    // Added again meanwhile: live only.
    assert!(connections_hold(&verdict(&[26, 27], &[24, 25], "{}", &[29, 31])));
    // Nothing was replayed.
    assert!(connections_hold(&verdict(&[26, 29], &[], "{}", &[31])));
}

#[test]
fn a_fall_to_anything_but_the_cursor_is_caught() {
    assert!(verdict(&[30, 31], &[25, 26], "{}", &[]).found("seq_fell_on_connection"));
    assert!(verdict(&[30, 31], &[23, 24, 25], "{}", &[]).found("seq_fell_on_connection"));
}

#[test]
fn a_second_fall_is_caught() {
    assert!(verdict(&[30], &[24, 25, 24], "{}", &[]).found("repeat_in_run"));
    assert!(verdict(&[30, 29], &[24, 25], "{}", &[]).found("seq_fell_on_connection"));
}

#[test]
fn a_hole_in_what_was_replayed_is_caught() {
    assert!(verdict(&[30], &[24, 26], "{}", &[]).found("hole_in_run"));
}

#[test]
fn a_fall_behind_the_ack_is_caught() {
    assert!(verdict(&[30, 31], &[], "{}", &[24, 25]).found("seq_fell_on_connection"));
    assert!(verdict(&[30, 31], &[24, 25], "{}", &[25]).found("seq_fell_on_connection"));
}

#[test]
fn a_member_that_stayed_gets_the_whole_run() {
    let heads = r#"{"x":26}"#;
    assert!(connections_hold(&verdict(&[25, 26], &[24, 25, 26], heads, &[27])));
    assert!(!connections_hold(&verdict(&[25, 26], &[24, 25], heads, &[])));
    assert!(!connections_hold(&verdict(&[], &[24, 25, 26, 25], heads, &[])));
}
