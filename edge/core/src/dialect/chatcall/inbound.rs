//! Payloads of clients. Identity fields in them are ignored: the token says who acts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use wire::{MessageId, RoomId};

use crate::content;
use crate::dialect::fields::{bare_room, message_ids, object, room, seq, text};
use crate::dialect::{Command, Cursors};
use crate::error::Failure;
use crate::limits::STATUS_TEXT_CODE_POINTS;
use crate::objects::{MessageChange, PresenceState, ReadUpTo};
use crate::settings::Settings;

type Parsed = Result<Command, Failure>;

pub(super) fn join(args: &[Value], _settings: &Settings) -> Parsed {
    Ok(Command::Join { room: bare_room(args)? })
}

pub(super) fn leave(args: &[Value], _settings: &Settings) -> Parsed {
    Ok(Command::Leave { room: bare_room(args)? })
}

pub(super) fn send(args: &[Value], settings: &Settings) -> Parsed {
    let payload = object(args)?;
    Ok(Command::Send { room: room(payload)?, message: content::from_envelope(payload, settings)? })
}

pub(super) fn edit(args: &[Value], settings: &Settings) -> Parsed {
    let payload = object(args)?;
    change(payload, |payload| content::edit_of(payload.get("content"), settings))
}

pub(super) fn delete(args: &[Value], _settings: &Settings) -> Parsed {
    change(object(args)?, |_| Ok(MessageChange::Delete))
}

pub(super) fn react(args: &[Value], _settings: &Settings) -> Parsed {
    change(object(args)?, |payload| {
        let on = payload.get("on").and_then(Value::as_bool);
        let reaction = content::reaction_of(payload.get("emoji").and_then(Value::as_str), on.unwrap_or_default())?;
        on.map(|_| reaction).ok_or_else(|| Failure::invalid("on", "true or false is expected"))
    })
}

fn change(
    payload: &Map<String, Value>,
    read: impl FnOnce(&Map<String, Value>) -> Result<MessageChange, Failure>,
) -> Parsed {
    let room = room(payload)?;
    let message = payload.get("messageId").and_then(Value::as_str).and_then(MessageId::parse);
    let message = message.ok_or_else(|| Failure::invalid("messageId", "A message id is expected"))?;
    Ok(Command::Change { room, message, change: read(payload)? })
}

pub(super) fn typing(args: &[Value], _settings: &Settings) -> Parsed {
    Ok(Command::Typing { room: room(object(args)?)?, on: true })
}

pub(super) fn stop_typing(args: &[Value], _settings: &Settings) -> Parsed {
    Ok(Command::Typing { room: room(object(args)?)?, on: false })
}

pub(super) fn mark_read(args: &[Value], _settings: &Settings) -> Parsed {
    let payload = object(args)?;
    let room = room(payload)?;
    let up_to = match (payload.get("upTo"), payload.get("messageIds")) {
        (None | Some(Value::Null), Some(ids)) => ReadUpTo::Ids(message_ids(ids, "messageIds")?),
        (up_to, _) => read_up_to(up_to)?,
    };
    Ok(Command::MarkRead { room, up_to })
}

/// Reads `upTo`: the seq or the id of a message.
///
/// # Errors
/// `INVALID_DATA` for anything else.
pub fn read_up_to(up_to: Option<&Value>) -> Result<ReadUpTo, Failure> {
    match up_to {
        Some(Value::String(id)) => match MessageId::parse(id) {
            Some(id) => Ok(ReadUpTo::Ids(vec![id])),
            None => Err(Failure::invalid("upTo", "A sequence number or message id is expected")),
        },
        up_to => Ok(ReadUpTo::Seq(seq(up_to, "upTo")?)),
    }
}

pub(super) fn mark_delivered(args: &[Value], _settings: &Settings) -> Parsed {
    let payload = object(args)?;
    Ok(Command::MarkDelivered { room: room(payload)?, up_to: seq(payload.get("upTo"), "upTo")? })
}

pub(super) fn set_presence(args: &[Value], _settings: &Settings) -> Parsed {
    let payload = object(args)?;
    let state = payload.get("state").and_then(Value::as_str).and_then(PresenceState::from_word);
    let state = state
        .filter(|state| state.may_be_chosen())
        .ok_or_else(|| Failure::invalid("state", "One of online, away, dnd, invisible is expected"))?;
    let text = match payload.get("text") {
        None => None,
        Some(Value::Null) => Some(String::new()),
        Some(Value::String(text))
            if text.chars().take(STATUS_TEXT_CODE_POINTS + 1).count() <= STATUS_TEXT_CODE_POINTS
                && !text.chars().any(char::is_control) =>
        {
            Some(text.clone())
        }
        Some(_) => return Err(Failure::invalid("text", "At most 200 characters without control characters are expected")),
    };
    Ok(Command::SetPresence { state, text })
}

pub(super) fn renew(args: &[Value], _settings: &Settings) -> Parsed {
    Ok(Command::Renew { token: text(object(args)?, "token")?.to_owned() })
}

pub(super) fn resume(args: &[Value], _settings: &Settings) -> Parsed {
    cursors(object(args)?).map(Command::Resume)
}

/// Reads the payload of `sync:resume`.
///
/// # Errors
/// `INVALID_DATA` for `cursors` or `generations` that are not objects of conversation ids and whole numbers.
pub fn cursors(payload: &Map<String, Value>) -> Result<Cursors, Failure> {
    let cursors = match payload.get("cursors") {
        Some(Value::Object(map)) => numbers(map, "cursors")?.collect::<Result<Vec<_>, _>>()?,
        _ => return Err(Failure::invalid("cursors", "An object of conversation ids and sequence numbers is expected")),
    };
    let generations = match payload.get("generations") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(map)) => numbers(map, "generations")?.collect::<Result<_, _>>()?,
        Some(_) => return Err(Failure::invalid("generations", "An object of conversation ids and generations is expected")),
    };
    Ok(Cursors { cursors, generations })
}

type Entry = Result<(RoomId, u64), Failure>;

fn numbers<'a>(map: &'a Map<String, Value>, field: &'static str) -> Result<impl Iterator<Item = Entry> + 'a, Failure> {
    Ok(map.iter().map(move |(id, number)| {
        let id = RoomId::parse(id).ok_or_else(|| Failure::invalid(field, "A conversation id is expected"))?;
        Ok((id, seq(Some(number), field)?))
    }))
}
