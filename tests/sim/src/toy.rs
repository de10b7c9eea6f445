//! A small gateway without any of the product's care, against which the simulator itself is tested: one dialect, no
//! limits, no polling, no attachments (its sockets do not survive it). It keeps the promises, so that what a run says
//! about it is about the simulator, the Room and the User.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use edge_core::error::CloseCode;
use edge_core::object::{CallKey, Frame, Input, Kind, Object, ObjectId, Output, SocketId, Store};
use edge_core::objects::{self, Actor, LiveEvent, Location, Message, NewMessage, Numbered, ReadUpTo, RoomEvent};
use edge_core::settings::Settings;
use edge_core::sql::{Rows, Statement};
use serde_json::{Value, json};
use wire::{MessageKind, RoomId, Timestamp, UserId};

const PAGE: u32 = 100;
const PING_MS: u64 = 20_000;

/// The toy.
#[derive(Debug)]
pub struct ToyGateway {
    name: String,
    settings: Rc<Settings>,
    epoch: u64,
    out: VecDeque<Output>,
    calls: u64,
    open: BTreeMap<CallKey, Open>,
    loads: BTreeMap<u64, (SocketId, u64)>,
    sockets: BTreeMap<SocketId, Socket>,
    audiences: BTreeMap<RoomId, (u64, BTreeSet<UserId>)>,
    ping_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Socket {
    who: Option<Actor>,
    connected: bool,
    subscriptions: BTreeMap<RoomId, Subscription>,
    resume: Option<Resume>,
}

#[derive(Debug)]
struct Subscription {
    next: u64,
    /// A page is under way; the highest live event meanwhile.
    pulling: Option<u64>,
}

#[derive(Debug)]
struct Resume {
    ack: u64,
    waiting: BTreeSet<RoomId>,
    heads: BTreeMap<String, u64>,
    marks: serde_json::Map<String, Value>,
    all: bool,
}

#[derive(Debug)]
enum Open {
    Up(SocketId),
    Page { socket: SocketId, room: RoomId },
    Head { socket: SocketId, room: RoomId },
    Client { socket: SocketId, ack: Option<u64>, room: RoomId },
}

impl ToyGateway {
    /// Before its `Started`.
    #[must_use]
    pub fn new(name: &str, settings: Rc<Settings>) -> Self {
        Self {
            name: name.to_owned(),
            settings,
            epoch: 0,
            out: VecDeque::new(),
            calls: 0,
            open: BTreeMap::new(),
            loads: BTreeMap::new(),
            sockets: BTreeMap::new(),
            audiences: BTreeMap::new(),
            ping_at: None,
        }
    }

    fn here(&self) -> Location {
        Location { gateway: self.name.clone(), epoch: self.epoch }
    }

    fn call(&mut self, to: ObjectId, msg: Message, open: Open) {
        self.calls += 1;
        let call = CallKey(self.epoch << 24 | self.calls);
        self.open.insert(call, open);
        self.out.push_back(Output::Object { to, call, msg });
    }

    fn text(&mut self, sockets: Vec<SocketId>, text: String) {
        if !sockets.is_empty() {
            self.out.push_back(Output::Send { sockets, frame: Frame::Text(text) });
        }
    }

    fn end(&mut self, socket: SocketId) {
        let (code, reason) = CloseCode::ServiceRestart.frame();
        self.out.push_back(Output::Close { socket, code, reason: reason.to_owned() });
    }

    fn sockets_of(&self, user: UserId) -> u32 {
        self.sockets.values().filter(|socket| socket.who.as_ref().is_some_and(|who| who.id == user)).count() as u32
    }

    fn gone(&mut self, socket: SocketId, clean: bool) {
        if let Some(Socket { who: Some(who), .. }) = self.sockets.remove(&socket) {
            let msg = Message::SocketDown { at: self.here(), sockets: self.sockets_of(who.id), clean, kept: 0 };
            self.out.push_back(Output::Object { to: objects::user(who.id), call: CallKey::NONE, msg });
        }
    }

    fn frame(&mut self, id: SocketId, text: &str, now: Timestamp) {
        if let Some(auth) = text.strip_prefix("40") {
            return self.connect(id, auth, now);
        }
        if text == "41" {
            return self.end(id);
        }
        let Some(rest) = text.strip_prefix("42") else { return };
        let Some(bracket) = rest.find('[') else { return };
        let ack = rest.get(..bracket).and_then(|digits| digits.parse().ok());
        let Some(body) = rest.get(bracket..).and_then(|body| serde_json::from_str::<Value>(body).ok()) else { return };
        let payload = body.get(1).cloned().unwrap_or_default();
        let Some(who) = self.sockets.get(&id).and_then(|socket| socket.who.clone()) else { return };
        match body.get(0).and_then(Value::as_str).unwrap_or_default() {
            "sync:resume" => self.resume(id, ack.unwrap_or_default(), &payload),
            "hb" => self.text(vec![id], "42[\"hb\"]".to_owned()),
            "chat:leave" | "auth:renew" | "presence:getOnline" => self.ack(id, ack, &json!({ "ok": true })),
            name => self.ask_room(id, ack, who, name, &payload),
        }
    }

    fn connect(&mut self, id: SocketId, auth: &str, now: Timestamp) {
        let token = serde_json::from_str::<Value>(auth).ok().and_then(|auth| auth.get("token")?.as_str().map(str::to_owned));
        let claims = token.and_then(|token| edge_core::auth::verify_access(&token, &self.settings, now).ok());
        let Some(claims) = claims else { return self.end(id) };
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.who = Some(Actor { id: claims.user, username: claims.username });
        let sockets = self.sockets_of(claims.user);
        let msg = Message::SocketUp { at: self.here(), session: claims.session, version: claims.version, sockets };
        self.call(objects::user(claims.user), msg, Open::Up(id));
    }

    fn ack(&mut self, id: SocketId, ack: Option<u64>, body: &Value) {
        if let Some(ack) = ack {
            self.text(vec![id], format!("43{ack}[{body}]"));
        }
    }

    fn ask_room(&mut self, id: SocketId, ack: Option<u64>, who: Actor, name: &str, payload: &Value) {
        let named = payload.get("conversationId").or(Some(payload)).and_then(Value::as_str);
        let Some(room) = named.and_then(RoomId::parse) else { return };
        let word = |field: &str| payload.get(field).and_then(Value::as_str).map(str::to_owned);
        let number = |field: &str| payload.get(field).and_then(Value::as_u64);
        let msg = match name {
            "chat:message" => Message::Send {
                from: who,
                message: NewMessage {
                    content: word("content").unwrap_or_default(),
                    kind: MessageKind::Text,
                    client_id: word("clientId"),
                    reply_to: None,
                    metadata: None,
                },
            },
            "chat:join" => Message::Join { user: who.id },
            "chat:typing" | "chat:stopTyping" => Message::Typing { from: who, on: name == "chat:typing" },
            "chat:delivered" => Message::MarkDelivered { user: who.id, up_to: number("upTo").unwrap_or_default() },
            "chat:markRead" => {
                let ids = payload.get("messageIds").and_then(Value::as_array).map(|ids| {
                    ids.iter().filter_map(|id| wire::MessageId::parse(id.as_str()?)).collect()
                });
                let up_to = ids.map_or_else(|| ReadUpTo::Seq(number("upTo").unwrap_or_default()), ReadUpTo::Ids);
                Message::MarkRead { user: who.id, up_to }
            }
            _ => return,
        };
        self.call(objects::room(room), msg, Open::Client { socket: id, ack, room });
    }

    // ---- resume

    fn resume(&mut self, id: SocketId, ack: u64, payload: &Value) {
        let cursors = payload.get("cursors").and_then(Value::as_object).cloned().unwrap_or_default();
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let Some(who) = socket.who.clone() else { return };
        let mut resume =
            Resume { ack, waiting: BTreeSet::new(), heads: BTreeMap::new(), marks: serde_json::Map::new(), all: cursors.is_empty() };
        let mut pulls = Vec::new();
        for (room, cursor) in &cursors {
            let (Some(room), Some(cursor)) = (RoomId::parse(room), cursor.as_u64()) else { continue };
            socket.subscriptions.insert(room, Subscription { next: cursor + 1, pulling: Some(0) });
            resume.waiting.insert(room);
            pulls.push((room, cursor));
        }
        socket.resume = Some(resume);
        for (room, after) in pulls {
            self.pull(id, &who, room, after);
        }
        self.calls += 1;
        let load = self.calls;
        self.loads.insert(load, (id, ack));
        let sql = "SELECT m.room_id, h.seq FROM members_by_user m JOIN conversation_heads h ON h.room_id = m.room_id \
                   WHERE m.user_id = ?1 AND m.left_at IS NULL ORDER BY 1";
        let statements = vec![Statement::new(sql, vec![who.id.into()])];
        self.out.push_back(Output::Load { load, store: Store::People, statements });
    }

    fn pull(&mut self, socket: SocketId, who: &Actor, room: RoomId, after: u64) {
        let msg = Message::Pull { user: who.id, after, limit: PAGE, generation: None, marks: true };
        self.call(objects::room(room), msg, Open::Page { socket, room });
    }

    fn listed(&mut self, id: SocketId, ack: u64, rows: &[Rows]) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let Some(who) = socket.who.clone() else { return };
        let Some(resume) = socket.resume.as_mut().filter(|resume| resume.ack == ack) else { return };
        let mut asked = Vec::new();
        for row in rows.iter().flatten() {
            let Some(room) = row.first().and_then(|id| RoomId::parse(id.as_str()?)) else { continue };
            let head = row.get(1).and_then(edge_core::sql::Value::as_u64).unwrap_or_default();
            if resume.all {
                resume.waiting.insert(room);
                socket.subscriptions.insert(room, Subscription { next: u64::MAX, pulling: Some(0) });
                asked.push(room);
            } else {
                resume.heads.entry(room.to_string()).or_insert(head);
            }
        }
        for room in asked {
            self.call(objects::room(room), Message::Join { user: who.id }, Open::Head { socket: id, room });
        }
        self.loads.retain(|_, (socket, _)| *socket != id);
        self.finish_resume(id);
    }

    fn finish_resume(&mut self, id: SocketId) {
        let listing = self.loads.values().any(|(socket, _)| *socket == id);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if listing || !socket.resume.as_ref().is_some_and(|resume| resume.waiting.is_empty()) {
            return;
        }
        if let Some(resume) = socket.resume.take() {
            let body = json!({ "ok": true, "heads": resume.heads, "more": {}, "marks": resume.marks });
            self.ack(id, Some(resume.ack), &body);
        }
    }

    fn page(&mut self, id: SocketId, room: RoomId, result: Result<Message, edge_core::object::CallError>) {
        let Ok(Message::Page { events, head, marks, read_seq, reset, .. }) = result else { return self.end(id) };
        if reset.is_some() {
            return self.end(id);
        }
        let mut frames = Vec::new();
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let Some(who) = socket.who.clone() else { return };
        let Some(subscription) = socket.subscriptions.get_mut(&room) else { return };
        for event in &events {
            if event.seq >= subscription.next {
                frames.push(render(room, event));
                subscription.next = event.seq + 1;
            }
        }
        let behind = subscription.pulling.unwrap_or_default().max(head) >= subscription.next;
        subscription.pulling = behind.then_some(0);
        let after = subscription.next - 1;
        if !behind && let Some(resume) = &mut socket.resume {
            resume.heads.insert(room.to_string(), after);
            let members: serde_json::Map<String, Value> = marks
                .iter()
                .map(|marks| {
                    let seqs = json!({ "deliveredSeq": marks.delivered_seq, "readSeq": marks.read_seq });
                    (marks.user.to_string(), seqs)
                })
                .collect();
            resume.marks.insert(room.to_string(), json!({ "readSeq": read_seq, "members": members }));
            resume.waiting.remove(&room);
        }
        for frame in frames {
            self.text(vec![id], frame);
        }
        if behind {
            self.pull(id, &who, room, after);
        }
        self.finish_resume(id);
    }

    fn head(&mut self, id: SocketId, room: RoomId, result: Result<Message, edge_core::object::CallError>) {
        let Ok(Message::Joined { seq, .. }) = result else { return self.end(id) };
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let Some(who) = socket.who.clone() else { return };
        let Some(subscription) = socket.subscriptions.get_mut(&room) else { return };
        subscription.next = seq + 1;
        let behind = subscription.pulling.unwrap_or_default() > seq;
        subscription.pulling = behind.then_some(0);
        if let Some(resume) = &mut socket.resume {
            resume.heads.insert(room.to_string(), seq);
            resume.waiting.remove(&room);
        }
        if behind {
            self.pull(id, &who, room, seq);
        }
        self.finish_resume(id);
    }

    // ---- events of rooms

    #[allow(clippy::too_many_arguments)] // the fields of one message
    fn deliver(
        &mut self,
        room: RoomId,
        epoch: u64,
        audience: u64,
        users: Option<Vec<UserId>>,
        head: u64,
        durable: &[Numbered],
        live: &[LiveEvent],
    ) -> Message {
        let accepted = |stale, unknown_audience| Message::Accepted { stale, unknown_audience };
        if epoch != self.epoch {
            return accepted(true, false);
        }
        if let Some(users) = users {
            let known = self.audiences.entry(room).or_default();
            if audience >= known.0 {
                *known = (audience, users.into_iter().collect());
            }
        }
        let Some((version, users)) = self.audiences.get(&room) else { return accepted(false, true) };
        if *version < audience {
            return accepted(false, true);
        }
        let users = users.clone();
        let mine = |socket: &Socket| socket.connected && socket.who.as_ref().is_some_and(|who| users.contains(&who.id));
        let ids: Vec<SocketId> = self.sockets.iter().filter(|(_, socket)| mine(socket)).map(|(id, _)| *id).collect();
        for event in durable {
            let frame = render(room, event);
            for id in &ids {
                self.live(*id, room, event.seq, Some(frame.clone()));
            }
        }
        for id in &ids {
            self.live(*id, room, head, None);
        }
        for event in live {
            let (frame, but) = match event {
                LiveEvent::Typing { user, username, on: true } => (
                    json!(["chat:typing", { "conversationId": room, "userId": user, "username": username }]),
                    Some(*user),
                ),
                LiveEvent::Typing { user, on: false, .. } => {
                    (json!(["chat:stopTyping", { "conversationId": room, "userId": user }]), Some(*user))
                }
                LiveEvent::Read { user, ids, up_to } => {
                    (json!(["chat:read", { "conversationId": room, "userId": user, "messageIds": ids, "upTo": up_to }]), None)
                }
                LiveEvent::Receipts { user, delivered_seq, read_seq } => (
                    json!(["chat:receipts", { "conversationId": room, "userId": user, "deliveredSeq": delivered_seq, "readSeq": read_seq }]),
                    None,
                ),
                // Nobody here is without read marks.
                LiveEvent::Created { .. } | LiveEvent::Dismissed { .. } | LiveEvent::For { .. } => continue,
            };
            let who = |id: &SocketId| self.sockets.get(id).and_then(|socket| socket.who.as_ref().map(|who| who.id));
            let to = ids.iter().copied().filter(|id| but.is_none() || who(id) != but).collect();
            self.text(to, format!("42{frame}"));
        }
        accepted(false, false)
    }

    /// A live event (or, without a frame, the news that it exists) for one socket.
    fn live(&mut self, id: SocketId, room: RoomId, seq: u64, frame: Option<String>) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let Some(who) = socket.who.clone() else { return };
        let Some(subscription) = socket.subscriptions.get_mut(&room) else {
            // Not subscribed: whatever comes, if it is newer than what came before.
            if let Some(frame) = frame {
                socket.subscriptions.insert(room, Subscription { next: seq + 1, pulling: None });
                self.text(vec![id], frame);
            }
            return;
        };
        if let Some(highest) = &mut subscription.pulling {
            *highest = (*highest).max(seq);
        } else if seq == subscription.next
            && let Some(frame) = frame
        {
            subscription.next += 1;
            self.text(vec![id], frame);
        } else if seq >= subscription.next {
            subscription.pulling = Some(seq);
            let after = subscription.next - 1;
            self.pull(id, &who, room, after);
        }
    }

    fn reply(&mut self, call: CallKey, result: Result<Message, edge_core::object::CallError>) {
        match self.open.remove(&call) {
            Some(Open::Up(id)) => match result {
                Ok(Message::SocketAccepted { .. }) => {
                    if let Some(socket) = self.sockets.get_mut(&id) {
                        socket.connected = true;
                        self.text(vec![id], "40{\"sid\":\"toy\"}".to_owned());
                    }
                }
                _ => self.end(id),
            },
            Some(Open::Page { socket, room }) => self.page(socket, room, result),
            Some(Open::Head { socket, room }) => self.head(socket, room, result),
            Some(Open::Client { socket, ack, room }) => {
                let body = match result {
                    Ok(Message::Sent { message, .. }) => json!({ "ok": true, "message": message }),
                    Ok(Message::Marked { read_seq }) => json!({ "ok": true, "readSeq": read_seq }),
                    Ok(Message::Joined { seq, .. }) => json!({ "ok": true, "conversationId": room, "seq": seq }),
                    Ok(Message::Refused { failure }) => json!({ "error": failure.to_socket() }),
                    Ok(_) => json!({ "ok": true }),
                    Err(_) => json!({ "error": { "code": "MESSAGE_SEND_FAILED", "message": "again, please" } }),
                };
                self.ack(socket, ack, &body);
            }
            None => {}
        }
    }
}

fn render(room: RoomId, event: &Numbered) -> String {
    let (name, mut body) = match &event.event {
        RoomEvent::Message { message } => ("chat:message", json!(message)),
        RoomEvent::Edited(edited) => ("chat:edited", json!(edited)),
        RoomEvent::Deleted(deleted) => ("chat:deleted", json!(deleted)),
        RoomEvent::Reaction(reacted) => ("chat:reaction", json!(reacted)),
        RoomEvent::Updated(updated) => ("conversation:updated", json!(updated)),
        RoomEvent::MemberAdded(added) => ("conversation:memberAdded", json!(added)),
        RoomEvent::MemberRemoved(gone) => ("conversation:memberRemoved", json!(gone)),
    };
    (body["conversationId"], body["seq"]) = (json!(room), json!(event.seq));
    format!("42{}", json!([name, body]))
}

impl Object for ToyGateway {
    fn handle(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Started { sockets, epoch, .. } => {
                self.epoch = epoch;
                for (id, _) in sockets {
                    self.end(id);
                }
                self.ping_at = Some(now.plus_ms(PING_MS));
            }
            Input::SocketOpened { socket, .. } => {
                self.sockets.insert(socket, Socket { who: None, connected: false, subscriptions: BTreeMap::new(), resume: None });
                self.text(vec![socket], "0{\"sid\":\"0.toy\"}".to_owned());
            }
            Input::Frame { socket, frame: Frame::Text(text) } => self.frame(socket, &text, now),
            Input::SocketClosed { socket, clean } => self.gone(socket, clean),
            Input::Alarm => {
                self.ping_at = Some(now.plus_ms(PING_MS));
                let all: Vec<SocketId> = self.sockets.keys().copied().collect();
                self.text(all, "2".to_owned());
                let users: BTreeSet<UserId> =
                    self.sockets.values().filter_map(|socket| Some(socket.who.as_ref()?.id)).collect();
                for user in users {
                    let msg = Message::Renew { at: self.here(), sockets: self.sockets_of(user), kept: 0, sees: (0, 0) };
                    self.out.push_back(Output::Object { to: objects::user(user), call: CallKey::NONE, msg });
                }
            }
            Input::Reply { call, result } => self.reply(call, result),
            Input::Loaded { load, result } => {
                if let Some((socket, ack)) = self.loads.get(&load).copied() {
                    match result {
                        Ok(rows) => self.listed(socket, ack, &rows),
                        Err(_) => self.end(socket),
                    }
                }
            }
            Input::Object { from, call, msg } => {
                let answer = match msg {
                    Message::Deliver { room, epoch, audience, users, head, durable, live } if from.kind == Kind::Room => {
                        self.deliver(room, epoch, audience, users, head, &durable, &live)
                    }
                    Message::Verify { user } => Message::Present { epoch: self.epoch, sockets: self.sockets_of(user), kept: 0 },
                    _ => Message::Done,
                };
                if call != CallKey::NONE {
                    self.out.push_back(Output::Reply { to: from, call, msg: answer });
                }
            }
            _ => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.ping_at
    }

    fn is_idle(&self, _: Timestamp) -> bool {
        self.sockets.is_empty() && self.open.is_empty()
    }
}
