//! One libsql connection with its statements. Local calls block and are ready at once, so plain threads use them.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use edge_core::object::PersistError;
use edge_core::sql::{Rows, Statement, Value};
use futures_util::FutureExt as _;
use libsql::params::Params;

use super::{OpenError, sql};

/// Statements kept per connection; texts with lists of varying length must not pile up.
const CACHED_STATEMENTS: usize = 512;

/// SQLite's primary result codes that mean something to callers.
mod code {
    pub(super) const READONLY: i32 = 8;
    pub(super) const FULL: i32 = 13;
    pub(super) const CONSTRAINT: i32 = 19;
    /// Our own: the statement does not fit its parameters, or the thread is gone.
    pub(super) const MISUSE: i32 = 21;
}

/// A statement failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    /// SQLite's extended result code.
    pub code: i32,
    /// SQLite's words: for the log, never for a client.
    pub text: String,
}

impl QueryError {
    /// The thread that would have answered is gone.
    #[must_use]
    pub fn stopped() -> Self {
        Self { code: code::MISUSE, text: "storage has stopped".into() }
    }

    /// How objects see it.
    #[must_use]
    pub fn kind(&self) -> PersistError {
        match self.code & 0xff {
            code::CONSTRAINT => PersistError::Conflict,
            code::FULL | code::READONLY => PersistError::Full,
            _ => PersistError::Io,
        }
    }
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (code {})", self.text, self.code)
    }
}

impl From<libsql::Error> for QueryError {
    fn from(error: libsql::Error) -> Self {
        match error {
            libsql::Error::SqliteFailure(code, text) => Self { code, text },
            other => Self { code: code::MISUSE, text: other.to_string() },
        }
    }
}

/// Rows with the names of their columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub columns: Vec<String>,
    pub rows: Rows,
}

pub(super) struct Connection {
    statements: HashMap<String, libsql::Statement>,
    inner: libsql::Connection,
    _database: libsql::Database,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Opens the file, creating it when missing, and makes sure that commits are synced.
    pub(super) fn open(file: &Path) -> Result<Self, OpenError> {
        let connection = Self::open_unchecked(file, sql::OPEN)?;
        connection.check_synced()
    }

    /// Opens with other pragmas than ours.
    pub(super) fn open_unchecked(file: &Path, pragmas: &str) -> Result<Self, OpenError> {
        let failed = |error: &dyn std::fmt::Display| OpenError(format!("{} cannot be opened: {error}", file.display()));
        let database = ready(libsql::Builder::new_local(file).build()).map_err(|error| failed(&error))?;
        let inner = database.connect().map_err(|error| failed(&error))?;
        let connection = Self { statements: HashMap::new(), inner, _database: database };
        connection.inner.busy_timeout(Duration::from_secs(5)).map_err(|error| failed(&error))?;
        connection.batch(pragmas).map_err(|error| failed(&error))?;
        Ok(connection)
    }

    /// Below FULL an acknowledged message could be lost with the power: the host refuses to start.
    pub(super) fn check_synced(mut self) -> Result<Self, OpenError> {
        let mode = self.pragma(sql::SYNCHRONOUS)?;
        if !matches!(mode, Value::Integer(2 | 3)) {
            return Err(OpenError(format!(
                "the database does not sync its commits (PRAGMA synchronous answers {mode:?}, not FULL or EXTRA): acknowledged messages could be lost"
            )));
        }
        let journal = self.pragma(sql::JOURNAL)?;
        if journal.as_str() != Some("wal") {
            return Err(OpenError(format!("the database is not in WAL mode (PRAGMA journal_mode answers {journal:?})")));
        }
        Ok(self)
    }

    /// `PRAGMA quick_check`.
    pub(super) fn check(&mut self) -> Result<(), OpenError> {
        match self.pragma(sql::QUICK_CHECK)? {
            Value::Text(word) if word == "ok" => Ok(()),
            found => Err(OpenError(format!("the database is damaged ({found:?}): restore it from a backup"))),
        }
    }

    pub(super) fn prepare_writer(&self) -> Result<(), OpenError> {
        self.batch(sql::WRITER).map_err(|error| OpenError(format!("the database refuses its settings: {error}")))
    }

    pub(super) fn prepare_reader(&self) -> Result<(), OpenError> {
        self.batch(sql::READER).map_err(|error| OpenError(format!("the database refuses its settings: {error}")))
    }

    fn pragma(&mut self, text: &'static str) -> Result<Value, OpenError> {
        let rows = self.run(Statement::new(text, Vec::new())).map_err(|error| OpenError(format!("the database cannot be read: {error}")))?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).unwrap_or(Value::Null))
    }

    /// Several statements without parameters.
    pub(super) fn batch(&self, text: &str) -> Result<(), QueryError> {
        ready(self.inner.execute_batch(text))?;
        Ok(())
    }

    /// Whether no transaction is open. SQLite itself ends one after some errors.
    pub(super) fn is_autocommit(&self) -> bool {
        self.inner.is_autocommit()
    }

    /// Runs a constant statement without parameters.
    pub(super) fn plain(&mut self, text: &'static str) -> Result<(), QueryError> {
        self.run(Statement::new(text, Vec::new())).map(|_| ())
    }

    /// Runs one statement from the cache.
    pub(super) fn run(&mut self, statement: Statement) -> Result<Rows, QueryError> {
        let Statement { sql, params } = statement;
        let prepared = self.prepared(&sql, params.len())?;
        let result = execute(prepared, params);
        // Also releases locks and makes the next binding possible.
        prepared.reset();
        result
    }

    /// Runs one statement and names its columns.
    pub(super) fn query(&mut self, statement: Statement) -> Result<Query, QueryError> {
        let Statement { sql, params } = statement;
        let prepared = self.prepared(&sql, params.len())?;
        let columns = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
        let result = execute(prepared, params);
        prepared.reset();
        Ok(Query { columns, rows: result? })
    }

    fn prepared(&mut self, text: &str, params: usize) -> Result<&libsql::Statement, QueryError> {
        if !self.statements.contains_key(text) {
            if self.statements.len() >= CACHED_STATEMENTS {
                self.statements.clear();
            }
            let prepared = ready(self.inner.prepare(text))?;
            // Parameters that are not bound would keep the values of the run before.
            self.statements.insert(text.to_owned(), prepared);
        }
        let prepared = &self.statements[text];
        if prepared.parameter_count() != params {
            let text = format!("{} parameters for {} places", params, prepared.parameter_count());
            return Err(QueryError { code: code::MISUSE, text });
        }
        Ok(prepared)
    }
}

fn execute(prepared: &libsql::Statement, params: Vec<Value>) -> Result<Rows, QueryError> {
    let params = if params.is_empty() { Params::None } else { Params::Positional(params.into_iter().map(to_libsql).collect()) };
    let columns = prepared.column_count();
    if columns == 0 {
        ready(prepared.run(params))?;
        return Ok(Rows::new());
    }
    let mut found = ready(prepared.query(params))?;
    let mut rows = Rows::new();
    while let Some(row) = ready(found.next())? {
        let values: Result<Vec<Value>, libsql::Error> = (0..columns).map(|n| Ok(from_libsql(row.get_value(n as i32)?))).collect();
        rows.push(values?);
    }
    Ok(rows)
}

/// The answer of a call to the embedded library, which blocks and never waits.
fn ready<T>(call: impl Future<Output = libsql::Result<T>>) -> libsql::Result<T> {
    call.now_or_never().unwrap_or_else(|| Err(libsql::Error::Misuse("a local call did not answer at once".into())))
}

/// As libsql binds it.
#[must_use]
pub fn to_libsql(value: Value) -> libsql::Value {
    match value {
        Value::Null => libsql::Value::Null,
        Value::Integer(n) => libsql::Value::Integer(n),
        Value::Real(x) => libsql::Value::Real(x),
        Value::Text(text) => libsql::Value::Text(text),
        Value::Blob(bytes) => libsql::Value::Blob(bytes),
    }
}

/// As libsql gave it.
#[must_use]
pub fn from_libsql(value: libsql::Value) -> Value {
    match value {
        libsql::Value::Null => Value::Null,
        libsql::Value::Integer(n) => Value::Integer(n),
        libsql::Value::Real(x) => Value::Real(x),
        libsql::Value::Text(text) => Value::Text(text),
        libsql::Value::Blob(bytes) => Value::Blob(bytes),
    }
}
