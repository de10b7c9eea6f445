//! What an instance that serves HTTP may ask of its host: [`Services`], and what this host gives, [`OwnServices`].

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use edge_core::object::CallError;
use edge_core::settings::Settings;
use edge_core::sql::Statement;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::objects::Objects;
use crate::storage::{Query, QueryError, Storage};

/// A call of a handler to an object waits this long.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The end of an outgoing request.
pub type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;
/// An outgoing request on its way.
pub type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Done), Error>> + Send>;
/// A query on its way.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<Query, QueryError>> + Send + 'a>>;

/// The host as a component sees it, beside WASI. Everything it does not give is refused.
pub trait Services: Debug + Send + Sync {
    /// A variable of `spin:variables`.
    fn variable(&self, name: &str) -> Option<String>;
    /// A new connection of `spin:sqlite`; `None` when there is no such database.
    fn open(&self, database: &str) -> Option<Arc<dyn Database>>;
    /// An outgoing request of `wasi:http`.
    fn send(&self, request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Sent;
}

/// One connection.
pub trait Database: Debug + Send + Sync {
    /// Executes one statement.
    fn query(&self, statement: Statement) -> Asked<'_>;
}

/// Shared by all instances that serve HTTP here.
#[derive(Debug, Clone)]
pub struct OwnServices {
    pub storage: Storage,
    pub objects: Arc<Objects>,
    settings: Arc<str>,
}

impl OwnServices {
    /// Hands out `settings` as a variable.
    #[must_use]
    pub fn new(storage: Storage, objects: Arc<Objects>, settings: &Settings) -> Self {
        let settings = serde_json::to_string(settings).expect("settings are plain data");
        Self { storage, objects, settings: settings.into() }
    }

    /// Calls an object with a message as JSON.
    ///
    /// # Errors
    /// Why there is no reply.
    pub async fn call(&self, object: &str, msg: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let pending = self.objects.call(object, msg)?;
        tokio::time::timeout(CALL_TIMEOUT, pending).await.unwrap_or(Err(CallError::Lost))
    }
}

impl Services for OwnServices {
    /// `storage_state` changes while the process runs: `ok`, or `read_only` while the disk takes no writes.
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "settings" => Some(self.settings.to_string()),
            "storage_state" => Some(if self.storage.stats().read_only() { "read_only" } else { "ok" }.to_owned()),
            _ => None,
        }
    }

    /// Reads of the people database. Writes go through [`super::outbound`] to the one writer.
    fn open(&self, database: &str) -> Option<Arc<dyn Database>> {
        (database == "default").then(|| Arc::new(self.storage.clone()) as Arc<dyn Database>)
    }

    fn send(&self, request: http::Request<WasiBody>, _: Option<RequestOptions>) -> Sent {
        super::outbound::send(self.clone(), request)
    }
}

impl Database for Storage {
    fn query(&self, statement: Statement) -> Asked<'_> {
        Box::pin(Self::query(self, statement))
    }
}
