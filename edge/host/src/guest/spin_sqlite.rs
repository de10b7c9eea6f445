//! `spin:sqlite` for handlers, over the connections of [`super::Services`].

use std::sync::Arc;

use edge_core::sql;
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use super::bindings::spin::sqlite::sqlite::{Error, Host, HostConnection, HostConnectionWithStore, QueryResult, RowResult, Value};
use super::{Ctx, Database, SpinHost};
use crate::storage::{Query, QueryError};

/// A connection as the guest sees it.
#[derive(Debug)]
pub struct Opened(Arc<dyn Database>);

impl Ctx {
    fn open_database(&mut self, name: &str) -> wasmtime::Result<Result<Resource<Opened>, Error>> {
        let Some(services) = &self.services else { return Ok(Err(Error::AccessDenied)) };
        match services.open(name) {
            Some(database) => Ok(Ok(self.table.push(Opened(database))?)),
            None => Ok(Err(Error::NoSuchDatabase)),
        }
    }

    fn database(&mut self, connection: &Resource<Opened>) -> wasmtime::Result<Arc<dyn Database>> {
        Ok(self.table.get(connection)?.0.clone())
    }
}

impl Host for Ctx {}

impl HostConnection for Ctx {
    async fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Opened>, Error>> {
        self.open_database(&name)
    }

    async fn execute(
        &mut self,
        connection: Resource<Opened>,
        text: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<QueryResult, Error>> {
        let database = self.database(&connection)?;
        let result = database.query(statement(text, params)).await;
        Ok(result.map(|Query { columns, rows }| QueryResult { columns, rows: rows.into_iter().map(row).collect() }).map_err(error))
    }

    async fn last_insert_rowid(&mut self, _: Resource<Opened>) -> wasmtime::Result<i64> {
        Ok(0)
    }

    async fn changes(&mut self, _: Resource<Opened>) -> wasmtime::Result<u64> {
        Ok(0)
    }

    async fn drop(&mut self, connection: Resource<Opened>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

type Rows = (Vec<String>, StreamReader<RowResult>, FutureReader<Result<(), Error>>);

impl<T: Send + 'static> HostConnectionWithStore<T> for SpinHost {
    async fn open_async(accessor: &Accessor<T, Self>, name: String) -> wasmtime::Result<Result<Resource<Opened>, Error>> {
        accessor.with(|mut store| store.get().open_database(&name))
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Opened>,
        text: String,
        params: Vec<Value>,
    ) -> wasmtime::Result<Result<Rows, Error>> {
        let database = accessor.with(|mut store| store.get().database(&connection))?;
        match database.query(statement(text, params)).await {
            Err(failed) => Ok(Err(error(failed))),
            Ok(Query { columns, rows }) => accessor.with(|mut store| {
                let rows: Vec<RowResult> = rows.into_iter().map(row).collect();
                let rows = StreamReader::new(&mut store, rows)?;
                let done = FutureReader::new(&mut store, async { wasmtime::error::Ok(Ok(())) })?;
                Ok(Ok((columns, rows, done)))
            }),
        }
    }

    async fn last_insert_rowid_async(_: &Accessor<T, Self>, _: Resource<Opened>) -> wasmtime::Result<i64> {
        Ok(0)
    }

    async fn changes_async(_: &Accessor<T, Self>, _: Resource<Opened>) -> wasmtime::Result<u64> {
        Ok(0)
    }
}

fn statement(text: String, params: Vec<Value>) -> sql::Statement {
    sql::Statement { sql: text.into(), params: params.into_iter().map(value_in).collect() }
}

fn row(row: sql::Row) -> RowResult {
    RowResult { values: row.into_iter().map(value_out).collect() }
}

fn error(failed: QueryError) -> Error {
    tracing::warn!(error = %failed, "a query of the component failed");
    Error::Io(failed.text)
}

fn value_in(value: Value) -> sql::Value {
    match value {
        Value::Integer(n) => sql::Value::Integer(n),
        Value::Real(x) => sql::Value::Real(x),
        Value::Text(text) => sql::Value::Text(text),
        Value::Blob(bytes) => sql::Value::Blob(bytes),
        Value::Null => sql::Value::Null,
    }
}

fn value_out(value: sql::Value) -> Value {
    match value {
        sql::Value::Integer(n) => Value::Integer(n),
        sql::Value::Real(x) => Value::Real(x),
        sql::Value::Text(text) => Value::Text(text),
        sql::Value::Blob(bytes) => Value::Blob(bytes),
        sql::Value::Null => Value::Null,
    }
}
