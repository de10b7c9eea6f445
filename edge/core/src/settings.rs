//! Settings that objects and handlers see. Hosts read them from their own source (environment, variables, bindings)
//! and hand them over as JSON once, before the first event.

mod placement;
mod variables;

use serde::{Deserialize, Serialize};

pub use placement::{People, Placement, RoomHost};
pub use variables::{NAMES, Variables, secret, signing_key, weak_secrets};

/// How Engine.IO sockets are kept alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    pub ping_interval_ms: u64,
    pub ping_timeout_ms: u64,
    /// Deadlines within one grain share one alarm.
    pub grain_ms: u64,
    /// 0: each websocket has a ping time of its own, and a pong is waited for. Else all of them are pinged together at
    /// multiples of this time, and those that were not heard of for interval and timeout are closed then.
    pub sweep_ms: u64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { ping_interval_ms: 20_000, ping_timeout_ms: 15_000, grain_ms: 1_000, sweep_ms: 0 }
    }
}

impl Heartbeat {
    /// For hosts whose objects sleep between events: one sweep each 20 s pings every socket (guarantees 5).
    #[must_use]
    pub fn hibernating() -> Self {
        Self { ping_interval_ms: 25_000, ping_timeout_ms: 20_000, grain_ms: 1_000, sweep_ms: 20_000 }
    }
}

/// How access tokens are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningKey {
    /// The 32-byte Ed25519 seed, base64url without padding.
    Ed25519(String),
    /// HS256 secret, at least 32 bytes.
    Hs256(String),
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    Open,
    Invite,
    Closed,
}

/// Everything a deployment may set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `CHATCALL_ENV=development`.
    pub development: bool,
    /// `RATE_LIMITS`; `off` is refused in production.
    pub rate_limits: bool,
    /// Engine.IO heartbeat of this host.
    pub heartbeat: Heartbeat,
    /// Transports a polling session may be upgraded to: `["websocket"]`, or empty on hosts without sockets.
    pub upgrades: Vec<String>,
    /// Objects are dropped from memory between any two events, without a word; sockets, attachments and storage stay,
    /// and each later event begins a life. What others asked an object to remember is then stored, and nobody renews.
    pub hibernates: bool,
    /// A dirty socket is attached again after this quiet time; 0 writes the attachment with each event.
    pub attach_after_ms: u64,
    /// Number of gateways; names are `gw-0 ..`.
    pub gateways: u32,
    /// Origins allowed besides the same one (V-18).
    pub allowed_origins: Vec<String>,
    /// `iss` of our tokens.
    pub issuer: String,
    /// Key of access tokens; `None` only where nothing verifies or signs.
    pub signing_key: Option<SigningKey>,
    /// Keys the stored hashes of refresh tokens (V-06).
    pub refresh_secret: String,
    /// Life of access tokens (V-07).
    pub access_ttl_ms: u64,
    /// Life of refresh tokens (V-07).
    pub refresh_ttl_ms: u64,
    /// bcrypt cost (V-20).
    pub bcrypt_cost: u32,
    /// Longest text of a message, in code points (V-25).
    pub max_text_code_points: usize,
    pub registration: Registration,
    /// `CONVERSATION_POLICY=contacts`.
    pub conversation_contacts_only: bool,
    /// `EX_MEMBER_HISTORY=until_left`.
    pub ex_member_history: bool,
    /// Where sockets are, when not here.
    pub socket_url: Option<String>,
    /// Why this host reaches no objects: it serves accounts only and says so to whoever asks for more.
    pub without_objects: Option<String>,
    /// The protocol test application answers on this instance; development only.
    pub protocol_test: bool,
    /// `server:draining` names this time.
    pub reconnect_after_ms: u64,
}

impl Settings {
    /// For a host whose objects sleep between events (guarantees 5).
    pub fn hibernate(&mut self) {
        self.hibernates = true;
        self.heartbeat = Heartbeat::hibernating();
        // A sleeping object forgets what it meant to write: each event is kept with its socket at once.
        self.attach_after_ms = 0;
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            development: false,
            rate_limits: true,
            heartbeat: Heartbeat::default(),
            upgrades: vec!["websocket".to_owned()],
            hibernates: false,
            attach_after_ms: 1_000,
            gateways: 1,
            allowed_origins: Vec::new(),
            issuer: "chatcall".to_owned(),
            signing_key: None,
            refresh_secret: String::new(),
            access_ttl_ms: 15 * 60_000,
            refresh_ttl_ms: 7 * 24 * 3_600_000,
            bcrypt_cost: 12,
            max_text_code_points: 2_000,
            registration: Registration::Open,
            conversation_contacts_only: false,
            ex_member_history: false,
            socket_url: None,
            without_objects: None,
            protocol_test: false,
            reconnect_after_ms: 3_000,
        }
    }
}
