//! What gateways read of the people database.

use wire::{RoomId, UserId};

use super::{Statement, Value};

/// The head of a conversation as it was last projected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub generation: u64,
}

/// Heads of all conversations that `user` is a member of, at most `limit`, the most active first.
#[must_use]
pub fn heads(user: UserId, limit: usize) -> Statement {
    Statement::new(
        "SELECT m.room_id, h.seq, h.generation FROM members_by_user m JOIN conversation_heads h ON h.room_id = m.room_id \
         WHERE m.user_id = ?1 AND m.left_at IS NULL ORDER BY h.active_at DESC LIMIT ?2",
        vec![user.into(), Value::from(limit as u64)],
    )
}

/// Reads a row of [`heads`].
#[must_use]
pub fn parse_head(row: &[Value]) -> Option<(RoomId, Head)> {
    let [room, seq, generation] = row else { return None };
    let head = Head { seq: seq.as_u64()?, generation: generation.as_u64()? };
    Some((RoomId::parse(room.as_str()?)?, head))
}
