//! `spin:variables`, `spin:sqlite` and outgoing HTTP, as far as the manifest allows them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chatcall::guest::{Asked, Database, Done, Sent, Services};
use chatcall::storage::{Query, QueryError, from_libsql, to_libsql};
use edge_core::sql::{Row, Rows, Statement};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, default_send_request};

use crate::manifest::Given;

/// Spin waits as long for a locked database.
const BUSY: Duration = Duration::from_secs(5);

/// What this stand-in gives to every instance.
#[derive(Debug)]
pub struct SpinServices {
    given: Given,
    /// Where databases lie, each a file `<name>.db`.
    folder: PathBuf,
}

impl SpinServices {
    /// Databases lie in `folder`.
    #[must_use]
    pub fn new(given: Given, folder: &Path) -> Self {
        Self { given, folder: folder.to_owned() }
    }

    fn allowed(&self, uri: &http::Uri) -> bool {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
        let base = format!("{scheme}://{authority}");
        self.given.allowed_hosts.iter().any(|allowed| allowed.trim_end_matches('/') == base)
    }
}

impl Services for SpinServices {
    fn variable(&self, name: &str) -> Option<String> {
        self.given.variables.get(name).cloned()
    }

    fn open(&self, database: &str) -> Option<Arc<dyn Database>> {
        let known = self.given.databases.iter().any(|name| name == database);
        known.then(|| Arc::new(Connection { file: self.folder.join(format!("{database}.db")), open: Arc::default() }) as Arc<dyn Database>)
    }

    fn send(&self, request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Sent {
        if !self.allowed(request.uri()) {
            eprintln!("spin: the manifest does not allow {}", request.uri());
            return Box::new(async { Err(Error::HttpRequestDenied) });
        }
        Box::new(async move {
            let (response, done) = default_send_request(request, options).await?;
            let done: Done = Box::new(done);
            Ok((response.map(|body| body.boxed_unsync()), done))
        })
    }
}

/// A connection of its own for each `open`: transactions belong to it.
#[derive(Debug)]
struct Connection {
    file: PathBuf,
    open: Arc<Mutex<Option<Handle>>>,
}

struct Handle(libsql::Connection, #[allow(dead_code)] libsql::Database);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Database for Connection {
    fn query(&self, statement: Statement) -> Asked<'_> {
        let (file, open) = (self.file.clone(), self.open.clone());
        Box::pin(async move {
            let runtime = tokio::runtime::Handle::current();
            let work = move || {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                runtime.block_on(async {
                    if open.is_none() {
                        let database = libsql::Builder::new_local(file).build().await?;
                        let connection = database.connect()?;
                        connection.busy_timeout(BUSY)?;
                        *open = Some(Handle(connection, database));
                    }
                    let Some(Handle(connection, _)) = open.as_ref() else { return Ok(Query { columns: Vec::new(), rows: Rows::new() }) };
                    run(connection, statement).await
                })
            };
            tokio::task::spawn_blocking(work).await.map_err(|_| QueryError::stopped())?.map_err(QueryError::from)
        })
    }
}

async fn run(connection: &libsql::Connection, statement: Statement) -> libsql::Result<Query> {
    let prepared = connection.prepare(&statement.sql).await?;
    let columns: Vec<String> = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
    let params: Vec<libsql::Value> = statement.params.into_iter().map(to_libsql).collect();
    let mut rows = Rows::new();
    if columns.is_empty() {
        prepared.execute(params).await?;
        return Ok(Query { columns, rows });
    }
    let mut found = prepared.query(params).await?;
    while let Some(row) = found.next().await? {
        let values: libsql::Result<Row> = (0..columns.len() as i32).map(|n| Ok(from_libsql(row.get_value(n)?))).collect();
        rows.push(values?);
    }
    Ok(Query { columns, rows })
}
