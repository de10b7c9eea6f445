//! Live events of Rooms.

use serde_json::json;

use super::bench::{Bench, EPOCH, message_id, numbered, room, user};
use crate::object::{Output, SocketId};
use crate::objects::{self, LiveEvent, Message, Numbered, Reacted, RoomEvent};

fn accepted() -> Message {
    Message::Accepted { stale: false, unknown_audience: false }
}

#[test]
fn an_event_is_encoded_once_and_sent_once_for_all_websockets() {
    let mut bench = Bench::new();
    let sockets: Vec<SocketId> = [1, 1, 2, 3].iter().map(|n| bench.client(*n)).collect();
    bench.log.clear();
    assert_eq!(bench.deliver(room(1), &[1, 2], &[1]), accepted());
    let sends: Vec<_> = bench
        .log
        .iter()
        .filter_map(|output| if let Output::Send { sockets, .. } = output { Some(sockets.clone()) } else { None })
        .collect();
    assert_eq!(sends, [sockets[..3].to_vec()]);
    assert_eq!(bench.seqs(sockets[0], 1), [1]);
    assert_eq!(bench.texts(sockets[3]), Vec::<String>::new(), "not in the audience");
}

#[test]
fn reactions_are_encoded_for_each_who_reacted_and_once_for_all_others() {
    let mut bench = Bench::new();
    let sockets: Vec<SocketId> = [1, 2, 2, 3, 4].iter().map(|n| bench.client(*n)).collect();
    bench.deliver(room(1), &[1, 2, 3, 4], &[1]);
    sockets.iter().for_each(|socket| drop(bench.events(*socket)));
    let everybody: Vec<_> = std::iter::once(user(2)).chain((10..200).map(user)).chain([user(3)]).collect();
    let reactions = vec![wire::Reaction { emoji: "👍".into(), count: 192, user_ids: everybody, me: false }];
    let reacted = Reacted { message_id: message_id(1), user_id: user(3), emoji: "👍".into(), on: true, reactions };
    bench.log.clear();
    bench.room_says(
        room(1),
        Message::Deliver {
            room: room(1),
            epoch: EPOCH,
            audience: 1,
            users: None,
            head: 2,
            durable: vec![Numbered { seq: 2, event: RoomEvent::Reaction(reacted) }],
            live: vec![],
        },
    );
    let sends = bench.log.iter().filter(|output| matches!(output, Output::Send { .. })).count();
    assert_eq!(sends, 3, "two who reacted, and the others");
    for (socket, me) in sockets.iter().zip([false, true, true, true, false]) {
        let events = bench.events(*socket);
        let [name, payload] = events[0].as_array().map(Vec::as_slice).unwrap_or_default() else { panic!("{events:?}") };
        assert_eq!((name.as_str(), payload["seq"].as_u64()), (Some("chat:reaction"), Some(2)));
        let shown = &payload["reactions"][0];
        assert_eq!((&shown["me"], &shown["count"], shown["user_ids"].as_array().map(Vec::len)), (&json!(me), &json!(192), Some(100)));
    }
}

#[test]
fn an_audience_is_told_once_and_asked_for_again_when_it_is_not_known() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.deliver(room(1), &[1], &[1]);
    let again = |audience, epoch| Message::Deliver {
        room: room(1),
        epoch,
        audience,
        users: None,
        head: 2,
        durable: vec![numbered(room(1), 2)],
        live: vec![],
    };
    bench.room_says(room(1), again(1, EPOCH));
    assert_eq!(bench.replies.pop(), Some(accepted()));
    assert_eq!(bench.seqs(socket, 1), [1, 2]);
    bench.room_says(room(1), again(2, EPOCH));
    assert_eq!(bench.replies.pop(), Some(Message::Accepted { stale: false, unknown_audience: true }));
    bench.room_says(room(1), again(1, EPOCH - 1));
    assert_eq!(bench.replies.pop(), Some(Message::Accepted { stale: true, unknown_audience: false }));
    assert_eq!(bench.texts(socket), Vec::<String>::new(), "neither is delivered");
}

#[test]
fn sockets_that_come_later_belong_to_the_audience_at_once() {
    let mut bench = Bench::new();
    let first = bench.client(1);
    bench.deliver(room(1), &[1], &[1]);
    let second = bench.client(1);
    bench.deliver(room(1), &[1], &[2]);
    assert_eq!(bench.seqs(first, 1), [1, 2]);
    assert_eq!(bench.seqs(second, 1), [2]);
    bench.step(crate::object::Input::SocketClosed { socket: first, clean: true });
    bench.deliver(room(1), &[1], &[3]);
    assert_eq!(bench.seqs(second, 1), [3]);
}

#[test]
fn people_removed_from_the_audience_get_nothing_more() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.deliver(room(1), &[1], &[1]);
    bench.room_says(
        room(1),
        Message::Deliver {
            room: room(1),
            epoch: EPOCH,
            audience: 2,
            users: Some(vec![user(2)]),
            head: 2,
            durable: vec![numbered(room(1), 2)],
            live: vec![],
        },
    );
    assert_eq!(bench.seqs(socket, 1), [1]);
}

#[test]
fn typing_flows_to_sockets_that_opened_the_conversation_but_not_to_the_typist() {
    let mut bench = Bench::new();
    let sockets: Vec<SocketId> = [1, 2, 3].iter().map(|n| bench.client(*n)).collect();
    for socket in &sockets[..2] {
        bench.emit(*socket, Some(1), json!(["chat:join", room(1)]));
        let (call, ()) = bench.take(|_, msg| matches!(msg, Message::Join { .. }).then_some(())).expect("asked");
        bench.reply(call, Message::Joined { seq: 0, read_seq: 0, members: vec![], generation: 1 });
        bench.texts(*socket);
    }
    let typing = |on| LiveEvent::Typing { user: user(1), username: "user1".into(), on };
    bench.deliver_batch(room(1), &[1, 2, 3], 0, vec![], vec![typing(true), typing(false)]);
    assert_eq!(bench.events(sockets[0]), Vec::<serde_json::Value>::new());
    assert_eq!(bench.events(sockets[2]), Vec::<serde_json::Value>::new());
    let wanted = [
        json!(["chat:typing", {"conversationId": room(1), "userId": user(1), "username": "user1"}]),
        json!(["chat:stopTyping", {"conversationId": room(1), "userId": user(1)}]),
    ];
    assert_eq!(bench.events(sockets[1]), wanted);
    bench.emit(sockets[1], None, json!(["chat:leave", room(1)]));
    bench.deliver_batch(room(1), &[1, 2, 3], 0, vec![], vec![typing(true)]);
    assert_eq!(bench.events(sockets[1]), Vec::<serde_json::Value>::new());
}

#[test]
fn reads_and_receipts_reach_every_socket_of_every_member() {
    let mut bench = Bench::new();
    let sockets: Vec<SocketId> = [1, 1, 2].iter().map(|n| bench.client(*n)).collect();
    let live = vec![
        LiveEvent::Read { user: user(1), ids: vec![message_id(1)], up_to: 1 },
        LiveEvent::Receipts { user: user(1), delivered_seq: 1, read_seq: 1 },
    ];
    bench.deliver_batch(room(1), &[1, 2], 1, vec![], live);
    for socket in sockets {
        let names: Vec<_> = bench.events(socket).iter().map(|event| event[0].clone()).collect();
        assert_eq!(names, ["chat:read", "chat:receipts"]);
    }
}

#[test]
fn some_events_are_for_some_members_only() {
    let mut bench = Bench::new();
    let sockets: Vec<SocketId> = [1, 2].iter().map(|n| bench.client(*n)).collect();
    let receipts = |read_seq| LiveEvent::Receipts { user: user(1), delivered_seq: 1, read_seq };
    let these = vec![user(1)];
    let live = vec![
        LiveEvent::For { these: these.clone(), only: true, event: Box::new(receipts(1)) },
        LiveEvent::For { these, only: false, event: Box::new(receipts(0)) },
    ];
    bench.deliver_batch(room(1), &[1, 2], 1, vec![], live);
    for (socket, seen) in sockets.into_iter().zip([1, 0]) {
        let seqs: Vec<_> = bench.events(socket).iter().map(|event| event[1]["readSeq"].clone()).collect();
        assert_eq!(seqs, [json!(seen)]);
    }
}

#[test]
fn the_server_never_attaches_an_ack_id_to_its_events() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.deliver(room(1), &[1], &[1]);
    let texts = bench.texts(socket);
    assert!(texts[0].starts_with("42[\"chat:message\",{"), "{texts:?}");
}

#[test]
fn any_later_packet_of_a_socket_that_never_resumed_marks_what_was_written_to_it() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.deliver(room(1), &[1], &[1, 2]);
    let marked = |bench: &mut Bench| {
        bench.take(|to, msg| match msg {
            Message::MarkDelivered { user: who, up_to } if *to == objects::room(room(1)) => Some((*who, *up_to)),
            _ => None,
        })
    };
    assert!(marked(&mut bench).is_none(), "writing is not arriving");
    bench.text(socket, "3");
    assert_eq!(marked(&mut bench).map(|(_, mark)| mark), Some((user(1), 2)));
    bench.deliver(room(1), &[1], &[3]);
    bench.text(socket, "3");
    assert!(marked(&mut bench).is_none(), "at most once in three seconds");
    bench.advance(3_000);
    bench.text(socket, "3");
    assert_eq!(marked(&mut bench).map(|(_, mark)| mark), Some((user(1), 3)));
}

#[test]
fn verify_counts_the_sockets_of_a_user() {
    let mut bench = Bench::new();
    bench.client(1);
    bench.client(1);
    bench.user_says(user(1), Message::Verify { user: user(1) });
    assert_eq!(bench.replies.pop(), Some(Message::Present { epoch: EPOCH, sockets: 2, kept: 0 }));
    bench.user_says(user(2), Message::Verify { user: user(2) });
    assert_eq!(bench.replies.pop(), Some(Message::Present { epoch: EPOCH, sockets: 0, kept: 0 }));
}

#[test]
fn messages_of_a_newer_version_are_answered_done() {
    let mut bench = Bench::new();
    bench.room_says(room(1), Message::Unknown);
    assert_eq!(bench.replies.pop(), Some(Message::Done));
}
