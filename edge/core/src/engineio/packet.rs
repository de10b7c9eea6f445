//! Packets of Engine.IO: one digit, then the data. A binary message has no digit.

use super::ParseError;

/// A packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `1`
    Close,
    /// `2`, with `probe` on an upgrade candidate; anything else is an error of the client.
    Ping(&'a str),
    /// `3`
    Pong(&'a str),
    /// `4`: text of the layer above.
    Message(&'a str),
    /// A binary frame, or `b<base64>` in a polling body.
    Binary(Vec<u8>),
    /// `5`
    Upgrade,
    /// `6`
    Noop,
}

/// The server's ping.
pub const PING: &str = "2";
/// Answers the probe on an upgrade candidate.
pub const PROBE_PONG: &str = "3probe";
/// Ends a held polling GET without a message.
pub const NOOP: &str = "6";
/// Ends a polling session.
pub const CLOSE: &str = "1";

/// Reads a text packet. `0` never comes from a client.
pub fn parse(text: &str) -> Result<Packet<'_>, ParseError> {
    let data = text.get(1..).ok_or(ParseError)?;
    match (text.as_bytes().first(), data) {
        (Some(b'4'), _) => Ok(Packet::Message(data)),
        (Some(b'3'), _) => Ok(Packet::Pong(data)),
        (Some(b'2'), _) => Ok(Packet::Ping(data)),
        (Some(b'1'), "") => Ok(Packet::Close),
        (Some(b'5'), "") => Ok(Packet::Upgrade),
        (Some(b'6'), "") => Ok(Packet::Noop),
        _ => Err(ParseError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_has_one_meaning() {
        for (text, wanted) in [
            ("1", Ok(Packet::Close)),
            ("2probe", Ok(Packet::Ping("probe"))),
            ("3", Ok(Packet::Pong(""))),
            ("4", Ok(Packet::Message(""))),
            ("42[\"é\"]", Ok(Packet::Message("2[\"é\"]"))),
            ("5", Ok(Packet::Upgrade)),
            ("6", Ok(Packet::Noop)),
            ("", Err(ParseError)),
            ("0{}", Err(ParseError)),
            ("7", Err(ParseError)),
            ("abc", Err(ParseError)),
            ("é", Err(ParseError)),
            ("1x", Err(ParseError)),
            ("bAQID", Err(ParseError)),
        ] {
            assert_eq!(parse(text), wanted, "{text}");
        }
    }
}
