//! What the server writes to a client, parsed once per frame however many clients get it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::changes::{as_sent, reaction_text, row_of_change};
use crate::history::{Id, MarkTable, Row, Watermarks};

/// An Engine.IO packet with a Socket.IO packet inside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Packet {
    /// `0{...}`.
    Open,
    /// `2`.
    Ping,
    /// `40{"sid":..,"pid":..}`; the toy has no `pid`.
    Connected { sid: Id, pid: Id },
    /// `44{"message":..,"data":{"code":..}}`: the code.
    ConnectError(String),
    /// `41`, `1`.
    Disconnect,
    /// `43<id>[...]`: the first argument.
    Ack(u64, Value),
    /// With its offset, unless it has none.
    Event(Event, Option<Id>),
    /// Anything that a `chatcall` client does not expect.
    Odd(String),
}

/// `42[name, ...]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Message { conversation: Id, row: Row },
    Read { conversation: Id, user: Id, up_to: u64 },
    Receipts { conversation: Id, user: Id, marks: Watermarks },
    Reset { conversation: Id, head: u64 },
    Typing { conversation: Id, user: Id },
    /// The conversation is new to the client.
    Created { conversation: Id },
    Dismissed { conversation: Id },
    Presence { user: Id, online: bool },
    OnlineList(Vec<Id>),
    Draining,
    Expiring,
    Error { code: String },
    Other(String),
}

impl Packet {
    /// Reads a text frame.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Self {
        let odd = || Self::Odd(text.to_owned());
        match text.as_bytes() {
            [b'0', ..] => Self::Open,
            b"1" | b"41" => Self::Disconnect,
            [b'2', ..] => Self::Ping,
            b"6" => Self::Event(Event::Other("noop".to_owned()), None),
            [b'4', b'0', ..] => {
                let body: Value = serde_json::from_str(text.get(2..).unwrap_or_default()).unwrap_or_default();
                Self::Connected { sid: Id::from(word(&body, "sid")), pid: Id::from(word(&body, "pid")) }
            }
            [b'4', b'4', ..] => {
                let body: Value = serde_json::from_str(text.get(2..).unwrap_or_default()).unwrap_or_default();
                Self::ConnectError(word(&body["data"], "code"))
            }
            [b'4', b'2', ..] => parse_event(text.get(2..).unwrap_or_default()).map_or_else(odd, |(event, offset)| Self::Event(event, offset)),
            [b'4', b'3', ..] => parse_ack(text.get(2..).unwrap_or_default()).unwrap_or_else(odd),
            _ => odd(),
        }
    }
}

fn parse_ack(text: &str) -> Option<Packet> {
    let bracket = text.find('[')?;
    let id = text.get(..bracket)?.parse().ok()?;
    let mut body: Vec<Value> = serde_json::from_str(text.get(bracket..)?).ok()?;
    let first = if body.is_empty() { Value::Null } else { body.swap_remove(0) };
    Some(Packet::Ack(id, first))
}

fn parse_event(text: &str) -> Option<(Event, Option<Id>)> {
    let body: Value = serde_json::from_str(text).ok()?;
    let offset = body.as_array()?.get(1..)?.last().and_then(Value::as_str).map(Id::from);
    Some((event(&body)?, offset))
}

fn event(body: &Value) -> Option<Event> {
    let name = body.get(0)?.as_str()?;
    let payload = body.get(1).unwrap_or(&Value::Null);
    let conversation = || id(payload, "conversationId");
    Some(match name {
        "chat:message" => Event::Message { conversation: conversation()?, row: row(payload)? },
        "chat:edited" => {
            let message = &payload["message"];
            change(payload, name, conversation()?, id(message, "id")?, id(message, "sender_id"), "")?
        }
        "chat:deleted" => change(payload, name, conversation()?, id(payload, "messageId")?, id(payload, "by"), "")?,
        "chat:reaction" => {
            let what = reaction_text(&word(payload, "emoji"), payload["on"].as_bool()?);
            change(payload, name, conversation()?, id(payload, "messageId")?, id(payload, "userId"), &what)?
        }
        "conversation:updated" => group(payload, name, &payload["changes"].to_string())?,
        "conversation:memberAdded" => group(payload, name, &word(&payload["member"], "id"))?,
        "conversation:memberRemoved" => group(payload, name, &word(payload, "userId"))?,
        "conversation:created" => Event::Created { conversation: id(&payload["conversation"], "id")? },
        "conversation:removed" => Event::Dismissed { conversation: conversation()? },
        "chat:read" => Event::Read {
            conversation: conversation()?,
            user: id(payload, "userId")?,
            up_to: number(payload, "upTo")?,
        },
        "chat:receipts" => Event::Receipts {
            conversation: conversation()?,
            user: id(payload, "userId")?,
            marks: marks(payload)?,
        },
        "sync:reset" => Event::Reset { conversation: conversation()?, head: number(payload, "headSeq")? },
        "chat:typing" => Event::Typing { conversation: conversation()?, user: id(payload, "userId")? },
        "presence:online" => Event::Presence { user: id(payload, "userId")?, online: true },
        "presence:offline" => Event::Presence { user: id(payload, "userId")?, online: false },
        "presence:onlineList" => {
            Event::OnlineList(payload.as_array()?.iter().filter_map(|user| user.as_str().map(Id::from)).collect())
        }
        "server:draining" => Event::Draining,
        "auth:expiring" => Event::Expiring,
        "error" => Event::Error { code: word(payload, "code") },
        other => Event::Other(other.to_owned()),
    })
}

fn group(payload: &Value, name: &str, what: &str) -> Option<Event> {
    change(payload, name, id(payload, "conversationId")?, Id::from(""), id(payload, "by"), what)
}

fn change(payload: &Value, name: &str, conversation: Id, message: Id, by: Option<Id>, what: &str) -> Option<Event> {
    Some(Event::Message { conversation, row: row_of_change(number(payload, "seq")?, name, message, by, what) })
}

/// A message row of the contract (section 3) as the checker knows it.
#[must_use]
pub(crate) fn row(message: &Value) -> Option<Row> {
    Some(Row {
        seq: number(message, "seq")?,
        kind: None,
        id: id(message, "id")?,
        sender: id(message, "sender_id"),
        client_id: id(message, "client_id"),
        content: as_sent(message.get("content")?.as_str()?),
    })
}

/// The ack of `sync:resume`: heads, more, marks.
#[must_use]
pub(crate) fn resumed(ack: &Value) -> (BTreeMap<Id, u64>, BTreeMap<Id, u64>, MarkTable) {
    let table = |field: &str| {
        let entries = ack.get(field).and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(key, value)| Some((Id::from(key.as_str()), value.as_u64()?))).collect()
    };
    let mut all = MarkTable::new();
    for (conversation, entry) in ack.get("marks").and_then(Value::as_object).into_iter().flatten() {
        let members = entry.get("members").and_then(Value::as_object).into_iter().flatten();
        let members = members.filter_map(|(user, value)| Some((Id::from(user.as_str()), marks(value)?))).collect();
        all.insert(Id::from(conversation.as_str()), members);
    }
    (table("heads"), table("more"), all)
}

fn marks(value: &Value) -> Option<Watermarks> {
    Some(Watermarks { delivered_seq: number(value, "deliveredSeq")?, read_seq: number(value, "readSeq")? })
}

fn id(value: &Value, field: &str) -> Option<Id> {
    value.get(field)?.as_str().map(Id::from)
}

fn number(value: &Value, field: &str) -> Option<u64> {
    value.get(field)?.as_u64()
}

fn word(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}
