//! CONNECT, tokens and invalid states (contract 1.3, E-001).

use serde_json::{Value, json};
use wire::ErrorCode;

use super::bench::{Bench, token, user};
use crate::object::{CallError, Kind};
use crate::objects::{self, Message};

fn connect_error(bench: &mut Bench, socket: crate::object::SocketId) -> Value {
    let texts = bench.texts(socket);
    let [text] = &texts[..] else { panic!("{texts:?}") };
    serde_json::from_str(text.strip_prefix("44").expect(text)).expect("JSON")
}

#[test]
fn the_connect_answer_waits_for_the_user_object() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    assert!(!bench.is_closed(socket));
    assert_eq!(bench.attached[&socket].len(), 1, "what survives a restart is written at once");
}

#[test]
fn the_user_is_told_how_many_sockets_it_has_here() {
    let mut bench = Bench::new();
    bench.client(1);
    let second = bench.open();
    bench.text(second, &format!("40{{\"token\":\"{}\"}}", token(1, 2, 900_000)));
    let up = bench.take(|to, msg| match msg {
        Message::SocketUp { at, sockets, .. } if *to == objects::user(user(1)) => Some((at.gateway.clone(), *sockets)),
        _ => None,
    });
    assert_eq!(up.map(|(_, up)| up), Some(("gw-3".to_owned(), 2)));
}

#[test]
fn a_token_that_cannot_be_verified_is_a_connect_error_and_the_transport_stays() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.text(socket, r#"40{"token":"nonsense"}"#);
    let wanted = json!({"message": "Authentication failed", "data": {"code": "UNAUTHORIZED"}});
    assert_eq!(connect_error(&mut bench, socket), wanted);
    bench.text(socket, r#"40{"token":"1:1:0"}"#);
    let wanted = json!({"message": "Authentication failed", "data": {"code": "TOKEN_EXPIRED"}});
    assert_eq!(connect_error(&mut bench, socket), wanted);
    bench.text(socket, r#"40{"token":7}"#);
    assert_eq!(connect_error(&mut bench, socket)["data"]["code"], "AUTH_REQUIRED");
    assert!(!bench.is_closed(socket));
    assert_eq!(bench.kind_of_first(), None, "nobody else is touched before a token is good");
    bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    assert!(bench.texts(socket)[0].starts_with("40{"));
}

#[test]
fn without_a_token_the_namespace_connects_and_accepts_nothing_for_five_seconds() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.text(socket, "40");
    assert!(bench.texts(socket)[0].starts_with("40{\"sid\":"));
    bench.emit(socket, Some(1), json!(["chat:join", "x"]));
    assert_eq!(bench.ack(socket, 1)["error"]["code"], "AUTH_REQUIRED");
    bench.emit(socket, None, json!(["chat:join", "x"]));
    assert_eq!(bench.events(socket)[0][1]["code"], "AUTH_REQUIRED");
    bench.advance(4_900);
    assert!(!bench.is_closed(socket));
    bench.advance(1_100);
    assert_eq!(bench.closed[&socket], 4001);
}

#[test]
fn an_explicit_chatcall_without_a_token_is_a_connect_error() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.text(socket, r#"40{"dialect":"chatcall"}"#);
    assert_eq!(connect_error(&mut bench, socket)["data"]["code"], "AUTH_REQUIRED");
    let by_query = bench.open_at("/socket.io/", "EIO=4&transport=websocket&dialect=chatcall");
    bench.texts(by_query);
    bench.text(by_query, "40");
    assert_eq!(connect_error(&mut bench, by_query)["data"]["code"], "AUTH_REQUIRED");
}

#[test]
fn an_unknown_dialect_is_a_connect_error() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.text(socket, &format!(r#"40{{"dialect":"klingon","token":"{}"}}"#, token(1, 1, 900_000)));
    assert_eq!(connect_error(&mut bench, socket)["data"]["code"], "INVALID_DATA");
}

#[test]
fn silence_after_the_open_packet_is_closed_after_five_seconds() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.advance(6_000);
    assert_eq!(bench.closed[&socket], 4001);
    assert!(bench.holds_nothing());
}

#[test]
fn a_revoked_session_is_a_connect_error() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    let (call, ()) = bench.take(|_, msg| matches!(msg, Message::SocketUp { .. }).then_some(())).expect("asked");
    bench.refused(call, ErrorCode::Unauthorized);
    assert_eq!(connect_error(&mut bench, socket)["data"]["code"], "UNAUTHORIZED");
}

#[test]
fn a_user_that_does_not_answer_is_node_unavailable() {
    let mut bench = Bench::new();
    for silent in [true, false] {
        let socket = bench.open();
        bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
        let (call, ()) = bench.take(|_, msg| matches!(msg, Message::SocketUp { .. }).then_some(())).expect("asked");
        if silent {
            bench.advance(9_000);
        } else {
            bench.fail(call, CallError::Lost);
        }
        assert_eq!(connect_error(&mut bench, socket)["data"]["code"], "NODE_UNAVAILABLE");
        let down = bench.take(|_, msg| matches!(msg, Message::SocketDown { sockets: 0, .. }).then_some(()));
        assert!(down.is_some(), "the User may have counted it");
    }
}

#[test]
fn a_socket_lost_while_the_user_is_asked_is_taken_back() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.step(crate::object::Input::SocketClosed { socket, clean: false });
    let down = bench.take(|_, msg| match msg {
        Message::SocketDown { sockets, clean, .. } => Some((*sockets, *clean)),
        _ => None,
    });
    assert_eq!(down.map(|(_, down)| down), Some((0, false)));
    bench.accept(1, &[]);
    assert_eq!(bench.texts(socket), Vec::<String>::new());
}

#[test]
fn invalid_states_close_the_whole_connection() {
    for packets in [
        &[r#"42["hb"]"#][..],
        &["430[]"],
        &["41"],
        &["44{}"],
        &["CONNECT", "CONNECT"],
        &["40", "40"],
        &["CONNECT-PENDING", r#"42["hb"]"#],
        &["CONNECT-PENDING", "CONNECT-PENDING"],
        &["CONNECT", "44{}"],
        &["CONNECT", r#"42/admin,["hb"]"#],
        &["CONNECT", "41/admin"],
        &["CONNECT", "41", r#"42["hb"]"#],
        &["CONNECT", "42{}"],
        &["CONNECT", "42abc[\"x\"]"],
        &["CONNECT", "4abc"],
        &["CONNECT", "abc"],
        &["CONNECT", "2"],
        &["CONNECT", r#"42["connect"]"#],
        &["CONNECT", r#"42[1]"#],
        &["CONNECT", r#"4511-["x"]"#],
        &["CONNECT", r#"459999999999999999999999-["x"]"#],
    ] {
        let mut bench = Bench::new();
        let socket = bench.open();
        for packet in packets {
            let connect = format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000));
            match *packet {
                "CONNECT" => {
                    bench.text(socket, &connect);
                    if !bench.is_closed(socket) {
                        bench.accept(1, &[]);
                    }
                }
                "CONNECT-PENDING" => bench.text(socket, &connect),
                other => bench.text(socket, other),
            }
        }
        assert!(bench.is_closed(socket), "{packets:?}");
    }
}

#[test]
fn another_namespace_is_refused_and_disturbs_nothing() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.text(socket, "40/admin");
    assert_eq!(bench.texts(socket), [r#"44/admin,{"message":"Invalid namespace"}"#]);
    bench.text(socket, "40/admin?x=1,{}");
    assert_eq!(bench.texts(socket), [r#"44/admin?x=1,{"message":"Invalid namespace"}"#]);
    assert!(!bench.is_closed(socket));
}

#[test]
fn leaving_the_namespace_is_a_clean_goodbye_and_the_transport_stays() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.text(socket, "41");
    assert!(!bench.is_closed(socket));
    let down = bench.take(|_, msg| match msg {
        Message::SocketDown { sockets, clean, .. } => Some((*sockets, *clean)),
        _ => None,
    });
    assert_eq!(down.map(|(_, down)| down), Some((0, true)));
    bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(2, 2, 900_000)));
    bench.accept(2, &[]);
    assert!(bench.texts(socket)[0].starts_with("40{"));
}

#[test]
fn after_leaving_the_transport_is_closed_when_nobody_comes_back() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.text(socket, "41");
    bench.advance(6_000);
    assert_eq!(bench.closed[&socket], 4001);
}

#[test]
fn only_gateways_are_touched_before_a_token_is_good() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        let socket = bench.open();
        bench.text(socket, "40");
        bench.emit(socket, Some(1), json!(["chat:join", super::bench::room(1)]));
    }
    assert!(bench.asked.iter().all(|(to, ..)| to.kind == Kind::Gateway), "{:?}", bench.asked);
}
