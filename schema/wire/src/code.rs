//! Error codes (contract 2.3). `edge-core`'s `error.rs` alone maps them to statuses and sentences.

use serde::{Deserialize, Serialize};

/// The stable code a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // the contract's table is the documentation
pub enum ErrorCode {
    InvalidData,
    PasswordTooLong,
    PasswordTooCommon,
    Unauthorized,
    AuthRequired,
    TokenExpired,
    RefreshReused,
    PermissionDenied,
    ReauthRequired,
    Blocked,
    NotAMember,
    NotFound,
    UserNotFound,
    MethodNotAllowed,
    Conflict,
    CallInProgress,
    AlreadyAnswered,
    StaleEpoch,
    PayloadTooLarge,
    UnsupportedMediaType,
    RateLimited,
    MessageSendFailed,
    CallFailed,
    UserUnavailable,
    UserNotConnected,
    NodeUnavailable,
    InternalError,
}
