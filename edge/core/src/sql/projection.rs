//! Rows of the people database that objects write (`schema/migrations/people`: projections, presence). Idempotent: an
//! older version never replaces a newer one.

use wire::{ConversationType, MemberRole, RoomId, Timestamp, UserId};

use super::{Statement, Value};
use crate::objects::{Level, Removal};

/// A row of `conversation_heads`; its version is `seq`.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    pub room: RoomId,
    pub kind: ConversationType,
    pub name: Option<&'a str>,
    pub avatar_url: Option<&'a str>,
    pub created_by: Option<UserId>,
    pub created_at: Timestamp,
    pub generation: u64,
    pub seq: u64,
    pub message_count: u64,
    pub last_sender: Option<UserId>,
    /// wire Message as JSON.
    pub last_message: Option<String>,
    pub active_at: Timestamp,
}

impl Head<'_> {
    /// The upsert.
    #[must_use]
    pub fn upsert(self) -> Statement {
        Statement::new(
            "INSERT INTO conversation_heads (room_id, version, type, name, avatar_url, created_by, created_at, generation, \
             seq, message_count, last_sender, last_message, active_at) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13) \
             ON CONFLICT (room_id) DO UPDATE SET version=?2, type=?3, name=?4, avatar_url=?5, created_by=?6, created_at=?7, \
             generation=?8, seq=?9, message_count=?10, last_sender=?11, last_message=?12, active_at=?13 \
             WHERE ?8 > generation OR (?8 = generation AND ?2 >= version)",
            vec![
                self.room.into(),
                self.seq.into(),
                type_word(self.kind).into(),
                self.name.map(str::to_owned).into(),
                self.avatar_url.map(str::to_owned).into(),
                self.created_by.into(),
                self.created_at.into(),
                self.generation.into(),
                self.seq.into(),
                self.message_count.into(),
                self.last_sender.into(),
                self.last_message.into(),
                self.active_at.into(),
            ],
        )
    }
}

/// A row of `members_by_user`.
#[derive(Debug, Clone)]
pub struct MemberRow {
    pub user: UserId,
    pub room: RoomId,
    pub version: u64,
    pub role: MemberRole,
    pub joined_at: Timestamp,
    pub left_at: Option<Timestamp>,
    pub delivered_seq: u64,
    pub read_seq: u64,
    pub read_count: u64,
    pub muted_until: Option<Timestamp>,
    pub level: Level,
}

impl MemberRow {
    /// The upsert.
    #[must_use]
    pub fn upsert(self) -> Statement {
        Statement::new(
            "INSERT INTO members_by_user (user_id, room_id, version, role, joined_at, left_at, delivered_seq, read_seq, \
             read_count, muted_until, level) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11) ON CONFLICT (user_id, room_id) \
             DO UPDATE SET version=?3, role=?4, joined_at=?5, left_at=?6, delivered_seq=?7, read_seq=?8, read_count=?9, \
             muted_until=?10, level=?11 WHERE ?3 >= version",
            vec![
                self.user.into(),
                self.room.into(),
                self.version.into(),
                role_word(self.role).into(),
                self.joined_at.into(),
                self.left_at.into(),
                self.delivered_seq.into(),
                self.read_seq.into(),
                self.read_count.into(),
                self.muted_until.into(),
                level_word(self.level).into(),
            ],
        )
    }
}

/// A row of `contacts`: `user`'s side of the pair.
#[must_use]
pub fn contact(user: UserId, other: UserId, version: u64, status: &str, created_at: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO contacts (user_id, other_id, version, status, created_at) VALUES (?1,?2,?3,?4,?5) \
         ON CONFLICT (user_id, other_id) DO UPDATE SET version=?3, status=?4, created_at=?5 WHERE ?3 >= version",
        vec![user.into(), other.into(), version.into(), status.into(), created_at.into()],
    )
}

/// What people who may watch `user` see: the state's word, and since when the person is gone.
#[must_use]
pub fn presence(user: UserId, version: u64, state: &'static str, last_seen_at: Option<Timestamp>) -> Statement {
    Statement::new(
        "INSERT INTO presence (user_id, version, state, last_seen_at) VALUES (?1,?2,?3,?4) \
         ON CONFLICT (user_id) DO UPDATE SET version=?2, state=?3, last_seen_at=?4 WHERE ?2 >= version",
        vec![user.into(), version.into(), state.into(), last_seen_at.map(|at| at.0).into()],
    )
}

/// A row of `mentions`: message `nth` of a room mentions these users (JSON), or everybody.
#[must_use]
pub fn mention(room: RoomId, nth: u64, sender: Option<UserId>, everybody: bool, users: String) -> Statement {
    Statement::new(
        "INSERT INTO mentions (room_id, nth, sender, everybody, users) VALUES (?1,?2,?3,?4,?5) \
         ON CONFLICT (room_id, nth) DO UPDATE SET sender=?3, everybody=?4, users=?5",
        vec![room.into(), nth.into(), sender.into(), everybody.into(), Value::Text(users)],
    )
}

/// What is projected of a room, to compare after a start: the head's version, `user_id, version` of members, the newest
/// message with a mention, and `upto` of the search index.
#[must_use]
pub fn projected(room: RoomId) -> Vec<Statement> {
    vec![
        Statement::new("SELECT generation, version FROM conversation_heads WHERE room_id=?1", vec![room.into()]),
        Statement::new("SELECT user_id, version FROM members_by_user WHERE room_id=?1", vec![room.into()]),
        Statement::new("SELECT max(nth) FROM mentions WHERE room_id=?1", vec![room.into()]),
        super::search::entered(room),
    ]
}

/// Whom a user may see (C-19): accepted contacts and members of shared conversations of at most `max_members`, without
/// people on whom either side put a block.
#[must_use]
pub fn sees(user: UserId, max_members: usize) -> Statement {
    Statement::new(
        "SELECT other_id FROM (\
         SELECT other_id FROM contacts WHERE user_id=?1 AND status='accepted' \
         UNION SELECT theirs.user_id FROM members_by_user mine JOIN members_by_user theirs ON theirs.room_id=mine.room_id \
         WHERE mine.user_id=?1 AND mine.left_at IS NULL AND theirs.left_at IS NULL AND theirs.user_id<>?1 \
         AND (SELECT count(*) FROM members_by_user WHERE room_id=mine.room_id AND left_at IS NULL)<=?2) \
         WHERE other_id NOT IN (SELECT user_id FROM contacts WHERE other_id=?1 AND status='blocked') \
         AND other_id NOT IN (SELECT other_id FROM contacts WHERE user_id=?1 AND status='blocked') ORDER BY other_id",
        vec![user.into(), (max_members as u64).into()],
    )
}

/// The conversation of a direct pair.
#[must_use]
pub fn direct_room(one: UserId, other: UserId) -> Statement {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    Statement::new("SELECT room_id FROM direct_pairs WHERE low=?1 AND high=?2", vec![low.into(), high.into()])
}

/// The stored word of a conversation type.
#[must_use]
pub fn type_word(kind: ConversationType) -> &'static str {
    match kind {
        ConversationType::Direct => "direct",
        ConversationType::Group => "group",
    }
}

/// The inverse of [`type_word`].
#[must_use]
pub fn type_from(word: &str) -> Option<ConversationType> {
    match word {
        "direct" => Some(ConversationType::Direct),
        "group" => Some(ConversationType::Group),
        _ => None,
    }
}

/// The stored word of a role.
#[must_use]
pub fn role_word(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Owner => "owner",
        MemberRole::Admin => "admin",
        MemberRole::Member => "member",
    }
}

/// The inverse of [`role_word`].
#[must_use]
pub fn role_from(word: &str) -> Option<MemberRole> {
    match word {
        "owner" => Some(MemberRole::Owner),
        "admin" => Some(MemberRole::Admin),
        "member" => Some(MemberRole::Member),
        _ => None,
    }
}

/// The stored word of what a member wants to be told of.
#[must_use]
pub fn level_word(level: Level) -> &'static str {
    match level {
        Level::All => "all",
        Level::Mentions => "mentions",
        Level::None => "none",
    }
}

/// The inverse of [`level_word`].
#[must_use]
pub fn level_from(word: &str) -> Option<Level> {
    [Level::All, Level::Mentions, Level::None].into_iter().find(|level| level_word(*level) == word)
}

/// The stored word of why somebody is no longer a member.
#[must_use]
pub fn removal_word(reason: Removal) -> &'static str {
    match reason {
        Removal::Left => "left",
        Removal::Removed => "removed",
        Removal::Deleted => "deleted",
    }
}

/// The inverse of [`removal_word`].
#[must_use]
pub fn removal_from(word: &str) -> Removal {
    match word {
        "left" => Removal::Left,
        "deleted" => Removal::Deleted,
        _ => Removal::Removed,
    }
}
