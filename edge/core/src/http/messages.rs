//! R-12 history, G-22 send, G-23 events: the Room is the only writer and the only reader of its messages.

use serde_json::{Value, json};
use wire::{ErrorCode, Message as WireMessage, MessageId, RoomId, Timestamp, UserId};

use super::input::{self, Fields, room_param};
use super::reply::Reply;
use super::{Call, Request, lost, unexpected};
use crate::content;
use crate::dialect::ServerEvent;
use crate::dialect::chatcall::DIALECT;
use crate::error::Failure;
use crate::limits::{PAGE_DEFAULT, PAGE_MAX};
use crate::map::{Map, Set};
use crate::objects::{self, HistoryCursor, Message, Numbered};
use crate::platform::Platform;
use crate::sql::people;

/// oldest first. `X-Next-Before` is there while older messages are.
pub(super) async fn history<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let room = room_param(&call.params)?;
    let limit = input::limit(call.request, PAGE_DEFAULT, PAGE_MAX)?;
    let cursor = read_cursor(call.request)?;
    let msg = Message::History { user: me.user, cursor, limit: u32::try_from(limit).unwrap_or(u32::MAX) };
    let Message::HistoryPage { mut messages, next_before } = call.ask(&objects::room(room), msg).await? else {
        return Err(unexpected());
    };

    name_senders(call, me.user, &mut messages).await?;
    let reply = Reply::json(200, &messages);
    Ok(next_before.into_iter().fold(reply, |reply, next| reply.with("x-next-before", next.to_string())))
}

/// Writes the senders' names and pictures as `viewer` may see them now.
pub(super) async fn name_senders<P: Platform>(call: &Call<'_, P>, viewer: UserId, messages: &mut [WireMessage]) -> Result<(), Failure> {
    let senders: Set<UserId> = messages.iter().filter_map(|message| message.sender_id).collect();
    if !senders.is_empty() {
        let senders: Vec<UserId> = senders.into_iter().collect();
        let rows = call.read(people::profiles(&senders, viewer)).await?;
        let names: Map<&str, (&str, Option<&str>)> = rows
            .iter()
            .filter_map(|row| Some((row.first()?.as_str()?, (row.get(1)?.as_str()?, row.get(3)?.as_str()))))
            .collect();
        for message in messages {
            let sender = message.sender_id.map(|id| id.to_string()).unwrap_or_default();
            if let Some((username, avatar_url)) = names.get(sender.as_str()) {
                (*username).clone_into(&mut message.sender_username);
                message.sender_avatar_url = avatar_url.map(str::to_owned);
            }
        }
    }
    Ok(())
}

/// G-22: 201 after commit, 200 for the same `clientId` again.
pub(super) async fn send<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let room = room_param(&call.params)?;
    let message = content::from_envelope(&Fields::read(call.request)?.0, call.platform.settings())?;
    let object = objects::room(room);
    match call.platform.object(object.kind, &object.name, Message::Send { from: me.actor(), message }).await {
        Ok(Message::Sent { message, repeated }) => {
            Ok(Reply::json(if repeated { 200 } else { 201 }, &json!({"ok": true, "message": message})))
        }
        Ok(Message::Refused { failure }) => Err(failure),
        Ok(_) => Err(unexpected()),
        Err(error) => Err(lost(error, ErrorCode::MessageSendFailed)),
    }
}

/// G-23: the REST twin of a resume.
pub(super) async fn events<P: Platform>(call: &Call<'_, P>) -> Result<Reply, Failure> {
    let me = call.caller().await?;
    let room = room_param(&call.params)?;
    let limit = input::limit(call.request, PAGE_MAX, PAGE_MAX)?;
    let after = input::number(call.request, "after")?.unwrap_or(0);
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let msg = Message::Pull { user: me.user, after, limit, generation: None, marks: false };
    let Message::Page { events, head, reset, .. } = call.ask(&objects::room(room), msg).await? else {
        return Err(unexpected());
    };
    let more = events.last().is_some_and(|last| last.seq < head);
    let events: Vec<Value> = events.iter().map(|numbered| event(room, numbered)).collect::<Option<_>>().ok_or_else(unexpected)?;
    let mut body = json!({"events": events, "headSeq": head, "more": more});
    if let Some(reason) = reset {
        // The cursor is not of this history: load it anew (E-047).
        body["reset"] = json!(reason);
    }
    Ok(Reply::json(200, &body))
}

/// A durable event as sockets of the `chatcall` dialect get it.
fn event(room: RoomId, numbered: &Numbered) -> Option<Value> {
    let mut data = Vec::new();
    let name = (DIALECT.encode)(&ServerEvent::durable(room, numbered), &mut data)?;
    let data: Value = serde_json::from_slice(&data).ok()?;
    Some(json!({"seq": numbered.seq, "event": name, "data": data}))
}

/// At most one of `before`, `beforeSeq`, `afterSeq`, `around`.
fn read_cursor(request: &Request) -> Result<HistoryCursor, Failure> {
    let mut found = None;
    for name in ["before", "beforeSeq", "afterSeq", "around"] {
        let Some(text) = input::query(request, name)? else { continue };
        if found.is_some() {
            return Err(Failure::invalid(name, "Only one cursor is expected"));
        }
        let message = || MessageId::parse(&text).ok_or_else(|| Failure::invalid(name, "A message id is expected"));
        found = Some(match name {
            "beforeSeq" => HistoryCursor::BeforeSeq(input::number(request, name)?.unwrap_or(0)),
            "afterSeq" => HistoryCursor::AfterSeq(input::number(request, name)?.unwrap_or(0)),
            "around" => HistoryCursor::Around(message()?),
            _ => match (MessageId::parse(&text), Timestamp::from_iso(&text)) {
                (Some(id), _) => HistoryCursor::BeforeMessage(id),
                (None, Some(time)) => HistoryCursor::BeforeTime(time),
                (None, None) => return Err(Failure::invalid(name, "A time or a message id is expected")),
            },
        });
    }
    Ok(found.unwrap_or(HistoryCursor::Newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(query: &str) -> Result<HistoryCursor, Option<String>> {
        let request = Request { query: query.to_owned(), ..Request::default() };
        read_cursor(&request).map_err(|failure| failure.field)
    }

    #[test]
    fn every_cursor_is_read() {
        let id = MessageId(wire::uuid_v7(1, 2, 3));
        assert_eq!(cursor("limit=1"), Ok(HistoryCursor::Newest));
        assert_eq!(cursor(&format!("before={id}")), Ok(HistoryCursor::BeforeMessage(id)));
        assert_eq!(cursor(&format!("around={id}")), Ok(HistoryCursor::Around(id)));
        assert_eq!(cursor("beforeSeq=42"), Ok(HistoryCursor::BeforeSeq(42)));
        assert_eq!(cursor("afterSeq=0"), Ok(HistoryCursor::AfterSeq(0)));
        let time = Timestamp(1_772_357_400_000);
        assert_eq!(cursor("before=2026-03-01T10:30:00%2B01:00"), Ok(HistoryCursor::BeforeTime(time)));
    }

    #[test]
    fn unreadable_cursors_are_refused() {
        for (query, field) in [
            ("before=", "before"),
            ("before=yesterday", "before"),
            ("before=42", "before"),
            ("beforeSeq=-1", "beforeSeq"),
            ("beforeSeq=x", "beforeSeq"),
            ("afterSeq=1e3", "afterSeq"),
            ("around=1 OR 1=1", "around"),
            ("beforeSeq=4&afterSeq=2", "afterSeq"),
        ] {
            assert_eq!(cursor(query), Err(Some(field.to_owned())), "{query}");
        }
    }
}
