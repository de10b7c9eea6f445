//! Conversations that begin and end for a socket: E-041, E-045.

use serde_json::json;

use super::bench::{Bench, EPOCH, numbered, room, user};
use crate::object::{Input, SocketId};
use crate::objects::{LiveEvent, Message, Numbered, Removal};

fn created(users: &[u64]) -> LiveEvent {
    let conversation = wire::Conversation {
        id: room(1),
        kind: wire::ConversationType::Group,
        name: None,
        avatar_url: None,
        created_by: None,
        created_at: wire::Timestamp(0),
        seq: 1,
        members: Vec::new(),
        last_message: None,
        unread_count: None,
        mention_count: 0,
        muted_until: None,
        active_call: None,
    };
    LiveEvent::Created { users: users.iter().map(|n| user(*n)).collect(), conversation: Box::new(conversation) }
}

fn batch(audience: u64, users: &[u64], durable: Vec<Numbered>, live: Vec<LiveEvent>) -> Message {
    let users = Some(users.iter().map(|n| user(*n)).collect());
    Message::Deliver { room: room(1), epoch: EPOCH, audience, users, head: 0, durable, live }
}

fn names(bench: &mut Bench, socket: SocketId) -> Vec<String> {
    bench.events(socket).iter().map(|event| event[0].as_str().unwrap_or_default().to_owned()).collect()
}

fn gone(n: u64) -> LiveEvent {
    LiveEvent::Dismissed { user: user(n), reason: Removal::Removed }
}

#[test]
fn a_new_conversation_is_told_to_those_who_are_new_and_before_its_events() {
    let mut bench = Bench::new();
    let (old, new) = (bench.client(1), bench.client(2));
    bench.room_says(room(1), batch(1, &[1, 2], vec![numbered(room(1), 1)], vec![created(&[2])]));
    assert_eq!(names(&mut bench, old), ["chat:message"]);
    assert_eq!(names(&mut bench, new), ["conversation:created", "chat:message"]);
}

#[test]
fn the_last_event_of_a_conversation_is_that_it_is_over() {
    let mut bench = Bench::new();
    let (stays, goes) = (bench.client(1), bench.client(2));
    bench.room_says(room(1), batch(1, &[1, 2], vec![numbered(room(1), 1)], vec![]));
    names(&mut bench, goes);
    names(&mut bench, stays);
    bench.room_says(room(1), batch(2, &[1], vec![numbered(room(1), 2)], vec![]));
    bench.room_says(room(1), batch(2, &[1], vec![], vec![gone(2)]));
    assert_eq!(bench.events(goes), [json!(["conversation:removed", {"conversationId": room(1), "reason": "removed"}])]);
    bench.room_says(room(1), batch(2, &[1], vec![numbered(room(1), 3)], vec![]));
    assert_eq!(names(&mut bench, goes), Vec::<String>::new());
    assert_eq!(names(&mut bench, stays), ["chat:message", "chat:message"]);
}

#[test]
fn an_old_word_of_removal_does_not_reach_who_is_back() {
    let mut bench = Bench::new();
    let socket = bench.client(2);
    bench.room_says(room(1), batch(3, &[2], vec![numbered(room(1), 1)], vec![]));
    bench.room_says(room(1), batch(2, &[], vec![], vec![gone(2)]));
    bench.room_says(room(1), batch(3, &[2], vec![numbered(room(1), 2)], vec![]));
    assert_eq!(names(&mut bench, socket), ["chat:message", "chat:message"]);
}

#[test]
fn what_was_pulled_for_somebody_who_goes_is_not_written() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    let cursors = json!({room(1).to_string(): 0, room(2).to_string(): 0});
    bench.emit(socket, Some(1), json!(["sync:resume", {"cursors": cursors}]));
    bench.heads(&[(1, 90), (2, 50)]);
    let (first, _) = bench.pull(1).expect("asked");
    let (second, _) = bench.pull(2).expect("asked");
    bench.page(second, 2, 1..=50, 50);
    bench.page(first, 1, 1..=90, 90);
    assert_eq!(bench.seqs(socket, 1).len(), 50, "the rest waits for the socket");
    bench.room_says(room(1), batch(2, &[], vec![], vec![gone(1)]));
    bench.step(Input::Drained { socket });
    let texts = bench.texts(socket);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("431") && texts[0].contains(&format!("\"removed\":[\"{}\"]", room(1))));
    assert!(texts[1].contains("conversation:removed"));
}
