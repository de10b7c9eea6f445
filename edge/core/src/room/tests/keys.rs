//! Keys of repeated sends that memory has as hashes only.

use wire::{ErrorCode, UserId};

use super::super::keys::Keys;
use super::{Host, ROOM, actor, code, persisted, stored_messages, text, user};
use crate::limits;
use crate::object::{CallKey, Input, Kind, Object, ObjectId, Output};
use crate::objects::Message;
use crate::sql::{Row, Value};

const WRITER: u64 = 1;
const KEYS_BUNDLE: u64 = limits::KEYS_BUNDLE as u64;

fn key(n: u64) -> String {
    format!("key {n}")
}

/// Sends `count` messages with keys; gives the rows of messages and of bundles.
fn chat(host: &mut Host, count: u64) -> (Vec<Row>, Vec<Row>) {
    let (mut messages, mut bundles) = (Vec::new(), Vec::new());
    for n in 1..=count {
        assert!(matches!(host.send(WRITER, "m", Some(&key(n))), Message::Sent { repeated: false, .. }));
        messages.extend(stored_messages(host));
        bundles.extend(persisted(host, "INSERT INTO room_keys").map(|insert| insert.params[1..].to_vec()));
    }
    (messages, bundles)
}

/// Sends with a key whose message is not in memory: `found` is what storage has at `seq`.
fn send_again(host: &mut Host, content: &str, n: u64, seq: u64, found: Vec<Row>) -> Message {
    host.seen.clear();
    let call = CallKey(1_000_000);
    let msg = Message::Send { from: actor(WRITER), message: text(content, Some(&key(n))) };
    host.room.handle(Input::Object { from: ObjectId::new(Kind::Gateway, "gw-0"), call, msg }, host.now);
    let Some(Output::Load { load, statements, .. }) = host.room.poll_output() else { panic!("storage decides") };
    assert_eq!(statements[0].params, [ROOM.into(), seq.into()]);
    host.give(Input::Loaded { load, result: Ok(vec![found]) });
    let answer = host.seen.iter().find_map(|output| match output {
        Output::Reply { call: answered, msg, .. } if *answered == call => Some(msg.clone()),
        _ => None,
    });
    answer.expect("every call is answered")
}

#[test]
fn every_key_is_in_a_bundle_or_in_a_message_above_it() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    let (_, bundles) = chat(&mut host, 2 * KEYS_BUNDLE + 2);
    assert_eq!(bundles.len(), 2);
    let keys = Keys::from_bundles(&bundles).expect("well formed");
    let seqs: Vec<Option<u64>> = (1..=2 * KEYS_BUNDLE + 1).map(|n| keys.seq_of(user(WRITER), &key(n))).collect();
    let expected: Vec<Option<u64>> = (1..=2 * KEYS_BUNDLE).map(Some).chain([None]).collect();
    assert_eq!(seqs, expected);
    assert_eq!(keys.seq_of(user(2), &key(1)), None, "keys are per sender");
    assert_eq!(keys.seq_of(UserId(uuid::Uuid::nil()), &key(1)), None);
}

#[test]
fn a_damaged_bundle_is_not_read() {
    for keys in [Value::Blob(vec![0; 15]), Value::Null, Value::from("keys")] {
        assert!(Keys::from_bundles(&vec![vec![64_u64.into(), 1_u64.into(), keys]]).is_none());
    }
}

#[test]
fn a_key_whose_message_left_memory_is_compared_with_that_message() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    let (messages, _) = chat(&mut host, 250);
    let Message::Sent { message, repeated: true } = send_again(&mut host, "m", 1, 1, vec![messages[0].clone()]) else {
        panic!("it was sent before")
    };
    assert_eq!((message.seq, message.client_id), (1, Some(key(1))));
    let other = send_again(&mut host, "other words", 2, 2, vec![messages[1].clone()]);
    assert_eq!(code(&other), Some(ErrorCode::Conflict));
}

#[test]
fn a_hash_that_two_keys_share_decides_nothing() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    let (messages, _) = chat(&mut host, 250);
    let Message::Sent { message, repeated: false } = send_again(&mut host, "m", 1, 1, vec![messages[1].clone()]) else {
        panic!("another key's message is no answer")
    };
    assert_eq!(message.seq, 251);
}

#[test]
fn keys_older_than_seven_days_go_with_the_next_bundle() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    chat(&mut host, KEYS_BUNDLE);
    host.now = host.now.plus_ms(limits::DEDUPE_MS + 1);
    for n in 0..KEYS_BUNDLE {
        assert_eq!(persisted(&host, "DELETE FROM room_keys").count(), 0);
        host.send(2, "m", Some(&key(n)));
    }
    let deleted: Vec<_> = persisted(&host, "DELETE FROM room_keys").map(|delete| delete.params[1].clone()).collect();
    assert_eq!(deleted, [Value::from(KEYS_BUNDLE)]);
    assert!(matches!(host.send(WRITER, "m", Some(&key(1))), Message::Sent { repeated: false, .. }));
}
