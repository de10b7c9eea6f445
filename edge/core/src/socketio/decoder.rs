//! From frames to packets: a binary packet is complete with its last attachment.

use super::ParseError;
use super::packet::{Header, Packet, parse};

/// What one connection has received of a binary packet.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {
    packet: Packet,
    missing: usize,
    attachments: Vec<Vec<u8>>,
    bytes: usize,
}

impl Decoder {
    /// A text frame: a whole packet, or the header of a binary one.
    pub fn text(&mut self, text: &str) -> Result<Option<Packet>, ParseError> {
        if self.partial.is_some() {
            return Err(ParseError);
        }
        let Header { packet, attachments } = parse(text)?;
        if attachments == 0 {
            return Ok(Some(packet));
        }
        self.partial = Some(Box::new(Partial { packet, missing: attachments, attachments: Vec::new(), bytes: 0 }));
        Ok(None)
    }

    /// An attachment. All of one packet have at most `max_bytes` together.
    pub fn binary(&mut self, data: &[u8], max_bytes: usize) -> Result<Option<Packet>, ParseError> {
        let partial = self.partial.as_mut().ok_or(ParseError)?;
        partial.bytes = partial.bytes.saturating_add(data.len());
        if partial.bytes > max_bytes {
            return Err(ParseError);
        }
        partial.attachments.push(data.to_vec());
        partial.missing -= 1;
        if partial.missing > 0 {
            return Ok(None);
        }
        let Some(done) = self.partial.take() else { return Ok(None) };
        let mut packet = done.packet;
        if let Packet::Event(event) = &mut packet {
            event.attachments = done.attachments;
        }
        Ok(Some(packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"52-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;

    #[test]
    fn a_binary_event_is_complete_with_its_last_attachment() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.text(HEADER), Ok(None));
        assert_eq!(decoder.binary(&[1], 100), Ok(None));
        let Ok(Some(Packet::Event(event))) = decoder.binary(&[2, 3], 100) else { panic!("complete") };
        assert_eq!(event.attachments, vec![vec![1], vec![2, 3]]);
        assert!(matches!(decoder.text("2[\"next\"]"), Ok(Some(Packet::Event(_)))));
    }

    #[test]
    fn text_between_the_attachments_breaks_the_protocol() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.text(HEADER), Ok(None));
        assert_eq!(decoder.text("2[\"e\"]"), Err(ParseError));
    }

    #[test]
    fn an_attachment_nobody_announced_breaks_the_protocol() {
        assert_eq!(Decoder::default().binary(&[1], 100), Err(ParseError));
    }

    #[test]
    fn attachments_of_one_packet_share_a_bound() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.text(HEADER), Ok(None));
        assert_eq!(decoder.binary(&[0; 60], 100), Ok(None));
        assert_eq!(decoder.binary(&[0; 41], 100), Err(ParseError));
    }
}
