//! User: where a person's sockets are, whether the person is online, contacts, and sessions that are over.
//!
//! It holds no socket (Gateways do) and no password (people database). It is the registrar: Rooms and Gateways ask it
//! and are told of changes.

mod contacts;
mod listeners;
mod load;
mod outbox;
mod presence;
mod sessions;
mod sockets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use wire::{ErrorCode, RoomId, SessionId, Timestamp, UserId};

use crate::effects::Effects;
use crate::error::Failure;
use crate::limits;
use crate::object::{CallError, CallKey, Input, Object, ObjectId, Output};
use crate::objects::{self, Message};
use crate::settings::Settings;

/// The User object.
#[derive(Debug)]
pub struct User {
    id: UserId,
    /// `Settings::hibernates`
    sleeps: bool,
    fx: Effects,
    epoch: u64,
    state: State,
    last_use: Timestamp,
    /// Storage was out of reach: where objects sleep, the alarm that woke this one is spent.
    load_again: Option<Timestamp>,
}

#[derive(Debug)]
enum State {
    New,
    /// Storage was asked; everything waits.
    Loading { load: u64, waiting: VecDeque<Input> },
    Ready(Box<Ready>),
}

#[derive(Debug)]
struct Ready {
    sockets: sockets::Sockets,
    presence: presence::Presence,
    /// Rooms that want to know where the sockets are.
    interested: BTreeSet<RoomId>,
    revoked: BTreeSet<SessionId>,
    min_version: u64,
    contacts: BTreeMap<UserId, contacts::Contact>,
    outbox: outbox::Outbox,
    calls: BTreeMap<CallKey, Called>,
    /// A query for whom this person may see is under way.
    seeing: Option<u64>,
    /// It must run again, because something changed meanwhile.
    see_again: bool,
    /// It failed, and is tried again then.
    see_at: Option<Timestamp>,
    /// Gateways are told what it finds, whether or not it is known to be new, and that these may not be seen any more.
    sees_moved: bool,
    out_of_sight: BTreeSet<UserId>,
    /// Whom this person may see, once it was asked for, and how often that changed in this life.
    sees: Option<Vec<UserId>>,
    sees_version: u64,
    /// Who changed it, and waits until gateways are told.
    unseen: Vec<(ObjectId, CallKey)>,
    /// New sockets that wait for it.
    arriving: Vec<(ObjectId, CallKey)>,
    /// Rooms being looked up, for this message of the outbox.
    lookups: BTreeMap<u64, u64>,
    /// Answers that wait until the other side knows.
    settling: Vec<outbox::Settling>,
}

/// A call of ours whose reply matters.
#[derive(Debug)]
enum Called {
    Verify { gateway: String, epoch: u64 },
    Outbox { id: u64 },
    Close { gateway: String, epoch: u64, msg: Message, tries: u32 },
    /// Where objects sleep: who does not listen any more says so.
    Told { listener: ObjectId, msg: Message, tries: u32 },
}

impl User {
    /// Before its `Started`.
    #[must_use]
    pub fn new(id: UserId, settings: Rc<Settings>) -> Self {
        Self {
            id,
            sleeps: settings.hibernates,
            fx: Effects::default(),
            epoch: 0,
            state: State::New,
            last_use: Timestamp(0),
            load_again: None,
        }
    }

    fn asked(&mut self, from: ObjectId, call: CallKey, msg: Message, now: Timestamp) {
        match msg {
            Message::SocketUp { at, session, version, sockets } => {
                self.socket_up(from, call, at, session, version, sockets, now);
            }
            Message::SocketDown { at, sockets, clean, kept } => {
                self.socket_down(&from, call, &at, (sockets, kept), clean, now);
            }
            Message::Renew { at, sockets, kept, sees } => self.renew(&from, call, at, (sockets, kept), sees, now),
            Message::SetPresence { state, text } => self.set_presence(&from, call, state, text, now),
            Message::Watch { at } => self.watch(from, call, at),
            Message::Unwatch { at } => self.unwatch(&from, call, &at),
            Message::Locate { room } => self.locate(&from, call, room),
            Message::Forget { room } => self.forget(&objects::room(room)),
            Message::MembershipChanged { room, gone, about } => {
                self.refresh_sees(about);
                self.membership_changed(&from, call, room, gone);
            }
            Message::Revoke { sessions, version, reason } => self.revoke(&from, call, sessions, version, &reason, now),
            Message::ContactRequest { me, other, profile } => {
                self.contact_request(&from, call, me.id, other, profile, now);
            }
            Message::ContactAnswer { me, other, answer } => self.contact_answer(&from, call, me.id, other, answer, now),
            Message::ContactChanged { from: other, change, version, profile } => {
                self.contact_changed(&from, call, other, change, version, profile, now);
            }
            Message::PersonChanged => self.person_changed(&from, call, now),
            Message::AskPresence { .. } => self.ask_presence(from, call),
            _ => self.fx.reply(&from, call, Message::Done),
        }
    }

    fn replied(&mut self, call: CallKey, result: Result<Message, CallError>, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        match ready.calls.remove(&call) {
            Some(Called::Verify { gateway, epoch }) => self.verified(&gateway, epoch, result, now),
            Some(Called::Outbox { id }) => self.outbox_replied(id, &result, now),
            Some(Called::Told { listener, msg, tries }) => self.told(listener, msg, tries, result, now),
            Some(Called::Close { gateway, epoch, msg, tries }) if result.is_err() => {
                self.close_again(&gateway, epoch, msg, tries);
            }
            _ => {}
        }
    }

    fn refuse(&mut self, to: &ObjectId, call: CallKey, failure: impl Into<Failure>) {
        self.fx.reply(to, call, Message::Refused { failure: failure.into() });
    }
}

impl Object for User {
    fn handle(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Started { epoch, .. } => {
                self.fx = Effects::new(epoch);
                self.epoch = epoch;
                self.state = State::New;
                self.last_use = now;
                self.load_again = None;
                // Sockets stored by an earlier life are verified at once: nobody stays online for ever (P1).
                let load = self.begin_load();
                self.state = State::Loading { load, waiting: VecDeque::new() };
                return;
            }
            Input::Persisted { .. } => return self.fx.persisted(),
            Input::Loaded { load, result } => return self.loaded(load, result, now),
            Input::Alarm => return self.alarm(now),
            Input::Object { .. } | Input::Reply { .. } => {}
            _ => return,
        }
        self.last_use = now;
        match &mut self.state {
            State::New => {
                let load = self.begin_load();
                self.state = State::Loading { load, waiting: VecDeque::from([input]) };
            }
            State::Loading { waiting, .. } => waiting.push_back(input),
            State::Ready(_) => match input {
                Input::Object { from, call, msg } => self.asked(from, call, msg, now),
                Input::Reply { call, result } => self.replied(call, result, now),
                _ => {}
            },
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.fx.pop()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let idle_at = (!self.sleeps).then(|| self.last_use.plus_ms(limits::IDLE_MS));
        match &self.state {
            State::New => idle_at.or(self.load_again),
            State::Loading { .. } => None,
            State::Ready(ready) => {
                let idle_at = idle_at.filter(|_| ready.nobody_cares());
                [idle_at, ready.presence.due(), ready.sockets.due(), ready.outbox.due(), ready.see_at].into_iter().flatten().min()
            }
        }
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        now.since(self.last_use) >= limits::IDLE_MS
            && match &self.state {
                State::New => true,
                State::Loading { .. } => false,
                State::Ready(ready) => ready.nobody_cares() && ready.nothing_under_way() && self.fx.settled(),
            }
    }
}

impl User {
    fn alarm(&mut self, now: Timestamp) {
        if matches!(self.state, State::New) && self.load_again.take_if(|at| *at <= now).is_some() {
            let load = self.begin_load();
            self.state = State::Loading { load, waiting: VecDeque::new() };
        }
        self.expire_leases(now);
        self.presence_alarm(now);
        self.outbox_alarm(now);
        self.see_alarm(now);
        if let State::Ready(ready) = &self.state
            && now.since(self.last_use) >= limits::IDLE_MS
            && !(ready.nothing_under_way() && self.fx.settled())
        {
            // Something is still under way: ask again later.
            self.last_use = Timestamp(now.0.saturating_sub(limits::IDLE_MS - limits::ABSENT_IDLE_MS));
        }
    }
}

impl Ready {
    /// Nobody would notice if this object were dropped from memory.
    fn nobody_cares(&self) -> bool {
        self.sockets.is_empty() && self.presence.is_quiet() && self.interested.is_empty()
    }

    fn nothing_under_way(&self) -> bool {
        self.outbox.is_empty() && self.seeing.is_none() && self.arriving.is_empty() && self.unseen.is_empty()
    }
}

/// Why a session may not open a socket.
fn session_over() -> Failure {
    Failure::new(ErrorCode::Unauthorized)
}

#[cfg(test)]
mod tests;
