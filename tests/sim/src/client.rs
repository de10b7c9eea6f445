//! Model of a good client of the `chatcall` dialect (contract 5.1), with a memory that survives its connections: it
//! resumes by cursor after each connect, repeats unresolved sends with the same `clientId`, drops repeats by `seq` only
//! where the contract allows it, and writes down everything it asks and sees.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use edge_core::object::{CallError, ObjectId, SocketId};
use edge_core::objects::{self, Actor, HistoryCursor, Message, NewMessage, Profile};
use serde_json::{Value, json};
use wire::{ConversationType, MessageKind, SessionId};

use crate::changes::{as_sent, reaction_text, row_of_change};
use crate::check::is_final;
use crate::history::{Id, Row, Watermarks, What};
use crate::packet::{self, Event as Heard, Packet};
use crate::world::{Event, World, tell};

/// A client waits this long for an ack.
const ACK_WAIT_US: u64 = 10_000_000;
/// A send that was refused for now is repeated after this time.
const RETRY_US: u64 = 1_500_000;

/// A device of a person.
pub(crate) struct Client {
    pub(crate) user: usize,
    pub(crate) device: Id,
    session: SessionId,
    pub(crate) live_only: bool,
    /// Begins with `cursors: {}` instead of naming its conversations.
    from_heads: bool,
    pub(crate) latency_us: u64,
    pub(crate) bytes_per_second: u64,
    pub(crate) socket: Option<SocketId>,
    /// Connected to the namespace: the name of the connection in the log. A lost connection keeps it while it may be
    /// recovered: then it is one and the same to the checker.
    pub(crate) conn: Option<Id>,
    /// What a stock client holds of its session (G-17), and that the server has confirmed it on this socket.
    pub(crate) session_id: (Id, Id),
    pub(crate) offset: Option<Id>,
    connected: bool,
    /// Something was under way that a recovery does not bring: it resumes all the same.
    interrupted: bool,
    /// Does not ask for recovery.
    forgetful: bool,
    connections: u64,
    /// The first resume of this connection was acknowledged.
    pub(crate) resumed: bool,
    /// Everything up to here is held, by index of the conversation.
    pub(crate) cursors: BTreeMap<usize, u64>,
    /// Received above the cursor.
    pub(crate) early: BTreeMap<usize, BTreeSet<u64>>,
    pub(crate) newest: BTreeMap<usize, Row>,
    /// Of the newest row: when the server says it was made; only a planted bug looks at it.
    newest_at: BTreeMap<usize, u64>,
    /// Messages that it may change.
    pub(crate) known: BTreeMap<usize, Vec<Row>>,
    to_resume: BTreeSet<usize>,
    acks: BTreeMap<u64, (u64, Pending)>,
    next_ack: u64,
    sends: Vec<Draft>,
    /// Not resolved and not under way, with the time from which it may be sent again.
    open: VecDeque<(usize, u64)>,
    heard_us: u64,
    refused_connects: u64,
    /// Who is online, as this connection was told. Kept where objects sleep.
    pub(crate) view: Option<BTreeSet<Id>>,
    /// Does not come back before it is told.
    pub(crate) away: bool,
    /// Told not to be a member any more, and of when that was true.
    pub(crate) dismissed: BTreeMap<usize, Option<u64>>,
    /// How far others have read, by conversation and person.
    pub(crate) reading: BTreeMap<(usize, Id), u64>,
}

/// A message that the person wrote.
struct Draft {
    conversation: usize,
    client_id: Option<Id>,
    content: Id,
    attempts: u32,
}

pub(crate) enum Pending {
    Resume { op: u64, all: bool },
    Send { op: u64, draft: usize },
    Mark { op: u64 },
    Change { op: u64 },
    /// Who is online.
    Online,
    /// Anything whose answer does not matter.
    Plain,
    /// A stranger asks: the answer must be an error.
    Forbidden,
}

/// A request to an HTTP handler.
pub(crate) struct Request {
    client: usize,
    kind: RequestKind,
}

pub(crate) enum RequestKind {
    Create { conversation: usize },
    Send { op: u64, draft: usize },
    Change { op: u64 },
    Rows { op: u64, conversation: usize },
    /// Somebody comes or goes; `back`: everybody is to be a member at the end.
    Group { conversation: usize, back: bool },
    /// A block, or its end; `last`: as it is to be at the end.
    Relate { by: usize, other: usize, last: bool },
    /// Somebody else waits for it.
    Kept(Option<Box<Result<Message, CallError>>>),
}

impl World {
    pub(crate) fn add_client(&mut self, user: usize, n: u64) {
        let sleeps = self.sleeps();
        let rng = &mut self.rng;
        let slow = rng.chance(self.faults.slow_reader);
        let slowest = if sleeps { 8_000 } else { 0 };
        let session = SessionId(wire::uuid_v7(0, 0, rng.bits()));
        let client = Client {
            user,
            device: Id::from(format!("{}-{n}", self.people[user].name)),
            session,
            live_only: rng.chance(self.scenario.live_only),
            from_heads: rng.chance(0.2),
            latency_us: rng.below(self.scenario.client_latency_ms * 1000) + 20,
            // A replay that nothing paces must end within the time that a run gives it.
            bytes_per_second: if slow { rng.between(1_500, 30_000).max(slowest) } else { 2_000_000 },
            socket: None,
            conn: None,
            session_id: (Id::from(""), Id::from("")),
            offset: None,
            connected: false,
            interrupted: false,
            forgetful: (user as u64 + n) % 3 == 2,
            connections: 0,
            resumed: false,
            cursors: BTreeMap::new(),
            early: BTreeMap::new(),
            newest: BTreeMap::new(),
            newest_at: BTreeMap::new(),
            known: BTreeMap::new(),
            to_resume: BTreeSet::new(),
            acks: BTreeMap::new(),
            next_ack: 0,
            sends: Vec::new(),
            open: VecDeque::new(),
            heard_us: 0,
            refused_connects: 0,
            view: None,
            away: false,
            dismissed: BTreeMap::new(),
            reading: BTreeMap::new(),
        };
        let index = self.clients.len();
        self.clients.push(client);
        let (connect, wake) = (self.rng.below(2_000_000), self.rng.below(3_000_000));
        self.after(connect, Event::Connect { client: index });
        self.after(wake, Event::Wake { client: index });
    }

    // ---- connection

    pub(crate) fn connect(&mut self, index: usize) {
        if self.frozen || self.clients[index].away || self.clients[index].socket.is_some() {
            return;
        }
        match self.open_socket(index) {
            Some(socket) => {
                self.clients[index].socket = Some(socket);
                self.clients[index].heard_us = self.now_us;
            }
            None => {
                let us = 200_000 + self.rng.below(1_000_000);
                self.after(us, Event::Connect { client: index });
            }
        }
    }

    /// The socket is gone, whoever ended it.
    pub(crate) fn client_lost(&mut self, index: usize, socket: SocketId) {
        if self.frozen || self.clients[index].socket != Some(socket) {
            return;
        }
        let client = &mut self.clients[index];
        client.socket = None;
        client.connected = false;
        client.interrupted |= !client.resumed || !client.to_resume.is_empty();
        let pending = std::mem::take(&mut client.acks);
        client.interrupted |= pending.values().any(|(_, pending)| matches!(pending, Pending::Resume { .. } | Pending::Online));
        if client.forgetful || client.session_id.1.is_empty() {
            self.forget_connection(index);
        }
        for (_, (_, pending)) in pending {
            self.unanswered(index, pending);
        }
        let longest = if self.settling { 500_000 } else { 3_000_000 };
        let us = self.rng.below(longest);
        self.after(us, Event::Connect { client: index });
    }

    /// Nothing of the former connection goes on.
    fn forget_connection(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.resumed = false;
        client.interrupted = false;
        client.view = None;
        client.early.clear();
        client.dismissed.clear();
        client.to_resume.clear();
        if let Some(conn) = client.conn.take() {
            self.log(What::Disconnect { conn });
        }
    }

    pub(crate) fn leave(&mut self, index: usize) {
        if let Some(socket) = self.clients[index].socket {
            self.client_closes(socket);
            self.client_lost(index, socket);
        }
    }

    /// Nobody knows what became of it: the outcome is unknown, and a send is repeated under its key.
    fn unanswered(&mut self, index: usize, pending: Pending) {
        if let Pending::Send { op, draft } = pending {
            self.log(What::Unknown { op });
            self.reopen(index, draft, 0);
        }
    }

    fn reopen(&mut self, index: usize, draft: usize, wait_us: u64) {
        let from = self.now_us + wait_us;
        let client = &mut self.clients[index];
        // Without a key a repetition would be another message.
        if client.sends[draft].client_id.is_some() {
            client.open.push_back((draft, from));
        }
    }

    pub(crate) fn emit(&mut self, index: usize, body: &Value, pending: Option<Pending>) {
        let client = &mut self.clients[index];
        let Some(socket) = client.socket else { return };
        let id = pending.map(|pending| {
            let id = client.next_ack;
            client.next_ack += 1;
            client.acks.insert(id, (self.now_us, pending));
            id
        });
        let text = match id {
            Some(id) => format!("42{id}{body}"),
            None => format!("42{body}"),
        };
        self.client_sends(socket, text);
    }

    pub(crate) fn client_receives(&mut self, index: usize, socket: SocketId, packet: &Rc<Packet>) {
        if self.frozen || self.clients[index].socket != Some(socket) {
            return;
        }
        tell!(self, "{} <= {packet:?}", self.clients[index].device);
        self.clients[index].heard_us = self.now_us;
        match &**packet {
            Packet::Open => {
                let client = &self.clients[index];
                let person = self.people[client.user].clone();
                let token = (self.hooks.token)(&person, client.session, &self.settings, self.wall());
                let mut auth = json!({ "token": token });
                let whose = self.foreign_session(index).unwrap_or(index);
                let client = &self.clients[whose];
                if whose != index || !client.session_id.1.is_empty() && !client.forgetful {
                    auth["pid"] = json!(client.session_id.1);
                    if let Some(offset) = &client.offset {
                        auth["offset"] = json!(offset);
                    }
                }
                self.client_sends(socket, format!("40{auth}"));
            }
            Packet::Ping => self.client_sends(socket, "3".to_owned()),
            Packet::Connected { sid, pid } => self.connected(index, sid, pid),
            Packet::ConnectError(code) => {
                let client = &mut self.clients[index];
                client.refused_connects += 1;
                tell!(self, "{} is refused: {code}", self.clients[index].device);
                self.leave(index);
            }
            Packet::Disconnect => self.leave(index),
            Packet::Ack(id, body) => self.acked(index, *id, body),
            Packet::Event(heard, offset) => {
                if offset.is_some() {
                    self.clients[index].offset.clone_from(offset);
                }
                self.heard(index, heard);
            }
            Packet::Odd(_) => {}
        }
    }

    fn connected(&mut self, index: usize, sid: &Id, pid: &Id) {
        let client = &mut self.clients[index];
        if std::mem::replace(&mut client.connected, true) {
            self.breach("a socket is connected twice".to_owned());
            return;
        }
        let before = std::mem::replace(&mut client.session_id, (sid.clone(), pid.clone()));
        if client.conn.is_some() && before.1 == *pid {
            if before.0 != *sid {
                self.breach("a recovered session has another sid".to_owned());
            }
            self.recovered += 1;
            if std::mem::take(&mut self.clients[index].interrupted) {
                self.clients[index].view = None;
                self.clients[index].to_resume.clear();
                self.resume_all(index);
            }
            return;
        }
        self.forget_connection(index);
        let client = &mut self.clients[index];
        client.offset = None;
        client.connections += 1;
        let conn = Id::from(format!("{}#{}", client.device, client.connections));
        client.conn = Some(conn.clone());
        let (device, user) = (client.device.clone(), self.people[client.user].text.clone());
        let session = (!pid.is_empty()).then(|| pid.clone());
        self.log(What::Connect { conn, device, user, session });
        self.resume_all(index);
    }

    fn resume_all(&mut self, index: usize) {
        if self.clients[index].live_only {
            self.clients[index].resumed = true;
            return;
        }
        let client = &mut self.clients[index];
        let all = client.from_heads && client.cursors.is_empty();
        if !all {
            // What a list of conversations would have told it.
            for (n, conversation) in self.conversations.iter().enumerate() {
                if conversation.created && conversation.members.contains(&client.user) && !client.from_heads {
                    client.cursors.entry(n).or_insert(0);
                }
            }
        }
        let named = client.cursors.keys().copied().collect();
        self.resume(index, named, all);
    }

    pub(crate) fn resume(&mut self, index: usize, named: Vec<usize>, all: bool) {
        let Some(conn) = self.clients[index].conn.clone() else { return };
        if named.is_empty() && !all {
            self.clients[index].resumed = true;
            return;
        }
        if self.clients[index].acks.values().any(|(_, pending)| matches!(pending, Pending::Resume { .. })) {
            // One at a time: the rest follows the answer.
            self.clients[index].to_resume.extend(named);
            return;
        }
        let cursors: BTreeMap<Id, u64> = named.iter().map(|n| (self.conversations[*n].text.clone(), self.cursor(index, *n))).collect();
        let op = self.op();
        let body = json!(["sync:resume", { "cursors": cursors }]);
        self.log(What::Resume { op, conn, cursors });
        self.emit(index, &body, Some(Pending::Resume { op, all }));
    }

    fn cursor(&self, index: usize, conversation: usize) -> u64 {
        let client = &self.clients[index];
        let held = client.cursors.get(&conversation).copied().unwrap_or(0);
        if self.hooks.bugs.cursor_by_time {
            // "Everything up to the newest that I have seen": what was missing below it stays missing.
            let newest = client.newest.get(&conversation).map_or(0, |row| row.seq);
            return held.max(newest);
        }
        held
    }

    fn acked(&mut self, index: usize, id: u64, body: &Value) {
        let Some((_, pending)) = self.clients[index].acks.remove(&id) else {
            self.breach(format!("an ack with id {id} that was not asked for, or a second one"));
            return;
        };
        let error = body.get("error").map(|error| error.get("code").and_then(Value::as_str).unwrap_or("?").to_owned());
        match (pending, error) {
            (Pending::Resume { op, all }, None) => self.resume_acked(index, op, all, body),
            (Pending::Resume { op, .. }, Some(code)) => {
                tell!(self, "resume {op} is refused: {code}");
                self.log(What::ResumeFailed { op });
                self.leave(index);
            }
            (Pending::Send { op, draft }, error) => {
                let row = body.get("message").and_then(packet::row);
                self.sent(index, op, draft, row.ok_or_else(|| error.unwrap_or_else(|| "?".to_owned())));
            }
            (Pending::Mark { op }, None) => {
                if let Some(read_seq) = body.get("readSeq").and_then(Value::as_u64) {
                    self.log(What::Marked { op, read_seq });
                } else {
                    self.breach("an ack of chat:markRead without readSeq".to_owned());
                }
            }
            (Pending::Change { op }, None) => self.log(What::Changed { op }),
            (Pending::Online, None) => {
                let users = body.get("users").or(Some(body)).and_then(Value::as_array).into_iter().flatten();
                let view: BTreeSet<Id> = users.filter_map(|user| user.as_str().map(Id::from)).collect();
                view.iter().for_each(|user| self.is_seen(index, user));
                self.clients[index].view = Some(view);
            }
            (Pending::Forbidden, None) => self.breach("a stranger was answered like a member".to_owned()),
            (Pending::Mark { .. } | Pending::Change { .. } | Pending::Online | Pending::Plain | Pending::Forbidden, _) => {}
        }
    }

    fn resume_acked(&mut self, index: usize, op: u64, all: bool, body: &Value) {
        let (heads, more, marks) = packet::resumed(body);
        for (conversation, members) in &marks {
            for (user, marks) in members {
                self.read_by(index, conversation, user, marks.read_seq);
            }
        }
        self.log(What::Resumed { op, heads: heads.clone(), more: more.clone(), marks });
        self.clients[index].resumed = true;
        let mut again: Vec<usize> = Vec::new();
        for (conversation, head) in heads {
            let Some(n) = self.conversations.iter().position(|known| known.text == conversation) else { continue };
            if self.clients[index].cursors.contains_key(&n) {
                continue;
            }
            if all {
                // It loads history up to there when somebody looks at it.
                let device = self.clients[index].device.clone();
                self.log(What::Hold { device, conversation, seq: head });
                self.clients[index].cursors.insert(n, head);
                self.advance(index, n);
            } else {
                self.clients[index].cursors.insert(n, 0);
                self.advance(index, n);
                again.push(n);
            }
        }
        for conversation in more.keys() {
            again.extend(self.conversations.iter().position(|known| known.text == *conversation));
        }
        again.extend(std::mem::take(&mut self.clients[index].to_resume));
        again.sort_unstable();
        again.dedup();
        if !again.is_empty() {
            self.resume(index, again, false);
        }
    }

    /// Moves the cursor over what was received already.
    fn advance(&mut self, index: usize, conversation: usize) {
        let client = &mut self.clients[index];
        let Some(cursor) = client.cursors.get_mut(&conversation) else { return };
        let early = client.early.entry(conversation).or_default();
        while early.remove(&(*cursor + 1)) {
            *cursor += 1;
        }
        let through = *cursor;
        early.retain(|seq| *seq > through);
    }

    fn heard(&mut self, index: usize, heard: &Heard) {
        match heard {
            Heard::Message { conversation, row } => self.message_came(index, conversation, row),
            Heard::Read { conversation, user, up_to } => {
                self.not_dismissed(index, conversation);
                self.not_hushed(index, conversation, user);
                self.read_by(index, conversation, user, *up_to);
                let (conversation, user) = (conversation.clone(), user.clone());
                self.log(What::Marks { conversation, user, delivered_seq: 0, read_seq: *up_to });
            }
            Heard::Receipts { conversation, user, marks } => {
                self.not_dismissed(index, conversation);
                self.not_hushed(index, conversation, user);
                let Watermarks { delivered_seq, read_seq } = *marks;
                self.read_by(index, conversation, user, read_seq);
                self.log(What::Marks { conversation: conversation.clone(), user: user.clone(), delivered_seq, read_seq });
            }
            Heard::Reset { conversation, head } => self.reset_came(index, conversation, *head),
            Heard::Expiring => {
                let person = self.people[self.clients[index].user].clone();
                let token = (self.hooks.token)(&person, self.clients[index].session, &self.settings, self.wall());
                self.emit(index, &json!(["auth:renew", { "token": token }]), Some(Pending::Plain));
            }
            Heard::Typing { conversation, user } => {
                self.not_dismissed(index, conversation);
                self.not_hushed(index, conversation, user);
            }
            Heard::OnlineList(users) => {
                users.iter().for_each(|user| self.is_seen(index, user));
                if let Some(view) = &mut self.clients[index].view {
                    *view = users.iter().cloned().collect();
                }
            }
            Heard::Created { conversation } => self.created_came(index, conversation),
            Heard::Dismissed { conversation } => self.dismissed_came(index, conversation),
            Heard::Presence { user, online } => self.presence_came(index, user, *online),
            Heard::Draining | Heard::Error { .. } | Heard::Other(_) => {}
        }
    }

    /// The index of a conversation of this client's person; anything else was leaked.
    pub(crate) fn member_of(&mut self, index: usize, conversation: &Id) -> Option<usize> {
        let user = self.clients[index].user;
        let found = self.conversations.iter().position(|known| known.text == *conversation && known.members.contains(&user));
        if found.is_none() {
            self.breach(format!("{} received an event of {conversation}", self.clients[index].device));
        }
        found
    }

    fn message_came(&mut self, index: usize, conversation: &Id, row: &Row) {
        let Some(n) = self.member_of(index, conversation) else { return };
        let Some(conn) = self.clients[index].conn.clone() else {
            self.breach("an event before the namespace was connected".to_owned());
            return;
        };
        self.log(What::Deliver { conn, conversation: conversation.clone(), row: row.clone() });
        self.note_known(index, n, row);
        self.clients[index].dismissed.remove(&n);
        let client = &mut self.clients[index];
        if client.newest.get(&n).is_none_or(|newest| newest.seq < row.seq) {
            client.newest.insert(n, row.clone());
            client.newest_at.insert(n, self.now_us);
        }
        if client.live_only {
            return;
        }
        if client.cursors.get(&n).is_none_or(|cursor| row.seq > *cursor) {
            client.early.entry(n).or_default().insert(row.seq);
        }
        self.advance(index, n);
        let client = &mut self.clients[index];
        // A conversation it did not know, made after its resume.
        if client.resumed && !client.cursors.contains_key(&n) {
            client.cursors.insert(n, 0);
            self.advance(index, n);
            self.resume(index, vec![n], false);
        }
    }

    fn reset_came(&mut self, index: usize, conversation: &Id, head: u64) {
        let Some(n) = self.member_of(index, conversation) else { return };
        let Some(conn) = self.clients[index].conn.clone() else { return };
        self.log(What::Reset { conn, conversation: conversation.clone(), head });
        let device = self.clients[index].device.clone();
        self.log(What::Hold { device, conversation: conversation.clone(), seq: head });
        let client = &mut self.clients[index];
        client.cursors.insert(n, head);
        client.to_resume.insert(n);
    }

    fn presence_came(&mut self, index: usize, user: &Id, online: bool) {
        if online {
            self.is_seen(index, user);
        } else {
            self.offline_heard.push((self.now_us, user.clone()));
        }
        let Some(view) = &mut self.clients[index].view else { return };
        if online {
            view.insert(user.clone());
        } else {
            view.remove(user);
        }
    }

    /// Where presence is checked, each connection asks who is there.
    fn ask_online(&mut self, index: usize) {
        let client = &self.clients[index];
        if client.view.is_none() && !client.acks.values().any(|(_, pending)| matches!(pending, Pending::Online)) {
            self.emit(index, &json!(["presence:getOnline"]), Some(Pending::Online));
        }
    }

    // ---- sends

    fn draft(&mut self, index: usize, conversation: usize, keyed: bool) -> usize {
        let serial = self.op();
        let long = self.rng.chance(0.02);
        let mut content = format!("m{serial}");
        if long {
            let length = self.rng.between(10, 1_900) as usize;
            content.extend(std::iter::repeat_n('x', length));
        }
        let client = &mut self.clients[index];
        let client_id = keyed.then(|| Id::from(format!("{}.{serial}", client.device)));
        client.sends.push(Draft { conversation, client_id, content: Id::from(content), attempts: 0 });
        client.sends.len() - 1
    }

    fn attempt(&mut self, index: usize, draft: usize) -> u64 {
        let op = self.op();
        let client = &mut self.clients[index];
        client.sends[draft].attempts += 1;
        let Draft { conversation, client_id, content, .. } = &client.sends[draft];
        let what = What::Send {
            op,
            user: self.people[client.user].text.clone(),
            device: Some(client.device.clone()),
            conversation: self.conversations[*conversation].text.clone(),
            client_id: client_id.clone(),
            content: content.clone(),
        };
        self.log(what);
        op
    }

    fn send_by_socket(&mut self, index: usize, draft: usize) {
        let op = self.attempt(index, draft);
        let Draft { conversation, client_id, content, .. } = &self.clients[index].sends[draft];
        let mut body = json!({
            "conversationId": self.conversations[*conversation].text, "content": content, "type": "text",
        });
        if let Some(client_id) = client_id {
            body["clientId"] = json!(client_id);
        }
        self.emit(index, &json!(["chat:message", body]), Some(Pending::Send { op, draft }));
    }

    fn send_by_http(&mut self, index: usize, draft: usize) {
        let op = self.attempt(index, draft);
        let client = &self.clients[index];
        let person = &self.people[client.user];
        let Draft { conversation, client_id, content, .. } = &client.sends[draft];
        let message = NewMessage {
            content: content.to_string(),
            kind: MessageKind::Text,
            client_id: client_id.as_deref().map(str::to_owned),
            reply_to: None,
            metadata: None,
        };
        let from = Actor { id: person.id, username: person.name.clone() };
        let to = *conversation;
        self.request(index, to, RequestKind::Send { op, draft }, Message::Send { from, message });
    }

    fn sent(&mut self, index: usize, op: u64, draft: usize, result: Result<Row, String>) {
        match result {
            Ok(row) => self.log(What::Ok { op, row }),
            Err(code) => {
                self.log(What::Fail { op, code: Id::from(code.as_str()) });
                if !is_final(&code) {
                    self.reopen(index, draft, RETRY_US);
                }
            }
        }
    }

    // ---- HTTP

    pub(crate) fn request(&mut self, client: usize, conversation: usize, kind: RequestKind, msg: Message) -> u64 {
        let to = objects::room(self.conversations[conversation].id);
        self.request_of(client, &to, kind, msg)
    }

    /// A request that a handler answers by asking this object.
    pub(crate) fn request_of(&mut self, client: usize, to: &ObjectId, kind: RequestKind, msg: Message) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        self.requests.insert(id, Request { client, kind });
        if self.now_us < self.host_up_at_us {
            self.http_done(id, Err(CallError::Lost));
        } else {
            self.call_from_http(id, to, msg);
        }
        id
    }

    pub(crate) fn http_done(&mut self, id: u64, result: Result<Message, CallError>) {
        let Some(Request { client, kind }) = self.requests.remove(&id) else { return };
        if let RequestKind::Kept(_) = kind {
            self.requests.insert(id, Request { client, kind: RequestKind::Kept(Some(Box::new(result))) });
            return;
        }
        if self.frozen {
            return;
        }
        let lost = self.rng.chance(self.faults.lost_response);
        let result = if lost { Err(CallError::Lost) } else { result };
        match kind {
            RequestKind::Create { conversation } => match result {
                Ok(Message::View { .. }) => {
                    self.conversations[conversation].created = true;
                    self.bring_back(conversation);
                }
                other => {
                    if let Ok(other) = other
                        && !matches!(&other, Message::Refused { failure } if !is_final(code_of(failure).as_ref()))
                    {
                        self.breach(format!("creating a conversation was answered {other:?}"));
                    }
                    let us = 500_000 + self.rng.below(1_000_000);
                    self.after(us, Event::Found { conversation });
                }
            },
            RequestKind::Send { op, draft } => match result {
                Ok(Message::Sent { message, .. }) => {
                    let row = row_of(&message);
                    self.sent(client, op, draft, Ok(row));
                }
                Ok(Message::Refused { failure }) => self.sent(client, op, draft, Err(code_of(&failure))),
                Err(CallError::Failed) => self.sent(client, op, draft, Err("MESSAGE_SEND_FAILED".to_owned())),
                Err(CallError::Lost | CallError::Overloaded) => {
                    self.log(What::Unknown { op });
                    self.reopen(client, draft, RETRY_US);
                }
                Ok(other) => self.breach(format!("a send was answered {other:?}")),
            },
            RequestKind::Change { op } => match result {
                Ok(Message::Changed { .. }) => self.log(What::Changed { op }),
                Ok(Message::Refused { .. }) | Err(_) => {}
                Ok(other) => self.breach(format!("a change was answered {other:?}")),
            },
            RequestKind::Rows { op, conversation } => match result {
                Ok(Message::HistoryPage { messages, .. }) => {
                    let rows = messages.iter().map(row_of).collect();
                    self.log(What::Rows { op, rows });
                }
                Ok(Message::Page { events, marks, .. }) => {
                    let rows = events.iter().map(row_of_event).collect();
                    self.log(What::Rows { op, rows });
                    for marks in marks {
                        self.log(What::Marks {
                            conversation: self.conversations[conversation].text.clone(),
                            user: Id::from(marks.user.to_string()),
                            delivered_seq: marks.delivered_seq,
                            read_seq: marks.read_seq,
                        });
                    }
                }
                Ok(Message::Refused { failure })
                    if is_final(&code_of(&failure)) && self.conversations[conversation].churner != Some(self.clients[client].user) =>
                {
                    self.breach(format!("history was refused to a member: {failure:?}"));
                }
                Ok(Message::Refused { .. }) | Err(_) => {}
                Ok(other) => self.breach(format!("history was answered {other:?}")),
            },
            RequestKind::Group { conversation, back } => self.group_changed(conversation, back, result),
            RequestKind::Relate { by, other, last } => self.related(by, other, last, result),
            RequestKind::Kept(_) => {}
        }
    }

    /// Asks for a conversation to be made, until it is.
    pub(crate) fn found(&mut self, n: usize) {
        if self.frozen {
            return;
        }
        if self.conversations[n].created {
            return self.bring_back(n);
        }
        let conversation = &self.conversations[n];
        let members: Vec<Profile> = conversation.members.iter().map(|user| self.profile(*user)).collect();
        let (kind, name) = match conversation.direct {
            true => (ConversationType::Direct, None),
            false => (ConversationType::Group, Some(format!("group {n}"))),
        };
        let Some(by) = members.first().map(|member| member.id) else { return };
        self.request(0, n, RequestKind::Create { conversation: n }, Message::Create { kind, name, by, members });
    }

    // ---- what a person does

    pub(crate) fn wake(&mut self, index: usize) {
        if self.frozen {
            return;
        }
        let think = if self.settling { 400 } else { self.scenario.think_ms };
        let us = 1_000 + self.rng.wait(think * 1000);
        self.after(us, Event::Wake { client: index });
        self.give_up_waiting(index);
        if !self.clients[index].connected {
            let stuck = self.now_us.saturating_sub(self.clients[index].heard_us) > self.silence_us();
            if stuck {
                self.leave(index);
            }
            return;
        }
        if self.sleeps() || self.watching {
            self.ask_online(index);
        }
        self.repeat_sends(index);
        if !self.settling {
            self.act(index);
        }
    }

    /// `pingInterval + pingTimeout` of the handshake, and what the way takes.
    fn silence_us(&self) -> u64 {
        (self.settings.heartbeat.ping_interval_ms + self.settings.heartbeat.ping_timeout_ms + 1_000) * 1000
    }

    fn give_up_waiting(&mut self, index: usize) {
        let client = &self.clients[index];
        if let Some(socket) = client.socket
            && self.now_us.saturating_sub(client.heard_us) > self.silence_us()
        {
            tell!(self, "{} heard nothing for long", client.device);
            if self.sleeps() && client.connected && self.is_whole(socket) {
                self.breach("P1 silence: a connection without a fault was not pinged".to_owned());
            }
            self.leave(index);
            return;
        }
        let limit = self.now_us.saturating_sub(ACK_WAIT_US);
        let late: Vec<u64> = client.acks.iter().filter(|(_, (since, _))| *since < limit).map(|(id, _)| *id).collect();
        for id in late {
            let Some((_, pending)) = self.clients[index].acks.remove(&id) else { continue };
            if matches!(pending, Pending::Resume { .. }) && self.now_us.saturating_sub(self.clients[index].heard_us) < 5_000_000 {
                // A long replay is still coming in.
                self.clients[index].acks.insert(id, (self.now_us - ACK_WAIT_US / 2, pending));
                continue;
            }
            let was_resume = matches!(pending, Pending::Resume { .. });
            self.unanswered(index, pending);
            if was_resume {
                self.leave(index);
                return;
            }
            // An ack that comes now is of no use to anybody.
            self.clients[index].acks.insert(id, (u64::MAX, Pending::Plain));
        }
    }

    fn repeat_sends(&mut self, index: usize) {
        for _ in 0..self.clients[index].open.len() {
            let Some((draft, from)) = self.clients[index].open.pop_front() else { return };
            if from > self.now_us {
                self.clients[index].open.push_back((draft, from));
            } else if self.rng.chance(0.15) {
                self.send_by_http(index, draft);
            } else {
                self.send_by_socket(index, draft);
            }
        }
    }

    fn act(&mut self, index: usize) {
        let user = self.clients[index].user;
        let mine: Vec<usize> = (0..self.conversations.len())
            .filter(|n| self.conversations[*n].created && self.conversations[*n].members.contains(&user))
            .collect();
        let Some(n) = self.rng.pick(&mine).copied() else {
            self.trespass(index);
            return;
        };
        if self.churns(index, n) || self.relates(index, n) {
            return;
        }
        let text = self.conversations[n].text.clone();
        match self.rng.below(100) {
            0..=35 => {
                let draft = self.draft(index, n, true);
                self.send_by_socket(index, draft);
            }
            36..=44 => self.change_message(index, n),
            45..=47 => {
                let draft = self.draft(index, n, false);
                self.send_by_socket(index, draft);
            }
            48..=53 => {
                let draft = self.draft(index, n, true);
                self.send_by_http(index, draft);
            }
            54..=55 => self.send_conflict(index),
            56..=57 => self.send_known_again(index),
            58..=67 => self.mark_read(index, n),
            68..=73 => {
                if let Some(up_to) = self.seen(index, n) {
                    self.emit(index, &json!(["chat:delivered", { "conversationId": text, "upTo": up_to }]), None);
                }
            }
            74..=78 => {
                let name = if self.rng.chance(0.7) { "chat:typing" } else { "chat:stopTyping" };
                self.emit(index, &json!([name, { "conversationId": text }]), None);
            }
            79..=82 => self.emit(index, &json!(["chat:join", text]), Some(Pending::Plain)),
            83 => self.emit(index, &json!(["chat:leave", text]), Some(Pending::Plain)),
            84..=88 => {
                let op = self.op();
                let user_text = self.people[user].text.clone();
                self.log(What::Read { op, user: user_text, conversation: text, newest: true });
                let msg = Message::History { user: self.people[user].id, cursor: HistoryCursor::Newest, limit: 50 };
                self.request(index, n, RequestKind::Rows { op, conversation: n }, msg);
            }
            89..=91 => {
                let op = self.op();
                let user_text = self.people[user].text.clone();
                self.log(What::Read { op, user: user_text, conversation: text, newest: false });
                let after = self.clients[index].cursors.get(&n).copied().unwrap_or(0);
                let user = self.people[user].id;
                let msg = Message::Pull { user, after, limit: 50, generation: None, marks: true };
                self.request(index, n, RequestKind::Rows { op, conversation: n }, msg);
            }
            92..=93 => self.emit(index, &json!(["presence:getOnline"]), Some(Pending::Plain)),
            94 => self.emit(index, &json!(["hb"]), None),
            95 => self.leave(index),
            96 => {
                if let Some(socket) = self.clients[index].socket {
                    self.client_sends(socket, "41".to_owned());
                    self.leave(index);
                }
            }
            97 => {
                if let Some(socket) = self.clients[index].socket {
                    self.cut(socket);
                }
            }
            98 => {
                let client = &self.clients[index];
                let token = (self.hooks.token)(&self.people[user], client.session, &self.settings, self.wall());
                self.emit(index, &json!(["auth:renew", { "token": token }]), Some(Pending::Plain));
            }
            _ => self.trespass(index),
        }
    }

    /// The highest `seq` that this client can speak of.
    fn seen(&mut self, index: usize, conversation: usize) -> Option<u64> {
        let client = &self.clients[index];
        let newest = client.newest.get(&conversation).map(|row| row.seq)?;
        // Sometimes an older one: marks never fall.
        let back = if self.rng.chance(0.3) { self.rng.below(5) } else { 0 };
        Some(newest.saturating_sub(back).max(1))
    }

    fn mark_read(&mut self, index: usize, n: usize) {
        let conversation = self.conversations[n].text.clone();
        let by_id = self.rng.chance(0.4);
        let Some(up_to) = self.seen(index, n) else { return };
        let newest = self.clients[index].newest.get(&n).filter(|row| row.kind.is_none()).map(|row| (row.seq, row.id.clone()));
        let (body, up_to) = match newest {
            Some((seq, id)) if by_id => (json!({ "conversationId": conversation, "messageIds": [id] }), seq),
            _ => (json!({ "conversationId": conversation, "upTo": up_to }), up_to),
        };
        let op = self.op();
        let user = self.people[self.clients[index].user].text.clone();
        self.log(What::Mark { op, user, conversation, up_to });
        self.emit(index, &json!(["chat:markRead", body]), Some(Pending::Mark { op }));
    }

    /// The key of a message that was sent before, with another text.
    fn send_conflict(&mut self, index: usize) {
        let keyed: Vec<usize> =
            (0..self.clients[index].sends.len()).filter(|at| self.clients[index].sends[*at].client_id.is_some()).collect();
        let Some(first) = self.rng.pick(&keyed).copied() else { return };
        let Draft { conversation, client_id, content, .. } = &self.clients[index].sends[first];
        let twin = Draft {
            conversation: *conversation,
            client_id: client_id.clone(),
            content: Id::from(format!("{content} otherwise")),
            attempts: 0,
        };
        // Only what was answered is certain to hold the key.
        if self.clients[index].open.iter().any(|(open, _)| *open == first) {
            return;
        }
        self.clients[index].sends.push(twin);
        let draft = self.clients[index].sends.len() - 1;
        self.send_by_socket(index, draft);
    }

    /// A message that was answered already is sent again, on another way.
    fn send_known_again(&mut self, index: usize) {
        let keyed: Vec<usize> =
            (0..self.clients[index].sends.len()).filter(|at| self.clients[index].sends[*at].client_id.is_some()).collect();
        let Some(draft) = self.rng.pick(&keyed).copied() else { return };
        if self.rng.chance(0.5) {
            self.send_by_http(index, draft);
        } else {
            self.send_by_socket(index, draft);
        }
    }

    /// Asks for a conversation of others.
    fn trespass(&mut self, index: usize) {
        let user = self.clients[index].user;
        let foreign: Vec<usize> = (0..self.conversations.len())
            .filter(|n| self.conversations[*n].created && !self.conversations[*n].members.contains(&user))
            .collect();
        let Some(n) = self.rng.pick(&foreign).copied() else { return };
        let text = &self.conversations[n].text;
        let body = match self.rng.below(5) {
            4 => json!(["chat:delete", { "conversationId": text, "messageId": "0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d" }]),
            0 => json!(["chat:join", text]),
            1 => json!(["chat:markRead", { "conversationId": text, "upTo": 1 }]),
            2 => json!(["chat:message", { "conversationId": text, "content": "let me in", "type": "text" }]),
            _ => json!(["chat:message", { "conversationId": text, "content": "let me in", "type": "text", "clientId": "x" }]),
        };
        self.emit(index, &body, Some(Pending::Forbidden));
    }

    // ---- the end of a run

    /// Whether every client is connected, resumed, and waits for nothing.
    pub(crate) fn settled(&self) -> bool {
        self.clients.iter().all(|client| {
            client.connected
                && client.resumed
                && client.socket.is_some_and(|socket| self.is_whole(socket))
                && client.open.is_empty()
                && client.acks.values().all(|(_, pending)| matches!(pending, Pending::Plain | Pending::Online | Pending::Forbidden))
        }) && self.requests.is_empty()
            && self.conversations.iter().all(|one| !self.settling || one.churner.is_none() || one.back)
            && self.relations.values().all(|one| !self.settling || one.sure)
    }

    /// Why [`World::settled`] is false, for people.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let mut why = Vec::new();
        for client in &self.clients {
            if !client.connected || !client.resumed || !client.open.is_empty() {
                why.push(format!(
                    "{}: socket {:?}, connected {}, resumed {}, {} sends open, refused {} times",
                    client.device,
                    client.socket.map(|socket| socket.0),
                    client.connected,
                    client.resumed,
                    client.open.len(),
                    client.refused_connects
                ));
            }
        }
        why
    }

    /// A request as a member, and the wait for its answer.
    pub(crate) fn ask(&mut self, conversation: usize, msg: Message) -> Option<Message> {
        let to = objects::room(self.conversations[conversation].id);
        for _ in 0..5 {
            let until = self.now_us + 11_000_000;
            match self.ask_object(&to, msg.clone()) {
                Ok(answer) => return Some(answer),
                Err(_) => self.now_us = self.now_us.max(until),
            }
        }
        None
    }

    /// A request to an object, and the wait for its answer.
    pub(crate) fn ask_object(&mut self, to: &ObjectId, msg: Message) -> Result<Message, CallError> {
        let id = self.request_of(0, to, RequestKind::Kept(None), msg);
        let until = self.now_us + 11_000_000;
        while !matches!(self.requests.get(&id), Some(Request { kind: RequestKind::Kept(Some(_)), .. })) && self.turn(until) {}
        match self.requests.remove(&id) {
            Some(Request { kind: RequestKind::Kept(Some(answer)), .. }) => *answer,
            _ => Err(CallError::Lost),
        }
    }
}

/// A row of the contract as the checker knows it.
pub(crate) fn row_of(message: &wire::Message) -> Row {
    Row {
        seq: message.seq,
        kind: None,
        id: Id::from(message.id.to_string()),
        sender: message.sender_id.map(|id| Id::from(id.to_string())),
        client_id: message.client_id.as_deref().map(Id::from),
        content: as_sent(&message.content),
    }
}

pub(crate) fn row_of_event(event: &objects::Numbered) -> Row {
    let change = |name, id: wire::MessageId, by, what: &str| row_of_change(event.seq, name, Id::from(id.to_string()), by, what);
    let group = |name, by: wire::UserId, what: String| {
        row_of_change(event.seq, name, Id::from(""), Some(Id::from(by.to_string())), &what)
    };
    match &event.event {
        objects::RoomEvent::Message { message } => Row { seq: event.seq, ..row_of(message) },
        objects::RoomEvent::Edited(edited) => {
            let by = edited.message.sender_id.map(|id| Id::from(id.to_string()));
            change("chat:edited", edited.message.id, by, "")
        }
        objects::RoomEvent::Deleted(deleted) => {
            change("chat:deleted", deleted.message_id, Some(Id::from(deleted.by.to_string())), "")
        }
        objects::RoomEvent::Reaction(reacted) => {
            let by = Some(Id::from(reacted.user_id.to_string()));
            change("chat:reaction", reacted.message_id, by, &reaction_text(&reacted.emoji, reacted.on))
        }
        objects::RoomEvent::Updated(updated) => group("conversation:updated", updated.by, updated.changes.to_string()),
        objects::RoomEvent::MemberAdded(added) => group("conversation:memberAdded", added.by, added.member.id.to_string()),
        objects::RoomEvent::MemberRemoved(gone) => group("conversation:memberRemoved", gone.by, gone.user_id.to_string()),
    }
}

pub(crate) fn code_of(failure: &edge_core::error::Failure) -> String {
    serde_json::to_value(failure.code).ok().and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default()
}
