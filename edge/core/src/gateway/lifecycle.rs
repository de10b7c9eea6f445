//! Life of connections: restart, opening, frames, timers, the end.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use wire::{Timestamp, UserId};

use super::attachment::{Attachment, Cursor, Held};
use super::conn::{App, Conn, ConnId, Identity, Live, Saved, Wish};
use super::rooms::{Mode, slot_of};
use super::{Gateway, attachment, echo};
use crate::dialect::DialectId;
use crate::effects::Effects;
use crate::engineio::{Event, Query, Reason, Session};
use crate::error::CloseCode;
use crate::limits;
use crate::object::{Frame, Output, RequestHead, SocketId};
use crate::objects::{self, Message};
use crate::socketio::Decoder;

impl Gateway {
    /// Forgets everything and rebuilds the sockets that survived.
    pub(super) fn started(&mut self, sockets: Vec<(SocketId, Vec<u8>)>, epoch: u64, seed: [u8; 32], now: Timestamp) {
        *self = Self::with_verify(&self.name, self.settings.clone(), self.verify);
        self.rng = ChaCha20Rng::from_seed(seed);
        // A life that only slept keeps its epoch, and must not count its calls from where the one before did, even if that
        // began at the same instant.
        self.fx = Effects::new(if self.settings.hibernates { self.rng.next_u64() } else { epoch });
        self.epoch = epoch;
        let index = self.name.rsplit('-').next().and_then(|index| index.parse().ok()).unwrap_or_default();
        self.log = super::sent::Log::new(index, self.rng.next_u64(), now);
        self.fresh = true;
        for (socket, data) in sockets {
            match Attachment::decode(&data) {
                Some(saved) if !self.is_test() => self.restore(socket, saved, now),
                _ => self.close_socket(socket, CloseCode::ServiceRestart),
            }
        }
        self.load_told();
    }

    fn restore(&mut self, socket: SocketId, saved: Attachment, now: Timestamp) {
        let Some(dialect) = DialectId::named(&saved.dialect) else {
            return self.close_socket(socket, CloseCode::ServiceRestart);
        };
        let who = Identity {
            user: saved.user,
            username: saved.username,
            session: saved.session,
            version: saved.version,
            expires: saved.expires,
            dialect,
        };
        let mut live = Live::new(who, saved.socket_sid);
        live.pid = (!saved.pid.is_empty()).then(|| saved.pid.into());
        let pid = live.pid.clone();
        (live.warned, live.resumed, live.registered) = (saved.warned, saved.resumed, self.settings.hibernates);
        let session = Session::restored(saved.sid.into(), socket, saved.heard, &self.config, now);
        let id = self.add(session, "".into(), Wish::None, App::Live(Box::new(live)), now);
        self.sockets.insert(socket, id);
        if let Some(entry) = self.conns.entry(id) {
            entry.saved = Saved::Clean;
            entry.sent = super::sent::Sent::restored(self.log.last());
        }
        self.pids.extend(pid.map(|pid| (pid, id)));
        for held in saved.rooms {
            self.restore_room(id, held, false);
        }
        self.restored(id, now);
        self.settle(id, now);
    }

    /// `taken`: the socket was elsewhere meanwhile, and pulls from every seq that is known.
    pub(super) fn restore_room(&mut self, id: ConnId, held: Held, taken: bool) {
        let Some(live) = self.conns.live_mut(id) else { return };
        live.rooms.insert(held.room);
        let serial = live.replay.next_serial();
        let slot = self.rooms.entry(held.room).or_default().slot_or_new(id, live.who.user, live.who.dialect);
        slot.opened = held.opened;
        match held.cursor {
            Cursor::None => {}
            Cursor::Cut => slot.mode = Mode::Cut,
            Cursor::Above { next } if taken => {
                (slot.mode, slot.next, slot.serial) = (Mode::Replaying, next, serial);
                live.replay.ask(held.room);
            }
            Cursor::Above { next } => {
                // Whether it was marked delivered is forgotten; to mark it again does no harm.
                (slot.next, slot.highest) = (next, next.saturating_sub(1));
                if !live.resumed && slot.highest > 0 {
                    live.unmarked.push(held.room);
                }
            }
            // Whatever came meanwhile would have ended the sleep: the cursor is exact.
            Cursor::Next { next, generation } if self.settings.hibernates && !taken => {
                slot.mode = Mode::Tracked;
                (slot.next, slot.generation) = (next, generation);
            }
            Cursor::Next { next, generation } => {
                slot.mode = Mode::Replaying;
                (slot.next, slot.generation, slot.serial) = (next, generation, serial);
                live.replay.ask(held.room);
            }
        }
    }

    /// Random text of `bytes` bytes.
    pub(super) fn token(&mut self, bytes: usize) -> String {
        let mut random = vec![0; bytes];
        self.rng.fill_bytes(&mut random);
        URL_SAFE_NO_PAD.encode(random)
    }

    /// A fresh Engine.IO id: the part before the dot names this gateway.
    pub(super) fn new_sid(&mut self) -> Rc<str> {
        let token = self.token(18);
        let index = self.name.rsplit('-').next().unwrap_or_default();
        format!("{index}.{token}").into()
    }

    /// What a new connection speaks, by its path.
    pub(super) fn app_of(&self, head: &RequestHead) -> App {
        match (self.is_test(), head.path.starts_with("/engine.io")) {
            (false, _) => App::Waiting,
            (true, true) => App::Raw,
            (true, false) => App::Test(echo::Namespaces::default()),
        }
    }

    pub(super) fn add(&mut self, session: Session, address: Rc<str>, wish: Wish, app: App, now: Timestamp) -> ConnId {
        let auth_until = match app {
            App::Raw | App::Live(_) => None,
            App::Test(_) => Some(now.plus_ms(echo::CONNECT_TIMEOUT_MS)),
            _ => Some(self.config.round_up(now.plus_ms(limits::AUTH_TIMEOUT_MS))),
        };
        let sid = session.sid().clone();
        let decoder = Decoder::default();
        let id = self.conns.insert(Conn {
            session,
            decoder,
            address,
            wish,
            app,
            auth_until,
            claim: None,
            known_get: None,
            known_socket: None,
            known_candidate: None,
        });
        self.sids.insert(sid, id);
        self.sweep_at.get_or_insert(self.next_sweep(now));
        id
    }

    /// Whether another connection may open now.
    pub(super) fn has_room(&mut self, now: Timestamp) -> bool {
        !self.draining && self.conns.len() - self.parked < limits::GATEWAY_SOCKETS && self.admit_connect(now)
    }

    pub(super) fn socket_opened(&mut self, socket: SocketId, head: &RequestHead, now: Timestamp) {
        let query = Query::parse(&head.query);
        if query.transport != Some("websocket") {
            return self.close_socket(socket, CloseCode::ProtocolError);
        }
        if let Some(sid) = query.sid {
            return self.candidate_opened(socket, sid, now);
        }
        if query.version != Some("4") {
            return self.close_socket(socket, CloseCode::ProtocolError);
        }
        let address: Rc<str> = head.address.as_str().into();
        if self.draining {
            return self.close_socket(socket, CloseCode::ServiceRestart);
        }
        if !self.has_room(now) || !self.admit_address(&address, now) {
            return self.close_socket(socket, CloseCode::Overloaded);
        }
        let sid = self.new_sid();
        let session = Session::websocket(sid, socket, &self.config, now, &mut self.fx);
        let id = self.add(session, address, Wish::of(query.dialect), self.app_of(head), now);
        self.sockets.insert(socket, id);
        self.settle(id, now);
    }

    fn candidate_opened(&mut self, socket: SocketId, sid: &str, now: Timestamp) {
        if let Some(&id) = self.sids.get(sid)
            && let Some(conn) = self.conns.get_mut(id)
            && conn.session.on_candidate(socket, &self.config, now)
        {
            conn.known_candidate = Some(socket);
            self.sockets.insert(socket, id);
            return self.settle(id, now);
        }
        self.close_socket(socket, CloseCode::ProtocolError);
    }

    pub(super) fn close_socket(&mut self, socket: SocketId, code: CloseCode) {
        let (code, reason) = code.frame();
        self.fx.push(Output::Close { socket, code, reason: reason.to_owned() });
    }

    pub(super) fn socket_closed(&mut self, socket: SocketId, clean: bool, now: Timestamp) {
        let Some(id) = self.sockets.remove(&socket) else { return };
        if let Some(conn) = self.conns.get_mut(id) {
            conn.session.on_socket_closed(socket, clean);
            self.settle(id, now);
        }
    }

    pub(super) fn frame(&mut self, socket: SocketId, frame: &Frame, now: Timestamp) {
        let Some(&id) = self.sockets.get(&socket) else { return };
        let limit = self.payload_limit(id);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let waited = conn.session.awaits_pong();
        let event = conn.session.on_frame(socket, frame, limit, now, &mut self.fx);
        self.message(id, event, now);
        self.notice_pong(id, waited);
        self.mark_written(id, now);
        self.settle(id, now);
    }

    /// `waited`: a pong was to come before the packet.
    pub(super) fn notice_pong(&mut self, id: ConnId, waited: bool) {
        if waited
            && self.conns.get(id).is_some_and(|conn| !conn.session.awaits_pong())
            && let Some(entry) = self.conns.entry(id)
        {
            entry.sent.ponged();
        }
    }

    /// What a client may send at once: less before it is authenticated.
    pub(super) fn payload_limit(&self, id: ConnId) -> usize {
        match self.conns.get(id).map(|conn| &conn.app) {
            Some(App::Live(_) | App::Raw | App::Test(_)) => self.config.max_payload_bytes,
            _ => limits::FRAME_BEFORE_AUTH_BYTES,
        }
    }

    /// A message of Engine.IO.
    pub(super) fn message(&mut self, id: ConnId, event: Event<'_>, now: Timestamp) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let raw = matches!(conn.app, App::Raw);
        let packet = match event {
            Event::Nothing => return,
            Event::Text(text) if raw => return conn.session.send(format!("4{text}"), &mut self.fx),
            Event::Binary(data) if raw => return conn.session.send_binary(data, &mut self.fx),
            Event::Text(text) => conn.decoder.text(text),
            Event::Binary(data) => conn.decoder.binary(data, self.config.max_payload_bytes),
        };
        match packet {
            Ok(None) => {}
            Ok(Some(packet)) if matches!(conn.app, App::Test(_)) => self.test_packet(id, packet, now),
            Ok(Some(packet)) => self.packet(id, packet, now),
            Err(_) => conn.session.close(CloseCode::ProtocolError, Reason::Server, &mut self.fx),
        }
    }

    // ---- time

    /// Everything whose time has come. Every input may be late, so each is preceded by it.
    pub(super) fn due(&mut self, now: Timestamp) {
        let mut pings = Vec::new();
        while let Some(first) = self.wheel.first_entry().filter(|first| *first.key() <= now) {
            let (at, ids) = first.remove_entry();
            for id in ids {
                if let Some(entry) = self.conns.entry(id)
                    && entry.armed == Some(at)
                {
                    entry.armed = None;
                    self.conn_due(id, &mut pings, now);
                }
            }
        }
        if !pings.is_empty() {
            let frame = Frame::Text(crate::engineio::packet::PING.to_owned());
            self.fx.push(Output::Send { sockets: pings, frame });
        }
        if self.calls.due().is_some_and(|at| at <= now) {
            self.expire_calls(now);
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
    }

    fn conn_due(&mut self, id: ConnId, pings: &mut Vec<SocketId>, now: Timestamp) {
        if self.parked_due(id, now) {
            return;
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        let waited = conn.session.awaits_pong();
        let ping = conn.session.on_time(&self.config, now, &mut self.fx);
        let pinged = !waited && conn.session.awaits_pong();
        if conn.auth_until.is_some_and(|until| until <= now) {
            conn.session.close(CloseCode::AuthTimeout, Reason::Server, &mut self.fx);
        }
        if pinged && let Some(entry) = self.conns.entry(id) {
            entry.sent.ping(self.log.last());
        }
        self.expiry_due(id, now);
        if self.conns.get(id).is_some_and(|conn| conn.session.closed().is_some()) {
            return self.settle(id, now);
        }
        self.retry_pulls(id, now);
        let after = self.settings.attach_after_ms;
        if self.conns.entry(id).is_some_and(|entry| entry.save_wanted && now.since(entry.touched) >= after) {
            self.save(id);
        }
        self.settle(id, now);
        // Unless it was closed meanwhile.
        pings.extend(ping.filter(|_| self.conns.get(id).is_some()));
    }

    /// When a connection wants to be looked at next.
    fn deadline(&mut self, id: ConnId) -> Option<Timestamp> {
        let (config, after) = (self.config, self.settings.attach_after_ms.max(1));
        let entry = self.conns.entry(id)?;
        // Later than now even without a quiet time: what cannot be saved yet must not come due again at once.
        let save = entry.save_wanted.then(|| config.round_up(entry.touched.plus_ms(after.max(1))));
        let conn = self.conns.get(id)?;
        let (mut expiry, mut retry) = (None, None);
        if let App::Live(live) = &conn.app {
            if live.parked.is_some() {
                return live.parked;
            }
            expiry = Some(live.expiry_due(&config));
            retry = live.replay.retry_at().map(|at| config.round_up(at));
        }
        [conn.session.deadline(&config), conn.auth_until, save, expiry, retry].into_iter().flatten().min()
    }

    /// Sets the connection's timer, unless an earlier one is set already. Never to now: each alarm ends.
    pub(super) fn arm(&mut self, id: ConnId, now: Timestamp) {
        let Some(at) = self.deadline(id).map(|at| at.max(now.plus_ms(1))) else { return };
        let Some(entry) = self.conns.entry(id) else { return };
        if entry.armed.is_none_or(|armed| at < armed) {
            entry.armed = Some(at);
            self.wheel.entry(at).or_default().push(id);
        }
    }

    /// After anything that may have changed a connection: answers its GET, notices its end, sets its timer.
    pub(super) fn settle(&mut self, id: ConnId, now: Timestamp) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.session.flush(&mut self.fx);
        if self.drained_by_polling(id, now)
            && let Some(conn) = self.conns.get_mut(id)
        {
            conn.session.flush(&mut self.fx);
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        if let Some(reason) = conn.session.closed() {
            return self.dropped(id, reason, now);
        }
        let (held, candidate, socket) = (conn.session.held(), conn.session.candidate(), conn.session.socket());
        let (live, quiet) = match &conn.app {
            App::Live(live) => (true, live.resume.is_none() && live.replay.is_quiet()),
            _ => (false, false),
        };
        conn.known_socket = socket;
        if conn.known_get != held {
            if let Some(answered) = std::mem::replace(&mut conn.known_get, held) {
                self.gets.remove(&answered);
            }
            self.gets.extend(held.map(|req| (req, id)));
        }
        if conn.known_candidate != candidate
            && let Some(former) = std::mem::replace(&mut conn.known_candidate, candidate)
            && Some(former) != socket
        {
            self.sockets.remove(&former);
        }
        if let Some(entry) = self.conns.entry(id) {
            entry.direct = socket.filter(|_| live && !entry.sent.held);
            if quiet && entry.saved == Saved::Dirty && !entry.save_wanted {
                // A replay has ended: cursors can be written again.
                (entry.save_wanted, entry.touched) = (true, now);
            }
            let at_once = entry.save_wanted && quiet && self.settings.attach_after_ms == 0;
            if entry.direct.is_some() && (at_once || entry.saved == Saved::Nothing) {
                self.save(id);
            }
        }
        self.arm(id, now);
    }

    /// Writes the attachment, or a mark that it is behind while something is under way.
    pub(super) fn save(&mut self, id: ConnId) {
        let data = self.attachment(id);
        let Some(entry) = self.conns.entry(id) else { return };
        entry.save_wanted = false;
        let Some(socket) = entry.direct else { return };
        let data = match data {
            Ok(Some(data)) => {
                entry.saved = Saved::Clean;
                data
            }
            behind => {
                let marked = matches!(entry.saved, Saved::Dirty | Saved::TooLarge);
                entry.saved = if behind.is_ok() { Saved::TooLarge } else { Saved::Dirty };
                if marked {
                    return;
                }
                attachment::DIRTY.to_vec()
            }
        };
        self.fx.push(Output::Attach { socket, data });
    }

    /// `Err` while cursors move; `Ok(None)` when it is too large.
    fn attachment(&mut self, id: ConnId) -> Result<Option<Vec<u8>>, ()> {
        let held = self.is_held(id);
        let Some(live) = self.conns.live(id) else { return Ok(None) };
        if live.resume.is_some() || !live.replay.is_quiet() || held {
            return Err(());
        }
        Ok(self.state_of(id, self.settings.hibernates).and_then(|state| state.encode()))
    }

    /// `seen`: with what was written last in conversations without a cursor.
    pub(super) fn state_of(&mut self, id: ConnId, seen: bool) -> Option<Attachment> {
        let conn = self.conns.get(id)?;
        let App::Live(live) = &conn.app else { return None };
        let mut rooms = Vec::with_capacity(live.rooms.len());
        for room in &live.rooms {
            let Some(slot) = slot_of(&mut self.rooms, *room, id) else { continue };
            let cursor = match slot.mode {
                Mode::Live if seen && slot.next > 0 => Cursor::Above { next: slot.next },
                Mode::Live if !slot.opened => continue,
                Mode::Live => Cursor::None,
                Mode::Tracked | Mode::Replaying => Cursor::Next { next: slot.next, generation: slot.generation },
                Mode::Cut => Cursor::Cut,
            };
            rooms.push(Held { room: *room, opened: slot.opened, cursor });
        }
        Some(Attachment {
            sid: conn.session.sid().to_string(),
            socket_sid: live.sid.clone(),
            pid: live.pid.as_deref().unwrap_or_default().to_owned(),
            user: live.who.user,
            username: live.who.username.clone(),
            session: live.who.session,
            version: live.who.version,
            expires: live.who.expires,
            heard: conn.session.heard(),
            warned: live.warned,
            resumed: live.resumed,
            dialect: live.who.dialect.table().name.to_owned(),
            rooms,
        })
    }

    // ---- the end

    /// The session is over: forgets the connection and tells its User.
    fn dropped(&mut self, id: ConnId, reason: Reason, now: Timestamp) {
        self.unlink(id);
        if self.park(id, reason, now) {
            return;
        }
        let Some(conn) = self.conns.remove(id) else { return };
        match conn.app {
            App::Raw | App::Test(_) => {}
            App::Waiting | App::Anonymous => self.address_settled(&conn.address, false, now),
            App::Verifying(who) => {
                self.address_settled(&conn.address, true, now);
                self.left(id, &who, reason.is_clean(), now);
            }
            App::Live(live) => self.ended(id, &live, reason.is_clean(), now),
        }
    }

    /// Nothing that arrives leads to the connection any more.
    pub(super) fn unlink(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        self.sids.remove(conn.session.sid());
        for socket in [conn.known_socket.take(), conn.known_candidate.take()].into_iter().flatten() {
            self.sockets.remove(&socket);
        }
        if let Some(req) = conn.known_get.take() {
            self.gets.remove(&req);
        }
    }

    /// An authenticated connection is one no longer.
    pub(super) fn ended(&mut self, id: ConnId, live: &Live, clean: bool, now: Timestamp) {
        self.changes += 1;
        if let Some(pid) = &live.pid {
            self.pids.remove(pid);
        }
        for room in &live.rooms {
            if let Some(entry) = self.rooms.get_mut(room) {
                entry.remove(id);
            }
        }
        self.left(id, &live.who, clean, now);
    }

    /// Tells the User that a socket of it is gone.
    pub(super) fn left(&mut self, id: ConnId, who: &Identity, clean: bool, now: Timestamp) {
        self.remove_local(id, who.user);
        self.tell_left(who.user, clean, now);
    }

    pub(super) fn tell_left(&mut self, user: UserId, clean: bool, now: Timestamp) {
        let (sockets, kept) = self.sockets_of(user);
        if self.settings.hibernates {
            if sockets == 0 {
                self.tell_down(user, clean, now);
            }
            return;
        }
        let msg = Message::SocketDown { at: self.location(), sockets, clean, kept };
        self.fx.tell(objects::user(user), msg);
    }
}
