//! Events of clients and what Rooms answer.

use serde_json::{Value, json};
use wire::ErrorCode;

use super::bench::{Bench, message, room, user};
use crate::object::{CallError, CallKey, ObjectId, SocketId};
use crate::objects::{self, Message};

fn asked_room(bench: &mut Bench) -> (CallKey, Message) {
    bench
        .take(|to: &ObjectId, msg| (*to == objects::room(room(1))).then(|| msg.clone()))
        .expect("the Room is asked")
}

fn error(bench: &mut Bench, socket: SocketId) -> Value {
    let events = bench.events(socket);
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event[0], "error");
    event[1].clone()
}

#[test]
fn a_message_is_acknowledged_with_the_row_the_room_stored() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.emit(socket, Some(5), json!(["chat:message", {"conversationId": room(1), "content": "hi", "type": "text",
        "clientId": "c1", "senderId": user(2), "userId": user(2)}]));
    let (call, msg) = asked_room(&mut bench);
    let Message::Send { from, message: sent } = msg else { panic!("{msg:?}") };
    assert_eq!((from.id, from.username.as_str()), (user(1), "user1"), "the token says who sends");
    assert_eq!((sent.content.as_str(), sent.client_id.as_deref()), ("hi", Some("c1")));
    assert_eq!(bench.texts(socket), Vec::<String>::new(), "no answer before the Room's");
    bench.reply(call, Message::Sent { message: message(room(1), 42), repeated: false });
    let ack = bench.ack(socket, 5);
    assert_eq!((&ack["ok"], &ack["message"]["seq"]), (&json!(true), &json!(42)));
}

#[test]
fn failures_go_to_the_callback_or_to_the_error_event() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.emit(socket, Some(1), json!(["chat:message", {"conversationId": room(1), "content": ""}]));
    let ack = bench.ack(socket, 1);
    assert_eq!((&ack["error"]["code"], &ack["error"]["field"]), (&json!("INVALID_DATA"), &json!("content")));
    bench.emit(socket, None, json!(["chat:message", {"conversationId": room(1), "content": ""}]));
    let event = error(&mut bench, socket);
    assert_eq!((&event["code"], &event["event"]), (&json!("INVALID_DATA"), &json!("chat:message")));
    assert!(bench.asked.is_empty());
}

#[test]
fn what_a_room_refuses_reaches_the_client() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.emit(socket, Some(1), json!(["chat:join", room(1)]));
    let (call, _) = asked_room(&mut bench);
    bench.refused(call, ErrorCode::PermissionDenied);
    assert_eq!(bench.ack(socket, 1)["error"]["code"], "PERMISSION_DENIED");
    bench.emit(socket, None, json!(["chat:typing", {"conversationId": room(1)}]));
    let (call, _) = asked_room(&mut bench);
    bench.refused(call, ErrorCode::PermissionDenied);
    assert_eq!(error(&mut bench, socket)["code"], "PERMISSION_DENIED");
}

#[test]
fn joining_answers_where_the_conversation_stands() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.emit(socket, Some(1), json!(["chat:join", room(1)]));
    let (call, msg) = asked_room(&mut bench);
    assert_eq!(msg, Message::Join { user: user(1) });
    bench.reply(call, Message::Joined { seq: 9, read_seq: 4, members: vec![], generation: 1 });
    let wanted = json!({"ok": true, "conversationId": room(1), "seq": 9, "readSeq": 4, "members": []});
    assert_eq!(bench.ack(socket, 1), wanted);
    bench.emit(socket, Some(2), json!(["chat:leave", room(1)]));
    assert_eq!(bench.ack(socket, 2), json!({"ok": true}));
}

#[test]
fn marks_pass_to_the_room() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.emit(socket, Some(1), json!(["chat:markRead", {"conversationId": room(1), "upTo": 7}]));
    let (call, _) = asked_room(&mut bench);
    bench.reply(call, Message::Marked { read_seq: 7 });
    assert_eq!(bench.ack(socket, 1), json!({"ok": true, "readSeq": 7}));
    bench.emit(socket, Some(2), json!(["chat:delivered", {"conversationId": room(1), "upTo": 8}]));
    let (call, msg) = asked_room(&mut bench);
    assert_eq!(msg, Message::MarkDelivered { user: user(1), up_to: 8 });
    bench.reply(call, Message::Done);
    assert_eq!(bench.ack(socket, 2), json!({"ok": true}));
}

#[test]
fn every_send_resolves_though_the_room_is_silent_or_lost() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    let send = json!(["chat:message", {"conversationId": room(1), "content": "hi"}]);
    bench.emit(socket, Some(1), send.clone());
    bench.advance(9_000);
    assert_eq!(bench.ack(socket, 1)["error"]["code"], "MESSAGE_SEND_FAILED");
    let (late, _) = asked_room(&mut bench);
    bench.reply(late, Message::Sent { message: message(room(1), 1), repeated: false });
    assert_eq!(bench.texts(socket), Vec::<String>::new(), "an answer that comes too late is no second one");
    for (failure, code) in [
        (CallError::Failed, "MESSAGE_SEND_FAILED"),
        (CallError::Lost, "MESSAGE_SEND_FAILED"),
        (CallError::Overloaded, "RATE_LIMITED"),
    ] {
        bench.emit(socket, Some(2), send.clone());
        let (call, _) = asked_room(&mut bench);
        bench.fail(call, failure);
        let ack = bench.ack(socket, 2);
        assert_eq!(ack["error"]["code"], code);
        assert!(ack["error"]["retryAfter"].is_number());
    }
    bench.emit(socket, Some(3), json!(["chat:join", room(1)]));
    let (call, _) = asked_room(&mut bench);
    bench.fail(call, CallError::Lost);
    assert_eq!(bench.ack(socket, 3)["error"]["code"], "NODE_UNAVAILABLE");
}

#[test]
fn hb_is_echoed_byte_for_byte() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.text(socket, r#"42["hb"]"#);
    assert_eq!(bench.texts(socket), [r#"42["hb"]"#]);
}

#[test]
fn unknown_events_and_bad_payloads_never_close_the_connection() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    for args in [
        json!(["chat:typing", null]),
        json!(["chat:typing"]),
        json!(["chat:join", {"$gt": ""}]),
        json!(["chat:message", "x"]),
        json!(["sync:resume", 7]),
        json!(["nobody:knows", 1]),
        json!(["auth:renew", []]),
    ] {
        bench.emit(socket, Some(1), args.clone());
        assert_eq!(bench.ack(socket, 1)["error"]["code"], "INVALID_DATA", "{args}");
        bench.emit(socket, None, args.clone());
        assert_eq!(error(&mut bench, socket)["event"], args[0]);
    }
    bench.text(socket, "421[\"chat:message\",{\"content\":\"\\ud800\"}]");
    assert_eq!(bench.ack(socket, 1)["error"]["code"], "INVALID_DATA", "a lone surrogate");
    assert!(!bench.is_closed(socket));
}

#[test]
fn acknowledgements_nobody_asked_for_are_ignored() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.text(socket, "437[1]");
    bench.text(socket, "437[1]");
    assert_eq!(bench.texts(socket), Vec::<String>::new());
    assert!(!bench.is_closed(socket));
}

#[test]
fn binary_where_text_belongs_is_refused() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.text(socket, r#"451-1["chat:join",{"_placeholder":true,"num":0}]"#);
    bench.text(socket, "3");
    bench.binary(socket, &[1, 2, 3]);
    assert_eq!(bench.ack(socket, 1)["error"]["code"], "INVALID_DATA");
    bench.binary(socket, &[1]);
    assert!(bench.is_closed(socket), "nobody announced this one");
}
