//! What HTTP handlers may ask of a host.

use std::future::Future;

use wire::Timestamp;

use crate::object::{CallError, Kind};
use crate::objects::Message;
use crate::settings::Settings;
use crate::sql::{Rows, Statement};

/// The people database could not be reached or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// A UNIQUE or CHECK constraint refused the batch; nothing was applied.
    Conflict,
    /// Disk full or read-only: reading goes on.
    ReadOnly,
    /// Not reachable, or an error that says nothing to the caller (the text is for the log).
    Unavailable(String),
}

/// The seam between handlers and a host: three verbs for data, one for time, one for entropy.
pub trait Platform {
    /// Settings of this deployment.
    fn settings(&self) -> &Settings;
    /// One query on the people database.
    fn read(&self, statement: Statement) -> impl Future<Output = Result<Rows, StoreError>>;
    /// Several statements on the people database, all or nothing; the rows each returned (`RETURNING`), durable when
    /// it answers.
    fn people_batch(&self, statements: Vec<Statement>) -> impl Future<Output = Result<Vec<Rows>, StoreError>>;
    /// Calls an object and waits for its reply.
    fn object(&self, kind: Kind, name: &str, msg: Message) -> impl Future<Output = Result<Message, CallError>>;
    /// What else this host needs to work and does not reach, as the reason that health gives.
    fn missing(&self) -> impl Future<Output = Option<&'static str>> {
        std::future::ready(None)
    }
    /// `schema/openapi.json`, from hosts that do not serve it as a file.
    fn openapi(&self) -> Option<&'static str> {
        None
    }
    /// Now.
    fn now(&self) -> Timestamp;
    /// Fresh bytes of cryptographic quality.
    fn random(&self) -> [u8; 32];
}
