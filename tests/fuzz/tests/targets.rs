//! A short run of each target: the same inputs in every run.

use fuzz::{gateway, mutate, targets};

/// About a second in a debug build.
const COUNT: usize = 20_000;

#[test]
fn engineio_packet() {
    mutate::run("engineio_packet", 1, COUNT, targets::engineio_packet);
}

#[test]
fn engineio_polling_body() {
    mutate::run("engineio_polling_body", 2, COUNT, targets::engineio_polling_body);
}

#[test]
fn socketio_packet() {
    mutate::run("socketio_packet", 3, COUNT, targets::socketio_packet);
}

#[test]
fn socketio_binary_reassembly() {
    mutate::run("socketio_binary_reassembly", 4, COUNT, targets::socketio_binary_reassembly);
}

#[test]
fn chatcall_event() {
    mutate::run("chatcall_event", 5, COUNT, targets::chatcall_event);
}

#[test]
fn sync_cursor() {
    mutate::run("sync_cursor", 6, COUNT, targets::sync_cursor);
}

#[test]
fn socket_attachment() {
    mutate::run("socket_attachment", 7, COUNT, targets::socket_attachment);
}

#[test]
fn search_query() {
    mutate::run("search_query", 8, COUNT, targets::search_query);
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
