//! Tokens, passwords and signatures. Pure: time and entropy are arguments.

pub mod internal;
