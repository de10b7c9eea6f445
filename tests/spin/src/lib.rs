//! A stand-in for Spin: the edge component with what Spin gives to it, over the guest code of our own host.
//!
//! It reads the same `spin.toml` and the same `SPIN_VARIABLE_*`, keeps `spin:sqlite` in one file, reaches only the hosts
//! that the manifest allows, and treats requests as Spin 4 does: instances are reused and concurrent, `spin-client-addr`
//! is set, an answer without `content-length` goes out in chunks, and there are no WebSockets.

pub mod imports;
pub mod manifest;
pub mod server;
pub mod services;
