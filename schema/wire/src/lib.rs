//! The wire contract as types: ids, common objects, error codes, and the internal event rows.
//!
//! Shapes are those of contract section 3. This crate knows no protocol, no host and no storage.

mod code;
mod id;
mod object;
mod time;

pub use code::ErrorCode;
pub use id::{uuid_v7, MessageId, RoomId, SessionId, UserId};
pub use object::{
    Attachment, CallSummary, Conversation, ConversationType, Member, MemberRole, Message, MessageKind, OwnUser,
    PublicUser, Reaction, UserRow,
};
pub use time::Timestamp;
