//! Gateway: the sockets of one shard. Engine.IO and Socket.IO sessions, authentication, dialects, live delivery, resume.
//!
//! It stores nothing and decides nothing about conversations: Rooms do. It knows no room except those that deliver here
//! or that a socket opened or resumed. Whatever it keeps of a socket over a restart is in the socket's attachment.

pub mod attachment;
mod calls;
mod commands;
mod conn;
mod connect;
mod deliver;
mod echo;
mod lifecycle;
mod polling;
mod presence;
mod rates;
mod recovery;
mod replay;
mod resume;
mod rooms;
mod sent;
mod sessions;
mod sweep;
mod told;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use wire::{RoomId, Timestamp, UserId};

use crate::auth::Claims;
use crate::effects::Effects;
use crate::dialect::ServerEvent;
use crate::engineio;
use crate::error::Failure;
use crate::limits;
use crate::object::{CallError, CallKey, Input, Object, ObjectId, Output, RequestId, SocketId};
use crate::objects::{Location, Message, Shown};
use crate::settings::Settings;
use calls::Calls;
use conn::{ConnId, Conns};
use presence::{LocalUser, Watched};
use rates::Rates;
use rooms::RoomEntry;

/// Checks a token: [`crate::auth::verify_access`], or another rule in tests.
pub type Verify = fn(&str, &Settings, Timestamp) -> Result<Claims, Failure>;

/// The Gateway object.
#[derive(Debug)]
pub struct Gateway {
    name: String,
    settings: Rc<Settings>,
    config: engineio::Config,
    verify: Verify,
    fx: Effects,
    rng: ChaCha20Rng,
    /// This life.
    epoch: u64,
    draining: bool,
    conns: Conns,
    sids: BTreeMap<Rc<str>, ConnId>,
    sockets: BTreeMap<SocketId, ConnId>,
    /// Sessions that can be recovered, and those of this gateway that another one took over: whose, and which.
    pids: BTreeMap<Rc<str>, ConnId>,
    handed: BTreeMap<Rc<str>, (UserId, String)>,
    /// Sessions without a connection.
    parked: usize,
    log: sent::Log,
    /// Held polling GETs.
    gets: BTreeMap<RequestId, ConnId>,
    /// Final packets of polling sessions that ended without a held GET, and until when they are kept.
    last_words: BTreeMap<Rc<str>, (VecDeque<Vec<u8>>, Timestamp)>,
    users: BTreeMap<UserId, LocalUser>,
    watched: BTreeMap<UserId, Watched>,
    rooms: BTreeMap<RoomId, RoomEntry>,
    /// Rises when an authenticated socket comes or goes: audiences are resolved again.
    changes: u64,
    rates: Rates,
    calls: Calls,
    /// When connections want to be looked at. A connection stands here at most once with a valid time.
    wheel: BTreeMap<Timestamp, Vec<ConnId>>,
    sweep_at: Option<Timestamp>,
    /// Nothing was heard from outside in this life.
    fresh: bool,
    /// Where gateways sleep: what is stored of who has sockets here.
    told: told::Told,
}

impl Gateway {
    /// Before its `Started`. `name` is `gw-<n>`, or `echo-<n>` for the protocol test application.
    #[must_use]
    pub fn new(name: &str, settings: Rc<Settings>) -> Self {
        Self::with_verify(name, settings, crate::auth::verify_access)
    }

    /// As [`Gateway::new`] with another rule for tokens.
    #[must_use]
    pub fn with_verify(name: &str, settings: Rc<Settings>, verify: Verify) -> Self {
        let test = name.starts_with("echo-") && settings.protocol_test;
        let config = if test { echo::CONFIG } else { config_of(&settings) };
        Self {
            name: name.to_owned(),
            settings,
            config,
            verify,
            fx: Effects::default(),
            rng: ChaCha20Rng::from_seed([0; 32]),
            epoch: 0,
            draining: false,
            conns: Conns::default(),
            sids: BTreeMap::new(),
            sockets: BTreeMap::new(),
            pids: BTreeMap::new(),
            handed: BTreeMap::new(),
            parked: 0,
            log: sent::Log::default(),
            gets: BTreeMap::new(),
            last_words: BTreeMap::new(),
            users: BTreeMap::new(),
            watched: BTreeMap::new(),
            rooms: BTreeMap::new(),
            changes: 1,
            rates: Rates::default(),
            calls: Calls::default(),
            wheel: BTreeMap::new(),
            sweep_at: None,
            fresh: false,
            told: told::Told::default(),
        }
    }

    fn is_test(&self) -> bool {
        self.settings.protocol_test && self.name.starts_with("echo-")
    }

    fn location(&self) -> Location {
        Location { gateway: self.name.clone(), epoch: self.epoch }
    }

    fn asked(&mut self, from: &ObjectId, call: CallKey, msg: Message, now: Timestamp) {
        match msg {
            Message::Deliver { room, epoch, audience, users, head, durable, live } => {
                let batch = deliver::Batch { room, epoch, audience, users, head, durable, live };
                let accepted = self.deliver(batch, now);
                self.fx.reply(from, call, accepted);
            }
            Message::Verify { user } => {
                let (sockets, kept) = self.sockets_of(user);
                self.fx.reply(from, call, Message::Present { epoch: self.epoch, sockets, kept });
            }
            Message::TakeSession { pid, user, dialect, offset } => {
                let answer = self.hand_over(from, &pid, user, &dialect, &offset, now);
                self.fx.reply(from, call, answer);
            }
            Message::Presence { user, epoch, version, online, shown, audience } => {
                let shown = shown.unwrap_or_else(|| Shown::plain(online, None));
                let answer = self.presence(user, (epoch, version), shown, audience, now);
                self.fx.reply(from, call, answer);
            }
            Message::Sees { user, sees, gone, version } => {
                self.sees_changed(user, sees, &gone, version, now);
                self.fx.reply(from, call, Message::Done);
            }
            Message::ContactNews { user, news } => {
                for id in self.conns_of(user) {
                    self.emit(id, &ServerEvent::Contact { news: &news });
                    self.settle(id, now);
                }
                self.fx.reply(from, call, Message::Done);
            }
            Message::CloseSessions { user, sessions, reason } => {
                self.close_sessions(user, sessions.as_deref(), &reason, now);
                self.fx.reply(from, call, Message::Done);
            }
            _ => self.fx.reply(from, call, Message::Done),
        }
    }

    fn replied(&mut self, call: CallKey, result: Result<Message, CallError>, now: Timestamp) {
        use calls::Called;
        match self.calls.take(call) {
            None => {}
            Some(Called::SocketUp { conn }) => self.registered(conn, result, now),
            Some(Called::Down { user, round }) => self.down_answered(user, round, &result, now),
            Some(Called::Watch { user }) => self.watch_answered(user, result, now),
            Some(Called::Room(request)) => self.room_answered(&request, result, now),
            Some(Called::Pull { conn, pull }) => self.pulled(conn, pull, result, now),
            Some(Called::Presence { conn, ack }) => self.presence_set(conn, ack, &result, now),
            Some(Called::Take { conn }) => self.taken(conn, result, now),
        }
    }
}

fn config_of(settings: &Settings) -> engineio::Config {
    engineio::Config {
        ping_interval_ms: settings.heartbeat.ping_interval_ms,
        ping_timeout_ms: settings.heartbeat.ping_timeout_ms,
        grain_ms: settings.heartbeat.grain_ms,
        sweep_ms: settings.heartbeat.sweep_ms,
        max_payload_bytes: limits::MAX_PAYLOAD_BYTES,
        upgrades: settings.upgrades.iter().any(|name| name == "websocket"),
    }
}

impl Object for Gateway {
    fn handle(&mut self, input: Input, now: Timestamp) {
        if let Input::Started { sockets, epoch, seed } = input {
            return self.started(sockets, epoch, seed, now);
        }
        if let Input::Heard { socket, at } = input {
            return self.heard(socket, at);
        }
        if self.fresh && !matches!(input, Input::Loaded { .. } | Input::Persisted { .. }) {
            self.fresh = false;
            if matches!(input, Input::Alarm) {
                self.woken_for_sweep(now);
            }
        }
        self.log.now = now;
        self.due(now);
        match input {
            Input::SocketOpened { socket, head } => self.socket_opened(socket, &head, now),
            Input::Frame { socket, frame } => self.frame(socket, &frame, now),
            Input::Drained { socket } => self.drained(socket, now),
            Input::SocketClosed { socket, clean } => self.socket_closed(socket, clean, now),
            Input::PollGet { req, head } => self.poll_get(req, &head, now),
            Input::PollPost { req, head, body } => self.poll_post(req, &head, &body, now),
            Input::PollAborted { req } => self.poll_aborted(req, now),
            Input::Object { from, call, msg } => self.asked(&from, call, msg, now),
            Input::Reply { call, result } => self.replied(call, result, now),
            Input::Loaded { load, result } => self.loaded(load, result, now),
            Input::Draining => self.drain(now),
            Input::Started { .. }
            | Input::Heard { .. }
            | Input::Alarm
            | Input::Persisted { .. }
            | Input::PersistFailed { .. }
            | Input::NodeReply { .. }
            | Input::NodeEvent { .. } => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.fx.pop()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let wheel = self.wheel.keys().next().copied();
        // A host that lets objects sleep answers every call, and keeps this one awake until then.
        let calls = self.calls.due().filter(|_| !self.settings.hibernates).map(|at| self.config.round_up(at));
        [wheel, calls, self.sweep_at].into_iter().flatten().min()
    }

    fn is_idle(&self, _now: Timestamp) -> bool {
        self.conns.is_empty() && self.calls.is_empty() && self.last_words.is_empty() && self.rates.is_empty()
    }
}

#[cfg(test)]
mod tests;
