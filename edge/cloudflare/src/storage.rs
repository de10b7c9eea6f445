//! An object's own SQLite: migrations at the start of a life, statements of a Persist as one transaction.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use edge_core::object::{Kind, PersistError};
use edge_core::sql::{Rows, Statement, Value};
use worker::js_sys::{Function, Reflect};
use worker::wasm_bindgen::closure::Closure;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{Error, Result, SqlStorage, SqlStorageValue, Storage, console_error};

use crate::sql as own;

/// Migrations of a kind of object, in order.
fn migrations(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Room => &[
            edge_core::migration!("../../../schema/migrations/room/0001_room.sql"),
            edge_core::migration!("../../../schema/migrations/room/0002_keys.sql"),
            edge_core::migration!("../../../schema/migrations/room/0003_events.sql"),
            edge_core::migration!("../../../schema/migrations/room/0004_groups.sql"),
        ],
        Kind::Gateway => &[edge_core::migration!("../../../schema/migrations/gateway/0001_gateway.sql")],
        Kind::User => &[
            edge_core::migration!("../../../schema/migrations/user/0001_user.sql"),
            edge_core::migration!("../../../schema/migrations/user/0002_listeners.sql"),
            edge_core::migration!("../../../schema/migrations/user/0003_states.sql"),
        ],
        _ => &[],
    }
}

/// Brings the schema up to date.
///
/// # Errors
/// Storage refuses, or it is of a newer version than this code.
pub(crate) fn migrate(storage: &Storage, kind: Kind) -> Result<()> {
    let scripts = migrations(kind);
    let sql = storage.sql();
    let done = match query(&sql, &own::version()) {
        Ok(rows) => rows.first().and_then(|row| row.first()?.as_u64()).unwrap_or(0) as usize,
        Err(_) => {
            sql.exec(own::OWN_TABLE, None)?;
            0
        }
    };
    if done > scripts.len() {
        return Err(Error::RustError(format!("the storage of this {} was written by a newer version: deploy that version", kind.as_str())));
    }
    for (at, script) in scripts.iter().enumerate().skip(done) {
        sql.exec(script, None)?;
        query(&sql, &own::set_version(at as u64 + 1))?;
    }
    Ok(())
}

/// The object's name: `given` by whoever called it, and kept.
pub(crate) fn name(storage: &Storage, given: Option<String>) -> Result<Option<String>> {
    let sql = storage.sql();
    let rows = query(&sql, &own::name())?;
    let stored = rows.first().and_then(|row| row.first()?.as_str().map(str::to_owned));
    if let (None, Some(name)) = (&stored, &given) {
        query(&sql, &own::set_name(name))?;
    }
    Ok(stored.or(given))
}

/// The epoch of a gateway's life: the stored one when it only slept, else a higher one, stored before it is used.
pub(crate) fn gateway_epoch(storage: &Storage, only_slept: bool, fresh: u64) -> Result<u64> {
    let sql = storage.sql();
    let stored = query(&sql, &own::epoch())?;
    let stored = stored.first().and_then(|row| row.first()?.as_u64());
    if let Some(epoch) = stored.filter(|_| only_slept) {
        return Ok(epoch);
    }
    let epoch = stored.map_or(fresh, |epoch| fresh.max(epoch + 1));
    query(&sql, &own::set_epoch(epoch))?;
    Ok(epoch)
}

/// Runs the statements in one transaction: all of them or none. Answers the rows written.
pub(crate) fn persist(storage: &Storage, statements: Vec<Statement>) -> std::result::Result<u64, PersistError> {
    let written: Rc<Cell<u64>> = Rc::default();
    let failed: Rc<RefCell<Option<PersistError>>> = Rc::default();
    let (sql, seen, rows) = (storage.sql(), failed.clone(), written.clone());
    let closure = Closure::once(move || -> std::result::Result<JsValue, JsValue> {
        for statement in &statements {
            match execute(&sql, statement) {
                Ok((_, more)) => rows.set(rows.get() + more),
                Err(error) => {
                    *seen.borrow_mut() = Some(persist_error(&error));
                    return Err(JsValue::from_str("rollback"));
                }
            }
        }
        Ok(JsValue::NULL)
    });
    let transaction = Reflect::get(storage.as_raw(), &JsValue::from_str("transactionSync"))
        .and_then(JsCast::dyn_into::<Function>)
        .and_then(|run| run.call1(storage.as_raw(), closure.as_ref()));
    match (transaction, failed.borrow_mut().take()) {
        (Ok(_), None) => Ok(written.get()),
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(persist_error(&error.into())),
    }
}

/// Reads; each statement's rows.
pub(crate) fn load(storage: &Storage, statements: &[Statement]) -> std::result::Result<Vec<Rows>, PersistError> {
    let sql = storage.sql();
    statements.iter().map(|statement| query(&sql, statement).map_err(|error| persist_error(&error))).collect()
}

fn persist_error(error: &Error) -> PersistError {
    let text = error.to_string();
    if text.contains("constraint") {
        PersistError::Conflict
    } else if text.contains("SQLITE_FULL") || text.contains("disk is full") {
        PersistError::Full
    } else {
        console_error!("storage of an object: {text}");
        PersistError::Io
    }
}

fn query(sql: &SqlStorage, statement: &Statement) -> Result<Rows> {
    execute(sql, statement).map(|(rows, _)| rows)
}

/// The rows, and how many were written.
fn execute(sql: &SqlStorage, statement: &Statement) -> Result<(Rows, u64)> {
    let params: Vec<SqlStorageValue> = statement.params.iter().map(to_js).collect();
    let cursor = sql.exec(&statement.sql, params)?;
    let rows: Result<Rows> = cursor.raw().map(|row| Ok(row?.into_iter().map(from_js).collect())).collect();
    Ok((rows?, cursor.rows_written() as u64))
}

fn to_js(value: &Value) -> SqlStorageValue {
    match value {
        Value::Null => SqlStorageValue::Null,
        // Numbers of JavaScript are exact up to 2^53; nothing we count comes near.
        Value::Integer(n) => SqlStorageValue::Integer((*n).clamp(-(1 << 53), 1 << 53)),
        Value::Real(x) => SqlStorageValue::Float(*x),
        Value::Text(text) => SqlStorageValue::String(text.clone()),
        Value::Blob(bytes) => SqlStorageValue::Blob(bytes.clone()),
    }
}

fn from_js(value: SqlStorageValue) -> Value {
    match value {
        SqlStorageValue::Null => Value::Null,
        SqlStorageValue::Boolean(yes) => Value::Integer(i64::from(yes)),
        SqlStorageValue::Integer(n) => Value::Integer(n),
        SqlStorageValue::Float(x) => Value::Real(x),
        SqlStorageValue::String(text) => Value::Text(text),
        SqlStorageValue::Blob(bytes) => Value::Blob(bytes),
    }
}
