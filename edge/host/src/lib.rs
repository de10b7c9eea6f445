//! ChatCall's own host: HTTP, sockets, storage and timers around the edge component.
//!
//! It translates and carries; rules of chat are in `edge-core`, which the component brings. `frontend` is the public
//! port, `objects` the shards with their guest instances, `storage` the database, `guest` the component itself.

pub mod clock;
pub mod config;
pub mod frontend;
pub mod guest;
pub mod host;
pub mod mail;
pub mod objects;
pub mod private;
pub mod storage;
#[cfg(test)]
mod testing;
