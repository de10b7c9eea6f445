//! R-12, G-22, G-23.

use edge_core::object::{CallError, Kind};
use edge_core::objects::{HistoryCursor, Message, Numbered, RoomEvent};
use edge_core::sql::projection::contact;
use handlers::{Person, RequestExt as _, World};
use serde_json::{Value, json};
use wire::{ErrorCode, MessageId, MessageKind, RoomId, Timestamp, uuid_v7};

fn message(n: u64, sender: &Person) -> wire::Message {
    wire::Message {
        id: MessageId(uuid_v7(n, 0, 1)),
        conversation_id: ROOM(),
        seq: n,
        client_id: None,
        sender_id: Some(sender.id),
        sender_username: "old name".to_owned(),
        sender_avatar_url: Some("/old".to_owned()),
        content: "hi".to_owned(),
        kind: MessageKind::Text,
        file_url: None,
        attachments: vec![],
        reply_to: None,
        reactions: vec![],
        read_by: vec![],
        created_at: Timestamp(n),
        edited_at: None,
        deleted_at: None,
        metadata: None,
    }
}

#[allow(non_snake_case)] // a constant that cannot be const
fn ROOM() -> RoomId {
    RoomId(uuid_v7(7, 7, 7))
}

fn path(rest: &str) -> String {
    format!("/api/chats/conversations/{}/{rest}", ROOM())
}

#[test]
fn history_is_a_bare_list_with_fresh_names() {
    let world = World::new();
    let ann = world.person("ann");
    let next = MessageId(uuid_v7(1, 0, 1));
    world.answer(Message::HistoryPage { messages: vec![message(1, &ann), message(2, &ann)], next_before: Some(next) });
    let page = world.get(&path("messages?limit=500&beforeSeq=9"), &ann);
    assert_eq!((page.status(), page.header("x-next-before")), (200, Some(next.to_string().as_str())));
    assert_eq!(page.json()[1]["seq"], 2);
    assert_eq!(page.json()[0]["sender_username"], "ann");
    assert_eq!(page.json()[0]["sender_avatar_url"], json!(null));
    let (kind, name, msg) = world.take_asked().remove(0);
    assert_eq!((kind, name), (Kind::Room, ROOM().to_string()));
    assert_eq!(msg, Message::History { user: ann.id, cursor: HistoryCursor::BeforeSeq(9), limit: 200 });

    world.answer(Message::HistoryPage { messages: vec![], next_before: None });
    let page = world.get(&path("messages"), &ann);
    assert_eq!((page.json(), page.header("x-next-before")), (json!([]), None));
    assert!(matches!(world.take_asked()[0].2, Message::History { cursor: HistoryCursor::Newest, limit: 50, .. }));
}

#[test]
fn avatars_of_people_who_blocked_the_reader_are_hidden() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    world.sql("UPDATE users SET avatar_url='/new'", vec![]);
    let seen = || {
        world.answer(Message::HistoryPage { messages: vec![message(1, &ben)], next_before: None });
        world.get(&path("messages"), &ann).json()[0]["sender_avatar_url"].clone()
    };
    assert_eq!(seen(), "/new");
    world.run(contact(ben.id, ann.id, 1, "blocked", Timestamp(0)));
    assert_eq!(seen(), json!(null));
}

#[test]
fn bad_cursors_and_limits_never_reach_the_room() {
    let world = World::new();
    let ann = world.person("ann");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1.5", "limit"),
        ("before=yesterday", "before"),
        ("around=x", "around"),
        ("beforeSeq=-1", "beforeSeq"),
    ] {
        let error = world.get(&path(&format!("messages?{query}")), &ann).error();
        assert_eq!(error, (400, "INVALID_DATA".to_owned(), Some(field.to_owned())), "{query}");
    }
    assert_eq!(world.get(&path("events?after=x"), &ann).error().2.as_deref(), Some("after"));
    assert!(world.take_asked().is_empty());
}

#[test]
fn what_one_may_not_see_looks_like_what_is_not_there() {
    let world = World::new();
    let ann = world.person("ann");
    let refuse = || world.answer(Message::Refused { failure: ErrorCode::NotFound.into() });
    for (method, rest) in [("GET", "messages"), ("POST", "messages"), ("GET", "events")] {
        let ask = |room: &str| {
            let target = format!("/api/chats/conversations/{room}/{rest}");
            if method == "GET" { world.get(&target, &ann) } else { world.post(&target, &ann, &json!({"content": "x"})) }
        };
        refuse();
        let foreign = ask(&ROOM().to_string());
        assert_eq!(foreign.error().0, 404);
        assert_eq!(ask("1%20OR%201=1").0, foreign.0);
        assert_eq!(ask("x").0, foreign.0);
    }
}

#[test]
fn sending_answers_201_and_repeats_200() {
    let world = World::new();
    let ann = world.person("ann");
    let body = json!({"content": "hi", "type": "text", "clientId": "c1", "senderId": "x", "userId": 7});
    for (repeated, status) in [(false, 201), (true, 200)] {
        world.answer(Message::Sent { message: message(1, &ann), repeated });
        let answer = world.post(&path("messages"), &ann, &body);
        assert_eq!((answer.status(), &answer.json()["ok"]), (status, &json!(true)));
        assert_eq!(answer.json()["message"]["seq"], 1);
    }
    let (_, _, msg) = world.take_asked().remove(0);
    let Message::Send { from, message } = msg else { panic!() };
    assert_eq!((from.id, from.username.as_str()), (ann.id, "ann"), "only the token says who");
    assert_eq!((message.content.as_str(), message.client_id.as_deref()), ("hi", Some("c1")));
}

#[test]
fn bad_content_is_named_and_refusals_pass_through() {
    let world = World::new();
    let ann = world.person("ann");
    let send = |body: Value| world.post(&path("messages"), &ann, &body).error();
    assert_eq!(send(json!({"content": ""})), (400, "INVALID_DATA".to_owned(), Some("content".to_owned())));
    assert_eq!(send(json!({"content": "x", "type": "system"})).2.as_deref(), Some("type"));
    assert!(world.take_asked().is_empty());
    world.answer(Message::Refused { failure: ErrorCode::Conflict.into() });
    assert_eq!(send(json!({"content": "x"})).0, 409);
    for error in [CallError::Failed, CallError::Lost, CallError::Overloaded] {
        world.answers.borrow_mut().push_back(Err(error));
        assert_eq!(send(json!({"content": "x"})).1, "MESSAGE_SEND_FAILED");
    }
}

#[test]
fn events_are_the_twin_of_a_resume() {
    let world = World::new();
    let ann = world.person("ann");
    let page = |events: &[u64], head: u64, reset: Option<&str>| Message::Page {
        events: events.iter().map(|n| Numbered { seq: *n, event: RoomEvent::Message { message: message(*n, &ann) } }).collect(),
        head,
        generation: 1,
        read_seq: 0,
        marks: vec![],
        reset: reset.map(str::to_owned),
    };
    world.answer(page(&[3, 4], 6, None));
    let answer = world.get(&path("events?after=2&limit=2"), &ann).json();
    assert_eq!((&answer["headSeq"], &answer["more"]), (&json!(6), &json!(true)));
    let event = &answer["events"][0];
    assert_eq!((&event["seq"], &event["event"]), (&json!(3), &json!("chat:message")));
    assert_eq!((&event["data"]["conversationId"], &event["data"]["content"]), (&json!(ROOM()), &json!("hi")));
    assert!(matches!(world.take_asked()[0].2, Message::Pull { after: 2, limit: 2, .. }));
    world.answer(page(&[5, 6], 6, None));
    assert_eq!(world.get(&path("events?after=4"), &ann).json()["more"], false);
    world.answer(page(&[], 6, Some("cursor_ahead")));
    assert_eq!(world.get(&path("events?after=9"), &ann).json()["reset"], "cursor_ahead");
}

#[test]
fn a_message_is_looked_for_among_the_callers_conversations_only() {
    let world = World::new();
    let ann = world.person("ann");
    let id = message(1, &ann).id;
    for (method, rest) in [("PATCH", ""), ("DELETE", ""), ("GET", "/edits"), ("PUT", "/reactions/%F0%9F%91%8D"), ("DELETE", "/reactions/%E2%9D%A4")] {
        for id in [id.to_string(), "x".to_owned(), "1%20OR%201=1".to_owned()] {
            let request = handlers::request(method, &format!("/api/chats/messages/{id}{rest}")).bearer(&ann.access);
            let answer = world.handle(if method == "PATCH" { request.json(&json!({"content": "x"})) } else { request });
            assert_eq!(answer.error(), (404, "NOT_FOUND".to_owned(), None), "{method} {rest}");
        }
    }
    for (method, rest, field) in [("PATCH", "", "content"), ("PUT", "/reactions/a", "emoji"), ("DELETE", "/reactions/%F0%9F%91", "emoji")] {
        let request = handlers::request(method, &format!("/api/chats/messages/{id}{rest}")).bearer(&ann.access);
        let answer = world.handle(if method == "PATCH" { request.json(&json!({"content": 5})) } else { request });
        assert_eq!(answer.error(), (400, "INVALID_DATA".to_owned(), Some(field.to_owned())), "{method} {rest}");
    }
    assert!(world.take_asked().is_empty());
}
