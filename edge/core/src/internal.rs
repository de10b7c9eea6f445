//! Requests between the parts of one deployment: what a host without objects asks of the room host.
//!
//! Every one is a POST below [`PREFIX`], signed with `ROOM_HOST_KEY` ([`crate::auth::internal`]). Each answer of a room
//! host carries [`ANSWER_HEADER`], so that the asker can tell a refusal of the way from an answer at its end.

use serde::{Deserialize, Serialize};

use crate::object::{CallError, Kind, RequestHead};
use crate::platform::StoreError;
use crate::sql::{Rows, Statement};

/// Nothing else is below it, and nothing of it is reachable without a signature.
pub const PREFIX: &str = "/internal/";
/// `<kind>/<name>` follows. Body and answer: a [`crate::objects::Message`]; 503 with a [`CallFailed`].
pub const OBJECTS: &str = "/internal/objects/";
/// Reads. Body: [`Batch`]; answer: [`StoreAnswer`].
pub const PEOPLE_READ: &str = "/internal/people/read";
/// All or nothing. Body: [`Batch`]; answer: [`StoreAnswer`].
pub const PEOPLE_BATCH: &str = "/internal/people/batch";
/// Body: [`Forwarded`]; answer: the gateway's, as it is.
pub const POLLING: &str = "/internal/polling";
/// Whether the room host is there and takes the key. Empty.
pub const PING: &str = "/internal/ping";

/// [`ANSWERED`] or [`REFUSED`].
pub const ANSWER_HEADER: &str = "x-chatcall-internal";
/// The request was taken.
pub const ANSWERED: &str = "answered";
/// The signature was not accepted, or this host has no key.
pub const REFUSED: &str = "refused";

/// Statements on the people database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub statements: Vec<Statement>,
}

/// Why the people database did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreFault {
    Conflict,
    ReadOnly,
    Unavailable,
}

/// `{"rows":[…]}`, one list for each statement, or `{"error":"…"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreAnswer {
    Rows(Vec<Rows>),
    Error(StoreFault),
}

impl StoreAnswer {
    /// As handlers see it.
    ///
    /// # Errors
    /// What the other side said.
    pub fn into_result(self) -> Result<Vec<Rows>, StoreError> {
        match self {
            Self::Rows(rows) => Ok(rows),
            Self::Error(StoreFault::Conflict) => Err(StoreError::Conflict),
            Self::Error(StoreFault::ReadOnly) => Err(StoreError::ReadOnly),
            Self::Error(StoreFault::Unavailable) => Err(StoreError::Unavailable("the database of the host".to_owned())),
        }
    }
}

/// `{"error":"failed"|"lost"|"overloaded"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailed {
    pub error: CallError,
}

/// A polling request on its way to a gateway: all of it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    pub head: RequestHead,
    pub body: Vec<u8>,
}

impl Forwarded {
    /// The head as one line of JSON, then the body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(&self.head).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The inverse of [`Forwarded::to_bytes`]. A WebSocket cannot come this way, whatever the head says.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (line, body) = bytes.split_at_checked(end)?;
        let head: RequestHead = crate::json::read(line).ok()?;
        Some(Self { head: RequestHead { upgrades: false, ..head }, body: body.get(1..)?.to_vec() })
    }
}

/// The object in a path below [`OBJECTS`], if handlers may call it: never a gateway, which believes who speaks to it.
#[must_use]
pub fn callable(path: &str) -> Option<&str> {
    let object = path.strip_prefix(OBJECTS)?;
    let (kind, name) = object.split_once('/')?;
    let may = matches!(Kind::parse(kind), Some(Kind::Room | Kind::User));
    (may && !name.is_empty() && !name.contains('/')).then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_request_comes_back_whole_and_without_upgrades() {
        let head = RequestHead { method: "POST".into(), query: "a=\n\"b\"".into(), origin: Some("null".into()), upgrades: true, ..RequestHead::default() };
        let sent = Forwarded { head: head.clone(), body: b"4\n2\nx".to_vec() };
        let got = Forwarded::from_bytes(&sent.to_bytes()).expect("readable");
        assert_eq!(got, Forwarded { head: RequestHead { upgrades: false, ..head }, ..sent });
        for bad in [b"".as_slice(), b"\n", b"{}", b"[]\n", b"{}\n"] {
            assert_eq!(Forwarded::from_bytes(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn handlers_call_rooms_and_users_only() {
        assert_eq!(callable("/internal/objects/room/a"), Some("room/a"));
        assert_eq!(callable("/internal/objects/user/a"), Some("user/a"));
        for refused in ["http/1", "gateway/gw-0", "directory/x", "nothing/x", "room", "room/", "room/a/b", ""] {
            assert_eq!(callable(&format!("{OBJECTS}{refused}")), None, "{refused}");
        }
        assert_eq!(callable("/internal/room/a"), None);
    }
}
