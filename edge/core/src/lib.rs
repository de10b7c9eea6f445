//! ChatCall's edge core: objects, protocols and HTTP handlers.
//!
//! Events go in, effects come out. There is no clock, socket, thread, randomness or database in here, and no branch
//! about the host: the same code runs in a Durable Object, in the wasmtime host and in the simulator.

pub mod auth;
pub mod content;
pub mod dialect;
pub mod effects;
pub mod engineio;
pub mod error;
pub mod gateway;
pub mod http;
pub mod internal;
pub mod limits;
pub mod object;
pub mod objects;
pub mod platform;
pub mod rate;
pub mod room;
pub mod search;
pub mod settings;
pub mod shard;
pub mod socketio;
pub mod sql;
pub mod user;
