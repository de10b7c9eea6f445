//! What the server says, whatever dialect hears it.

use std::collections::BTreeMap;

use serde::Serialize;
use wire::{Conversation, Member, Message, MessageId, Reaction, RoomId, Timestamp, UserId};

use crate::error::Failure;
use crate::objects::{ContactNews, LiveEvent, Marks, Numbered, Removal, RoomEvent, Shown};

/// An event for clients.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerEvent<'a> {
    /// E-005
    Message { room: RoomId, message: &'a Message },
    /// E-036, E-038, E-040, E-042, E-043, E-044
    Changed { room: RoomId, seq: u64, event: &'a RoomEvent },
    /// E-006, E-007
    Typing { room: RoomId, user: UserId, username: &'a str, on: bool },
    /// E-009
    Read { room: RoomId, user: UserId, ids: &'a [MessageId], up_to: u64 },
    /// E-034
    Receipts { room: RoomId, user: UserId, delivered_seq: u64, read_seq: u64 },
    /// E-041
    Created { conversation: &'a Conversation },
    /// E-045
    Dismissed { room: RoomId, reason: Removal },
    /// E-011
    OnlineList { users: &'a [UserId] },
    /// E-012, E-013
    Presence { user: UserId, online: bool },
    /// E-054
    PresenceState { user: UserId, shown: &'a Shown },
    /// E-051, E-052
    Contact { news: &'a ContactNews },
    /// E-047
    Reset { room: RoomId, head: u64, reason: &'a str },
    /// E-048
    Expiring { at: Timestamp },
    /// E-050
    Revoked { reason: &'a str },
    /// E-056
    Draining { reconnect_after_ms: u64 },
    /// E-057
    Heartbeat,
    /// E-059
    Error { failure: &'a Failure, event: &'a str },
}

impl<'a> ServerEvent<'a> {
    /// A durable event of a conversation.
    #[must_use]
    pub fn durable(room: RoomId, numbered: &'a Numbered) -> Self {
        match &numbered.event {
            RoomEvent::Message { message } => Self::Message { room, message },
            event => Self::Changed { room, seq: numbered.seq, event },
        }
    }

    /// An event of a conversation that takes no number.
    #[must_use]
    pub fn live(room: RoomId, event: &'a LiveEvent) -> Self {
        match event {
            LiveEvent::Typing { user, username, on } => Self::Typing { room, user: *user, username, on: *on },
            LiveEvent::Read { user, ids, up_to } => Self::Read { room, user: *user, ids, up_to: *up_to },
            LiveEvent::Created { conversation, .. } => Self::Created { conversation },
            LiveEvent::Dismissed { reason, .. } => Self::Dismissed { room, reason: *reason },
            LiveEvent::For { event, .. } => Self::live(room, event),
            LiveEvent::Receipts { user, delivered_seq, read_seq } => {
                Self::Receipts { room, user: *user, delivered_seq: *delivered_seq, read_seq: *read_seq }
            }
        }
    }
}

/// What an acknowledgement says.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<'a> {
    /// Nothing more than success.
    Done,
    /// E-002
    Joined { room: RoomId, seq: u64, read_seq: u64, members: &'a [Member] },
    /// E-004, E-035
    Sent { message: &'a Message },
    /// E-039
    Reacted { reactions: &'a [Reaction] },
    /// E-008
    Marked { read_seq: u64 },
    /// E-010
    Online { users: &'a [UserId] },
    /// E-046
    Resumed(&'a Resumed),
    /// E-049
    Renewed { expires: Timestamp },
    /// Every failure.
    Refused(&'a Failure),
}

/// The end of a `sync:resume`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Resumed {
    /// Head of every conversation of the user.
    pub heads: BTreeMap<RoomId, u64>,
    /// Cut-off conversations with the last seq that was sent: not subscribed.
    pub more: BTreeMap<RoomId, u64>,
    /// Named conversations that are not the user's.
    pub removed: Vec<RoomId>,
    pub generations: BTreeMap<RoomId, u64>,
    /// Only of named conversations.
    pub marks: BTreeMap<RoomId, RoomMarks>,
}

/// Watermarks of one conversation in a resume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoomMarks {
    pub read_seq: u64,
    /// Empty in large conversations.
    pub members: Vec<Marks>,
}

impl Serialize for RoomMarks {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;

        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct One {
            delivered_seq: u64,
            read_seq: u64,
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("readSeq", &self.read_seq)?;
        if !self.members.is_empty() {
            let one = |marks: &Marks| One { delivered_seq: marks.delivered_seq, read_seq: marks.read_seq };
            let members: BTreeMap<UserId, One> = self.members.iter().map(|marks| (marks.user, one(marks))).collect();
            map.serialize_entry("members", &members)?;
        }
        map.end()
    }
}
