//! Everything a host calls in edge-core, behind one symbol. Built for a target without any system, where a call to a clock,
//! to randomness or to JavaScript is an import. `cargo xtask test wasm` links this archive with that symbol as the only
//! export: what cannot be reached from it is dropped, and what is left may import nothing. It is linked, never run.

#[cfg(target_arch = "wasm32")]
mod reach;
