#![cfg(target_arch = "wasm32")]
//! ChatCall's edge on Cloudflare Workers: a fetch handler over `Platform`, and one Durable Object class per kind of
//! object. Translation only: every rule is in `edge-core`.

mod config;
mod frontend;
mod hrana;
mod objects;
mod socket;
mod sql;
mod storage;
