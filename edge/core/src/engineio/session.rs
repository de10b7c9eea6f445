//! One Engine.IO session: its transport, the upgrade, and the heartbeat.
//!
//! The server pings; the client only answers. Packets wait in the polling buffer until a GET takes them or the upgrade
//! flushes them, in order: each packet leaves exactly once.

use std::collections::VecDeque;
use std::rc::Rc;

use wire::Timestamp;

use super::packet::{self, Packet};
use super::response::{self, Cors};
use super::{handshake, payload};
use crate::effects::Effects;
use crate::error::{CloseCode, EngineError};
use crate::limits;
use crate::object::{Frame, Output, RequestId, SocketId};

/// What one deployment announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    pub ping_interval_ms: u64,
    pub ping_timeout_ms: u64,
    /// Deadlines are rounded up to a multiple of it, so that many sockets share one alarm.
    pub grain_ms: u64,
    /// Not 0: websockets are pinged together at multiples of it ([`crate::settings::Heartbeat`]).
    pub sweep_ms: u64,
    pub max_payload_bytes: usize,
    /// Whether a polling session may become a websocket.
    pub upgrades: bool,
}

impl Config {
    /// The first multiple of the grain at or after `at`.
    #[must_use]
    pub fn round_up(&self, at: Timestamp) -> Timestamp {
        let grain = self.grain_ms.max(1);
        Timestamp(at.0.div_ceil(grain).saturating_mul(grain))
    }

    /// How long a polling GET is held, so that with the grain it is never longer than [`limits::POLL_HOLD_MS`].
    fn hold_ms(&self) -> u64 {
        limits::POLL_HOLD_MS.saturating_sub(self.grain_ms)
    }

    /// The last sweep before what must not be late, where there are sweeps; else as [`Config::round_up`].
    #[must_use]
    pub fn round_down_to_sweep(&self, at: Timestamp) -> Timestamp {
        if self.sweep_ms == 0 { self.round_up(at) } else { Timestamp(at.0 - at.0 % self.sweep_ms) }
    }

    /// The same for what may wait for the next sweep, where there is one.
    #[must_use]
    pub fn round_up_to_sweep(&self, at: Timestamp) -> Timestamp {
        Self { grain_ms: self.grain_ms.max(self.sweep_ms), ..*self }.round_up(at)
    }
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The client said so: close packet, close frame.
    Client,
    /// The connection or a held GET was lost.
    Lost,
    PingTimeout,
    /// We closed it: broken protocol, revoked, too slow, stopping.
    Server,
}

impl Reason {
    /// Whether a reconnect within moments is not to be expected (P1): the client or we ended it, or the loss, found by
    /// the heartbeat, is long past.
    #[must_use]
    pub fn is_clean(self) -> bool {
        matches!(self, Self::Client | Self::Server | Self::PingTimeout)
    }
}

/// What a frame means to the layer above.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing, or the session closed: ask [`Session::closed`].
    Nothing,
    Text(&'a str),
    Binary(&'a [u8]),
}

/// A message that waits for a GET.
#[derive(Debug, Clone)]
enum Waiting {
    /// A whole text packet.
    Text(Rc<str>),
    Binary(Rc<[u8]>),
}

#[derive(Debug)]
struct HeldGet {
    req: RequestId,
    since: Timestamp,
    cors: Cors,
}

#[derive(Debug)]
struct Candidate {
    socket: SocketId,
    until: Timestamp,
    probed: bool,
}

#[derive(Debug, Default)]
struct Polling {
    get: Option<HeldGet>,
    buffer: VecDeque<Waiting>,
    bytes: usize,
    candidate: Option<Candidate>,
    /// While an upgrade is probed: when a held GET is ended without a message.
    noop_at: Option<Timestamp>,
}

#[derive(Debug)]
enum Transport {
    Polling(Box<Polling>),
    WebSocket(SocketId),
    Closed(Reason),
}

/// An open session. After each call ask [`Session::closed`].
#[derive(Debug)]
pub struct Session {
    sid: Rc<str>,
    transport: Transport,
    next_ping: Timestamp,
    pong_until: Option<Timestamp>,
    /// When the client last gave a sign of life on a websocket.
    heard: Timestamp,
}

impl Session {
    /// A session opened by a polling GET, which is answered with the open packet.
    pub fn polling(sid: Rc<str>, req: RequestId, cors: &Cors, config: &Config, now: Timestamp, out: &mut Effects) -> Self {
        let open = handshake::open_packet(&sid, config.upgrades, config);
        out.push(Output::Respond { req, response: response::packets(open.into_bytes(), cors) });
        Self::new(sid, Transport::Polling(Box::default()), config, now)
    }

    /// A session opened by a websocket, which gets the open packet.
    pub fn websocket(sid: Rc<str>, socket: SocketId, config: &Config, now: Timestamp, out: &mut Effects) -> Self {
        let open = handshake::open_packet(&sid, false, config);
        out.push(Output::Send { sockets: vec![socket], frame: Frame::Text(open) });
        Self::new(sid, Transport::WebSocket(socket), config, now)
    }

    /// A session whose websocket survived a restart. It is pinged at once (an early ping is legal), or with the next
    /// sweep. `heard`: last sign of life that is known.
    pub fn restored(sid: Rc<str>, socket: SocketId, heard: Timestamp, config: &Config, now: Timestamp) -> Self {
        let mut session = Self::new(sid, Transport::WebSocket(socket), config, now);
        session.next_ping = if config.sweep_ms == 0 { config.round_up(now) } else { config.round_up_to_sweep(now.plus_ms(1)) };
        session.heard = heard;
        session
    }

    fn new(sid: Rc<str>, transport: Transport, config: &Config, now: Timestamp) -> Self {
        let next_ping = match transport {
            Transport::WebSocket(_) if config.sweep_ms > 0 => config.round_up_to_sweep(now.plus_ms(1)),
            _ => config.round_up(now.plus_ms(config.ping_interval_ms)),
        };
        Self { sid, transport, next_ping, pong_until: None, heard: now }
    }

    /// Last sign of life on a websocket.
    #[must_use]
    pub fn heard(&self) -> Timestamp {
        self.heard
    }

    /// It was pinged, and has not answered.
    #[must_use]
    pub fn awaits_pong(&self) -> bool {
        self.pong_until.is_some()
    }

    /// The host answered the client's heartbeat by itself at `at`.
    pub fn on_heard(&mut self, at: Timestamp) {
        self.heard = self.heard.max(at);
    }

    /// The sweep is now, whatever was planned.
    pub fn sweep_now(&mut self, now: Timestamp) {
        self.next_ping = now;
    }

    /// The id in the open packet.
    #[must_use]
    pub fn sid(&self) -> &Rc<str> {
        &self.sid
    }

    /// Why the session is over, once it is.
    #[must_use]
    pub fn closed(&self) -> Option<Reason> {
        if let Transport::Closed(reason) = self.transport { Some(reason) } else { None }
    }

    /// The websocket that carries the session now.
    #[must_use]
    pub fn socket(&self) -> Option<SocketId> {
        if let Transport::WebSocket(socket) = self.transport { Some(socket) } else { None }
    }

    /// The websocket that may become the transport.
    #[must_use]
    pub fn candidate(&self) -> Option<SocketId> {
        if let Transport::Polling(polling) = &self.transport { polling.candidate.as_ref().map(|c| c.socket) } else { None }
    }

    /// The client was told to upgrade: it stops polling, and only its websocket reaches it.
    #[must_use]
    pub fn is_probed(&self) -> bool {
        matches!(&self.transport, Transport::Polling(polling) if polling.candidate.as_ref().is_some_and(|c| c.probed))
    }

    /// The held GET.
    #[must_use]
    pub fn held(&self) -> Option<RequestId> {
        if let Transport::Polling(polling) = &self.transport { polling.get.as_ref().map(|get| get.req) } else { None }
    }

    /// Bytes that wait for a GET; 0 on a websocket, whose queue the host has.
    #[must_use]
    pub fn backlog(&self) -> usize {
        if let Transport::Polling(polling) = &self.transport { polling.bytes } else { 0 }
    }

    // ---- polling

    /// A GET of this session: held until [`Session::flush`] has something for it.
    pub fn on_get(&mut self, req: RequestId, cors: Cors, now: Timestamp, out: &mut Effects) {
        let Transport::Polling(polling) = &mut self.transport else {
            out.push(Output::Respond { req, response: response::refused(EngineError::BadRequest, &cors) });
            return;
        };
        if polling.get.is_some() {
            out.push(Output::Respond { req, response: response::refused(EngineError::BadRequest, &cors) });
            self.close(CloseCode::ProtocolError, Reason::Server, out);
            return;
        }
        polling.get = Some(HeldGet { req, since: now, cors });
        if polling.candidate.as_ref().is_some_and(|candidate| candidate.probed) {
            polling.noop_at = Some(now.plus_ms(limits::UPGRADE_CHECK_MS));
        }
    }

    /// Answers the held GET with everything that waits.
    pub fn flush(&mut self, out: &mut Effects) {
        let Transport::Polling(polling) = &mut self.transport else { return };
        if polling.buffer.is_empty() {
            return;
        }
        let Some(get) = polling.get.take() else { return };
        let body = polling.take_body();
        out.push(Output::Respond { req: get.req, response: response::packets(body, &get.cors) });
    }

    /// The client gave up its held GET: what it would have carried has no way to arrive.
    pub fn on_aborted(&mut self, req: RequestId, out: &mut Effects) {
        if self.held() == Some(req) {
            if let Transport::Polling(polling) = &mut self.transport {
                polling.get = None;
            }
            self.close(CloseCode::Normal, Reason::Lost, out);
        }
    }

    /// One packet of a POST. `Err` for one that breaks the protocol: the session is closed.
    pub fn on_posted<'p>(&mut self, packet: &'p Packet<'p>, out: &mut Effects) -> Result<Event<'p>, super::ParseError> {
        match packet {
            Packet::Message(text) => return Ok(Event::Text(text)),
            Packet::Binary(data) => return Ok(Event::Binary(data)),
            Packet::Pong(_) => self.pong_until = None,
            Packet::Upgrade | Packet::Noop => {}
            Packet::Close => self.close(CloseCode::Normal, Reason::Client, out),
            Packet::Ping(_) => {
                self.close(CloseCode::ProtocolError, Reason::Server, out);
                return Err(super::ParseError);
            }
        }
        Ok(Event::Nothing)
    }

    // ---- websocket

    /// A websocket that names this session. It is a candidate only: nothing is sent on it before its probe.
    /// `false`: close it, the session is not disturbed.
    pub fn on_candidate(&mut self, socket: SocketId, config: &Config, now: Timestamp) -> bool {
        let Transport::Polling(polling) = &mut self.transport else { return false };
        if polling.candidate.is_some() || !config.upgrades {
            return false;
        }
        let until = config.round_up(now.plus_ms(limits::UPGRADE_TIMEOUT_MS));
        polling.candidate = Some(Candidate { socket, until, probed: false });
        true
    }

    /// A frame of the transport or of the candidate, at most `limit` bytes.
    pub fn on_frame<'f>(&mut self, socket: SocketId, frame: &'f Frame, limit: usize, now: Timestamp, out: &mut Effects) -> Event<'f> {
        match &self.transport {
            Transport::WebSocket(own) if *own == socket => {}
            Transport::Polling(_) if self.candidate() == Some(socket) => {
                self.on_candidate_frame(frame, now, out);
                return Event::Nothing;
            }
            _ => return Event::Nothing,
        }
        if frame.len() > limit {
            self.close(CloseCode::TooBig, Reason::Server, out);
            return Event::Nothing;
        }
        self.heard = now;
        let text = match frame {
            Frame::Binary(data) => return Event::Binary(data),
            Frame::Text(text) => text,
        };
        match packet::parse(text) {
            Ok(Packet::Message(message)) => return Event::Text(message),
            Ok(Packet::Pong(_)) => self.pong_until = None,
            Ok(Packet::Upgrade | Packet::Noop) => {}
            Ok(Packet::Close) => self.close(CloseCode::Normal, Reason::Client, out),
            Ok(Packet::Ping(_) | Packet::Binary(_)) | Err(_) => {
                self.close(CloseCode::ProtocolError, Reason::Server, out);
            }
        }
        Event::Nothing
    }

    fn on_candidate_frame(&mut self, frame: &Frame, now: Timestamp, out: &mut Effects) {
        let Transport::Polling(polling) = &mut self.transport else { return };
        let Some(candidate) = &mut polling.candidate else { return };
        let parsed = if let Frame::Text(text) = frame { packet::parse(text) } else { Err(super::ParseError) };
        match parsed {
            Ok(Packet::Ping("probe")) if !candidate.probed => {
                candidate.probed = true;
                let frame = Frame::Text(packet::PROBE_PONG.to_owned());
                out.push(Output::Send { sockets: vec![candidate.socket], frame });
                // The client stops polling only after its GET is answered: do it now, later ones at a pace.
                polling.end_get_with_noop(out);
                polling.noop_at = Some(now.plus_ms(limits::UPGRADE_CHECK_MS));
            }
            Ok(Packet::Upgrade) if candidate.probed => self.switch(now, out),
            _ => {
                let socket = candidate.socket;
                polling.drop_candidate();
                out.push(close(socket, CloseCode::ProtocolError));
            }
        }
    }

    fn switch(&mut self, now: Timestamp, out: &mut Effects) {
        let Transport::Polling(polling) = &mut self.transport else { return };
        let Some(candidate) = polling.candidate.take() else { return };
        if let Some(get) = polling.get.take() {
            let body = packet::NOOP.as_bytes().to_vec();
            out.push(Output::Respond { req: get.req, response: response::packets(body, &get.cors) });
        }
        for waiting in polling.buffer.drain(..) {
            let frame = match waiting {
                Waiting::Text(text) => Frame::Text((*text).to_owned()),
                Waiting::Binary(data) => Frame::Binary(data.to_vec()),
            };
            out.push(Output::Send { sockets: vec![candidate.socket], frame });
        }
        self.transport = Transport::WebSocket(candidate.socket);
        self.heard = now;
    }

    /// The host lost this websocket. A lost candidate leaves the session as it is.
    pub fn on_socket_closed(&mut self, socket: SocketId, clean: bool) {
        if self.candidate() == Some(socket) {
            if let Transport::Polling(polling) = &mut self.transport {
                polling.drop_candidate();
            }
        } else if self.socket() == Some(socket) {
            self.transport = Transport::Closed(if clean { Reason::Client } else { Reason::Lost });
        }
    }

    // ---- both

    /// Sends a whole text packet (with its digit). On polling it waits for [`Session::flush`].
    pub fn send(&mut self, packet: String, out: &mut Effects) {
        match &mut self.transport {
            Transport::WebSocket(socket) => {
                out.push(Output::Send { sockets: vec![*socket], frame: Frame::Text(packet) });
            }
            Transport::Polling(_) => self.wait(Waiting::Text(packet.into()), out),
            Transport::Closed(_) => {}
        }
    }

    /// The same for a packet that many sessions share.
    pub fn send_shared(&mut self, packet: &Rc<str>, out: &mut Effects) {
        match &mut self.transport {
            Transport::WebSocket(socket) => {
                out.push(Output::Send { sockets: vec![*socket], frame: Frame::Text((**packet).to_owned()) });
            }
            Transport::Polling(_) => self.wait(Waiting::Text(packet.clone()), out),
            Transport::Closed(_) => {}
        }
    }

    /// Sends a binary message.
    pub fn send_binary(&mut self, data: &[u8], out: &mut Effects) {
        match &mut self.transport {
            Transport::WebSocket(socket) => {
                out.push(Output::Send { sockets: vec![*socket], frame: Frame::Binary(data.to_vec()) });
            }
            Transport::Polling(_) => self.wait(Waiting::Binary(data.into()), out),
            Transport::Closed(_) => {}
        }
    }

    fn wait(&mut self, waiting: Waiting, out: &mut Effects) {
        let Transport::Polling(polling) = &mut self.transport else { return };
        polling.bytes += waiting.len();
        polling.buffer.push_back(waiting);
        if polling.bytes > limits::POLLING_BUFFER_BYTES || polling.buffer.len() > limits::SOCKET_QUEUE_FRAMES {
            self.close(CloseCode::SlowConsumer, Reason::Server, out);
        }
    }

    /// Ends the session: closes the websocket, ends the held GET with what waits and `1`.
    pub fn close(&mut self, code: CloseCode, reason: Reason, out: &mut Effects) {
        match std::mem::replace(&mut self.transport, Transport::Closed(reason)) {
            Transport::WebSocket(socket) => out.push(close(socket, code)),
            Transport::Polling(mut polling) => {
                if let Some(get) = polling.get.take() {
                    let mut body = polling.take_body();
                    let last = if reason == Reason::Client { packet::NOOP } else { packet::CLOSE };
                    payload::push_text(&mut body, last);
                    out.push(Output::Respond { req: get.req, response: response::packets(body, &get.cors) });
                }
                if let Some(candidate) = polling.candidate.take() {
                    out.push(close(candidate.socket, code));
                }
            }
            Transport::Closed(earlier) => self.transport = Transport::Closed(earlier),
        }
    }

    /// What a client on polling is still to be told before the end: bodies for its next GETs, the last of them `1`.
    ///
    /// An event and `1` in one body would be the event's loss: the client handles `1` at once and events a moment
    /// later. `None` unless it is on polling and something waits.
    pub fn last_words(&mut self, out: &mut Effects) -> Option<VecDeque<Vec<u8>>> {
        let Transport::Polling(polling) = &mut self.transport else { return None };
        if polling.buffer.is_empty() {
            return None;
        }
        let mut end = Vec::new();
        payload::push_text(&mut end, packet::CLOSE);
        let mut bodies = VecDeque::from([polling.take_body(), end]);
        if let Some(get) = polling.get.take()
            && let Some(body) = bodies.pop_front()
        {
            out.push(Output::Respond { req: get.req, response: response::packets(body, &get.cors) });
        }
        Some(bodies)
    }

    /// The next time something is due.
    #[must_use]
    pub fn deadline(&self, config: &Config) -> Option<Timestamp> {
        let mut at = match self.transport {
            Transport::Closed(_) => return None,
            _ => self.pong_until.map_or(self.next_ping, |until| until.min(self.next_ping)),
        };
        if let Transport::Polling(polling) = &self.transport {
            let hold = polling.get.as_ref().map(|get| config.round_up(get.since.plus_ms(config.hold_ms())));
            let noop = polling.noop_at.filter(|_| polling.get.is_some());
            let candidate = polling.candidate.as_ref().map(|candidate| candidate.until);
            for other in [hold, noop, candidate].into_iter().flatten() {
                at = at.min(other);
            }
        }
        Some(at)
    }

    /// Does what is due. The answer is the websocket to ping: many of them share one frame.
    pub fn on_time(&mut self, config: &Config, now: Timestamp, out: &mut Effects) -> Option<SocketId> {
        if self.pong_until.is_some_and(|until| until <= now) {
            self.close(CloseCode::PingTimeout, Reason::PingTimeout, out);
            return None;
        }
        self.on_polling_time(config, now, out);
        if self.next_ping > now {
            return None;
        }
        if config.sweep_ms > 0
            && let Transport::WebSocket(socket) = self.transport
        {
            return self.on_sweep(socket, config, now, out);
        }
        let unanswered = self.pong_until.is_some();
        self.next_ping = config.round_up(self.next_ping.plus_ms(config.ping_interval_ms));
        if self.next_ping <= now {
            self.next_ping = config.round_up(now.plus_ms(config.ping_interval_ms));
        }
        if unanswered {
            return None;
        }
        match self.transport {
            Transport::Closed(_) => None,
            Transport::WebSocket(socket) => {
                self.pinged(config, now);
                Some(socket)
            }
            Transport::Polling(_) => {
                self.pinged(config, now);
                self.wait(Waiting::Text(packet::PING.into()), out);
                None
            }
        }
    }

    /// A silent client is closed, any other one pinged. No pong is waited for: the host may have seen it and slept.
    fn on_sweep(&mut self, socket: SocketId, config: &Config, now: Timestamp, out: &mut Effects) -> Option<SocketId> {
        self.pong_until = None;
        self.next_ping = config.round_up_to_sweep(now.plus_ms(1));
        if now.since(self.heard) > config.ping_interval_ms + config.ping_timeout_ms {
            self.close(CloseCode::PingTimeout, Reason::PingTimeout, out);
            return None;
        }
        Some(socket)
    }

    fn pinged(&mut self, config: &Config, now: Timestamp) {
        self.pong_until = Some(config.round_up(now.plus_ms(config.ping_timeout_ms)));
    }

    fn on_polling_time(&mut self, config: &Config, now: Timestamp, out: &mut Effects) {
        let Transport::Polling(polling) = &mut self.transport else { return };
        if polling.candidate.as_ref().is_some_and(|candidate| candidate.until <= now) {
            if let Some(candidate) = polling.candidate.as_ref() {
                out.push(close(candidate.socket, CloseCode::ProtocolError));
            }
            polling.drop_candidate();
        }
        if polling.noop_at.is_some_and(|at| at <= now) {
            polling.end_get_with_noop(out);
            polling.noop_at = polling.candidate.as_ref().map(|_| now.plus_ms(limits::UPGRADE_CHECK_MS));
        }
        // A GET held too long is ended by an early ping.
        let held_long = polling.get.as_ref().is_some_and(|get| now.since(get.since) >= config.hold_ms());
        if held_long {
            if self.pong_until.is_none() {
                self.next_ping = now;
            } else if let Transport::Polling(polling) = &mut self.transport {
                polling.end_get_with_noop(out);
            }
        }
    }
}

impl Polling {
    fn take_body(&mut self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes + self.buffer.len());
        self.bytes = 0;
        for waiting in self.buffer.drain(..) {
            match waiting {
                Waiting::Text(text) => payload::push_text(&mut body, &text),
                Waiting::Binary(data) => payload::push_binary(&mut body, &data),
            }
        }
        body
    }

    fn end_get_with_noop(&mut self, out: &mut Effects) {
        if let Some(get) = self.get.take() {
            let mut body = self.take_body();
            if body.is_empty() {
                payload::push_text(&mut body, packet::NOOP);
            }
            out.push(Output::Respond { req: get.req, response: response::packets(body, &get.cors) });
        }
    }

    fn drop_candidate(&mut self) {
        self.candidate = None;
        self.noop_at = None;
    }
}

impl Waiting {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 1,
            Self::Binary(data) => data.len().div_ceil(3) * 4 + 2,
        }
    }
}

fn close(socket: SocketId, code: CloseCode) -> Output {
    let (code, reason) = code.frame();
    Output::Close { socket, code, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
