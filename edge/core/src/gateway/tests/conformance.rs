//! The protocol test application.

use super::bench::Bench;
use crate::object::SocketId;
use crate::settings::Settings;

fn echo() -> Bench {
    Bench::named("echo-0", Settings { protocol_test: true, ..Settings::default() })
}

fn open(bench: &mut Bench, path: &str) -> SocketId {
    let socket = bench.open_at(path, "EIO=4&transport=websocket");
    let texts = bench.texts(socket);
    let wanted = r#""upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#;
    assert!(texts[0].starts_with("0{\"sid\":\"0.") && texts[0].ends_with(wanted), "{texts:?}");
    socket
}

#[test]
fn raw_engine_io_sends_every_message_back() {
    let mut bench = echo();
    let socket = open(&mut bench, "/engine.io/");
    bench.text(socket, "4hello");
    bench.binary(socket, &[1, 2, 3]);
    assert_eq!(bench.texts(socket), ["4hello", "<[1, 2, 3]>"]);
}

#[test]
fn the_ping_clock_runs_from_the_open_packet() {
    let mut bench = echo();
    let socket = open(&mut bench, "/engine.io/");
    bench.advance(299);
    assert_eq!(bench.texts(socket), Vec::<String>::new());
    bench.advance(1);
    assert_eq!(bench.texts(socket), ["2"]);
    bench.advance(199);
    assert!(!bench.is_closed(socket));
    bench.advance(1);
    assert!(bench.is_closed(socket));
}

#[test]
fn the_poll_after_a_ping_timeout_is_refused_though_the_alarm_is_late() {
    let mut bench = echo();
    let get = bench.get("EIO=4&transport=polling");
    let (_, open) = bench.answered(get).expect("open");
    let open: serde_json::Value = serde_json::from_str(&open[1..]).expect("JSON");
    let query = format!("EIO=4&transport=polling&sid={}", open["sid"].as_str().expect("a sid"));
    bench.now = bench.now.plus_ms(500);
    let get = bench.get(&query);
    assert!(bench.answered(get).is_none_or(|(status, _)| status == 200), "the first late look sends the ping");
    bench.advance(200);
    let get = bench.get(&query);
    assert_eq!(bench.answered(get).expect("gone").0, 400);
}

#[test]
fn the_auth_event_is_a_frame_of_its_own_behind_the_connect_answer() {
    let mut bench = echo();
    let socket = open(&mut bench, "/socket.io/");
    bench.text(socket, "40");
    bench.text(socket, r#"40/custom,{"a":1}"#);
    let texts = bench.texts(socket);
    assert!(texts[0].starts_with("40{\"sid\":\"") && texts[2].starts_with("40/custom,{\"sid\":\""), "{texts:?}");
    assert_eq!((texts[1].as_str(), texts[3].as_str()), (r#"42["auth",{}]"#, r#"42/custom,["auth",{"a":1}]"#));
    bench.text(socket, "40/random");
    assert_eq!(bench.texts(socket), [r#"44/random,{"message":"Invalid namespace"}"#]);
}

#[test]
fn messages_come_back_with_their_binary() {
    let mut bench = echo();
    let socket = open(&mut bench, "/socket.io/");
    bench.text(socket, "40");
    bench.texts(socket);
    bench.text(socket, r#"42["message",1,"2",{"3":[true]}]"#);
    bench.text(socket, r#"42456["message-with-ack",1,"2"]"#);
    assert_eq!(bench.texts(socket), [r#"42["message-back",1,"2",{"3":[true]}]"#, r#"43456[1,"2"]"#]);
    bench.text(socket, r#"452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);
    bench.binary(socket, &[1]);
    bench.binary(socket, &[2]);
    let wanted = r#"452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(bench.texts(socket), [wanted, "<[1]>", "<[2]>"]);
    bench.text(socket, r#"451-789["message-with-ack",{"_placeholder":true,"num":0}]"#);
    bench.binary(socket, &[7]);
    assert_eq!(bench.texts(socket), [r#"461-789[{"_placeholder":true,"num":0}]"#, "<[7]>"]);
}

#[test]
fn leaving_one_namespace_leaves_the_other() {
    let mut bench = echo();
    let socket = open(&mut bench, "/socket.io/");
    bench.text(socket, "40");
    bench.text(socket, "40/custom");
    bench.text(socket, "41/custom");
    bench.texts(socket);
    bench.text(socket, r#"42["message",1]"#);
    assert_eq!(bench.texts(socket), [r#"42["message-back",1]"#]);
    bench.text(socket, r#"42/custom,["message",1]"#);
    assert!(bench.is_closed(socket));
}

#[test]
fn no_connect_within_a_second_closes() {
    let mut bench = echo();
    let socket = open(&mut bench, "/socket.io/");
    for _ in 0..3 {
        bench.advance(300);
        bench.text(socket, "3");
    }
    assert!(!bench.is_closed(socket));
    bench.advance(100);
    assert!(bench.is_closed(socket));
}

#[test]
fn the_test_application_exists_only_where_the_setting_says_so() {
    let mut bench = Bench::named("echo-0", Settings::default());
    let socket = bench.open_at("/engine.io/", "EIO=4&transport=websocket");
    let texts = bench.texts(socket);
    assert!(texts[0].contains("\"pingInterval\":20000"), "{texts:?}");
    bench.text(socket, "4hello");
    assert!(bench.is_closed(socket));
}
