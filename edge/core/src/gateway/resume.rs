//! `sync:resume` (contract 5.1): subscribe, replay what is above the cursors, then acknowledge.

use std::collections::{BTreeMap, BTreeSet};

use wire::{ErrorCode, RoomId, Timestamp};

use super::Gateway;
use super::conn::ConnId;
use super::rooms::{Mode, slot_of};
use crate::dialect::{Answer, Cursors, Resumed};
use crate::error::Failure;
use crate::limits;
use crate::object::PersistError;
use crate::objects::Marks;
use crate::sql::{Rows, people_gateway};

/// A resume under way on one socket.
#[derive(Debug)]
pub(super) struct Resume {
    ack: Option<u64>,
    event: &'static str,
    wanted: Cursors,
    /// Named conversations that are not finished, and how many events each was sent.
    open: BTreeMap<RoomId, Named>,
    /// Events of [`limits::RESUME_EVENTS`] that no pull has reserved.
    budget: usize,
    reserved: usize,
    answer: Resumed,
}

#[derive(Debug, Default)]
struct Named {
    sent: usize,
    asked: bool,
}

/// How many events the next page of a conversation may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reserve {
    /// The conversation is not part of the resume.
    NotNamed,
    Take { limit: usize, first: bool },
    /// Pages under way hold the rest of the budget.
    Later,
    /// Nothing is left: the conversation is cut off.
    Spent,
}

impl Resume {
    pub(super) fn names(&self, room: RoomId) -> bool {
        self.open.contains_key(&room)
    }

    pub(super) fn reserve(&mut self, room: RoomId) -> Reserve {
        let Some(named) = self.open.get_mut(&room) else { return Reserve::NotNamed };
        let left = limits::RESUME_EVENTS_PER_CONVERSATION.saturating_sub(named.sent);
        let limit = limits::PULL_PAGE.min(left).min(self.budget);
        if limit == 0 {
            return if left > 0 && self.reserved > 0 { Reserve::Later } else { Reserve::Spent };
        }
        let first = !std::mem::replace(&mut named.asked, true);
        self.budget -= limit;
        self.reserved += limit;
        Reserve::Take { limit, first }
    }

    pub(super) fn release(&mut self, reserved: usize) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.budget += reserved;
    }

    /// A page of `sent` events. `false`: the conversation has had its share.
    pub(super) fn paged(
        &mut self,
        room: RoomId,
        sent: usize,
        head: u64,
        generation: u64,
        read_seq: u64,
        marks: Vec<Marks>,
    ) -> bool {
        self.budget = self.budget.saturating_sub(sent);
        let Some(named) = self.open.get_mut(&room) else { return true };
        named.sent += sent;
        self.answer.heads.insert(room, head);
        self.answer.generations.insert(room, generation);
        let known = self.answer.marks.entry(room).or_default();
        known.read_seq = read_seq;
        if !marks.is_empty() {
            known.members = marks;
        }
        named.sent < limits::RESUME_EVENTS_PER_CONVERSATION && (self.budget > 0 || self.reserved > 0)
    }

    pub(super) fn cut(&mut self, room: RoomId, held: u64) {
        if self.open.contains_key(&room) {
            self.answer.more.insert(room, held);
        }
    }

    pub(super) fn removed(&mut self, room: RoomId) {
        if self.open.contains_key(&room) {
            self.answer.heads.remove(&room);
            self.answer.removed.push(room);
        }
    }
}

impl Gateway {
    /// E-046. The heads come from one read; then the Rooms are asked.
    pub(super) fn resume(&mut self, id: ConnId, ack: Option<u64>, event: &'static str, wanted: Cursors, now: Timestamp) {
        let Some(live) = self.conns.live_mut(id) else { return };
        if live.resume.is_some() {
            return self.refuse(id, ack, event, &Failure::rate_limited(1_000));
        }
        let user = live.who.user;
        live.resumed = true;
        live.unmarked = Vec::new();
        live.resume = Some(Box::new(Resume {
            ack,
            event,
            wanted,
            open: BTreeMap::new(),
            budget: limits::RESUME_EVENTS,
            reserved: 0,
            answer: Resumed::default(),
        }));
        // From here on a restart without the cursors would lose events.
        self.touch(id, now);
        self.load_for(id, people_gateway::heads(user, limits::SOCKET_CONVERSATIONS), now);
    }

    pub(super) fn heads_loaded(&mut self, id: ConnId, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        let Some(live) = self.conns.live_mut(id) else { return };
        let Some(resume) = live.resume.as_mut() else { return };
        let Ok(rows) = result else {
            let (ack, event) = (resume.ack, resume.event);
            live.resume = None;
            return self.refuse(id, ack, event, &Failure { retry_after: Some(1), ..ErrorCode::NodeUnavailable.into() });
        };
        let heads: BTreeMap<RoomId, people_gateway::Head> =
            rows.iter().flatten().filter_map(|row| people_gateway::parse_head(row)).collect();
        resume.answer.heads = heads.iter().map(|(room, head)| (*room, head.seq)).collect();
        let wanted = std::mem::take(&mut resume.wanted);
        let recovered = std::mem::take(&mut live.recovered);
        if wanted.cursors.is_empty() {
            self.subscribe_from_heads(id, &heads, &recovered);
        } else {
            self.replay_from(id, wanted, &heads, &recovered);
        }
        self.pump(id, now);
        self.resume_done_if_empty(id);
    }

    /// `cursors:{}`: everything live from now on.
    fn subscribe_from_heads(&mut self, id: ConnId, heads: &BTreeMap<RoomId, people_gateway::Head>, recovered: &BTreeMap<RoomId, u64>) {
        for (room, head) in heads.iter().take(limits::SOCKET_CONVERSATIONS) {
            let Some(live) = self.conns.live_mut(id) else { return };
            let serial = live.replay.next_serial();
            if let Some(resume) = &mut live.resume {
                resume.answer.generations.insert(*room, head.generation);
            }
            // What was recovered goes on from where it is.
            if !recovered.contains_key(room)
                && let Some(slot) = self.cursor_slot(id, *room)
            {
                // The list may be a little late: what was written since is not written again.
                let written = if slot.mode == Mode::Live { slot.highest } else { 0 };
                let seq = head.seq.max(written);
                slot.mode = Mode::Tracked;
                (slot.next, slot.highest) = (seq + 1, 0);
                (slot.generation, slot.serial) = (head.generation, serial);
                if let Some(resume) = self.conns.live_mut(id).and_then(|live| live.resume.as_mut()) {
                    resume.answer.heads.insert(*room, seq);
                }
            }
        }
    }

    fn replay_from(
        &mut self,
        id: ConnId,
        wanted: Cursors,
        heads: &BTreeMap<RoomId, people_gateway::Head>,
        recovered: &BTreeMap<RoomId, u64>,
    ) {
        let Cursors { cursors, generations } = wanted;
        let mut removed = BTreeSet::new();
        for (at, (room, cursor)) in cursors.into_iter().enumerate() {
            if !heads.contains_key(&room) {
                removed.insert(room);
                self.forget_slot(id, room);
                continue;
            }
            let named = at < limits::RESUME_CONVERSATIONS;
            let Some(live) = self.conns.live_mut(id) else { return };
            let serial = live.replay.next_serial();
            let Some(slot) = self.cursor_slot(id, room) else { continue };
            // Sent by the recovery, and perhaps not read yet when the client asked.
            let again = recovered.get(&room).is_some_and(|first| (*first..=slot.next).contains(&(cursor + 1)));
            let next = if again && named { slot.next } else { cursor + 1 };
            slot.mode = if named { Mode::Replaying } else { Mode::Cut };
            (slot.next, slot.highest, slot.serial) = (next, 0, serial);
            slot.generation = generations.get(&room).copied().unwrap_or_default();
            let Some(live) = self.conns.live_mut(id) else { return };
            let Some(resume) = &mut live.resume else { return };
            if named {
                resume.open.insert(room, Named::default());
                live.replay.ask(room);
            } else {
                resume.answer.more.insert(room, cursor);
            }
        }
        if let Some(resume) = self.conns.live_mut(id).and_then(|live| live.resume.as_mut()) {
            resume.answer.removed.extend(removed);
        }
    }

    /// The slot for a cursor; `None` when this socket has as many as it may.
    fn cursor_slot(&mut self, id: ConnId, room: RoomId) -> Option<&mut super::rooms::Slot> {
        let live = self.conns.live_mut(id)?;
        if live.rooms.len() >= limits::SOCKET_CONVERSATIONS && !live.rooms.contains(&room) {
            return None;
        }
        live.rooms.insert(room);
        let (user, dialect) = (live.who.user, live.who.dialect);
        Some(self.rooms.entry(room).or_default().slot_or_new(id, user, dialect))
    }

    /// Drops what is held of one conversation on one socket; as a member it would be live only.
    pub(super) fn forget_slot(&mut self, id: ConnId, room: RoomId) {
        if let Some(live) = self.conns.live_mut(id) {
            live.rooms.remove(&room);
            live.recovered.remove(&room);
        }
        if let Some(slot) = slot_of(&mut self.rooms, room, id) {
            slot.mode = Mode::Live;
            (slot.opened, slot.highest) = (false, 0);
        }
    }

    /// One named conversation is done, well or not.
    pub(super) fn resume_finished(&mut self, id: ConnId, room: RoomId) {
        let Some(resume) = self.conns.live_mut(id).and_then(|live| live.resume.as_mut()) else { return };
        if resume.open.remove(&room).is_some() {
            self.resume_done_if_empty(id);
        }
    }

    fn resume_done_if_empty(&mut self, id: ConnId) {
        let Some(live) = self.conns.live_mut(id) else { return };
        if live.resume.as_ref().is_some_and(|resume| resume.open.is_empty())
            && let Some(resume) = live.resume.take()
        {
            let newest = self.conns.entry(id).map_or(0, |entry| entry.sent.newest());
            if let Some(live) = self.conns.live_mut(id) {
                live.resume_end = newest;
            }
            self.answer(id, resume.ack, &Answer::Resumed(&resume.answer));
        }
    }
}
