//! Fields of payloads, each with its documented failure. Unknown fields are ignored.

use serde_json::{Map, Value};
use wire::{MessageId, RoomId};

use crate::error::Failure;
use crate::limits;

/// The first argument as an object.
pub(super) fn object(args: &[Value]) -> Result<&Map<String, Value>, Failure> {
    match args.first() {
        Some(Value::Object(map)) => Ok(map),
        _ => Err(Failure::invalid("payload", "An object is expected")),
    }
}

/// The first argument as a bare conversation id.
pub(super) fn bare_room(args: &[Value]) -> Result<RoomId, Failure> {
    room_id(args.first())
}

/// `conversationId`.
pub(super) fn room(map: &Map<String, Value>) -> Result<RoomId, Failure> {
    room_id(map.get("conversationId"))
}

fn room_id(value: Option<&Value>) -> Result<RoomId, Failure> {
    value
        .and_then(Value::as_str)
        .and_then(RoomId::parse)
        .ok_or_else(|| Failure::invalid("conversationId", "A conversation id is expected"))
}

/// A seq: an integer that JavaScript can hold.
pub(super) fn seq(value: Option<&Value>, field: &str) -> Result<u64, Failure> {
    value
        .and_then(Value::as_u64)
        .filter(|seq| *seq <= limits::MAX_ACK_ID)
        .ok_or_else(|| Failure::invalid(field, "A sequence number is expected"))
}

/// A text that is not empty.
pub(super) fn text<'a>(map: &'a Map<String, Value>, field: &str) -> Result<&'a str, Failure> {
    map.get(field)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Failure::invalid(field, "A text is expected"))
}

/// A list of message ids, at least one and at most [`limits::MARK_READ_IDS`].
pub(super) fn message_ids(value: &Value, field: &str) -> Result<Vec<MessageId>, Failure> {
    let wrong = || Failure::invalid(field, "A list of message ids is expected");
    let Value::Array(items) = value else { return Err(wrong()) };
    if items.is_empty() || items.len() > limits::MARK_READ_IDS {
        return Err(Failure::invalid(field, &format!("1 to {} message ids are expected", limits::MARK_READ_IDS)));
    }
    items.iter().map(|item| item.as_str().and_then(MessageId::parse).ok_or_else(wrong)).collect()
}
