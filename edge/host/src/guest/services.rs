//! What an instance that serves HTTP may ask of this host.

use std::sync::Arc;
use std::time::Duration;

use edge_core::object::CallError;
use edge_core::settings::Settings;

use crate::objects::Objects;
use crate::storage::Storage;

/// A call of a handler to an object waits this long.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Shared by all instances that serve HTTP.
#[derive(Debug)]
pub struct Services {
    pub storage: Storage,
    pub objects: Arc<Objects>,
    settings: String,
}

impl Services {
    /// Hands out `settings` as a variable.
    #[must_use]
    pub fn new(storage: Storage, objects: Arc<Objects>, settings: &Settings) -> Self {
        let settings = serde_json::to_string(settings).expect("settings are plain data");
        Self { storage, objects, settings }
    }

    /// Spin variables of this host.
    ///
    /// `storage_state` changes while the process runs: `ok`, or `read_only` while the disk takes no writes.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match name {
            "settings" => Some(self.settings.clone()),
            "people_batch" => Some("host".to_owned()),
            "storage_state" => Some(if self.storage.stats().read_only() { "read_only" } else { "ok" }.to_owned()),
            _ => None,
        }
    }

    /// Calls an object with a message as JSON.
    pub(super) async fn call(&self, object: &str, msg: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let pending = self.objects.call(object, msg)?;
        tokio::time::timeout(CALL_TIMEOUT, pending).await.unwrap_or(Err(CallError::Lost))
    }
}
