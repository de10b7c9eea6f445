//! Common objects (contract section 3). Rows are snake_case in `chatcall`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{MessageId, RoomId, Timestamp, UserId};

/// What other people see of a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublicUser {
    pub id: UserId,
    pub username: String,
    pub display_name: String,
    pub avatar_url: Option<String>,
    pub status: String,
}

/// The own record: R-04 and `user` of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnUser {
    pub id: UserId,
    pub username: String,
    pub display_name: String,
    pub avatar_url: Option<String>,
    pub status: String,
    pub email: Option<String>,
    pub bio: String,
    pub created_at: Timestamp,
    pub presence: String,
    pub role: String,
}

/// A short user row: search results, pending requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserRow {
    pub id: UserId,
    pub username: String,
    pub avatar_url: Option<String>,
    pub status: String,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    Text,
    Image,
    File,
    /// `audio` is accepted for it (C-11).
    #[serde(alias = "audio")]
    Voice,
    /// Written by the server only.
    System,
}

/// One emoji on a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reaction {
    pub emoji: String,
    pub count: u32,
    pub user_ids: Vec<UserId>,
    pub me: bool,
}

/// A file named by a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    pub id: String,
    pub name: String,
    pub mime: String,
    pub bytes: u64,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub duration_ms: Option<u64>,
    pub waveform: Option<Value>,
    pub blurhash: Option<String>,
    pub sha256: String,
    pub url: String,
    pub thumb_url: Option<String>,
}

/// A message as REST row; E-005 repeats `conversation_id` as `conversationId`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    pub conversation_id: RoomId,
    pub seq: u64,
    pub client_id: Option<String>,
    /// `None` when the server wrote it or the account is gone.
    pub sender_id: Option<UserId>,
    pub sender_username: String,
    pub sender_avatar_url: Option<String>,
    pub content: String,
    #[serde(rename = "type")]
    pub kind: MessageKind,
    pub file_url: Option<String>,
    pub attachments: Vec<Attachment>,
    pub reply_to: Option<MessageId>,
    pub reactions: Vec<Reaction>,
    pub read_by: Vec<UserId>,
    pub created_at: Timestamp,
    pub edited_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub metadata: Option<Value>,
}

/// Kind of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConversationType {
    Direct,
    Group,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    Owner,
    Admin,
    Member,
}

/// A member of a conversation, with watermarks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub id: UserId,
    pub username: String,
    pub display_name: String,
    pub avatar_url: Option<String>,
    pub status: String,
    pub role: MemberRole,
    pub joined_at: Timestamp,
    pub delivered_seq: u64,
    pub read_seq: u64,
}

/// The running call of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallSummary {
    #[serde(rename = "callId")]
    pub call_id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub participants: u32,
}

/// A field that is there, be it null.
fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// A conversation. The list adds `lastMessage` and `unreadCount`; POST and PATCH leave them out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    pub id: RoomId,
    #[serde(rename = "type")]
    pub kind: ConversationType,
    pub name: Option<String>,
    pub avatar_url: Option<String>,
    pub created_by: Option<UserId>,
    pub created_at: Timestamp,
    pub seq: u64,
    pub members: Vec<Member>,
    #[serde(rename = "lastMessage", default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub last_message: Option<Option<Message>>,
    #[serde(rename = "unreadCount", default, skip_serializing_if = "Option::is_none")]
    pub unread_count: Option<u64>,
    #[serde(rename = "mentionCount", default)]
    pub mention_count: u64,
    #[serde(rename = "mutedUntil", default)]
    pub muted_until: Option<Timestamp>,
    #[serde(rename = "activeCall", default)]
    pub active_call: Option<CallSummary>,
}
