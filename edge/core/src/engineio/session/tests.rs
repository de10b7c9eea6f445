//! The heartbeat; transports and the upgrade are tested through the gateway (`gateway/tests`).

use std::rc::Rc;

use wire::Timestamp;

use super::{Config, Event, Reason, Session};
use crate::effects::Effects;
use crate::object::{Frame, Output, RequestId, SocketId};

const CONFIG: Config = Config {
    ping_interval_ms: 20_000,
    ping_timeout_ms: 15_000,
    grain_ms: 1_000,
    sweep_ms: 0,
    max_payload_bytes: 65_536,
    upgrades: true,
};
const SOCKET: SocketId = SocketId(1);

fn at(ms: u64) -> Timestamp {
    Timestamp(1_000_000 + ms)
}

fn open(now: Timestamp, fx: &mut Effects) -> Session {
    Session::websocket(Rc::from("0.x"), SOCKET, &CONFIG, now, fx)
}

fn pong(session: &mut Session, now: Timestamp, fx: &mut Effects) {
    session.on_frame(SOCKET, &Frame::Text("3".into()), 100, now, fx);
}

#[test]
fn pings_of_sockets_opened_within_one_grain_are_due_together() {
    let fx = &mut Effects::default();
    let due = |ms| open(at(ms), &mut Effects::default()).deadline(&CONFIG);
    assert_eq!(due(1), due(999));
    assert_ne!(due(1), due(1_001));
    let mut session = open(at(0), fx);
    assert_eq!(session.on_time(&CONFIG, at(19_999), fx), None);
    assert_eq!(session.on_time(&CONFIG, at(20_000), fx), Some(SOCKET));
    assert_eq!(session.on_time(&CONFIG, at(20_000), fx), None, "an alarm that comes twice");
}

#[test]
fn pings_keep_their_pace_whenever_the_pong_comes() {
    let fx = &mut Effects::default();
    let mut session = open(at(0), fx);
    for n in 1..5 {
        assert_eq!(session.on_time(&CONFIG, at(n * 20_000), fx), Some(SOCKET));
        pong(&mut session, at(n * 20_000 + n * 1_000), fx);
    }
}

#[test]
fn a_missing_pong_ends_the_session_and_other_packets_do_not_help() {
    let fx = &mut Effects::default();
    let mut session = open(at(0), fx);
    session.on_time(&CONFIG, at(20_000), fx);
    let frame = Frame::Text("4hello".into());
    assert_eq!(session.on_frame(SOCKET, &frame, 100, at(30_000), fx), Event::Text("hello"));
    session.on_time(&CONFIG, at(34_999), fx);
    assert_eq!(session.closed(), None);
    session.on_time(&CONFIG, at(35_000), fx);
    assert_eq!(session.closed(), Some(Reason::PingTimeout));
    assert!(Reason::PingTimeout.is_clean() && !Reason::Lost.is_clean());
    assert_eq!(session.deadline(&CONFIG), None);
}

#[test]
fn an_alarm_long_overdue_sends_one_ping() {
    let fx = &mut Effects::default();
    let mut session = open(at(0), fx);
    assert_eq!(session.on_time(&CONFIG, at(500_000), fx), Some(SOCKET));
    assert!(session.deadline(&CONFIG).is_some_and(|due| due > at(500_000)));
}

#[test]
fn a_restored_session_is_pinged_at_once() {
    let fx = &mut Effects::default();
    let mut session = Session::restored(Rc::from("0.x"), SOCKET, at(0), &CONFIG, at(0));
    assert_eq!(session.on_time(&CONFIG, at(0), fx), Some(SOCKET));
}

#[test]
fn frames_of_strange_sockets_are_ignored() {
    let fx = &mut Effects::default();
    let mut session = open(at(0), fx);
    let frame = Frame::Text("4hello".into());
    assert_eq!(session.on_frame(SocketId(2), &frame, 100, at(1), fx), Event::Nothing);
    assert_eq!(session.closed(), None);
}

#[test]
fn closing_twice_says_it_once() {
    let fx = &mut Effects::default();
    let mut session = Session::polling(Rc::from("0.x"), RequestId(1), &None, &CONFIG, at(0), fx);
    session.on_get(RequestId(2), None, at(1), fx);
    session.close(crate::error::CloseCode::Normal, Reason::Server, fx);
    session.close(crate::error::CloseCode::Normal, Reason::Client, fx);
    assert_eq!(session.closed(), Some(Reason::Server));
    let mut answers = 0;
    while let Some(output) = fx.pop() {
        answers += usize::from(matches!(output, Output::Respond { .. }));
    }
    assert_eq!(answers, 2, "the open packet and the end");
}

/// As on hosts that let objects sleep.
const SWEEPS: Config = Config { ping_interval_ms: 25_000, ping_timeout_ms: 20_000, sweep_ms: 20_000, ..CONFIG };

fn swept(ms: u64) -> Timestamp {
    // A multiple of the sweep.
    Timestamp(1_000_000_000 + ms)
}

#[test]
fn where_there_is_a_sweep_pings_are_due_at_its_multiples_and_no_pong_is_waited_for() {
    let fx = &mut Effects::default();
    let mut session = Session::websocket(Rc::from("0.x"), SOCKET, &SWEEPS, swept(7_000), fx);
    assert_eq!(session.deadline(&SWEEPS), Some(swept(20_000)));
    assert_eq!(session.on_time(&SWEEPS, swept(19_999), fx), None);
    assert_eq!(session.on_time(&SWEEPS, swept(21_500), fx), Some(SOCKET), "a late alarm");
    assert_eq!(session.deadline(&SWEEPS), Some(swept(40_000)), "the next one is not late");
}

#[test]
fn a_sweep_closes_who_was_silent_for_interval_and_timeout() {
    let fx = &mut Effects::default();
    let mut session = Session::websocket(Rc::from("0.x"), SOCKET, &SWEEPS, swept(0), fx);
    session.on_frame(SOCKET, &Frame::Text("42[\"hb\"]".into()), 100, swept(15_000), fx);
    assert_eq!(session.on_time(&SWEEPS, swept(60_000), fx), Some(SOCKET), "45 s, and not more");
    session.on_heard(swept(20_100));
    assert_eq!(session.heard(), swept(20_100));
    session.on_heard(swept(10_000));
    assert_eq!(session.heard(), swept(20_100), "the newest counts");
    assert_eq!(session.on_time(&SWEEPS, swept(80_000), fx), None);
    assert_eq!(session.closed(), Some(Reason::PingTimeout));
}

#[test]
fn a_session_restored_by_a_sleep_waits_for_the_sweep() {
    let session = Session::restored(Rc::from("0.x"), SOCKET, swept(1_000), &SWEEPS, swept(25_000));
    assert_eq!((session.deadline(&SWEEPS), session.heard()), (Some(swept(40_000)), swept(1_000)));
}
