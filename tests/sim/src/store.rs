//! Real SQL in memory: one database for the own storage of rooms and users, one for each gateway that stores, a
//! separate one for the people database, so that nobody joins across the seam.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use edge_core::object::PersistError;
use edge_core::sql::{Row, Rows, Statement, Value};

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlError {
    /// UNIQUE, CHECK, NOT NULL or foreign key.
    Constraint(String),
    /// Anything else: the statement is wrong.
    Broken(String),
}

impl SqlError {
    /// What the object is told.
    #[must_use]
    pub fn as_persist_error(&self) -> PersistError {
        match self {
            Self::Constraint(_) => PersistError::Conflict,
            Self::Broken(_) => PersistError::Io,
        }
    }
}

/// Both databases of a run. Kept over runs: [`Stores::reset`] empties the tables.
#[derive(Debug)]
pub struct Stores {
    pub own: Database,
    /// Storage of each gateway, where gateways have one.
    pub gateways: Vec<Database>,
    pub people: Database,
}

impl Stores {
    /// Databases with these migrations applied, in order.
    pub fn open(migrations: &Migrations) -> Result<Self, String> {
        let gateways = (0..GATEWAYS).map(|_| Database::open(&migrations.gateway)).collect::<Result<_, _>>()?;
        Ok(Self { own: Database::open(&migrations.own)?, gateways, people: Database::open(&migrations.people)? })
    }

    /// Deletes every row.
    pub fn reset(&mut self) -> Result<(), String> {
        self.own.reset()?;
        self.gateways.iter_mut().try_for_each(Database::reset)?;
        self.people.reset()
    }
}

/// Most gateways of a run.
pub const GATEWAYS: usize = 6;

/// The migrations of each database, in order.
#[derive(Debug)]
pub struct Migrations {
    pub own: Vec<String>,
    pub gateway: Vec<String>,
    pub people: Vec<String>,
}

/// Those of the product, read from `schema/migrations`.
pub fn migrations() -> Result<Migrations, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema/migrations");
    let mut own = Vec::new();
    for folder in ["room", "user", "call"] {
        own.extend(files(&root.join(folder))?);
    }
    Ok(Migrations { own, gateway: files(&root.join("gateway"))?, people: files(&root.join("people"))? })
}

fn files(folder: &Path) -> Result<Vec<String>, String> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).map_err(failed)).collect()
}

/// A database in memory with its prepared statements.
pub struct Database {
    connection: libsql::Connection,
    /// Constant statements by the address of their text.
    prepared: HashMap<(usize, usize), libsql::Statement>,
    begin: libsql::Statement,
    commit: libsql::Statement,
    rollback: libsql::Statement,
    clear: Vec<libsql::Statement>,
    _database: libsql::Database,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("prepared", &self.prepared.len()).finish_non_exhaustive()
    }
}

impl Database {
    fn open(migrations: &[String]) -> Result<Self, String> {
        let text = |error: libsql::Error| error.to_string();
        let database = now(libsql::Builder::new_local(":memory:").build()).map_err(text)?;
        let connection = database.connect().map_err(text)?;
        now(connection.execute_batch("PRAGMA journal_mode=OFF; PRAGMA temp_store=MEMORY;")).map_err(text)?;
        for migration in migrations {
            now(connection.execute_batch(migration)).map_err(text)?;
        }
        // A full text has tables of its own, and a word that empties them; what only shows its terms follows.
        let empty = "SELECT CASE WHEN s.sql LIKE 'CREATE VIRTUAL%' THEN \
                     'INSERT INTO ' || s.name || ' (' || s.name || ') VALUES (''delete-all'')' ELSE 'DELETE FROM ' || s.name END \
                     FROM sqlite_schema s WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite_%' \
                     AND s.sql NOT LIKE '%USING fts5vocab%' AND NOT EXISTS (SELECT 1 FROM sqlite_schema v WHERE \
                     v.sql LIKE 'CREATE VIRTUAL%' AND s.name GLOB v.name || '_*')";
        let mut rows = now(connection.query(empty, ())).map_err(text)?;
        let mut emptying = Vec::new();
        while let Some(row) = now(rows.next()).map_err(text)? {
            emptying.push(row.get::<String>(0).map_err(text)?);
        }
        let prepare = |sql: &str| now(connection.prepare(sql)).map_err(text);
        // A rollback journal in memory: transactions roll back, nothing touches a disk.
        now(connection.execute_batch("PRAGMA journal_mode=MEMORY;")).map_err(text)?;
        let clear = emptying.iter().map(|sql| prepare(sql)).collect::<Result<_, _>>()?;
        let (begin, commit, rollback) = (prepare("BEGIN IMMEDIATE")?, prepare("COMMIT")?, prepare("ROLLBACK")?);
        Ok(Self { connection, prepared: HashMap::new(), begin, commit, rollback, clear, _database: database })
    }

    fn reset(&mut self) -> Result<(), String> {
        for statement in &self.clear {
            run_plain(statement).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Runs the statements one after the other, without a transaction: for reads.
    pub fn read(&mut self, statements: &[Statement]) -> Result<Vec<Rows>, SqlError> {
        statements.iter().map(|statement| self.run(statement)).collect()
    }

    /// All or nothing.
    pub fn apply(&mut self, statements: &[Statement]) -> Result<(), SqlError> {
        let broken = |error: libsql::Error| SqlError::Broken(error.to_string());
        run_plain(&self.begin).map_err(broken)?;
        for statement in statements {
            if let Err(error) = self.run(statement) {
                run_plain(&self.rollback).map_err(broken)?;
                return Err(error);
            }
        }
        run_plain(&self.commit).map_err(broken)
    }

    fn run(&mut self, statement: &Statement) -> Result<Rows, SqlError> {
        let failed = |error: libsql::Error| classify(&error, &statement.sql);
        let params: Vec<libsql::Value> = statement.params.iter().map(bind).collect();
        match &statement.sql {
            Cow::Borrowed(sql) => {
                let key = (sql.as_ptr() as usize, sql.len());
                if !self.prepared.contains_key(&key) {
                    let fresh = now(self.connection.prepare(sql)).map_err(failed)?;
                    self.prepared.insert(key, fresh);
                }
                match self.prepared.get(&key) {
                    Some(prepared) => run_prepared(prepared, params).map_err(failed),
                    None => Ok(Rows::new()),
                }
            }
            Cow::Owned(sql) => {
                let prepared = now(self.connection.prepare(sql)).map_err(failed)?;
                run_prepared(&prepared, params).map_err(failed)
            }
        }
    }
}

fn run_prepared(statement: &libsql::Statement, params: Vec<libsql::Value>) -> Result<Rows, libsql::Error> {
    let result = collect(statement, params);
    statement.reset();
    result
}

fn collect(statement: &libsql::Statement, params: Vec<libsql::Value>) -> Result<Rows, libsql::Error> {
    let columns = statement.column_count();
    if columns == 0 {
        now(statement.run(params))?;
        return Ok(Rows::new());
    }
    let mut rows = now(statement.query(params))?;
    let mut all = Rows::new();
    while let Some(row) = now(rows.next())? {
        let values: Result<Row, libsql::Error> = (0..columns).map(|at| row.get_value(at as i32).map(unbind)).collect();
        all.push(values?);
    }
    Ok(all)
}

fn run_plain(statement: &libsql::Statement) -> Result<(), libsql::Error> {
    let result = now(statement.run(()));
    statement.reset();
    result
}

fn classify(error: &libsql::Error, sql: &str) -> SqlError {
    let text = format!("{error} in {sql}");
    match error {
        // The low byte is the primary code: 19 is SQLITE_CONSTRAINT.
        libsql::Error::SqliteFailure(code, _) if code & 0xff == 19 => SqlError::Constraint(text),
        _ => SqlError::Broken(text),
    }
}

fn bind(value: &Value) -> libsql::Value {
    match value {
        Value::Null => libsql::Value::Null,
        Value::Integer(n) => libsql::Value::Integer(*n),
        Value::Real(x) => libsql::Value::Real(*x),
        Value::Text(text) => libsql::Value::Text(text.clone()),
        Value::Blob(bytes) => libsql::Value::Blob(bytes.clone()),
    }
}

fn unbind(value: libsql::Value) -> Value {
    match value {
        libsql::Value::Null => Value::Null,
        libsql::Value::Integer(n) => Value::Integer(n),
        libsql::Value::Real(x) => Value::Real(x),
        libsql::Value::Text(text) => Value::Text(text),
        libsql::Value::Blob(bytes) => Value::Blob(bytes),
    }
}

/// Local calls of libsql block and never wait for a wake-up, so one poll is the whole way.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database::open(&["CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;".to_owned()]).unwrap()
    }

    const INSERT: &str = "INSERT INTO t (id, n) VALUES (?1, ?2)";
    const ALL: &str = "SELECT id, n FROM t ORDER BY id";

    #[test]
    fn a_batch_is_all_or_nothing() {
        let mut database = database();
        let insert = |id: &str, n: i64| Statement::new(INSERT, vec![id.into(), n.into()]);
        database.apply(&[insert("a", 1)]).unwrap();
        let refused = database.apply(&[insert("b", 2), insert("a", 3)]);
        assert!(matches!(refused, Err(SqlError::Constraint(_))));
        let rows = database.read(&[Statement::new(ALL, Vec::new())]).unwrap();
        assert_eq!(rows, vec![vec![vec![Value::from("a"), Value::Integer(1)]]]);
    }

    #[test]
    fn a_reset_empties_every_table() {
        let mut database = database();
        database.apply(&[Statement::new(INSERT, vec!["a".into(), 1i64.into()])]).unwrap();
        database.reset().unwrap();
        assert_eq!(database.read(&[Statement::new(ALL, Vec::new())]).unwrap(), vec![Rows::new()]);
    }

    #[test]
    fn a_wrong_statement_is_named() {
        let broken = database().apply(&[Statement::new("INSERT INTO missing VALUES (1)", Vec::new())]);
        assert!(matches!(broken, Err(SqlError::Broken(text)) if text.contains("missing")));
    }
}
