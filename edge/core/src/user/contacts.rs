//! Contacts and blocks. Each person's object holds one side of a pair; a change of one side reaches the
//! other by outbox, numbered, so that repeats and crossings settle to the same state.

use wire::{ErrorCode, Timestamp, UserId};

use super::outbox::Settling;
use super::{State, User};
use crate::error::Failure;
use crate::object::{CallKey, ObjectId, PersistError, Store};
use crate::objects::{self, ContactAnswer, ContactChange, ContactStatus, Message};
use crate::sql::{self, Row, Rows, projection};

/// One side of a pair.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Contact {
    status: ContactStatus,
    blocked_by: bool,
    version: u64,
    other_version: u64,
    created_at: Timestamp,
}

impl Contact {
    fn none(now: Timestamp) -> Self {
        Self { status: ContactStatus::None, blocked_by: false, version: 0, other_version: 0, created_at: now }
    }

    pub(super) fn from_row(row: &Row) -> Option<Self> {
        Some(Self {
            status: status_from(row.get(1)?.as_str()?)?,
            blocked_by: row.get(2)?.as_i64()? != 0,
            version: row.get(3)?.as_u64()?,
            other_version: row.get(4)?.as_u64()?,
            created_at: Timestamp(row.get(5)?.as_u64()?),
        })
    }
}

fn status_word(status: ContactStatus) -> &'static str {
    match status {
        ContactStatus::None => "none",
        ContactStatus::Out => "out",
        ContactStatus::In => "in",
        ContactStatus::Accepted => "accepted",
        ContactStatus::Blocked => "blocked",
    }
}

fn status_from(word: &str) -> Option<ContactStatus> {
    [ContactStatus::None, ContactStatus::Out, ContactStatus::In, ContactStatus::Accepted, ContactStatus::Blocked]
        .into_iter()
        .find(|status| status_word(*status) == word)
}

impl User {
    pub(super) fn contact_request(&mut self, from: &ObjectId, call: CallKey, me: UserId, other: UserId, now: Timestamp) {
        if me != self.id || other == self.id {
            return self.refuse(from, call, Failure::invalid("contactId", "One cannot be one's own contact"));
        }
        let contact = self.contact(other, now);
        let (status, change) = match contact.status {
            ContactStatus::None => (ContactStatus::Out, Some(ContactChange::Asked)),
            ContactStatus::In => (ContactStatus::Accepted, Some(ContactChange::Accepted)),
            ContactStatus::Blocked => return self.refuse(from, call, ErrorCode::Blocked),
            known => (known, None),
        };
        let told = change.and_then(|change| {
            self.change_contact(other, Contact { status, created_at: now, ..contact }, Some(change), now)
        });
        let msg = Message::ContactIs { status, fresh: change.is_some() };
        self.answer_when_settled(from, call, msg, told, None);
    }

    pub(super) fn contact_answer(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        me: UserId,
        other: UserId,
        answer: ContactAnswer,
        now: Timestamp,
    ) {
        if me != self.id || other == self.id {
            return self.refuse(from, call, Failure::invalid("contactId", "One cannot be one's own contact"));
        }
        let contact = self.contact(other, now);
        let (status, change) = match (answer, contact.status) {
            (ContactAnswer::Accepted, ContactStatus::In) => (ContactStatus::Accepted, ContactChange::Accepted),
            (ContactAnswer::Declined, ContactStatus::In) => (ContactStatus::None, ContactChange::Gone),
            (ContactAnswer::Accepted, ContactStatus::Accepted) | (ContactAnswer::Blocked, ContactStatus::Blocked) => {
                return self.fx.reply(from, call, Message::ContactIs { status: contact.status, fresh: false });
            }
            (ContactAnswer::Blocked, _) => (ContactStatus::Blocked, ContactChange::Blocked),
            _ => return self.refuse(from, call, ErrorCode::NotFound),
        };
        let told = self.change_contact(other, Contact { status, ..contact }, Some(change), now);
        let lookup = (answer == ContactAnswer::Blocked).then(|| self.tell_direct_room(other, true)).flatten();
        self.answer_when_settled(from, call, Message::ContactIs { status, fresh: true }, told, lookup);
    }

    /// The other side changed.
    pub(super) fn contact_changed(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        other: UserId,
        change: ContactChange,
        version: u64,
        now: Timestamp,
    ) {
        let known = self.contact(other, now);
        if other != self.id && version > known.other_version {
            let mut contact = Contact { other_version: version, ..known.clone() };
            let mut echo = None;
            match (change, known.status) {
                (ContactChange::Asked, ContactStatus::None) => {
                    contact.status = ContactStatus::In;
                    contact.created_at = now;
                }
                // Both asked at the same time: that is a yes.
                (ContactChange::Asked, ContactStatus::Out) => {
                    contact.status = ContactStatus::Accepted;
                    echo = Some(ContactChange::Accepted);
                }
                (ContactChange::Accepted, ContactStatus::Out | ContactStatus::In) => contact.status = ContactStatus::Accepted,
                (ContactChange::Gone, ContactStatus::Out | ContactStatus::In | ContactStatus::Accepted) => {
                    contact.status = ContactStatus::None;
                }
                (ContactChange::Blocked, status) => {
                    contact.blocked_by = true;
                    if status != ContactStatus::Blocked {
                        contact.status = ContactStatus::None;
                    }
                }
                (ContactChange::Unblocked, _) => contact.blocked_by = false,
                _ => {}
            }
            self.change_contact(other, contact, echo, now);
        }
        self.fx.reply(from, call, Message::Done);
    }

    fn answer_when_settled(&mut self, to: &ObjectId, call: CallKey, msg: Message, told: Option<u64>, lookup: Option<u64>) {
        if let State::Ready(ready) = &mut self.state {
            ready.settling.push(Settling { to: to.clone(), call, msg, outbox: told.into_iter().collect(), lookup });
        }
        self.settle();
    }

    fn contact(&self, other: UserId, now: Timestamp) -> Contact {
        let State::Ready(ready) = &self.state else { return Contact::none(now) };
        ready.contacts.get(&other).cloned().unwrap_or_else(|| Contact::none(now))
    }

    /// Stores this side, projects it, and tells the other side of `change`: its number in the outbox.
    fn change_contact(
        &mut self,
        other: UserId,
        mut contact: Contact,
        change: Option<ContactChange>,
        now: Timestamp,
    ) -> Option<u64> {
        contact.version += 1;
        let row = sql::user::put_contact(
            self.id,
            other,
            status_word(contact.status),
            contact.blocked_by,
            contact.version,
            contact.other_version,
            contact.created_at,
        );
        let told = change.and_then(|change| {
            let msg = Message::ContactChanged { from: self.id, change, version: contact.version };
            self.outbox_row(objects::user(other), msg)
        });
        let (told, outbox) = told.unzip();
        self.fx.persist(std::iter::once(row).chain(outbox).collect());
        let word = status_word(contact.status);
        let shown = projection::contact(self.id, other, contact.version, word, contact.created_at);
        self.fx.project(format!("contact:{}:{other}", self.id), contact.version, shown, true);
        if let State::Ready(ready) = &mut self.state {
            ready.contacts.insert(other, contact);
        }
        self.outbox_send(now);
        self.refresh_sees(Some(other));
        told
    }

    /// A direct conversation of the two must know of a block: it refuses sends.
    fn tell_direct_room(&mut self, other: UserId, on: bool) -> Option<u64> {
        let State::Ready(ready) = &mut self.state else { return None };
        let load = self.fx.load(Store::People, vec![projection::direct_room(self.id, other)]);
        ready.blocking.insert(load, on);
        Some(load)
    }

    pub(super) fn direct_room_found(
        &mut self,
        load: u64,
        result: Result<Vec<Rows>, PersistError>,
        on: bool,
        now: Timestamp,
    ) {
        let mut told = None;
        let found = result.ok().and_then(|rows| wire::RoomId::parse(rows.first()?.first()?.first()?.as_str()?));
        if let Some(room) = found
            && let Some((id, row)) = self.outbox_row(objects::room(room), Message::Blocked { by: self.id, on })
        {
            told = Some(id);
            self.fx.persist(vec![row]);
            self.outbox_send(now);
        }
        let State::Ready(ready) = &mut self.state else { return };
        for one in ready.settling.iter_mut().filter(|one| one.lookup == Some(load)) {
            one.lookup = None;
            one.outbox.extend(told);
        }
        self.settle();
    }
}
