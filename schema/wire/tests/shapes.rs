//! Each common object as the contract's section 3 writes it: a changed name or type fails here first.

use serde_json::json;
use wire::{
    CallSummary, Conversation, ConversationType, ErrorCode, Member, MemberRole, Message, MessageId, MessageKind, OwnUser,
    PublicUser, Reaction, RoomId, Timestamp, UserId, UserRow, uuid_v7,
};

const ID: &str = "00000000-03e8-7001-8000-000000000002";
const AT: Timestamp = Timestamp(1_772_357_400_000);

fn user() -> UserId {
    UserId(uuid_v7(1000, 1, 2))
}

fn message() -> Message {
    Message {
        id: MessageId(user().0),
        conversation_id: RoomId(user().0),
        seq: 42,
        client_id: Some("c1".into()),
        sender_id: Some(user()),
        sender_username: "ann".into(),
        sender_avatar_url: None,
        content: "hello".into(),
        kind: MessageKind::Text,
        file_url: None,
        attachments: Vec::new(),
        reply_to: None,
        reactions: vec![Reaction { emoji: "👍".into(), count: 1, user_ids: vec![user()], me: true }],
        read_by: vec![user()],
        created_at: AT,
        edited_at: None,
        deleted_at: None,
        metadata: None,
    }
}

#[test]
fn a_message_is_a_snake_case_row() {
    let row = json!({"id": ID, "conversation_id": ID, "seq": 42, "client_id": "c1", "sender_id": ID, "sender_username": "ann",
        "sender_avatar_url": null, "content": "hello", "type": "text", "file_url": null, "attachments": [], "reply_to": null,
        "reactions": [{"emoji": "👍", "count": 1, "user_ids": [ID], "me": true}], "read_by": [ID],
        "created_at": "2026-03-01T09:30:00.000Z", "edited_at": null, "deleted_at": null, "metadata": null});
    assert_eq!(serde_json::to_value(message()).expect("it is JSON"), row);
    assert_eq!(serde_json::from_value::<Message>(row).expect("it is a message"), message());
}

#[test]
fn a_conversation_shows_its_list_fields_only_in_lists() {
    let member = Member {
        id: user(),
        username: "ann".into(),
        display_name: "Ann".into(),
        avatar_url: None,
        status: String::new(),
        role: MemberRole::Owner,
        joined_at: AT,
        delivered_seq: 42,
        read_seq: 40,
    };
    let mut conversation = Conversation {
        id: RoomId(user().0),
        kind: ConversationType::Group,
        name: Some("Crew".into()),
        avatar_url: None,
        created_by: Some(user()),
        created_at: AT,
        seq: 42,
        members: vec![member],
        last_message: None,
        unread_count: None,
        mention_count: 0,
        muted_until: None,
        active_call: Some(CallSummary { call_id: "c".into(), kind: "video".into(), participants: 3 }),
    };
    let alone = json!({"id": ID, "type": "group", "name": "Crew", "avatar_url": null, "created_by": ID,
        "created_at": "2026-03-01T09:30:00.000Z", "seq": 42, "members": [{"id": ID, "username": "ann", "display_name": "Ann",
        "avatar_url": null, "status": "", "role": "owner", "joined_at": "2026-03-01T09:30:00.000Z", "delivered_seq": 42,
        "read_seq": 40}], "mentionCount": 0, "mutedUntil": null,
        "activeCall": {"callId": "c", "type": "video", "participants": 3}});
    assert_eq!(serde_json::to_value(&conversation).expect("it is JSON"), alone);
    conversation.last_message = Some(None);
    conversation.unread_count = Some(2);
    let listed = serde_json::to_value(&conversation).expect("it is JSON");
    assert_eq!((&listed["lastMessage"], &listed["unreadCount"]), (&json!(null), &json!(2)));
    assert!(listed.as_object().is_some_and(|fields| fields.contains_key("lastMessage")));
}

#[test]
fn users_show_others_less_than_themselves() {
    let own = OwnUser {
        id: user(),
        username: "ann".into(),
        display_name: "Ann".into(),
        avatar_url: None,
        status: "at lunch".into(),
        email: Some("ann@example.com".into()),
        bio: String::new(),
        created_at: AT,
        presence: "online".into(),
        role: "admin".into(),
    };
    assert_eq!(
        serde_json::to_value(own).expect("it is JSON"),
        json!({"id": ID, "username": "ann", "display_name": "Ann", "avatar_url": null, "status": "at lunch",
            "email": "ann@example.com", "bio": "", "created_at": "2026-03-01T09:30:00.000Z", "presence": "online", "role": "admin"})
    );
    let public = PublicUser {
        id: user(),
        username: "ann".into(),
        display_name: "Ann".into(),
        avatar_url: None,
        status: "at lunch".into(),
    };
    assert_eq!(
        serde_json::to_value(public).expect("it is JSON"),
        json!({"id": ID, "username": "ann", "display_name": "Ann", "avatar_url": null, "status": "at lunch"})
    );
    let row = UserRow { id: user(), username: "ann".into(), avatar_url: None, status: String::new() };
    assert_eq!(
        serde_json::to_value(row).expect("it is JSON"),
        json!({"id": ID, "username": "ann", "avatar_url": null, "status": ""})
    );
}

#[test]
fn codes_and_kinds_are_the_contracts_words() {
    let word = |code: ErrorCode| serde_json::to_value(code).expect("it is JSON");
    assert_eq!(word(ErrorCode::NotAMember), "NOT_A_MEMBER");
    assert_eq!(word(ErrorCode::MessageSendFailed), "MESSAGE_SEND_FAILED");
    assert_eq!(serde_json::from_value::<MessageKind>(json!("audio")).ok(), Some(MessageKind::Voice));
    assert_eq!(serde_json::to_value(MessageKind::Voice).expect("it is JSON"), "voice");
    assert!(serde_json::from_value::<MessageKind>(json!("poll")).is_err());
}

#[test]
fn ids_have_one_spelling() {
    assert_eq!(UserId::parse(ID), Some(user()));
    for other in ["0000000003e870018000000000000002", "{00000000-03e8-7001-8000-000000000002}", "", "1 OR 1=1"] {
        assert_eq!(UserId::parse(other), None, "{other}");
    }
}
