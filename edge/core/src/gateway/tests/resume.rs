//! `sync:resume`: no gap, no overlap, bounded (M5).

use serde_json::{Value, json};
use wire::ErrorCode;

use super::bench::{Bench, event, numbered, room, user};
use crate::object::{CallError, Input, SocketId};
use crate::objects::{Marks, Message};

fn resume(bench: &mut Bench, socket: SocketId, cursors: &[(u64, u64)]) {
    let cursors: serde_json::Map<String, Value> =
        cursors.iter().map(|(n, seq)| (room(*n).to_string(), json!(seq))).collect();
    bench.emit(socket, Some(1), json!(["sync:resume", {"cursors": cursors}]));
}

/// A client that resumed room 1 at `seq`, which was the head.
fn resumed(bench: &mut Bench, n: u64, seq: u64) -> SocketId {
    let socket = bench.client(n);
    resume(bench, socket, &[(1, seq)]);
    bench.heads(&[(1, seq)]);
    let (call, _) = bench.pull(1).expect("asked");
    bench.page(call, 1, 0..0, seq);
    bench.ack(socket, 1);
    socket
}

#[test]
fn missed_events_come_before_the_acknowledgement() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 41), (2, 7)]);
    bench.heads(&[(1, 44), (2, 7), (3, 3)]);
    let (first, after) = bench.pull(1).expect("asked");
    assert_eq!(after, (41, 100));
    let (second, _) = bench.pull(2).expect("asked");
    bench.page(first, 1, 42..=44, 44);
    bench.page(second, 2, 0..0, 7);
    let texts = bench.texts(socket);
    assert_eq!(texts.len(), 4, "{texts:?}");
    assert!(texts[..3].iter().all(|text| text.starts_with("42[\"chat:message\"")));
    let ack: Value = serde_json::from_str(texts[3].strip_prefix("431").expect("the ack")).expect("JSON");
    let ack = &ack[0];
    assert_eq!(ack["ok"], true);
    assert_eq!(ack["heads"], json!({room(1).to_string(): 44, room(2).to_string(): 7, room(3).to_string(): 3}));
    assert_eq!((&ack["more"], &ack["removed"], &ack["calls"]), (&json!({}), &json!([]), &json!([])));
    assert_eq!(ack["generations"], json!({room(1).to_string(): 1, room(2).to_string(): 1}));
}

#[test]
fn heads_come_from_one_read_and_strangers_rooms_are_not_touched() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 1), (66, 1)]);
    assert_eq!(bench.loads.len(), 1);
    assert!(bench.asked.is_empty(), "the Rooms are asked after the read");
    bench.heads(&[(1, 1)]);
    assert!(bench.pull(66).is_none());
    let (call, _) = bench.pull(1).expect("asked");
    bench.page(call, 1, 0..0, 1);
    assert_eq!(bench.ack(socket, 1)["removed"], json!([room(66)]));
}

#[test]
fn a_room_that_refuses_is_removed() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 1)]);
    bench.heads(&[(1, 1)]);
    let (call, _) = bench.pull(1).expect("asked");
    bench.refused(call, ErrorCode::PermissionDenied);
    let ack = bench.ack(socket, 1);
    assert_eq!((&ack["removed"], &ack["heads"]), (&json!([room(1)]), &json!({})));
}

#[test]
fn live_events_wait_behind_the_replay_and_none_is_lost_or_doubled() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 0)]);
    bench.heads(&[(1, 2)]);
    let (call, _) = bench.pull(1).expect("asked");
    bench.deliver(room(1), &[1], &[3]);
    assert_eq!(bench.seqs(socket, 1), Vec::<u64>::new(), "dropped for now");
    bench.page(call, 1, 1..=2, 2);
    assert_eq!(bench.seqs(socket, 1), [1, 2]);
    let (call, after) = bench.pull(1).expect("what was dropped is pulled");
    assert_eq!(after.0, 2);
    bench.deliver(room(1), &[1], &[4]);
    bench.page(call, 1, 3..=4, 4);
    bench.deliver(room(1), &[1], &[4]);
    bench.deliver(room(1), &[1], &[5]);
    let texts = bench.texts(socket);
    let acks = texts.iter().filter(|text| text.starts_with("431")).count();
    let events = texts.iter().filter(|text| text.starts_with("42[\"chat:message\"")).count();
    assert_eq!((acks, events), (1, 3), "3, 4, the ack, 5: {texts:?}");
    assert!(texts[2].starts_with("431"));
}

#[test]
fn a_live_event_above_the_next_seq_pulls_the_gap() {
    let mut bench = Bench::new();
    let socket = resumed(&mut bench, 1, 5);
    bench.deliver(room(1), &[1], &[6]);
    bench.deliver(room(1), &[1], &[9]);
    assert_eq!(bench.seqs(socket, 1), [6]);
    let (call, after) = bench.pull(1).expect("asked");
    assert_eq!(after, (6, 100));
    assert!(bench.pull(1).is_none(), "once");
    bench.page(call, 1, 7..=9, 9);
    bench.deliver(room(1), &[1], &[8]);
    bench.deliver(room(1), &[1], &[10]);
    assert_eq!(bench.seqs(socket, 1), [7, 8, 9, 10]);
}

#[test]
fn a_higher_head_without_events_pulls_too() {
    let mut bench = Bench::new();
    let socket = resumed(&mut bench, 1, 5);
    bench.deliver_batch(room(1), &[1], 7, vec![], vec![]);
    let (call, after) = bench.pull(1).expect("asked");
    assert_eq!(after.0, 5);
    bench.page(call, 1, 6..=7, 7);
    assert_eq!(bench.seqs(socket, 1), [6, 7]);
}

#[test]
fn each_page_waits_until_the_socket_has_drained() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 0)]);
    bench.heads(&[(1, 150)]);
    let (call, _) = bench.pull(1).expect("asked");
    bench.page(call, 1, 1..=100, 150);
    assert_eq!(bench.seqs(socket, 1).len(), 100);
    assert_eq!(bench.drains, [socket]);
    assert!(bench.pull(1).is_none());
    bench.step(Input::Drained { socket });
    let (call, after) = bench.pull(1).expect("asked");
    assert_eq!(after, (100, 100));
    bench.page(call, 1, 101..=150, 150);
    bench.ack(socket, 1);
}

#[test]
fn large_events_are_written_in_pieces() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 0)]);
    bench.heads(&[(1, 40)]);
    let (call, _) = bench.pull(1).expect("asked");
    let events = (1..=40)
        .map(|seq| {
            let mut numbered = numbered(room(1), seq);
            let crate::objects::RoomEvent::Message { message } = &mut numbered.event else { panic!("a message") };
            message.content = "x".repeat(8_000);
            numbered
        })
        .collect();
    let page = Message::Page { events, head: 40, generation: 1, read_seq: 0, marks: vec![], reset: None };
    bench.reply(call, page);
    let mut seen = bench.seqs(socket, 1);
    assert!(seen.len() < 12, "at most about 64 KiB at once: {}", seen.len());
    while seen.len() < 40 {
        bench.step(Input::Drained { socket });
        let more = bench.texts(socket);
        seen.extend(more.iter().filter(|text| text.starts_with("42")).map(|_| 0));
        if more.iter().any(|text| text.starts_with("431")) {
            break;
        }
    }
    assert_eq!(seen.len(), 40);
}

#[test]
fn a_conversation_is_cut_off_after_five_hundred_events() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 0)]);
    bench.heads(&[(1, 700)]);
    for page in 0..5 {
        let (call, _) = bench.pull(1).expect("asked");
        bench.page(call, 1, page * 100 + 1..=page * 100 + 100, 700);
        if page < 4 {
            bench.step(Input::Drained { socket });
        }
    }
    bench.step(Input::Drained { socket });
    let texts = bench.texts(socket);
    let ack: Value = serde_json::from_str(texts.last().and_then(|text| text.strip_prefix("431")).expect("ack")).expect("JSON");
    assert_eq!(ack[0]["more"], json!({room(1).to_string(): 500}));
    bench.deliver(room(1), &[1], &[701]);
    assert_eq!(bench.seqs(socket, 1), Vec::<u64>::new(), "not subscribed");
    resume(&mut bench, socket, &[(1, 500)]);
    bench.heads(&[(1, 701)]);
    let (_, after) = bench.pull(1).expect("asked again");
    assert_eq!(after.0, 500);
}

#[test]
fn a_request_is_cut_off_after_two_thousand_events() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    let cursors: Vec<(u64, u64)> = (1..=6).map(|n| (n, 0)).collect();
    resume(&mut bench, socket, &cursors);
    bench.heads(&(1..=6).map(|n| (n, 400)).collect::<Vec<_>>());
    let mut sent = 0;
    let mut positions = [0u64; 7];
    for _ in 0..200 {
        let mut asked = false;
        for n in 1..=6 {
            if let Some((call, (after, limit))) = bench.pull(n) {
                asked = true;
                assert_eq!(after, positions[n as usize]);
                let end = 400.min(after + u64::from(limit));
                positions[n as usize] = end;
                bench.page(call, n, after + 1..=end, 400);
            }
        }
        bench.step(Input::Drained { socket });
        let texts = bench.texts(socket);
        sent += texts.iter().filter(|text| text.starts_with("42[\"chat:message\"")).count();
        if let Some(ack) = texts.iter().find_map(|text| text.strip_prefix("431")) {
            let ack: Value = serde_json::from_str(ack).expect("JSON");
            assert_eq!(sent, 2_000);
            let more = ack[0]["more"].as_object().expect("an object");
            let missing: u64 = more.values().map(|held| 400 - held.as_u64().expect("a seq")).sum();
            assert_eq!(missing, 400, "{more:?}");
            return;
        }
        let _ = asked;
    }
    panic!("no acknowledgement");
}

#[test]
fn more_than_five_hundred_conversations_are_asked_for_again() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    let cursors: Vec<(u64, u64)> = (1..=510).map(|n| (n, 1)).collect();
    resume(&mut bench, socket, &cursors);
    bench.heads(&cursors);
    let mut in_flight_most = 0;
    let mut done = 0;
    while done < 500 {
        let pulls: Vec<u64> = (1..=510).filter(|n| bench.asked.iter().any(|(to, ..)| *to == crate::objects::room(room(*n)))).collect();
        in_flight_most = in_flight_most.max(pulls.len());
        assert!(!pulls.is_empty(), "stuck at {done}");
        for n in pulls {
            let (call, _) = bench.pull(n).expect("asked");
            bench.page(call, n, 0..0, 1);
            done += 1;
        }
    }
    assert_eq!(in_flight_most, 4, "a few at a time");
    let ack = bench.ack(socket, 1);
    assert_eq!(ack["more"].as_object().map(serde_json::Map::len), Some(10));
    assert_eq!(ack["generations"].as_object().map(serde_json::Map::len), Some(500));
}

#[test]
fn a_cursor_above_the_head_or_of_another_generation_is_reset() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    let payload = json!({"cursors": {room(1).to_string(): 90}, "generations": {room(1).to_string(): 7}});
    bench.emit(socket, Some(1), json!(["sync:resume", payload]));
    bench.heads(&[(1, 44)]);
    let asked = bench.take(|_, msg| match msg {
        Message::Pull { generation, marks, .. } => Some((*generation, *marks)),
        _ => None,
    });
    let (call, asked) = asked.expect("asked");
    assert_eq!(asked, (Some(7), true));
    let reset = Some("generation".to_owned());
    bench.reply(call, Message::Page { events: vec![], head: 44, generation: 8, read_seq: 0, marks: vec![], reset });
    let texts = bench.texts(socket);
    let wanted = json!(["sync:reset", {"conversationId": room(1), "headSeq": 44, "reason": "generation"}]);
    assert_eq!(event(&texts[0]).0, wanted);
    assert!(texts[1].starts_with("431"));
    bench.deliver(room(1), &[1], &[45]);
    assert_eq!(bench.seqs(socket, 1), [45], "live from the head");
}

#[test]
fn no_cursors_subscribe_from_the_heads() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[]);
    bench.heads(&[(1, 5), (2, 0)]);
    assert_eq!(bench.ack(socket, 1)["heads"], json!({room(1).to_string(): 5, room(2).to_string(): 0}));
    assert!(bench.asked.is_empty());
    bench.deliver(room(1), &[1], &[6]);
    bench.deliver(room(1), &[1], &[8]);
    assert_eq!(bench.seqs(socket, 1), [6]);
    assert!(bench.pull(1).is_some(), "the gap is noticed");
}

#[test]
fn what_came_before_the_first_resume_does_not_come_again_behind_an_older_head() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.deliver(room(1), &[1], &[3]);
    bench.deliver(room(1), &[1], &[4]);
    assert_eq!(bench.seqs(socket, 1), [3, 4]);
    resume(&mut bench, socket, &[]);
    bench.heads(&[(1, 2)]);
    assert_eq!(bench.ack(socket, 1)["heads"], json!({room(1).to_string(): 4}));
    bench.deliver(room(1), &[1], &[5]);
    assert_eq!(bench.seqs(socket, 1), [5]);
    assert!(bench.pull(1).is_none());
}

#[test]
fn marks_are_answered_for_named_conversations() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 3)]);
    bench.heads(&[(1, 3), (2, 9)]);
    let (call, _) = bench.pull(1).expect("asked");
    let marks = vec![Marks { user: user(2), delivered_seq: 3, read_seq: 2 }];
    bench.reply(call, Message::Page { events: vec![], head: 3, generation: 1, read_seq: 1, marks, reset: None });
    let wanted = json!({room(1).to_string(): {"readSeq": 1, "members": {user(2).to_string(): {"deliveredSeq": 3, "readSeq": 2}}}});
    assert_eq!(bench.ack(socket, 1)["marks"], wanted);
}

#[test]
fn a_room_that_cannot_answer_is_asked_for_again_by_the_client() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 3), (2, 4)]);
    bench.heads(&[(1, 9), (2, 4)]);
    let (call, _) = bench.pull(1).expect("asked");
    bench.fail(call, CallError::Lost);
    bench.advance(9_000);
    assert_eq!(bench.ack(socket, 1)["more"], json!({room(1).to_string(): 3, room(2).to_string(): 4}));
}

#[test]
fn an_unreadable_database_fails_the_request_and_it_may_be_repeated() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 3)]);
    let load = bench.loads.pop().expect("a read");
    bench.step(Input::Loaded { load, result: Err(crate::object::PersistError::Io) });
    assert_eq!(bench.ack(socket, 1)["error"]["code"], "NODE_UNAVAILABLE");
    resume(&mut bench, socket, &[(1, 3)]);
    bench.heads(&[(1, 3)]);
    assert!(bench.pull(1).is_some());
}

#[test]
fn one_resume_at_a_time() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    resume(&mut bench, socket, &[(1, 3)]);
    bench.emit(socket, Some(2), json!(["sync:resume", {"cursors": {}}]));
    assert_eq!(bench.ack(socket, 2)["error"]["code"], "RATE_LIMITED");
}

#[test]
fn a_gap_that_cannot_be_pulled_is_tried_again_and_closes_the_socket_in_the_end() {
    let mut bench = Bench::new();
    let socket = resumed(&mut bench, 1, 5);
    bench.deliver(room(1), &[1], &[9]);
    for _ in 0..6 {
        let (call, _) = bench.pull(1).expect("asked again");
        bench.fail(call, CallError::Lost);
        if bench.is_closed(socket) {
            assert_eq!(bench.closed[&socket], 1012, "its client resumes by cursor");
            return;
        }
        bench.advance(17_000);
        bench.text(socket, "3");
    }
    panic!("still trying");
}

#[test]
fn a_polling_client_resumes_as_fast_as_it_polls() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let query = format!("EIO=4&transport=polling&sid={sid}");
    bench.post(&query, &format!("40{{\"token\":\"{}\"}}", super::bench::token(1, 1, 900_000)));
    bench.accept(1, &[]);
    let cursors = json!({room(1).to_string(): 0});
    bench.post(&query, &format!("421{}", json!(["sync:resume", {"cursors": cursors}])));
    bench.heads(&[(1, 150)]);
    let (call, _) = bench.pull(1).expect("asked");
    bench.page(call, 1, 1..=100, 150);
    assert!(bench.pull(1).is_none(), "not before a GET has taken it");
    let get = bench.get(&query);
    assert_eq!(bench.answered(get).expect("a page").1.matches("chat:message").count(), 100);
    let (call, _) = bench.pull(1).expect("asked");
    bench.page(call, 1, 101..=150, 150);
    let get = bench.get(&query);
    let (_, body) = bench.answered(get).expect("the rest");
    assert_eq!(body.matches("chat:message").count(), 50);
    assert!(body.contains("\u{1e}431[{\"ok\":true"));
}
