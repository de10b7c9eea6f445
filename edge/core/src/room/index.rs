//! The search index follows the conversation (G-07): a cursor of events, and batches of what stands behind it.
//!
//! The cursor is in the people database, beside what it counts. A life learns it when it loads, and enters everything
//! behind it, whatever the life before did not come to. Nothing of it is in a send's transaction. Where objects stay awake
//! a batch follows [`limits::INDEX_AFTER_MS`] after the first message in it; where they sleep each message goes at once to
//! where projections wait to be written together, because an alarm would be one more event to pay for.

use wire::{MessageKind, Timestamp, UserId};

use super::history::{Read, intact};
use super::{Ready, Room, State, Stored};
use crate::limits;
use crate::object::Store;
use crate::search::fold;
use crate::sql::{self, Rows};

/// How far the index is.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Events up to here are entered, or on their way; `None` while it is not known.
    upto: Option<u64>,
    due: Option<Timestamp>,
    /// A batch is being read.
    reading: bool,
    /// The number of the batch that is being written.
    writing: Option<u64>,
}

impl Index {
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.due
    }
}

impl Room {
    /// The index says how far it is.
    pub(super) fn index_is(&mut self, upto: u64) {
        let State::Ready(ready) = &mut self.state else { return };
        ready.index.upto = Some(upto.min(ready.head));
        self.index();
    }

    /// There is a new event.
    pub(super) fn index_soon(&mut self, now: Timestamp) {
        if self.settings.hibernates {
            return self.index();
        }
        if let State::Ready(ready) = &mut self.state {
            ready.index.due.get_or_insert(now.plus_ms(limits::INDEX_AFTER_MS));
        }
    }

    pub(super) fn index_alarm(&mut self, now: Timestamp) {
        if let State::Ready(ready) = &mut self.state
            && ready.index.due.take_if(|at| *at <= now).is_some()
        {
            if ready.index.upto.is_none() && !ready.reads.values().any(|read| matches!(read, Read::Reconcile)) {
                return ready.ask_what_is_projected(&mut self.fx, self.id);
            }
            self.index();
        }
    }

    /// The people database is out of reach: until it has answered nothing is entered, and nothing waits in memory.
    pub(super) fn reconcile_later(&mut self, now: Timestamp) {
        if let State::Ready(ready) = &mut self.state {
            ready.index.due = Some(now.plus_ms(limits::LOAD_AGAIN_MS));
        }
    }

    /// Enters the next batch, unless one is under way: its end comes back here.
    fn index(&mut self) {
        let State::Ready(ready) = &mut self.state else { return };
        let Some(after) = ready.index.upto.filter(|upto| *upto < ready.head) else { return };
        if ready.index.reading || ready.index.writing.is_some() {
            return;
        }
        let upto = ready.head.min(after + limits::INDEX_EVENTS);
        if let Some(entries) = ready.batch_in_memory(after, upto) {
            return self.enter(after, upto, &entries);
        }
        ready.index.reading = true;
        let load = self.fx.load(Store::Own, vec![sql::room::messages_of(self.id, after, upto)]);
        ready.reads.insert(load, Read::Index { after, upto });
    }

    pub(super) fn index_read(&mut self, after: u64, upto: u64, rows: &[Rows]) {
        self.index_failed();
        // What is damaged is not served, and not found.
        let entries: Vec<Entry> = intact(rows, self.id).unwrap_or_default().iter().map(entry).collect();
        self.enter(after, upto, &entries);
    }

    /// Nothing came back; the next event tries again.
    pub(super) fn index_failed(&mut self) {
        if let State::Ready(ready) = &mut self.state {
            ready.index.reading = false;
        }
    }

    fn enter(&mut self, after: u64, upto: u64, entries: &[Entry]) {
        let State::Ready(ready) = &mut self.state else { return };
        let messages = serde_json::to_string(entries).unwrap_or_default();
        let more = upto < ready.head;
        // In the order of the batches, whatever waits with them.
        let key = format!("index:{}:{upto:016x}", self.id);
        let n = self.fx.project(key, upto, sql::search::enter(self.id, after, upto, messages), more);
        ready.index.upto = Some(upto);
        if more {
            ready.index.writing = Some(n);
        }
    }

    /// The next batch begins when the one before is written: however far the index is behind, one batch is in memory.
    pub(super) fn index_written(&mut self, n: u64) {
        if let State::Ready(ready) = &mut self.state
            && ready.index.writing.take_if(|writing| *writing == n).is_some()
        {
            self.index();
        }
    }
}

/// `[seq, sender_id, kind, created_at, content]`.
type Entry = (u64, Option<UserId>, &'static str, u64, Option<String>);

/// A row as the index takes it.
fn entry(row: &Stored) -> Entry {
    let found = row.deleted_at.is_none() && row.kind != MessageKind::System && !row.content.is_empty();
    let content = found.then(|| fold(&row.content));
    (row.seq, row.sender, row.kind_word(), row.created_at.0, content)
}

impl Ready {
    /// The entries of a batch, of new messages and of those that its events change, when memory has all of them.
    fn batch_in_memory(&self, after: u64, upto: u64) -> Option<Vec<Entry>> {
        if !self.recent_covers(after) {
            return None;
        }
        let within = |seq: u64| seq > after && seq <= upto;
        let mut earlier: Vec<u64> = Vec::new();
        for about in self.events.iter().filter(|event| within(event.seq)).filter_map(|event| event.about) {
            if about <= after && !earlier.contains(&about) {
                earlier.push(about);
            }
        }
        earlier.sort_unstable();
        let mut entries = Vec::new();
        for seq in earlier {
            entries.push(entry(self.recent_at(seq)?));
        }
        entries.extend(self.recent.iter().filter(|row| within(row.seq)).map(entry));
        Some(entries)
    }
}
