//! Events and acknowledgements as `chatcall` writes them.

use std::io::Write;

use serde::Serialize;
use wire::{Conversation, Member, Message, MessageId, PublicUser, Reaction, RoomId, Timestamp, UserId};

use crate::dialect::{Answer, Resumed, ServerEvent};
use crate::objects::{ContactNews, PresenceState, Removal, RoomEvent, Shown};

/// Writes the arguments and names the event.
pub(super) fn encode(event: &ServerEvent<'_>, args: &mut Vec<u8>) -> Option<&'static str> {
    match event {
        ServerEvent::Message { room, message } => {
            let _ = write!(args, "{{\"conversationId\":\"{room}\"");
            write_rest(message, args);
            Some("chat:message")
        }
        ServerEvent::Changed { room, seq, event } => {
            let _ = write!(args, "{{\"conversationId\":\"{room}\",\"seq\":{seq}");
            Some(write_change(event, args))
        }
        ServerEvent::Typing { room, user, username, on } => {
            let username = on.then_some(*username);
            write(args, &Typing { conversation_id: *room, user_id: *user, username });
            Some(if *on { "chat:typing" } else { "chat:stopTyping" })
        }
        ServerEvent::Read { room, user, ids, up_to } => {
            write(args, &Read { conversation_id: *room, user_id: *user, message_ids: ids, up_to: *up_to });
            Some("chat:read")
        }
        ServerEvent::Receipts { room, user, delivered_seq, read_seq } => {
            let (delivered_seq, read_seq) = (*delivered_seq, *read_seq);
            write(args, &Receipts { conversation_id: *room, user_id: *user, delivered_seq, read_seq });
            Some("chat:receipts")
        }
        ServerEvent::Created { conversation } => {
            write(args, &Created { conversation });
            Some("conversation:created")
        }
        ServerEvent::Dismissed { room, reason } => {
            write(args, &Dismissed { conversation_id: *room, reason: *reason });
            Some("conversation:removed")
        }
        ServerEvent::OnlineList { users } => {
            write(args, users);
            Some("presence:onlineList")
        }
        ServerEvent::Presence { user, online } => {
            write(args, &User { user_id: *user });
            Some(if *online { "presence:online" } else { "presence:offline" })
        }
        ServerEvent::PresenceState { user, shown } => {
            let Shown { state, last_seen, text } = shown;
            write(args, &Presence { user_id: *user, state: *state, last_seen: *last_seen, text: text.as_deref() });
            Some("presence:state")
        }
        ServerEvent::Contact { news: ContactNews::Asked { by, at } } => {
            let user = PublicUser {
                id: by.id,
                username: by.username.clone(),
                display_name: by.display_name.clone(),
                avatar_url: by.avatar_url.clone(),
                status: by.status.clone(),
            };
            write(args, &ContactRequest { user, created_at: *at });
            Some("contact:request")
        }
        ServerEvent::Contact { news: ContactNews::Is { other, status } } => {
            write(args, &ContactUpdated { user_id: *other, status });
            Some("contact:updated")
        }
        ServerEvent::Reset { room, head, reason } => {
            write(args, &Reset { conversation_id: *room, head_seq: *head, reason });
            Some("sync:reset")
        }
        ServerEvent::Expiring { at } => {
            write(args, &Expiring { expires_at: *at });
            Some("auth:expiring")
        }
        ServerEvent::Revoked { reason } => {
            write(args, &Revoked { reason });
            Some("auth:revoked")
        }
        ServerEvent::Draining { reconnect_after_ms } => {
            write(args, &Draining { reconnect_after_ms: *reconnect_after_ms });
            Some("server:draining")
        }
        ServerEvent::Heartbeat => Some("hb"),
        ServerEvent::Error { failure, event } => {
            let mut body = failure.to_socket();
            if let serde_json::Value::Object(map) = &mut body {
                map.insert("event".into(), (*event).into());
            }
            write(args, &body);
            Some("error")
        }
    }
}

/// Writes the argument of an acknowledgement.
pub(super) fn answer(answer: &Answer<'_>, args: &mut Vec<u8>) {
    let ok = true;
    match answer {
        Answer::Done => write(args, &Done { ok }),
        Answer::Joined { room, seq, read_seq, members } => {
            write(args, &Joined { ok, conversation_id: *room, seq: *seq, read_seq: *read_seq, members });
        }
        Answer::Sent { message } => write(args, &Sent { ok, message }),
        Answer::Reacted { reactions } => write(args, &Reacted { ok, reactions }),
        Answer::Marked { read_seq } => write(args, &Marked { ok, read_seq: *read_seq }),
        Answer::Online { users } => write(args, users),
        Answer::Resumed(resumed) => write(args, &ResumedAck { ok, resumed, calls: [] }),
        Answer::Renewed { expires } => write(args, &Renewed { ok, expires_at: *expires }),
        Answer::Refused(failure) => write(args, &serde_json::json!({"error": failure.to_socket()})),
    }
}

fn write_change(event: &RoomEvent, args: &mut Vec<u8>) -> &'static str {
    match event {
        RoomEvent::Message { message } => {
            write_rest(message, args);
            "chat:message"
        }
        RoomEvent::Edited(edited) => {
            write_rest(edited, args);
            "chat:edited"
        }
        RoomEvent::Deleted(deleted) => {
            write_rest(deleted, args);
            "chat:deleted"
        }
        RoomEvent::Reaction(reacted) => {
            write_rest(reacted, args);
            "chat:reaction"
        }
        RoomEvent::Updated(updated) => {
            write_rest(updated, args);
            "conversation:updated"
        }
        RoomEvent::MemberAdded(added) => {
            write_rest(added, args);
            "conversation:memberAdded"
        }
        RoomEvent::MemberRemoved(removed) => {
            write_rest(removed, args);
            "conversation:memberRemoved"
        }
    }
}

/// The fields of an object behind those that were written: its opening brace becomes the comma between them.
fn write_rest<T: Serialize>(value: &T, args: &mut Vec<u8>) {
    let brace = args.len();
    write(args, value);
    if let Some(byte) = args.get_mut(brace) {
        *byte = b',';
    }
}

fn write<T: Serialize + ?Sized>(args: &mut Vec<u8>, value: &T) {
    // Nothing we serialize can fail, and a vector takes every byte.
    let _ = serde_json::to_writer(args, value);
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Typing<'a> {
    conversation_id: RoomId,
    user_id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Read<'a> {
    conversation_id: RoomId,
    user_id: UserId,
    message_ids: &'a [MessageId],
    up_to: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipts {
    conversation_id: RoomId,
    user_id: UserId,
    delivered_seq: u64,
    read_seq: u64,
}

#[derive(Serialize)]
struct Created<'a> {
    conversation: &'a Conversation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dismissed {
    conversation_id: RoomId,
    reason: Removal,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    user_id: UserId,
}

#[derive(Serialize)]
struct ContactRequest {
    user: PublicUser,
    created_at: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContactUpdated<'a> {
    user_id: UserId,
    status: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Presence<'a> {
    user_id: UserId,
    state: PresenceState,
    last_seen: Option<Timestamp>,
    text: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reset<'a> {
    conversation_id: RoomId,
    head_seq: u64,
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Expiring {
    expires_at: Timestamp,
}

#[derive(Serialize)]
struct Revoked<'a> {
    reason: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Draining {
    reconnect_after_ms: u64,
}

#[derive(Serialize)]
struct Done {
    ok: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Joined<'a> {
    ok: bool,
    conversation_id: RoomId,
    seq: u64,
    read_seq: u64,
    members: &'a [Member],
}

#[derive(Serialize)]
struct Sent<'a> {
    ok: bool,
    message: &'a Message,
}

#[derive(Serialize)]
struct Reacted<'a> {
    ok: bool,
    reactions: &'a [Reaction],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Marked {
    ok: bool,
    read_seq: u64,
}

#[derive(Serialize)]
struct ResumedAck<'a> {
    ok: bool,
    #[serde(flatten)]
    resumed: &'a Resumed,
    calls: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
    ok: bool,
    expires_at: Timestamp,
}
