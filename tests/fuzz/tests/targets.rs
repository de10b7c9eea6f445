//! A short run of each target: the same inputs in every run.

use std::collections::BTreeSet;
use std::path::Path;

use fuzz::targets::{TARGETS, named};
use fuzz::{gateway, mutate};

macro_rules! short_runs {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            short_run(stringify!($name));
        })*

        const RUNS: &[&str] = &[$(stringify!($name)),*];
    };
}

short_runs! {
    engineio_packet engineio_polling_body engineio_query socketio_packet socketio_binary_reassembly chatcall_event sync_cursor
    recovery_claim session_handover socket_attachment http_request origin client_address access_token access_token_claims
    refresh_token message_content reaction mentions search_query ids time object_message forwarded_request
    internal_signature store_answer room_messages user_messages hrana_reply variables
}

/// The seed is the place in the list.
fn short_run(name: &str) {
    let target = named(name).expect("a target");
    let seed = RUNS.iter().position(|run| *run == name).expect("a run");
    let taken = mutate::run(target, seed as u64 + 1, target.count * mutate::rounds());
    assert!(taken.committed > 0, "nothing of the corpus is what the parser reads: {taken:?}");
    assert!(taken.mutated > 0, "no mutation is what the parser reads: {taken:?}");
}

#[test]
fn every_target_has_a_corpus_and_a_run() {
    let targets: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(targets, RUNS.iter().copied().collect());
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name().to_string_lossy().into_owned();
    let folders: BTreeSet<String> = folders.map(name).collect();
    let wanted = targets.into_iter().chain(["gateway_frames"]).map(str::to_owned);
    assert_eq!(folders, wanted.collect());
}

#[test]
fn a_gateway_survives_everything_and_forgets_it() {
    for seed in 0..8 * mutate::rounds() as u64 {
        let _ = gateway::storm(seed, 3_000);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(gateway::storm(77, 1_000), gateway::storm(77, 1_000));
}
