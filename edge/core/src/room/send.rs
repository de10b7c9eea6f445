//! Sending: who may, what was sent before, the next number, and the order of effects.

use sha2::{Digest, Sha256};
use wire::{ConversationType, ErrorCode, MessageId, MessageKind, RoomId, Timestamp, UserId};

use super::load::parse_message;
use super::{RECENT, Ready, Room, State, Stored, Waits};
use crate::error::Failure;
use crate::limits;
use crate::object::{CallKey, Kind, ObjectId, PersistError, Store};
use crate::objects::{Actor, Message, NewMessage, Numbered, RoomEvent};
use crate::rate::Bucket;
use crate::sql::{self, Rows};

/// A send that waits for a read: whether its key was used, and whether what it replies to exists.
#[derive(Debug)]
pub(super) struct Decision {
    from: ObjectId,
    call: CallKey,
    actor: Actor,
    message: NewMessage,
    /// The first read is the message that may have had its key.
    keyed: bool,
}

impl Room {
    pub(super) fn send(&mut self, from: ObjectId, call: CallKey, actor: Actor, message: NewMessage, now: Timestamp) {
        let rated = self.settings.rate_limits;
        let State::Ready(ready) = &mut self.state else { return };
        if ready.member(actor.id).is_none() {
            return self.refuse(&from, call, self.stranger(&from, actor.id));
        }
        if let Err(failure) = ready.may_reach(actor.id) {
            return self.refuse(&from, call, failure);
        }
        if message.client_id.is_none()
            && let Some(row) = ready.sent_by_call(&from, call)
        {
            let message = ready.render(self.id, row, Some(actor.id));
            return self.fx.reply(&from, call, Message::Sent { message, repeated: true });
        }
        let used = message.client_id.as_deref().and_then(|key| ready.keys.seq_of(actor.id, key));
        let first = used.and_then(|seq| ready.recent_at(seq));
        if let Some(row) = first.filter(|row| row.has_key_of(&actor, &message)) {
            let row = row.clone();
            return self.repeat(&from, call, actor.id, &row, &message);
        }
        let keyed = used.filter(|_| first.is_none()).map(|seq| sql::room::at(self.id, seq));
        let unknown = message.reply_to.filter(|id| ready.recent.iter().all(|row| row.id != *id));
        if keyed.is_some() || unknown.is_some() {
            let reply_to = unknown.map(|id| sql::room::seqs_of(self.id, &[id])).unwrap_or_default();
            let decision = Decision { from, call, actor, message, keyed: keyed.is_some() };
            let load = self.fx.load(Store::Own, keyed.into_iter().chain(reply_to).collect());
            ready.blocked = Some((load, Waits::Send(decision)));
            return;
        }
        if rated && let Err(wait_ms) = ready.admit(actor.id, now) {
            return self.refuse(&from, call, Failure::rate_limited(wait_ms));
        }
        self.accept(&from, call, &actor, message, now);
    }

    /// A read has answered what memory could not.
    pub(super) fn decide(&mut self, decision: Decision, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        let Decision { from, call, actor, message, keyed } = decision;
        let Ok(rows) = result else {
            return self.refuse(&from, call, ErrorCode::MessageSendFailed);
        };
        let mut rows = rows.into_iter();
        if keyed
            && let Some(row) = rows.next().and_then(|found| found.first().and_then(parse_message))
            && row.has_key_of(&actor, &message)
        {
            return self.repeat(&from, call, actor.id, &row, &message);
        }
        if rows.next().is_some_and(|found| found.is_empty()) {
            return self.refuse(&from, call, Failure::invalid("replyTo", "The message to reply to is not in this conversation"));
        }
        self.accept(&from, call, &actor, message, now);
    }

    /// The same key again: the first answer for the same content, `CONFLICT` for another (M2).
    fn repeat(&mut self, from: &ObjectId, call: CallKey, user: UserId, row: &Stored, message: &NewMessage) {
        let State::Ready(ready) = &mut self.state else { return };
        let again = Stored { content: message.content.clone(), kind: message.kind, ..Stored::of(row, message) };
        if again.digest_in(self.id) == row.sent_digest.unwrap_or(row.digest) {
            let message = ready.render(self.id, row, Some(user));
            self.fx.reply(from, call, Message::Sent { message, repeated: true });
        } else {
            self.refuse(from, call, Failure::conflict("clientId", "This clientId was used for another message"));
        }
    }

    fn accept(&mut self, from: &ObjectId, call: CallKey, actor: &Actor, message: NewMessage, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        let mut row = ready.append(self.id, actor, message, now);
        if row.client_id.is_none() {
            row.call = ready.note_call(from, call, row.seq);
        }
        let previous = ready.recent.iter().rev().find_map(|earlier| earlier.sender);
        let kept = ready.remember(row.clone()).map(|(user, own_seq)| sql::room::keep_own(self.id, user, own_seq));
        let keys = ready.keys.bundle(self.id, &ready.recent, now);
        self.fx.persist(std::iter::once(sql::room::insert_message(self.id, &row)).chain(kept).chain(keys).collect());
        ready.project_head(&mut self.fx, self.id, false);
        if row.mentions.is_some() {
            ready.project_mentions(&mut self.fx, self.id, &row);
        }
        if let Some(previous) = previous
            && previous != actor.id
        {
            // Its unread count was 0 by being the last writer; from now on its row must say so.
            ready.project_member(&mut self.fx, self.id, previous, false);
        }
        let message = ready.render(self.id, &row, None);
        self.fx.reply(from, call, Message::Sent { message: message.clone(), repeated: false });
        let event = Numbered { seq: row.seq, event: RoomEvent::Message { message } };
        let marks = ready.marks.take_untold(now);
        ready.deliver(&mut self.fx, self.id, vec![event], marks);
        self.index_soon(now);
    }
}

impl Ready {
    /// Whether what a member does may be seen by the others.
    pub(super) fn may_reach(&self, user: UserId) -> Result<(), Failure> {
        if self.meta.kind == ConversationType::Direct {
            if self.member(user).is_some_and(|seat| seat.blocks) {
                return Err(ErrorCode::Blocked.into());
            }
            if self.members().any(|(id, other)| *id != user && other.blocks) {
                return Err(ErrorCode::UserUnavailable.into());
            }
        }
        Ok(())
    }

    /// V-27 counted here for every route, and the admission of the conversation.
    pub(super) fn admit(&mut self, user: UserId, now: Timestamp) -> Result<(), u64> {
        let per_second = limits::ROOM_SENDS_PER_SECOND;
        self.room_rate.get_or_insert_with(|| Bucket::new(per_second, 1_000, now)).take(now)?;
        if self.sender_rates.len() > 2 * limits::CONVERSATION_MEMBERS {
            self.sender_rates.retain(|_, bucket| !bucket.is_full(now));
        }
        self.sender_rates
            .or_insert_with(user, || Bucket::new(limits::MESSAGES_PER_MINUTE, 60_000, now))
            .take(now)
    }

    /// Gives the next number and id.
    fn append(&mut self, room: RoomId, actor: &Actor, message: NewMessage, now: Timestamp) -> Stored {
        self.head += 1;
        self.count += 1;
        let mentions = self.mentioned(&message.content);
        if let Some(seat) = self.members.get_mut(&actor.id) {
            seat.own_seq = self.head;
            seat.delivered_seq = self.head;
        }
        let mut row = Stored {
            seq: self.head,
            id: self.ids.next(now),
            sender: Some(actor.id),
            client_id: message.client_id,
            nth: self.count,
            kind: message.kind,
            other_kind: None,
            content: message.content,
            reply_to: message.reply_to,
            metadata: message.metadata.map(|value| value.to_string()),
            mentions,
            created_at: now,
            edited_at: None,
            deleted_at: None,
            digest: [0; 16],
            reactions: Vec::new(),
            edit_seq: None,
            sent_digest: None,
            call: None,
        };
        row.digest = row.digest_in(room);
        row
    }

    /// What this very call was stored as, if the message came before.
    fn sent_by_call(&self, from: &ObjectId, call: CallKey) -> Option<&Stored> {
        self.recent_at(self.seq_by_call(from, call)?)
    }

    /// The message that this very call was about, if it came before: between objects it may come again.
    pub(super) fn seq_by_call(&self, from: &ObjectId, call: CallKey) -> Option<u64> {
        let call = call_name(from, call);
        self.once.iter().find(|(known, _)| *known == call).map(|(_, seq)| *seq)
    }

    /// Notes it, and says what is to be stored of it: Gateways never count two calls alike, in all their lives.
    pub(super) fn note_call(&mut self, from: &ObjectId, call: CallKey, seq: u64) -> Option<String> {
        if call == CallKey::NONE {
            return None;
        }
        let name = call_name(from, call);
        self.remember_call(name.clone(), seq);
        (from.kind == Kind::Gateway).then_some(name)
    }

    pub(super) fn remember_call(&mut self, call: String, seq: u64) {
        self.once.push_back((call, seq));
        if self.once.len() > limits::CALLS_REMEMBERED {
            self.once.pop_front();
        }
    }

    /// The member whose newest own message is not among the newest of the room any more, if there is one.
    fn remember(&mut self, row: Stored) -> Option<(UserId, u64)> {
        self.keys.insert(&row);
        self.recent.push_back(row);
        let gone = if self.recent.len() > RECENT { self.recent.pop_front() } else { None }?;
        self.floor = self.floor.max(gone.seq);
        let sender = gone.sender?;
        self.members.get(&sender).filter(|seat| seat.own_seq == gone.seq).map(|_| (sender, gone.seq))
    }
}

fn call_name(from: &ObjectId, call: CallKey) -> String {
    format!("{from}/{}", call.0)
}

impl Stored {
    /// What a repeat of `first` would be stored as, its own content apart.
    fn of(first: &Self, message: &NewMessage) -> Self {
        Self {
            reply_to: message.reply_to,
            metadata: message.metadata.as_ref().map(ToString::to_string),
            other_kind: None,
            ..first.clone()
        }
    }

    /// Whether this is what `actor` sent with the key of `message`.
    fn has_key_of(&self, actor: &Actor, message: &NewMessage) -> bool {
        self.sender == Some(actor.id) && self.client_id.is_some() && self.client_id == message.client_id
    }

    /// The word in storage.
    pub(crate) fn kind_word(&self) -> &'static str {
        match self.kind {
            MessageKind::Text => "text",
            MessageKind::Image => "image",
            MessageKind::File => "file",
            MessageKind::Voice => "voice",
            MessageKind::System => "system",
        }
    }

    /// Digest of everything that must not change unnoticed; each part is prefixed by its length.
    pub(super) fn digest_in(&self, room: RoomId) -> [u8; 16] {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(room.0.as_bytes());
        part(&self.seq.to_le_bytes());
        part(self.id.0.as_bytes());
        part(self.sender.as_ref().map_or(&[][..], |sender| sender.0.as_bytes()));
        part(self.other_kind.as_deref().unwrap_or(self.kind_word()).as_bytes());
        part(self.content.as_bytes());
        part(self.reply_to.as_ref().map_or(&[][..], |MessageId(id)| id.as_bytes()));
        part(self.metadata.as_deref().unwrap_or_default().as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        digest
    }

    /// Whether the row is as it was written.
    pub(super) fn is_intact(&self, room: RoomId) -> bool {
        self.digest_in(room) == self.digest
    }
}
