//! Tokens, passwords and signatures. Pure: time and entropy are arguments, nothing is imported on any target.

mod encoding;
pub mod internal;
mod jws;
pub mod password;
pub mod refresh;
mod secret;
mod token;

pub use secret::check_secret;
pub use token::{ACCESS_AUDIENCE, Claims, sign_access, verify_access};
