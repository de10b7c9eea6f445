//! [`Platform`] over Spin's interfaces: `spin:sqlite`, variables, outgoing HTTP, WASI clock and randomness.
//!
//! | variable | meaning |
//! |---|---|
//! | `settings` | JSON of [`Settings`] |
//! | `people_batch` | `host`: batches go to `POST {base}/people/batch` of the host; else a transaction of `spin:sqlite` |
//! | `address_header` | header with the client's address, which the host sets and strips from outside requests: `x-chatcall-address` unless set (`spin-client-addr` on Spin) |
//! | `room_host_url`, `room_host_key` | where objects live when not in this host, and the key that signs requests to it |
//!
//! Objects are `POST {base}/<kind>/<name>` with a [`Message`] as JSON; the answer is 200 with the reply, or 503 with
//! `{"error":"failed"|"lost"|"overloaded"}`. The base is `http://objects.internal` unless `room_host_url` is set.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use edge_core::auth::internal;
use edge_core::object::{CallError, Kind};
use edge_core::objects::Message;
use edge_core::platform::{Platform, StoreError};
use edge_core::settings::Settings;
use edge_core::sql::{Rows, Statement, Value};
use serde::Deserialize;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{FullBody, Request, send};
use spin_sdk::sqlite::{Connection, Error as SqliteError, Value as SqliteValue};
use wire::Timestamp;

const OBJECTS_INTERNAL: &str = "http://objects.internal";
const ADDRESS_HEADER: &str = "x-chatcall-address";

/// What the variables said, read once per instance.
struct Config {
    settings: Settings,
    batch_at_host: bool,
    base: String,
    address_header: String,
    key: Option<String>,
}

thread_local!(static CONFIG: RefCell<Option<Rc<Config>>> = const { RefCell::new(None) });

/// The platform of one request.
pub(crate) struct SpinPlatform {
    config: Rc<Config>,
}

impl SpinPlatform {
    /// Reads the variables at the first request of an instance.
    pub(crate) async fn load() -> Result<Self, String> {
        if let Some(config) = CONFIG.with_borrow(Clone::clone) {
            return Ok(Self { config });
        }
        let settings = spin_sdk::variables::get("settings").await.map_err(|error| error.to_string())?;
        let room_host = variable("room_host_url").await;
        let config = Rc::new(Config {
            settings: serde_json::from_str(&settings).map_err(|error| error.to_string())?,
            batch_at_host: variable("people_batch").await.as_deref() == Some("host"),
            base: room_host.map_or_else(|| OBJECTS_INTERNAL.to_owned(), |url| url.trim_end_matches('/').to_owned()),
            address_header: variable("address_header").await.unwrap_or_else(|| ADDRESS_HEADER.to_owned()),
            key: variable("room_host_key").await,
        });
        CONFIG.set(Some(config.clone()));
        Ok(Self { config })
    }

    /// Where this host says who asks.
    pub(crate) fn address_header(&self) -> &str {
        &self.config.address_header
    }

    /// One signed request to the host of the objects; status and body.
    async fn post(&self, path: &str, body: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        let mut request = Request::post(format!("{}{path}", self.config.base)).header("content-type", "application/json");
        if let Some(key) = &self.config.key {
            let at = self.now();
            request = request
                .header(internal::TIME_HEADER, at.0.to_string())
                .header(internal::SIGNATURE_HEADER, internal::sign(key.as_bytes(), "POST", path, &body, at));
        }
        let request = request.body(FullBody::new(bytes::Bytes::from(body))).ok()?;
        let response = send(request).await.map_err(|error| eprintln!("{path}: {error}")).ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().bytes().await.ok()?;
        Some((status, body.to_vec()))
    }

    async fn batch_at_host(&self, statements: &[Statement]) -> Result<Vec<Rows>, StoreError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Answer {
            Rows(Vec<Rows>),
            Error(String),
        }
        let gone = |why: &str| StoreError::Unavailable(why.to_owned());
        let body = serde_json::to_vec(&serde_json::json!({ "statements": statements })).map_err(|_| gone("encoding"))?;
        let (_, answer) = self.post("/people/batch", body).await.ok_or_else(|| gone("host not reachable"))?;
        match serde_json::from_slice(&answer).map_err(|_| gone("unreadable answer"))? {
            Answer::Rows(rows) => Ok(rows),
            Answer::Error(word) => Err(match word.as_str() {
                "conflict" => StoreError::Conflict,
                "read_only" => StoreError::ReadOnly,
                _ => StoreError::Unavailable(word),
            }),
        }
    }
}

impl Platform for SpinPlatform {
    fn settings(&self) -> &Settings {
        &self.config.settings
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        let connection = Connection::open_default().await.map_err(store_error)?;
        run(&connection, statement).await
    }

    async fn people_batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        if self.config.batch_at_host {
            return self.batch_at_host(&statements).await;
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
        #[derive(Deserialize)]
        struct Failed {
            error: CallError,
        }
        let path = format!("/{}/{name}", kind.as_str());
        let (status, body) = self.post(&path, msg.to_bytes()).await.ok_or(CallError::Lost)?;
        if status == 200 {
            return Ok(Message::from_bytes(&body));
        }
        Err(serde_json::from_slice::<Failed>(&body).map_or(CallError::Lost, |failed| failed.error))
    }

    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn random(&self) -> [u8; 32] {
        let bytes = spin_sdk::wasip3::random::random::get_random_bytes(32);
        bytes.try_into().expect("the host returns as many bytes as were asked for")
    }
}

async fn variable(name: &str) -> Option<String> {
    spin_sdk::variables::get(name).await.ok().filter(|value| !value.is_empty())
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
