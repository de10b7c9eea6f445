//! Requests of the polling transport and their refusals.

use super::bench::{Bench, token};
use crate::object::{Input, Response};
use crate::settings::Settings;

fn query(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn code(body: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(body).expect("JSON")["code"].as_u64().expect("a code")
}

#[test]
fn the_sid_names_the_gateway() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    assert!(sid.starts_with("3.") && sid.len() >= 2 + 22, "{sid}");
    assert_eq!(crate::objects::gateway_of_sid(&sid).map(|id| id.name.to_string()), Some("gw-3".into()));
    assert_ne!(sid, bench.poll_session());
}

#[test]
fn handshakes_are_refused_with_the_codes_of_the_protocol() {
    let mut bench = Bench::new();
    for (query, wanted) in [
        ("EIO=3&transport=polling", 5),
        ("transport=polling", 5),
        ("EIO=abc&transport=polling", 5),
        ("EIO=4", 0),
        ("EIO=4&transport=abc", 0),
        ("EIO=4&transport=websocket", 3),
        ("EIO=4&transport=polling&sid=3.unknown", 1),
        ("EIO=4&transport=polling&sid=nonsense", 1),
    ] {
        let get = bench.get(query);
        let (status, body) = bench.answered(get).expect("refused");
        assert_eq!((status, code(&body)), (400, wanted), "{query}");
    }
    let (status, body) = bench.post("EIO=4&transport=polling", "");
    assert_eq!((status, code(&body)), (400, 2));
    let (req, head) = bench.head("PUT", "/socket.io/", "EIO=4&transport=polling");
    bench.step(Input::PollPost { req, head, body: vec![] });
    assert_eq!(bench.answered(req).expect("refused").0, 400);
    for query in ["transport=websocket", "EIO=3&transport=websocket", "EIO=4", "EIO=4&transport=polling"] {
        let socket = bench.open_at("/socket.io/", query);
        assert!(bench.is_closed(socket), "{query}");
    }
}

#[test]
fn answers_have_the_types_of_the_protocol() {
    let mut bench = Bench::new();
    let get = bench.get("EIO=4&transport=polling");
    let response = bench.response(get).expect("open");
    assert_eq!(header(&response, "Content-Type"), Some("text/plain; charset=UTF-8"));
    let sid = bench.poll_session();
    let (req, head) = bench.head("POST", "/socket.io/", &query(&sid));
    bench.step(Input::PollPost { req, head, body: b"40".to_vec() });
    let response = bench.response(req).expect("ok");
    assert_eq!((header(&response, "Content-Type"), response.body.as_slice()), (Some("text/html"), &b"ok"[..]));
}

#[test]
fn packets_wait_for_a_get_and_leave_together() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    assert_eq!(bench.post(&query(&sid), "40\u{1e}40/admin"), (200, "ok".into()));
    let get = bench.get(&query(&sid));
    let (_, body) = bench.answered(get).expect("at once");
    let packets: Vec<&str> = body.split('\u{1e}').collect();
    assert!(packets.len() == 2 && packets[0].starts_with("40{") && packets[1].starts_with("44/admin,"), "{body}");
    let get = bench.get(&query(&sid));
    assert_eq!(bench.answered(get), None, "held");
    bench.post(&query(&sid), "40/x");
    assert_eq!(bench.answered(get).expect("answered").1, r#"44/x,{"message":"Invalid namespace"}"#);
}

#[test]
fn two_gets_at_once_close_the_session() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let (first, second) = (bench.get(&query(&sid)), bench.get(&query(&sid)));
    assert_eq!(bench.answered(first), Some((200, "1".into())));
    assert_eq!(bench.answered(second).expect("refused").0, 400);
    let third = bench.get(&query(&sid));
    assert_eq!(bench.answered(third).expect("gone").0, 400);
}

#[test]
fn a_cancelled_get_closes_the_session() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let get = bench.get(&query(&sid));
    bench.step(Input::PollAborted { req: get });
    let next = bench.get(&query(&sid));
    assert_eq!(bench.answered(next).expect("gone").0, 400);
    assert_eq!(bench.answered(get), None, "nobody is there to be answered");
}

#[test]
fn a_close_packet_ends_the_session_and_the_held_get() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let get = bench.get(&query(&sid));
    assert_eq!(bench.post(&query(&sid), "1"), (200, "ok".into()));
    assert_eq!(bench.answered(get), Some((200, "6".into())));
    let next = bench.get(&query(&sid));
    assert_eq!(bench.answered(next).expect("gone").0, 400);
}

#[test]
fn bodies_that_break_the_protocol_close_the_session() {
    let many = vec!["6"; 65].join("\u{1e}");
    for body in ["abc", "", "4a\u{1e}", "2", "b!", many.as_str()] {
        let mut bench = Bench::new();
        let sid = bench.poll_session();
        assert_eq!(bench.post(&query(&sid), body).0, 400, "{body:.20}");
        let get = bench.get(&query(&sid));
        assert_eq!(bench.answered(get).expect("gone").0, 400);
    }
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    let (req, mut head) = bench.head("POST", "/socket.io/", &query(&sid));
    head.content_type = Some("application/octet-stream".into());
    bench.step(Input::PollPost { req, head, body: b"40".to_vec() });
    assert_eq!(bench.answered(req).expect("refused").0, 400);
}

#[test]
fn a_body_over_the_limit_is_413_and_the_session_goes_on() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    assert_eq!(bench.post(&query(&sid), &format!("4{}", "x".repeat(4 * 1024))).0, 413, "4 KiB before authentication");
    bench.post(&query(&sid), &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    assert_eq!(bench.post(&query(&sid), &format!("42[\"x\",\"{}\"]", "x".repeat(8 * 1024))).0, 200);
    assert_eq!(bench.post(&query(&sid), &"x".repeat(64 * 1024 + 1)).0, 413);
    assert_eq!(bench.post(&query(&sid), "42[\"hb\"]").0, 200);
}

#[test]
fn a_held_get_brings_the_ping_and_silence_ends_the_session() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    bench.post(&query(&sid), &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    let get = bench.get(&query(&sid));
    bench.answered(get);
    let get = bench.get(&query(&sid));
    bench.advance(21_000);
    assert_eq!(bench.answered(get), Some((200, "2".into())));
    bench.post(&query(&sid), "3");
    let get = bench.get(&query(&sid));
    bench.advance(20_000);
    assert_eq!(bench.answered(get), Some((200, "2".into())));
    let get = bench.get(&query(&sid));
    bench.advance(16_000);
    assert_eq!(bench.answered(get), Some((200, "1".into())), "no pong");
}

#[test]
fn a_get_held_too_long_is_ended_by_an_early_ping() {
    let mut settings = Settings { rate_limits: false, ..Settings::default() };
    settings.heartbeat.ping_interval_ms = 300_000;
    let mut bench = Bench::with(settings);
    let sid = bench.poll_session();
    bench.post(&query(&sid), &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    let get = bench.get(&query(&sid));
    bench.answered(get);
    let get = bench.get(&query(&sid));
    bench.advance(26_000);
    assert_eq!(bench.answered(get), Some((200, "2".into())));
}

#[test]
fn a_session_that_never_reads_is_closed_at_its_bound() {
    let mut bench = Bench::new();
    let sid = bench.poll_session();
    bench.post(&query(&sid), &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    let name = format!("42[\"{}\"]", "x".repeat(120));
    let body = vec![name; 60].join("\u{1e}");
    let mut posts = 0;
    while bench.post(&query(&sid), &body).0 == 200 {
        posts += 1;
        assert!(posts < 100, "bounded");
    }
    let get = bench.get(&query(&sid));
    assert_eq!(bench.answered(get).expect("gone").0, 400);
}

#[test]
fn only_allowed_origins_are_named() {
    let settings =
        Settings { allowed_origins: vec!["https://chat.example.com".into(), "null".into()], ..Settings::default() };
    let mut bench = Bench::with(settings);
    for (origin, named) in [
        (Some("https://chat.example.com"), true),
        (Some("https://chat.example.com.evil.test"), false),
        (Some("https://evil-chat.example.com"), false),
        (Some("null"), false),
        (None, false),
    ] {
        for method in ["GET", "OPTIONS"] {
            let (req, mut head) = bench.head(method, "/socket.io/", "EIO=4&transport=polling");
            head.origin = origin.map(str::to_owned);
            if method == "GET" {
                bench.step(Input::PollGet { req, head });
            } else {
                bench.step(Input::PollPost { req, head, body: vec![] });
            }
            let response = bench.response(req).expect("answered");
            assert_eq!(response.status, if method == "GET" { 200 } else { 204 });
            let wanted = origin.filter(|_| named);
            assert_eq!(header(&response, "Access-Control-Allow-Origin"), wanted, "{method} {origin:?}");
        }
    }
}
