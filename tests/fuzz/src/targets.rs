//! The targets. What they check holds of every input.

use edge_core::dialect::{Command, chatcall};
use edge_core::engineio::payload;
use edge_core::engineio::packet::{self, Packet};
use edge_core::gateway::attachment::Attachment;
use edge_core::limits;
use edge_core::search::{expression, fold, snippet};
use edge_core::settings::Settings;
use edge_core::socketio::{self, Decoder};
use serde_json::Value;
use wire::ErrorCode;

/// A text frame.
pub fn engineio_packet(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(Packet::Message(data) | Packet::Ping(data) | Packet::Pong(data)) = packet::parse(text) {
        assert_eq!(data.len() + 1, text.len());
    }
}

/// The body of a polling POST: what is read can be written again.
pub fn engineio_polling_body(input: &[u8]) {
    let Ok(packets) = payload::decode(input, limits::POLLING_PACKETS) else { return };
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
}

/// A Socket.IO text packet: every bound holds of what is accepted.
pub fn socketio_packet(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(header) = socketio::packet::parse(text) else { return };
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
pub fn socketio_binary_reassembly(input: &[u8]) {
    const MOST_BYTES: usize = 1024;
    let mut decoder = Decoder::default();
    for frame in input.split(|byte| *byte == 0xff) {
        let packet = match frame.split_first() {
            Some((0, data)) => decoder.binary(data, MOST_BYTES),
            _ => match std::str::from_utf8(frame) {
                Ok(text) => decoder.text(text),
                Err(_) => return,
            },
        };
        match packet {
            Err(_) => return,
            Ok(Some(socketio::Packet::Event(event))) => {
                assert!(event.attachments.len() <= limits::BINARY_ATTACHMENTS);
                assert!(event.attachments.iter().map(Vec::len).sum::<usize>() <= MOST_BYTES);
            }
            Ok(_) => {}
        }
    }
}

/// Arguments of any `chatcall` event: a command or a documented failure, and no command breaks a bound.
pub fn chatcall_event(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(header) = socketio::packet::parse(text) else { return };
    let socketio::Packet::Event(event) = header.packet else { return };
    let settings = Settings::default();
    // Whatever the name, each payload is tried with each event.
    for known in chatcall::DIALECT.inbound {
        let (name, result) = chatcall::DIALECT.command(known.event, &event.args, &settings).expect("it is in the table");
        assert_eq!(name, known.event);
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
            Ok(_) => {}
        }
    }
}

/// The payload of `sync:resume`.
pub fn sync_cursor(input: &[u8]) {
    let Ok(Value::Object(payload)) = serde_json::from_slice(input) else { return };
    if let Ok(cursors) = chatcall::cursors(&payload) {
        let numbers = cursors.cursors.iter().map(|(_, seq)| seq).chain(cursors.generations.values());
        assert!(numbers.copied().all(|number| number <= limits::MAX_ACK_ID));
    }
}

/// What comes back after a restart.
pub fn socket_attachment(input: &[u8]) {
    if let Some(attachment) = Attachment::decode(input)
        && let Some(bytes) = attachment.encode()
    {
        assert!(bytes.len() <= limits::ATTACHMENT_BYTES);
        assert_eq!(Attachment::decode(&bytes), Some(attachment));
    }
}

/// A question and a message, separated by 0xff: whatever is asked is text, and a snippet is a piece of the message.
pub fn search_query(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == 0xff).map(String::from_utf8_lossy);
    let (question, content) = (fold(&parts.next().unwrap_or_default()), parts.next().unwrap_or_default());
    let folded = fold(&content);
    assert_eq!(folded.chars().count(), content.chars().count());
    if let Some(expression) = expression(std::slice::from_ref(&question)).filter(|_| !question.contains([' ', '"'])) {
        // Quoted groups of three and nothing else.
        for group in expression.split(" AND ") {
            let inside = group.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("quoted");
            assert_eq!(inside.chars().count(), 3, "{expression}");
        }
    }
    if question.is_empty() {
        return;
    }
    match snippet(&content, std::slice::from_ref(&question)) {
        None => assert!(!folded.contains(&question)),
        Some(shown) => {
            assert!(folded.contains(&question));
            let plain = shown.replace("<mark>", "").replace("</mark>", "");
            assert!(!plain.contains(['<', '>']));
            let plain = plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            assert!(content.contains(plain.trim_matches('…')), "{shown}");
        }
    }
}
