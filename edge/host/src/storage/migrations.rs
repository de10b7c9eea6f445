//! Schema versions: every migration once, each in its own transaction, and never backwards.

use std::collections::BTreeSet;

use edge_core::sql::{Statement, Value};

use super::connection::{Connection, QueryError};
use super::{OpenError, sql};

/// A file of `schema/migrations`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// `people`, `room` or `user`.
    pub set: &'static str,
    /// `NNNN_name`.
    pub name: &'static str,
    pub sql: &'static str,
}

/// All migrations of this build, in order.
pub(super) const ALL: &[Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// Lives of one block of epochs; the block in use and the next one are always reserved.
pub const EPOCH_BLOCK: u64 = 1 << 20;

const EPOCH: &str = "epoch";

/// Applies what is missing of `known`.
pub(super) fn apply(connection: &mut Connection, known: &[Migration]) -> Result<(), OpenError> {
    let failed = |what: &str, error: &QueryError| OpenError(format!("{what}: {error}"));
    connection.batch(sql::OWN_TABLES).map_err(|error| failed("the database cannot be prepared", &error))?;
    let rows = connection.run(Statement::new(sql::APPLIED, Vec::new())).map_err(|error| failed("the schema version cannot be read", &error))?;
    let applied: BTreeSet<(String, String)> = rows
        .iter()
        .filter_map(|row| Some((row.first()?.as_str()?.to_owned(), row.get(1)?.as_str()?.to_owned())))
        .collect();
    if let Some((set, name)) = applied.iter().find(|(set, name)| !known.iter().any(|m| m.set == set && m.name == name)) {
        return Err(OpenError(format!(
            "the data directory was written by a newer version of chatcall (it has {set}/{name}, which this one does not know): start that version"
        )));
    }
    for migration in known.iter().filter(|m| !applied.contains(&(m.set.to_owned(), m.name.to_owned()))) {
        apply_one(connection, migration)
            .map_err(|error| failed(&format!("migration {}/{} failed", migration.set, migration.name), &error))?;
    }
    Ok(())
}

fn apply_one(connection: &mut Connection, migration: &Migration) -> Result<(), QueryError> {
    connection.plain(sql::BEGIN)?;
    let outcome = connection.batch(migration.sql).and_then(|()| {
        connection.run(Statement::new(sql::RECORD, vec![migration.set.into(), migration.name.into()]))?;
        connection.plain(sql::COMMIT)
    });
    if outcome.is_err() && !connection.is_autocommit() {
        connection.plain(sql::ROLLBACK)?;
    }
    outcome
}

/// The first epoch of this process, above every one of its predecessors.
pub(super) fn raise_epoch(connection: &mut Connection) -> Result<u64, OpenError> {
    let failed = |error: QueryError| OpenError(format!("the database cannot be written: {error}"));
    let rows = connection.run(Statement::new(sql::STATE, vec![EPOCH.into()])).map_err(failed)?;
    let reserved = rows.first().and_then(|row| row.first()).and_then(Value::as_u64).unwrap_or(0);
    let first = reserved + 1;
    connection.run(reserve(first * EPOCH_BLOCK)).map_err(failed)?;
    Ok(first * EPOCH_BLOCK)
}

/// Reserves the block of `epoch` and the one behind it.
pub(super) fn reserve(epoch: u64) -> Statement {
    Statement::new(sql::SET_STATE, vec![EPOCH.into(), (epoch / EPOCH_BLOCK + 1).into()])
}
