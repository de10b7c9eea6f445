//! Where gateways sleep (`Settings::hibernates`): Users are told once of sockets here and nobody renews. Who was told is
//! stored, so that sockets lost with the host, or while the gateway slept, are reported by its next life.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Timestamp, UserId};

use super::Gateway;
use super::calls::Called;
use crate::object::{CallError, PersistError, SocketId, Store};
use crate::objects::{self, Message};
use crate::sql::{self, Rows};

/// Users that were told of sockets here.
#[derive(Debug, Default)]
pub(super) struct Told {
    load: Option<u64>,
    stored: BTreeSet<UserId>,
    /// Their sockets are gone, and the User could not be told yet: the sweep tries again.
    pub(super) leaving: BTreeSet<UserId>,
    /// The newest SocketDown of each that was not answered: what an older one is answered says nothing.
    telling: BTreeMap<UserId, u64>,
    rounds: u64,
}

impl Told {
    pub(super) fn is_load(&self, load: u64) -> bool {
        self.load == Some(load)
    }
}

impl Gateway {
    /// Begins a life: reads who was told.
    pub(super) fn load_told(&mut self) {
        if self.settings.hibernates && !self.is_test() {
            self.told.load = Some(self.fx.load(Store::Own, vec![sql::gateway::users()]));
        }
    }

    /// Users of the life before without a socket now have lost it.
    pub(super) fn told_loaded(&mut self, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        self.told.load = None;
        let rows = result.unwrap_or_default().into_iter().flatten();
        for user in rows.filter_map(|row| UserId::parse(row.first()?.as_str()?)) {
            self.told.stored.insert(user);
            if self.sockets_of(user).0 == 0 {
                self.tell_down(user, false, now);
            }
        }
    }

    /// The User is about to be told of a socket.
    pub(super) fn will_tell(&mut self, user: UserId) {
        self.told.leaving.remove(&user);
        self.told.telling.remove(&user);
        if self.settings.hibernates && self.told.stored.insert(user) {
            self.fx.persist(vec![sql::gateway::put_user(user)]);
        }
    }

    /// The user has no socket here any more.
    pub(super) fn tell_down(&mut self, user: UserId, clean: bool, now: Timestamp) {
        let (_, kept) = self.sockets_of(user);
        let msg = Message::SocketDown { at: self.location(), sockets: 0, clean, kept };
        self.told.leaving.remove(&user);
        self.told.rounds += 1;
        let round = self.told.rounds;
        self.told.telling.insert(user, round);
        self.call(objects::user(user), msg, Called::Down { user, round }, now);
    }

    pub(super) fn down_answered(&mut self, user: UserId, round: u64, result: &Result<Message, CallError>, now: Timestamp) {
        if self.told.telling.get(&user) != Some(&round) {
            return;
        }
        self.told.telling.remove(&user);
        // A User that could not load refuses: it has not noted anything.
        if !matches!(result, Ok(Message::Done)) {
            self.told.leaving.insert(user);
            self.sweep_at.get_or_insert(self.config.round_up_to_sweep(now.plus_ms(1)));
            return;
        }
        self.told.leaving.remove(&user);
        // While sessions are kept the User has this gateway noted.
        if self.sockets_of(user).1 == 0 && self.told.stored.remove(&user) {
            self.fx.persist(vec![sql::gateway::delete_user(user)]);
        }
    }

    pub(super) fn tell_down_again(&mut self, now: Timestamp) {
        for user in std::mem::take(&mut self.told.leaving) {
            self.tell_down(user, false, now);
        }
    }

    /// The host answered a heartbeat while this object slept.
    pub(super) fn heard(&mut self, socket: SocketId, at: Timestamp) {
        if let Some(conn) = self.sockets.get(&socket).and_then(|id| self.conns.get_mut(*id)) {
            conn.session.on_heard(at);
        }
    }

    /// An alarm ended the sleep: the one of the sweep, or one that the sweep may follow as well.
    pub(super) fn woken_for_sweep(&mut self, now: Timestamp) {
        if self.config.sweep_ms == 0 {
            return;
        }
        for id in self.conns.ids() {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.session.sweep_now(now);
            }
            if let Some(entry) = self.conns.entry(id) {
                entry.armed = Some(now);
            }
            self.wheel.entry(now).or_default().push(id);
        }
    }
}
