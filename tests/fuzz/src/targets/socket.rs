//! The packets and events of sockets.

use edge_core::dialect::{Command, chatcall};
use edge_core::engineio::packet::{self, Packet};
use edge_core::engineio::{Query, payload};
use edge_core::limits;
use edge_core::settings::Settings;
use edge_core::socketio::{self, Decoder};
use serde_json::Value;
use wire::ErrorCode;

/// A text frame.
pub(super) fn engineio_packet(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Ok(packet) = packet::parse(text) else { return false };
    if let Packet::Message(data) | Packet::Ping(data) | Packet::Pong(data) = packet {
        assert_eq!(data.len() + 1, text.len());
    }
    true
}

/// The query of a request: the first value of each key, as a slow reader finds it.
pub(super) fn engineio_query(input: &[u8]) -> bool {
    let Ok(raw) = std::str::from_utf8(input) else { return false };
    let first = |name: &str| {
        let values = raw.split('&').filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        values.into_iter().find(|value| !value.is_empty())
    };
    let query = Query::parse(raw);
    let wanted = Query { version: first("EIO"), transport: first("transport"), sid: first("sid"), dialect: first("dialect") };
    assert_eq!(query, wanted);
    query != Query::default()
}

/// The body of a polling POST: what is read can be written again.
pub(super) fn engineio_polling_body(input: &[u8]) -> bool {
    let Ok(packets) = payload::decode(input, limits::POLLING_PACKETS) else { return false };
    assert!((1..=limits::POLLING_PACKETS).contains(&packets.len()));
    let mut body = Vec::new();
    for packet in &packets {
        match packet {
            Packet::Message(text) => payload::push_text(&mut body, &format!("4{text}")),
            Packet::Binary(data) => payload::push_binary(&mut body, data),
            _ => payload::push_text(&mut body, "6"),
        }
    }
    let again = payload::decode(&body, limits::POLLING_PACKETS).expect("what we write can be read");
    assert_eq!(again.len(), packets.len());
    let messages = |packets: &[Packet<'_>]| -> Vec<Vec<u8>> {
        let bytes = |packet: &Packet<'_>| match packet {
            Packet::Message(text) => Some(text.as_bytes().to_vec()),
            Packet::Binary(data) => Some(data.clone()),
            _ => None,
        };
        packets.iter().filter_map(bytes).collect()
    };
    assert_eq!(messages(&again), messages(&packets));
    true
}

/// A Socket.IO text packet: every bound holds of what is accepted.
pub(super) fn socketio_packet(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Ok(header) = socketio::packet::parse(text) else { return false };
    assert!(header.attachments <= limits::BINARY_ATTACHMENTS);
    assert!(header.packet.namespace().len() <= limits::NAMESPACE_BYTES);
    match &header.packet {
        socketio::Packet::Event(event) => {
            assert!(event.name.len() <= limits::EVENT_NAME_BYTES && event.name != "connect");
            assert!(event.id.is_none_or(|id| id <= limits::MAX_ACK_ID));
            check_depth(&event.args);
        }
        socketio::Packet::Ack { args, .. } => check_depth(args),
        _ => {}
    }
    true
}

fn check_depth(args: &[Value]) {
    // The array of the arguments is the first level.
    let mut level: Vec<&Value> = args.iter().collect();
    let mut depth = 1;
    while !level.is_empty() {
        assert!(depth <= limits::JSON_DEPTH + 1, "nested too deeply");
        level = level
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect::<Vec<_>>(),
                Value::Object(map) => map.values().collect(),
                _ => Vec::new(),
            })
            .collect();
        depth += 1;
    }
}

/// Frames of one connection, separated by 0xff; those that begin with 0x00 are binary.
pub(super) fn socketio_binary_reassembly(input: &[u8]) -> bool {
    const MOST_BYTES: usize = 1024;
    let mut decoder = Decoder::default();
    let mut whole = false;
    for frame in input.split(|byte| *byte == 0xff) {
        let packet = match frame.split_first() {
            Some((0, data)) => decoder.binary(data, MOST_BYTES),
            _ => match std::str::from_utf8(frame) {
                Ok(text) => decoder.text(text),
                Err(_) => return whole,
            },
        };
        match packet {
            Err(_) => return whole,
            Ok(Some(socketio::Packet::Event(event))) => {
                assert!(event.attachments.len() <= limits::BINARY_ATTACHMENTS);
                assert!(event.attachments.iter().map(Vec::len).sum::<usize>() <= MOST_BYTES);
                whole = true;
            }
            Ok(_) => {}
        }
    }
    whole
}

/// Arguments of any `chatcall` event: a command or a documented failure, and no command breaks a bound.
pub(super) fn chatcall_event(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Ok(header) = socketio::packet::parse(text) else { return false };
    let socketio::Packet::Event(event) = header.packet else { return false };
    let settings = Settings::default();
    let mut accepted = false;
    // Whatever the name, each payload is tried with each event.
    for known in chatcall::DIALECT.inbound {
        let (name, result) = chatcall::DIALECT.command(known.event, &event.args, &settings).expect("it is in the table");
        assert_eq!(name, known.event);
        accepted |= result.is_ok();
        match result {
            Err(failure) => {
                assert!(matches!(failure.code, ErrorCode::InvalidData | ErrorCode::NotFound), "{failure:?}");
                assert!(failure.field.is_some());
            }
            Ok(Command::Send { message, .. }) => {
                assert!((1..=settings.max_text_code_points).contains(&message.content.chars().count()));
                assert!(!message.content.contains('\0'));
                assert!(message.client_id.is_none_or(|id| (1..=limits::CLIENT_ID_BYTES).contains(&id.len())));
            }
            Ok(Command::MarkDelivered { up_to, .. }) => assert!(up_to <= limits::MAX_ACK_ID),
            Ok(Command::SetPresence { text, .. }) => {
                assert!(text.is_none_or(|text| text.chars().count() <= limits::STATUS_TEXT_CODE_POINTS));
            }
            Ok(_) => {}
        }
    }
    accepted
}

/// The payload of `sync:resume`.
pub(super) fn sync_cursor(input: &[u8]) -> bool {
    let Ok(Value::Object(payload)) = serde_json::from_slice(input) else { return false };
    let Ok(cursors) = chatcall::cursors(&payload) else { return false };
    let numbers = cursors.cursors.iter().map(|(_, seq)| seq).chain(cursors.generations.values());
    assert!(numbers.copied().all(|number| number <= limits::MAX_ACK_ID));
    true
}
