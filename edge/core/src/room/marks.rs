//! Watermarks: delivered and read, per member. They only rise (M7). What was read is stored before its ack; what was
//! delivered is stored and told at most once per [`limits::MARKS_COALESCE_MS`].

use std::collections::BTreeMap;

use wire::{MessageId, Timestamp, UserId};

use super::history::Read;
use super::{Ready, Room, State};
use crate::error::Failure;
use crate::limits;
use crate::object::{CallKey, ObjectId, Store};
use crate::objects::{Actor, LiveEvent, Message, ReadUpTo};
use crate::sql::{self, Rows};

/// Ids listed in E-009 when the reader named a seq.
const READ_IDS: usize = 100;

/// Deliveries that nobody was told of yet.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    delivered: BTreeMap<UserId, u64>,
    last_flush: Timestamp,
}

impl Dirty {
    pub(super) fn flush_at(&self) -> Option<Timestamp> {
        (!self.delivered.is_empty()).then(|| self.last_flush.plus_ms(limits::MARKS_COALESCE_MS))
    }

    pub(super) fn forget(&mut self, user: UserId) {
        self.delivered.remove(&user);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.delivered.is_empty()
    }
}

impl Room {
    /// E-006, E-007: only in conversations small enough for it.
    pub(super) fn typing(&mut self, from: &ObjectId, call: CallKey, actor: Actor, on: bool) {
        let State::Ready(ready) = &mut self.state else { return };
        let Some(seat) = ready.member(actor.id) else { return self.refuse(from, call, self.stranger(from, actor.id)) };
        let username = seat.username.clone();
        if ready.members().count() <= limits::PRESENCE_MEMBERS {
            let event = LiveEvent::Typing { user: actor.id, username, on };
            ready.deliver(&mut self.fx, self.id, Vec::new(), vec![event]);
        }
        self.fx.reply(from, call, Message::Done);
    }

    /// E-008, G-10.
    pub(super) fn mark_read(&mut self, from: ObjectId, call: CallKey, user: UserId, up_to: ReadUpTo, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.member(user).is_none() {
            return self.refuse(&from, call, self.stranger(&from, user));
        }
        match up_to {
            ReadUpTo::Seq(seq) => {
                let ids = ready.unread_ids(user, seq);
                self.read_up_to(&from, call, user, seq, ids, now);
            }
            ReadUpTo::Ids(ids) => {
                let known: Option<Vec<u64>> =
                    ids.iter().map(|id| ready.recent.iter().rev().find(|row| row.id == *id).map(|row| row.seq)).collect();
                match known {
                    Some(seqs) => {
                        let newest = seqs.into_iter().max().unwrap_or_default();
                        self.read_up_to(&from, call, user, newest, ids, now);
                    }
                    None => {
                        let load = self.fx.load(Store::Own, sql::room::seqs_of(self.id, &ids));
                        ready.reads.insert(load, Read::MarkIds { from, call, user, ids });
                    }
                }
            }
        }
    }

    /// The ids were looked up: all of them are of this conversation, or nothing is marked.
    pub(super) fn mark_ids(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        user: UserId,
        ids: Vec<MessageId>,
        rows: &[Rows],
        now: Timestamp,
    ) {
        let seqs: Option<Vec<u64>> = rows.iter().map(|found| found.first()?.get(1)?.as_u64()).collect();
        match seqs {
            Some(seqs) if seqs.len() == ids.len() => {
                self.read_up_to(from, call, user, seqs.into_iter().max().unwrap_or_default(), ids, now);
            }
            _ => self.refuse(from, call, Failure::invalid("messageIds", "Not all of these are messages of this conversation")),
        }
    }

    fn read_up_to(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        user: UserId,
        seq: u64,
        ids: Vec<MessageId>,
        now: Timestamp,
    ) {
        let State::Ready(ready) = &mut self.state else { return };
        let head = ready.head;
        let waiting = ready.marks.delivered.remove(&user);
        // Gone while the ids were looked up.
        let Some(seat) = ready.members.get_mut(&user).filter(|seat| seat.is_member()) else {
            return self.refuse(from, call, self.stranger(from, user));
        };
        let read_seq = seat.read_seq.max(seq.min(head));
        let delivered_seq = seat.delivered_seq.max(read_seq).max(waiting.unwrap_or_default());
        let (read_more, delivered_more) = (read_seq > seat.read_seq, delivered_seq > seat.delivered_seq);
        if read_more || delivered_more {
            (seat.read_seq, seat.delivered_seq) = (read_seq, delivered_seq);
            self.fx.persist(vec![sql::room::raise_marks(self.id, user, delivered_seq, read_seq, now)]);
            ready.project_member(&mut self.fx, self.id, user, false);
        }
        self.fx.reply(from, call, Message::Marked { read_seq });
        let mut live = Vec::new();
        if read_more {
            live.extend(ready.veiled(LiveEvent::Read { user, ids, up_to: read_seq }));
        }
        if delivered_more {
            live.extend(ready.veiled(LiveEvent::Receipts { user, delivered_seq, read_seq }));
        }
        if !live.is_empty() {
            ready.deliver(&mut self.fx, self.id, Vec::new(), live);
        }
    }

    /// E-033 and every other sign of delivery.
    pub(super) fn mark_delivered(&mut self, user: UserId, up_to: u64, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        let up_to = up_to.min(ready.head);
        let Some(seat) = ready.member(user) else { return };
        if up_to <= seat.delivered_seq {
            return;
        }
        let waiting = ready.marks.delivered.entry(user).or_default();
        *waiting = (*waiting).max(up_to);
        if now.since(ready.marks.last_flush) >= limits::MARKS_COALESCE_MS {
            self.flush_marks(now);
        }
    }

    /// Stores and tells what was delivered since the last time.
    pub(super) fn flush_marks(&mut self, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        ready.marks.last_flush = now;
        let waiting = std::mem::take(&mut ready.marks.delivered);
        let mut statements = Vec::new();
        let mut live = Vec::new();
        let tell = ready.members().count() <= limits::MARKS_MEMBERS;
        for (&user, &up_to) in &waiting {
            let Some(seat) = ready.members.get_mut(&user).filter(|seat| seat.delivered_seq < up_to) else { continue };
            seat.delivered_seq = up_to;
            statements.push(sql::room::raise_marks(self.id, user, up_to, seat.read_seq, now));
            if tell {
                let read_seq = seat.read_seq;
                live.extend(ready.veiled(LiveEvent::Receipts { user, delivered_seq: up_to, read_seq }));
            }
        }
        if statements.is_empty() {
            return;
        }
        self.fx.persist(statements);
        for &user in waiting.keys() {
            ready.project_member(&mut self.fx, self.id, user, false);
        }
        if !live.is_empty() {
            ready.deliver(&mut self.fx, self.id, Vec::new(), live);
        }
    }
}

impl Ready {
    /// Messages of others that `user` reads by reading up to `seq`, as far as memory knows them.
    fn unread_ids(&self, user: UserId, seq: u64) -> Vec<MessageId> {
        let Some(seat) = self.member(user) else { return Vec::new() };
        let newly = self.recent.iter().rev().filter(|row| row.seq <= seq && row.sender != Some(user));
        let mut ids: Vec<MessageId> =
            newly.take_while(|row| row.seq > seat.read_seq).take(READ_IDS).map(|row| row.id).collect();
        ids.reverse();
        ids
    }
}
