//! From polling to websocket, with every race.

use serde_json::json;

use super::bench::{Bench, event, token, user};
use crate::object::{Input, SocketId};
use crate::objects::Message;

fn candidate(bench: &mut Bench, sid: &str) -> SocketId {
    bench.open_at("/socket.io/", &format!("EIO=4&transport=websocket&sid={sid}"))
}

fn query(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

#[test]
fn a_candidate_gets_nothing_but_the_probe_until_the_upgrade() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let socket = candidate(&mut bench, &sid);
    assert_eq!(bench.texts(socket), Vec::<String>::new(), "no open packet");
    bench.text(socket, "2probe");
    assert_eq!(bench.texts(socket), ["3probe"]);
    bench.post(&query(&sid), "40");
    assert_eq!(bench.texts(socket), Vec::<String>::new(), "answers still go by polling");
    bench.text(socket, "5");
    let texts = bench.texts(socket);
    assert!(texts.len() == 1 && texts[0].starts_with("40{"), "flushed in order: {texts:?}");
}

#[test]
fn a_held_get_is_ended_so_that_the_client_can_pause() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let get = bench.get(&query(&sid));
    let socket = candidate(&mut bench, &sid);
    assert_eq!(bench.answered(get), None);
    bench.text(socket, "2probe");
    assert_eq!(bench.answered(get), Some((200, "6".into())));
    let get = bench.get(&query(&sid));
    bench.advance(99);
    assert_eq!(bench.answered(get), None, "later ones at a pace");
    bench.advance(1);
    assert_eq!(bench.answered(get), Some((200, "6".into())));
}

#[test]
fn each_packet_leaves_once_and_in_order() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    bench.post(&query(&sid), &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    let socket = candidate(&mut bench, &sid);
    bench.text(socket, "2probe");
    bench.post(&query(&sid), "42[\"hb\"]");
    let get = bench.get(&query(&sid));
    let (_, body) = bench.answered(get).expect("what waited");
    assert!(body.starts_with("40{") && body.ends_with("\u{1e}42[\"hb\"]"), "{body}");
    bench.post(&query(&sid), "42[\"hb\"]");
    assert_eq!(bench.texts(socket), ["3probe"]);
    bench.text(socket, "5");
    bench.text(socket, "42[\"hb\"]");
    assert_eq!(bench.texts(socket), ["42[\"hb\"]", "42[\"hb\"]"]);
    assert_eq!(bench.attached[&socket].len(), 1, "the websocket is now what survives");
}

#[test]
fn probe_and_upgrade_may_come_back_to_back() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let get = bench.get(&query(&sid));
    let socket = candidate(&mut bench, &sid);
    bench.text(socket, "2probe");
    bench.text(socket, "5");
    assert_eq!(bench.answered(get), Some((200, "6".into())));
    bench.text(socket, "40");
    assert!(bench.texts(socket)[1].starts_with("40{"));
}

#[test]
fn after_the_upgrade_polling_is_refused_and_the_session_lives() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let socket = candidate(&mut bench, &sid);
    bench.text(socket, "2probe");
    bench.text(socket, "5");
    let get = bench.get(&query(&sid));
    assert_eq!(bench.answered(get).expect("refused").0, 400);
    assert_eq!(bench.post(&query(&sid), "40").0, 400);
    let second = candidate(&mut bench, &sid);
    assert!(bench.is_closed(second));
    bench.text(socket, "40");
    assert!(!bench.is_closed(socket));
    assert!(bench.texts(socket).last().is_some_and(|text| text.starts_with("40{")));
}

#[test]
fn a_second_candidate_is_closed_and_disturbs_nothing() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let (first, second) = (candidate(&mut bench, &sid), candidate(&mut bench, &sid));
    assert!(bench.is_closed(second));
    bench.text(first, "2probe");
    assert_eq!(bench.texts(first), ["3probe"]);
}

#[test]
fn anything_else_on_a_candidate_closes_it_and_polling_goes_on() {
    for text in ["4hello", "2", "3probe", "6", "5", "abc"] {
        let mut bench = Bench::new();
        let sid = bench.poll_session();
        let socket = candidate(&mut bench, &sid);
        bench.text(socket, text);
        assert!(bench.is_closed(socket), "{text}");
        assert_eq!(bench.post(&query(&sid), "40"), (200, "ok".into()));
    }
}

#[test]
fn a_candidate_without_upgrade_is_closed_after_ten_seconds() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    bench.post(&query(&sid), &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    let socket = candidate(&mut bench, &sid);
    bench.text(socket, "2probe");
    bench.advance(11_000);
    assert!(bench.is_closed(socket));
    let get = bench.get(&query(&sid));
    assert!(bench.answered(get).expect("polling goes on").1.starts_with("40{"));
}

#[test]
fn a_candidate_that_is_lost_leaves_the_session() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let socket = candidate(&mut bench, &sid);
    bench.text(socket, "2probe");
    bench.step(Input::SocketClosed { socket, clean: false });
    let another = candidate(&mut bench, &sid);
    bench.text(another, "2probe");
    assert_eq!(bench.texts(another), ["3probe"]);
}

#[test]
fn an_unknown_sid_closes_the_websocket() {
    let mut bench = Bench::new();
    let socket = candidate(&mut bench, "3.unknown");
    assert!(bench.is_closed(socket));
}

#[test]
fn without_upgrades_no_candidate_is_taken() {
    let settings = crate::settings::Settings { upgrades: vec![], rate_limits: false, ..Default::default() };
    let mut bench = Bench::with(settings);
    let get = bench.get("EIO=4&transport=polling");
    let (_, open) = bench.answered(get).expect("open");
    assert!(open.contains("\"upgrades\":[]"), "{open}");
    let sid = bench.poll_session();
    let socket = candidate(&mut bench, &sid);
    assert!(bench.is_closed(socket));
}

#[test]
fn a_session_opened_where_no_websocket_can_come_announces_none() {
    let mut bench = Bench::new();
    let (req, mut head) = bench.head("GET", "/socket.io/", "EIO=4&transport=polling");
    head.upgrades = false;
    bench.step(Input::PollGet { req, head });
    let (_, open) = bench.answered(req).expect("open");
    assert!(open.contains("\"upgrades\":[]"), "{open}");
}

#[test]
fn a_session_revoked_while_its_client_upgrades_reads_why_on_the_websocket() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    bench.post(&query(&sid), &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    let connected = bench.get(&query(&sid));
    assert!(bench.answered(connected).is_some());
    let socket = candidate(&mut bench, &sid);
    bench.text(socket, "2probe");
    let close = Message::CloseSessions { user: user(1), sessions: None, reason: "logout".into() };
    bench.user_says(user(1), close);
    assert!(!bench.is_closed(socket), "a client that lost its probe now would never poll again");
    bench.text(socket, "5");
    let texts = bench.texts(socket);
    assert_eq!(texts[0], "3probe");
    assert_eq!(event(&texts[1]).0, json!(["auth:revoked", {"reason": "logout"}]));
    bench.advance(2_000);
    assert!(bench.is_closed(socket));
}
