//! Client dialects (contract 1.1): each is a table, chosen once per socket.
//!
//! A table turns a client's events into [`Command`]s and [`ServerEvent`]s and [`Answer`]s into the client's words. The
//! gateway never asks which dialect a socket speaks; another dialect is another table.

pub mod chatcall;
mod command;
mod event;
mod fields;

pub use command::{Command, Cursors};
pub use event::{Answer, Resumed, RoomMarks, ServerEvent};

use serde_json::Value;

use crate::error::Failure;
use crate::settings::Settings;

/// One client dialect.
pub struct Dialect {
    /// As in `auth.dialect` and `?dialect=`.
    pub name: &'static str,
    /// Events of clients, sorted by name.
    pub inbound: &'static [Inbound],
    /// Writes the JSON arguments (comma-separated) of a server event and names it; `None` when this dialect has no word
    /// for it.
    pub encode: fn(&ServerEvent<'_>, &mut Vec<u8>) -> Option<&'static str>,
    /// Writes the JSON arguments of an acknowledgement.
    pub answer: fn(&Answer<'_>, &mut Vec<u8>),
}

/// One event of a client.
#[derive(Debug)]
pub struct Inbound {
    pub event: &'static str,
    /// Reads its arguments; nothing about them was checked.
    pub parse: fn(&[Value], &Settings) -> Result<Command, Failure>,
}

impl std::fmt::Debug for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialect").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An event by its name in the table, and the command it asks for.
pub type Parsed = (&'static str, Result<Command, Failure>);

/// The place of a dialect in [`ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialectId(u8);

/// Every dialect of this build.
pub static ALL: &[&Dialect] = &[&chatcall::DIALECT];

impl DialectId {
    /// `chatcall`, the one a handshake token of ours implies.
    pub const DEFAULT: Self = Self(0);

    /// The dialect of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let at = ALL.iter().position(|dialect| dialect.name == name)?;
        u8::try_from(at).ok().map(Self)
    }

    /// Its table.
    #[must_use]
    pub fn table(self) -> &'static Dialect {
        ALL.get(self.index()).copied().unwrap_or(&chatcall::DIALECT)
    }

    /// For tables with one entry per dialect.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Dialect {
    /// Turns an event of the client into its name in the table and a command. `None`: the dialect has no such event.
    #[must_use]
    pub fn command(&self, event: &str, args: &[Value], settings: &Settings) -> Option<Parsed> {
        let at = self.inbound.binary_search_by(|known| known.event.cmp(event)).ok()?;
        self.inbound.get(at).map(|known| (known.event, (known.parse)(args, settings)))
    }

    /// The event as a whole packet for the default namespace, or `None` when the dialect has no word for it.
    #[must_use]
    pub fn event_packet(&self, event: &ServerEvent<'_>) -> Option<String> {
        let mut args = Vec::with_capacity(512);
        let name = (self.encode)(event, &mut args)?;
        let args = String::from_utf8(args).ok()?;
        Some(crate::socketio::encode::event(crate::socketio::packet::ROOT, name, &args))
    }

    /// The acknowledgement `id` as a whole packet for the default namespace.
    #[must_use]
    pub fn ack_packet(&self, id: u64, answer: &Answer<'_>) -> String {
        let mut args = Vec::with_capacity(256);
        (self.answer)(answer, &mut args);
        let args = String::from_utf8(args).unwrap_or_default();
        crate::socketio::encode::ack(crate::socketio::packet::ROOT, id, &args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbound_tables_are_sorted_for_the_search() {
        for dialect in ALL {
            assert!(dialect.inbound.is_sorted_by(|a, b| a.event < b.event), "{}", dialect.name);
        }
    }

    #[test]
    fn a_dialect_is_found_by_its_exact_name() {
        assert_eq!(DialectId::named("chatcall"), Some(DialectId::DEFAULT));
        assert_eq!(DialectId::named("ChatCall"), None);
    }
}
