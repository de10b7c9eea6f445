//! Edits, deletion, reactions, and their place among the messages.

use serde_json::json;
use wire::{ConversationType, ErrorCode, MessageId, MessageKind, Reaction, UserId};

use super::super::RECENT;
use super::{Host, ROOM, actor, code, stored_messages, text, user};
use crate::limits;
use crate::object::{CallKey, Input, Kind, Object, ObjectId, Output};
use crate::objects::{HistoryCursor, Message, MessageChange, NewMessage, Numbered, RoomEvent};
use crate::sql::{Row, Rows, Statement, Value};

/// 1 owns it.
fn group(members: u64) -> Host {
    let mut host = Host::new(true);
    host.create_as(ConversationType::Group, &(1..=members).collect::<Vec<u64>>());
    host
}

fn send(host: &mut Host, from: u64, content: &str) -> MessageId {
    let Message::Sent { message, .. } = host.send(from, content, None) else { panic!("refused") };
    message.id
}

fn edit(content: &str) -> MessageChange {
    MessageChange::Edit { content: content.to_owned() }
}

fn react(emoji: &str, on: bool) -> MessageChange {
    MessageChange::React { emoji: emoji.to_owned(), on }
}

fn change(host: &mut Host, by: u64, message: MessageId, change: MessageChange) -> Message {
    host.ask(Message::Change { user: user(by), message, change })
}

fn changed(host: &mut Host, by: u64, message: MessageId, change: MessageChange) -> wire::Message {
    match self::change(host, by, message, change) {
        Message::Changed { message } => message,
        other => panic!("{other:?}"),
    }
}

fn persisted(host: &Host) -> Vec<&[Statement]> {
    let mut all = Vec::new();
    for output in &host.seen {
        if let Output::Persist { statements, .. } = output {
            all.push(&statements[..]);
        }
    }
    all
}

fn told(host: &Host) -> Vec<Numbered> {
    let mut all = Vec::new();
    for output in &host.seen {
        if let Output::Object { msg: Message::Deliver { durable, .. }, .. } = output {
            all.extend(durable.iter().cloned());
        }
    }
    all
}

fn pull(host: &mut Host, by: u64, after: u64) -> Vec<Numbered> {
    let msg = Message::Pull { user: user(by), after, limit: 100, generation: None, marks: false };
    let Message::Page { events, .. } = host.ask(msg) else { panic!("refused") };
    events
}

fn seqs(events: &[Numbered]) -> Vec<u64> {
    events.iter().map(|numbered| numbered.seq).collect()
}

/// What a statement writes to this column, by position.
fn param(statement: &Statement, at: usize) -> Value {
    statement.params[at].clone()
}

#[test]
fn an_edit_takes_a_number_and_leaves_that_of_the_message() {
    let mut host = group(3);
    let id = send(&mut host, 2, "helo");
    host.now = host.now.plus_ms(5);
    let message = changed(&mut host, 2, id, edit("hello"));
    assert_eq!((message.seq, message.content.as_str(), message.edited_at), (1, "hello", Some(host.now)));
    let writes = persisted(&host);
    assert_eq!(writes.len(), 1, "one Persist");
    assert!(writes[0][0].sql.starts_with("INSERT INTO room_events") && writes[0][1].sql.starts_with("UPDATE room_messages"));
    assert_eq!(writes[0].len(), 2, "two rows");
    let at = |wanted: fn(&Output) -> bool| host.seen.iter().position(wanted).expect("it is there");
    let persist = at(|output| matches!(output, Output::Persist { .. }));
    assert!(persist < at(|output| matches!(output, Output::Reply { .. })));
    assert!(persist < at(|output| matches!(output, Output::Object { msg: Message::Deliver { .. }, .. })));
    let events = told(&host);
    assert_eq!(seqs(&events), [2]);
    let RoomEvent::Edited(edited) = &events[0].event else { panic!("an edit") };
    assert_eq!((edited.message.seq, edited.message.content.as_str()), (1, "hello"));
    let Message::Sent { message, .. } = host.send(1, "next", None) else { panic!("refused") };
    assert_eq!(message.seq, 3, "messages and events share the numbers");
}

#[test]
fn what_changes_nothing_is_told_to_nobody() {
    let mut host = group(2);
    let id = send(&mut host, 1, "m");
    changed(&mut host, 2, id, react("👍", true));
    for (by, same) in [(1, edit("m")), (2, react("👍", true)), (1, react("👍", false)), (1, react("❤", false))] {
        changed(&mut host, by, id, same);
        assert!(persisted(&host).is_empty() && told(&host).is_empty());
    }
    changed(&mut host, 1, id, MessageChange::Delete);
    let again = changed(&mut host, 1, id, MessageChange::Delete);
    assert!(persisted(&host).is_empty() && told(&host).is_empty());
    assert!(again.deleted_at.is_some());
}

#[test]
fn only_the_author_edits_and_the_author_or_who_runs_the_group_deletes() {
    let mut host = group(3);
    let id = send(&mut host, 2, "m");
    assert_eq!(code(&change(&mut host, 1, id, edit("x"))), Some(ErrorCode::PermissionDenied));
    assert_eq!(code(&change(&mut host, 3, id, edit("x"))), Some(ErrorCode::PermissionDenied));
    assert_eq!(code(&change(&mut host, 3, id, MessageChange::Delete)), Some(ErrorCode::PermissionDenied));
    for wish in [edit("x"), MessageChange::Delete, react("👍", true)] {
        let msg = Message::Change { user: user(9), message: id, change: wish };
        assert_eq!(code(&host.ask(msg.clone())), Some(ErrorCode::PermissionDenied));
        assert_eq!(code(&host.ask_as(Kind::Http, msg)), Some(ErrorCode::NotFound), "strangers");
    }
    let message = changed(&mut host, 1, id, MessageChange::Delete);
    assert_eq!((message.content.as_str(), message.deleted_at), ("", Some(host.now)));
    let RoomEvent::Deleted(deleted) = &told(&host)[0].event else { panic!("a deletion") };
    assert_eq!((deleted.message_id, deleted.by), (id, user(1)));
    let mut direct = Host::new(true);
    direct.create(&[1, 2]);
    let id = send(&mut direct, 2, "m");
    assert_eq!(code(&change(&mut direct, 1, id, MessageChange::Delete)), Some(ErrorCode::PermissionDenied));
}

#[test]
fn a_deleted_message_is_a_placeholder_that_nothing_changes() {
    let mut host = group(2);
    let message = NewMessage { metadata: Some(json!({"preview": "secret"})), ..text("secret", Some("k")) };
    let Message::Sent { message, .. } = host.ask(Message::Send { from: actor(1), message: message.clone() }) else {
        panic!("refused")
    };
    let id = message.id;
    changed(&mut host, 1, id, edit("secret too"));
    changed(&mut host, 2, id, react("👍", true));
    changed(&mut host, 1, id, MessageChange::Delete);
    let writes = persisted(&host);
    assert!(writes[0].iter().any(|statement| statement.sql.contains("UPDATE room_events SET data=NULL")), "edits are emptied");
    for wish in [edit("x"), react("👍", false), react("❤", true)] {
        let by = if matches!(wish, MessageChange::Edit { .. }) { 1 } else { 2 };
        assert_eq!(code(&change(&mut host, by, id, wish)), Some(ErrorCode::Conflict));
    }
    let events = pull(&mut host, 2, 0);
    assert_eq!(seqs(&events), [1, 2, 3, 4]);
    assert!(!serde_json::to_string(&events).unwrap().contains("secret"));
    let RoomEvent::Message { message } = &events[0].event else { panic!("the message comes first") };
    assert!(message.content.is_empty() && message.metadata.is_none() && message.deleted_at.is_some());
    assert!(message.reactions.is_empty() && message.attachments.is_empty());
    let reply = NewMessage { reply_to: Some(id), ..text("to what was deleted", None) };
    assert!(matches!(host.ask(Message::Send { from: actor(2), message: reply }), Message::Sent { .. }));
}

#[test]
fn the_key_of_an_edited_message_still_answers_for_what_was_sent() {
    let mut host = group(2);
    let Message::Sent { message, .. } = host.send(1, "first", Some("k")) else { panic!("refused") };
    for wish in [edit("second"), edit("third"), MessageChange::Delete] {
        let now = changed(&mut host, 1, message.id, wish);
        let Message::Sent { message: again, repeated: true } = host.send(1, "first", Some("k")) else { panic!("a repeat") };
        assert_eq!(again, now, "as it is now");
        assert_eq!(code(&host.send(1, "second", Some("k"))), Some(ErrorCode::Conflict));
    }
}

#[test]
fn reactions_stand_in_order_of_first_use_and_say_whose_they_are() {
    let mut host = group(3);
    let id = send(&mut host, 1, "m");
    changed(&mut host, 2, id, react("❤", true));
    changed(&mut host, 3, id, react("👍", true));
    let message = changed(&mut host, 3, id, react("❤", true));
    let expected = |me: [bool; 2]| {
        vec![
            Reaction { emoji: "❤".into(), count: 2, user_ids: vec![user(2), user(3)], me: me[0] },
            Reaction { emoji: "👍".into(), count: 1, user_ids: vec![user(3)], me: me[1] },
        ]
    };
    assert_eq!(message.reactions, expected([true, true]));
    let RoomEvent::Reaction(reacted) = told(&host).remove(0).event else { panic!("a reaction") };
    assert_eq!((reacted.user_id, reacted.on, reacted.reactions), (user(3), true, expected([false, false])));
    for (by, me) in [(1, [false, false]), (2, [true, false]), (3, [true, true])] {
        let events = pull(&mut host, by, 0);
        assert_eq!(seqs(&events), [1, 2, 3, 4]);
        for numbered in events {
            let mut event = numbered.event;
            assert_eq!(event.reactions().cloned(), Some(expected(me)), "the current state");
        }
    }
    assert_eq!(changed(&mut host, 2, id, react("❤", false)).reactions[0].user_ids, [user(3)]);
    assert_eq!(changed(&mut host, 3, id, react("❤", false)).reactions.len(), 1);
}

#[test]
fn a_message_has_twenty_different_reactions_at_most() {
    let mut host = group(2);
    let id = send(&mut host, 1, "m");
    let emoji = |n: u32| char::from_u32(0x1f600 + n).unwrap().to_string();
    for n in 0..limits::REACTIONS as u32 {
        changed(&mut host, 1, id, react(&emoji(n), true));
    }
    assert_eq!(code(&change(&mut host, 2, id, react(&emoji(50), true))), Some(ErrorCode::Conflict));
    assert_eq!(changed(&mut host, 2, id, react(&emoji(3), true)).reactions[3].count, 2);
}

#[test]
fn who_is_blocked_reaches_nobody_by_edits_and_reactions() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    let (mine, theirs) = (send(&mut host, 1, "m"), send(&mut host, 2, "m"));
    host.ask_as(Kind::User, Message::Blocked { by: user(2), on: true, version: 0 });
    assert_eq!(code(&change(&mut host, 1, mine, edit("x"))), Some(ErrorCode::UserUnavailable));
    assert_eq!(code(&change(&mut host, 1, theirs, react("👍", true))), Some(ErrorCode::UserUnavailable));
    assert_eq!(code(&change(&mut host, 2, mine, react("👍", true))), Some(ErrorCode::Blocked));
    changed(&mut host, 1, mine, MessageChange::Delete);
}

#[test]
fn a_call_that_repeats_late_undoes_nothing() {
    let mut host = group(2);
    let id = send(&mut host, 1, "first");
    let late = host.calls + 1;
    changed(&mut host, 1, id, edit("second"));
    changed(&mut host, 1, id, edit("third"));
    host.calls = late - 1;
    assert_eq!(changed(&mut host, 1, id, edit("second")).content, "third");
    assert!(told(&host).is_empty());
}

#[test]
fn a_call_that_repeats_in_the_next_life_is_known_again() {
    let (mut host, mut stored) = (group(2), Stored::default());
    let id = send(&mut host, 1, "first");
    let sent = host.calls;
    stored.write(&host);
    for content in ["second", "third"] {
        changed(&mut host, 1, id, edit(content));
        stored.write(&host);
    }
    stored.load(&mut host);
    host.calls = sent;
    assert_eq!(changed(&mut host, 1, id, edit("second")).content, "third");
    host.calls = sent - 1;
    let Message::Sent { message, repeated: true } = host.send(1, "first", None) else { panic!("it was sent before") };
    assert_eq!(message.id, id);
    assert!(persisted(&host).is_empty());
}

#[test]
fn edits_and_reactions_count_as_messages() {
    let mut host = Host::with(true, crate::settings::Settings::default());
    host.create(&[1, 2]);
    let id = send(&mut host, 1, "m");
    for n in 1..limits::MESSAGES_PER_MINUTE {
        changed(&mut host, 1, id, react("👍", n % 2 == 1));
    }
    assert_eq!(code(&change(&mut host, 1, id, edit("x"))), Some(ErrorCode::RateLimited));
    changed(&mut host, 1, id, edit("m"));
    changed(&mut host, 1, id, MessageChange::Delete);
}

/// Rows as storage would give them back after what was written until now.
#[derive(Default)]
struct Stored {
    messages: Vec<Row>,
    events: Vec<Row>,
}

impl Stored {
    fn write(&mut self, host: &Host) {
        self.messages.extend(stored_messages(host));
        for statement in persisted(host).into_iter().flatten() {
            let params = &statement.params;
            if statement.sql.starts_with("UPDATE room_messages") {
                let row = self.messages.iter_mut().find(|row| row[0] == params[1]).expect("a message");
                for (column, at) in [(6, 2), (8, 3), (10, 4), (11, 5), (12, 6), (13, 7), (14, 8), (15, 9), (17, 10)] {
                    row[column] = param(statement, at);
                }
            } else if statement.sql.starts_with("INSERT INTO room_events") {
                self.events.push([1, 2, 3, 5, 6].map(|at| params[at].clone()).to_vec());
            }
        }
    }

    fn newest(rows: &[Row]) -> Rows {
        rows.iter().rev().take(RECENT).cloned().collect()
    }

    /// A new life that finds them.
    fn load(&self, host: &mut Host) {
        host.seen.clear();
        host.room.handle(Input::Started { sockets: Vec::new(), epoch: 2, seed: [4; 32] }, host.now);
        host.room.handle(ask(1, Message::Describe { user: user(1) }), host.now);
        let Some(Output::Load { load, .. }) = host.room.poll_output() else { panic!("it loads") };
        let meta = vec!["group".into(), Value::Null, Value::Null, user(1).into(), 1_u64.into(), 1_u64.into(), 1_u64.into()];
        let member = |n: u64| -> Row {
            let mut row = vec![user(n).into(), "member".into(), "u".into(), "U".into(), Value::Null, "".into(), 1_u64.into(), 0_u64.into()];
            row.extend([Value::Null, Value::Null]);
            row.extend([0_u64, 0, 0, 1, 0].map(Value::from));
            row.extend([Value::Null, "all".into(), Value::Null]);
            row
        };
        let members = (1..=2).map(member).collect();
        let rows = vec![vec![meta], members, Self::newest(&self.messages), Vec::new(), Self::newest(&self.events)];
        host.give(Input::Loaded { load, result: Ok(rows) });
    }
}

fn ask(call: u64, msg: Message) -> Input {
    Input::Object { from: ObjectId::new(Kind::Gateway, "gw-0"), call: CallKey(5_000_000 + call), msg }
}

#[test]
fn a_new_life_goes_on_above_the_newest_event() {
    let (mut host, mut stored) = (group(2), Stored::default());
    let id = send(&mut host, 1, "first");
    stored.write(&host);
    for wish in [edit("second"), react("👍", true), react("👍", false)] {
        changed(&mut host, 1, id, wish);
        stored.write(&host);
    }
    let before = pull(&mut host, 2, 0);
    stored.load(&mut host);
    let names = |events: &[Numbered]| {
        let mut json = serde_json::to_value(events).unwrap();
        json.as_array_mut().unwrap().iter_mut().for_each(|event| {
            for place in ["/event/message/message", "/event/edited/message"] {
                if let Some(message) = event.pointer_mut(place) {
                    message["sender_username"] = json!("u");
                }
            }
        });
        json
    };
    assert_eq!(names(&pull(&mut host, 2, 0)), names(&before));
    let Message::Sent { message, .. } = host.send(1, "next", None) else { panic!("refused") };
    assert_eq!(message.seq, 5);
}

#[test]
fn replay_is_the_same_from_memory_and_from_storage() {
    let (mut host, mut stored) = (group(2), Stored::default());
    let mut ids = Vec::new();
    for n in 0..RECENT + 60 {
        ids.push(send(&mut host, 1, "m"));
        stored.write(&host);
        if n % 3 == 0 {
            changed(&mut host, 2, ids[n / 2 + n % 2], react("👍", true));
            stored.write(&host);
        }
    }
    let head = stored.messages.len() + stored.events.len();
    assert_eq!(seqs(&pull(&mut host, 2, head as u64 - 20)).len(), 20, "the newest are in memory");
    host.room.handle(ask(2, Message::Pull { user: user(2), after: 10, limit: 30, generation: None, marks: false }), host.now);
    let Some(Output::Load { load, statements, .. }) = host.room.poll_output() else { panic!("storage is asked") };
    assert_eq!(statements.len(), 3);
    assert!(statements.iter().all(|statement| statement.params == [ROOM.into(), 10_u64.into(), 30_u64.into()]));
    let above = |rows: &[Row]| -> Rows { rows.iter().filter(|row| row[0].as_u64() > Some(10)).take(30).cloned().collect() };
    let events = above(&stored.events);
    let others = stored.messages.iter().filter(|row| events.iter().any(|event| event[2] == row[0])).cloned().collect();
    host.give(Input::Loaded { load, result: Ok(vec![above(&stored.messages), events, others]) });
    let page = host.seen.iter().rev().find_map(|output| match output {
        Output::Reply { msg: Message::Page { events, .. }, .. } => Some(events.clone()),
        _ => None,
    });
    let page = page.expect("answered");
    assert_eq!(seqs(&page), (11..=40).collect::<Vec<_>>());
    assert!(page.iter().any(|numbered| matches!(numbered.event, RoomEvent::Reaction(_))));
}

#[test]
fn a_message_that_left_memory_is_changed_in_storage_and_everything_else_waits_for_it() {
    let (mut host, mut stored) = (group(2), Stored::default());
    let id = send(&mut host, 1, "old");
    stored.write(&host);
    for _ in 0..RECENT {
        send(&mut host, 2, "m");
    }
    host.seen.clear();
    host.room.handle(ask(1, Message::Change { user: user(1), message: id, change: edit("new") }), host.now);
    let Some(Output::Load { load, .. }) = host.room.poll_output() else { panic!("storage is asked") };
    host.give(ask(2, Message::Change { user: user(1), message: id, change: edit("newer") }));
    assert!(host.seen.is_empty());
    host.room.handle(Input::Loaded { load, result: Ok(vec![stored.messages.clone()]) }, host.now);
    let mut again = None;
    while let Some(output) = host.room.poll_output() {
        if let Output::Load { load, .. } = output {
            again = Some(load);
        }
        host.seen.push(output);
    }
    stored.write(&host);
    assert_eq!(seqs(&told(&host)), [RECENT as u64 + 2]);
    host.give(Input::Loaded { load: again.expect("the next one asks too"), result: Ok(vec![stored.messages.clone()]) });
    assert_eq!(seqs(&told(&host)), [RECENT as u64 + 2, RECENT as u64 + 3]);
    let unknown = Message::Change { user: user(1), message: MessageId(wire::uuid_v7(5, 5, 5)), change: edit("x") };
    assert_eq!(code(&host.ask(unknown)), Some(ErrorCode::PermissionDenied));
}

#[test]
fn bundles_of_keys_count_messages_and_not_events() {
    let mut host = group(2);
    let mut bundles = 0;
    for n in 0..limits::KEYS_BUNDLE as u64 * 2 {
        let Message::Sent { message, .. } = host.send(1, "m", Some(&format!("key {n}"))) else { panic!("refused") };
        bundles += persisted(&host)[0].iter().filter(|statement| statement.sql.starts_with("INSERT INTO room_keys")).count();
        for on in [true, false] {
            changed(&mut host, 2, message.id, react("👍", on));
        }
    }
    assert_eq!(bundles, 2);
}

#[test]
fn the_list_shows_what_became_of_the_newest_message() {
    let mut host = group(2);
    let id = send(&mut host, 1, "m");
    changed(&mut host, 1, id, MessageChange::Delete);
    let head = host.seen.iter().find_map(|output| match output {
        Output::Project { key, version, statement, .. } if key.starts_with("head:") => Some((*version, statement.params.clone())),
        _ => None,
    });
    let (version, params) = head.expect("projected");
    assert_eq!(version, 2);
    let last = params.iter().find_map(|value| value.as_str().filter(|text| text.contains("\"deleted_at\":\""))).expect("a placeholder");
    assert!(last.contains("\"content\":\"\""));
    assert_eq!(params[9].as_u64(), Some(1), "it still counts as a message");
}

/// N61.
#[test]
fn rows_that_nobody_expects_are_shown_and_pages_go_on() {
    let (mut host, mut stored) = (group(2), Stored::default());
    for content in ["a", "b", "c", "d"] {
        send(&mut host, 1, content);
        stored.write(&host);
    }
    let nobody = user(77);
    let column = |row: &mut Row, at: usize, value: Value| {
        row[at] = value;
        let mut parsed = super::super::load::parse_message(row).expect("it is read");
        parsed.digest = parsed.digest_in(ROOM);
        row[12] = Value::Blob(parsed.digest.to_vec());
    };
    column(&mut stored.messages[0], 5, "poll".into());
    column(&mut stored.messages[1], 2, nobody.into());
    column(&mut stored.messages[2], 2, Value::Null);
    let crowd: Vec<UserId> = (0..1_000).map(user).collect();
    let many = (0..20).map(|n| (char::from_u32(0x1f600 + n).unwrap().to_string(), crowd.clone())).collect();
    column(&mut stored.messages[3], 13, Value::Blob(super::super::reactions::pack(&many).expect("some")));
    stored.load(&mut host);

    let Message::HistoryPage { messages, next_before: None } =
        host.ask(Message::History { user: user(2), cursor: HistoryCursor::Newest, limit: 200 })
    else {
        panic!("refused")
    };
    let shown: Vec<_> = messages.iter().map(|row| (row.content.as_str(), row.kind, row.sender_id, row.sender_username.as_str())).collect();
    let kind = MessageKind::Text;
    assert_eq!(shown, [
        ("a", kind, Some(user(1)), "u"),
        ("b", kind, Some(nobody), ""),
        ("c", kind, None, ""),
        ("d", kind, Some(user(1)), "u"),
    ]);
    assert_eq!((messages[3].reactions.len(), messages[3].reactions[19].count), (20, 1_000));
    assert_eq!(seqs(&pull(&mut host, 2, 0)), [1, 2, 3, 4]);

    // A kind that was changed behind the digest is damage, as ever.
    stored.messages[0][5] = "quiz".into();
    stored.load(&mut host);
    let refused = |output: &Output| matches!(output, Output::Reply { msg, .. } if code(msg) == Some(ErrorCode::InternalError));
    assert!(host.seen.iter().any(refused));
}
