//! Sessions that are asked for, and handed over (G-17).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_core::gateway::attachment::Attachment;
use edge_core::objects::Message;
use edge_core::socketio::packet::{Packet, parse};
use serde_json::from_slice;
use wire::RoomId;

use super::net::{Net, connected, messages, user};

/// The auth payload of a CONNECT packet after a session was lost: `<pid>`, and `<1>` and `<2>` for the offsets that its client
/// got. Only the same person with the same `pid` goes on, and gets exactly what is behind the offset.
pub(super) fn recovery_claim(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut net = Net::new(vec![]);
    let first = net.connect(r#"{"token":"t1"}"#);
    let (sid, pid) = connected(&net.texts(first)).expect("a session");
    net.deliver(1, 1..=2);
    let got = messages(&net.texts(first));
    net.cut(first);
    net.deliver(1, 3..=3);
    let auth = text.replace("<pid>", &pid).replace("<1>", &got[0].1).replace("<2>", &got[1].1);

    let second = net.connect(&auth);
    let texts = net.texts(second);
    assert!(net.asked.iter().all(|gateway| ["gw-0", "gw-1", "gw-2", "gw-4"].contains(&&*gateway.name)), "{:?}", net.asked);
    let Some(now) = connected(&texts) else {
        assert!(messages(&texts).is_empty());
        net.end();
        return false;
    };
    let seqs: Vec<u64> = messages(&texts).into_iter().map(|(seq, _)| seq).collect();
    let recovered = now.1 == pid;
    if recovered {
        let Ok(Packet::Connect { auth: Some(auth), .. }) = parse(&format!("0{auth}")).map(|header| header.packet) else {
            panic!("no CONNECT packet: {auth}")
        };
        assert!(now.0 == sid && auth["token"] == "t1" && auth["pid"] == pid.as_str());
        let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
        let (one, two) = (number(&got[0].1), number(&got[1].1));
        let has = match auth.get("offset").map(|offset| offset.as_str().expect("a text")) {
            None | Some("") => 0,
            Some(offset) => number(offset),
        };
        let sent = [(one, 1), (two, 2), (two + 1, 3)];
        let missed = sent.into_iter().filter(|(number, _)| *number > has).map(|(_, seq)| seq);
        assert_eq!(seqs, missed.collect::<Vec<u64>>(), "behind {has:x}");
    } else {
        assert!(now.0 != sid && seqs.is_empty(), "{auth}");
    }
    net.end();
    recovered
}

/// A session as another gateway hands it over: an attachment, 0xff, 0xff, and packets as JSON.
pub(super) fn session_handover(input: &[u8]) -> bool {
    let at = input.windows(2).position(|two| two == b"\xff\xff").unwrap_or(input.len());
    let (state, packets) = (&input[..at], input.get(at + 2..).unwrap_or(b"[]"));
    let Ok(packets) = from_slice::<Vec<(String, Option<(RoomId, u64)>)>>(packets) else { return false };
    let expected = packets.len();
    let mut net = Net::new(vec![]);
    net.session = Message::SessionTaken { state: URL_SAFE_NO_PAD.encode(state), packets };
    let socket = net.connect(r#"{"token":"t1","pid":"1.abcdefghijklmnopqrstuv","offset":"1000000000001"}"#);
    assert_eq!(net.asked.len(), 1);
    let texts = net.texts(socket);
    let (_, pid) = connected(&texts).expect("a session, this or another");
    let taken = pid == "1.abcdefghijklmnopqrstuv";
    let state = Attachment::decode(state);
    assert_eq!(taken, state.is_some_and(|state| state.user == user(1)));
    // Who is online is told once, because it is not known who was.
    let events = texts.iter().filter(|text| text.starts_with('4') && !text.starts_with("40")).count();
    assert!(events <= if taken { expected + 1 } else { 0 }, "{events} of {expected}: {texts:?}");
    net.text(socket, r#"42["hb"]"#);
    net.text(socket, r#"421["sync:resume",{"cursors":{}}]"#);
    net.settle();
    net.end();
    taken
}
