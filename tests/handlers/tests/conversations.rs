//!

#![allow(clippy::unwrap_used)]

use edge_core::object::{CallError, Kind};
use edge_core::objects::{Level, Message};
use edge_core::sql::projection::{Head, MemberRow, contact, mention};
use handlers::{Answer, Person, RequestExt, World, request};
use serde_json::{Value, json};
use wire::{Conversation, ConversationType, Member, MemberRole, RoomId, Timestamp, UserId, uuid_v7};

fn create(world: &World, who: &Person, body: Value) -> Answer {
    world.post("/api/chats/conversations", who, &body)
}

/// What the Room answers to `Create`.
fn view(world: &World, room: RoomId, kind: ConversationType, members: &[UserId]) {
    let seat = |id: &UserId| Member {
        id: *id,
        username: "old name".to_owned(),
        display_name: "old name".to_owned(),
        avatar_url: None,
        status: String::new(),
        role: MemberRole::Member,
        joined_at: Timestamp(0),
        delivered_seq: 0,
        read_seq: 0,
    };
    let conversation = Conversation {
        id: room,
        kind,
        name: None,
        avatar_url: None,
        created_by: members.first().copied(),
        created_at: Timestamp(0),
        seq: 0,
        members: members.iter().map(seat).collect(),
        last_message: None,
        unread_count: None,
        mention_count: 0,
        muted_until: None,
        active_call: None,
    };
    world.answer(Message::View { conversation });
}

fn room(n: u64) -> RoomId {
    RoomId(uuid_v7(1, 0, n))
}

#[test]
fn a_pair_has_one_conversation_whoever_opens_it() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    view(&world, room(1), ConversationType::Direct, &[ann.id, ben.id]);
    let first = create(&world, &ann, json!({"type": "direct", "memberIds": [ben.id], "name": "ours"}));
    assert_eq!(first.status(), 201, "{first:?}");
    assert!(first.json().get("lastMessage").is_none() && first.json().get("unreadCount").is_none());
    assert_eq!(first.json()["members"][1]["username"], "ben", "profiles are fresh");
    view(&world, room(1), ConversationType::Direct, &[ann.id, ben.id]);
    assert_eq!(create(&world, &ben, json!({"type": "direct", "memberIds": [ann.id, ben.id, ann.id]})).status(), 200);

    let asked = world.take_asked();
    assert_eq!(asked[0].0, Kind::Room);
    assert_eq!(asked[0].1, asked[1].1, "the same Room is asked again, in case a crash came between");
    for (_, _, msg) in asked {
        let Message::Create { kind, name, by, members } = msg else { panic!() };
        assert_eq!((kind, name, by, members.len()), (ConversationType::Direct, None, ann.id, 2));
    }
}

#[test]
fn a_room_that_did_not_answer_is_created_by_the_next_try() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    let body = json!({"type": "direct", "memberIds": [ben.id]});
    world.answers.borrow_mut().push_back(Err(CallError::Lost));
    assert_eq!(create(&world, &ann, body.clone()).error().1, "NODE_UNAVAILABLE");
    view(&world, room(1), ConversationType::Direct, &[ann.id, ben.id]);
    assert_eq!(create(&world, &ann, body).status(), 200);
    let asked = world.take_asked();
    assert_eq!(asked[0], asked[1]);
}

#[test]
fn members_are_checked_before_anything_is_created() {
    let world = World::new();
    let (ann, ben, cat) = (world.person("ann"), world.person("ben"), world.person("cat"));
    let field = |body: Value| create(&world, &ann, body).error();
    let invalid = |field: &str| (400, "INVALID_DATA".to_owned(), Some(field.to_owned()));
    let nobody = "0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d";
    assert_eq!(field(json!({"type": "direct", "memberIds": []})), invalid("memberIds"));
    assert_eq!(field(json!({"type": "direct", "memberIds": [ann.id]})), invalid("memberIds"));
    assert_eq!(field(json!({"type": "direct", "memberIds": [ben.id, cat.id]})), invalid("memberIds"));
    assert_eq!(field(json!({"type": "direct", "memberIds": ben.id})), invalid("memberIds"));
    assert_eq!(field(json!({"type": "direct", "memberIds": [{}]})), invalid("memberIds"));
    assert_eq!(field(json!({"type": "direct", "memberIds": [ben.id], "name": 7})), invalid("name"));
    assert_eq!(field(json!({"type": "direct", "memberIds": ["1 OR 1=1"]})), invalid("memberIds"));
    assert_eq!(field(json!({"type": "group", "memberIds": [ann.id]})), invalid("memberIds"));
    assert_eq!(field(json!({"type": "room", "memberIds": [ben.id]})), invalid("type"));
    assert_eq!(field(json!({"memberIds": [ben.id]})), invalid("type"));
    for name in [json!(""), json!("  "), json!("x".repeat(101)), json!("a\nb"), json!(1)] {
        assert_eq!(field(json!({"type": "group", "memberIds": [ben.id], "name": name})), invalid("name"));
    }
    let many: Vec<UserId> = (0..1_000).map(|n| UserId(uuid_v7(5, 0, n))).collect();
    assert_eq!(field(json!({"type": "group", "memberIds": many})), invalid("memberIds"));
    assert_eq!(field(json!({"type": "group", "memberIds": many[1..]})).1, "USER_NOT_FOUND");
    assert_eq!(field(json!({"type": "direct", "memberIds": [nobody]})).1, "USER_NOT_FOUND");
    assert!(world.take_asked().is_empty());
    assert!(world.sql("SELECT 1 FROM direct_pairs", vec![]).is_empty());
}

#[test]
fn groups_begin_with_their_creator() {
    let world = World::new();
    let (ann, ben, cat) = (world.person("ann"), world.person("ben"), world.person("cat"));
    view(&world, room(1), ConversationType::Group, &[ann.id, ben.id, cat.id]);
    let answer = create(&world, &ann, json!({"type": "group", "name": "Crew", "memberIds": [cat.id, ben.id, cat.id]}));
    assert_eq!(answer.status(), 201);
    let (_, _, msg) = world.take_asked().remove(0);
    let Message::Create { kind: ConversationType::Group, name, by, members } = msg else { panic!() };
    assert_eq!((name.as_deref(), by), (Some("Crew"), ann.id));
    assert_eq!(members.iter().map(|member| member.username.as_str()).collect::<Vec<_>>(), ["ann", "cat", "ben"]);
}

#[test]
fn blocks_of_either_side_refuse() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    let code = |who: &Person, kind: &str, other: &Person| {
        create(&world, who, json!({"type": kind, "memberIds": [other.id]})).error()
    };
    world.run(contact(ann.id, ben.id, 1, "blocked", Timestamp(0)));
    for kind in ["direct", "group"] {
        assert_eq!(code(&ann, kind, &ben).1, "BLOCKED");
    }
    let blocked = code(&ben, "direct", &ann);
    assert_eq!((blocked.0, blocked.1.as_str()), (409, "USER_UNAVAILABLE"));
    assert_eq!(code(&ben, "group", &ann).1, "PERMISSION_DENIED");
    world.run(contact(ann.id, ben.id, 2, "none", Timestamp(0)));
    world.sql("UPDATE users SET disabled_at=1 WHERE username='ann'", vec![]);
    assert_eq!(code(&ben, "direct", &ann), blocked, "being blocked looks like a deactivated account");
    assert!(world.take_asked().is_empty());
}

#[test]
fn policy_may_ask_for_contacts() {
    let mut world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    world.settings.conversation_contacts_only = true;
    let body = json!({"type": "direct", "memberIds": [ben.id]});
    assert_eq!(create(&world, &ann, body.clone()).error().1, "PERMISSION_DENIED");
    world.run(contact(ann.id, ben.id, 1, "accepted", Timestamp(0)));
    view(&world, room(1), ConversationType::Direct, &[ann.id, ben.id]);
    assert_eq!(create(&world, &ann, body).status(), 201);
}

/// Projects a group of `members`, active at `active_at`, with `messages`, the last one from the last member.
fn project(world: &World, n: u64, members: &[&Person], active_at: u64, messages: u64) {
    let (room, sender) = (room(n), members.last().unwrap());
    let message = json!({"id": uuid_v7(9, 0, n), "conversation_id": room, "seq": messages, "client_id": null,
        "sender_id": sender.id, "sender_username": "old name", "sender_avatar_url": null, "content": "hi", "type": "text",
        "file_url": null, "attachments": [], "reply_to": null, "reactions": [], "read_by": [],
        "created_at": Timestamp(active_at), "edited_at": null, "deleted_at": null, "metadata": null});
    let head = Head {
        room,
        kind: ConversationType::Group,
        name: Some("Crew"),
        avatar_url: None,
        created_by: Some(members[0].id),
        created_at: Timestamp(1),
        generation: 1,
        seq: messages,
        message_count: messages,
        last_sender: (messages > 0).then_some(sender.id),
        last_message: (messages > 0).then(|| message.to_string()),
        active_at: Timestamp(active_at),
    };
    world.run(head.upsert());
    for (at, member) in members.iter().enumerate() {
        let row = MemberRow {
            user: member.id,
            room,
            version: 1,
            role: if at == 0 { MemberRole::Owner } else { MemberRole::Member },
            joined_at: Timestamp(1),
            left_at: None,
            delivered_seq: messages,
            read_seq: 1.min(messages),
            read_count: 1.min(messages),
            muted_until: (at == 0).then_some(Timestamp(7)),
            level: Level::All,
        };
        world.run(row.upsert());
    }
}

fn ids(answer: &Answer) -> Vec<String> {
    answer.json().as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_list_shows_everything_of_a_conversation() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    project(&world, 1, &[&ann, &ben], 5_000, 4);
    project(&world, 2, &[&ben, &ann], 6_000, 0);
    let list = world.get("/api/chats/conversations", &ann);
    assert_eq!((list.status(), list.header("x-next-before")), (200, None));
    assert_eq!(ids(&list), [room(2).to_string(), room(1).to_string()]);
    let list = list.json();
    assert_eq!((&list[0]["lastMessage"], &list[0]["unreadCount"]), (&json!(null), &json!(0)));
    let crew = &list[1];
    assert_eq!((&crew["type"], &crew["name"], &crew["seq"]), (&json!("group"), &json!("Crew"), &json!(4)));
    assert_eq!((&crew["unreadCount"], &crew["mentionCount"]), (&json!(3), &json!(0)));
    assert_eq!((&crew["mutedUntil"], &crew["activeCall"]), (&json!("1970-01-01T00:00:00.007Z"), &json!(null)));
    assert_eq!(crew["lastMessage"]["sender_username"], "ben");
    let seat = &crew["members"][0];
    assert_eq!((&seat["username"], &seat["role"], &seat["read_seq"]), (&json!("ann"), &json!("owner"), &json!(1)));
    assert_eq!(seat["joined_at"], "1970-01-01T00:00:00.001Z");
    assert_eq!(world.get("/api/chats/conversations", &ben).json()[1]["unreadCount"], 0, "the sender has read it");
}

#[test]
fn mentions_count_while_they_are_unread_and_for_those_they_mean() {
    let world = World::new();
    let (ann, ben, eve) = (world.person("ann"), world.person("ben"), world.person("eve"));
    project(&world, 1, &[&ben, &ann, &eve], 5_000, 6);
    let named = |who: &[&Person]| json!(who.iter().map(|one| one.id).collect::<Vec<_>>()).to_string();
    for (nth, sender, everybody, users) in [
        (1, &eve, true, named(&[])),
        (2, &eve, false, named(&[&ann, &ben])),
        (3, &eve, false, named(&[&ann])),
        (4, &ben, true, named(&[&ben])),
        (5, &eve, false, named(&[])),
    ] {
        world.run(mention(room(1), nth, Some(sender.id), everybody, users));
    }
    let count = |who: &Person| world.get("/api/chats/conversations", who).json()[0]["mentionCount"].clone();
    assert_eq!(count(&ann), 3, "one is read, of four");
    assert_eq!(count(&ben), 1, "oneself is not counted");
    assert_eq!(count(&eve), 0, "who wrote last has read everything");
    world.run(mention(room(1), 3, Some(eve.id), false, named(&[])));
    assert_eq!(count(&ann), 2, "an edit takes it back");
}

#[test]
fn former_members_and_strangers_see_nothing() {
    let world = World::new();
    let (ann, ben, eve) = (world.person("ann"), world.person("ben"), world.person("eve"));
    project(&world, 1, &[&ann, &ben], 5_000, 4);
    world.sql("UPDATE members_by_user SET left_at=9 WHERE user_id=?1", vec![ben.id.into()]);
    assert!(ids(&world.get("/api/chats/conversations", &ben)).is_empty());
    assert!(ids(&world.get("/api/chats/conversations", &eve)).is_empty());
    assert_eq!(world.get("/api/chats/conversations", &ann).json()[0]["members"].as_array().unwrap().len(), 1);
}

#[test]
fn people_who_blocked_the_viewer_show_only_their_name() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    world.sql("UPDATE users SET avatar_url='/a', status_text='at lunch'", vec![]);
    project(&world, 1, &[&ann, &ben], 5_000, 4);
    let seen = |who: &Person| {
        let list = world.get("/api/chats/conversations", who).json();
        (list[0]["members"][1]["avatar_url"].clone(), list[0]["members"][1]["status"].clone())
    };
    assert_eq!(seen(&ann), (json!("/a"), json!("at lunch")));
    world.run(contact(ben.id, ann.id, 1, "blocked", Timestamp(0)));
    assert_eq!(seen(&ann), (json!(null), json!("")));
    world.run(contact(ben.id, ann.id, 2, "none", Timestamp(0)));
    world.sql("UPDATE users SET disabled_at=1 WHERE username='ben'", vec![]);
    assert_eq!(seen(&ann), (json!(null), json!("")));
}

#[test]
fn pages_meet_without_gap_or_overlap() {
    let world = World::new();
    let ann = world.person("ann");
    for n in 0..7 {
        project(&world, n, &[&ann], 5_000 + n / 3, 1);
    }
    let all = ids(&world.get("/api/chats/conversations", &ann));
    assert_eq!(all.len(), 7);
    let (mut paged, mut target) = (Vec::new(), "/api/chats/conversations?limit=2".to_owned());
    loop {
        let page = world.get(&target, &ann);
        paged.extend(ids(&page));
        let Some(next) = page.header("x-next-before") else { break };
        target = format!("/api/chats/conversations?limit=2&before={next}");
    }
    assert_eq!(paged, all);
    let older = world.get("/api/chats/conversations?before=1970-01-01T00:00:05.001Z", &ann);
    assert_eq!(ids(&older).len(), 3, "times alone leave out their own rows");
    for bad in ["limit=0", "limit=x", "before=x"] {
        assert_eq!(world.get(&format!("/api/chats/conversations?{bad}"), &ann).error().0, 400);
    }
    assert_eq!(ids(&world.get("/api/chats/conversations?limit=100000", &ann)).len(), 7);
}

#[test]
fn a_damaged_last_message_spoils_no_list() {
    let world = World::new();
    let ann = world.person("ann");
    project(&world, 1, &[&ann], 5_000, 1);
    world.sql("UPDATE conversation_heads SET last_message='{\"id\":7}'", vec![]);
    assert_eq!(world.get("/api/chats/conversations", &ann).json()[0]["lastMessage"], json!(null));
}

#[test]
fn nobody_lists_without_a_token() {
    let world = World::new();
    for (method, path) in [("GET", "/api/chats/conversations"), ("POST", "/api/chats/conversations")] {
        assert_eq!(world.handle(request(method, path).json(&json!({}))).error().1, "UNAUTHORIZED");
    }
}
