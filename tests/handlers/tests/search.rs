//! G-07: what the index takes from Rooms, and what is found in it.

use edge_core::limits::SEARCHES_PER_USER;
use edge_core::object::Kind;
use edge_core::objects::Message;
use edge_core::search::fold;
use edge_core::sql::{Value as SqlValue, search};
use handlers::{Answer, Person, World};
use serde_json::{Value, json};
use wire::{Message as WireMessage, MessageId, MessageKind, RoomId, Timestamp, UserId};

const START: u64 = 1_772_350_000_000;

fn room(n: u64) -> RoomId {
    RoomId(wire::uuid_v7(1, 0, n))
}

/// A group with these members.
fn group(world: &World, n: u64, members: &[&Person]) {
    world.sql(
        "INSERT INTO conversation_heads VALUES (?1,0,'group',?2,NULL,NULL,0,1,0,0,NULL,NULL,0)",
        vec![room(n).into(), format!("Room {n}").into()],
    );
    for member in members {
        let sql = "INSERT INTO members_by_user (user_id, room_id, version, role, joined_at, left_at, delivered_seq, read_seq, read_count) VALUES (?1,?2,1,'member',0,NULL,0,0,0)";
        world.sql(sql, vec![member.id.into(), room(n).into()]);
    }
}

/// A message as its Room has it: `seq` seconds after the start.
fn message(n: u64, seq: u64, from: UserId, content: &str) -> WireMessage {
    WireMessage {
        id: MessageId(wire::uuid_v7(START + seq * 1_000, 0, n)),
        conversation_id: room(n),
        seq,
        client_id: None,
        sender_id: Some(from),
        sender_username: String::new(),
        sender_avatar_url: None,
        content: content.to_owned(),
        kind: MessageKind::Text,
        file_url: None,
        attachments: Vec::new(),
        reply_to: None,
        reactions: Vec::new(),
        read_by: Vec::new(),
        created_at: Timestamp(START + seq * 1_000),
        edited_at: None,
        deleted_at: None,
        metadata: None,
    }
}

/// Enters a message as its Room does, which shows it from then on.
fn enter_as(world: &World, n: u64, seq: u64, from: &Person, kind: &str, content: &str) {
    let entry = json!([[seq, from.id.to_string(), kind, START + seq * 1_000, fold(content)]]);
    world.run(search::enter(room(n), seq - 1, seq, entry.to_string()));
    world.messages.borrow_mut().push(message(n, seq, from.id, content));
}

fn enter(world: &World, n: u64, seq: u64, from: &Person, content: &str) {
    enter_as(world, n, seq, from, "text", content);
}

fn search_for(world: &World, who: &Person, query: &str) -> Answer {
    world.get(&format!("/api/chats/search?{query}"), who)
}

fn contents(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status(), 200, "{:?}", answer.json());
    let hits = answer.json()["hits"].as_array().cloned().unwrap_or_default();
    hits.iter().map(|hit| hit["message"]["content"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What is found by reading everything, which must be what the full text finds when there is too much to read.
fn found(world: &World, who: &Person, query: &str) -> Vec<String> {
    let read = contents(&search_for(world, who, query));
    let crowd = room(900);
    world.sql("INSERT OR IGNORE INTO message_rooms (room_id, upto) VALUES (?1, 1000000)", vec![crowd.into()]);
    let sql = "INSERT INTO members_by_user (user_id, room_id, version, role, joined_at, left_at, delivered_seq, read_seq, read_count) VALUES (?1,?2,1,'member',0,NULL,0,0,0)";
    world.sql(sql, vec![who.id.into(), crowd.into()]);
    assert_eq!(contents(&search_for(world, who, query)), read, "{query}");
    world.sql("DELETE FROM members_by_user WHERE room_id=?1", vec![crowd.into()]);
    read
}

#[test]
fn a_hit_is_the_message_with_a_snippet_and_its_conversation() {
    let world = World::new();
    let ann = world.person("ann");
    group(&world, 1, &[&ann]);
    enter(&world, 1, 1, &ann, "Where is the <Kettle>?");
    let answer = search_for(&world, &ann, "q=kettle");
    let body = answer.json();
    assert_eq!(body["cursor"], Value::Null);
    let hit = &body["hits"][0];
    assert_eq!(hit["snippet"], "Where is the &lt;<mark>Kettle</mark>&gt;?");
    assert_eq!(hit["conversation"], json!({"id": room(1), "name": "Room 1"}));
    assert_eq!((&hit["message"]["seq"], &hit["message"]["sender_username"]), (&json!(1), &json!("ann")));
}

#[test]
fn only_members_of_now_find_anything() {
    let world = World::new();
    let (ann, ben, eve) = (world.person("ann"), world.person("ben"), world.person("eve"));
    group(&world, 1, &[&ann, &ben]);
    enter(&world, 1, 1, &ann, "the kettle boils");
    for query in ["q=kettle", "q=ke", &format!("q=kettle&conversationId={}", room(1)), &format!("q=ke&conversationId={}", room(1))] {
        assert_eq!(found(&world, &ben, query).len(), 1, "{query}");
        assert!(found(&world, &eve, query).is_empty(), "{query}");
    }
    world.sql("UPDATE members_by_user SET left_at=1 WHERE user_id=?1", vec![ben.id.into()]);
    assert!(found(&world, &ben, "q=kettle").is_empty() && found(&world, &ben, "q=ke").is_empty());
    // The Room knows first.
    let looks = |world: &World| world.take_asked().iter().filter(|(kind, _, msg)| *kind == Kind::Room && matches!(msg, Message::Look { .. })).count();
    looks(&world);
    world.answer(Message::Refused { failure: wire::ErrorCode::NotFound.into() });
    assert!(contents(&search_for(&world, &ann, "q=kettle")).is_empty());
    assert_eq!(looks(&world), 1);
}

#[test]
fn every_text_is_taken_literally() {
    let world = World::new();
    let ann = world.person("ann");
    group(&world, 1, &[&ann]);
    let texts = ["100% \"sure\" OR not", "a_b and a*b", "NEAR(x y, 5) content:foo", "會議記錄在這裡", "👍🏽👍🏽 done", "O'Brien -- ; DROP", "tab\there\nthere", "ÄRGER im Café"];
    for (at, text) in texts.iter().enumerate() {
        enter(&world, 1, at as u64 + 1, &ann, text);
    }
    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    for fold_all in [false, true] {
        if fold_all {
            // Enough messages that all of them are in the full text.
            for n in 0..600 {
                enter(&world, 1, 100 + n, &ann, "filler");
            }
            world.run(search::enter(room(1), 8, 99, "[]".to_owned()));
        }
        for (question, expected) in [
            ("100%", vec![0]),
            ("\"sure\"", vec![0]),
            ("sure\" OR \"x", vec![]),
            ("OR", vec![0]),
            ("% \"", vec![0]),
            ("a_b", vec![1]),
            ("a*b", vec![1]),
            ("a?b", vec![]),
            ("NEAR(x", vec![2]),
            ("content:foo", vec![2]),
            ("content:bar", vec![]),
            ("會議", vec![3]),
            ("記錄在", vec![3]),
            ("👍🏽", vec![4]),
            ("👍🏽👍🏽", vec![4]),
            ("o'brien --", vec![5]),
            ("there", vec![6]),
            ("here\nthere", vec![6]),
            ("ärger", vec![7]),
            ("CAFÉ IM", vec![7]),
            ("sure\0", vec![]),
            ("su\0", vec![]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(|at: usize| texts[at].to_owned()).collect();
            assert_eq!(found(&world, &ann, &format!("q={}", percent(question))), expected, "{question:?} {fold_all}");
        }
    }
}

#[test]
fn whole_questions_come_before_all_words_and_each_newest_first_over_pages() {
    let world = World::new();
    let ann = world.person("ann");
    group(&world, 1, &[&ann]);
    group(&world, 2, &[&ann]);
    let (mut one, mut two) = (0, 0);
    for n in 1..=30_u64 {
        let text = match n % 3 {
            0 => format!("red house {n}"),
            1 => format!("house that is red {n}"),
            _ => format!("only house {n}"),
        };
        let (room_number, seq) = if n % 2 == 0 { one += 1; (1, one) } else { two += 1; (2, two) };
        let entry = json!([[seq, ann.id.to_string(), "text", START + n * 1_000, fold(&text)]]);
        world.run(search::enter(room(room_number), seq - 1, seq, entry.to_string()));
        let mut message = message(room_number, seq, ann.id, &text);
        message.created_at = Timestamp(START + n * 1_000);
        world.messages.borrow_mut().push(message);
    }
    let phrase = (1..=30).rev().filter(|n| n % 3 == 0).map(|n| format!("red house {n}"));
    let words = (1..=30).rev().filter(|n| n % 3 == 1).map(|n| format!("house that is red {n}"));
    let expected: Vec<String> = phrase.chain(words).collect();
    for limit in [1, 3, 7, 10, 50] {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = search_for(&world, &ann, &format!("q=RED+house&limit={limit}{cursor}"));
            let page = contents(&answer);
            assert!(page.len() <= limit);
            all.extend(page);
            match answer.json()["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(all, expected, "{limit}");
    }
    assert_eq!(found(&world, &ann, "q=ho&limit=4"), ["red house 30", "only house 29", "house that is red 28", "red house 27"]);
}

#[test]
fn filters_narrow_down() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    group(&world, 1, &[&ann, &ben]);
    group(&world, 2, &[&ann, &ben]);
    enter(&world, 1, 1, &ann, "plan one");
    enter(&world, 1, 2, &ben, "plan two https://example.com");
    enter_as(&world, 1, 3, &ben, "image", "plan three");
    enter_as(&world, 2, 4, &ann, "voice", "plan four");
    world.run(search::enter(room(2), 0, 3, "[]".to_owned()));
    enter_as(&world, 2, 4, &ann, "voice", "plan four");
    let at = |seq: u64| Timestamp(START + seq * 1_000).to_iso();
    for word in ["plan", "pl"] {
        for (filter, expected) in [
            (format!("conversationId={}", room(1)), vec!["plan three", "plan two https://example.com", "plan one"]),
            (format!("from={}", ann.id), vec!["plan four", "plan one"]),
            (format!("before={}", at(3)), vec!["plan two https://example.com", "plan one"]),
            (format!("after={}", at(2)), vec!["plan four", "plan three"]),
            ("has=image".to_owned(), vec!["plan three"]),
            ("has=voice".to_owned(), vec!["plan four"]),
            ("has=file".to_owned(), vec![]),
            ("has=link".to_owned(), vec!["plan two https://example.com"]),
            (format!("has=link&from={}", ann.id), vec![]),
        ] {
            assert_eq!(found(&world, &ann, &format!("q={word}&{filter}")), expected, "{word} {filter}");
        }
    }
}

#[test]
fn a_batch_changes_the_index_once_and_never_over_a_gap() {
    let world = World::new();
    let ann = world.person("ann");
    group(&world, 1, &[&ann]);
    let write = |after: u64, upto: u64, entries: Value| world.run(search::enter(room(1), after, upto, entries.to_string()));
    let upto = || world.run(search::entered(room(1))).first().and_then(|row| row[0].as_u64());
    let texts = || -> Vec<String> {
        let rows = world.sql("SELECT content FROM message_index ORDER BY id", vec![]);
        rows.iter().map(|row| row[0].as_str().unwrap_or_default().trim_end().to_owned()).collect()
    };
    let entry = |seq: u64, text: &str| json!([seq, null, "text", 1, text]);
    write(0, 2, json!([entry(1, "one"), entry(2, "two")]));
    write(0, 2, json!([entry(1, "late")]));
    write(3, 4, json!([entry(4, "gap")]));
    assert_eq!((upto(), texts()), (Some(2), vec!["one".to_owned(), "two".to_owned()]));
    // 3 edits 1 and 4 deletes 2; the batch overlaps what is there.
    write(1, 4, json!([entry(1, "uno"), [2, null, "text", 1, null]]));
    assert_eq!((upto(), texts()), (Some(4), vec!["uno".to_owned()]));
}

#[test]
fn edits_and_deletions_leave_the_full_text() {
    let world = World::new();
    let ann = world.person("ann");
    group(&world, 1, &[&ann]);
    let all: Vec<Value> = (1..=600).map(|seq| json!([seq, null, "text", seq, format!("needle{seq}x")])).collect();
    world.run(search::enter(room(1), 0, 600, Value::from(all).to_string()));
    let matches = |text: &str| world.sql("SELECT rowid FROM message_fts WHERE message_fts MATCH ?1", vec![SqlValue::from(format!("\"{text}\""))]).len();
    assert_eq!((matches("le7"), matches("77x")), (11, 6));
    let changed = json!([[77, null, "text", 77, "changed"], [177, null, "text", 177, null]]);
    world.run(search::enter(room(1), 600, 602, changed.to_string()));
    assert_eq!(matches("77x"), 4);
    assert_eq!(world.sql("SELECT id FROM message_tail", vec![]).len(), 1);
    world.sql("INSERT INTO message_fts (message_fts) VALUES ('integrity-check')", vec![]);
}

#[test]
fn forgotten_rooms_are_woken_by_a_search() {
    let world = World::new();
    let ann = world.person("ann");
    for n in 1..=12 {
        group(&world, n, &[&ann]);
        world.sql("UPDATE conversation_heads SET seq=5, active_at=?2 WHERE room_id=?1", vec![room(n).into(), world.now.get().into()]);
    }
    let woken = |world: &World| world.take_asked().iter().filter(|(_, _, msg)| matches!(msg, Message::Describe { .. })).count();
    assert!(contents(&search_for(&world, &ann, "q=kettle")).is_empty());
    assert_eq!(woken(&world), 0, "there was no time yet");
    world.pass(10_000);
    assert!(contents(&search_for(&world, &ann, "q=kettle")).is_empty());
    assert_eq!(woken(&world), 8, "a few at a time");
}

#[test]
fn searches_are_counted_by_user() {
    let world = World::limited();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    for _ in 0..SEARCHES_PER_USER.burst {
        assert_eq!(search_for(&world, &ann, "q=kettle").status(), 200);
    }
    assert_eq!(search_for(&world, &ann, "q=kettle").error().1, "RATE_LIMITED");
    assert_eq!(search_for(&world, &ben, "q=kettle").status(), 200);
}

#[test]
fn two_characters_are_found_wherever_they_stand() {
    let world = World::new();
    let ann = world.person("ann");
    group(&world, 1, &[&ann]);
    let texts = ["qx first", "in the mqx middle", "at the end qx", "會議", "q x apart", "x", "q\" quoted"];
    // More than the tail holds: they are in the full text.
    for seq in 1..=600 {
        let text = texts.get(seq as usize - 1).copied().unwrap_or("nothing of it");
        enter(&world, 1, seq, &ann, text);
    }
    assert_eq!(found(&world, &ann, "q=qx"), [texts[2], texts[1], texts[0]]);
    assert_eq!(found(&world, &ann, "q=%E6%9C%83%E8%AD%B0"), [texts[3]]);
    assert_eq!(found(&world, &ann, "q=q%22"), [texts[6]]);
    assert_eq!(found(&world, &ann, "q=q+x"), [texts[4], texts[2], texts[1], texts[0]]);
    assert!(found(&world, &ann, "q=zz").is_empty());
    // What came since is in the tail.
    enter(&world, 1, 601, &ann, "zz top");
    assert_eq!(found(&world, &ann, "q=zz"), ["zz top"]);
}

#[test]
fn of_many_conversations_the_newest_hits_come_first_over_all_pages() {
    let world = World::new();
    let ann = world.person("ann");
    let mut expected = Vec::new();
    for n in 1..=150 {
        group(&world, n, &[&ann]);
        // Hits of quiet conversations may be newer than those of busy ones.
        for seq in 1..=3 {
            let at = START + (n * 7_919 + seq * 40_009) % 1_000_003 * 1_000 + n;
            let text = if (n + seq) % 4 == 0 { "nothing".to_owned() } else { format!("kettle {n} {seq}") };
            let entry = json!([[seq, ann.id.to_string(), "text", at, text]]);
            world.run(search::enter(room(n), seq - 1, seq, entry.to_string()));
            world.sql("UPDATE conversation_heads SET active_at=max(active_at, ?2) WHERE room_id=?1", vec![room(n).into(), Timestamp(at).into()]);
            world.messages.borrow_mut().push(message(n, seq, ann.id, &text));
            if text != "nothing" {
                expected.push((at, text));
            }
        }
    }
    expected.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let expected: Vec<String> = expected.into_iter().map(|(_, text)| text).collect();
    for question in ["kettle", "ke", "tl+ke"] {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        while let Some(next) = {
            let answer = search_for(&world, &ann, &format!("q={question}&limit=50{cursor}"));
            all.extend(contents(&answer));
            answer.json()["cursor"].as_str().map(str::to_owned)
        } {
            cursor = format!("&cursor={next}");
        }
        assert_eq!(all, expected, "{question}");
    }
}
