//! What the conversation list and new conversations need of accounts, pairs and projections.

use super::{RoomId, Statement, Timestamp, UserId, id_list, limits};

/// A place in the list, newest activity first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPosition {
    pub active_at: Timestamp,
    /// Rows of the same time go by id; `None` leaves all of them out.
    pub room: Option<RoomId>,
}

/// The conversations of a person behind `before`, or only `room`. Row: `room_id, type, name, avatar_url, created_by,
/// created_at, seq, unread, last_message, active_at, members, muted_until, mentions`. Mentions are counted among the newest
/// 10,000 messages.
#[must_use]
pub fn conversations(user: UserId, before: Option<ListPosition>, room: Option<RoomId>, limit: u64) -> Statement {
    Statement::new(
        "SELECT h.room_id, h.type, h.name, h.avatar_url, h.created_by, h.created_at, h.seq, \
         CASE WHEN h.last_sender=?1 THEN 0 ELSE max(h.message_count-m.read_count,0) END, h.last_message, h.active_at, \
         (SELECT count(*) FROM members_by_user o WHERE o.room_id=h.room_id AND o.left_at IS NULL), m.muted_until, \
         CASE WHEN h.last_sender=?1 THEN 0 ELSE (SELECT count(*) FROM mentions n WHERE n.room_id=h.room_id \
         AND n.nth>max(m.read_count,h.message_count-10000) AND n.sender<>?1 \
         AND (n.everybody OR instr(n.users,?1)>0)) END FROM members_by_user m JOIN conversation_heads h ON h.room_id=m.room_id \
         WHERE m.user_id=?1 AND m.left_at IS NULL \
         AND (?5 IS NULL OR m.room_id=?5) AND (?2 IS NULL OR h.active_at<?2 OR (h.active_at=?2 AND h.room_id<?3)) \
         ORDER BY h.active_at DESC, h.room_id DESC LIMIT ?4",
        vec![
            user.into(),
            before.map(|position| position.active_at).into(),
            before.and_then(|position| position.room).into(),
            limit.into(),
            room.into(),
        ],
    )
}

/// The conversations of a person, newest activity first, at most `most`. Row: `room_id`.
#[must_use]
pub fn rooms_of(user: UserId, most: u64) -> Statement {
    Statement::new(
        "SELECT m.room_id FROM members_by_user m JOIN conversation_heads h ON h.room_id=m.room_id \
         WHERE m.user_id=?1 AND m.left_at IS NULL ORDER BY h.active_at DESC LIMIT ?2",
        vec![user.into(), most.into()],
    )
}

/// Members of conversations as `viewer` may see them: of people who blocked the viewer and of disabled accounts only the
/// name. Row: `room_id, id, username, display_name, avatar_url, status, role, joined_at, delivered_seq, read_seq`;
/// the last is 0 of people who are without read marks, and for them (G-20).
#[must_use]
pub fn members(rooms: &[RoomId], viewer: UserId) -> Statement {
    Statement::new(
        "SELECT m.room_id, u.id, u.username, u.display_name, \
         CASE WHEN u.disabled_at IS NULL AND b.user_id IS NULL THEN u.avatar_url END, \
         CASE WHEN u.disabled_at IS NULL AND b.user_id IS NULL THEN u.status_text ELSE '' END, \
         m.role, m.joined_at, m.delivered_seq, CASE WHEN u.id=?2 OR (u.read_receipts \
         AND (SELECT read_receipts FROM users WHERE id=?2)) THEN m.read_seq ELSE 0 END \
         FROM json_each(?1) r JOIN members_by_user m ON m.room_id=r.value JOIN users u ON u.id=m.user_id \
         LEFT JOIN contacts b ON b.user_id=u.id AND b.other_id=?2 AND b.status='blocked' \
         WHERE m.left_at IS NULL ORDER BY r.key, m.joined_at, m.role<>'owner', m.user_id LIMIT ?3",
        vec![id_list(rooms), viewer.into(), (limits::LIST_MEMBERS + limits::CONVERSATION_MEMBERS as u64).into()],
    )
}

/// Profiles as `viewer` may see them. Row: `id, username, display_name, avatar_url, status`.
#[must_use]
pub fn profiles(users: &[UserId], viewer: UserId) -> Statement {
    Statement::new(
        "SELECT u.id, u.username, u.display_name, \
         CASE WHEN u.disabled_at IS NULL AND b.user_id IS NULL THEN u.avatar_url END, \
         CASE WHEN u.disabled_at IS NULL AND b.user_id IS NULL THEN u.status_text ELSE '' END \
         FROM json_each(?1) r JOIN users u ON u.id=r.value \
         LEFT JOIN contacts b ON b.user_id=u.id AND b.other_id=?2 AND b.status='blocked'",
        vec![id_list(users), viewer.into()],
    )
}

/// People whom `me` wants in a conversation (`me` may be among them). Row: `id, username, display_name, avatar_url, status,
/// disabled, mine, theirs, read_receipts`; `mine` and `theirs` are the states of both sides of the contact, or null.
#[must_use]
pub fn people(users: &[UserId], me: UserId) -> Statement {
    Statement::new(
        "SELECT u.id, u.username, u.display_name, u.avatar_url, u.status_text, u.disabled_at IS NOT NULL, \
         mine.status, theirs.status, u.read_receipts FROM json_each(?1) r JOIN users u ON u.id=r.value \
         LEFT JOIN contacts mine ON mine.user_id=?2 AND mine.other_id=u.id \
         LEFT JOIN contacts theirs ON theirs.user_id=u.id AND theirs.other_id=?2",
        vec![id_list(users), me.into()],
    )
}

/// The conversation of two people, and who opened it. Row: `room_id, created_by`.
#[must_use]
pub fn pair(one: UserId, other: UserId) -> Statement {
    Statement::new(
        "SELECT room_id, created_by FROM direct_pairs WHERE low=?1 AND high=?2",
        vec![one.min(other).into(), one.max(other).into()],
    )
}

/// Claims the pair for a new conversation, unless it has one.
#[must_use]
pub fn insert_pair(by: UserId, other: UserId, room: RoomId, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO direct_pairs (low, high, room_id, created_by, created_at) VALUES (?1,?2,?3,?4,?5) \
         ON CONFLICT DO NOTHING",
        vec![by.min(other).into(), by.max(other).into(), room.into(), by.into(), now.into()],
    )
}
