//! The one error table: code -> HTTP status, sentence, shape by path prefix, close code. No other file names one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wire::{ErrorCode, Timestamp};

/// What a client may read of an error (contract section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: ErrorCode,
    /// A sentence for people; the table's when `None`.
    #[serde(default)]
    pub message: Option<String>,
    /// First bad field (400) or taken field (409).
    #[serde(default)]
    pub field: Option<String>,
    /// Seconds (429, 503).
    #[serde(default)]
    pub retry_after: Option<u64>,
    /// Bytes or characters that would have been allowed (413).
    #[serde(default)]
    pub limit: Option<u64>,
}

impl Failure {
    /// The bare code.
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        Self { code, message: None, field: None, retry_after: None, limit: None }
    }

    /// `INVALID_DATA` for `field`, with a sentence that says what is expected.
    #[must_use]
    pub fn invalid(field: &str, message: &str) -> Self {
        Self { message: Some(message.to_owned()), field: Some(field.to_owned()), ..Self::new(ErrorCode::InvalidData) }
    }

    /// `CONFLICT` because of `field`.
    #[must_use]
    pub fn conflict(field: &str, message: &str) -> Self {
        Self { message: Some(message.to_owned()), field: Some(field.to_owned()), ..Self::new(ErrorCode::Conflict) }
    }

    /// `RATE_LIMITED` for `ms` more milliseconds.
    #[must_use]
    pub fn rate_limited(ms: u64) -> Self {
        Self { retry_after: Some(ms.div_ceil(1000).max(1)), ..Self::new(ErrorCode::RateLimited) }
    }

    /// Replaces the sentence.
    #[must_use]
    pub fn saying(mut self, message: &str) -> Self {
        self.message = Some(message.to_owned());
        self
    }

    /// The sentence.
    #[must_use]
    pub fn sentence(&self) -> &str {
        self.message.as_deref().unwrap_or_else(|| sentence(self.code))
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        status(self.code)
    }

    /// `{"code","message","retryAfter"?,"field"?}` as in acks (`{"error":…}`) and E-059.
    #[must_use]
    pub fn to_socket(&self) -> Value {
        let mut map = Map::new();
        map.insert("code".into(), json!(self.code));
        map.insert("message".into(), json!(self.sentence()));
        self.extras(&mut map);
        Value::Object(map)
    }

    /// Body of a REST error in the shape of the path's prefix (C-28).
    #[must_use]
    pub fn to_body(&self, shape: Shape, now: Timestamp) -> Value {
        let (code, text) = (json!(self.code), self.sentence());
        let mut body = match shape {
            Shape::Chatcall => json!({"error": text, "code": code, "message": text}),
            Shape::Samwaad => {
                json!({"statusCode": self.status(), "message": text, "error": reason_phrase(self.status()), "code": code})
            }
            Shape::Meet => json!({"success": false, "error": {"code": code, "message": text}}),
            Shape::Django => json!({"error": text, "code": self.status(), "timestamp": now, "reason": code}),
        };
        if let Value::Object(map) = &mut body {
            self.extras(map);
        }
        body
    }

    fn extras(&self, map: &mut Map<String, Value>) {
        if let Some(field) = &self.field {
            map.insert("field".into(), json!(field));
        }
        if let Some(seconds) = self.retry_after {
            map.insert("retryAfter".into(), json!(seconds));
        }
        if let Some(limit) = self.limit {
            map.insert("limit".into(), json!(limit));
        }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

/// Error shape of a path prefix (contract 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Chatcall,
    Samwaad,
    Meet,
    Django,
}

impl Shape {
    /// Prefixes match whole path segments: `/api/chats` is not `/api/chat`.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let under = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if under("/api/v1") {
            Self::Samwaad
        } else if under("/api/messages") {
            Self::Meet
        } else if ["/api/chat", "/api/calls", "/health", "/api/info"].into_iter().any(under) {
            Self::Django
        } else {
            Self::Chatcall
        }
    }
}

fn status(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::InvalidData | ErrorCode::PasswordTooLong | ErrorCode::PasswordTooCommon => 400,
        ErrorCode::Unauthorized | ErrorCode::AuthRequired | ErrorCode::TokenExpired | ErrorCode::RefreshReused => 401,
        ErrorCode::PermissionDenied | ErrorCode::ReauthRequired | ErrorCode::Blocked | ErrorCode::NotAMember => 403,
        ErrorCode::NotFound | ErrorCode::UserNotFound => 404,
        ErrorCode::MethodNotAllowed => 405,
        ErrorCode::Conflict
        | ErrorCode::CallInProgress
        | ErrorCode::AlreadyAnswered
        | ErrorCode::StaleEpoch
        | ErrorCode::UserUnavailable
        | ErrorCode::UserNotConnected => 409,
        ErrorCode::PayloadTooLarge => 413,
        ErrorCode::UnsupportedMediaType => 415,
        ErrorCode::RateLimited => 429,
        ErrorCode::InternalError => 500,
        ErrorCode::CallFailed => 502,
        ErrorCode::MessageSendFailed | ErrorCode::NodeUnavailable => 503,
    }
}

fn sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidData => "The request is not valid",
        ErrorCode::PasswordTooLong => "The password is longer than 72 bytes",
        ErrorCode::PasswordTooCommon => "This password is too common",
        ErrorCode::Unauthorized => "Authentication failed",
        ErrorCode::AuthRequired => "Authentication is required",
        ErrorCode::TokenExpired => "The token has expired",
        ErrorCode::RefreshReused => "This session has ended",
        ErrorCode::PermissionDenied => "You may not do this",
        ErrorCode::ReauthRequired => "Please confirm with your current password",
        ErrorCode::Blocked => "You have blocked this person",
        ErrorCode::NotAMember => "Not a member of this conversation",
        ErrorCode::NotFound => "Not found",
        ErrorCode::UserNotFound => "No such user",
        ErrorCode::MethodNotAllowed => "This method is not allowed here",
        ErrorCode::Conflict => "This conflicts with what exists",
        ErrorCode::CallInProgress => "A call is already running",
        ErrorCode::AlreadyAnswered => "This call was already answered",
        ErrorCode::StaleEpoch => "This call has moved",
        ErrorCode::PayloadTooLarge => "The request is too large",
        ErrorCode::UnsupportedMediaType => "This kind of content is not supported",
        ErrorCode::RateLimited => "Too many requests, please wait",
        ErrorCode::MessageSendFailed => "The message could not be stored, please send it again",
        ErrorCode::CallFailed => "The call could not be set up",
        ErrorCode::UserUnavailable => "This person is not available",
        ErrorCode::UserNotConnected => "This person is not connected",
        ErrorCode::NodeUnavailable => "The service is not available at the moment",
        ErrorCode::InternalError => "Something went wrong on our side",
    }
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Payload Too Large",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// Why a request to the Engine.IO path is refused: status and `{"code","message"}` (codes 0-5 are the protocol's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineError {
    UnknownTransport,
    UnknownSid,
    BadHandshakeMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
    /// A body over `maxPayload`; the session goes on.
    TooLarge,
    /// Too many connects of this address.
    TooMany,
    /// The gateway is full or stops.
    Unavailable,
}

impl EngineError {
    /// HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::TooLarge => 413,
            Self::TooMany => 429,
            Self::Unavailable => 503,
            Self::UnknownTransport
            | Self::UnknownSid
            | Self::BadHandshakeMethod
            | Self::BadRequest
            | Self::UnsupportedVersion => 400,
        }
    }

    /// JSON body.
    #[must_use]
    pub fn body(self) -> &'static str {
        match self {
            Self::UnknownTransport => r#"{"code":0,"message":"Transport unknown"}"#,
            Self::UnknownSid => r#"{"code":1,"message":"Session ID unknown"}"#,
            Self::BadHandshakeMethod => r#"{"code":2,"message":"Bad handshake method"}"#,
            Self::BadRequest => r#"{"code":3,"message":"Bad request"}"#,
            Self::Forbidden => r#"{"code":4,"message":"Forbidden"}"#,
            Self::UnsupportedVersion => r#"{"code":5,"message":"Unsupported protocol version"}"#,
            Self::TooLarge => r#"{"code":3,"message":"Payload too large"}"#,
            Self::TooMany => r#"{"code":4,"message":"Too many connections"}"#,
            Self::Unavailable => r#"{"code":4,"message":"Try again later"}"#,
        }
    }
}

/// Status of a polling answer that is not an error: with a body, and of `OPTIONS`.
#[must_use]
pub fn polling_status(has_body: bool) -> u16 {
    if has_body { 200 } else { 204 }
}

/// Close codes of a WebSocket. 1000-1015 are RFC 6455 7.4.1; 4000-4999 are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// Engine.IO or Socket.IO ended the session.
    Normal,
    /// The server stops or restarts: connect again.
    ServiceRestart,
    /// A packet that breaks the protocol.
    ProtocolError,
    /// A text frame that is not UTF-8.
    InvalidUtf8,
    /// A frame over the limit.
    TooBig,
    /// No pong in time.
    PingTimeout,
    /// Not authenticated in time, or the token ran out.
    AuthTimeout,
    /// The session was revoked.
    Revoked,
    /// The client reads too slowly (O2): reconnect and resume by cursor.
    SlowConsumer,
    /// Too many sockets here: connect again later.
    Overloaded,
}

impl CloseCode {
    /// Number and reason of the close frame.
    #[must_use]
    pub fn frame(self) -> (u16, &'static str) {
        match self {
            Self::Normal => (1000, ""),
            Self::ServiceRestart => (1012, "service restart"),
            Self::ProtocolError => (1002, "parse error"),
            Self::InvalidUtf8 => (1007, "invalid UTF-8"),
            Self::TooBig => (1009, "message too big"),
            Self::PingTimeout => (4000, "ping timeout"),
            Self::AuthTimeout => (4001, "authentication timeout"),
            Self::Revoked => (4002, "session ended"),
            Self::SlowConsumer => (4008, "slow consumer"),
            Self::Overloaded => (1013, "try again later"),
        }
    }
}
