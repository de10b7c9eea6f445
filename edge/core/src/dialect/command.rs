//! What a client wants, whatever dialect it speaks.

use std::collections::BTreeMap;

use wire::{MessageId, RoomId};

use crate::objects::{MessageChange, NewMessage, PresenceState, ReadUpTo};

/// A checked event of a client.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// E-002
    Join { room: RoomId },
    /// E-003
    Leave { room: RoomId },
    /// E-004
    Send { room: RoomId, message: NewMessage },
    /// E-035, E-037, E-039
    Change { room: RoomId, message: MessageId, change: MessageChange },
    /// E-006, E-007
    Typing { room: RoomId, on: bool },
    /// E-008
    MarkRead { room: RoomId, up_to: ReadUpTo },
    /// E-033
    MarkDelivered { room: RoomId, up_to: u64 },
    /// E-010
    GetOnline,
    /// E-053; an empty text clears it, `None` leaves it.
    SetPresence { state: PresenceState, text: Option<String> },
    /// E-046
    Resume(Cursors),
    /// E-049
    Renew { token: String },
    /// E-057
    Heartbeat,
}

/// What a client holds of its conversations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursors {
    /// Conversation and last seq, in the order of the request's ids. Empty: subscribe from the heads.
    pub cursors: Vec<(RoomId, u64)>,
    pub generations: BTreeMap<RoomId, u64>,
}
