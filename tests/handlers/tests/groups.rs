//! G-21, G-04, G-10: what reaches the Room, and what is refused before.

use edge_core::object::Kind;
use edge_core::objects::{GroupChange, Level, Message, ReadUpTo};
use edge_core::sql::projection::contact;
use handlers::{Answer, Person, RequestExt, World, request};
use serde_json::{Value, json};
use wire::{Conversation, ConversationType, ErrorCode, Member, MemberRole, MessageId, RoomId, Timestamp, uuid_v7};



fn room() -> RoomId {
    RoomId(uuid_v7(1, 0, 1))
}

fn ask(world: &World, who: &Person, method: &str, rest: &str, body: Option<Value>) -> Answer {
    let request = request(method, &format!("/api/chats/conversations/{}{rest}", room())).bearer(&who.access);
    world.handle(match body {
        Some(body) => request.json(&body),
        None => request,
    })
}

/// What the Room shows: the first is the owner.
fn view(world: &World, kind: ConversationType, members: &[&Person]) {
    let seat = |(at, who): (usize, &&Person)| Member {
        id: who.id,
        username: "old name".to_owned(),
        display_name: "old name".to_owned(),
        avatar_url: None,
        status: String::new(),
        role: if at == 0 { MemberRole::Owner } else { MemberRole::Member },
        joined_at: Timestamp(0),
        delivered_seq: 0,
        read_seq: 0,
    };
    let conversation = Conversation {
        id: room(),
        kind,
        name: None,
        avatar_url: None,
        created_by: None,
        created_at: Timestamp(0),
        seq: 0,
        members: members.iter().enumerate().map(seat).collect(),
        last_message: None,
        unread_count: None,
        mention_count: 0,
        muted_until: None,
        active_call: None,
    };
    world.answer(Message::View { conversation });
}

fn asked(world: &World) -> Vec<Message> {
    world.take_asked().into_iter().map(|(kind, name, msg)| {
        assert_eq!((kind, name), (Kind::Room, room().to_string()));
        msg
    }).collect()
}

fn change(by: &Person, change: GroupChange) -> Message {
    Message::Group { by: by.id, change }
}

#[test]
fn every_route_asks_the_room_in_the_name_of_the_caller() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    let member = format!("/members/{}", ben.id);
    let id = MessageId(uuid_v7(1, 2, 3));
    let cases = [
        ("GET", "", None, Message::Describe { user: ann.id }),
        ("PATCH", "", Some(json!({"name": "x", "by": ben.id})), change(&ann, GroupChange::Update { name: Some("x".to_owned()), no_avatar: false })),
        ("PATCH", "", Some(json!({"avatarId": null})), change(&ann, GroupChange::Update { name: None, no_avatar: true })),
        ("DELETE", &member, None, change(&ann, GroupChange::Remove { user: ben.id })),
        ("PATCH", &member, Some(json!({"role": "admin"})), change(&ann, GroupChange::Role { user: ben.id, role: MemberRole::Admin })),
        ("POST", "/leave", None, change(&ann, GroupChange::Leave)),
        ("PATCH", "/me", Some(json!({"level": "mentions"})), change(&ann, GroupChange::Mine { muted_until: None, level: Some(Level::Mentions) })),
        ("PATCH", "/me", Some(json!({"mutedUntil": null})), change(&ann, GroupChange::Mine { muted_until: Some(Timestamp(0)), level: None })),
        ("POST", "/read", Some(json!({"upTo": 7})), Message::MarkRead { user: ann.id, up_to: ReadUpTo::Seq(7) }),
        ("POST", "/read", Some(json!({"upTo": id})), Message::MarkRead { user: ann.id, up_to: ReadUpTo::Ids(vec![id]) }),
    ];
    for (method, rest, body, wanted) in cases {
        match &wanted {
            Message::Describe { .. } => view(&world, ConversationType::Group, &[&ann, &ben]),
            Message::MarkRead { .. } => world.answer(Message::Marked { read_seq: 7 }),
            Message::Group { change: GroupChange::Leave | GroupChange::Mine { .. }, .. } => world.answer(Message::Done),
            _ => view(&world, ConversationType::Group, &[&ann, &ben]),
        }
        let answer = ask(&world, &ann, method, rest, body);
        assert!(answer.status() < 300, "{method} {rest}: {answer:?}");
        assert_eq!(asked(&world), [wanted]);
        world.answer(Message::Refused { failure: ErrorCode::NotFound.into() });
        let body = if method == "POST" && rest == "/read" { Some(json!({"upTo": 7})) } else { Some(json!({"role": "admin"})) };
        assert_eq!(ask(&world, &ann, method, rest, body).status(), 404);
        world.take_asked();
    }
}

#[test]
fn members_are_named_as_the_caller_may_see_them() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    world.sql("UPDATE users SET avatar_url='/a', status_text='at lunch'", vec![]);
    world.run(contact(ben.id, ann.id, 1, "blocked", Timestamp(0)));
    view(&world, ConversationType::Group, &[&ann, &ben]);
    let members = ask(&world, &ann, "GET", "", None).json()["members"].clone();
    assert_eq!((&members[0]["username"], &members[0]["status"]), (&json!("ann"), &json!("at lunch")));
    assert_eq!((&members[1]["username"], &members[1]["avatar_url"], &members[1]["status"]), (&json!("ben"), &json!(null), &json!("")));
}

#[test]
fn people_are_looked_at_before_they_are_added_and_only_for_those_who_may() {
    let world = World::new();
    let (ann, ben, cat, dan) = (world.person("ann"), world.person("ben"), world.person("cat"), world.person("dan"));
    world.run(contact(dan.id, ann.id, 1, "blocked", Timestamp(0)));
    let add = |who: &Person, ids: Value| ask(&world, who, "POST", "/members", Some(json!({"userIds": ids})));
    for (who, kind, ids, wanted) in [
        (&ann, ConversationType::Group, json!([cat.id, dan.id]), "PERMISSION_DENIED"),
        (&ann, ConversationType::Group, json!([cat.id, room()]), "USER_NOT_FOUND"),
        (&ben, ConversationType::Group, json!([room()]), "PERMISSION_DENIED"),
        (&ann, ConversationType::Direct, json!([cat.id]), "PERMISSION_DENIED"),
    ] {
        view(&world, kind, &[&ann, &ben]);
        assert_eq!(add(who, ids).error().1, wanted);
        assert_eq!(asked(&world).len(), 1, "only described");
    }
    for ids in [json!([]), json!("x"), json!([1]), json!(null)] {
        assert_eq!(add(&ann, ids).error(), (400, "INVALID_DATA".to_owned(), Some("userIds".to_owned())));
    }
    view(&world, ConversationType::Group, &[&ann, &ben]);
    view(&world, ConversationType::Group, &[&ann, &ben, &cat]);
    assert_eq!(add(&ann, json!([cat.id, ben.id, cat.id])).status(), 200);
    let Message::Group { change: GroupChange::Add { members }, .. } = &asked(&world)[1] else { panic!() };
    assert_eq!(members.iter().map(|who| who.username.as_str()).collect::<Vec<_>>(), ["cat"]);
}

#[test]
fn bad_fields_are_named_and_ask_nobody() {
    let world = World::new();
    let ann = world.person("ann");
    let member = format!("/members/{}", ann.id);
    for (method, rest, body, field) in [
        ("PATCH", "", json!({"name": ""}), "name"),
        ("PATCH", "", json!({"name": "x".repeat(101)}), "name"),
        ("PATCH", "", json!({"name": {}}), "name"),
        ("PATCH", &member, json!({"role": "king"}), "role"),
        ("PATCH", &member, json!({}), "role"),
        ("PATCH", "/me", json!({"mutedUntil": 5}), "mutedUntil"),
        ("PATCH", "/me", json!({"level": "loud"}), "level"),
        ("POST", "/read", json!({"upTo": "x"}), "upTo"),
        ("POST", "/read", json!({}), "upTo"),
        ("POST", "/read", json!({"upTo": -1}), "upTo"),
    ] {
        let error = ask(&world, &ann, method, rest, Some(body)).error();
        assert_eq!(error, (400, "INVALID_DATA".to_owned(), Some(field.to_owned())), "{method} {rest}");
    }
    assert_eq!(ask(&world, &ann, "PATCH", "", Some(json!({"avatarId": "x"}))).error().0, 404);
    assert!(world.take_asked().is_empty());
}
