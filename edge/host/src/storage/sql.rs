//! The host's own statements: transactions, checks and its bookkeeping tables. What objects and handlers store comes
//! from `edge-core`.

pub(super) const OPEN: &str = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=OFF; PRAGMA temp_store=MEMORY;";
pub(super) const SYNCHRONOUS: &str = "PRAGMA synchronous";
pub(super) const JOURNAL: &str = "PRAGMA journal_mode";
pub(super) const QUICK_CHECK: &str = "PRAGMA quick_check(1)";
/// Pages; a thread of its own keeps the log shorter than that while it can.
pub(super) const WRITER: &str = "PRAGMA wal_autocheckpoint=8000; PRAGMA cache_size=-32768; PRAGMA journal_size_limit=67108864;";
pub(super) const READER: &str = "PRAGMA query_only=ON; PRAGMA cache_size=-8192;";
pub(super) const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// At the end: the database is one file again, which can be copied and checked as such.
pub(super) const LAST_CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const BEGIN_READ: &str = "BEGIN";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";
pub(super) const SAVEPOINT: &str = "SAVEPOINT job";
pub(super) const RELEASE: &str = "RELEASE job";
pub(super) const ROLLBACK_TO: &str = "ROLLBACK TO job";

pub(super) const OWN_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS host_migrations (
        set_name TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (set_name, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS host_state (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;";
pub(super) const APPLIED: &str = "SELECT set_name, name FROM host_migrations ORDER BY set_name, name";
pub(super) const RECORD: &str = "INSERT INTO host_migrations (set_name, name) VALUES (?1, ?2)";
pub(super) const STATE: &str = "SELECT value FROM host_state WHERE key = ?1";
pub(super) const SET_STATE: &str =
    "INSERT INTO host_state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// Rows of this table are messages: counted for the statistics.
pub(super) const MESSAGE_INSERT: &str = "INSERT INTO room_messages";
