//! Engine.IO v4: packets, the polling payload, the handshake and one session as a state machine without I/O.
//!
//! It knows no Socket.IO, no users and no rooms: a session turns frames and requests into messages, and messages into
//! [`crate::object::Output`]s.

pub mod handshake;
pub mod packet;
pub mod payload;
pub mod response;
pub mod session;

pub use handshake::Query;
pub use packet::Packet;
pub use session::{Config, Event, Reason, Session};

/// A packet that breaks the protocol: the session closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseError;

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("parse error")
    }
}

impl std::error::Error for ParseError {}
