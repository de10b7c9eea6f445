//! Statements of Room storage (`schema/migrations/room`).

use wire::{MessageId, RoomId, Timestamp, UserId};

use super::{Statement, Value};
use crate::objects::Profile;
use crate::room::{Logged, Meta, Seat, Stored, pack};

/// Columns of a message row, for `format!`-free statements below.
macro_rules! message_query {
    ($rest:literal) => {
        concat!(
            "SELECT seq, id, sender_id, client_id, nth, kind, content, reply_to, metadata, created_at, edited_at, \
             deleted_at, digest, reactions, edit_seq, sent_digest, call, mentions FROM room_messages WHERE room_id=?1 ",
            $rest
        )
    };
}

/// Columns of an event row.
macro_rules! event_query {
    ($rest:literal) => {
        concat!("SELECT seq, kind, message_seq, data, call FROM room_events WHERE room_id=?1 ", $rest)
    };
}

/// The seq of message ?2 of room ?1, found by bisection because ids rise with seq: no index to write with every message.
macro_rules! seq_of_id {
    () => {
        "(WITH RECURSIVE bounds(lo, hi) AS (\
         SELECT 1, (SELECT max(seq) FROM room_messages WHERE room_id=?1) UNION ALL \
         SELECT CASE WHEN (SELECT id FROM room_messages WHERE room_id=?1 AND seq>=(lo+hi)/2 ORDER BY seq LIMIT 1)<?2 \
         THEN (lo+hi)/2+1 ELSE lo END, \
         CASE WHEN (SELECT id FROM room_messages WHERE room_id=?1 AND seq>=(lo+hi)/2 ORDER BY seq LIMIT 1)<?2 \
         THEN hi ELSE (lo+hi)/2 END FROM bounds WHERE lo<hi) \
         SELECT seq FROM (SELECT seq, id FROM room_messages WHERE room_id=?1 AND seq>=(SELECT max(lo) FROM bounds) \
         ORDER BY seq LIMIT 1) WHERE id=?2)"
    };
}

/// Everything a Room needs before its first decision: meta, members, newest messages, keys of repeated sends, newest events.
#[must_use]
pub fn load(room: RoomId, recent: usize) -> Vec<Statement> {
    vec![
        Statement::new(
            "SELECT type, name, avatar_url, created_by, created_at, generation, told FROM rooms WHERE room_id=?1",
            vec![room.into()],
        ),
        Statement::new(
            "SELECT user_id, role, username, display_name, avatar_url, status, joined_at, joined_seq, left_at, left_seq, \
             delivered_seq, read_seq, blocks, changes, own_seq, muted_until, level, left_reason, read_at FROM room_members \
             WHERE room_id=?1 ORDER BY user_id",
            vec![room.into()],
        ),
        Statement::new(message_query!("ORDER BY seq DESC LIMIT ?2"), vec![room.into(), (recent as u64).into()]),
        Statement::new("SELECT last_seq, sent_at, keys FROM room_keys WHERE room_id=?1 ORDER BY last_seq", vec![room.into()]),
        Statement::new(event_query!("ORDER BY seq DESC LIMIT ?2"), vec![room.into(), (recent as u64).into()]),
    ]
}

/// Inserts the room's row.
#[must_use]
pub fn insert_room(room: RoomId, meta: &Meta) -> Statement {
    Statement::new(
        "INSERT INTO rooms (room_id, type, name, avatar_url, created_by, created_at, generation, told) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
        vec![
            room.into(),
            super::projection::type_word(meta.kind).into(),
            meta.name.clone().into(),
            meta.avatar_url.clone().into(),
            meta.created_by.into(),
            meta.created_at.into(),
            meta.generation.into(),
            meta.told.into(),
        ],
    )
}

/// Stores what may change of the room's row.
#[must_use]
pub fn update_room(room: RoomId, meta: &Meta) -> Statement {
    Statement::new(
        "UPDATE rooms SET name=?2, avatar_url=?3 WHERE room_id=?1",
        vec![room.into(), meta.name.clone().into(), meta.avatar_url.clone().into()],
    )
}

/// Whoever came or went below `told` knows it.
#[must_use]
pub fn set_told(room: RoomId, told: u64) -> Statement {
    Statement::new("UPDATE rooms SET told=?2 WHERE room_id=?1", vec![room.into(), told.into()])
}

/// Inserts a member, or stores what changed of one; marks stay.
#[must_use]
pub fn put_member(room: RoomId, user: UserId, seat: &Seat) -> Statement {
    Statement::new(
        "INSERT INTO room_members (room_id, user_id, role, username, display_name, avatar_url, status, joined_at, joined_seq, \
         delivered_seq, read_seq, blocks, changes, left_at, left_seq, left_reason, muted_until, level) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18) ON CONFLICT (room_id, user_id) DO UPDATE SET \
         role=?3, username=?4, display_name=?5, avatar_url=?6, status=?7, joined_at=?8, joined_seq=?9, blocks=?12, changes=?13, \
         left_at=?14, left_seq=?15, left_reason=?16, muted_until=?17, level=?18",
        vec![
            room.into(),
            user.into(),
            super::projection::role_word(seat.role).into(),
            seat.username.clone().into(),
            seat.display_name.clone().into(),
            seat.avatar_url.clone().into(),
            seat.status.clone().into(),
            seat.joined_at.into(),
            seat.joined_seq.into(),
            seat.delivered_seq.into(),
            seat.read_seq.into(),
            seat.flags().into(),
            seat.changes.into(),
            seat.left_at.into(),
            seat.left_seq.into(),
            seat.left_reason.map(super::projection::removal_word).into(),
            seat.muted_until.into(),
            super::projection::level_word(seat.level).into(),
        ],
    )
}

/// Raises the watermarks of a member; a lower value never replaces a higher one (M7).
#[must_use]
pub fn raise_marks(room: RoomId, user: UserId, delivered_seq: u64, read_seq: u64, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE room_members SET delivered_at=CASE WHEN ?3>delivered_seq THEN ?5 ELSE delivered_at END, \
         read_at=CASE WHEN ?4>read_seq THEN ?5 ELSE read_at END, delivered_seq=max(delivered_seq,?3), \
         read_seq=max(read_seq,?4) WHERE room_id=?1 AND user_id=?2",
        vec![room.into(), user.into(), delivered_seq.into(), read_seq.into(), now.into()],
    )
}

/// Keeps what a member's newest own message says, before that message is older than what a start loads.
#[must_use]
pub fn keep_own(room: RoomId, user: UserId, own_seq: u64) -> Statement {
    Statement::new(
        "UPDATE room_members SET own_seq=max(own_seq,?3), delivered_seq=max(delivered_seq,?3) WHERE room_id=?1 AND user_id=?2",
        vec![room.into(), user.into(), own_seq.into()],
    )
}

/// Sets whether a member of a direct conversation blocks the other one (1), and whether it is without read marks (2).
#[must_use]
pub fn set_flags(room: RoomId, user: UserId, flags: u64) -> Statement {
    Statement::new(
        "UPDATE room_members SET blocks=?3 WHERE room_id=?1 AND user_id=?2",
        vec![room.into(), user.into(), flags.into()],
    )
}

/// How a member is shown, with the flags of [`set_flags`].
#[must_use]
pub fn set_profile(room: RoomId, profile: &Profile, flags: u64) -> Statement {
    Statement::new(
        "UPDATE room_members SET username=?3, display_name=?4, avatar_url=?5, status=?6, blocks=?7 \
         WHERE room_id=?1 AND user_id=?2",
        vec![
            room.into(),
            profile.id.into(),
            profile.username.clone().into(),
            profile.display_name.clone().into(),
            profile.avatar_url.clone().into(),
            profile.status.clone().into(),
            flags.into(),
        ],
    )
}

/// Inserts a message: seq and key are in its row, so they are one transaction.
#[must_use]
pub fn insert_message(room: RoomId, message: &Stored) -> Statement {
    Statement::new(
        "INSERT INTO room_messages (room_id, seq, id, sender_id, client_id, nth, kind, content, reply_to, metadata, \
         created_at, digest, call, mentions) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)",
        vec![
            room.into(),
            message.seq.into(),
            message.id.into(),
            message.sender.into(),
            message.client_id.clone().into(),
            message.nth.into(),
            message.kind_word().into(),
            message.content.clone().into(),
            message.reply_to.into(),
            message.metadata.clone().into(),
            message.created_at.into(),
            Value::Blob(message.digest.to_vec()),
            message.call.clone().into(),
            message.mentions.clone().into(),
        ],
    )
}

/// Messages above `seq`, oldest first.
#[must_use]
pub fn after(room: RoomId, seq: u64, limit: u64) -> Statement {
    Statement::new(message_query!("AND seq>?2 ORDER BY seq LIMIT ?3"), vec![room.into(), seq.into(), limit.into()])
}

/// What a replay above `seq` is made of: messages, events, and the messages that these events are about.
#[must_use]
pub fn replay(room: RoomId, seq: u64, limit: u64) -> Vec<Statement> {
    let params = || vec![room.into(), seq.into(), limit.into()];
    vec![
        after(room, seq, limit),
        Statement::new(event_query!("AND seq>?2 ORDER BY seq LIMIT ?3"), params()),
        Statement::new(
            message_query!(
                "AND seq IN (SELECT message_seq FROM room_events WHERE room_id=?1 AND seq>?2 ORDER BY seq LIMIT ?3)"
            ),
            params(),
        ),
    ]
}

/// Inserts an event: its seq is in its row, so whatever it stands for is written in the same transaction.
#[must_use]
pub fn insert_event(room: RoomId, event: &Logged, actor: UserId, data: String, call: Option<String>, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO room_events (room_id, seq, kind, message_seq, actor, data, call, created_at) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
        vec![
            room.into(),
            event.seq.into(),
            event.kind_word().into(),
            event.about.into(),
            actor.into(),
            data.into(),
            call.into(),
            now.into(),
        ],
    )
}

/// Messages below `seq`, newest first.
#[must_use]
pub fn before(room: RoomId, seq: u64, limit: u64) -> Statement {
    Statement::new(message_query!("AND seq<?2 ORDER BY seq DESC LIMIT ?3"), vec![room.into(), seq.into(), limit.into()])
}

/// Messages older than a time and not above seq `last`, newest first.
#[must_use]
pub fn before_time(room: RoomId, at: Timestamp, last: u64, limit: u64) -> Statement {
    Statement::new(
        message_query!("AND created_at<?2 AND seq<=?4 ORDER BY seq DESC LIMIT ?3"),
        vec![room.into(), at.into(), limit.into(), last.into()],
    )
}

/// Messages older than another message, newest first; that message's seq is looked up in the same statement.
#[must_use]
pub fn before_message(room: RoomId, id: MessageId, limit: u64) -> Statement {
    Statement::new(
        concat!(message_query!("AND seq<"), seq_of_id!(), " ORDER BY seq DESC LIMIT ?3"),
        vec![room.into(), id.into(), limit.into()],
    )
}

/// A message and those above it, oldest first.
#[must_use]
pub fn from_message(room: RoomId, id: MessageId, limit: u64) -> Statement {
    Statement::new(
        concat!(message_query!("AND seq>="), seq_of_id!(), " ORDER BY seq LIMIT ?3"),
        vec![room.into(), id.into(), limit.into()],
    )
}

/// The message with this id, if it is one of this room.
#[must_use]
pub fn message(room: RoomId, id: MessageId) -> Statement {
    Statement::new(concat!(message_query!("AND seq="), seq_of_id!()), vec![room.into(), id.into()])
}

/// Writes what may change of a message.
#[must_use]
pub fn update_message(room: RoomId, message: &Stored) -> Statement {
    Statement::new(
        "UPDATE room_messages SET content=?3, metadata=?4, edited_at=?5, deleted_at=?6, digest=?7, reactions=?8, edit_seq=?9, \
         sent_digest=?10, mentions=?11 WHERE room_id=?1 AND seq=?2",
        vec![
            room.into(),
            message.seq.into(),
            message.content.clone().into(),
            message.metadata.clone().into(),
            message.edited_at.into(),
            message.deleted_at.into(),
            Value::Blob(message.digest.to_vec()),
            pack(&message.reactions).map_or(Value::Null, Value::Blob),
            message.edit_seq.into(),
            message.sent_digest.map_or(Value::Null, |digest| Value::Blob(digest.to_vec())),
            message.mentions.clone().into(),
        ],
    )
}

/// Edits of a message from this one down, each naming the one before it: `chain(at)`, at most so many.
macro_rules! edit_chain {
    ($newest:expr, $limit:literal, $rest:literal) => {
        concat!(
            "WITH RECURSIVE chain(at) AS (",
            $newest,
            " UNION ALL SELECT json_extract(data,'$.previous') FROM chain JOIN room_events ON room_id=?1 AND seq=at \
             WHERE json_extract(data,'$.previous') IS NOT NULL",
            $limit,
            ") ",
            $rest
        )
    };
}

/// Empties the edits of a message, `newest` first.
#[must_use]
pub fn forget_edits(room: RoomId, newest: u64) -> Statement {
    Statement::new(
        edit_chain!("SELECT ?2", "", "UPDATE room_events SET data=NULL WHERE room_id=?1 AND seq IN (SELECT at FROM chain)"),
        vec![room.into(), newest.into()],
    )
}

/// The message, if it is one of this room; then what its edits replaced and when, oldest first, at most a page.
#[must_use]
pub fn edits(room: RoomId, id: MessageId) -> Vec<Statement> {
    let edits = Statement::new(
        edit_chain!(
            concat!("SELECT edit_seq FROM room_messages WHERE room_id=?1 AND seq=", seq_of_id!()),
            " LIMIT ?3",
            "SELECT json_extract(data,'$.content'), created_at FROM chain JOIN room_events ON room_id=?1 AND seq=at ORDER BY seq"
        ),
        vec![room.into(), id.into(), crate::limits::PAGE_MAX.into()],
    );
    vec![message(room, id), edits]
}

/// The message with this number, if it is one.
#[must_use]
pub fn at(room: RoomId, seq: u64) -> Statement {
    Statement::new(message_query!("AND seq=?2"), vec![room.into(), seq.into()])
}

/// Messages behind `after` up to `upto`, and those that events there are about.
#[must_use]
pub fn messages_of(room: RoomId, after: u64, upto: u64) -> Statement {
    Statement::new(
        message_query!(
            "AND (seq>?2 AND seq<=?3 OR seq IN \
             (SELECT message_seq FROM room_events WHERE room_id=?1 AND seq>?2 AND seq<=?3 AND message_seq IS NOT NULL))"
        ),
        vec![room.into(), after.into(), upto.into()],
    )
}

/// The messages with these numbers.
#[must_use]
pub fn these(room: RoomId, seqs: &[u64]) -> Statement {
    let seqs = serde_json::to_string(seqs).unwrap_or_default();
    Statement::new(message_query!("AND seq IN (SELECT value FROM json_each(?2))"), vec![room.into(), seqs.into()])
}

/// Stores a bundle of keys.
#[must_use]
pub fn insert_keys(room: RoomId, last_seq: u64, sent_at: Timestamp, keys: Vec<u8>) -> Statement {
    Statement::new(
        "INSERT INTO room_keys (room_id, last_seq, sent_at, keys) VALUES (?1,?2,?3,?4)",
        vec![room.into(), last_seq.into(), sent_at.into(), Value::Blob(keys)],
    )
}

/// Forgets the bundles up to this one.
#[must_use]
pub fn delete_keys(room: RoomId, last_seq: u64) -> Statement {
    Statement::new("DELETE FROM room_keys WHERE room_id=?1 AND last_seq<=?2", vec![room.into(), last_seq.into()])
}

/// `id, seq` of the ids that are messages of this room; at most 100 parameters a statement.
#[must_use]
pub fn seqs_of(room: RoomId, ids: &[MessageId]) -> Vec<Statement> {
    ids.iter()
        .map(|id| Statement::new(concat!("SELECT ?2, seq FROM (SELECT ", seq_of_id!(), " AS seq) WHERE seq IS NOT NULL"), vec![room.into(), (*id).into()]))
        .collect()
}

/// `nth` of the newest message at or below each seq.
#[must_use]
pub fn nth_at(room: RoomId, seqs: &[u64]) -> Vec<Statement> {
    seqs.iter()
        .map(|seq| {
            Statement::new(
                "SELECT ?2, nth FROM room_messages WHERE room_id=?1 AND seq<=?2 ORDER BY seq DESC LIMIT 1",
                vec![room.into(), (*seq).into()],
            )
        })
        .collect()
}
