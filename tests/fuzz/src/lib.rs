//! One target per parser of the socket path (`guarantees.md` 11), and a whole gateway fed with nonsense.
//!
//! Each target takes any bytes, never panics and checks what must hold of every result. [`mutate::run`] feeds it with
//! mutations of the committed corpus in `corpus/<target>`, always the same ones for the same seed. `FUZZ_ROUNDS`
//! multiplies the length of a run.

pub mod gateway;
pub mod mutate;
pub mod targets;
