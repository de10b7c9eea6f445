//! Statements that hosts execute, and rows that come back. All SQL text outside the migrations stands below this module.
//!
//! Own storage carries the object's name in its keys, so the same statements run on one shared file (own host) and on
//! the SQLite of one object (Durable Object).

use serde::{Deserialize, Serialize};

pub mod gateway;
pub mod people;
pub mod people_gateway;
pub mod people_schema;
pub mod projection;
pub mod room;
pub mod search;
pub mod user;

/// A value of SQLite's five storage classes. Booleans are 0 and 1; ids are text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type", content = "value")]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// One statement with positional parameters (at most 100).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    pub sql: std::borrow::Cow<'static, str>,
    pub params: Vec<Value>,
}

impl Statement {
    /// A statement of constant text.
    #[must_use]
    pub fn new(sql: &'static str, params: Vec<Value>) -> Self {
        debug_assert!(params.len() <= 100, "Durable Objects bind at most 100 parameters");
        Self { sql: sql.into(), params }
    }
}

/// One row, columns in the order of the query.
pub type Row = Vec<Value>;
/// The rows of one statement.
pub type Rows = Vec<Row>;

impl Value {
    /// The integer, or `None` for another class.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Integer(n) = self { Some(*n) } else { None }
    }

    /// The integer as unsigned, or `None` for another class or a negative one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_i64().and_then(|n| u64::try_from(n).ok())
    }

    /// The text, or `None` for another class.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The bytes, or `None` for another class.
    #[must_use]
    pub fn as_blob(&self) -> Option<&[u8]> {
        if let Self::Blob(bytes) = self { Some(bytes) } else { None }
    }

    /// Whether it is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Integer(n)
    }
}

impl From<u64> for Value {
    /// Saturates at `i64::MAX`; nothing we count comes near.
    fn from(n: u64) -> Self {
        Self::Integer(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Integer(i64::from(yes))
    }
}

impl From<wire::Timestamp> for Value {
    fn from(at: wire::Timestamp) -> Self {
        at.0.into()
    }
}

macro_rules! id_values {
    ($($id:ty),+) => {$(
        impl From<$id> for Value {
            fn from(id: $id) -> Self {
                Self::Text(id.to_string())
            }
        }
    )+};
}
id_values!(wire::UserId, wire::RoomId, wire::MessageId, wire::SessionId);

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
