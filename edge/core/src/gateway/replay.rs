//! Pulled replay: pages of events from Rooms, written as fast as the socket drains.
//!
//! A conversation stays [`Mode::Replaying`] until its last event has left `unsent`; live events are dropped meanwhile,
//! and pulled if they were above what was replayed. So seq only rises on a socket, without a gap.

use std::collections::VecDeque;

use wire::{ErrorCode, RoomId, Timestamp};

use super::Gateway;
use super::calls::Called;
use super::conn::ConnId;
use super::rooms::{Mode, slot_of};
use super::sent::Place;
use crate::dialect::ServerEvent;
use crate::engineio::Reason;
use crate::error::CloseCode;
use crate::limits;
use crate::object::{CallError, Output, SocketId};
use crate::objects::{self, Marks, Message, Numbered, Removal};

/// What one socket replays.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Conversations whose next page is to be asked for.
    queue: VecDeque<RoomId>,
    unsent: VecDeque<Item>,
    in_flight: usize,
    /// Written since the socket was last known to be drained.
    bytes: usize,
    events: usize,
    draining: Option<Via>,
    /// Conversations whose pull failed outside a resume.
    failed: Vec<RoomId>,
    failures: u32,
    retry_at: Option<Timestamp>,
    serials: u32,
}

#[derive(Debug)]
enum Item {
    /// A whole packet, without its offset.
    Packet(String, (RoomId, u64)),
    /// Everything of this replay was written.
    End { room: RoomId, serial: u32 },
    /// The same, but the resume is cut off here.
    Cut { room: RoomId },
}

/// What tells that the socket is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    Socket(SocketId),
    Polling,
}

/// A question to a Room that is under way.
#[derive(Debug)]
pub(super) struct Pull {
    room: RoomId,
    serial: u32,
    /// Events of the resume's budget that this page may take.
    reserved: usize,
}

/// [`Message::Page`].
struct Page {
    events: Vec<Numbered>,
    head: u64,
    generation: u64,
    read_seq: u64,
    marks: Vec<Marks>,
    reset: Option<String>,
}

impl Replay {
    /// Nothing is under way: cursors say what the socket holds.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.unsent.is_empty() && self.in_flight == 0 && self.failed.is_empty()
    }

    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at
    }

    /// The transport it waited for is gone.
    pub(super) fn undrained(&mut self) {
        (self.draining, self.bytes, self.events) = (None, 0, 0);
    }

    /// Takes what was pulled and not written yet.
    pub(super) fn take_unsent(&mut self) -> Vec<(String, Place)> {
        let unsent = std::mem::take(&mut self.unsent).into_iter();
        unsent.filter_map(|item| if let Item::Packet(packet, place) = item { Some((packet, Some(place))) } else { None }).collect()
    }

    /// Places of what was pulled and not written yet.
    pub(super) fn unsent_places(&self) -> impl Iterator<Item = (RoomId, u64)> {
        let places = self.unsent.iter().filter_map(|item| if let Item::Packet(_, place) = item { Some(*place) } else { None });
        places.filter(|(_, seq)| *seq > 0)
    }

    pub(super) fn ask(&mut self, room: RoomId) {
        self.queue.push_back(room);
    }

    /// A number for a new replay of a conversation.
    pub(super) fn next_serial(&mut self) -> u32 {
        self.serials = self.serials.wrapping_add(1);
        self.serials
    }
}

impl Gateway {
    /// A cursor is behind: pulls from it. The slot is already [`Mode::Replaying`].
    pub(super) fn start_gap(&mut self, id: ConnId, room: RoomId, now: Timestamp) {
        self.touch(id, now);
        let Some(live) = self.conns.live_mut(id) else { return };
        let serial = live.replay.next_serial();
        live.replay.ask(room);
        if let Some(slot) = slot_of(&mut self.rooms, room, id) {
            slot.serial = serial;
        }
        self.pump(id, now);
        self.settle(id, now);
    }

    /// Writes what waits, then asks for more.
    pub(super) fn pump(&mut self, id: ConnId, now: Timestamp) {
        loop {
            let Some(conn) = self.conns.get_mut(id) else { return };
            let super::conn::App::Live(live) = &mut conn.app else { return };
            if live.replay.draining.is_some() || live.parked.is_some() {
                return;
            }
            let dialect = live.who.dialect;
            // What the client missed comes before everything that is pulled.
            match self.next_missed(id, dialect) {
                Ok(Some(packet)) => {
                    if let Some(conn) = self.conns.get_mut(id) {
                        conn.session.send_shared(&packet, &mut self.fx);
                    }
                    self.written(id, packet.len());
                    continue;
                }
                Ok(None) => {}
                Err(()) => return self.give_up(id),
            }
            let Some(live) = self.conns.live_mut(id) else { return };
            match live.replay.unsent.pop_front() {
                None => break,
                Some(Item::Packet(packet, place)) => {
                    let bytes = packet.len();
                    self.write(id, dialect, packet, Some(place));
                    self.written(id, bytes);
                }
                Some(Item::End { room, serial }) => self.replay_ended(id, room, serial, now),
                Some(Item::Cut { room }) => self.resume_finished(id, room),
            }
        }
        self.issue_pulls(id, now);
    }

    /// Something is written of what waits: now and then the socket must drain first.
    fn written(&mut self, id: ConnId, bytes: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let super::conn::App::Live(live) = &mut conn.app else { return };
        let replay = &mut live.replay;
        replay.bytes += bytes;
        replay.events += 1;
        if replay.bytes >= limits::DRAINED_BYTES || replay.events >= limits::REPLAY_CHUNK_EVENTS {
            (replay.bytes, replay.events) = (0, 0);
            replay.draining = Some(match conn.session.socket() {
                Some(socket) => {
                    self.fx.push(Output::Drain { socket });
                    Via::Socket(socket)
                }
                None => Via::Polling,
            });
        }
    }

    /// Everything of one conversation was written: it turns live, or there is more by now.
    fn replay_ended(&mut self, id: ConnId, room: RoomId, serial: u32, now: Timestamp) {
        let Some(slot) = slot_of(&mut self.rooms, room, id) else { return };
        if slot.mode != Mode::Replaying || slot.serial != serial {
            return;
        }
        if slot.highest >= slot.next {
            if let Some(live) = self.conns.live_mut(id) {
                live.replay.ask(room);
            }
            return;
        }
        // One that came from another gateway catches up once, even if it never resumed.
        let resumed = self.conns.live(id).is_some_and(|live| live.resumed);
        slot.mode = if resumed { Mode::Tracked } else { Mode::Live };
        slot.highest = 0;
        self.touch(id, now);
        self.resume_finished(id, room);
    }

    fn issue_pulls(&mut self, id: ConnId, now: Timestamp) {
        loop {
            let Some(live) = self.conns.live_mut(id) else { return };
            let replay = &mut live.replay;
            if replay.draining.is_some() || !replay.unsent.is_empty() || replay.in_flight >= limits::PULLS_PER_SOCKET {
                return;
            }
            let Some(room) = replay.queue.pop_front() else { return };
            let Some(slot) = slot_of(&mut self.rooms, room, id).filter(|slot| slot.mode == Mode::Replaying) else {
                continue;
            };
            let (limit, marks, reserved) = match live.resume.as_mut().map(|resume| resume.reserve(room)) {
                None | Some(super::resume::Reserve::NotNamed) => (limits::PULL_PAGE, false, 0),
                Some(super::resume::Reserve::Take { limit, first }) => (limit, first, limit),
                Some(super::resume::Reserve::Later) => {
                    live.replay.queue.push_front(room);
                    return;
                }
                Some(super::resume::Reserve::Spent) => {
                    self.cut(id, room);
                    self.resume_finished(id, room);
                    continue;
                }
            };
            live.replay.in_flight += 1;
            let msg = Message::Pull {
                user: live.who.user,
                after: slot.next.saturating_sub(1),
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
                generation: (slot.generation != 0).then_some(slot.generation),
                marks,
            };
            let pull = Pull { room, serial: slot.serial, reserved };
            self.call(objects::room(room), msg, Called::Pull { conn: id, pull }, now);
        }
    }

    /// A Room has answered, or has not.
    pub(super) fn pulled(&mut self, id: ConnId, pull: Pull, result: Result<Message, CallError>, now: Timestamp) {
        let Some(live) = self.conns.live_mut(id) else { return };
        live.replay.in_flight = live.replay.in_flight.saturating_sub(1);
        if let Some(resume) = &mut live.resume {
            resume.release(pull.reserved);
        }
        let named = live.resume.as_ref().is_some_and(|resume| resume.names(pull.room));
        let current = slot_of(&mut self.rooms, pull.room, id)
            .is_some_and(|slot| slot.mode == Mode::Replaying && slot.serial == pull.serial);
        if current {
            // Before anything of the page is written: a restored socket still has its old cursor.
            self.touch(id, now);
            match result {
                Ok(Message::Page { events, head, generation, read_seq, marks, reset }) => {
                    self.page(id, &pull, Page { events, head, generation, read_seq, marks, reset });
                }
                Ok(Message::Refused { failure }) if is_not_visible(failure.code) => {
                    self.not_a_member(id, pull.room);
                    if !named {
                        // The word of it was lost, or is on its way.
                        self.emit(id, &ServerEvent::Dismissed { room: pull.room, reason: Removal::Removed });
                    }
                }
                _ => self.pull_failed(id, pull.room, now),
            }
        }
        self.pump(id, now);
        self.settle(id, now);
    }

    fn page(&mut self, id: ConnId, pull: &Pull, page: Page) {
        let room = pull.room;
        let Some(slot) = slot_of(&mut self.rooms, room, id) else { return };
        let Some(live) = self.conns.live_mut(id) else { return };
        slot.generation = page.generation;
        live.replay.failures = 0;
        let table = slot.dialect.table();
        let mut sent = 0;
        if let Some(reason) = &page.reset {
            slot.next = page.head + 1;
            slot.highest = 0;
            let reset = ServerEvent::Reset { room, head: page.head, reason };
            live.replay.unsent.extend(table.event_packet(&reset).map(|packet| Item::Packet(packet, (room, 0))));
        }
        for numbered in &page.events {
            if numbered.seq < slot.next {
                continue;
            }
            slot.next = numbered.seq + 1;
            sent += 1;
            let event = ServerEvent::durable(room, numbered);
            let place = (room, numbered.seq);
            live.replay.unsent.extend(table.event_packet(&event).map(|packet| Item::Packet(packet, place)));
        }
        let held = slot.next.saturating_sub(1);
        // An empty page may be older than the live events that were dropped while it was on its way; one that was asked
        // for after them is not, and asking once more would not help.
        let known = if sent > 0 { page.head.max(slot.highest) } else { std::mem::take(&mut slot.highest) };
        let behind = held < known;
        let serial = slot.serial;
        let may_go_on = match &mut live.resume {
            Some(resume) => resume.paged(room, sent, page.head, page.generation, page.read_seq, page.marks),
            None => true,
        };
        if !behind {
            live.replay.unsent.push_back(Item::End { room, serial });
        } else if may_go_on {
            live.replay.ask(room);
        } else {
            self.cut(id, room);
            if let Some(live) = self.conns.live_mut(id) {
                live.replay.unsent.push_back(Item::Cut { room });
            }
        }
    }

    /// The resume stops here for this conversation: nothing more of it until the client asks again.
    pub(super) fn cut(&mut self, id: ConnId, room: RoomId) {
        let Some(slot) = slot_of(&mut self.rooms, room, id) else { return };
        slot.mode = Mode::Cut;
        let held = slot.next.saturating_sub(1);
        if let Some(resume) = self.conns.live_mut(id).and_then(|live| live.resume.as_mut()) {
            resume.cut(room, held);
        }
    }

    /// Nothing of the conversation goes there any more, not even what was pulled already, or would be recovered.
    pub(super) fn not_a_member(&mut self, id: ConnId, room: RoomId) {
        self.forget_slot(id, room);
        if let Some(live) = self.conns.live_mut(id) {
            live.replay.unsent.retain(|item| !matches!(item, Item::Packet(_, (of, _)) if *of == room));
        }
        if let Some(entry) = self.conns.entry(id) {
            entry.sent.drop_all(|number| self.log.place(number).is_some_and(|(of, _)| of == room));
        }
        if let Some(resume) = self.conns.live_mut(id).and_then(|live| live.resume.as_mut()) {
            resume.removed(room);
        }
        self.resume_finished(id, room);
    }

    fn pull_failed(&mut self, id: ConnId, room: RoomId, now: Timestamp) {
        let Some(live) = self.conns.live_mut(id) else { return };
        if live.resume.as_ref().is_some_and(|resume| resume.names(room)) {
            self.cut(id, room);
            self.resume_finished(id, room);
            return;
        }
        live.replay.failed.push(room);
        live.replay.failures += 1;
        live.replay.retry_at = Some(now.plus_ms(1_000 << live.replay.failures.min(4)));
        if live.replay.failures > limits::PULL_RETRIES
            && let Some(conn) = self.conns.get_mut(id)
        {
            // Its client resumes by itself.
            conn.session.close(CloseCode::ServiceRestart, Reason::Server, &mut self.fx);
            self.settle(id, now);
        }
    }

    /// The time to try failed pulls again.
    pub(super) fn retry_pulls(&mut self, id: ConnId, now: Timestamp) {
        let Some(live) = self.conns.live_mut(id) else { return };
        if live.replay.retry_at.is_some_and(|at| at <= now) {
            live.replay.retry_at = None;
            let failed = std::mem::take(&mut live.replay.failed);
            live.replay.queue.extend(failed);
            self.pump(id, now);
        }
    }

    pub(super) fn drained(&mut self, socket: SocketId, now: Timestamp) {
        let Some(&id) = self.sockets.get(&socket) else { return };
        if let Some(live) = self.conns.live_mut(id)
            && live.replay.draining == Some(Via::Socket(socket))
        {
            live.replay.draining = None;
            self.pump(id, now);
            self.settle(id, now);
        }
    }

    /// A polling session drains by its GETs, and by the upgrade. `true`: something was written.
    pub(super) fn drained_by_polling(&mut self, id: ConnId, now: Timestamp) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let super::conn::App::Live(live) = &mut conn.app else { return false };
        let over = conn.session.backlog() == 0 || conn.session.socket().is_some();
        if live.replay.draining != Some(Via::Polling) || !over {
            return false;
        }
        live.replay.draining = None;
        self.pump(id, now);
        true
    }
}

fn is_not_visible(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::PermissionDenied | ErrorCode::NotFound | ErrorCode::NotAMember)
}
