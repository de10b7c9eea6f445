//! Rates and bounds of clients (`guarantees.md` 3.2, 3.3).

use serde_json::json;

use super::bench::{Bench, room, token};
use crate::objects::Message;
use crate::settings::Settings;

fn limited() -> Bench {
    Bench::with(Settings::default())
}

#[test]
fn a_hundred_messages_a_minute_over_all_sockets_of_a_user() {
    let mut bench = limited();
    let sockets = [bench.client(1), bench.client(1), bench.client(1)];
    let send = json!(["chat:message", {"conversationId": room(1), "content": "hi"}]);
    for n in 0..100 {
        bench.emit(sockets[n % 3], Some(1), send.clone());
    }
    assert_eq!(bench.asked.iter().filter(|(.., msg)| matches!(msg, Message::Send { .. })).count(), 100);
    bench.emit(sockets[0], Some(2), send.clone());
    let ack = bench.ack(sockets[0], 2);
    assert_eq!((&ack["error"]["code"], &ack["error"]["retryAfter"]), (&json!("RATE_LIMITED"), &json!(1)));
    bench.step(crate::object::Input::SocketClosed { socket: sockets[0], clean: true });
    let again = bench.client(1);
    bench.emit(again, Some(3), send);
    assert_eq!(bench.ack(again, 3)["error"]["code"], "RATE_LIMITED", "reconnecting resets nothing");
}

#[test]
fn sixty_joins_a_minute() {
    let mut bench = limited();
    let socket = bench.client(1);
    for _ in 0..60 {
        bench.emit(socket, Some(1), json!(["chat:join", room(1)]));
    }
    bench.emit(socket, Some(2), json!(["chat:join", room(1)]));
    assert_eq!(bench.ack(socket, 2)["error"]["code"], "RATE_LIMITED");
}

#[test]
fn typing_passes_once_in_three_seconds_per_conversation() {
    let mut bench = limited();
    let socket = bench.client(1);
    let typed = |bench: &mut Bench| {
        let mut count = 0;
        while bench.take(|_, msg| matches!(msg, Message::Typing { .. }).then_some(())).is_some() {
            count += 1;
        }
        count
    };
    for _ in 0..5 {
        bench.emit(socket, None, json!(["chat:typing", {"conversationId": room(1)}]));
        bench.emit(socket, None, json!(["chat:typing", {"conversationId": room(2)}]));
    }
    assert_eq!(typed(&mut bench), 2);
    bench.emit(socket, None, json!(["chat:stopTyping", {"conversationId": room(1)}]));
    assert_eq!(typed(&mut bench), 1, "the end always passes");
    bench.advance(3_000);
    bench.emit(socket, None, json!(["chat:typing", {"conversationId": room(1)}]));
    assert_eq!(typed(&mut bench), 1);
    assert_eq!(bench.events(socket), Vec::<serde_json::Value>::new(), "dropping it is no error");
}

#[test]
fn a_flood_of_events_is_refused_and_hb_is_not() {
    let mut bench = limited();
    let socket = bench.client(1);
    for _ in 0..100 {
        bench.emit(socket, Some(1), json!(["presence:getOnline"]));
    }
    bench.texts(socket);
    bench.emit(socket, Some(2), json!(["presence:getOnline"]));
    assert_eq!(bench.ack(socket, 2)["error"]["code"], "RATE_LIMITED");
    bench.text(socket, "42[\"hb\"]");
    assert_eq!(bench.texts(socket), ["42[\"hb\"]"]);
}

#[test]
fn twenty_unauthenticated_connections_of_one_address() {
    let mut bench = limited();
    let open: Vec<_> = (0..20).map(|_| bench.open()).collect();
    let refused = bench.open_at("/socket.io/", "EIO=4&transport=websocket");
    assert_eq!(bench.closed[&refused], 1013);
    let get = bench.get("EIO=4&transport=polling");
    assert_eq!(bench.answered(get).expect("refused").0, 429);
    bench.text(open[0], &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    bench.accept(1, &[]);
    bench.open();
}

#[test]
fn twenty_connects_without_a_valid_token_a_minute_of_one_address() {
    let mut bench = limited();
    for _ in 0..20 {
        let socket = bench.open();
        bench.step(crate::object::Input::SocketClosed { socket, clean: true });
    }
    let refused = bench.open_at("/socket.io/", "EIO=4&transport=websocket");
    assert_eq!(bench.closed[&refused], 1013);
    bench.advance(3_000);
    bench.open();
}

#[test]
fn five_failed_authentications_a_minute_of_one_address() {
    let mut bench = limited();
    let socket = bench.open();
    for _ in 0..5 {
        bench.text(socket, r#"40{"token":"nonsense"}"#);
        assert!(bench.texts(socket)[0].contains("UNAUTHORIZED"));
    }
    bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(1, 1, 900_000)));
    let texts = bench.texts(socket);
    assert!(texts[0].contains("RATE_LIMITED") && texts[0].contains("retryAfter"), "{texts:?}");
}

#[test]
fn connects_per_second_are_bounded() {
    let mut bench = Bench::with(Settings::default());
    let mut refused = 0;
    for n in 0..201u64 {
        let socket = bench.open_at("/socket.io/", "EIO=4&transport=websocket");
        if bench.is_closed(socket) {
            refused += 1;
            continue;
        }
        bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(n, n, 900_000)));
        bench.accept(n, &[]);
    }
    assert_eq!(refused, 1);
}

#[test]
fn nothing_is_limited_when_limits_are_off() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    for _ in 0..300 {
        bench.emit(socket, None, json!(["chat:message", {"conversationId": room(1), "content": "hi"}]));
    }
    assert_eq!(bench.asked.len(), 300);
    for _ in 0..100 {
        bench.open();
    }
}

#[test]
fn frames_are_bounded_before_and_after_authentication() {
    let mut bench = Bench::new();
    let socket = bench.open();
    bench.text(socket, &format!("40{{\"token\":\"{}\"}}", "x".repeat(5_000)));
    assert_eq!(bench.closed[&socket], 1009);
    let socket = bench.client(1);
    bench.text(socket, &format!("42[\"x\",\"{}\"]", "x".repeat(60_000)));
    assert!(!bench.is_closed(socket));
    bench.text(socket, &format!("42[\"x\",\"{}\"]", "x".repeat(66_000)));
    assert_eq!(bench.closed[&socket], 1009);
}
