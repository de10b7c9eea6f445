//! A world for tests of handlers: the people database in memory with its real migrations, objects that answer what a test
//! says, a clock that a test moves. Nothing sleeps.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;

use edge_core::auth::refresh::keyed;
use edge_core::http::{self, Request, Response};
use edge_core::object::{CallError, Kind};
use edge_core::objects::Message;
use edge_core::platform::{Platform, StoreError};
use edge_core::settings::{Settings, SigningKey};
use edge_core::sql::people_schema::MIGRATIONS;
use edge_core::sql::{Row, Rows, Statement, Value as SqlValue};
use serde_json::Value;
use wire::{Timestamp, UserId};

const MEMORY: &str = ":memory:";

/// One deployment.
#[allow(missing_debug_implementations)] // connections have none
pub struct World {
    pub settings: Settings,
    pub now: Cell<Timestamp>,
    /// What objects were asked, in order.
    pub asked: RefCell<Vec<(Kind, String, Message)>>,
    /// What they answer, in order; `Done` when nothing is left.
    pub answers: RefCell<VecDeque<Result<Message, CallError>>>,
    /// What Rooms show when they are asked for single messages.
    pub messages: RefCell<Vec<wire::Message>>,
    /// What every write fails with.
    pub broken: Cell<Option<fn() -> StoreError>>,
    runtime: tokio::runtime::Runtime,
    connection: libsql::Connection,
    entropy: Cell<u64>,
}

/// A person who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: UserId,
    pub email: String,
    pub access: String,
    pub refresh: String,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Cheap hashes, no rates; production otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::in_file(MEMORY.as_ref())
    }

    /// The same with its database in a file.
    #[must_use]
    pub fn in_file(file: &Path) -> Self {
        let letters: String = ('!'..='~').collect();
        let settings = Settings {
            signing_key: Some(SigningKey::Hs256(letters.clone())),
            refresh_secret: letters,
            bcrypt_cost: 4,
            rate_limits: false,
            ..Settings::default()
        };
        Self::migrated(settings, file)
    }

    #[must_use]
    pub fn with(settings: Settings) -> Self {
        Self::migrated(settings, MEMORY.as_ref())
    }

    fn migrated(settings: Settings, file: &Path) -> Self {
        let world = Self::bare(settings, file);
        for migration in MIGRATIONS {
            world.runtime.block_on(world.connection.execute_batch(migration.sql)).expect("a migration");
        }
        world
    }

    /// A database without any table.
    #[must_use]
    pub fn empty() -> Self {
        Self::bare(Settings::default(), MEMORY.as_ref())
    }

    fn bare(settings: Settings, file: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let connection = runtime.block_on(async {
            let database = libsql::Builder::new_local(file).build().await.expect("a database");
            database.connect().expect("a connection")
        });
        Self {
            settings,
            now: Cell::new(Timestamp(1_772_357_400_000)),
            asked: RefCell::default(),
            answers: RefCell::default(),
            messages: RefCell::default(),
            broken: Cell::new(None),
            runtime,
            connection,
            entropy: Cell::new(0),
        }
    }

    /// The same world with rates.
    #[must_use]
    pub fn limited() -> Self {
        let settings = Settings { rate_limits: true, ..Self::new().settings };
        Self::with(settings)
    }

    pub fn pass(&self, ms: u64) {
        self.now.set(self.now.get().plus_ms(ms));
    }

    #[must_use]
    pub fn handle(&self, request: Request) -> Answer {
        Answer(self.runtime.block_on(http::handle(self, request)))
    }

    #[must_use]
    pub fn get(&self, target: &str, who: &Person) -> Answer {
        self.handle(request("GET", target).bearer(&who.access))
    }

    #[must_use]
    pub fn post(&self, target: &str, who: &Person, body: &Value) -> Answer {
        self.handle(request("POST", target).bearer(&who.access).json(body))
    }

    /// Registers `name`.
    pub fn person(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        let body = serde_json::json!({"username": name, "email": email, "password": PASSWORD});
        let answer = self.handle(request("POST", "/api/auth/register").json(&body));
        assert_eq!(answer.status(), 201, "{answer:?}");
        answer.person()
    }

    /// Runs a statement on the database.
    pub fn sql(&self, sql: &'static str, params: Vec<SqlValue>) -> Rows {
        self.run(Statement::new(sql, params))
    }

    pub fn run(&self, statement: Statement) -> Rows {
        self.runtime.block_on(self.query(statement)).expect("a statement of the test")
    }

    /// The next answer of an object.
    pub fn answer(&self, answer: Message) {
        self.answers.borrow_mut().push_back(Ok(answer));
    }

    /// What objects were asked since the last time.
    pub fn take_asked(&self) -> Vec<(Kind, String, Message)> {
        self.asked.take()
    }

    async fn query(&self, statement: Statement) -> Result<Rows, StoreError> {
        let params: Vec<libsql::Value> = statement.params.into_iter().map(to_libsql).collect();
        let mut rows = self.connection.query(&statement.sql, params).await.map_err(store_error)?;
        let mut all = Rows::new();
        while let Some(row) = rows.next().await.map_err(store_error)? {
            let read: Row = (0..row.column_count()).map(|at| from_libsql(row.get_value(at).expect("a column"))).collect();
            all.push(read);
        }
        Ok(all)
    }
}

/// Neither short nor common.
pub const PASSWORD: &str = "plain words in a row";

impl Platform for World {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        self.query(statement).await
    }

    async fn people_batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        if let Some(error) = self.broken.get() {
            return Err(error());
        }
        self.query(Statement::new("BEGIN IMMEDIATE", Vec::new())).await?;
        let mut all = Vec::new();
        for statement in statements {
            match self.query(statement).await {
                Ok(rows) => all.push(rows),
                Err(error) => {
                    self.query(Statement::new("ROLLBACK", Vec::new())).await?;
                    return Err(error);
                }
            }
        }
        self.query(Statement::new("COMMIT", Vec::new())).await?;
        Ok(all)
    }

    async fn object(&self, kind: Kind, name: &str, msg: Message) -> Result<Message, CallError> {
        self.asked.borrow_mut().push((kind, name.to_owned(), msg.clone()));
        if let Message::Look { seqs, .. } = msg
            && self.answers.borrow().is_empty()
        {
            let wanted = |message: &&wire::Message| message.conversation_id.to_string() == name && seqs.contains(&message.seq);
            let messages = self.messages.borrow().iter().filter(wanted).cloned().collect();
            return Ok(Message::HistoryPage { messages, next_before: None });
        }
        self.answers.borrow_mut().pop_front().unwrap_or(Ok(Message::Done))
    }

    fn now(&self) -> Timestamp {
        self.now.get()
    }

    fn random(&self) -> [u8; 32] {
        self.entropy.set(self.entropy.get() + 1);
        let hex = keyed("entropy", "test", &self.entropy.get().to_be_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&hex.as_bytes()[..32]);
        bytes
    }
}

/// A request to build on.
#[must_use]
pub fn request(method: &str, target: &str) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: vec![("host".to_owned(), "chat.example.com".to_owned())],
        body: Vec::new(),
        address: "198.51.100.7".to_owned(),
    }
}

/// Building on it.
pub trait RequestExt {
    #[must_use]
    fn with(self, name: &str, value: &str) -> Self;
    #[must_use]
    fn bearer(self, token: &str) -> Self;
    #[must_use]
    fn json(self, body: &Value) -> Self;
    #[must_use]
    fn from(self, address: &str) -> Self;
}

impl RequestExt for Request {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn bearer(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.with("content-type", "application/json")
    }

    fn from(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }
}

/// A response to look into.
#[derive(Debug, Clone)]
pub struct Answer(pub Response);

impl Answer {
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.0.body).unwrap_or(Value::Null)
    }

    /// Status, `code` and `field` of an error in the `chatcall` shape.
    #[must_use]
    pub fn error(&self) -> (u16, String, Option<String>) {
        let body = self.json();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        (self.status(), text("code").unwrap_or_default(), text("field"))
    }

    /// Who signed in.
    #[must_use]
    pub fn person(&self) -> Person {
        let body = self.json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Person {
            id: UserId::parse(&text(&body["user"]["id"])).expect("a user"),
            email: text(&body["user"]["email"]),
            access: text(&body["accessToken"]),
            refresh: text(&body["refreshToken"]),
        }
    }
}

fn to_libsql(value: SqlValue) -> libsql::Value {
    match value {
        SqlValue::Null => libsql::Value::Null,
        SqlValue::Integer(n) => libsql::Value::Integer(n),
        SqlValue::Real(x) => libsql::Value::Real(x),
        SqlValue::Text(text) => libsql::Value::Text(text),
        SqlValue::Blob(bytes) => libsql::Value::Blob(bytes),
    }
}

fn from_libsql(value: libsql::Value) -> SqlValue {
    match value {
        libsql::Value::Null => SqlValue::Null,
        libsql::Value::Integer(n) => SqlValue::Integer(n),
        libsql::Value::Real(x) => SqlValue::Real(x),
        libsql::Value::Text(text) => SqlValue::Text(text),
        libsql::Value::Blob(bytes) => SqlValue::Blob(bytes),
    }
}

fn store_error(error: libsql::Error) -> StoreError {
    let text = error.to_string();
    if text.contains("constraint failed") { StoreError::Conflict } else { StoreError::Unavailable(text) }
}
