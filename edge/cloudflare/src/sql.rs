//! Statements of the host's own rows in the SQLite of every object: how far its schema is, its name, a gateway's epoch.

use edge_core::sql::Statement;

/// One row: how many migrations were applied, and the object's name once it is known.
pub(crate) const OWN_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS host_state (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, name TEXT)";

/// Migrations applied so far.
pub(crate) fn version() -> Statement {
    Statement::new("SELECT version FROM host_state", Vec::new())
}

/// So many are applied now.
pub(crate) fn set_version(version: u64) -> Statement {
    let text = "INSERT INTO host_state (id, version) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET version=?1";
    Statement::new(text, vec![version.into()])
}

/// The name, if it was kept.
pub(crate) fn name() -> Statement {
    Statement::new("SELECT name FROM host_state", Vec::new())
}

/// Keeps it.
pub(crate) fn set_name(name: &str) -> Statement {
    Statement::new("UPDATE host_state SET name=?1", vec![name.into()])
}

/// The life of a gateway that its sockets belong to.
pub(crate) fn epoch() -> Statement {
    Statement::new("SELECT epoch FROM gateway_epoch", Vec::new())
}

/// Another life.
pub(crate) fn set_epoch(epoch: u64) -> Statement {
    let text = "INSERT INTO gateway_epoch (id, epoch) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET epoch=?1";
    Statement::new(text, vec![epoch.into()])
}
