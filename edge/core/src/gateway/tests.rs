//! Rules of the gateway, by behaviour. Everything is driven through `handle` with a fake clock; nothing sleeps.

mod bench;

mod attachments;
mod authentication;
mod commands;
mod conformance;
mod delivery;
mod limits_of_clients;
mod membership;
mod polling;
mod presence;
mod recovery;
mod resume;
mod sessions;
mod sleep;
mod upgrade;
