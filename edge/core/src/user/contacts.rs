//! Contacts and blocks (R-08, R-09, G-03). Each person's object holds one side of a pair; a change of one side reaches the
//! other by outbox, numbered, so that repeats and crossings settle to the same state.

use wire::{ErrorCode, Timestamp, UserId};

use super::outbox::Settling;
use super::{State, User};
use crate::error::Failure;
use crate::map::Set;
use crate::object::{CallKey, Kind, ObjectId};
use crate::objects::{self, ContactAnswer, ContactChange, ContactNews, ContactStatus, Message, Profile};
use crate::sql::{self, Row, projection};

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
    #[allow(clippy::too_many_arguments)] // the fields of one message
    pub(super) fn contact_request(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        me: UserId,
        other: UserId,
        profile: Option<Profile>,
        now: Timestamp,
    ) {
        if me != self.id || other == self.id {
            return self.refuse(from, call, Failure::invalid("contactId", "One cannot be one's own contact"));
        }
        let contact = self.contact(other, now);
        let (status, change) = match contact.status {
            ContactStatus::None => (ContactStatus::Out, ContactChange::Asked),
            ContactStatus::In => (ContactStatus::Accepted, ContactChange::Accepted),
            ContactStatus::Blocked => return self.refuse(from, call, ErrorCode::Blocked),
            known => return self.fx.reply(from, call, Message::ContactIs { status: known, fresh: false }),
        };
        let told = self.change_contact(other, Contact { status, created_at: now, ..contact }, Some(change), profile, now);
        self.contact_is(other, if change == ContactChange::Asked { "pending" } else { "accepted" });
        self.answer_when_settled(from, call, Message::ContactIs { status, fresh: true }, told);
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
        let (status, change, word) = match (answer, contact.status) {
            (ContactAnswer::Accepted, ContactStatus::In) => (ContactStatus::Accepted, ContactChange::Accepted, "accepted"),
            (ContactAnswer::Declined, ContactStatus::In) => (ContactStatus::None, ContactChange::Gone, "declined"),
            (ContactAnswer::Blocked, ContactStatus::Blocked)
            | (ContactAnswer::Accepted, ContactStatus::Accepted)
            | (ContactAnswer::Removed, ContactStatus::None) => {
                return self.fx.reply(from, call, Message::ContactIs { status: contact.status, fresh: false });
            }
            (ContactAnswer::Blocked, _) => (ContactStatus::Blocked, ContactChange::Blocked, "blocked"),
            (ContactAnswer::Removed, ContactStatus::Blocked) => (ContactStatus::None, ContactChange::Unblocked, "none"),
            (ContactAnswer::Removed, _) => (ContactStatus::None, ContactChange::Gone, "none"),
            _ => return self.refuse(from, call, ErrorCode::NotFound),
        };
        let created_at = if status == ContactStatus::Blocked { now } else { contact.created_at };
        let told = self.change_contact(other, Contact { status, created_at, ..contact }, Some(change), None, now);
        self.contact_is(other, word);
        self.answer_when_settled(from, call, Message::ContactIs { status, fresh: true }, told);
    }

    /// The other side changed.
    #[allow(clippy::too_many_arguments)] // the fields of one message
    pub(super) fn contact_changed(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        other: UserId,
        change: ContactChange,
        version: u64,
        profile: Option<Profile>,
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
                (ContactChange::Unblocked, status) => {
                    contact.blocked_by = false;
                    // It was asked in vain, and may be asked again.
                    if status == ContactStatus::Out {
                        contact.status = ContactStatus::None;
                    }
                }
                _ => {}
            }
            let status = contact.status;
            self.change_contact(other, contact, echo, None, now);
            match (known.status, status) {
                (before, after) if before == after => {}
                (_, ContactStatus::In) => {
                    if let Some(by) = profile {
                        self.tell_sockets(ContactNews::Asked { by, at: now });
                    }
                }
                (_, ContactStatus::Accepted) => self.contact_is(other, "accepted"),
                // A block looks like what else it could be.
                (ContactStatus::Out, _) => self.contact_is(other, "declined"),
                _ => self.contact_is(other, "none"),
            }
        } else if version == known.other_version {
            self.project_contact(other, &known);
            self.refresh_sees(Some(other));
        }
        // The other side is answered when the gateways here are told: should this life end before, it says so again.
        if let State::Ready(ready) = &mut self.state
            && ready.seeing.is_some()
        {
            return ready.unseen.push((from.clone(), call));
        }
        self.fx.reply(from, call, Message::Done);
    }

    /// E-052.
    fn contact_is(&mut self, other: UserId, status: &str) {
        self.tell_sockets(ContactNews::Is { other, status: status.to_owned() });
    }

    /// Every device of this person.
    fn tell_sockets(&mut self, news: ContactNews) {
        let State::Ready(ready) = &self.state else { return };
        for at in ready.sockets.locations() {
            let to = ObjectId::new(Kind::Gateway, at.gateway.as_str());
            self.fx.tell(to, Message::ContactNews { user: self.id, news: news.clone() });
        }
    }

    fn answer_when_settled(&mut self, to: &ObjectId, call: CallKey, msg: Message, outbox: Set<u64>) {
        if let State::Ready(ready) = &mut self.state {
            ready.settling.push(Settling { to: to.clone(), call, msg, outbox });
        }
        self.settle();
    }

    /// The rooms must be told how this person is shown. The database knows already, and is asked when they are told.
    pub(super) fn person_changed(&mut self, from: &ObjectId, call: CallKey, now: Timestamp) {
        let mut rows = Vec::new();
        let id = self.outbox_row(objects::user(self.id), Message::PersonChanged, &mut rows);
        self.fx.persist(rows);
        self.outbox_send(now);
        self.answer_when_settled(from, call, Message::Done, id.into_iter().collect());
    }

    fn contact(&self, other: UserId, now: Timestamp) -> Contact {
        let State::Ready(ready) = &self.state else { return Contact::none(now) };
        ready.contacts.get(&other).cloned().unwrap_or_else(|| Contact::none(now))
    }

    /// Stores this side, projects it, and tells the other side of `change`, and a direct conversation of a block: their
    /// numbers in the outbox.
    fn change_contact(
        &mut self,
        other: UserId,
        mut contact: Contact,
        change: Option<ContactChange>,
        profile: Option<Profile>,
        now: Timestamp,
    ) -> Set<u64> {
        contact.version += 1;
        let mut rows = vec![sql::user::put_contact(
            self.id,
            other,
            status_word(contact.status),
            contact.blocked_by,
            contact.version,
            contact.other_version,
            contact.created_at,
        )];
        let mut told = Set::new();
        if let Some(change) = change {
            let msg = Message::ContactChanged { from: self.id, change, version: contact.version, profile };
            told.extend(self.outbox_row(objects::user(other), msg, &mut rows));
            if matches!(change, ContactChange::Blocked | ContactChange::Unblocked) {
                let msg = Message::Blocked { by: self.id, on: change == ContactChange::Blocked, version: contact.version };
                told.extend(self.outbox_row(objects::user(other), msg, &mut rows));
            }
        }
        self.fx.persist(rows);
        self.project_contact(other, &contact);
        if let State::Ready(ready) = &mut self.state {
            ready.contacts.insert(other, contact);
        }
        self.outbox_send(now);
        self.refresh_sees(Some(other));
        told
    }

    fn project_contact(&mut self, other: UserId, contact: &Contact) {
        let word = status_word(contact.status);
        let shown = projection::contact(self.id, other, contact.version, word, contact.created_at);
        self.fx.project(format!("contact:{}:{other}", self.id), contact.version, shown, true);
    }

    /// An earlier life may have ended before handlers and others could know of a change. Whatever was not projected is in
    /// the outbox still, and goes there only behind its projection.
    pub(super) fn project_untold(&mut self) {
        let State::Ready(ready) = &self.state else { return };
        let untold = ready.outbox.contacts_changed();
        let untold: Vec<(UserId, Contact)> =
            untold.filter_map(|other| Some((other, ready.contacts.get(&other)?.clone()))).collect();
        for (other, contact) in untold {
            self.project_contact(other, &contact);
        }
    }
}
