//! Expiry, renewal, revocation, shutdown (E-048..E-050, E-056, S1, N55).

use serde_json::{Value, json};

use super::bench::{Bench, START, event, session, token, user};
use crate::object::{Input, SocketId};
use crate::objects::Message;
use wire::Timestamp;

/// Lets time pass while the client answers pings.
fn live_on(bench: &mut Bench, socket: SocketId, ms: u64) {
    for _ in 0..ms / 10_000 {
        bench.advance(10_000);
        if !bench.is_closed(socket) {
            bench.text(socket, "3");
        }
    }
}

#[test]
fn expiry_is_announced_a_minute_before_and_closes_a_minute_after() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    live_on(&mut bench, socket, 830_000);
    assert_eq!(bench.events(socket), Vec::<Value>::new());
    live_on(&mut bench, socket, 20_000);
    let at = Timestamp(START.0 + 900_000);
    assert_eq!(bench.events(socket), [json!(["auth:expiring", {"expiresAt": at}])]);
    live_on(&mut bench, socket, 100_000);
    assert!(!bench.is_closed(socket));
    live_on(&mut bench, socket, 20_000);
    assert_eq!(bench.closed[&socket], 4001);
}

#[test]
fn a_renewed_token_keeps_the_socket() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    live_on(&mut bench, socket, 850_000);
    bench.texts(socket);
    bench.emit(socket, Some(1), json!(["auth:renew", {"token": token(1, 1, 1_800_000)}]));
    let expires = Timestamp(START.0 + 1_800_000);
    assert_eq!(bench.ack(socket, 1), json!({"ok": true, "expiresAt": expires}));
    live_on(&mut bench, socket, 200_000);
    assert!(!bench.is_closed(socket));
    assert_eq!(bench.events(socket), Vec::<Value>::new());
}

#[test]
fn a_token_of_another_user_or_session_renews_nothing() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    for token in [token(2, 1, 1_800_000), token(1, 2, 1_800_000), "nonsense".to_owned()] {
        bench.emit(socket, Some(1), json!(["auth:renew", {"token": token}]));
        assert_eq!(bench.ack(socket, 1)["error"]["code"], "UNAUTHORIZED");
    }
    live_on(&mut bench, socket, 970_000);
    assert!(bench.is_closed(socket));
}

#[test]
fn revoked_sessions_are_told_and_closed_at_once() {
    let mut bench = Bench::new();
    let (one, other, foreign) = (bench.client(1), bench.open(), bench.client(2));
    bench.text(other, &format!("40{{\"token\":\"{}\"}}", token(1, 7, 900_000)));
    bench.accept(1, &[]);
    bench.texts(other);
    let close = |sessions| Message::CloseSessions { user: user(1), sessions, reason: "logout".into() };
    bench.user_says(user(1), close(Some(vec![session(7)])));
    assert_eq!(bench.events(other), [json!(["auth:revoked", {"reason": "logout"}])]);
    assert_eq!(bench.closed[&other], 4002);
    assert!(!bench.is_closed(one));
    bench.user_says(user(1), close(None));
    assert_eq!(bench.closed[&one], 4002);
    assert!(!bench.is_closed(foreign));
    assert_eq!(bench.replies.pop(), Some(Message::Done));
}

#[test]
fn a_session_revoked_while_its_socket_is_being_verified_does_not_connect() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.user_says(user(1), Message::CloseSessions { user: user(1), sessions: None, reason: "logout".into() });
    assert!(bench.texts(socket)[0].starts_with("44{"));
    bench.accept(1, &[]);
    assert_eq!(bench.texts(socket), Vec::<String>::new(), "the late answer changes nothing");
}

#[test]
fn a_polling_client_reads_why_it_was_closed_with_its_next_get() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let query = format!("EIO=4&transport=polling&sid={sid}");
    bench.post(&query, &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    let get = bench.get(&query);
    assert!(bench.answered(get).expect("connected").1.starts_with("40{"));
    bench.user_says(user(1), Message::CloseSessions { user: user(1), sessions: None, reason: "logout".into() });
    let get = bench.get(&query);
    assert_eq!(event(&bench.answered(get).expect("kept").1).0, json!(["auth:revoked", {"reason": "logout"}]));
    let get = bench.get(&query);
    assert_eq!(bench.answered(get).expect("kept").1, "1", "in one body the client would drop the event");
    let get = bench.get(&query);
    assert_eq!(bench.answered(get).expect("over").0, 400);
}

#[test]
fn a_held_get_takes_the_reason_and_the_next_one_the_end() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let query = format!("EIO=4&transport=polling&sid={sid}");
    bench.post(&query, &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    let connected = bench.get(&query);
    assert!(bench.answered(connected).is_some());
    let held = bench.get(&query);
    bench.user_says(user(1), Message::CloseSessions { user: user(1), sessions: None, reason: "logout".into() });
    assert_eq!(event(&bench.answered(held).expect("told").1).0, json!(["auth:revoked", {"reason": "logout"}]));
    let get = bench.get(&query);
    assert_eq!(bench.answered(get).expect("kept").1, "1");
}

#[test]
fn a_stopping_host_sends_everybody_away_and_takes_nobody() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.step(Input::Draining);
    assert_eq!(bench.events(socket), [json!(["server:draining", {"reconnectAfterMs": 3000}])]);
    let late = bench.open_at("/socket.io/", "EIO=4&transport=websocket");
    assert_eq!(bench.closed[&late], 1012);
    let get = bench.get("EIO=4&transport=polling");
    assert_eq!(bench.answered(get).expect("refused").0, 503);
}
