//! Online or not, told to the gateways that watch (P1, P2).

use std::collections::BTreeMap;

use wire::Timestamp;

use super::{State, User};
use crate::limits;
use crate::object::{CallKey, Kind, ObjectId};
use crate::objects::{Location, Message};
use crate::sql::{self, Row};

/// What watchers were told, and what they will be told.
#[derive(Debug, Default)]
pub(super) struct Presence {
    online: bool,
    version: u64,
    /// No socket is left: offline at this time unless one comes back.
    offline_at: Option<Timestamp>,
    /// Gateways that watch, by name, with their life.
    watchers: BTreeMap<String, u64>,
    /// Watchers that wait until sockets of an earlier life are verified.
    asking: Vec<(ObjectId, CallKey)>,
    last_told: Timestamp,
    tell_at: Option<Timestamp>,
    /// Watchers are told as soon as it is known who may know.
    waits_for_audience: bool,
    /// Not every watcher has taken what they are told. Stored, where objects sleep.
    untold: bool,
}

impl Presence {
    pub(super) fn due(&self) -> Option<Timestamp> {
        [self.offline_at, self.tell_at].into_iter().flatten().min()
    }

    /// What an earlier life stored that only slept: gateways that watch, and what they are told.
    pub(super) fn stored(watchers: Vec<(String, u64)>, state: Option<&Row>, any_socket: bool, now: Timestamp) -> Self {
        let number = |at: usize| state.and_then(|row| row.get(at)?.as_u64());
        let online = number(0).unwrap_or_default() != 0;
        let offline_at = (online && !any_socket).then(|| number(2).map_or(now, Timestamp));
        let untold = number(1).unwrap_or(1) == 0;
        Self { online, offline_at, untold, watchers: watchers.into_iter().collect(), ..Self::default() }
    }

    /// Nobody is told for now. Answers whether watchers waited.
    pub(super) fn forget_waiting(&mut self) -> bool {
        std::mem::take(&mut self.waits_for_audience)
    }

    /// Watchers will be told.
    pub(super) fn waits(&self) -> bool {
        self.tell_at.is_some() || self.waits_for_audience
    }

    /// An earlier life ended before every watcher was told.
    pub(super) fn is_untold(&self) -> bool {
        self.untold
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn forget(&mut self, gateway: &str) -> bool {
        self.watchers.remove(gateway).is_some()
    }

    /// Nobody watches, nothing is about to change.
    pub(super) fn is_quiet(&self) -> bool {
        self.watchers.is_empty() && self.offline_at.is_none() && self.asking.is_empty()
    }
}

impl User {
    /// Sockets came or went; `lost` says how the last one went.
    pub(super) fn presence_changed(&mut self, now: Timestamp, lost: Option<bool>) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.sockets.any() {
            ready.presence.offline_at = None;
            self.set_online(true, now);
        } else if let Some(clean) = lost
            && !ready.sockets.verifying()
        {
            let grace = if clean { limits::CLEAN_CLOSE_MS } else { limits::RECONNECT_GRACE_MS };
            let at = now.plus_ms(grace);
            ready.presence.offline_at = ready.presence.online.then_some(at);
            self.store_presence();
        }
        self.answer_asking();
    }

    fn set_online(&mut self, online: bool, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.presence.online == online {
            return;
        }
        ready.presence.online = online;
        ready.presence.version += 1;
        ready.presence.untold = !ready.presence.watchers.is_empty();
        self.store_presence();
        let State::Ready(ready) = &mut self.state else { return };
        let at = ready.presence.last_told.plus_ms(limits::PRESENCE_COALESCE_MS);
        if at <= now {
            self.tell_watchers(now);
        } else {
            ready.presence.tell_at = Some(at);
        }
    }

    /// A sleep must not forget it, nor a crash.
    fn store_presence(&mut self) {
        if let State::Ready(ready) = &self.state
            && self.sleeps
        {
            let Presence { online, untold, offline_at, .. } = ready.presence;
            self.fx.persist(vec![sql::user::put_presence(self.id, online, !untold, offline_at)]);
        }
    }

    /// Every watcher has taken it.
    pub(super) fn all_told(&mut self) {
        if let State::Ready(ready) = &mut self.state
            && std::mem::take(&mut ready.presence.untold)
        {
            self.store_presence();
        }
    }

    /// Not everybody could be told: all of them are told again.
    pub(super) fn tell_later(&mut self, now: Timestamp) {
        if let State::Ready(ready) = &mut self.state {
            ready.presence.tell_at = Some(now.plus_ms(limits::TELL_AGAIN_MS));
        }
    }

    pub(super) fn tell_watchers(&mut self, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        ready.presence.tell_at = None;
        ready.presence.last_told = now;
        if ready.presence.watchers.is_empty() {
            return self.all_told();
        }
        ready.presence.waits_for_audience = true;
        if self.sleeps && ready.sees.is_none() {
            return self.want_sees();
        }
        self.tell_waiting_watchers();
    }

    /// Tells them, if they wait to be told.
    pub(super) fn tell_waiting_watchers(&mut self) {
        let State::Ready(ready) = &mut self.state else { return };
        if !std::mem::take(&mut ready.presence.waits_for_audience) {
            return;
        }
        let (version, online) = (ready.presence.version, ready.presence.online);
        // Who may see whom is mutual.
        let audience = if self.sleeps { ready.sees.clone() } else { None };
        let told = Message::Presence { user: self.id, epoch: self.epoch, version, online, audience };
        let watchers: Vec<ObjectId> =
            ready.presence.watchers.keys().map(|name| ObjectId::new(Kind::Gateway, name.as_str())).collect();
        for gateway in watchers {
            self.tell(gateway, told.clone(), 1);
        }
        let State::Ready(ready) = &mut self.state else { return };
        if ready.sockets.is_empty() {
            ready.sees = None;
        }
    }

    pub(super) fn presence_alarm(&mut self, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.presence.offline_at.is_some_and(|at| at <= now) {
            ready.presence.offline_at = None;
            self.set_online(false, now);
        }
        let State::Ready(ready) = &self.state else { return };
        if ready.presence.tell_at.is_some_and(|at| at <= now) {
            self.tell_watchers(now);
        }
    }

    pub(super) fn watch(&mut self, from: ObjectId, call: CallKey, at: Location) {
        let State::Ready(ready) = &mut self.state else { return };
        let before = ready.presence.watchers.get(&at.gateway).copied();
        ready.presence.asking.push((from, call));
        if before.is_none_or(|epoch| epoch < at.epoch) {
            let gateway = ObjectId::new(Kind::Gateway, at.gateway.as_str());
            ready.presence.watchers.insert(at.gateway, at.epoch);
            self.remember(&gateway, at.epoch);
        }
        self.answer_asking();
    }

    /// Answered like a watcher, once.
    pub(super) fn ask_presence(&mut self, from: ObjectId, call: CallKey) {
        if let State::Ready(ready) = &mut self.state {
            ready.presence.asking.push((from, call));
        }
        self.answer_asking();
    }

    pub(super) fn unwatch(&mut self, from: &ObjectId, call: CallKey, at: &Location) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.presence.watchers.get(&at.gateway).is_some_and(|epoch| *epoch <= at.epoch) {
            self.forget(&ObjectId::new(Kind::Gateway, at.gateway.as_str()));
        }
        self.fx.reply(from, call, Message::Done);
    }

    fn answer_asking(&mut self) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.sockets.verifying() && !ready.sockets.any() {
            return;
        }
        let (version, online) = (ready.presence.version, ready.presence.online);
        for (from, call) in std::mem::take(&mut ready.presence.asking) {
            let told = Message::Presence { user: self.id, epoch: self.epoch, version, online, audience: None };
            self.fx.reply(&from, call, told);
        }
    }
}
