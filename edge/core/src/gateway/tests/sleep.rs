//! Gateways of hosts that let objects sleep: any event may begin a life, and nobody renews.

use serde_json::{Value, json};
use wire::Timestamp;

use super::bench::{Bench, EPOCH, START, room, token, user};
use crate::gateway::attachment::{Attachment, Cursor};
use crate::object::{CallError, CallKey, Input, SocketId};
use crate::objects::{self, Message};

/// START is a multiple of the sweep.
const SWEEP_MS: u64 = 20_000;

fn at(ms: u64) -> Timestamp {
    START.plus_ms(ms)
}

fn pings(bench: &mut Bench, socket: SocketId) -> usize {
    bench.texts(socket).iter().filter(|text| *text == "2").count()
}

fn down(bench: &mut Bench, n: u64) -> Option<(CallKey, (u32, bool))> {
    bench.take(|to, msg| match msg {
        Message::SocketDown { sockets, clean, .. } if *to == objects::user(user(n)) => Some((*sockets, *clean)),
        _ => None,
    })
}

fn pushed(n: u64, version: u64, online: bool, audience: &[u64]) -> Message {
    let audience = Some(audience.iter().map(|n| user(*n)).collect());
    Message::Presence { user: user(n), epoch: 1, version, online, shown: None, audience }
}

fn heard_and_alarm(bench: &mut Bench, heard: &[(SocketId, u64)]) {
    for (socket, ms) in heard {
        bench.step(Input::Heard { socket: *socket, at: at(*ms) });
    }
    bench.step(Input::Alarm);
}

#[test]
fn a_sweep_pings_all_sockets_together_at_multiples_of_its_time() {
    let mut bench = Bench::sleeping();
    let first = bench.client(1);
    bench.advance(7_300);
    let second = bench.client(2);
    bench.advance(12_699);
    assert_eq!((pings(&mut bench, first), pings(&mut bench, second)), (0, 0));
    bench.advance(1);
    assert_eq!((pings(&mut bench, first), pings(&mut bench, second)), (1, 1));
    bench.advance(SWEEP_MS);
    assert_eq!((pings(&mut bench, first), pings(&mut bench, second)), (1, 1));
}

#[test]
fn a_wake_by_an_alarm_is_a_sweep_however_late() {
    let mut bench = Bench::sleeping();
    let socket = bench.client(1);
    bench.now = at(SWEEP_MS + 3_700);
    bench.wake(&[socket], EPOCH);
    heard_and_alarm(&mut bench, &[]);
    assert_eq!(pings(&mut bench, socket), 1);
    bench.step(Input::Alarm);
    assert_eq!(pings(&mut bench, socket), 0, "an alarm that comes twice");
    assert_eq!(crate::object::Object::poll_timeout(&bench.gateway), Some(at(2 * SWEEP_MS)));
}

#[test]
fn a_wake_by_a_frame_pings_nobody() {
    let mut bench = Bench::sleeping();
    let (one, two) = (bench.client(1), bench.client(2));
    bench.now = at(SWEEP_MS + 5_000);
    bench.wake(&[one, two], EPOCH);
    bench.text(one, "42[\"hb\"]");
    bench.told(&[1, 2]);
    assert_eq!((pings(&mut bench, one), pings(&mut bench, two)), (0, 0));
    bench.advance(15_000);
    assert_eq!((pings(&mut bench, one), pings(&mut bench, two)), (1, 1));
}

#[test]
fn silent_sockets_are_closed_by_the_sweep_after_45_s_and_heard_ones_are_not() {
    let mut bench = Bench::sleeping();
    let (silent, heard) = (bench.client(1), bench.client(2));
    for sweep in 1..=2 {
        bench.now = at(sweep * SWEEP_MS);
        bench.wake(&[silent, heard], EPOCH);
        heard_and_alarm(&mut bench, &[(heard, sweep * SWEEP_MS - 19_900)]);
        assert!(!bench.is_closed(silent) && !bench.is_closed(heard), "sweep {sweep}");
    }
    bench.now = at(3 * SWEEP_MS);
    bench.wake(&[silent, heard], EPOCH);
    heard_and_alarm(&mut bench, &[(heard, 2 * SWEEP_MS + 100)]);
    assert_eq!(bench.closed[&silent], 4000);
    assert!(!bench.is_closed(heard));
    bench.told(&[1, 2]);
    let (_, told) = down(&mut bench, 1).expect("told");
    assert_eq!(told, (0, true), "the loss is old: no return is waited for");
}

#[test]
fn an_idle_gateway_with_a_thousand_sockets_calls_no_object_in_a_sweep() {
    let mut bench = Bench::sleeping();
    let sockets: Vec<SocketId> = (1..=1_000).map(|n| bench.client(n)).collect();
    let users: Vec<u64> = (1..=1_000).collect();
    for sweep in 1..=3 {
        bench.now = at(sweep * SWEEP_MS);
        bench.wake(&sockets, EPOCH);
        bench.asked.clear();
        bench.stored.clear();
        let heard: Vec<(SocketId, u64)> = sockets.iter().map(|socket| (*socket, sweep * SWEEP_MS - 19_000)).collect();
        heard_and_alarm(&mut bench, &heard);
        bench.told(&users);
        assert_eq!((bench.asked.len(), bench.stored.len()), (0, 0), "sweep {sweep}");
        assert!(sockets.iter().all(|socket| pings(&mut bench, *socket) == 1));
        assert_eq!(crate::object::Object::poll_timeout(&bench.gateway), Some(at((sweep + 1) * SWEEP_MS)));
    }
}

#[test]
fn presence_reaches_those_of_the_audience_who_are_here_after_a_sleep() {
    let mut bench = Bench::sleeping();
    let (sees, other) = (bench.client_seeing(1, &[9]), bench.client_seeing(2, &[8]));
    bench.wake(&[sees, other], EPOCH);
    bench.user_says(user(9), pushed(9, 1, true, &[1, 3]));
    let names: Vec<Value> = bench.events(sees).iter().map(|event| event[0].clone()).collect();
    assert_eq!(names, ["presence:online", "presence:state"]);
    assert_eq!(bench.events(other), Vec::<Value>::new());
    assert_eq!(bench.replies.pop(), Some(Message::Done));
}

#[test]
fn a_gateway_without_anybody_of_the_audience_asks_to_be_forgotten() {
    let mut bench = Bench::sleeping();
    let socket = bench.client(1);
    bench.wake(&[socket], EPOCH);
    bench.user_says(user(9), pushed(9, 1, true, &[3, 4]));
    assert!(matches!(bench.replies.pop(), Some(Message::Unwatch { at }) if at.epoch == EPOCH));
    assert_eq!(bench.events(socket), Vec::<Value>::new());
}

#[test]
fn the_list_of_who_is_online_is_asked_for_again_after_a_sleep() {
    let mut bench = Bench::sleeping();
    let socket = bench.client_seeing(1, &[9]);
    bench.wake(&[socket], EPOCH);
    bench.told(&[1]);
    bench.asked.clear();
    bench.emit(socket, Some(1), json!(["presence:getOnline"]));
    bench.accept(1, &[9]);
    let watch = |bench: &mut Bench| bench.take(|_, msg| matches!(msg, Message::Watch { .. }).then_some(()));
    let (call, ()) = watch(&mut bench).expect("asked");
    bench.reply(call, pushed(9, 1, true, &[]));
    assert_eq!(bench.ack(socket, 1), json!([user(9)]));
    bench.emit(socket, Some(2), json!(["presence:getOnline"]));
    assert_eq!(bench.ack(socket, 2), json!([user(9)]));
    assert!(bench.asked.is_empty(), "the second time it is known");
}

#[test]
fn a_user_that_did_not_say_whether_it_is_online_is_asked_again_by_the_sweep() {
    let mut bench = Bench::sleeping();
    bench.client_seeing(1, &[9]);
    let watch = |bench: &mut Bench| bench.take(|_, msg| matches!(msg, Message::Watch { .. }).then_some(()));
    let (call, ()) = watch(&mut bench).expect("asked");
    bench.fail(call, CallError::Lost);
    bench.advance(SWEEP_MS);
    let (call, ()) = watch(&mut bench).expect("asked again");
    bench.reply(call, pushed(9, 1, false, &[]));
    bench.advance(SWEEP_MS);
    assert!(watch(&mut bench).is_none());
}

#[test]
fn lost_sockets_are_reported_by_the_next_life() {
    let mut bench = Bench::sleeping();
    bench.client(1);
    let kept = bench.client(2);
    bench.asked.clear();
    bench.wake(&[kept], EPOCH + 1);
    bench.step(Input::Alarm);
    bench.told(&[1, 2]);
    assert!(down(&mut bench, 2).is_none());
    let (call, told) = down(&mut bench, 1).expect("told");
    assert_eq!(told, (0, false), "who was cut off may come back");
    bench.stored.clear();
    bench.reply(call, Message::Done);
    assert_eq!(bench.stored.len(), 1, "forgotten once the User knows");
}

#[test]
fn the_end_of_the_last_socket_is_told_until_it_is_answered() {
    let mut bench = Bench::sleeping();
    let socket = bench.client(1);
    bench.step(Input::SocketClosed { socket, clean: true });
    let (call, _) = down(&mut bench, 1).expect("told");
    bench.fail(call, CallError::Lost);
    assert!(down(&mut bench, 1).is_none());
    bench.stored.clear();
    bench.advance(SWEEP_MS);
    let (call, _) = down(&mut bench, 1).expect("told again");
    bench.refused(call, wire::ErrorCode::NodeUnavailable);
    assert!(bench.stored.is_empty(), "a User that cannot load has not noted it");
    bench.advance(SWEEP_MS);
    let (call, _) = down(&mut bench, 1).expect("and again");
    bench.reply(call, Message::Done);
    assert_eq!(bench.stored.len(), 1);
    assert_eq!(crate::object::Object::poll_timeout(&bench.gateway), None, "nothing is left to wake up for");
}

#[test]
fn a_late_answer_to_an_older_report_does_not_count_for_a_newer_one() {
    let mut bench = Bench::sleeping();
    let socket = bench.client(1);
    bench.step(Input::SocketClosed { socket, clean: true });
    let (first, _) = down(&mut bench, 1).expect("told");
    let socket = bench.client(1);
    bench.step(Input::SocketClosed { socket, clean: true });
    let (second, _) = down(&mut bench, 1).expect("told");
    bench.stored.clear();
    bench.fail(second, CallError::Lost);
    bench.reply(first, Message::Done);
    assert!(bench.stored.is_empty(), "between the two the User was told of a socket");
    bench.advance(SWEEP_MS);
    assert!(down(&mut bench, 1).is_some());
}

#[test]
fn an_unauthenticated_socket_is_closed_after_five_seconds() {
    let mut bench = Bench::sleeping();
    let socket = bench.open();
    assert_eq!(crate::object::Object::poll_timeout(&bench.gateway), Some(at(5_000)));
    bench.advance(4_999);
    assert!(!bench.is_closed(socket));
    bench.advance(1);
    assert_eq!(bench.closed[&socket], 4001);
}

#[test]
fn tokens_that_run_out_are_told_with_the_sweep_before() {
    let mut bench = Bench::sleeping();
    let socket = bench.open();
    // E-048 is due a minute before: in the middle between two sweeps.
    bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(1, 1, 90_000)));
    bench.accept(1, &[]);
    bench.texts(socket);
    // The time to authenticate was asked for before.
    bench.advance(5_000);
    let next = at(SWEEP_MS);
    assert_eq!(crate::object::Object::poll_timeout(&bench.gateway), Some(next));
    bench.advance(next.since(bench.now));
    assert!(bench.events(socket).iter().any(|event| event[0] == "auth:expiring"));
}

#[test]
fn call_keys_of_two_lives_differ_even_at_one_instant() {
    let mut bench = Bench::sleeping();
    let socket = bench.client(1);
    let send = |bench: &mut Bench| {
        bench.emit(socket, None, json!(["chat:typing", {"conversationId": room(1)}]));
        bench.take(|to, _| (*to == objects::room(room(1))).then_some(())).expect("asked").0
    };
    let first = send(&mut bench);
    let kept = bench.attached[&socket].last().cloned().unwrap_or_default();
    let mut keys = vec![first];
    for seed in 1..=2 {
        bench.step(Input::Started { sockets: vec![(socket, kept.clone())], epoch: EPOCH, seed: [seed; 32] });
        keys.push(send(&mut bench));
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 3, "a Room knows repeated sends by the key");
}

#[test]
fn cursors_are_kept_as_soon_as_a_replay_has_ended() {
    let mut bench = Bench::sleeping();
    let socket = bench.client(1);
    bench.emit(socket, Some(1), json!(["sync:resume", {"cursors": {room(1).to_string(): 1}}]));
    bench.heads(&[(1, 3)]);
    let (call, _) = bench.pull(1).expect("asked");
    bench.page(call, 1, 2..=3, 3);
    let saved = Attachment::decode(bench.attached[&socket].last().expect("attached")).expect("not behind");
    assert_eq!(saved.rooms[0].cursor, Cursor::Next { next: 4, generation: 1 });
    bench.wake(&[socket], EPOCH);
    assert!(!bench.is_closed(socket));
    bench.texts(socket);
    bench.deliver(room(1), &[1], &[3, 4]);
    assert_eq!(bench.seqs(socket, 1), [4]);
}

#[test]
fn an_older_batch_is_not_written_to_a_live_socket_after_a_sleep() {
    let mut bench = Bench::sleeping();
    let socket = bench.client(1);
    bench.deliver(room(1), &[1], &[5, 6]);
    bench.wake(&[socket], EPOCH);
    bench.texts(socket);
    bench.deliver(room(1), &[1], &[5]);
    assert_eq!(bench.seqs(socket, 1), Vec::<u64>::new());
    bench.deliver(room(1), &[1], &[7]);
    assert_eq!(bench.seqs(socket, 1), [7]);
}
