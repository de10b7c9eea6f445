//! Online or not, told to the gateways that watch (P1, P2).

use std::collections::BTreeMap;

use wire::Timestamp;

use super::{State, User};
use crate::limits;
use crate::object::{CallKey, Kind, ObjectId};
use crate::objects::{Location, Message};

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
}

impl Presence {
    pub(super) fn due(&self) -> Option<Timestamp> {
        [self.offline_at, self.tell_at].into_iter().flatten().min()
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
        let at = ready.presence.last_told.plus_ms(limits::PRESENCE_COALESCE_MS);
        if at <= now {
            self.tell_watchers(now);
        } else {
            ready.presence.tell_at = Some(at);
        }
    }

    fn tell_watchers(&mut self, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        ready.presence.tell_at = None;
        ready.presence.last_told = now;
        let (version, online) = (ready.presence.version, ready.presence.online);
        let told = Message::Presence { user: self.id, epoch: self.epoch, version, online };
        for gateway in ready.presence.watchers.keys() {
            self.fx.tell(ObjectId::new(Kind::Gateway, gateway.as_str()), told.clone());
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
        let known = ready.presence.watchers.entry(at.gateway).or_insert(at.epoch);
        *known = (*known).max(at.epoch);
        ready.presence.asking.push((from, call));
        self.answer_asking();
    }

    pub(super) fn unwatch(&mut self, from: &ObjectId, call: CallKey, at: &Location) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.presence.watchers.get(&at.gateway).is_some_and(|epoch| *epoch <= at.epoch) {
            ready.presence.watchers.remove(&at.gateway);
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
            let told = Message::Presence { user: self.id, epoch: self.epoch, version, online };
            self.fx.reply(&from, call, told);
        }
    }
}
