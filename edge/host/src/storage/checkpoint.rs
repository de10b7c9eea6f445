//! Moves the write-ahead log into the database beside the writer, so that no round has to.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::connection::Connection;
use super::{OpenError, StorageStats, spawn_thread, sql};

const EVERY: Duration = Duration::from_millis(250);
/// A shorter log is left alone.
const LOG_BYTES: u64 = 4 << 20;

pub(super) fn spawn(file: &Path, stats: &Arc<StorageStats>) -> Result<(), OpenError> {
    let mut connection = Connection::open(file)?;
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    // The thread ends with the storage; nobody waits for it, because stopping between two checkpoints is safe.
    let stats: Weak<StorageStats> = Arc::downgrade(stats);
    spawn_thread("checkpoint", move || {
        let mut seen = 0;
        while let Some(stats) = stats.upgrade() {
            let rounds = stats.rounds.load(Ordering::Relaxed);
            drop(stats);
            if rounds != seen && std::fs::metadata(&log).is_ok_and(|meta| meta.len() > LOG_BYTES) {
                seen = rounds;
                if let Err(error) = connection.plain(sql::CHECKPOINT) {
                    tracing::debug!(%error, "checkpoint");
                }
            }
            std::thread::sleep(EVERY);
        }
    });
    Ok(())
}
