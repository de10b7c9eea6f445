//! One target per parser that anything from outside reaches (`guarantees.md` 11), and a whole gateway fed with nonsense.
//!
//! Each target takes any bytes, never panics and checks what must hold of every result. [`mutate::run`] feeds it with
//! mutations of the committed corpus in `corpus/<target>`, always the same ones for the same seed. `FUZZ_ROUNDS`
//! multiplies the length of a run; `cargo run -p fuzz --release -- --seconds 3600` goes on with other seeds.

pub mod gateway;
pub mod mutate;
pub mod targets;
