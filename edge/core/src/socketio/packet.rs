//! Text packets: `<type>[<n>-][<namespace>,][<ack id>][json]`.

use serde_json::{Map, Value};

use super::{ParseError, json};
use crate::limits;

/// A packet of a client, its payload checked for its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet {
    /// `0`; the payload is an object or absent.
    Connect { namespace: String, auth: Option<Map<String, Value>> },
    /// `1`
    Disconnect { namespace: String },
    /// `2` and `5`
    Event(Event),
    /// `3` and `6`
    Ack { namespace: String, id: Option<u64>, args: Vec<Value> },
    /// `4`, which no client sends: an invalid state.
    ConnectError { namespace: String },
}

impl Packet {
    /// The namespace the packet is for.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Connect { namespace, .. }
            | Self::Disconnect { namespace }
            | Self::Ack { namespace, .. }
            | Self::ConnectError { namespace } => namespace,
            Self::Event(event) => &event.namespace,
        }
    }
}

/// An event of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub namespace: String,
    /// The client waits for an acknowledgement with this id.
    pub id: Option<u64>,
    /// At most [`limits::EVENT_NAME_BYTES`], never a reserved one.
    pub name: String,
    /// With `{"_placeholder":true,"num":n}` where attachment `n` belongs.
    pub args: Vec<Value>,
    pub attachments: Vec<Vec<u8>>,
    /// Some string had a lone surrogate: the event must not be used, only refused.
    pub lone_surrogate: bool,
}

/// A text packet, and how many binary frames belong to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub packet: Packet,
    pub attachments: usize,
}

/// The name of the default namespace.
pub const ROOT: &str = "/";

const RESERVED: [&str; 6] = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Reads a text packet. Counts, ids and names are bounded before anything is allocated.
pub fn parse(text: &str) -> Result<Header, ParseError> {
    let kind = *text.as_bytes().first().ok_or(ParseError)?;
    let mut rest = text.get(1..).ok_or(ParseError)?;
    let mut attachments = 0;
    if matches!(kind, b'5' | b'6') {
        let (count, after) = take_number(rest, 2).ok_or(ParseError)?;
        rest = after.strip_prefix('-').ok_or(ParseError)?;
        attachments = usize::try_from(count).map_err(|_| ParseError)?;
        if attachments == 0 || attachments > limits::BINARY_ATTACHMENTS {
            return Err(ParseError);
        }
    }
    let mut namespace = ROOT;
    if rest.starts_with('/') {
        (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
        if namespace.len() > limits::NAMESPACE_BYTES {
            return Err(ParseError);
        }
    }
    let mut id = None;
    if rest.starts_with(|c: char| c.is_ascii_digit()) {
        let (number, after) = take_number(rest, 16).ok_or(ParseError)?;
        if number > limits::MAX_ACK_ID {
            return Err(ParseError);
        }
        (id, rest) = (Some(number), after);
    }
    let namespace = namespace.to_owned();
    let packet = match kind {
        b'0' => Packet::Connect { namespace, auth: parse_auth(rest)? },
        b'1' if rest.is_empty() => Packet::Disconnect { namespace },
        b'2' | b'5' => Packet::Event(parse_event(namespace, id, rest, attachments)?),
        b'3' | b'6' => {
            let args = parse_array(rest)?.0;
            check_placeholders(&args, attachments)?;
            Packet::Ack { namespace, id, args }
        }
        b'4' => Packet::ConnectError { namespace },
        _ => return Err(ParseError),
    };
    Ok(Header { packet, attachments })
}

/// Leading digits as a number, at most `max_digits` of them, and what follows.
fn take_number(text: &str, max_digits: usize) -> Option<(u64, &str)> {
    let digits = text.bytes().take(max_digits + 1).take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > max_digits {
        return None;
    }
    Some((text.get(..digits)?.parse().ok()?, text.get(digits..)?))
}

fn parse_auth(text: &str) -> Result<Option<Map<String, Value>>, ParseError> {
    if text.is_empty() {
        return Ok(None);
    }
    let checked = json::check(text, limits::JSON_DEPTH)?;
    serde_json::from_slice(checked.text.as_bytes()).map(Some).map_err(|_| ParseError)
}

fn parse_array(text: &str) -> Result<(Vec<Value>, bool), ParseError> {
    let checked = json::check(text, limits::JSON_DEPTH)?;
    let args = serde_json::from_slice(checked.text.as_bytes()).map_err(|_| ParseError)?;
    Ok((args, checked.lone_surrogate))
}

fn parse_event(namespace: String, id: Option<u64>, text: &str, attachments: usize) -> Result<Event, ParseError> {
    let (mut args, lone_surrogate) = parse_array(text)?;
    if args.is_empty() {
        return Err(ParseError);
    }
    let Value::String(name) = args.remove(0) else { return Err(ParseError) };
    if name.len() > limits::EVENT_NAME_BYTES || RESERVED.contains(&name.as_str()) {
        return Err(ParseError);
    }
    check_placeholders(&args, attachments)?;
    Ok(Event { namespace, id, name, args, attachments: Vec::new(), lone_surrogate })
}

/// In a binary packet each placeholder names one of the attachments; in a text packet it is data.
fn check_placeholders(args: &[Value], attachments: usize) -> Result<(), ParseError> {
    if attachments == 0 {
        return Ok(());
    }
    // The depth is bounded, the stack here only holds what the parser already holds.
    let mut stack: Vec<&Value> = args.iter().collect();
    while let Some(value) = stack.pop() {
        match value {
            Value::Array(items) => stack.extend(items),
            Value::Object(map) if map.get("_placeholder") == Some(&Value::Bool(true)) => {
                let num = map.get("num").and_then(Value::as_u64).and_then(|num| usize::try_from(num).ok());
                if num.is_none_or(|num| num >= attachments) {
                    return Err(ParseError);
                }
            }
            Value::Object(map) => stack.extend(map.values()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(text: &str) -> Event {
        match parse(text).expect(text).packet {
            Packet::Event(event) => event,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_parts_of_a_packet_are_optional_in_their_order() {
        let plain = event(r#"2["hb"]"#);
        assert_eq!((plain.namespace.as_str(), plain.id, plain.name.as_str()), ("/", None, "hb"));
        let full = event(r#"2/admin,12["e",{"a":1}]"#);
        assert_eq!((full.namespace.as_str(), full.id, full.args), ("/admin", Some(12), vec![json!({"a": 1})]));
        assert_eq!(parse("0/custom"), parse("0/custom,"));
        assert_eq!(parse("0/admin?x=1,").expect("a name").packet.namespace(), "/admin?x=1");
        let connect = Packet::Connect { namespace: "/".into(), auth: json!({"token": "t"}).as_object().cloned() };
        assert_eq!(parse(r#"0{"token":"t"}"#).expect("connect").packet, connect);
        assert_eq!(parse("1/custom").expect("leave").packet, Packet::Disconnect { namespace: "/custom".into() });
        let ack = Packet::Ack { namespace: "/".into(), id: Some(7), args: vec![] };
        assert_eq!(parse("37[]").expect("ack").packet, ack);
    }

    #[test]
    fn binary_headers_announce_their_attachments() {
        let header = parse(r#"51-/admin,12["e",{"_placeholder":true,"num":0}]"#).expect("valid");
        assert_eq!((header.attachments, header.packet.namespace()), (1, "/admin"));
    }

    #[test]
    fn packets_that_break_the_protocol_are_refused() {
        let deep = format!("2[\"e\",{}{}]", "[".repeat(32), "]".repeat(32));
        let long_name = format!("2[\"{}\"]", "x".repeat(129));
        let long_id = format!("2{}[\"e\"]", "1".repeat(1_000_000));
        let long_namespace = format!("0/{}", "x".repeat(128));
        for text in [
            "", "é", "9", "7[]", "2", "2{}", "2[]", "2[1]", "2[null]", "2abc[\"e\"]", "2-1[\"e\"]", "2[\"e\"", "2\"e\"",
            "0\"x\"", "0[1]", "0abc", "0null", "1{}", "1[]", "3", "3{}", "3x[]",
            "2[\"connect\"]", "2[\"connect_error\"]", "2[\"disconnect\"]", "2[\"disconnecting\"]", "2[\"newListener\"]",
            "2[\"removeListener\"]", "50-[\"e\"]", "511-[\"e\"]", "59999999999999999999-", "5[\"e\"]", "5-[\"e\"]", "51[\"e\"]",
            "60-1[]", "29007199254740992[\"e\"]",
            r#"51-["e",{"_placeholder":true,"num":1}]"#, r#"51-["e",{"_placeholder":true,"num":-1}]"#,
            r#"51-["e",{"_placeholder":true,"num":"0"}]"#, r#"51-["e",{"_placeholder":true,"num":"__proto__"}]"#,
            r#"51-["e",{"_placeholder":true,"num":0.5}]"#, r#"51-["e",{"_placeholder":true}]"#,
            r#"51-["e",[{"a":{"_placeholder":true,"num":3}}]]"#,
            deep.as_str(), long_name.as_str(), long_id.as_str(), long_namespace.as_str(),
        ] {
            assert_eq!(parse(text), Err(ParseError), "{:.60}", text);
        }
    }

    #[test]
    fn what_looks_like_a_placeholder_in_a_text_event_is_data() {
        let sent = event(r#"2["message",{"_placeholder":true,"num":"x"}]"#);
        assert_eq!(sent.args, vec![json!({"_placeholder": true, "num": "x"})]);
    }

    #[test]
    fn error_is_not_a_reserved_name() {
        assert_eq!(event(r#"2["error",{}]"#).name, "error");
    }

    #[test]
    fn depth_32_is_read() {
        assert_eq!(event(&format!("2[\"e\",{}{}]", "[".repeat(31), "]".repeat(31))).name, "e");
    }

    #[test]
    fn lone_surrogates_mark_the_event_and_keep_the_connection() {
        assert!(event(r#"2["chat:message",{"content":"\ud800"}]"#).lone_surrogate);
    }
}
