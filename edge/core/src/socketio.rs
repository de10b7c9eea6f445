//! Socket.IO v5: packets, their text form, and the reassembly of binary attachments.
//!
//! A packet that breaks the protocol closes the whole connection; which packets a connection may get in which state
//! is the gateway's.

pub mod decoder;
pub mod encode;
mod json;
pub mod packet;

pub use decoder::Decoder;
pub use packet::{Event, Packet};

pub use crate::engineio::ParseError;
