//! Connection state recovery (G-17). A session whose connection was lost stays for a while, with its rooms and cursors,
//! and notes what happens. A client that comes back with its `pid` gets what it missed and the same `sid`, here or at
//! another gateway, which takes the session over. Only memory has it: who is forgotten begins anew, and resumes.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use wire::{RoomId, Timestamp, UserId};

use super::Gateway;
use super::attachment::Attachment;
use super::calls::Called;
use super::conn::{App, ConnId, Saved};
use super::rooms::{Mode, slot_of};
use super::sent::{Place, Sent, gateway_of};
use crate::dialect::DialectId;
use crate::engineio::Reason;
use crate::error::CloseCode;
use crate::limits;
use crate::object::{CallError, Kind, ObjectId};
use crate::objects::{self, Message};
use crate::socketio::encode;
use crate::socketio::packet::ROOT;

/// What a client says of its former session.
#[derive(Debug)]
pub(super) struct Claim {
    pid: Rc<str>,
    /// Of the last event that it got; empty when there was none.
    offset: Box<str>,
    /// The User has accepted the socket, and another gateway was asked.
    asked: bool,
    /// Other gateways that may have the session and were not asked yet.
    places: VecDeque<ObjectId>,
    /// One of them had handed it on.
    moved: bool,
}

/// A session that another gateway handed over.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) state: Attachment,
    pub(super) pid: Rc<str>,
    offset: Box<str>,
    packets: Vec<(String, Place)>,
}

impl Claim {
    /// `None` for a first connect, and for what no client of ours sends.
    pub(super) fn of(auth: &Map<String, Value>) -> Option<Self> {
        let text = |value: &Value| value.as_str().filter(|text| text.len() <= limits::RECOVERY_TEXT_BYTES).map(str::to_owned);
        let pid = text(auth.get("pid")?)?;
        let offset = auth.get("offset").map_or(Some(String::new()), text)?;
        Some(Self { pid: pid.into(), offset: offset.into(), asked: false, places: VecDeque::new(), moved: false })
    }
}

impl Gateway {
    /// The User has accepted a socket whose client had a session.
    pub(super) fn claimed(&mut self, id: ConnId, mut claim: Claim, now: Timestamp) {
        let Some(App::Verifying(who)) = self.conns.get(id).map(|conn| &conn.app) else { return };
        let (user, dialect) = (who.user, who.dialect);
        if let Some(&old) = self.pids.get(&claim.pid) {
            if let Some(number) = self.recoverable(old, user, dialect, &claim.offset) {
                return self.adopt(id, old, number, now);
            }
            self.end_unrecovered(old, user, now);
        } else {
            claim.places = self.whereabouts(&claim.pid, &claim.offset, user);
        }
        self.take_or_begin(id, claim, now);
    }

    /// Gateways that may have a session that is not here: where it was handed, who spoke to the client last, and the home.
    fn whereabouts(&self, pid: &str, offset: &str, user: UserId) -> VecDeque<ObjectId> {
        let handed = self.handed.get(pid).filter(|(owner, _)| *owner == user);
        let handed = handed.map(|(_, gateway)| ObjectId::new(Kind::Gateway, gateway.as_str()));
        let home = pid.split_once('.').and_then(|(index, _)| index.parse().ok());
        let named = [gateway_of(offset), home].into_iter().flatten().filter(|index| *index < self.settings.gateways);
        let mut places = VecDeque::new();
        for place in handed.into_iter().chain(named.map(objects::gateway)) {
            if *place.name != *self.name && !places.contains(&place) {
                places.push_back(place);
            }
        }
        places
    }

    /// Asks the next gateway for the session; when there is none, the client begins anew.
    fn take_or_begin(&mut self, id: ConnId, mut claim: Claim, now: Timestamp) {
        let Some(gateway) = claim.places.pop_front() else { return self.begin_session(id, None, now) };
        let Some(conn) = self.conns.get_mut(id) else { return };
        let App::Verifying(who) = &conn.app else { return };
        claim.asked = true;
        let (pid, offset) = (claim.pid.to_string(), claim.offset.to_string());
        let msg = Message::TakeSession { pid, user: who.user, dialect: who.dialect.table().name.to_owned(), offset };
        conn.claim = Some(Box::new(claim));
        self.call(gateway, msg, Called::Take { conn: id }, now);
    }

    /// The other gateway has answered, or has not.
    pub(super) fn taken(&mut self, id: ConnId, result: Result<Message, CallError>, now: Timestamp) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let App::Verifying(who) = &conn.app else { return };
        let user = who.user;
        let Some(mut claim) = conn.claim.take_if(|claim| claim.asked) else { return };
        match result {
            Ok(Message::SessionTaken { state, packets }) => {
                let state = URL_SAFE_NO_PAD.decode(state).ok().and_then(|bytes| Attachment::decode(&bytes));
                let state = state.filter(|state| state.user == user);
                let taken = state.map(|state| Taken { state, pid: claim.pid, offset: claim.offset, packets });
                self.begin_session(id, taken, now);
            }
            // Whoever waited for one that is silent does not wait for another.
            Err(_) => self.begin_session(id, None, now),
            Ok(answer) => {
                if let Message::SessionAt { gateway } = answer
                    && gateway != self.name
                    && !std::mem::replace(&mut claim.moved, true)
                {
                    claim.places.push_front(ObjectId::new(Kind::Gateway, gateway));
                }
                self.take_or_begin(id, *claim, now);
            }
        }
        self.settle(id, now);
    }

    /// The session goes on here: what the client missed, then what the Rooms have above its cursors.
    pub(super) fn go_on(&mut self, id: ConnId, taken: Taken) {
        self.handed.remove(&taken.pid);
        let last = self.log.last();
        let Some(entry) = self.conns.entry(id) else { return };
        entry.sent = Sent::begin(&taken.offset, last);
        entry.sent.hold_from(last);
        let Some(live) = self.conns.live_mut(id) else { return };
        live.resumed = taken.state.resumed;
        let dialect = live.who.dialect;
        for (packet, place) in taken.packets {
            self.write(id, dialect, packet, place);
        }
        for held in taken.state.rooms {
            self.restore_room(id, held, true);
        }
        self.note_recovered(id);
    }

    /// Another gateway asks for a session.
    pub(super) fn hand_over(
        &mut self,
        from: &ObjectId,
        pid: &str,
        user: UserId,
        dialect: &str,
        offset: &str,
        now: Timestamp,
    ) -> Message {
        let Some(&id) = self.pids.get(pid) else {
            let Some((owner, gateway)) = self.handed.get_mut(pid) else { return Message::Done };
            if *owner != user {
                return Message::Done;
            }
            return Message::SessionAt { gateway: std::mem::replace(gateway, from.name.to_string()) };
        };
        let dialect = DialectId::named(dialect).filter(|_| from.kind == Kind::Gateway);
        let Some((number, dialect)) = dialect.and_then(|one| Some((self.recoverable(id, user, one, offset)?, one))) else {
            self.end_unrecovered(id, user, now);
            return Message::Done;
        };
        let Some(state) = self.state_of(id, true).and_then(|state| state.encode()) else { return Message::Done };
        let missed: Vec<u64> = self.conns.entry(id).map(|entry| entry.sent.above(number).collect()).unwrap_or_default();
        let kept = |number: u64| Some((encode::without_offset(&self.log.text(number, dialect)??)?, self.log.place(number)));
        let mut packets: Vec<(String, Place)> = missed.into_iter().filter_map(kept).collect();
        packets.extend(self.conns.live_mut(id).map(|live| live.replay.take_unsent()).unwrap_or_default());
        self.end_session(id, now);
        let index = self.name.rsplit('-').next().unwrap_or_default();
        if pid.split_once('.').is_some_and(|(home, _)| home == index) {
            if self.handed.len() >= limits::GATEWAY_SOCKETS {
                self.handed.pop_first();
            }
            self.handed.insert(pid.into(), (user, from.name.to_string()));
        }
        Message::SessionTaken { state: URL_SAFE_NO_PAD.encode(state), packets }
    }

    /// Whether the session is this user's, and everything behind `offset` is still here: the number of what the client has.
    fn recoverable(&mut self, id: ConnId, user: UserId, dialect: DialectId, offset: &str) -> Option<u64> {
        let live = self.conns.live(id)?;
        // In the middle of a resume there is nothing to go on from: the client asks again.
        if (live.who.user, live.who.dialect) != (user, dialect) || live.resume.is_some() {
            return None;
        }
        let resume_end = live.resume_end;
        let sent = &self.conns.entry(id)?.sent;
        let number = sent.has(offset, self.log.last()).filter(|number| *number >= resume_end)?;
        let mut bytes = 0;
        for missed in sent.above(number) {
            bytes += self.log.text(missed, dialect)?.map_or(0, |text| text.len());
        }
        (bytes <= limits::RECOVERY_BYTES).then_some(number)
    }

    /// A session of this gateway goes on over the connection `new`. Its own may be half open.
    fn adopt(&mut self, new: ConnId, old: ConnId, number: u64, now: Timestamp) {
        self.unlink(old);
        let Some(conn) = self.conns.remove(new) else { return };
        let App::Verifying(who) = conn.app else { return };
        let user = who.user;
        self.sids.insert(conn.session.sid().clone(), old);
        self.sockets.extend(conn.known_socket.into_iter().chain(conn.known_candidate).map(|socket| (socket, old)));
        self.gets.extend(conn.known_get.map(|req| (req, old)));
        self.unpark(old);
        if let Some(entry) = self.conns.entry(old) {
            (entry.direct, entry.saved, entry.save_wanted) = (None, Saved::Nothing, false);
            entry.sent.hold_from(number);
        }
        let Some(kept) = self.conns.get_mut(old) else { return };
        kept.session.close(CloseCode::Normal, Reason::Server, &mut self.fx);
        (kept.session, kept.decoder, kept.wish) = (conn.session, conn.decoder, conn.wish);
        kept.address = conn.address.clone();
        (kept.known_get, kept.known_socket, kept.known_candidate) = (conn.known_get, conn.known_socket, conn.known_candidate);
        let App::Live(live) = &mut kept.app else { return };
        (live.who, live.warned, live.registered) = (*who, false, true);
        live.replay.undrained();
        kept.session.send(encode::connected(ROOT, &live.sid, live.pid.as_deref()), &mut self.fx);
        self.note_recovered(old);
        self.calls.forget_asked(old);
        if let Some(local) = self.users.get_mut(&user) {
            local.forget_asking(old);
        }
        self.remove_local(new, user);
        self.address_settled(&conn.address, true, now);
        self.make_live(old, user);
        self.pump(old, now);
        self.settle(old, now);
    }

    /// Where the replay of what was missed begins, by conversation with a cursor: a `sync:resume` that asks for the same,
    /// because its client had not read it yet, gets it once.
    fn note_recovered(&mut self, id: ConnId) {
        let Some(entry) = self.conns.entry(id) else { return };
        let missed: Vec<u64> = entry.sent.unwritten().collect();
        let Some(live) = self.conns.live_mut(id) else { return };
        let places = missed.into_iter().filter_map(|number| self.log.place(number)).filter(|(_, seq)| *seq > 0);
        let mut runs: BTreeMap<RoomId, Option<(u64, u64)>> = BTreeMap::new();
        for (room, seq) in places.chain(live.replay.unsent_places()) {
            let run = runs.entry(room).or_insert(Some((seq, seq.saturating_sub(1))));
            *run = run.filter(|(_, last)| *last + 1 == seq).map(|(first, _)| (first, seq));
        }
        live.recovered.clear();
        for room in &live.rooms {
            let slot = slot_of(&mut self.rooms, *room, id).filter(|slot| matches!(slot.mode, Mode::Tracked | Mode::Replaying));
            let Some(next) = slot.map(|slot| slot.next) else { continue };
            // Live events of a conversation that had no cursor may have holes.
            let first = match runs.get(room) {
                None => Some(next),
                Some(run) => run.filter(|(_, last)| last + 1 == next).map(|(first, _)| first),
            };
            live.recovered.extend(first.map(|first| (*room, first)));
        }
    }

    /// The transport of a connection is over: keeps the session. `false` when nothing may be recovered.
    pub(super) fn park(&mut self, id: ConnId, reason: Reason, now: Timestamp) -> bool {
        let full = self.parked >= limits::GATEWAY_SOCKETS;
        let until = if self.settings.hibernates {
            // Not for long, and with the sweep: it wakes nobody by itself.
            self.config.round_up_to_sweep(now.plus_ms(limits::RECOVERY_SLEEPING_MS))
        } else {
            self.config.round_up(now.plus_ms(limits::RECOVERY_MS))
        };
        let Some(live) = self.conns.live_mut(id) else { return false };
        if live.parked.is_some() {
            return true;
        }
        if live.pid.is_none() || live.resume.is_some() || full {
            return false;
        }
        live.parked = Some(until);
        live.replay.undrained();
        let user = live.who.user;
        self.parked += 1;
        if let Some(local) = self.users.get_mut(&user) {
            local.kept += 1;
        }
        if let Some(entry) = self.conns.entry(id) {
            (entry.direct, entry.saved, entry.save_wanted, entry.armed) = (None, Saved::Nothing, false, None);
            entry.sent.held = true;
        }
        self.tell_left(user, reason.is_clean(), now);
        self.arm(id, now);
        true
    }

    /// It has a connection again, or is about to end.
    fn unpark(&mut self, id: ConnId) -> bool {
        let Some(live) = self.conns.live_mut(id) else { return false };
        let user = live.who.user;
        if live.parked.take().is_none() {
            return false;
        }
        self.parked -= 1;
        if let Some(local) = self.users.get_mut(&user) {
            local.kept -= 1;
        }
        true
    }

    /// The time of a session without a connection.
    pub(super) fn parked_due(&mut self, id: ConnId, now: Timestamp) -> bool {
        let Some(until) = self.conns.live(id).and_then(|live| live.parked) else { return false };
        if until <= now {
            self.end_session(id, now);
        } else {
            self.arm(id, now);
        }
        true
    }

    /// Its client begins anew: a session without a connection is nothing any more.
    fn end_unrecovered(&mut self, id: ConnId, user: UserId, now: Timestamp) {
        if self.conns.live(id).is_some_and(|live| live.who.user == user && live.parked.is_some()) {
            self.end_session(id, now);
        }
    }

    /// Ends a session here, with its connection if it has one.
    pub(super) fn end_session(&mut self, id: ConnId, now: Timestamp) {
        self.unpark(id);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.session.close(CloseCode::Normal, Reason::Server, &mut self.fx);
        }
        self.unlink(id);
        if let Some(conn) = self.conns.remove(id)
            && let App::Live(live) = conn.app
        {
            self.ended(id, &live, true, now);
        }
    }

    /// Whoever comes back with this session's `pid` begins anew. Answers whether it has no connection.
    pub(super) fn never_recover(&mut self, id: ConnId) -> bool {
        let Some(live) = self.conns.live_mut(id) else { return false };
        let parked = live.parked.is_some();
        if let Some(pid) = live.pid.take() {
            self.pids.remove(&pid);
        }
        parked
    }

    /// While held: the next packet that the client missed. `Err` when it is forgotten.
    pub(super) fn next_missed(&mut self, id: ConnId, dialect: DialectId) -> Result<Option<Rc<str>>, ()> {
        let Some(entry) = self.conns.entry(id).filter(|entry| entry.sent.held) else { return Ok(None) };
        while let Some(number) = entry.sent.next_unwritten()? {
            if let Some(packet) = self.log.text(number, dialect).ok_or(())? {
                return Ok(Some(packet));
            }
        }
        entry.sent.held = false;
        Ok(None)
    }

    /// What its client missed cannot be written any more: it begins anew.
    pub(super) fn give_up(&mut self, id: ConnId) {
        self.never_recover(id);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.session.close(CloseCode::ServiceRestart, Reason::Server, &mut self.fx);
        }
    }

    pub(super) fn is_held(&mut self, id: ConnId) -> bool {
        self.conns.entry(id).is_some_and(|entry| entry.sent.held)
    }
}
