#![cfg(target_arch = "wasm32")]
//! ChatCall's edge as one WASI component: `wasi:http` for REST and the web client, and the objects' world for hosts
//! that hold sockets. Translation only: every rule is in `edge-core`.

mod config;
mod http;
mod platform;
mod room_host;
mod shard;
