//! Live delivery: a Room's batch to the sockets of its audience. One encoding per event and dialect, one `Send` for all
//! websockets; this is the hot path.

use std::collections::BTreeMap;
use std::rc::Rc;

use wire::{RoomId, Timestamp, UserId};

use super::Gateway;
use super::attachment;
use super::conn::{ConnId, Entry, Saved};
use super::rooms::Mode;
use super::sent::{Log, Place};
use crate::dialect::{DialectId, ServerEvent};
use crate::effects::Effects;
use crate::limits;
use crate::object::{Frame, Output, SocketId};
use crate::objects::{LiveEvent, Message, Numbered, Removal, seen_by};
use crate::socketio::encode;

/// [`Message::Deliver`].
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) room: RoomId,
    pub(super) epoch: u64,
    pub(super) audience: u64,
    pub(super) users: Option<Vec<UserId>>,
    pub(super) head: u64,
    pub(super) durable: Vec<Numbered>,
    pub(super) live: Vec<LiveEvent>,
}

/// Whom one event goes to, by dialect.
#[derive(Debug)]
pub(super) struct Targets {
    by_dialect: Vec<(DialectId, Vec<SocketId>, Vec<ConnId>)>,
    /// The event's number, when it is worth recovering; else the newest one, which says as much about what was sent before.
    number: u64,
    kept: bool,
    place: Place,
}

impl Targets {
    /// For one event. Nothing else may be sent before [`Gateway::send_to`] has it.
    pub(super) fn of(log: &Log, place: Place) -> Self {
        Self { by_dialect: Vec::new(), number: log.next(), kept: true, place }
    }

    /// For an event that nobody wants later.
    fn volatile(log: &Log) -> Self {
        Self { number: log.last(), kept: false, ..Self::of(log, None) }
    }

    /// Adds a connection: by its websocket, or for its polling buffer; one that is held only notes the event.
    pub(super) fn add(&mut self, dialect: DialectId, entry: &mut Entry, conn: ConnId) {
        if self.kept {
            entry.sent.push(self.number);
        }
        let at = match self.by_dialect.iter().position(|(known, ..)| *known == dialect) {
            Some(at) => at,
            None => {
                self.by_dialect.push((dialect, Vec::new(), Vec::new()));
                self.by_dialect.len() - 1
            }
        };
        if let Some((_, sockets, slow)) = self.by_dialect.get_mut(at) {
            match entry.direct {
                _ if entry.sent.held => {}
                Some(socket) => sockets.push(socket),
                None => slow.push(conn),
            }
        }
    }
}

/// Notes that what the attachment holds has changed. `true`: the connection's timer must be set.
fn touch(entry: &mut Entry, now: Timestamp, fx: &mut Effects) -> bool {
    entry.touched = now;
    let set = !entry.save_wanted;
    entry.save_wanted = true;
    if entry.saved == Saved::Clean
        && let Some(socket) = entry.direct
    {
        fx.push(Output::Attach { socket, data: attachment::DIRTY.to_vec() });
        entry.saved = Saved::Dirty;
    }
    set
}

impl Gateway {
    /// E-005 and every other event of a room, to the sockets here.
    pub(super) fn deliver(&mut self, batch: Batch, now: Timestamp) -> Message {
        let Batch { room, epoch, audience, users, head, durable, live } = batch;
        if epoch != self.epoch {
            return Message::Accepted { stale: true, unknown_audience: false };
        }
        let entry = self.rooms.entry(room).or_default();
        entry.quiet_sweeps = 0;
        match users {
            Some(users) => entry.set_audience(audience, users),
            None if entry.audience != Some(audience) => {
                return Message::Accepted { stale: false, unknown_audience: true };
            }
            None => {}
        }
        entry.resolve(self.changes, &self.users, &self.conns);
        // Whoever learns of the conversation learns that first, and whoever leaves it last.
        let (first, then): (Vec<LiveEvent>, _) = live.into_iter().partition(|event| matches!(event, LiveEvent::Created { .. }));
        for event in &first {
            self.deliver_live(room, event, now);
        }
        for numbered in durable {
            self.deliver_durable(room, numbered, now);
        }
        self.pull_behind(room, head, now);
        for event in &then {
            match event {
                LiveEvent::Dismissed { user, reason } => self.dismissed(room, *user, *reason, now),
                event => self.deliver_live(room, event, now),
            }
        }
        Message::Accepted { stale: false, unknown_audience: false }
    }

    fn deliver_durable(&mut self, room: RoomId, mut numbered: Numbered, now: Timestamp) {
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        let seq = numbered.seq;
        let immediate = self.settings.attach_after_ms == 0;
        let place = Some((room, seq));
        let reactions = numbered.event.reactions().map(std::mem::take).unwrap_or_default();
        let mut targets = Targets::of(&self.log, place);
        // Who reacted reads it with `me`: another packet, under a number of its own.
        let mut theirs: BTreeMap<UserId, Vec<(DialectId, ConnId)>> = BTreeMap::new();
        let (mut gaps, mut unmarked, mut timers, mut written) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for slot in entry.slots_mut().iter_mut().filter(|slot| slot.member) {
            let Some(hot) = self.conns.entry(slot.conn) else { continue };
            match slot.mode {
                Mode::Live if seq >= slot.next => {
                    slot.next = seq + 1;
                    if slot.highest == 0 {
                        unmarked.push(slot.conn);
                    }
                    slot.highest = slot.highest.max(seq);
                    if self.settings.hibernates {
                        written.push(slot.conn);
                    }
                }
                Mode::Tracked if seq == slot.next => {
                    slot.next += 1;
                    // Even where the new cursor follows at once: between the two a restart must not send twice.
                    if touch(hot, now, &mut self.fx) || immediate {
                        timers.push(slot.conn);
                    }
                }
                Mode::Tracked if seq > slot.next => {
                    slot.highest = slot.highest.max(seq);
                    slot.mode = Mode::Replaying;
                    gaps.push(slot.conn);
                    continue;
                }
                Mode::Replaying => {
                    slot.highest = slot.highest.max(seq);
                    continue;
                }
                // A repeated or late batch.
                Mode::Live | Mode::Tracked | Mode::Cut => continue,
            }
            if reactions.iter().any(|reaction| reaction.user_ids.contains(&slot.user)) {
                theirs.entry(slot.user).or_default().push((slot.dialect, slot.conn));
            } else {
                targets.add(slot.dialect, hot, slot.conn);
            }
        }
        let mut viewer = None;
        let mut theirs = theirs.into_iter();
        loop {
            if let Some(shown) = numbered.event.reactions().filter(|_| !reactions.is_empty()) {
                shown.clone_from(&reactions);
                seen_by(shown, viewer);
            }
            self.send_to(targets, &ServerEvent::durable(room, &numbered), now);
            let Some((user, conns)) = theirs.next() else { break };
            viewer = Some(user);
            targets = Targets::of(&self.log, place);
            for (dialect, conn) in conns {
                if let Some(hot) = self.conns.entry(conn) {
                    targets.add(dialect, hot, conn);
                }
            }
        }
        for conn in unmarked {
            let Some(live) = self.conns.live_mut(conn) else { continue };
            if !live.resumed {
                live.unmarked.push(room);
            }
            // Another gateway that takes the session over pulls from here.
            if live.rooms.len() < limits::SOCKET_CONVERSATIONS {
                live.rooms.insert(room);
            }
        }
        for conn in written {
            // A sleep must not forget it: late batches would be written behind it.
            if let Some(live) = self.conns.live_mut(conn) {
                live.rooms.insert(room);
            }
            self.save(conn);
        }
        for conn in timers {
            if immediate {
                self.save(conn);
            }
            self.arm(conn, now);
        }
        for conn in gaps {
            self.start_gap(conn, room, now);
        }
    }

    /// Sockets with a cursor that holds less than the Room's head pull.
    fn pull_behind(&mut self, room: RoomId, head: u64, now: Timestamp) {
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        let mut behind = Vec::new();
        for slot in entry.slots_mut().iter_mut().filter(|slot| slot.member && slot.next <= head) {
            match slot.mode {
                Mode::Tracked => {
                    slot.mode = Mode::Replaying;
                    behind.push(slot.conn);
                }
                Mode::Replaying => slot.highest = slot.highest.max(head),
                Mode::Live | Mode::Cut => {}
            }
        }
        for conn in behind {
            self.start_gap(conn, room, now);
        }
    }

    fn deliver_live(&mut self, room: RoomId, event: &LiveEvent, now: Timestamp) {
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        // Whoever types has stopped or sent it by the time somebody is back.
        let volatile = matches!(event, LiveEvent::Typing { .. });
        let mut targets = if volatile { Targets::volatile(&self.log) } else { Targets::of(&self.log, Some((room, 0))) };
        for slot in entry.slots_mut().iter().filter(|slot| slot.member) {
            let wanted = match event {
                LiveEvent::Typing { user, .. } => slot.opened && slot.user != *user,
                LiveEvent::Created { users, .. } => users.contains(&slot.user),
                LiveEvent::For { these, only, .. } => these.contains(&slot.user) == *only,
                LiveEvent::Read { .. } | LiveEvent::Receipts { .. } => true,
                LiveEvent::Dismissed { .. } => false,
            };
            if wanted && let Some(hot) = self.conns.entry(slot.conn) {
                targets.add(slot.dialect, hot, slot.conn);
            }
        }
        self.send_to(targets, &ServerEvent::live(room, event), now);
    }

    /// E-045, unless the Room has said meanwhile that the user is a member again: nothing follows.
    fn dismissed(&mut self, room: RoomId, user: UserId, reason: Removal, now: Timestamp) {
        if self.rooms.get(&room).is_some_and(|entry| entry.has(user)) {
            return;
        }
        for id in self.conns_of(user) {
            self.not_a_member(id, room);
            self.emit(id, &ServerEvent::Dismissed { room, reason });
            self.save(id);
            self.settle(id, now);
        }
    }

    /// Encodes once per dialect; one `Send` for its websockets.
    pub(super) fn send_to(&mut self, targets: Targets, event: &ServerEvent<'_>, now: Timestamp) {
        let Targets { by_dialect, number, kept, place } = targets;
        if by_dialect.is_empty() {
            return;
        }
        let (mut texts, mut polling) = (Vec::with_capacity(by_dialect.len()), Vec::new());
        for (dialect, sockets, slow) in by_dialect {
            let Some(mut packet) = dialect.table().event_packet(event) else { continue };
            encode::append_offset(&mut packet, number);
            let shared: Rc<str> = packet.as_str().into();
            texts.push((dialect, shared.clone()));
            if !slow.is_empty() {
                polling.push((shared, slow));
            }
            if !sockets.is_empty() {
                self.fx.push(Output::Send { sockets, frame: Frame::Text(packet) });
            }
        }
        if kept {
            self.log.push(texts, place);
        }
        for (packet, slow) in polling {
            for id in slow {
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.session.send_shared(&packet, &mut self.fx);
                }
                self.settle(id, now);
            }
        }
    }

    /// Sends an event to one connection in its dialect.
    pub(super) fn emit(&mut self, id: ConnId, event: &ServerEvent<'_>) {
        let Some(dialect) = self.conns.live(id).map(|live| live.who.dialect) else { return };
        if let Some(packet) = dialect.table().event_packet(event) {
            self.write(id, dialect, packet, None);
        }
    }

    /// Numbers an event of one connection and sends it, unless the connection is held.
    pub(super) fn write(&mut self, id: ConnId, dialect: DialectId, mut packet: String, place: Place) {
        let number = self.log.next();
        let Some(entry) = self.conns.entry(id) else { return };
        encode::append_offset(&mut packet, number);
        entry.sent.push(number);
        let held = entry.sent.held;
        self.log.push(vec![(dialect, packet.as_str().into())], place);
        if !held && let Some(conn) = self.conns.get_mut(id) {
            conn.session.send(packet, &mut self.fx);
        }
    }

    /// Notes that what the attachment of a connection holds has changed.
    pub(super) fn touch(&mut self, id: ConnId, now: Timestamp) {
        if let Some(entry) = self.conns.entry(id) {
            touch(entry, now, &mut self.fx);
        }
    }

    /// As [`Gateway::touch`], when an old attachment does no harm.
    pub(super) fn want_save(&mut self, id: ConnId, now: Timestamp) {
        if let Some(entry) = self.conns.entry(id) {
            entry.touched = now;
            entry.save_wanted = true;
        }
    }
}
