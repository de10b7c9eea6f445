//! What survives a restart of the gateway.

use serde_json::json;

use super::bench::{Bench, EPOCH, numbered, room, token, user};
use crate::gateway::attachment::{Attachment, Cursor, DIRTY};
use crate::object::{Output, SocketId};
use crate::objects::{self, Message};

fn resume_at(bench: &mut Bench, socket: SocketId, n: u64, seq: u64) {
    bench.emit(socket, Some(1), json!(["sync:resume", {"cursors": {room(n).to_string(): seq}}]));
    bench.heads(&[(n, seq)]);
    let (call, _) = bench.pull(n).expect("asked");
    bench.page(call, n, 0..0, seq);
    bench.ack(socket, 1);
}

fn last(bench: &Bench, socket: SocketId) -> Vec<u8> {
    bench.attached[&socket].last().cloned().expect("attached")
}

#[test]
fn a_quiet_socket_goes_on_after_a_restart_and_pulls_from_its_cursors() {
    let mut bench = Bench::new();
    let socket = bench.client_seeing(1, &[2]);
    resume_at(&mut bench, socket, 1, 5);
    bench.advance(3_000);
    let saved = Attachment::decode(&last(&bench, socket)).expect("clean");
    assert_eq!(saved.rooms[0].cursor, Cursor::Next { next: 6, generation: 1 });
    bench.restart(&[socket]);
    assert!(!bench.is_closed(socket));
    assert!(bench.pull(1).is_none(), "after its User knows the gateway's new life");
    bench.accept(1, &[2]);
    let (call, after) = bench.pull(1).expect("asked");
    assert_eq!(after.0, 5);
    bench.page(call, 1, 6..=7, 7);
    assert_eq!(bench.seqs(socket, 1), [6, 7]);
    bench.text(socket, "42[\"hb\"]");
    assert_eq!(bench.events(socket), [json!(["hb"])]);
    let batch = |epoch| Message::Deliver {
        room: room(1),
        epoch,
        audience: 1,
        users: Some(vec![user(1)]),
        head: 8,
        durable: vec![numbered(room(1), 8)],
        live: vec![],
    };
    bench.room_says(room(1), batch(EPOCH));
    assert_eq!(bench.replies.pop(), Some(Message::Accepted { stale: true, unknown_audience: false }));
    bench.room_says(room(1), batch(EPOCH + 1));
    assert_eq!(bench.seqs(socket, 1), [8]);
}

#[test]
fn a_socket_that_got_events_since_is_closed_at_a_restart() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume_at(&mut bench, socket, 1, 5);
    bench.advance(3_000);
    let before = bench.attached[&socket].len();
    bench.log.clear();
    bench.deliver(room(1), &[1], &[6]);
    bench.deliver(room(1), &[1], &[7]);
    assert_eq!(bench.attached[&socket].len(), before + 1, "marked once");
    assert_eq!(last(&bench, socket), DIRTY);
    let order: Vec<bool> = bench
        .log
        .iter()
        .filter_map(|output| match output {
            Output::Attach { .. } => Some(true),
            Output::Send { .. } => Some(false),
            _ => None,
        })
        .collect();
    assert_eq!(order, [true, false, false], "the mark stands before the event");
    bench.restart(&[socket]);
    assert_eq!(bench.closed[&socket], 1012);
}

#[test]
fn cursors_are_written_after_a_quiet_time() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume_at(&mut bench, socket, 1, 5);
    bench.deliver(room(1), &[1], &[6]);
    assert_eq!(last(&bench, socket), DIRTY);
    bench.advance(2_000);
    let saved = Attachment::decode(&last(&bench, socket)).expect("clean");
    assert_eq!(saved.rooms[0].cursor, Cursor::Next { next: 7, generation: 1 });
}

#[test]
fn zero_writes_the_attachment_with_each_event() {
    let settings = crate::settings::Settings { attach_after_ms: 0, rate_limits: false, ..Default::default() };
    let mut bench = Bench::with(settings);
    let socket = bench.client(1);
    resume_at(&mut bench, socket, 1, 5);
    bench.advance(1_000);
    for seq in 6..9 {
        bench.deliver(room(1), &[1], &[seq]);
        let saved = Attachment::decode(&last(&bench, socket)).expect("clean");
        assert_eq!(saved.rooms[0].cursor, Cursor::Next { next: seq + 1, generation: 1 });
    }
}

#[test]
fn a_resume_under_way_is_not_forgotten_by_a_restart() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.emit(socket, Some(1), json!(["sync:resume", {"cursors": {room(1).to_string(): 1}}]));
    assert_eq!(last(&bench, socket), DIRTY);
    bench.heads(&[(1, 5)]);
    bench.advance(5_000);
    assert_eq!(last(&bench, socket), DIRTY, "not clean while a replay is under way");
}

#[test]
fn live_only_sockets_stay_clean() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.deliver(room(1), &[1], &[1]);
    assert_eq!(bench.attached[&socket].len(), 1);
    bench.restart(&[socket]);
    bench.accept(1, &[]);
    assert!(!bench.is_closed(socket));
}

#[test]
fn sockets_without_an_attachment_are_closed_at_a_restart() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.restart(&[socket]);
    assert_eq!(bench.closed[&socket], 1012);
}

#[test]
fn a_session_that_ended_meanwhile_is_closed_after_the_restart() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.restart(&[socket]);
    let (call, ()) = bench.take(|_, msg| matches!(msg, Message::SocketUp { .. }).then_some(())).expect("asked");
    bench.refused(call, wire::ErrorCode::Unauthorized);
    assert_eq!(bench.closed[&socket], 4002);
}

#[test]
fn a_user_that_cannot_be_reached_after_the_restart_is_asked_again() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.restart(&[socket]);
    let (call, ()) = bench.take(|_, msg| matches!(msg, Message::SocketUp { .. }).then_some(())).expect("asked");
    bench.fail(call, crate::object::CallError::Lost);
    assert!(!bench.is_closed(socket));
    bench.advance(1_000);
    bench.text(socket, "3");
    bench.advance(21_000);
    bench.accept(1, &[]);
    assert!(!bench.is_closed(socket));
}

#[test]
fn who_left_does_not_come_back_by_a_restart() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.text(socket, "41");
    assert_eq!(last(&bench, socket), DIRTY);
}

#[test]
fn opened_conversations_and_renewed_tokens_survive() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.emit(socket, None, json!(["chat:join", room(1)]));
    let (call, ()) = bench.take(|to, _| (*to == objects::room(room(1))).then_some(())).expect("asked");
    bench.reply(call, Message::Joined { seq: 0, read_seq: 0, members: vec![], generation: 1 });
    bench.emit(socket, None, json!(["auth:renew", {"token": token(1, 1, 1_800_000)}]));
    bench.advance(3_000);
    let saved = Attachment::decode(&last(&bench, socket)).expect("clean");
    assert!(saved.rooms[0].opened);
    assert_eq!(saved.expires.0, super::bench::START.0 + 1_800_000);
    bench.restart(&[socket]);
    bench.accept(1, &[]);
    bench.texts(socket);
    let typing = objects::LiveEvent::Typing { user: user(2), username: "user2".into(), on: true };
    bench.room_says(
        room(1),
        Message::Deliver {
            room: room(1),
            epoch: EPOCH + 1,
            audience: 1,
            users: Some(vec![user(1)]),
            head: 0,
            durable: vec![],
            live: vec![typing],
        },
    );
    assert_eq!(bench.events(socket)[0][0], "chat:typing");
}

#[test]
fn an_idle_gateway_says_so() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    assert!(!crate::object::Object::is_idle(&bench.gateway, bench.now));
    bench.step(crate::object::Input::SocketClosed { socket, clean: true });
    bench.advance(crate::limits::RECOVERY_MS + 60_000);
    assert!(crate::object::Object::is_idle(&bench.gateway, bench.now));
    assert_eq!(crate::object::Object::poll_timeout(&bench.gateway), None);
}
