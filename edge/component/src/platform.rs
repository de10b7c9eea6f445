//! [`Platform`] over Spin's interfaces: `spin:sqlite`, outgoing HTTP, WASI clock and randomness.
//!
//! Objects in this process are `POST http://objects.internal/<kind>/<name>` with a [`Message`] as JSON; the answer is 200
//! with the reply, or 503 with a [`CallFailed`]. At a room host the same goes to [`internal::OBJECTS`], signed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use edge_core::internal::{self, Batch, CallFailed, StoreAnswer};
use edge_core::object::{CallError, Kind};
use edge_core::objects::Message;
use edge_core::platform::{Platform, StoreError};
use edge_core::settings::{RoomHost, Settings};
use edge_core::sql::people_schema::{self, SchemaError};
use edge_core::sql::{Rows, Statement, Value};
use spin_sdk::sqlite::{Connection, Error as SqliteError, Value as SqliteValue};
use wire::Timestamp;

use crate::config::{Config, Database, Objects};
use crate::room_host::{self, ANSWER_WAIT, Answer, Trouble};

thread_local!(static SCHEMA_IS_THERE: Cell<bool> = const { Cell::new(false) });

/// The platform of one request.
pub(crate) struct SpinPlatform {
    config: Rc<Config>,
    /// Why the room host did not answer this request.
    trouble: Cell<Option<Trouble>>,
}

impl SpinPlatform {
    pub(crate) fn new(config: Rc<Config>) -> Self {
        Self { config, trouble: Cell::new(None) }
    }

    /// What went wrong with the room host during this request.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.get()
    }

    /// Creates what is missing in a database of our own, once for each instance.
    pub(crate) async fn prepare(&self) -> Result<(), SchemaError> {
        if self.config.database == Database::Sqlite && !SCHEMA_IS_THERE.get() {
            people_schema::migrate(self).await?;
            SCHEMA_IS_THERE.set(true);
        }
        Ok(())
    }

    async fn ask(&self, host: &RoomHost, path: &str, body: Vec<u8>) -> Option<Answer> {
        let outcome = room_host::ask(host, path, body, ANSWER_WAIT, self.now()).await;
        outcome.map_err(|trouble| self.trouble.set(Some(trouble))).ok()
    }

    /// Statements executed by whoever has the database.
    async fn elsewhere(&self, path: &str, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        let gone = |why: &str| StoreError::Unavailable(why.to_owned());
        let body = serde_json::to_vec(&Batch { statements }).map_err(|_| gone("encoding"))?;
        let answer = match &self.config.objects {
            Objects::At(host) => self.ask(host, path, body).await,
            Objects::Here | Objects::Nowhere => room_host::ask_here("/people/batch", body).await,
        };
        let answer = answer.ok_or_else(|| gone("host not reachable"))?;
        serde_json::from_slice::<StoreAnswer>(&answer.body).map_err(|_| gone("unreadable answer"))?.into_result()
    }
}

impl Platform for SpinPlatform {
    fn settings(&self) -> &Settings {
        &self.config.settings
    }

    fn openapi(&self) -> Option<&'static str> {
        Some(include_str!("../../../schema/openapi.json"))
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        if self.config.database == Database::RoomHost {
            let rows = self.elsewhere(internal::PEOPLE_READ, vec![statement]).await?;
            return rows.into_iter().next().ok_or_else(|| StoreError::Unavailable("no rows in the answer".to_owned()));
        }
        let connection = Connection::open_default().await.map_err(store_error)?;
        run(&connection, statement).await
    }

    async fn people_batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        if self.config.database != Database::Sqlite {
            return self.elsewhere(internal::PEOPLE_BATCH, statements).await;
        }
        let connection = Connection::open_default().await.map_err(store_error)?;
        run(&connection, Statement::new("BEGIN IMMEDIATE", Vec::new())).await?;
        let outcome = run_all(&connection, statements).await;
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        match run(&connection, Statement::new(end, Vec::new())).await {
            Err(error) if outcome.is_ok() => {
                let _ = run(&connection, Statement::new("ROLLBACK", Vec::new())).await;
                Err(error)
            }
            _ => outcome,
        }
    }

    async fn object(&self, kind: Kind, name: &str, msg: Message) -> Result<Message, CallError> {
        let object = format!("{}/{name}", kind.as_str());
        let answer = match &self.config.objects {
            Objects::At(host) => self.ask(host, &format!("{}{object}", internal::OBJECTS), msg.to_bytes()).await,
            Objects::Here => room_host::ask_here(&format!("/{object}"), msg.to_bytes()).await,
            Objects::Nowhere => None,
        };
        let Answer { status, body, .. } = answer.ok_or(CallError::Lost)?;
        if status == 200 {
            return Ok(Message::from_bytes(&body));
        }
        Err(serde_json::from_slice::<CallFailed>(&body).map_or(CallError::Lost, |failed| failed.error))
    }

    async fn missing(&self) -> Option<&'static str> {
        let Objects::At(host) = &self.config.objects else { return None };
        match self.ask(host, internal::PING, Vec::new()).await {
            Some(_) => None,
            None if self.trouble.get() == Some(Trouble::Unreachable) => Some("room_host_unreachable"),
            None => Some("room_host_refused"),
        }
    }

    fn now(&self) -> Timestamp {
        now()
    }

    fn random(&self) -> [u8; 32] {
        let bytes = spin_sdk::wasip3::random::random::get_random_bytes(32);
        bytes.try_into().expect("the host returns as many bytes as were asked for")
    }
}

/// Now, by the host's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

async fn run_all(connection: &Connection, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
    let mut all = Vec::with_capacity(statements.len());
    for statement in statements {
        all.push(run(connection, statement).await?);
    }
    Ok(all)
}

async fn run(connection: &Connection, statement: Statement) -> Result<Rows, StoreError> {
    let params = statement.params.into_iter().map(to_sqlite);
    let rows = connection.execute(&*statement.sql, params).await.map_err(store_error)?;
    let rows = rows.collect().await.map_err(store_error)?;
    Ok(rows.into_iter().map(|row| row.values.into_iter().map(from_sqlite).collect()).collect())
}

fn to_sqlite(value: Value) -> SqliteValue {
    match value {
        Value::Null => SqliteValue::Null,
        Value::Integer(n) => SqliteValue::Integer(n),
        Value::Real(x) => SqliteValue::Real(x),
        Value::Text(text) => SqliteValue::Text(text),
        Value::Blob(bytes) => SqliteValue::Blob(bytes),
    }
}

fn from_sqlite(value: SqliteValue) -> Value {
    match value {
        SqliteValue::Null => Value::Null,
        SqliteValue::Integer(n) => Value::Integer(n),
        SqliteValue::Real(x) => Value::Real(x),
        SqliteValue::Text(text) => Value::Text(text),
        SqliteValue::Blob(bytes) => Value::Blob(bytes),
    }
}

/// The text of an unexpected error is for the log only; statements and parameters are never in it.
fn store_error(error: SqliteError) -> StoreError {
    match error {
        SqliteError::DatabaseFull => StoreError::ReadOnly,
        SqliteError::Io(text) if text.contains("constraint failed") => StoreError::Conflict,
        SqliteError::Io(text) if text.contains("readonly") || text.contains("disk is full") => StoreError::ReadOnly,
        other => {
            let text = other.to_string();
            eprintln!("people database: {text}");
            StoreError::Unavailable(text)
        }
    }
}
