//! Events of clients: the dialect's table makes them commands, Rooms decide, answers go back.

use wire::{ErrorCode, RoomId, Timestamp};

use super::Gateway;
use super::calls::{Asked, Called, Request};
use super::conn::ConnId;
use super::rooms::slot_of;
use crate::dialect::{Answer, Command, DialectId, ServerEvent};
use crate::error::Failure;
use crate::limits;
use crate::object::CallError;
use crate::objects::{self, Actor, Message, MessageChange};
use crate::socketio::Event;

impl Gateway {
    /// An event of an authenticated client.
    pub(super) fn event(&mut self, id: ConnId, event: &Event, now: Timestamp) {
        let Some(dialect) = self.conns.live(id).map(|live| live.who.dialect) else { return };
        let settings = self.settings.clone();
        let known = dialect.table().command(&event.name, &event.args, &settings);
        if let Some((_, Ok(Command::Heartbeat))) = known {
            return self.heartbeat(id, event.id);
        }
        if let Err(failure) = self.may_speak(id, now) {
            return self.refuse(id, event.id, &event.name, &failure);
        }
        match known {
            _ if event.lone_surrogate => {
                let failure = Failure::invalid("payload", "Text must be valid Unicode");
                self.refuse(id, event.id, &event.name, &failure);
            }
            None => {
                let failure = Failure::invalid("event", "This event is not known");
                self.refuse(id, event.id, &event.name, &failure);
            }
            Some((name, Err(failure))) => self.refuse(id, event.id, name, &failure),
            Some((name, Ok(command))) => self.command(id, command, event.id, name, now),
        }
    }

    fn command(&mut self, id: ConnId, command: Command, ack: Option<u64>, event: &'static str, now: Timestamp) {
        let Some(live) = self.conns.live(id) else { return };
        let user = live.who.user;
        let actor = || Actor { id: user, username: live.who.username.clone() };
        let (room, asked, msg) = match command {
            Command::Heartbeat => return self.heartbeat(id, ack),
            Command::GetOnline => return self.get_online(id, ack, event, now),
            Command::SetPresence { state, text } => {
                if let Err(failure) = self.may_set_presence(user, now) {
                    return self.refuse(id, ack, event, &failure);
                }
                let msg = Message::SetPresence { state, text };
                return self.call(objects::user(user), msg, Called::Presence { conn: id, ack }, now);
            }
            Command::Renew { token } => return self.renew(id, ack, event, &token, now),
            Command::Resume(cursors) => return self.resume(id, ack, event, cursors, now),
            Command::Leave { room } => return self.leave(id, room, ack, now),
            Command::Join { room } => {
                if let Err(failure) = self.may_join(user, now) {
                    return self.refuse(id, ack, event, &failure);
                }
                (room, Asked::Join, Message::Join { user })
            }
            Command::Send { room, message } => {
                let from = actor();
                if let Err(failure) = self.may_send(user, now) {
                    return self.refuse(id, ack, event, &failure);
                }
                (room, Asked::Send, Message::Send { from, message })
            }
            Command::Change { room, message, change } => {
                let asked = match change {
                    MessageChange::Edit { .. } => Asked::Edit,
                    MessageChange::Delete => Asked::Delete,
                    MessageChange::React { .. } => Asked::React,
                };
                if asked != Asked::Delete
                    && let Err(failure) = self.may_send(user, now)
                {
                    return self.refuse(id, ack, event, &failure);
                }
                (room, asked, Message::Change { user, message, change })
            }
            Command::Typing { room, on } => {
                let from = actor();
                if on && !self.may_type(id, room, now) {
                    return self.answer(id, ack, &Answer::Done);
                }
                (room, Asked::Light, Message::Typing { from, on })
            }
            Command::MarkRead { room, up_to } => (room, Asked::MarkRead, Message::MarkRead { user, up_to }),
            Command::MarkDelivered { room, up_to } => (room, Asked::Light, Message::MarkDelivered { user, up_to }),
        };
        let request = Request { conn: id, ack, event, room, asked };
        self.call(objects::room(room), msg, Called::Room(request), now);
    }

    /// The Room has decided.
    pub(super) fn room_answered(&mut self, request: &Request, result: Result<Message, CallError>, now: Timestamp) {
        let (id, ack) = (request.conn, request.ack);
        match (request.asked, &result) {
            (_, Ok(Message::Refused { failure })) => self.refuse(id, ack, request.event, failure),
            (Asked::Join, Ok(Message::Joined { seq, read_seq, members, .. })) => {
                self.opened(id, request.room, now);
                let (seq, read_seq) = (*seq, *read_seq);
                self.answer(id, ack, &Answer::Joined { room: request.room, seq, read_seq, members });
            }
            (Asked::Send, Ok(Message::Sent { message, .. })) | (Asked::Edit, Ok(Message::Changed { message })) => {
                self.answer(id, ack, &Answer::Sent { message });
            }
            (Asked::React, Ok(Message::Changed { message })) => {
                self.answer(id, ack, &Answer::Reacted { reactions: &message.reactions });
            }
            (Asked::MarkRead, Ok(Message::Marked { read_seq })) => {
                self.answer(id, ack, &Answer::Marked { read_seq: *read_seq });
            }
            (Asked::Delete, Ok(Message::Changed { .. })) | (Asked::Light, Ok(_)) => self.answer(id, ack, &Answer::Done),
            (Asked::Light, Err(_)) if ack.is_none() => {}
            (asked, outcome) => self.refuse(id, ack, request.event, &failed(asked, outcome.as_ref().err().copied())),
        }
        self.settle(id, now);
    }

    /// The User has taken E-053.
    pub(super) fn presence_set(&mut self, id: ConnId, ack: Option<u64>, result: &Result<Message, CallError>, now: Timestamp) {
        match result {
            Ok(Message::Done) => self.answer(id, ack, &Answer::Done),
            Ok(Message::Refused { failure }) => self.refuse(id, ack, "presence:set", failure),
            _ => self.refuse(id, ack, "presence:set", &failed(Asked::Light, result.as_ref().err().copied())),
        }
        self.settle(id, now);
    }

    fn opened(&mut self, id: ConnId, room: RoomId, now: Timestamp) {
        let Some(live) = self.conns.live_mut(id) else { return };
        if live.rooms.len() >= limits::SOCKET_CONVERSATIONS && !live.rooms.contains(&room) {
            return;
        }
        live.rooms.insert(room);
        let (user, dialect) = (live.who.user, live.who.dialect);
        self.rooms.entry(room).or_default().slot_or_new(id, user, dialect).opened = true;
        self.want_save(id, now);
    }

    /// E-003: needs nobody's consent.
    fn leave(&mut self, id: ConnId, room: RoomId, ack: Option<u64>, now: Timestamp) {
        if let Some(slot) = slot_of(&mut self.rooms, room, id) {
            slot.opened = false;
        }
        self.want_save(id, now);
        self.answer(id, ack, &Answer::Done);
    }

    /// E-006 passes once per conversation and [`limits::TYPING_EVERY_MS`].
    fn may_type(&mut self, id: ConnId, room: RoomId, now: Timestamp) -> bool {
        if !self.settings.rate_limits {
            return true;
        }
        let Some(live) = self.conns.live_mut(id) else { return false };
        if live.typing.get(&room).is_some_and(|last| now.since(*last) < limits::TYPING_EVERY_MS) {
            return false;
        }
        live.typing.retain(|_, last| now.since(*last) < limits::TYPING_EVERY_MS);
        live.typing.insert(room, now);
        true
    }

    /// E-057.
    fn heartbeat(&mut self, id: ConnId, ack: Option<u64>) {
        // Its frame is exact, without an offset.
        let packet = self.dialect_of(id).table().event_packet(&ServerEvent::Heartbeat);
        if let (Some(packet), Some(conn)) = (packet, self.conns.get_mut(id)) {
            conn.session.send(packet, &mut self.fx);
        }
        self.answer(id, ack, &Answer::Done);
    }

    /// A packet of a socket that never resumed shows that what was written to it has arrived (contract 7).
    pub(super) fn mark_written(&mut self, id: ConnId, now: Timestamp) {
        if self.conns.get(id).is_none_or(|conn| conn.session.backlog() > 0) || self.is_held(id) {
            return;
        }
        let Some(live) = self.conns.live_mut(id) else { return };
        if live.unmarked.is_empty() || now.since(live.marked_at) < limits::MARKS_COALESCE_MS {
            return;
        }
        live.marked_at = now;
        let (user, rooms) = (live.who.user, std::mem::take(&mut live.unmarked));
        for room in rooms {
            let Some(slot) = slot_of(&mut self.rooms, room, id) else { continue };
            let up_to = std::mem::take(&mut slot.highest);
            if up_to > 0 {
                self.fx.tell(objects::room(room), Message::MarkDelivered { user, up_to });
            }
        }
    }

    // ---- answers

    /// Acknowledges, when the client wants it.
    pub(super) fn answer(&mut self, id: ConnId, ack: Option<u64>, answer: &Answer<'_>) {
        let Some(ack) = ack else { return };
        let dialect = self.dialect_of(id);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.session.send(dialect.table().ack_packet(ack, answer), &mut self.fx);
        }
    }

    /// A failure: to the callback, or as E-059.
    pub(super) fn refuse(&mut self, id: ConnId, ack: Option<u64>, event: &str, failure: &Failure) {
        if ack.is_some() {
            return self.answer(id, ack, &Answer::Refused(failure));
        }
        let dialect = self.dialect_of(id);
        let Some(packet) = dialect.table().event_packet(&ServerEvent::Error { failure, event }) else { return };
        if self.conns.live(id).is_some() {
            self.write(id, dialect, packet, None);
        } else if let Some(conn) = self.conns.get_mut(id) {
            conn.session.send(packet, &mut self.fx);
        }
    }

    /// The socket's dialect; the default before one is chosen.
    fn dialect_of(&self, id: ConnId) -> DialectId {
        self.conns.live(id).map_or(DialectId::DEFAULT, |live| live.who.dialect)
    }
}

/// What a client reads when there was no answer, or none that makes sense. A send is safe to repeat.
fn failed(asked: Asked, error: Option<CallError>) -> Failure {
    match (asked, error) {
        (_, Some(CallError::Overloaded)) => Failure::rate_limited(1_000),
        (Asked::Send, _) => Failure { retry_after: Some(1), ..ErrorCode::MessageSendFailed.into() },
        _ => Failure { retry_after: Some(1), ..ErrorCode::NodeUnavailable.into() },
    }
}
