//! The interface of every object (`design.md` 2.1): inputs, outputs, and the trait that joins them.
//!
//! A host calls [`Object::handle`], then drains [`Object::poll_output`], then sleeps until
//! [`Object::poll_timeout`]. Outputs apply in order; those behind a [`Output::Persist`] or [`Output::Project`] wait
//! until it is durable, and only those of the same object.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::Timestamp;

use crate::objects::Message;
use crate::sql::{Rows, Statement, Value};

/// The five kinds of objects, and `Http` for a request handler that calls one and waits for the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Holds sockets: `gw-<n>`.
    Gateway,
    /// Single writer of a conversation: named by its id.
    Room,
    /// Registrar of a user's sockets: named by the user id.
    User,
    /// A call: named by its id.
    Call,
    /// Lists live media nodes: named by the region.
    Directory,
    /// Not an object: an HTTP handler (or the host) that waits for a [`Output::Reply`].
    Http,
}

impl Kind {
    /// The word in `http://objects.internal/<kind>/<name>`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Room => "room",
            Self::User => "user",
            Self::Call => "call",
            Self::Directory => "directory",
            Self::Http => "http",
        }
    }

    /// The inverse of [`Kind::as_str`].
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Gateway, Self::Room, Self::User, Self::Call, Self::Directory, Self::Http]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// The address of an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    pub kind: Kind,
    pub name: Arc<str>,
}

impl ObjectId {
    /// Addresses the object `name` of `kind`.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }

    /// The inverse of its `Display`: `<kind>/<name>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        Some(Self::new(Kind::parse(kind)?, name))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A socket, unique within its host process for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SocketId(pub u64);

/// A polling request held by the host until [`Output::Respond`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// The key of a call between objects: unique per caller, the same when it is repeated. 0: no reply is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallKey(pub u64);

impl CallKey {
    /// The sender wants no reply.
    pub const NONE: Self = Self(0);
}

/// One WebSocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

impl Frame {
    /// Payload size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the payload has no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The head of a request to `/socket.io/` (or `/engine.io/` of the protocol test application).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RequestHead {
    pub method: String,
    pub path: String,
    /// Raw query string without `?`.
    pub query: String,
    /// `Origin` header; the host has already refused foreign ones of WebSocket upgrades.
    pub origin: Option<String>,
    pub content_type: Option<String>,
    /// Client address after the configured number of trusted proxies.
    pub address: String,
    /// Whether a WebSocket can come the same way: else a session opened by this request announces no upgrade.
    pub upgrades: bool,
}

/// An answer to a polling request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why a call to another object brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallError {
    /// The callee could not store; nothing was applied that anybody saw.
    Failed,
    /// The callee or the way to it was lost; the outcome is unknown.
    Lost,
    /// The callee sheds load.
    Overloaded,
}

/// Why a Persist was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersistError {
    /// A uniqueness or epoch guard refused it.
    Conflict,
    /// No space left.
    Full,
    /// The sync or the medium failed.
    Io,
}

/// Which database a [`Output::Load`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// The object's own storage.
    Own,
    /// The people database: accounts and projections.
    People,
}

/// What an object is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// First event of a life, after a wake, a crash or a trap: forget everything and rebuild.
    Started {
        /// Sockets that survived, with the attachment last given for each.
        sockets: Vec<(SocketId, Vec<u8>)>,
        /// Rises with every life of this object; stays the same where the object has only slept and kept its sockets.
        epoch: u64,
        /// Fresh entropy of this life.
        seed: [u8; 32],
    },
    /// A WebSocket was accepted for this gateway.
    SocketOpened { socket: SocketId, head: RequestHead },
    Frame { socket: SocketId, frame: Frame },
    /// The host answered the heartbeat of a socket by itself, last at `at`; given before an [`Input::Alarm`] by hosts
    /// that let objects sleep.
    Heard { socket: SocketId, at: Timestamp },
    /// Answer to [`Output::Drain`]: the socket's queue is below 64 KiB.
    Drained { socket: SocketId },
    /// The socket is gone. `clean` when a close frame arrived or we closed it.
    SocketClosed { socket: SocketId, clean: bool },
    /// An Engine.IO polling GET.
    PollGet { req: RequestId, head: RequestHead },
    /// An Engine.IO polling POST (or any other method: the gateway refuses it).
    PollPost { req: RequestId, head: RequestHead, body: Vec<u8> },
    /// The client gave up a polling request before its answer.
    PollAborted { req: RequestId },
    /// A message of another object or of an HTTP handler.
    Object { from: ObjectId, call: CallKey, msg: Message },
    /// The answer to a call of ours.
    Reply { call: CallKey, result: Result<Message, CallError> },
    Loaded { load: u64, result: Result<Vec<Rows>, PersistError> },
    /// The Persist (or Project) `n` is durable. Outputs behind it were released.
    Persisted { n: u64 },
    /// The Persist `n` was not applied and every output behind it was dropped. [`Input::Started`] comes next.
    PersistFailed { n: u64, error: PersistError },
    /// The time of [`Object::poll_timeout`] has come. May come twice or late.
    Alarm,
    /// The answer of a media node to [`Output::NodeRequest`]; `Err` when it refused the connection or kept silent.
    NodeReply { request: u64, result: Result<serde_json::Value, CallError> },
    /// A signed, sequence-numbered event of a media node.
    NodeEvent { node: String, event: serde_json::Value },
    /// The host stops soon: tell the clients.
    Draining,
}

/// What an object wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// One frame to many sockets, encoded once.
    Send { sockets: Vec<SocketId>, frame: Frame },
    /// Ask for [`Input::Drained`] as soon as the queue of the socket is below 64 KiB (at once if it is).
    Drain { socket: SocketId },
    /// Answer a polling request.
    Respond { req: RequestId, response: Response },
    Close { socket: SocketId, code: u16, reason: String },
    /// Bytes (at most [`crate::limits::ATTACHMENT_BYTES`]) that come back in [`Input::Started`].
    Attach { socket: SocketId, data: Vec<u8> },
    /// Own storage, atomic. Everything behind it waits for it.
    Persist { n: u64, statements: Vec<Statement> },
    /// An idempotent row of the people database; `version` rises per `key`. With `hold` everything behind it waits
    /// for it; without, a host whose people database is elsewhere may write it a little later, the newest per key.
    Project { n: u64, key: String, version: u64, statement: Statement, hold: bool },
    /// Read; answered by [`Input::Loaded`].
    Load { load: u64, store: Store, statements: Vec<Statement> },
    /// Best effort, at least once while both live. With `call != 0` a [`Input::Reply`] follows, an error at worst.
    Object { to: ObjectId, call: CallKey, msg: Message },
    /// The answer to [`Input::Object`].
    Reply { to: ObjectId, call: CallKey, msg: Message },
    /// A signed request to the control API of a media node; idempotent by `request`.
    NodeRequest { node: String, request: u64, body: serde_json::Value },
    /// Ask for [`Input::Alarm`] at this time; replaces the one before; `None` clears it.
    SetAlarm { at: Option<Timestamp> },
    /// Last output of a life: the object was dropped; its next input must be [`Input::Started`]. Only
    /// [`crate::shard::Shard`] emits it.
    Idle,
}

/// A pure state machine with an inbox and an outbox.
pub trait Object {
    /// Applies one input. Never panics on anything that came over the wire.
    fn handle(&mut self, input: Input, now: Timestamp);
    /// The next output, in order.
    fn poll_output(&mut self) -> Option<Output>;
    /// When [`Input::Alarm`] is wanted.
    fn poll_timeout(&self) -> Option<Timestamp>;
    /// Whether nothing is kept in memory that storage does not have, and nothing is under way. Asked after an alarm.
    fn is_idle(&self, now: Timestamp) -> bool;
}

/// Shorthand for parameters of statements.
pub type Params = Vec<Value>;
