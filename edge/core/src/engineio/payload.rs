//! The body of polling requests: packets separated by 0x1e, binary ones as `b<base64>`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ParseError;
use super::packet::{Packet, parse};

/// Between two packets, none at the end. JSON escapes it, so it never stands inside text made by JSON.
pub const SEPARATOR: u8 = 0x1e;

/// Splits a body of at most `max_packets` packets. Splits bytes, so that one packet's bad UTF-8 is its own error.
pub fn decode(body: &[u8], max_packets: usize) -> Result<Vec<Packet<'_>>, ParseError> {
    let count = body.iter().filter(|byte| **byte == SEPARATOR).count() + 1;
    if count > max_packets {
        return Err(ParseError);
    }
    body.split(|byte| *byte == SEPARATOR).map(decode_one).collect()
}

fn decode_one(bytes: &[u8]) -> Result<Packet<'_>, ParseError> {
    if let Some((b'b', encoded)) = bytes.split_first() {
        return STANDARD.decode(encoded).map(Packet::Binary).map_err(|_| ParseError);
    }
    parse(std::str::from_utf8(bytes).map_err(|_| ParseError)?)
}

/// Appends a text packet to a body.
pub fn push_text(body: &mut Vec<u8>, packet: &str) {
    separate(body);
    body.extend_from_slice(packet.as_bytes());
}

/// Appends a binary message to a body.
pub fn push_binary(body: &mut Vec<u8>, data: &[u8]) {
    separate(body);
    body.push(b'b');
    body.extend_from_slice(STANDARD.encode(data).as_bytes());
}

fn separate(body: &mut Vec<u8>) {
    if !body.is_empty() {
        body.push(SEPARATOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_split_at_the_record_separator() {
        let packets = decode(b"4hello\x1ebAQIDBA==\x1e2\x1e3", 64).expect("valid");
        let wanted = [Packet::Message("hello"), Packet::Binary(vec![1, 2, 3, 4]), Packet::Ping(""), Packet::Pong("")];
        assert_eq!(packets, wanted);
    }

    #[test]
    fn bodies_that_break_the_protocol_are_refused() {
        for body in [&b""[..], b"\x1e", b"4a\x1e", b"4\xff", b"b!!", b"bAQI", b"abc", b"4a\x1e\x1e4b"] {
            assert_eq!(decode(body, 64), Err(ParseError), "{body:?}");
        }
    }

    #[test]
    fn packets_are_counted_before_anything_is_allocated() {
        let body = [&b"6"[..]; 65].join(&SEPARATOR);
        assert_eq!(decode(&body, 64), Err(ParseError));
        assert_eq!(decode(&body, 65).map(|packets| packets.len()), Ok(65));
    }

    #[test]
    fn encoding_is_the_inverse() {
        let mut body = Vec::new();
        push_text(&mut body, "4hello");
        push_binary(&mut body, &[1, 2, 3, 4]);
        assert_eq!(body, b"4hello\x1ebAQIDBA==");
    }
}
