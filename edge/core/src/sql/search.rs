//! The index of messages in the people database (`schema/migrations/people/0005_message_index.sql`): what Rooms write into
//! it, and what handlers find there.

use wire::{RoomId, Timestamp, UserId};

use super::{Statement, Value};
use crate::limits;

/// Enters events behind `after` up to `upto`; `messages` is JSON, a list of `[seq, sender_id, kind, created_at, content]`.
/// Changes nothing when the index is further already, or not as far as `after`.
#[must_use]
pub fn enter(room: RoomId, after: u64, upto: u64, messages: String) -> Statement {
    Statement::new(
        "INSERT INTO message_batches (room_id, after, upto, messages) VALUES (?1,?2,?3,?4)",
        vec![room.into(), after.into(), upto.into(), messages.into()],
    )
}

/// How far a room is in the index. Row: `upto`.
#[must_use]
pub fn entered(room: RoomId) -> Statement {
    Statement::new("SELECT upto FROM message_rooms WHERE room_id=?1", vec![room.into()])
}

/// Conversations of a person whose newest events are not in the index, although there was time. Row: `room_id`.
#[must_use]
pub fn behind(user: UserId, now: Timestamp) -> Statement {
    Statement::new(
        "SELECT m.room_id FROM members_by_user m CROSS JOIN conversation_heads h ON h.room_id=m.room_id \
         LEFT JOIN message_rooms i ON i.room_id=m.room_id WHERE m.user_id=?1 AND m.left_at IS NULL AND h.seq>0 \
         AND (i.upto IS NULL OR i.upto<h.seq) AND h.active_at<?2 LIMIT ?3",
        vec![user.into(), Timestamp(now.0.saturating_sub(limits::INDEX_LATE_MS)).into(), limits::INDEX_WAKES.into()],
    )
}

/// What a message must be to be found. Texts are folded ([`crate::search::fold`]).
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Every message contains it.
    pub text: String,
    /// Every message contains all of these too: JSON, a list of texts.
    pub texts: Option<String>,
    /// No message contains it.
    pub without: Option<String>,
    pub room: Option<RoomId>,
    pub from: Option<UserId>,
    /// Only this kind.
    pub kind: Option<&'static str>,
    /// Only messages with a link.
    pub link: bool,
    pub before: Option<Timestamp>,
    pub after: Option<Timestamp>,
    /// Only what comes behind this message of an earlier page: its time and its id in the index.
    pub behind: Option<(u64, u64)>,
}

impl Wanted {
    fn params(&self, user: UserId, limit: u64, more: Value) -> Vec<Value> {
        vec![
            user.into(),
            self.text.as_str().into(),
            self.texts.clone().into(),
            self.without.clone().into(),
            self.room.into(),
            self.from.into(),
            self.kind.map(str::to_owned).into(),
            self.link.into(),
            self.before.into(),
            self.after.into(),
            self.behind.map(|(at, _)| at).into(),
            self.behind.map(|(_, id)| id).into(),
            limit.into(),
            more,
        ]
    }
}

/// The conditions on a message `c`, in the order in which they are looked at: the cheapest first.
macro_rules! matching {
    () => {
        "(?6 IS NULL OR c.sender_id=?6) AND (?7 IS NULL OR c.kind=?7) \
         AND (?9 IS NULL OR c.created_at<?9) AND (?10 IS NULL OR c.created_at>?10) \
         AND (?11 IS NULL OR (c.created_at, c.id)<(?11, ?12)) AND instr(c.content, ?2)>0 AND (?4 IS NULL OR instr(c.content, ?4)=0) \
         AND (?8=0 OR instr(c.content, 'http://')>0 OR instr(c.content, 'https://')>0) \
         AND (?3 IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(?3) t WHERE instr(c.content, t.value)=0)) "
    };
}

/// How many messages of all conversations an expression of the full text finds, counted up to
/// [`limits::SEARCH_CANDIDATES`] and one more. Row: the number.
#[must_use]
pub fn candidates(expression: &str) -> Statement {
    Statement::new(
        "SELECT count(*) FROM (SELECT 1 FROM message_fts WHERE message_fts MATCH ?1 LIMIT ?2)",
        vec![expression.into(), (limits::SEARCH_CANDIDATES + 1).into()],
    )
}

/// Groups of three characters in any message that begin with these two, up to [`limits::SEARCH_GROUPS`] and one more. Row: a
/// group.
#[must_use]
pub fn groups(two: &str) -> Statement {
    Statement::new(
        "SELECT term FROM message_groups WHERE term>=?1 AND term<?1||char(1114111) LIMIT ?2",
        vec![two.into(), (limits::SEARCH_GROUPS + 1).into()],
    )
}

/// Finds, newest first, through the full text: for expressions that few messages match. Row: `room_id, seq, created_at, id,
/// name` (of the conversation).
#[must_use]
pub fn found(user: UserId, wanted: &Wanted, limit: u64, expression: String) -> Statement {
    Statement::new(
        concat!(
            "WITH mine(ordinal) AS MATERIALIZED (SELECT i.ordinal FROM members_by_user m \
             CROSS JOIN message_rooms i ON i.room_id=m.room_id \
             WHERE m.user_id=?1 AND m.left_at IS NULL AND (?5 IS NULL OR m.room_id=?5)) \
             SELECT r.room_id, c.id & 4294967295, c.created_at, c.id, \
             (SELECT name FROM conversation_heads WHERE room_id=r.room_id) \
             FROM (SELECT rowid AS id FROM message_fts WHERE message_fts MATCH ?14 UNION ALL SELECT id FROM message_tail) f \
             CROSS JOIN message_index c ON c.id=f.id CROSS JOIN message_rooms r ON r.ordinal=f.id>>32 \
             WHERE f.id>>32 IN (SELECT ordinal FROM mine) AND ",
            matching!(),
            "ORDER BY c.created_at DESC, c.id DESC LIMIT ?13"
        ),
        wanted.params(user, limit, expression.into()),
    )
}

/// What there is to read through. Row: conversations, and events in them (about as many as messages).
#[must_use]
pub fn extent(user: UserId, room: Option<RoomId>) -> Statement {
    Statement::new(
        "SELECT count(*), coalesce(sum(i.upto), 0) FROM members_by_user m CROSS JOIN message_rooms i ON i.room_id=m.room_id \
         WHERE m.user_id=?1 AND m.left_at IS NULL AND (?2 IS NULL OR m.room_id=?2)",
        vec![user.into(), room.into()],
    )
}

/// Which of the caller's conversations.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    All,
    /// This many, those with the newest messages.
    Newest(u64),
    /// Those with messages since then.
    Since(Timestamp),
}

/// As [`found`], by reading the caller's conversations from their ends, each until it gave enough: for what is in many
/// messages, or too short for the full text.
#[must_use]
pub fn read_through(user: UserId, wanted: &Wanted, limit: u64, part: Part) -> Statement {
    macro_rules! query {
        ($kind:literal) => {
            concat!(
                "WITH mine(room_id, ordinal, name) AS MATERIALIZED (SELECT m.room_id, i.ordinal, h.name FROM members_by_user m \
                 CROSS JOIN message_rooms i ON i.room_id=m.room_id LEFT JOIN conversation_heads h ON h.room_id=m.room_id \
                 WHERE m.user_id=?1 AND m.left_at IS NULL AND (?5 IS NULL OR m.room_id=?5) \
                 AND (?14 IS NULL OR h.active_at>=?14) ORDER BY h.active_at DESC LIMIT ?15) \
                 SELECT r.room_id, x.id & 4294967295, x.created_at, x.id, r.name \
                 FROM mine r CROSS JOIN message_index x ON x.id IN (SELECT c.id FROM message_index c \
                 WHERE c.id BETWEEN r.ordinal*4294967296 AND r.ordinal*4294967296+4294967295 AND ",
                $kind,
                matching!(),
                "ORDER BY c.id DESC LIMIT ?13) ORDER BY x.created_at DESC, x.id DESC LIMIT ?13"
            )
        };
    }
    let (since, rooms) = match part {
        Part::All => (None, None),
        Part::Newest(rooms) => (None, Some(rooms)),
        Part::Since(time) => (Some(time), None),
    };
    let mut params = wanted.params(user, limit, since.into());
    params.push(rooms.map_or(Value::Integer(-1), Into::into));
    let query = if wanted.kind.is_some() { query!("c.kind=?7 AND c.kind<>'text' AND ") } else { query!("") };
    Statement::new(query, params)
}
