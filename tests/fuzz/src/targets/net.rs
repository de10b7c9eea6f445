//! One gateway, and everything that answers it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use edge_core::auth::Claims;
use edge_core::error::Failure;
use edge_core::gateway::Gateway;
use edge_core::limits;
use edge_core::object::{CallKey, Frame, Input, Object, ObjectId, Output, RequestHead, SocketId};
use edge_core::objects::{self, Message, Numbered, RoomEvent};
use edge_core::settings::Settings;
use serde_json::Value;
use wire::{ErrorCode, MessageId, MessageKind, RoomId, SessionId, Timestamp, UserId};

pub(super) const START: Timestamp = Timestamp(1_772_357_400_000);
const EPOCH: u64 = 7 << 20;
/// What may be left of nobody, written out.
const MOST_EMPTY_BYTES: usize = 16 * 1024;

pub(super) fn user(n: u64) -> UserId {
    UserId(wire::uuid_v7(START.0, 1, n))
}

fn room() -> RoomId {
    RoomId(wire::uuid_v7(START.0, 2, 1))
}

/// `t<user>`.
fn verify(token: &str, _settings: &Settings, now: Timestamp) -> Result<Claims, Failure> {
    let n = token.strip_prefix('t').and_then(|n| n.parse::<u64>().ok()).filter(|n| format!("t{n}") == token);
    let n = n.ok_or(ErrorCode::Unauthorized)?;
    let session = SessionId(wire::uuid_v7(START.0, 3, n));
    Ok(Claims { user: user(n), username: "someone".into(), session, version: 1, expires: now.plus_ms(900_000) })
}

pub(super) struct Net {
    gateway: Gateway,
    now: Timestamp,
    sockets: u64,
    texts: BTreeMap<SocketId, Vec<String>>,
    closed: BTreeSet<SocketId>,
    calls: Vec<(ObjectId, CallKey, Message)>,
    /// What the gateways say that are asked for a session.
    pub(super) session: Message,
    /// Those that were asked.
    pub(super) asked: Vec<ObjectId>,
}

impl Net {
    /// `gw-3` of five, with sockets of a life before.
    pub(super) fn new(sockets: Vec<(SocketId, Vec<u8>)>) -> Self {
        let settings = Settings { rate_limits: false, gateways: 5, ..Settings::default() };
        let mut net = Self {
            gateway: Gateway::with_verify("gw-3", Rc::new(settings), verify),
            now: START,
            sockets: sockets.len() as u64,
            texts: BTreeMap::new(),
            closed: BTreeSet::new(),
            calls: Vec::new(),
            session: Message::Done,
            asked: Vec::new(),
        };
        net.step(Input::Started { sockets, epoch: EPOCH, seed: [3; 32] });
        net.settle();
        net
    }

    pub(super) fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.gateway.handle(input, self.now);
            while let Some(output) = self.gateway.poll_output() {
                match output {
                    Output::Send { sockets, frame } => {
                        let Frame::Text(text) = frame else { panic!("nobody sent anything binary") };
                        for socket in sockets {
                            assert!(!self.closed.contains(&socket), "{text} to a closed socket");
                            self.texts.entry(socket).or_default().push(text.clone());
                        }
                    }
                    Output::Close { socket, .. } => assert!(self.closed.insert(socket), "closed twice"),
                    Output::Attach { data, .. } => assert!(data.len() <= limits::ATTACHMENT_BYTES),
                    Output::Drain { socket } => inputs.push(Input::Drained { socket }),
                    Output::Load { load, statements, .. } => {
                        inputs.push(Input::Loaded { load, result: Ok(vec![Vec::new(); statements.len()]) });
                    }
                    Output::Persist { n, .. } => inputs.push(Input::Persisted { n }),
                    Output::Object { to, call, msg } if call != CallKey::NONE => self.calls.push((to, call, msg)),
                    Output::Object { .. } | Output::Reply { .. } => {}
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
    }

    /// Answers every call.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let Some((to, call, msg)) = self.calls.pop() else { return };
            let answer = match msg {
                Message::SocketUp { .. } => Message::SocketAccepted { sees: vec![], version: (1, 1) },
                Message::Pull { after, .. } => {
                    Message::Page { events: vec![], head: after, generation: 1, read_seq: 0, marks: vec![], reset: None }
                }
                Message::TakeSession { .. } => {
                    self.asked.push(to);
                    self.session.clone()
                }
                _ => Message::Done,
            };
            self.step(Input::Reply { call, result: Ok(answer) });
        }
        panic!("it asks for ever: {:?}", self.calls);
    }

    fn advance(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while let Some(at) = self.gateway.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::Alarm);
            self.settle();
            assert!(self.gateway.poll_timeout().is_none_or(|next| next > self.now), "an alarm that changes nothing");
        }
        self.now = end;
    }

    /// Opens a socket and sends the CONNECT packet with `auth`.
    pub(super) fn connect(&mut self, auth: &str) -> SocketId {
        self.sockets += 1;
        let socket = SocketId(self.sockets);
        let head = RequestHead {
            method: "GET".into(),
            path: "/socket.io/".into(),
            query: "EIO=4&transport=websocket".into(),
            address: "198.51.100.7".into(),
            upgrades: true,
            ..RequestHead::default()
        };
        self.step(Input::SocketOpened { socket, head });
        self.text(socket, &format!("40{auth}"));
        self.settle();
        socket
    }

    pub(super) fn text(&mut self, socket: SocketId, text: &str) {
        if !self.closed.contains(&socket) {
            self.step(Input::Frame { socket, frame: Frame::Text(text.into()) });
        }
    }

    pub(super) fn cut(&mut self, socket: SocketId) {
        if self.closed.insert(socket) {
            self.step(Input::SocketClosed { socket, clean: false });
        }
    }

    /// Messages of one conversation for a person.
    pub(super) fn deliver(&mut self, n: u64, seqs: std::ops::RangeInclusive<u64>) {
        let numbered = |seq| Numbered { seq, event: RoomEvent::Message { message: message(seq) } };
        let (head, durable) = (*seqs.end(), seqs.map(numbered).collect());
        let users = Some(vec![user(n)]);
        let msg = Message::Deliver { room: room(), epoch: EPOCH, audience: 1, users, head, durable, live: vec![] };
        self.step(Input::Object { from: objects::room(room()), call: CallKey(1), msg });
    }

    /// Frames since the last time.
    pub(super) fn texts(&mut self, socket: SocketId) -> Vec<String> {
        self.texts.remove(&socket).unwrap_or_default()
    }

    /// Everybody goes. After a while nothing is left.
    pub(super) fn end(mut self) {
        for n in 1..=self.sockets {
            self.cut(SocketId(n));
        }
        for _ in 0..30 {
            self.advance(10_000);
        }
        let state = format!("{:?}", self.gateway);
        assert!(self.gateway.is_idle(self.now) && state.len() <= MOST_EMPTY_BYTES, "{state}");
    }
}

fn message(seq: u64) -> wire::Message {
    wire::Message {
        id: MessageId(wire::uuid_v7(START.0, 4, seq)),
        conversation_id: room(),
        seq,
        client_id: None,
        sender_id: Some(user(9)),
        sender_username: "zoe".into(),
        sender_avatar_url: None,
        content: "text".into(),
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

/// `sid` and `pid` of the CONNECT answer among the frames of a socket.
pub(super) fn connected(texts: &[String]) -> Option<(String, String)> {
    let answer = texts.iter().find_map(|text| text.strip_prefix("40").filter(|rest| rest.starts_with('{')))?;
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    let word = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    Some((word("sid"), word("pid")))
}

/// Seqs and offsets of the messages among the frames of a socket.
pub(super) fn messages(texts: &[String]) -> Vec<(u64, String)> {
    let message = |text: &String| {
        let event: Value = serde_json::from_str(text.strip_prefix("42[\"chat:message\",").map(|_| &text[2..])?).expect("JSON");
        Some((event[1]["seq"].as_u64().expect("a seq"), event[2].as_str().expect("an offset").to_owned()))
    };
    texts.iter().filter_map(message).collect()
}
