use serde_json::{Value, json};
use wire::{ErrorCode, Message, MessageId, MessageKind, RoomId, Timestamp, UserId};

use super::DIALECT;
use crate::dialect::{Answer, Command, Cursors, Resumed, RoomMarks, ServerEvent};
use crate::error::Failure;
use crate::objects::{
    ContactNews, Deleted, Marks, MemberAdded, MemberRemoved, MessageChange, Numbered, Profile, Reacted, ReadUpTo, Removal,
    RoomEvent, Updated,
};
use crate::settings::Settings;

fn room(n: u64) -> RoomId {
    RoomId(wire::uuid_v7(1_772_357_400_000, 1, n))
}

fn user(n: u64) -> UserId {
    UserId(wire::uuid_v7(1_772_357_400_000, 2, n))
}

fn message_id(n: u64) -> MessageId {
    MessageId(wire::uuid_v7(1_772_357_400_000, 3, n))
}

fn parse(event: &str, payload: Value) -> Result<Command, Failure> {
    DIALECT.command(event, &[payload], &Settings::default()).expect("a known event").1
}

fn bad_field(event: &str, payload: Value) -> String {
    let failure = parse(event, payload.clone()).expect_err(&payload.to_string());
    assert_eq!(failure.code, ErrorCode::InvalidData);
    failure.field.expect("a field")
}

fn packet(event: ServerEvent<'_>) -> String {
    DIALECT.event_packet(&event).expect("a word for it")
}

#[test]
fn a_bare_string_names_the_conversation_of_join_and_leave() {
    assert_eq!(parse("chat:join", json!(room(1))), Ok(Command::Join { room: room(1) }));
    assert_eq!(parse("chat:leave", json!(room(1))), Ok(Command::Leave { room: room(1) }));
    for wrong in [json!(null), json!({"conversationId": room(1)}), json!(""), json!(7), json!(["x"]), json!("1 OR 1=1")] {
        assert_eq!(bad_field("chat:join", wrong), "conversationId");
    }
}

#[test]
fn unchecked_payloads_are_refused_by_field() {
    for event in ["chat:typing", "chat:stopTyping", "chat:message", "chat:markRead", "chat:delivered", "chat:edit", "chat:delete", "chat:react"] {
        assert_eq!(bad_field(event, json!(null)), "payload");
        assert_eq!(bad_field(event, json!("x")), "payload");
        assert_eq!(bad_field(event, json!({})), "conversationId");
        assert_eq!(bad_field(event, json!({"conversationId": {"$gt": ""}})), "conversationId");
    }
    let id = json!(room(1));
    assert_eq!(bad_field("chat:message", json!({"conversationId": id, "content": 1})), "content");
    assert_eq!(bad_field("chat:markRead", json!({"conversationId": id})), "upTo");
    assert_eq!(bad_field("chat:markRead", json!({"conversationId": id, "upTo": -1})), "upTo");
    assert_eq!(bad_field("chat:markRead", json!({"conversationId": id, "upTo": 1.5})), "upTo");
    assert_eq!(bad_field("chat:markRead", json!({"conversationId": id, "messageIds": []})), "messageIds");
    assert_eq!(bad_field("chat:markRead", json!({"conversationId": id, "messageIds": ["x"]})), "messageIds");
    assert_eq!(bad_field("chat:delivered", json!({"conversationId": id, "upTo": "1"})), "upTo");
    for event in ["chat:edit", "chat:delete", "chat:react"] {
        assert_eq!(bad_field(event, json!({"conversationId": id, "content": "x", "emoji": "👍", "on": true})), "messageId");
        assert_eq!(bad_field(event, json!({"conversationId": id, "messageId": {"$gt": ""}})), "messageId");
    }
    let named = |more: (&str, Value)| json!({"conversationId": id, "messageId": message_id(1), more.0: more.1});
    assert_eq!(bad_field("chat:edit", named(("content", json!("")))), "content");
    assert_eq!(bad_field("chat:react", named(("emoji", json!("👍👍")))), "emoji");
    assert_eq!(bad_field("chat:react", named(("emoji", json!("👍")))), "on");
    assert_eq!(bad_field("auth:renew", json!({"token": 1})), "token");
}

#[test]
fn missing_arguments_are_refused_like_wrong_ones() {
    let failure = DIALECT.command("chat:join", &[], &Settings::default()).expect("known").1.expect_err("no id");
    assert_eq!(failure.field.as_deref(), Some("conversationId"));
}

#[test]
fn read_marks_name_a_seq_or_messages() {
    let id = json!(room(1));
    let read = |up_to| Ok(Command::MarkRead { room: room(1), up_to });
    assert_eq!(parse("chat:markRead", json!({"conversationId": id, "upTo": 7})), read(ReadUpTo::Seq(7)));
    let ids = vec![message_id(1), message_id(2)];
    assert_eq!(parse("chat:markRead", json!({"conversationId": id, "messageIds": ids})), read(ReadUpTo::Ids(ids)));
    let one = json!({"conversationId": id, "upTo": message_id(3)});
    assert_eq!(parse("chat:markRead", one), read(ReadUpTo::Ids(vec![message_id(3)])));
}

#[test]
fn changes_name_a_message_of_a_conversation() {
    let wanted = |change| Ok(Command::Change { room: room(1), message: message_id(1), change });
    let named = |more: Value| {
        let mut payload = json!({"conversationId": room(1), "messageId": message_id(1), "userId": user(9)});
        payload.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        payload
    };
    assert_eq!(parse("chat:edit", named(json!({"content": " new "}))), wanted(MessageChange::Edit { content: " new ".into() }));
    assert_eq!(parse("chat:delete", named(json!({}))), wanted(MessageChange::Delete));
    let react = MessageChange::React { emoji: "👍".into(), on: false };
    assert_eq!(parse("chat:react", named(json!({"emoji": "👍", "on": false}))), wanted(react));
}

#[test]
fn cursors_are_ids_and_whole_numbers() {
    let payload = json!({"cursors": {room(1).to_string(): 41}, "generations": {room(1).to_string(): 1}});
    let wanted = Cursors { cursors: vec![(room(1), 41)], generations: [(room(1), 1)].into() };
    assert_eq!(parse("sync:resume", payload), Ok(Command::Resume(wanted)));
    assert_eq!(parse("sync:resume", json!({"cursors": {}})), Ok(Command::Resume(Cursors::default())));
    for wrong in [json!({}), json!({"cursors": []}), json!({"cursors": {"x": 1}}), json!({"cursors": {room(1).to_string(): "1"}})] {
        assert_eq!(bad_field("sync:resume", wrong), "cursors");
    }
    assert_eq!(bad_field("sync:resume", json!({"cursors": {}, "generations": [1]})), "generations");
}

#[test]
fn unknown_events_have_no_command() {
    assert!(DIALECT.command("chat:unknown", &[], &Settings::default()).is_none());
}

#[test]
fn a_message_event_repeats_the_conversation_id() {
    let message = Message {
        id: message_id(1),
        conversation_id: room(1),
        seq: 42,
        client_id: None,
        sender_id: Some(user(1)),
        sender_username: "ann".into(),
        sender_avatar_url: None,
        content: "hello \u{1e}\u{2028}".into(),
        kind: MessageKind::Text,
        file_url: None,
        attachments: vec![],
        reply_to: None,
        reactions: vec![],
        read_by: vec![],
        created_at: Timestamp(1_772_357_400_000),
        edited_at: None,
        deleted_at: None,
        metadata: None,
    };
    let text = packet(ServerEvent::Message { room: room(1), message: &message });
    let body: Value = serde_json::from_str(text.strip_prefix("42").expect("an event")).expect("JSON");
    let mut wanted = serde_json::to_value(&message).expect("JSON");
    wanted["conversationId"] = json!(room(1));
    assert_eq!(body, json!(["chat:message", wanted]));
    assert!(!text.contains('\u{1e}'), "the record separator is escaped");
}

#[test]
fn durable_events_carry_conversation_and_seq() {
    let (r, u) = (room(1), user(1));
    let member = wire::Member {
        id: user(2),
        username: "bob".into(),
        display_name: "Bob".into(),
        avatar_url: None,
        status: String::new(),
        role: wire::MemberRole::Member,
        joined_at: Timestamp(1_772_357_400_000),
        delivered_seq: 0,
        read_seq: 0,
    };
    let reactions = vec![wire::Reaction { emoji: "👍".into(), count: 1, user_ids: vec![u], me: false }];
    let at = Timestamp(1_772_357_400_000);
    let reacted = Reacted { message_id: message_id(1), user_id: u, emoji: "👍".into(), on: true, reactions: reactions.clone() };
    for (event, name, wanted) in [
        (RoomEvent::Deleted(Deleted { message_id: message_id(1), by: u, deleted_at: at }), "chat:deleted",
            json!({"messageId": message_id(1), "by": u, "deleted_at": "2026-03-01T09:30:00.000Z"})),
        (RoomEvent::Reaction(reacted), "chat:reaction",
            json!({"messageId": message_id(1), "userId": u, "emoji": "👍", "on": true, "reactions": reactions})),
        (RoomEvent::Updated(Updated { by: u, changes: json!({"name": "Crew"}) }), "conversation:updated",
            json!({"by": u, "changes": {"name": "Crew"}})),
        (RoomEvent::MemberAdded(MemberAdded { by: u, member: member.clone() }), "conversation:memberAdded",
            json!({"by": u, "member": member})),
        (RoomEvent::MemberRemoved(MemberRemoved { by: u, user_id: user(2), reason: Removal::Left }), "conversation:memberRemoved",
            json!({"by": u, "userId": user(2), "reason": "left"})),
    ] {
        let numbered = Numbered { seq: 7, event };
        let text = packet(ServerEvent::durable(r, &numbered));
        let body: Value = serde_json::from_str(text.strip_prefix("42").expect("an event")).expect("JSON");
        let mut whole = wanted;
        (whole["conversationId"], whole["seq"]) = (json!(r), json!(7));
        assert_eq!(body, json!([name, whole]));
        let stored = serde_json::to_string(&numbered.event).expect("JSON");
        assert_eq!(serde_json::from_str::<RoomEvent>(&stored).expect("the same"), numbered.event);
    }
}

#[test]
fn events_have_the_shapes_of_the_contract() {
    let (r, u) = (room(1), user(1));
    let failure = Failure::rate_limited(1_500);
    for (event, wanted) in [
        (ServerEvent::Typing { room: r, user: u, username: "ann", on: true }, json!(["chat:typing", {"conversationId": r, "userId": u, "username": "ann"}])),
        (ServerEvent::Typing { room: r, user: u, username: "ann", on: false }, json!(["chat:stopTyping", {"conversationId": r, "userId": u}])),
        (ServerEvent::Read { room: r, user: u, ids: &[message_id(1)], up_to: 7 }, json!(["chat:read", {"conversationId": r, "userId": u, "messageIds": [message_id(1)], "upTo": 7}])),
        (ServerEvent::Receipts { room: r, user: u, delivered_seq: 8, read_seq: 7 }, json!(["chat:receipts", {"conversationId": r, "userId": u, "deliveredSeq": 8, "readSeq": 7}])),
        (ServerEvent::OnlineList { users: &[u] }, json!(["presence:onlineList", [u]])),
        (ServerEvent::Presence { user: u, online: true }, json!(["presence:online", {"userId": u}])),
        (ServerEvent::Presence { user: u, online: false }, json!(["presence:offline", {"userId": u}])),
        (ServerEvent::Reset { room: r, head: 9, reason: "generation" }, json!(["sync:reset", {"conversationId": r, "headSeq": 9, "reason": "generation"}])),
        (ServerEvent::Expiring { at: Timestamp(1_772_357_400_000) }, json!(["auth:expiring", {"expiresAt": "2026-03-01T09:30:00.000Z"}])),
        (ServerEvent::Revoked { reason: "logout" }, json!(["auth:revoked", {"reason": "logout"}])),
        (ServerEvent::Draining { reconnect_after_ms: 3000 }, json!(["server:draining", {"reconnectAfterMs": 3000}])),
        (ServerEvent::Heartbeat, json!(["hb"])),
        (ServerEvent::Error { failure: &failure, event: "chat:message" }, json!(["error", {"code": "RATE_LIMITED", "message": "Too many requests, please wait", "event": "chat:message", "retryAfter": 2}])),
    ] {
        let text = packet(event);
        let body: Value = serde_json::from_str(text.strip_prefix("42").expect("an event")).expect("JSON");
        assert_eq!(body, wanted);
    }
    assert_eq!(packet(ServerEvent::Heartbeat), "42[\"hb\"]", "byte for byte");
}

#[test]
fn acknowledgements_have_the_shapes_of_the_contract() {
    let r = room(1);
    let mut resumed = Resumed::default();
    resumed.heads.insert(r, 44);
    resumed.more.insert(room(2), 500);
    resumed.removed.push(room(3));
    resumed.generations.insert(r, 1);
    let members = vec![Marks { user: user(1), delivered_seq: 44, read_seq: 43 }];
    resumed.marks.insert(r, RoomMarks { read_seq: 40, members });
    let failure = Failure::invalid("content", "The text is empty");
    for (answer, wanted) in [
        (Answer::Done, json!({"ok": true})),
        (Answer::Joined { room: r, seq: 3, read_seq: 2, members: &[] }, json!({"ok": true, "conversationId": r, "seq": 3, "readSeq": 2, "members": []})),
        (Answer::Marked { read_seq: 5 }, json!({"ok": true, "readSeq": 5})),
        (Answer::Online { users: &[user(1)] }, json!([user(1)])),
        (Answer::Renewed { expires: Timestamp(1_772_357_400_000) }, json!({"ok": true, "expiresAt": "2026-03-01T09:30:00.000Z"})),
        (Answer::Refused(&failure), json!({"error": {"code": "INVALID_DATA", "message": "The text is empty", "field": "content"}})),
        (Answer::Resumed(&resumed), json!({"ok": true, "heads": {r.to_string(): 44}, "more": {room(2).to_string(): 500},
            "removed": [room(3)], "generations": {r.to_string(): 1}, "calls": [],
            "marks": {r.to_string(): {"readSeq": 40, "members": {user(1).to_string(): {"deliveredSeq": 44, "readSeq": 43}}}}})),
    ] {
        let text = DIALECT.ack_packet(7, &answer);
        let body: Value = serde_json::from_str(text.strip_prefix("437").expect("the ack id")).expect("JSON");
        assert_eq!(body, json!([wanted]));
    }
}

#[test]
fn news_of_contacts_have_their_shapes() {
    let by = Profile {
        id: user(1),
        username: "ann".into(),
        display_name: "Ann".into(),
        avatar_url: None,
        status: String::new(),
        receipts: true,
    };
    let news = |news| {
        let packet = packet(ServerEvent::Contact { news: &news });
        serde_json::from_str::<Value>(packet.strip_prefix("42").unwrap_or(&packet).trim_start_matches('2')).expect("JSON")
    };
    let shown = json!({"id": user(1), "username": "ann", "display_name": "Ann", "avatar_url": null, "status": ""});
    let wanted = json!(["contact:request", {"user": shown, "created_at": "2026-03-01T09:30:00.000Z"}]);
    assert_eq!(news(ContactNews::Asked { by, at: Timestamp(1_772_357_400_000) }), wanted);
    let wanted = json!(["contact:updated", {"userId": user(1), "status": "accepted"}]);
    assert_eq!(news(ContactNews::Is { other: user(1), status: "accepted".into() }), wanted);
}
