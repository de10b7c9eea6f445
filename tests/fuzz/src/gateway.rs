//! A whole gateway among hostile clients, forgetful Rooms and a host that loses things.
//!
//! What must hold whatever happens: no panic, nothing to a socket that was closed, one answer per request, attachments
//! within bounds, and no memory left when everybody is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use edge_core::auth::Claims;
use edge_core::error::Failure;
use edge_core::gateway::Gateway;
use edge_core::limits;
use edge_core::object::{
    CallError, CallKey, Frame, Input, Object, Output, PersistError, RequestHead, RequestId, SocketId,
};
use edge_core::objects::{self, LiveEvent, Message, Numbered, RoomEvent};
use edge_core::settings::Settings;
use edge_core::sql::Value;
use wire::{ErrorCode, MessageId, MessageKind, RoomId, SessionId, Timestamp, UserId};

use crate::mutate::{Random, corpus};

const START: Timestamp = Timestamp(1_772_357_400_000);
const USERS: usize = 6;
const ROOMS: usize = 5;
/// Generous: what the state of so few sockets may take, written out.
const MOST_STATE_BYTES: usize = 8 * 1024 * 1024;
/// What may remain when nobody is left.
const MOST_EMPTY_BYTES: usize = 64 * 1024;

fn id(kind: u16, n: usize) -> uuid::Uuid {
    wire::uuid_v7(START.0, kind, n as u64)
}

fn user(n: usize) -> UserId {
    UserId(id(1, n))
}

fn room(n: usize) -> RoomId {
    RoomId(id(2, n))
}

/// `t<user>`, valid for two minutes.
fn verify(token: &str, _settings: &Settings, now: Timestamp) -> Result<Claims, Failure> {
    let n: usize = token.strip_prefix('t').and_then(|n| n.parse().ok()).ok_or(ErrorCode::Unauthorized)?;
    Ok(Claims {
        user: user(n % USERS),
        username: "someone".into(),
        session: SessionId(id(3, n)),
        version: 1,
        expires: now.plus_ms(120_000),
    })
}

fn message(n: usize, seq: u64, size: usize) -> wire::Message {
    wire::Message {
        id: MessageId(id(4, seq as usize)),
        conversation_id: room(n),
        seq,
        client_id: None,
        sender_id: Some(user(0)),
        sender_username: "someone".into(),
        sender_avatar_url: None,
        content: "x".repeat(size),
        kind: MessageKind::Text,
        file_url: None,
        attachments: vec![],
        reply_to: None,
        reactions: vec![],
        read_by: vec![],
        created_at: START,
        edited_at: None,
        deleted_at: None,
        metadata: None,
    }
}

/// The world around one gateway.
struct World {
    gateway: Gateway,
    random: Random,
    now: Timestamp,
    epoch: u64,
    open: Vec<SocketId>,
    /// Sockets that got a CONNECT answer.
    connected: BTreeSet<SocketId>,
    closed: BTreeSet<SocketId>,
    attached: BTreeMap<SocketId, Vec<u8>>,
    sids: Vec<String>,
    held: BTreeSet<RequestId>,
    calls: Vec<(CallKey, Message)>,
    loads: Vec<u64>,
    drains: Vec<SocketId>,
    persists: Vec<u64>,
    heads: [u64; ROOMS],
    frames: Vec<Vec<u8>>,
    /// Those a client in good order sends once it is connected.
    polite: Vec<Vec<u8>>,
    ids: u64,
    sent: u64,
    /// Of everything that came out: two runs of one seed are the same.
    digest: u64,
}

/// Feeds a gateway with `steps` random inputs. Answers a digest of its outputs.
///
/// # Panics
/// When a rule is broken.
#[must_use]
pub fn storm(seed: u64, steps: usize) -> u64 {
    let mut random = Random::new(seed);
    let mut settings = Settings {
        rate_limits: random.once_in(2),
        attach_after_ms: if random.once_in(4) { 0 } else { 1_000 },
        protocol_test: true,
        ..Settings::default()
    };
    if random.once_in(3) {
        settings.hibernate();
    }
    let name = if random.once_in(6) { "echo-0" } else { "gw-0" };
    let mut frames = corpus("gateway_frames");
    let polite = frames.iter().filter(|frame| frame.starts_with(b"42") || *frame == b"3").cloned().collect();
    frames.extend(corpus("socketio_packet").into_iter().map(|packet| [b"4", &packet[..]].concat()));
    let mut world = World {
        gateway: Gateway::with_verify(name, Rc::new(settings), verify),
        random,
        now: START,
        epoch: 1 << 20,
        open: Vec::new(),
        connected: BTreeSet::new(),
        closed: BTreeSet::new(),
        attached: BTreeMap::new(),
        sids: Vec::new(),
        held: BTreeSet::new(),
        calls: Vec::new(),
        loads: Vec::new(),
        drains: Vec::new(),
        persists: Vec::new(),
        heads: [0; ROOMS],
        frames,
        polite,
        ids: 0,
        sent: 0,
        digest: 0,
    };
    world.start(Vec::new());
    for step in 0..steps {
        world.one();
        if step % 1_000 == 999 {
            assert!(world.state_bytes() <= MOST_STATE_BYTES, "the state grows");
        }
    }
    world.end();
    assert!(world.sent > 0, "nothing was ever sent");
    world.digest
}

impl World {
    fn start(&mut self, sockets: Vec<(SocketId, Vec<u8>)>) {
        self.epoch += 1;
        let seed = self.random.bytes();
        self.step(Input::Started { sockets, epoch: self.epoch, seed });
    }

    fn state_bytes(&self) -> usize {
        format!("{:?}", self.gateway).len()
    }

    fn step(&mut self, input: Input) {
        self.gateway.handle(input, self.now);
        while let Some(output) = self.gateway.poll_output() {
            self.note(&output);
            match output {
                Output::Send { sockets, frame } => {
                    self.sent += 1;
                    assert!(!sockets.is_empty() && !frame.is_empty());
                    for socket in sockets {
                        assert!(!self.closed.contains(&socket), "{frame:?} to a closed socket");
                        if matches!(&frame, Frame::Text(text) if text.starts_with("40{")) {
                            self.connected.insert(socket);
                        }
                    }
                }
                Output::Close { socket, .. } => {
                    assert!(self.closed.insert(socket), "closed twice");
                    self.open.retain(|open| *open != socket);
                }
                Output::Respond { req, response } => {
                    assert!(self.held.remove(&req), "answered twice, or nobody asked");
                    let text = String::from_utf8_lossy(&response.body);
                    if let Some(sid) = text.strip_prefix("0{\"sid\":\"").and_then(|rest| rest.split('"').next()) {
                        self.sids.push(sid.to_owned());
                    }
                }
                Output::Attach { socket, data } => {
                    assert!(data.len() <= limits::ATTACHMENT_BYTES && !self.closed.contains(&socket));
                    self.attached.insert(socket, data);
                }
                Output::Drain { socket } => self.drains.push(socket),
                Output::Object { call, msg, .. } if call != CallKey::NONE => self.calls.push((call, msg)),
                Output::Load { load, .. } => self.loads.push(load),
                // Only a gateway that sleeps stores anything.
                Output::Persist { n, .. } => self.persists.push(n),
                Output::Object { .. } | Output::Reply { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn note(&mut self, output: &Output) {
        for byte in format!("{output:?}").bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn fresh(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn head(&mut self, method: &str, query: String) -> RequestHead {
        let path = if self.random.once_in(4) { "/engine.io/" } else { "/socket.io/" };
        let address = format!("198.51.100.{}", self.random.below(40));
        let content_type = self.random.once_in(50).then(|| "application/octet-stream".to_owned());
        RequestHead { method: method.into(), path: path.into(), query, origin: None, content_type, address, upgrades: true }
    }

    fn sid(&mut self) -> String {
        match self.random.pick(&self.sids) {
            Some(sid) if !self.random.once_in(20) => sid.clone(),
            _ => "0.unknown".to_owned(),
        }
    }

    fn frame(&mut self) -> Vec<u8> {
        let at = self.random.below(self.frames.len());
        let known = &self.frames[at];
        if self.random.once_in(3) { self.random.mutate(known, &self.frames) } else { known.clone() }
    }

    fn socket(&mut self) -> Option<SocketId> {
        self.random.pick(&self.open).copied()
    }

    fn one(&mut self) {
        match self.random.below(100) {
            0..4 => self.open_socket(),
            4..40 => self.send_frame(),
            40..46 => self.poll(),
            46..54 => self.post(),
            54..72 => self.reply(),
            72..84 => self.object_says(),
            84..88 => self.drain(),
            88..90 => self.lose_socket(),
            90..91 => self.abort(),
            91..99 => self.wait(),
            _ if self.random.once_in(8) => self.restart(),
            _ if self.random.once_in(100) => self.step(Input::Draining),
            _ => self.strange(),
        }
    }

    fn open_socket(&mut self) {
        if self.open.len() > 60 {
            return self.lose_socket();
        }
        let socket = SocketId(self.fresh());
        let mut query = "EIO=4&transport=websocket".to_owned();
        if self.random.once_in(3) {
            query = format!("{query}&sid={}", self.sid());
        }
        let head = self.head("GET", query);
        self.open.push(socket);
        self.step(Input::SocketOpened { socket, head });
    }

    fn send_frame(&mut self) {
        let Some(socket) = self.socket() else { return };
        let bytes = if self.random.once_in(40) {
            self.frame()
        } else if self.connected.contains(&socket) {
            self.random.pick(&self.polite).cloned().unwrap_or_default()
        } else {
            format!("40{{\"token\":\"t{}\"}}", self.random.below(USERS)).into_bytes()
        };
        let frame = match String::from_utf8(bytes) {
            Ok(text) if !self.random.once_in(200) => Frame::Text(text),
            Ok(text) => Frame::Binary(text.into_bytes()),
            Err(error) => Frame::Binary(error.into_bytes()),
        };
        self.step(Input::Frame { socket, frame });
    }

    fn poll(&mut self) {
        let req = RequestId(self.fresh());
        self.held.insert(req);
        let query = if self.random.once_in(4) {
            "EIO=4&transport=polling".to_owned()
        } else {
            format!("EIO=4&transport=polling&sid={}", self.sid())
        };
        let head = self.head("GET", query);
        self.step(Input::PollGet { req, head });
    }

    fn post(&mut self) {
        let req = RequestId(self.fresh());
        self.held.insert(req);
        let method = if self.random.once_in(30) { "OPTIONS" } else { "POST" };
        let query = format!("EIO=4&transport=polling&sid={}", self.sid());
        let head = self.head(method, query);
        let polite = !self.random.once_in(10);
        let one = |world: &mut Self| if polite { world.random.pick(&world.polite).cloned().unwrap_or_default() } else { world.frame() };
        let frames: Vec<Vec<u8>> = (0..=self.random.below(3)).map(|_| one(self)).collect();
        let mut body = frames.join(&0x1e);
        if self.random.once_in(3) {
            body = format!("40{{\"token\":\"t{}\"}}", self.random.below(USERS)).into_bytes();
        }
        self.step(Input::PollPost { req, head, body });
        assert!(!self.held.contains(&req), "a POST is answered at once");
    }

    fn reply(&mut self) {
        if let Some(load) = self.loads.pop() {
            let rows = (0..ROOMS).filter(|_| !self.random.once_in(4)).collect::<Vec<_>>();
            let row = |n: &usize| vec![Value::from(room(*n)), Value::from(self.heads[*n]), Value::from(1u64)];
            let rows = rows.iter().map(row).collect();
            let result = if self.random.once_in(8) { Err(PersistError::Io) } else { Ok(vec![rows]) };
            return self.step(Input::Loaded { load, result });
        }
        if self.calls.is_empty() {
            return;
        }
        let at = self.random.below(self.calls.len());
        let (call, msg) = self.calls.swap_remove(at);
        if self.random.once_in(12) {
            let error = *self.random.pick(&[CallError::Failed, CallError::Lost, CallError::Overloaded]).expect("three");
            return self.step(Input::Reply { call, result: Err(error) });
        }
        if self.random.once_in(12) {
            let code = *self.random.pick(&[ErrorCode::PermissionDenied, ErrorCode::InternalError]).expect("two");
            return self.step(Input::Reply { call, result: Ok(Message::Refused { failure: code.into() }) });
        }
        let answer = self.answer(msg);
        self.step(Input::Reply { call, result: Ok(answer) });
    }

    fn answer(&mut self, msg: Message) -> Message {
        match msg {
            Message::SocketUp { .. } => {
                let sees = (0..self.random.below(USERS)).map(user).collect();
                Message::SocketAccepted { sees, version: (1, self.random.below(4) as u64) }
            }
            Message::Watch { .. } => {
                let (version, online) = (self.random.below(9) as u64, self.random.once_in(2));
                Message::Presence { user: user(self.random.below(USERS)), epoch: 1, version, online, shown: None, audience: None }
            }
            Message::Pull { after, limit, .. } => self.page(after, limit),
            Message::Join { .. } => Message::Joined { seq: 1, read_seq: 0, members: vec![], generation: 1 },
            Message::Send { .. } => {
                let n = self.random.below(ROOMS);
                self.heads[n] += 1;
                Message::Sent { message: message(n, self.heads[n], 10), repeated: self.random.once_in(5) }
            }
            Message::MarkRead { .. } => Message::Marked { read_seq: 1 },
            _ => Message::Done,
        }
    }

    fn page(&mut self, after: u64, limit: u32) -> Message {
        let head = after + self.random.below(300) as u64;
        let size = if self.random.once_in(4) { 8_000 } else { 20 };
        let last = head.min(after + u64::from(limit));
        let first = if self.random.once_in(20) { after.saturating_sub(2) } else { after };
        let events = (first + 1..=last)
            .map(|seq| Numbered { seq, event: RoomEvent::Message { message: message(0, seq, size) } })
            .collect();
        let reset = self.random.once_in(20).then(|| "generation".to_owned());
        Message::Page { events, head, generation: 1, read_seq: 0, marks: vec![], reset }
    }

    fn object_says(&mut self) {
        let n = self.random.below(ROOMS);
        let who = self.random.below(USERS);
        let call = CallKey(self.random.below(2) as u64);
        let (from, msg) = match self.random.below(10) {
            0 => (objects::user(user(who)), Message::Verify { user: user(who) }),
            1 => {
                let (version, online) = (self.random.below(50) as u64, self.random.once_in(2));
                let audience = self.random.once_in(2).then(|| (0..self.random.below(USERS)).map(user).collect());
                (objects::user(user(who)), Message::Presence { user: user(who), epoch: 1, version, online, shown: None, audience })
            }
            2 => {
                let sees = (0..self.random.below(USERS)).map(user).collect();
                let gone = (0..self.random.below(2)).map(user).collect();
                let version = (1, self.random.below(4) as u64);
                (objects::user(user(who)), Message::Sees { user: user(who), sees, gone, version })
            }
            3 if self.random.once_in(8) => {
                let sessions = self.random.once_in(2).then(|| vec![SessionId(id(3, who))]);
                (objects::user(user(who)), Message::CloseSessions { user: user(who), sessions, reason: "x".into() })
            }
            _ => {
                let durable: Vec<Numbered> = (0..self.random.below(4))
                    .map(|_| {
                        let jump = self.random.below(3) as u64;
                        self.heads[n] += jump;
                        let seq = self.heads[n];
                        Numbered { seq, event: RoomEvent::Message { message: message(n, seq, 30) } }
                    })
                    .collect();
                let live = vec![
                    LiveEvent::Typing { user: user(who), username: "someone".into(), on: true },
                    LiveEvent::Receipts { user: user(who), delivered_seq: 1, read_seq: 1 },
                ];
                let users = (!self.random.once_in(3)).then(|| (0..self.random.below(USERS + 1)).map(user).collect());
                let (epoch, audience) = (self.epoch - self.random.below(20) as u64 / 19, self.random.below(3) as u64);
                let head = self.heads[n];
                let msg = Message::Deliver { room: room(n), epoch, audience, users, head, durable, live };
                (objects::room(room(n)), msg)
            }
        };
        self.step(Input::Object { from, call, msg });
    }

    fn drain(&mut self) {
        if let Some(n) = self.persists.pop() {
            self.step(Input::Persisted { n });
        }
        if let Some(socket) = self.drains.pop() {
            self.step(Input::Drained { socket });
            let at = Timestamp(self.now.0.saturating_sub(self.random.below(60_000) as u64));
            self.step(Input::Heard { socket, at });
        }
    }

    fn lose_socket(&mut self) {
        if let Some(socket) = self.socket() {
            self.open.retain(|open| *open != socket);
            let clean = self.random.once_in(2);
            // What is overdue may still be written to it before the gateway knows.
            self.step(Input::SocketClosed { socket, clean });
            self.closed.insert(socket);
        }
    }

    fn abort(&mut self) {
        let held: Vec<RequestId> = self.held.iter().copied().collect();
        if let Some(req) = self.random.pick(&held).copied() {
            self.held.remove(&req);
            self.step(Input::PollAborted { req });
        }
    }

    fn wait(&mut self) {
        if !self.random.once_in(10) {
            let most = *self.random.pick(&[50, 1_500]).expect("two");
            let ms = self.random.below(most) as u64;
            return self.advance(ms);
        }
        for _ in 0..self.random.below(5) {
            self.advance(9_000);
            for socket in self.open.clone() {
                if !self.random.once_in(50) {
                    self.step(Input::Frame { socket, frame: Frame::Text("3".into()) });
                }
            }
        }
    }

    fn advance(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while let Some(at) = self.gateway.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::Alarm);
            assert!(self.gateway.poll_timeout().is_none_or(|next| next > self.now), "an alarm that changes nothing");
        }
        self.now = end;
    }

    fn restart(&mut self) {
        let sockets = self.open.iter().map(|socket| (*socket, self.attached.get(socket).cloned().unwrap_or_default()));
        let sockets: Vec<_> = sockets.collect();
        self.held.clear();
        self.calls.clear();
        self.loads.clear();
        self.start(sockets);
    }

    /// Things a correct host never does.
    fn strange(&mut self) {
        let (socket, req) = (SocketId(u64::MAX), RequestId(u64::MAX));
        self.step(Input::Frame { socket, frame: Frame::Text("4x".into()) });
        self.step(Input::Drained { socket });
        self.step(Input::SocketClosed { socket, clean: true });
        self.step(Input::PollAborted { req });
        self.step(Input::Reply { call: CallKey(3), result: Ok(Message::Done) });
        self.step(Input::Loaded { load: u64::MAX, result: Ok(vec![]) });
        self.step(Input::Persisted { n: 1 });
        self.step(Input::Alarm);
    }

    /// Everybody goes; nothing may be left.
    fn end(&mut self) {
        while !self.open.is_empty() {
            self.lose_socket();
        }
        // Users hear of lost sessions when nothing can bring them back any more, and again until they answer.
        for _ in 0..30 {
            self.advance(10_000);
            while let Some((call, msg)) = self.calls.pop() {
                let reply = self.answer(msg);
                self.step(Input::Reply { call, result: Ok(reply) });
            }
        }
        assert!(self.held.is_empty(), "requests without an answer: {:?}", self.held);
        assert!(self.gateway.is_idle(self.now), "not idle: {:?}", self.gateway);
        assert!(self.state_bytes() <= MOST_EMPTY_BYTES, "{} bytes are left", self.state_bytes());
    }
}
