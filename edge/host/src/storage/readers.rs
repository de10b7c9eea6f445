//! Reader threads: loads of objects and queries of HTTP handlers, on snapshots that no writer disturbs.

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use edge_core::object::PersistError;
use edge_core::sql::{Rows, Statement};
use tokio::sync::oneshot;

use super::connection::{Connection, Query, QueryError};
use super::{OpenError, spawn_thread, sql};

/// What a reader is asked.
pub(super) enum Read {
    Load { statements: Vec<Statement>, answer: Box<dyn FnOnce(Result<Vec<Rows>, PersistError>) + Send> },
    Query { statement: Statement, answer: oneshot::Sender<Result<Query, QueryError>> },
}

impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Read")
    }
}

/// Starts the threads, which end when nobody can ask any more.
pub(super) fn spawn(file: &Path, count: usize, queue: Receiver<Read>) -> Result<(), OpenError> {
    let queue = Arc::new(Mutex::new(queue));
    for n in 0..count.max(1) {
        let mut connection = Connection::open(file)?;
        connection.prepare_reader()?;
        let queue = queue.clone();
        spawn_thread(&format!("reader-{n}"), move || {
            while let Some(read) = next(&queue) {
                serve(&mut connection, read);
            }
        });
    }
    Ok(())
}

fn next(queue: &Mutex<Receiver<Read>>) -> Option<Read> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn serve(connection: &mut Connection, read: Read) {
    match read {
        Read::Load { statements, answer } => {
            let result = load(connection, statements);
            if let Err(error) = &result {
                tracing::error!(%error, "a load failed");
            }
            answer(result.map_err(|error| error.kind()));
        }
        Read::Query { statement, answer } => {
            let _ = answer.send(connection.query(statement));
        }
    }
}

/// Several statements see one snapshot.
fn load(connection: &mut Connection, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
    let several = statements.len() > 1;
    if several {
        connection.plain(sql::BEGIN_READ)?;
    }
    let result: Result<Vec<Rows>, QueryError> = statements.into_iter().map(|statement| connection.run(statement)).collect();
    if several && !connection.is_autocommit() {
        connection.plain(sql::COMMIT)?;
    }
    result
}
