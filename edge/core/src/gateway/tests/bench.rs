//! A gateway with fake clients, Rooms and Users around it.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use wire::{ErrorCode, MessageId, MessageKind, RoomId, SessionId, Timestamp, UserId};

use crate::auth::Claims;
use crate::error::Failure;
use crate::gateway::Gateway;
use crate::object::{
    CallError, CallKey, Frame, Input, Kind, Object, ObjectId, Output, RequestHead, RequestId, Response, SocketId,
};
use crate::objects::{self, LiveEvent, Message, Numbered, RoomEvent};
use crate::settings::Settings;
use crate::sql::{Row, Statement, Value as Sql};

pub(super) const START: Timestamp = Timestamp(1_772_357_400_000);
pub(super) const EPOCH: u64 = 7 << 20;

pub(super) fn user(n: u64) -> UserId {
    UserId(wire::uuid_v7(START.0, 1, n))
}

pub(super) fn room(n: u64) -> RoomId {
    RoomId(wire::uuid_v7(START.0, 2, n))
}

pub(super) fn session(n: u64) -> SessionId {
    SessionId(wire::uuid_v7(START.0, 3, n))
}

pub(super) fn message_id(n: u64) -> MessageId {
    MessageId(wire::uuid_v7(START.0, 4, n))
}

pub(super) fn message(room_id: RoomId, seq: u64) -> wire::Message {
    wire::Message {
        id: message_id(seq),
        conversation_id: room_id,
        seq,
        client_id: None,
        sender_id: Some(user(99)),
        sender_username: "zoe".into(),
        sender_avatar_url: None,
        content: format!("text {seq}"),
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

pub(super) fn numbered(room_id: RoomId, seq: u64) -> Numbered {
    Numbered { seq, event: RoomEvent::Message { message: message(room_id, seq) } }
}

/// `<user>:<session>:<ms until it expires>`
pub(super) fn token(user: u64, session: u64, ms: u64) -> String {
    format!("{user}:{session}:{}", START.0 + ms)
}

fn verify(token: &str, _settings: &Settings, now: Timestamp) -> Result<Claims, Failure> {
    let parts: Vec<u64> = token.split(':').filter_map(|part| part.parse().ok()).collect();
    let [n, s, expires] = parts[..] else { return Err(ErrorCode::Unauthorized.into()) };
    if now.0 > expires + 60_000 {
        return Err(ErrorCode::TokenExpired.into());
    }
    let username = format!("user{n}");
    Ok(Claims { user: user(n), username, session: session(s), version: 1, expires: Timestamp(expires) })
}

/// The event in a packet, and its offset; `hb` and what is said before authentication have none.
pub(super) fn event(packet: &str) -> (Value, Option<String>) {
    let mut event: Value = serde_json::from_str(packet.strip_prefix("42").expect(packet)).expect(packet);
    let parts = event.as_array_mut().expect(packet);
    let offset = parts.pop_if(|last| last.is_string() && *last != "hb");
    (event, offset.map(|offset| offset.as_str().unwrap_or_default().to_owned()))
}

/// What the gateway did, by addressee.
pub(super) struct Bench {
    pub(super) gateway: Gateway,
    pub(super) now: Timestamp,
    sockets: u64,
    requests: u64,
    frames: BTreeMap<SocketId, Vec<Frame>>,
    pub(super) closed: BTreeMap<SocketId, u16>,
    responses: BTreeMap<RequestId, Response>,
    /// Calls and tells, in order.
    pub(super) asked: Vec<(ObjectId, CallKey, Message)>,
    pub(super) replies: Vec<Message>,
    pub(super) loads: Vec<u64>,
    pub(super) attached: BTreeMap<SocketId, Vec<Vec<u8>>>,
    pub(super) drains: Vec<SocketId>,
    /// Statements of the gateway's own storage.
    pub(super) stored: Vec<Statement>,
    /// Every output, for tests of order.
    pub(super) log: Vec<Output>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Settings { rate_limits: false, ..Settings::default() })
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self::named("gw-3", settings)
    }

    pub(super) fn named(name: &str, settings: Settings) -> Self {
        let gateway = Gateway::with_verify(name, Rc::new(settings), verify);
        let mut bench = Self {
            gateway,
            now: START,
            sockets: 0,
            requests: 0,
            frames: BTreeMap::new(),
            closed: BTreeMap::new(),
            responses: BTreeMap::new(),
            asked: Vec::new(),
            replies: Vec::new(),
            loads: Vec::new(),
            attached: BTreeMap::new(),
            drains: Vec::new(),
            stored: Vec::new(),
            log: Vec::new(),
        };
        bench.step(Input::Started { sockets: vec![], epoch: EPOCH, seed: [3; 32] });
        bench
    }

    pub(super) fn step(&mut self, input: Input) {
        self.gateway.handle(input, self.now);
        while let Some(output) = self.gateway.poll_output() {
            self.log.push(output.clone());
            match output {
                Output::Send { sockets, frame } => {
                    assert!(!sockets.is_empty(), "a frame for nobody");
                    for socket in sockets {
                        assert!(!self.closed.contains_key(&socket), "a frame after the close of {socket:?}: {frame:?}");
                        self.frames.entry(socket).or_default().push(frame.clone());
                    }
                }
                Output::Close { socket, code, .. } => {
                    assert!(self.closed.insert(socket, code).is_none(), "{socket:?} closed twice");
                }
                Output::Respond { req, response } => {
                    assert!(self.responses.insert(req, response).is_none(), "{req:?} answered twice");
                }
                Output::Object { to, call, msg } => self.asked.push((to, call, msg)),
                Output::Reply { msg, .. } => self.replies.push(msg),
                Output::Load { load, .. } => self.loads.push(load),
                Output::Attach { socket, data } => self.attached.entry(socket).or_default().push(data),
                Output::Drain { socket } => self.drains.push(socket),
                Output::Persist { statements, .. } => self.stored.extend(statements),
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Lets time pass, with an alarm whenever one is due.
    pub(super) fn advance(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while let Some(at) = self.gateway.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::Alarm);
            let next = self.gateway.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "an alarm that changes nothing at {:?}", self.now);
        }
        self.now = end;
    }

    // ---- websockets

    pub(super) fn open_at(&mut self, path: &str, query: &str) -> SocketId {
        self.sockets += 1;
        let socket = SocketId(self.sockets);
        let head = RequestHead {
            method: "GET".into(),
            path: path.into(),
            query: query.into(),
            address: "198.51.100.7".into(),
            upgrades: true,
            ..RequestHead::default()
        };
        self.step(Input::SocketOpened { socket, head });
        socket
    }

    pub(super) fn open(&mut self) -> SocketId {
        let socket = self.open_at("/socket.io/", "EIO=4&transport=websocket");
        let frames = self.texts(socket);
        assert!(frames.first().is_some_and(|open| open.starts_with("0{")), "{frames:?}");
        socket
    }

    pub(super) fn text(&mut self, socket: SocketId, text: &str) {
        self.step(Input::Frame { socket, frame: Frame::Text(text.into()) });
    }

    pub(super) fn binary(&mut self, socket: SocketId, data: &[u8]) {
        self.step(Input::Frame { socket, frame: Frame::Binary(data.into()) });
    }

    /// Frames since the last time; binary ones as `<bytes>`.
    pub(super) fn texts(&mut self, socket: SocketId) -> Vec<String> {
        let frames = self.frames.remove(&socket).unwrap_or_default();
        let text = |frame| match frame {
            Frame::Text(text) => text,
            Frame::Binary(data) => format!("<{data:?}>"),
        };
        frames.into_iter().map(text).collect()
    }

    /// Events since the last time, as `[name, args..]` without their offsets; pings are left out.
    pub(super) fn events(&mut self, socket: SocketId) -> Vec<Value> {
        let texts = self.texts(socket).into_iter().filter(|text| text != "2");
        texts.map(|text| event(&text).0).collect()
    }

    /// The acknowledgement `id` among the frames since the last time.
    pub(super) fn ack(&mut self, socket: SocketId, id: u64) -> Value {
        let texts = self.texts(socket);
        let prefix = format!("43{id}[");
        let found = texts.iter().find(|text| text.starts_with(&prefix)).unwrap_or_else(|| panic!("no ack {id} in {texts:?}"));
        let args: Value = serde_json::from_str(&found[prefix.len() - 1..]).expect("JSON");
        args[0].clone()
    }

    pub(super) fn is_closed(&self, socket: SocketId) -> bool {
        self.closed.contains_key(&socket)
    }

    // ---- polling

    pub(super) fn head(&mut self, method: &str, path: &str, query: &str) -> (RequestId, RequestHead) {
        self.requests += 1;
        let head = RequestHead {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            address: "198.51.100.7".into(),
            upgrades: true,
            ..RequestHead::default()
        };
        (RequestId(self.requests), head)
    }

    pub(super) fn get(&mut self, query: &str) -> RequestId {
        let (req, head) = self.head("GET", "/socket.io/", query);
        self.step(Input::PollGet { req, head });
        req
    }

    pub(super) fn post(&mut self, query: &str, body: &str) -> (u16, String) {
        let (req, head) = self.head("POST", "/socket.io/", query);
        self.step(Input::PollPost { req, head, body: body.as_bytes().to_vec() });
        self.answered(req).expect("a POST is answered at once")
    }

    pub(super) fn answered(&mut self, req: RequestId) -> Option<(u16, String)> {
        let response = self.response(req)?;
        Some((response.status, String::from_utf8(response.body).expect("text")))
    }

    pub(super) fn response(&mut self, req: RequestId) -> Option<Response> {
        self.responses.remove(&req)
    }

    /// A polling session; its sid.
    pub(super) fn poll_session(&mut self) -> String {
        let req = self.get("EIO=4&transport=polling");
        let (status, body) = self.answered(req).expect("a handshake");
        assert_eq!(status, 200);
        let open: Value = serde_json::from_str(&body[1..]).expect("JSON");
        open["sid"].as_str().expect("a sid").to_owned()
    }

    // ---- other objects

    /// Takes the first call (or tell) that fits.
    pub(super) fn take<T>(&mut self, wanted: impl Fn(&ObjectId, &Message) -> Option<T>) -> Option<(CallKey, T)> {
        let at = self.asked.iter().position(|(to, _, msg)| wanted(to, msg).is_some())?;
        let (to, call, msg) = self.asked.remove(at);
        wanted(&to, &msg).map(|found| (call, found))
    }

    pub(super) fn reply(&mut self, call: CallKey, msg: Message) {
        self.step(Input::Reply { call, result: Ok(msg) });
    }

    pub(super) fn fail(&mut self, call: CallKey, error: CallError) {
        self.step(Input::Reply { call, result: Err(error) });
    }

    pub(super) fn refused(&mut self, call: CallKey, code: ErrorCode) {
        self.reply(call, Message::Refused { failure: code.into() });
    }

    pub(super) fn room_says(&mut self, room: RoomId, msg: Message) {
        self.step(Input::Object { from: objects::room(room), call: CallKey(1), msg });
    }

    pub(super) fn user_says(&mut self, user: UserId, msg: Message) {
        self.step(Input::Object { from: objects::user(user), call: CallKey(1), msg });
    }

    /// The User of `n` accepts the socket that waits.
    pub(super) fn accept(&mut self, n: u64, sees: &[u64]) {
        let wanted = |to: &ObjectId, msg: &Message| {
            (*to == objects::user(user(n)) && matches!(msg, Message::SocketUp { .. })).then_some(())
        };
        let (call, ()) = self.take(wanted).expect("SocketUp");
        self.reply(call, Message::SocketAccepted { sees: sees.iter().map(|n| user(*n)).collect(), version: (1, 1) });
    }

    /// A connected websocket of user `n`; its CONNECT answer is taken.
    pub(super) fn client(&mut self, n: u64) -> SocketId {
        self.client_seeing(n, &[])
    }

    pub(super) fn client_seeing(&mut self, n: u64, sees: &[u64]) -> SocketId {
        let socket = self.open();
        self.text(socket, &format!("40{{\"token\":\"{}\"}}", token(n, n, 900_000)));
        assert_eq!(self.texts(socket), Vec::<String>::new(), "nothing before the CONNECT answer");
        self.accept(n, sees);
        let texts = self.texts(socket);
        assert!(texts.len() == 1 && texts[0].starts_with("40{\"sid\":"), "{texts:?}");
        socket
    }

    pub(super) fn emit(&mut self, socket: SocketId, ack: Option<u64>, args: Value) {
        let id = ack.map(|id| id.to_string()).unwrap_or_default();
        self.text(socket, &format!("42{id}{args}"));
    }

    /// A batch of a Room for `users`.
    pub(super) fn deliver(&mut self, room_id: RoomId, users: &[u64], seqs: &[u64]) -> Message {
        let durable: Vec<Numbered> = seqs.iter().map(|seq| numbered(room_id, *seq)).collect();
        let head = seqs.iter().copied().max().unwrap_or_default();
        self.deliver_batch(room_id, users, head, durable, vec![])
    }

    pub(super) fn deliver_batch(
        &mut self,
        room_id: RoomId,
        users: &[u64],
        head: u64,
        durable: Vec<Numbered>,
        live: Vec<LiveEvent>,
    ) -> Message {
        let users = Some(users.iter().map(|n| user(*n)).collect());
        let msg = Message::Deliver { room: room_id, epoch: EPOCH, audience: 1, users, head, durable, live };
        self.room_says(room_id, msg);
        self.replies.pop().expect("a reply")
    }

    /// Answers the read of heads: `(room, seq)`.
    pub(super) fn heads(&mut self, heads: &[(u64, u64)]) {
        let load = self.loads.pop().expect("a read of heads");
        let row = |(n, seq): &(u64, u64)| -> Row { vec![room(*n).into(), Sql::from(*seq), Sql::from(1u64)] };
        let rows = heads.iter().map(row).collect();
        self.step(Input::Loaded { load, result: Ok(vec![rows]) });
    }

    /// The first pull of a room: its call, `after` and `limit`.
    pub(super) fn pull(&mut self, n: u64) -> Option<(CallKey, (u64, u32))> {
        self.take(|to, msg| match msg {
            Message::Pull { after, limit, .. } if *to == objects::room(room(n)) => Some((*after, *limit)),
            _ => None,
        })
    }

    /// Answers a pull with `seqs`.
    pub(super) fn page(&mut self, call: CallKey, n: u64, seqs: impl Iterator<Item = u64>, head: u64) {
        let events = seqs.map(|seq| numbered(room(n), seq)).collect();
        let page = Message::Page { events, head, generation: 1, read_seq: 0, marks: vec![], reset: None };
        self.reply(call, page);
    }

    /// Seqs of the messages of one room that a socket got since the last time.
    pub(super) fn seqs(&mut self, socket: SocketId, n: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        for text in self.texts(socket) {
            let Some(json) = text.strip_prefix("42") else { continue };
            let event: Value = serde_json::from_str(json).expect("JSON");
            if event[0] == "chat:message" && event[1]["conversationId"] == json!(room(n)) {
                seqs.push(event[1]["seq"].as_u64().expect("a seq"));
            }
        }
        seqs
    }

    /// Restarts the gateway with its open websockets, as after a trap.
    pub(super) fn restart(&mut self, sockets: &[SocketId]) {
        let kept = |socket: &SocketId| {
            let last = self.attached.get(socket).and_then(|all| all.last()).cloned();
            (*socket, last.unwrap_or_default())
        };
        let sockets = sockets.iter().map(kept).collect();
        self.asked.clear();
        self.frames.clear();
        self.step(Input::Started { sockets, epoch: EPOCH + 1, seed: [4; 32] });
    }

    /// On a host whose objects sleep: its storage has nobody.
    pub(super) fn sleeping() -> Self {
        let mut settings = Settings { rate_limits: false, ..Settings::default() };
        settings.hibernate();
        let mut bench = Self::with(settings);
        bench.told(&[]);
        bench
    }

    /// Answers the read of who was told of sockets here.
    pub(super) fn told(&mut self, users: &[u64]) {
        let load = self.loads.pop().expect("a read of who was told");
        let rows = users.iter().map(|n| vec![Sql::from(user(*n))]).collect();
        self.step(Input::Loaded { load, result: Ok(vec![rows]) });
    }

    /// A sleep ends: the epoch is the same while sockets are left. What is read of those who were told comes later.
    pub(super) fn wake(&mut self, sockets: &[SocketId], epoch: u64) {
        let kept = |socket: &SocketId| (*socket, self.attached[socket].last().cloned().unwrap_or_default());
        let sockets = sockets.iter().map(kept).collect();
        self.loads.clear();
        self.step(Input::Started { sockets, epoch, seed: [5; 32] });
    }

    /// Nothing of any connection is left.
    pub(super) fn holds_nothing(&self) -> bool {
        let gateway = &self.gateway;
        gateway.conns.is_empty() && gateway.sids.is_empty() && gateway.sockets.is_empty() && gateway.gets.is_empty()
    }

    pub(super) fn kind_of_first(&self) -> Option<Kind> {
        self.asked.first().map(|(to, ..)| to.kind)
    }
}
