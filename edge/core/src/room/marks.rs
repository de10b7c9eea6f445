//! Watermarks: delivered and read, per member. They only rise (M7). What was read is stored before its ack; what was
//! delivered is stored and told at most once per [`limits::MARKS_COALESCE_MS`]. Where objects sleep every delivery to a
//! gateway is paid for, and in rooms that are at many of them what was read is told as rarely too, or with the next event:
//! ten people who read at the same time would cost ten times as many deliveries. An alarm costs as much as seven of them.

use wire::{MessageId, RoomId, Timestamp, UserId};

use super::history::Read;
use super::{Ready, Room, Seat, State};
use crate::effects::Effects;
use crate::error::Failure;
use crate::limits;
use crate::map::Map;
use crate::object::{CallKey, ObjectId, Store};
use crate::objects::{Actor, LiveEvent, Message, ReadUpTo};
use crate::sql::{self, Rows};

/// Ids listed in E-009 when the reader named a seq.
const READ_IDS: usize = 100;

/// Marks that nobody was told of yet.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Not stored either.
    delivered: Map<UserId, u64>,
    last_flush: Timestamp,
    /// Of what was read, in its order.
    untold: Vec<LiveEvent>,
    last_told: Timestamp,
}

impl Dirty {
    pub(super) fn flush_at(&self) -> Option<Timestamp> {
        let delivered = (!self.delivered.is_empty()).then_some(self.last_flush);
        let told = (!self.untold.is_empty()).then_some(self.last_told);
        Some(delivered.into_iter().chain(told).min()?.plus_ms(limits::MARKS_COALESCE_MS))
    }

    pub(super) fn forget(&mut self, user: UserId) {
        self.delivered.remove(&user);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.delivered.is_empty() && self.untold.is_empty()
    }

    /// What an event may take along.
    pub(super) fn take_untold(&mut self, now: Timestamp) -> Vec<LiveEvent> {
        if !self.untold.is_empty() {
            self.last_told = now;
        }
        std::mem::take(&mut self.untold)
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
        ready.marks.untold.extend(live);
        let cheap = !self.settings.hibernates || ready.audience.gateways_there() < limits::MARKS_GATEWAYS;
        if cheap || now.since(ready.marks.last_told) >= limits::MARKS_COALESCE_MS {
            ready.tell_reading(&mut self.fx, self.id, now);
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
        let waiting = ready.marks.delivered.or_default(user);
        *waiting = (*waiting).max(up_to);
        if now.since(ready.marks.last_flush) >= limits::MARKS_COALESCE_MS {
            self.flush_marks(now);
        }
    }

    /// Stores and tells what is due.
    pub(super) fn marks_alarm(&mut self, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.marks.flush_at().is_none_or(|at| at > now) {
            return;
        }
        ready.tell_reading(&mut self.fx, self.id, now);
        self.flush_marks(now);
    }

    /// Stores and tells what was delivered since the last time.
    fn flush_marks(&mut self, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.marks.delivered.is_empty() {
            return;
        }
        ready.marks.last_flush = now;
        let waiting = std::mem::take(&mut ready.marks.delivered);
        let mut statements = Vec::new();
        let mut live = Vec::new();
        let tell = ready.members().count() <= limits::MARKS_MEMBERS;
        for (&user, &up_to) in waiting.iter() {
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
    fn tell_reading(&mut self, fx: &mut Effects, room: RoomId, now: Timestamp) {
        let live = self.marks.take_untold(now);
        self.deliver(fx, room, Vec::new(), live);
    }

    /// The life before may not have told who had just read.
    pub(super) fn recall_reading(&mut self, now: Timestamp) {
        let recent = |seat: &Seat| seat.is_member() && seat.read_at.is_some_and(|at| now.since(at) < 2 * limits::MARKS_COALESCE_MS);
        let readers: Vec<UserId> = self.members.iter().filter(|(_, seat)| recent(seat)).map(|(user, _)| *user).collect();
        for user in readers {
            let Some(&Seat { delivered_seq, read_seq, .. }) = self.member(user) else { continue };
            let ids = self.others_between(user, 0, read_seq);
            let live = [LiveEvent::Read { user, ids, up_to: read_seq }, LiveEvent::Receipts { user, delivered_seq, read_seq }];
            let live: Vec<LiveEvent> = live.into_iter().flat_map(|event| self.veiled(event)).collect();
            self.marks.untold.extend(live);
        }
    }

    /// Messages of others that `user` reads by reading up to `seq`, as far as memory knows them.
    fn unread_ids(&self, user: UserId, seq: u64) -> Vec<MessageId> {
        let Some(seat) = self.member(user) else { return Vec::new() };
        self.others_between(user, seat.read_seq, seq)
    }

    /// The newest messages of others above `after` and up to `seq`.
    fn others_between(&self, user: UserId, after: u64, seq: u64) -> Vec<MessageId> {
        let newly = self.recent.iter().rev().filter(|row| row.seq <= seq && row.sender != Some(user));
        let mut ids: Vec<MessageId> = newly.take_while(|row| row.seq > after).take(READ_IDS).map(|row| row.id).collect();
        ids.reverse();
        ids
    }
}
