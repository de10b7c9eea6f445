//! The log that the checker reads. The table of fields stands in the crate's documentation.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A conversation, user, message, device or connection.
pub type Id = Arc<str>;

/// A durable event as a reader saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub seq: u64,
    /// Name of an event that is no message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Id>,
    pub id: Id,
    #[serde(default)]
    pub sender: Option<Id>,
    #[serde(default)]
    pub client_id: Option<Id>,
    pub content: Id,
}

/// What is stored of a message that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    pub deleted: bool,
    /// Every content it had, the newest last.
    pub contents: Vec<Id>,
    /// Emoji and user.
    pub reactions: Vec<(Id, Id)>,
}

/// Watermarks of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watermarks {
    #[serde(default, alias = "deliveredSeq")]
    pub delivered_seq: u64,
    #[serde(default, alias = "readSeq")]
    pub read_seq: u64,
}

/// Marks by conversation and member.
pub type MarkTable = BTreeMap<Id, BTreeMap<Id, Watermarks>>;

/// A message that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    pub conversation: Id,
    pub id: Id,
    /// As it is shown, edits included.
    pub content: Id,
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// Milliseconds of any clock; for people only.
    #[serde(default)]
    pub t: u64,
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "snake_case")]
pub enum What {
    Connect {
        conn: Id,
        device: Id,
        user: Id,
        /// What its session may be recovered by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<Id>,
    },
    Disconnect {
        conn: Id,
    },
    Resume {
        op: u64,
        conn: Id,
        cursors: BTreeMap<Id, u64>,
    },
    Resumed {
        op: u64,
        #[serde(default)]
        heads: BTreeMap<Id, u64>,
        #[serde(default)]
        more: BTreeMap<Id, u64>,
        #[serde(default)]
        marks: MarkTable,
    },
    ResumeFailed {
        op: u64,
    },
    Deliver {
        conn: Id,
        conversation: Id,
        row: Row,
    },
    Reset {
        conn: Id,
        conversation: Id,
        head: u64,
    },
    /// The person of this connection is told not to be a member any more.
    Dismissed {
        conn: Id,
        conversation: Id,
    },
    Hold {
        device: Id,
        conversation: Id,
        seq: u64,
    },
    Send {
        op: u64,
        user: Id,
        #[serde(default)]
        device: Option<Id>,
        conversation: Id,
        #[serde(default)]
        client_id: Option<Id>,
        content: Id,
    },
    Ok {
        op: u64,
        row: Row,
    },
    Fail {
        op: u64,
        code: Id,
    },
    Unknown {
        op: u64,
    },
    Change {
        op: u64,
        user: Id,
        conversation: Id,
        message: Id,
        kind: Id,
        content: Id,
    },
    Changed {
        op: u64,
    },
    Mark {
        op: u64,
        user: Id,
        conversation: Id,
        up_to: u64,
    },
    Marked {
        op: u64,
        read_seq: u64,
    },
    Marks {
        conversation: Id,
        user: Id,
        #[serde(default)]
        delivered_seq: u64,
        #[serde(default)]
        read_seq: u64,
    },
    Read {
        op: u64,
        user: Id,
        conversation: Id,
        #[serde(default)]
        newest: bool,
    },
    Rows {
        op: u64,
        rows: Vec<Row>,
    },
    Search {
        op: u64,
        user: Id,
        text: Id,
    },
    /// All pages of its answer.
    Found {
        op: u64,
        hits: Vec<Hit>,
    },
    Commit {
        conversation: Id,
        seq: u64,
    },
    Quiesced,
    Final {
        conversation: Id,
        rows: Vec<Row>,
        #[serde(default)]
        marks: BTreeMap<Id, Watermarks>,
        #[serde(default)]
        states: BTreeMap<Id, State>,
        /// Who is a member at the end; empty when nobody asked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<Id>,
    },
}

/// Reads JSON lines; empty lines are skipped. The error names the line.
pub fn from_json_lines(reader: impl BufRead) -> Result<Vec<HistoryEvent>, String> {
    let mut events = Vec::new();
    for (at, line) in reader.lines().enumerate() {
        let line = line.map_err(|error| format!("line {}: {error}", at + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        events.push(serde_json::from_str(&line).map_err(|error| format!("line {}: {error}", at + 1))?);
    }
    Ok(events)
}

/// The inverse of [`from_json_lines`].
#[must_use]
pub fn to_json_lines(events: &[HistoryEvent]) -> String {
    let mut text = String::new();
    for event in events {
        text.push_str(&serde_json::to_string(event).unwrap_or_default());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_the_round_trip() {
        let text = concat!(
            r#"{"e":"connect","conn":"c","device":"d","user":"u"}"#, "\n",
            r#"{"e":"resume","op":1,"conn":"c","cursors":{"x":3}}"#, "\n\n",
            r#"{"e":"resumed","t":5,"op":1,"heads":{"x":4},"marks":{"x":{"u":{"deliveredSeq":1,"readSeq":2}}}}"#, "\n",
            r#"{"e":"deliver","conn":"c","conversation":"x","row":{"seq":4,"id":"m","sender":"u","content":"hi","other":1}}"#, "\n",
            r#"{"e":"quiesced"}"#, "\n",
        );
        let events = from_json_lines(text.as_bytes()).unwrap();
        assert_eq!(events.len(), 5);
        let again = from_json_lines(to_json_lines(&events).as_bytes()).unwrap();
        assert_eq!(events, again);
    }

    #[test]
    fn a_bad_line_is_named() {
        assert!(from_json_lines(&b"{\"e\":\"quiesced\"}\n{\"e\":\"nonsense\"}\n"[..]).unwrap_err().starts_with("line 2"));
    }
}
