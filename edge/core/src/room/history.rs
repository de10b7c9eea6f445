//! Reading: pages of history, pulled replay (E-046, G-23), and reads that come back from storage.

use wire::{ErrorCode, MessageId, RoomId, Timestamp, UserId};

use super::load::parse_message;
use super::{Ready, Room, State, Stored};
use crate::error::Failure;
use crate::limits;
use crate::object::{CallKey, Kind, ObjectId, PersistError, Store};
use crate::objects::{HistoryCursor, Message, Numbered};
use crate::sql::{self, Rows, Statement};

/// What a read is for.
#[derive(Debug)]
pub(super) enum Read {
    History { from: ObjectId, call: CallKey, user: UserId, cursor: HistoryCursor },
    Pull { from: ObjectId, call: CallKey, user: UserId, after: u64, limit: u64, marks: bool },
    MarkIds { from: ObjectId, call: CallKey, user: UserId, ids: Vec<MessageId> },
    /// What edits replaced.
    Edits { from: ObjectId, call: CallKey },
    /// How many messages stand up to a member's mark, for the projection.
    ReadCount { user: UserId },
    /// What is projected, after a start.
    Reconcile,
    /// Messages of events behind `after` up to `upto`, for the search index.
    Index { after: u64, upto: u64 },
    Look { from: ObjectId, call: CallKey, user: UserId },
}

impl Room {
    pub(super) fn history(
        &mut self,
        from: ObjectId,
        call: CallKey,
        user: UserId,
        cursor: HistoryCursor,
        limit: u32,
        now: Timestamp,
    ) {
        let Some(last) = self.readable(&from, user) else { return self.refuse(&from, call, self.stranger(&from, user)) };
        let State::Ready(ready) = &mut self.state else { return };
        let limit = u64::from(limit).clamp(1, limits::PAGE_MAX);
        let cursor = match cursor {
            HistoryCursor::Newest if last < ready.head => HistoryCursor::BeforeSeq(last + 1),
            HistoryCursor::BeforeSeq(seq) => HistoryCursor::BeforeSeq(seq.min(last.saturating_add(1))),
            cursor => cursor,
        };
        if let Some(page) = ready.recent_page(&cursor, limit) {
            return self.answer_history(&from, call, user, page, now);
        }
        let load = self.fx.load(Store::Own, history_statements(self.id, &cursor, last, limit));
        ready.reads.insert(load, Read::History { from, call, user, cursor });
    }

    /// `page`: oldest first.
    fn answer_history(&mut self, from: &ObjectId, call: CallKey, user: UserId, mut page: Vec<Stored>, now: Timestamp) {
        let Some(last) = self.readable(from, user) else { return self.refuse(from, call, self.stranger(from, user)) };
        let State::Ready(ready) = &self.state else { return };
        page.retain(|row| row.seq <= last);
        let newest = page.last().map_or(0, |row| row.seq);
        let next_before = page.first().filter(|row| row.nth > 1).map(|row| row.id);
        let messages = page.iter().map(|row| ready.render(self.id, row, Some(user))).collect();
        self.fx.reply(from, call, Message::HistoryPage { messages, next_before });
        self.mark_delivered(user, newest, now);
    }

    /// The rows of single messages, as they are now; unlike a page they say nothing about what was delivered.
    pub(super) fn look(&mut self, from: ObjectId, call: CallKey, user: UserId, seqs: &[u64]) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.member(user).is_none() {
            return self.refuse(&from, call, self.stranger(&from, user));
        }
        if let Some(page) = seqs.iter().map(|seq| ready.recent_at(*seq).cloned()).collect::<Option<Vec<_>>>() {
            return self.answer_look(&from, call, user, &page);
        }
        let load = self.fx.load(Store::Own, vec![sql::room::these(self.id, seqs)]);
        ready.reads.insert(load, Read::Look { from, call, user });
    }

    fn answer_look(&mut self, from: &ObjectId, call: CallKey, user: UserId, page: &[Stored]) {
        let State::Ready(ready) = &self.state else { return };
        let messages = page.iter().map(|row| ready.render(self.id, row, Some(user))).collect();
        self.fx.reply(from, call, Message::HistoryPage { messages, next_before: None });
    }

    #[allow(clippy::too_many_arguments)] // the fields of one message
    pub(super) fn pull(
        &mut self,
        from: ObjectId,
        call: CallKey,
        user: UserId,
        after: u64,
        limit: u32,
        generation: Option<u64>,
        marks: bool,
        now: Timestamp,
    ) {
        let Some(last) = self.readable(&from, user) else { return self.refuse(&from, call, self.stranger(&from, user)) };
        let State::Ready(ready) = &mut self.state else { return };
        let reset = if generation.is_some_and(|held| held != ready.meta.generation) {
            Some("generation")
        } else if after > ready.head.min(last) {
            Some("cursor_ahead")
        } else {
            None
        };
        let limit = u64::from(limit).clamp(1, limits::RESUME_EVENTS_PER_CONVERSATION as u64);
        if reset.is_some() {
            let page = ready.page(user, Vec::new(), marks, last, reset);
            self.fx.reply(&from, call, page);
        } else if let Some(events) = ready.recent_events(self.id, user, after, limit as usize) {
            self.answer_pull(&from, call, user, after, marks, events, now);
        } else {
            let load = self.fx.load(Store::Own, sql::room::replay(self.id, after, limit));
            ready.reads.insert(load, Read::Pull { from, call, user, after, limit, marks });
        }
    }

    #[allow(clippy::too_many_arguments)] // the fields of one question and its answer
    fn answer_pull(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        user: UserId,
        after: u64,
        marks: bool,
        mut events: Vec<Numbered>,
        now: Timestamp,
    ) {
        let Some(last) = self.readable(from, user) else { return self.refuse(from, call, self.stranger(from, user)) };
        let State::Ready(ready) = &self.state else { return };
        events.retain(|numbered| numbered.seq <= last);
        let newest = events.last().map_or(after, |numbered| numbered.seq);
        let page = ready.page(user, events, marks, last, None);
        self.fx.reply(from, call, page);
        self.mark_delivered(user, newest, now);
    }

    /// Up to where `user` may read: former members read by REST what they have seen, where that is allowed.
    fn readable(&self, from: &ObjectId, user: UserId) -> Option<u64> {
        let State::Ready(ready) = &self.state else { return None };
        let seat = ready.members.get(&user)?;
        if seat.is_member() {
            return Some(u64::MAX);
        }
        seat.left_seq.filter(|_| self.settings.ex_member_history && from.kind == Kind::Http)
    }

    /// Storage has answered.
    pub(super) fn read_done(&mut self, read: Read, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        let rows = match result {
            Ok(rows) => rows,
            Err(_) => return self.read_failed(read, ErrorCode::NodeUnavailable, now),
        };
        match read {
            Read::Reconcile => self.reconcile(&rows),
            Read::Index { after, upto } => self.index_read(after, upto, &rows),
            Read::ReadCount { user } => {
                let count = rows.first().and_then(|found| found.first()).and_then(|row| row.get(1)?.as_u64());
                if let State::Ready(ready) = &self.state {
                    ready.project_member_with(&mut self.fx, self.id, user, count.unwrap_or_default(), false);
                }
            }
            Read::Edits { from, call } => self.edits_loaded(&from, call, &rows),
            Read::MarkIds { from, call, user, ids } => self.mark_ids(&from, call, user, ids, &rows, now),
            Read::Pull { from, call, user, after, limit, marks } => {
                let State::Ready(ready) = &self.state else { return };
                match ready.stored_events(self.id, user, &rows, limit as usize) {
                    Some(events) => self.answer_pull(&from, call, user, after, marks, events, now),
                    None => self.refuse(&from, call, ErrorCode::InternalError),
                }
            }
            Read::Look { from, call, user } => match intact(&rows, self.id) {
                Some(page) => self.answer_look(&from, call, user, &page),
                None => self.refuse(&from, call, ErrorCode::InternalError),
            },
            Read::History { from, call, user, cursor } => {
                let unknown = names_a_message(&cursor) && rows.first().is_none_or(Vec::is_empty);
                if unknown {
                    return self.refuse(&from, call, Failure::invalid("before", "No such message in this conversation"));
                }
                let pages = if names_a_message(&cursor) { rows.get(1..).unwrap_or_default() } else { &rows[..] };
                match intact(pages, self.id) {
                    Some(page) => self.answer_history(&from, call, user, page, now),
                    None => self.refuse(&from, call, ErrorCode::InternalError),
                }
            }
        }
    }

    fn read_failed(&mut self, read: Read, code: ErrorCode, now: Timestamp) {
        match read {
            Read::History { from, call, .. }
            | Read::Pull { from, call, .. }
            | Read::MarkIds { from, call, .. }
            | Read::Edits { from, call }
            | Read::Look { from, call, .. } => self.refuse(&from, call, code),
            Read::Index { .. } => self.index_failed(),
            Read::Reconcile => self.reconcile_later(now),
            Read::ReadCount { .. } => {}
        }
    }
}

fn names_a_message(cursor: &HistoryCursor) -> bool {
    matches!(cursor, HistoryCursor::BeforeMessage(_) | HistoryCursor::Around(_))
}

fn history_statements(room: RoomId, cursor: &HistoryCursor, last: u64, limit: u64) -> Vec<Statement> {
    match cursor {
        HistoryCursor::Newest => vec![sql::room::before(room, i64::MAX as u64, limit)],
        HistoryCursor::BeforeSeq(seq) => vec![sql::room::before(room, *seq, limit)],
        HistoryCursor::AfterSeq(seq) => vec![sql::room::after(room, *seq, limit)],
        HistoryCursor::BeforeTime(at) => vec![sql::room::before_time(room, *at, last, limit)],
        HistoryCursor::BeforeMessage(id) => {
            let mut statements = sql::room::seqs_of(room, &[*id]);
            statements.push(sql::room::before_message(room, *id, limit));
            statements
        }
        HistoryCursor::Around(id) => {
            let mut statements = sql::room::seqs_of(room, &[*id]);
            if limit > 1 {
                statements.push(sql::room::before_message(room, *id, limit / 2));
            }
            statements.push(sql::room::from_message(room, *id, limit - limit / 2));
            statements
        }
    }
}

/// The rows in ascending order, or `None` when one is damaged: wrong data is never served.
pub(super) fn intact(pages: &[Rows], room: RoomId) -> Option<Vec<Stored>> {
    let mut page: Vec<Stored> = pages.iter().flatten().map(parse_message).collect::<Option<_>>()?;
    page.sort_by_key(|row| row.seq);
    page.iter().all(|row| row.is_intact(room)).then_some(page)
}

impl Ready {
    /// A page that memory has whole, oldest first.
    fn recent_page(&self, cursor: &HistoryCursor, limit: u64) -> Option<Vec<Stored>> {
        let below = match cursor {
            HistoryCursor::Newest => u64::MAX,
            HistoryCursor::BeforeSeq(seq) => *seq,
            HistoryCursor::BeforeMessage(id) => self.recent.iter().rev().find(|row| row.id == *id)?.seq,
            HistoryCursor::AfterSeq(seq) if self.recent_covers(*seq) => {
                let at = self.recent.partition_point(|row| row.seq <= *seq);
                return Some(self.recent.iter().skip(at).take(limit as usize).cloned().collect());
            }
            _ => return None,
        };
        let end = self.recent.partition_point(|row| row.seq < below);
        let whole = end as u64 >= limit || self.count as usize == self.recent.len();
        let start = end.saturating_sub(limit as usize);
        whole.then(|| self.recent.range(start..end).cloned().collect())
    }

    fn page(&self, user: UserId, events: Vec<Numbered>, marks: bool, last: u64, reset: Option<&str>) -> Message {
        let mut all_marks = if marks { self.all_marks() } else { Vec::new() };
        self.veil_marks(user, &mut all_marks);
        Message::Page {
            events,
            head: self.head.min(last),
            generation: self.meta.generation,
            read_seq: self.member(user).map_or(0, |seat| seat.read_seq),
            marks: all_marks,
            reset: reset.map(str::to_owned),
        }
    }
}
