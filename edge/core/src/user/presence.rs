//! Online or not, and how the person chose to be seen: told to the gateways that watch (P1, P2, E-053).

use std::collections::BTreeMap;

use wire::{Timestamp, UserId};

use super::{State, User};
use crate::limits;
use crate::object::{CallKey, Kind, ObjectId};
use crate::objects::{Location, Message, PresenceState, Shown};
use crate::sql::{self, Row};

/// What watchers were told, and what they will be told.
#[derive(Debug)]
pub(super) struct Presence {
    /// There are sockets, or there were a moment ago.
    online: bool,
    chosen: PresenceState,
    /// Empty: none.
    text: String,
    /// When others saw the person online last; `None` while they do.
    last_seen: Option<Timestamp>,
    /// What others see in this `version`.
    shown: Shown,
    version: u64,
    /// What handlers were told, in which version of theirs, and when the next change may be written.
    projected: PresenceState,
    projected_version: u64,
    project_from: Timestamp,
    project_at: Option<Timestamp>,
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
        [self.offline_at, self.tell_at, self.project_at].into_iter().flatten().min()
    }

    /// What an earlier life stored that only slept: gateways that watch, and what they are told.
    /// After another end of it, everybody is offline until sockets are found, and what a person chose is left.
    pub(super) fn stored(watchers: Vec<(String, u64)>, row: Option<&Row>, any_socket: bool, slept: bool, now: Timestamp) -> Self {
        let number = |at: usize| row.and_then(|row| row.get(at)?.as_u64());
        let word = |at: usize| row.and_then(|row| row.get(at)?.as_str());
        let online = slept && number(0).unwrap_or_default() != 0;
        let projected = word(6).and_then(PresenceState::from_word).unwrap_or_default();
        let lost = !slept && projected != PresenceState::Offline;
        let mut presence = Self {
            online,
            chosen: word(3).and_then(PresenceState::from_word).unwrap_or(PresenceState::Online),
            text: word(4).unwrap_or_default().to_owned(),
            last_seen: number(5).map(Timestamp).or(lost.then_some(now)),
            shown: Shown::default(),
            version: 0,
            projected,
            projected_version: number(7).unwrap_or_default(),
            // Whoever comes back after a restart of the host was never gone for handlers.
            project_from: if lost { now.plus_ms(limits::PRESENCE_PROJECT_MS) } else { Timestamp(0) },
            project_at: None,
            offline_at: (online && !any_socket).then(|| number(2).map_or(now, Timestamp)),
            watchers: watchers.into_iter().collect(),
            asking: Vec::new(),
            last_told: Timestamp(0),
            tell_at: None,
            waits_for_audience: false,
            untold: slept && number(1).unwrap_or(1) == 0,
        };
        presence.shown = presence.visible();
        presence
    }

    /// What others see.
    fn visible(&self) -> Shown {
        if !self.online || self.chosen == PresenceState::Invisible {
            return Shown::plain(false, self.last_seen);
        }
        Shown { state: self.chosen, last_seen: None, text: Some(self.text.clone()).filter(|text| !text.is_empty()) }
    }

    fn told(&self, user: UserId, epoch: u64, audience: Option<Vec<UserId>>) -> Message {
        let online = self.shown.state != PresenceState::Offline;
        Message::Presence { user, epoch, version: self.version, online, shown: Some(self.shown.clone()), audience }
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
        self.watchers.is_empty() && self.offline_at.is_none() && self.asking.is_empty() && self.project_at.is_none()
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
        self.project_presence(now);
        self.answer_asking();
    }

    fn set_online(&mut self, online: bool, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.presence.online == online {
            return;
        }
        ready.presence.online = online;
        self.show(now, self.sleeps);
    }

    /// E-053: stored before anybody sees it.
    pub(super) fn set_presence(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        state: PresenceState,
        text: Option<String>,
        now: Timestamp,
    ) {
        let State::Ready(ready) = &mut self.state else { return };
        let text = text.unwrap_or_else(|| ready.presence.text.clone());
        if state.may_be_chosen() && (state, &text) != (ready.presence.chosen, &ready.presence.text) {
            (ready.presence.chosen, ready.presence.text) = (state, text);
            self.show(now, true);
        }
        self.fx.reply(from, call, Message::Done);
    }

    /// What others see may have changed: stores it, and tells handlers and watchers.
    fn show(&mut self, now: Timestamp, store: bool) {
        let State::Ready(ready) = &mut self.state else { return };
        let before = ready.presence.shown.state;
        let mut shown = ready.presence.visible();
        if shown.state != PresenceState::Offline {
            ready.presence.last_seen = None;
        } else if before != PresenceState::Offline {
            ready.presence.last_seen = Some(now);
            shown.last_seen = Some(now);
        }
        let changed = shown != ready.presence.shown;
        if changed {
            ready.presence.shown = shown;
            ready.presence.version += 1;
            ready.presence.untold = !ready.presence.watchers.is_empty();
        }
        if !self.project_presence(now) && store {
            self.persist_presence();
        }
        let State::Ready(ready) = &mut self.state else { return };
        if !changed {
            return;
        }
        let at = ready.presence.last_told.plus_ms(limits::PRESENCE_COALESCE_MS);
        if at <= now {
            self.tell_watchers(now);
        } else {
            ready.presence.tell_at = Some(at);
        }
    }

    /// A sleep must not forget it, nor a crash.
    fn store_presence(&mut self) {
        if self.sleeps {
            self.persist_presence();
        }
    }

    fn persist_presence(&mut self) {
        let State::Ready(ready) = &self.state else { return };
        let Presence { online, untold, offline_at, chosen, text, last_seen, projected, projected_version, .. } = &ready.presence;
        let row = sql::user::PresenceRow {
            online: *online,
            told: !untold,
            offline_at: *offline_at,
            state: chosen.word(),
            text,
            last_seen: *last_seen,
            shown: projected.word(),
            version: *projected_version,
        };
        self.fx.persist(vec![row.put(self.id)]);
    }

    /// What handlers read follows what others see, seldom enough that a flapping connection costs little. `true`: it was
    /// written, with everything else of the presence.
    fn project_presence(&mut self, now: Timestamp) -> bool {
        let State::Ready(ready) = &mut self.state else { return false };
        let presence = &mut ready.presence;
        presence.project_at = None;
        if presence.projected == presence.shown.state || (ready.sockets.verifying() && !ready.sockets.any()) {
            return false;
        }
        if now < presence.project_from {
            presence.project_at = Some(presence.project_from);
            return false;
        }
        presence.projected = presence.shown.state;
        presence.projected_version += 1;
        presence.project_from = now.plus_ms(limits::PRESENCE_PROJECT_MS);
        let (version, word, seen) = (presence.projected_version, presence.projected.word(), presence.shown.last_seen);
        self.persist_presence();
        let row = sql::projection::presence(self.id, version, word, seen);
        self.fx.project(format!("presence:{}", self.id), version, row, false);
        true
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
        // Who may see whom is mutual.
        let audience = if self.sleeps { ready.sees.clone() } else { None };
        let told = ready.presence.told(self.id, self.epoch, audience);
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
        self.project_presence(now);
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
        let told = ready.presence.told(self.id, self.epoch, None);
        for (from, call) in std::mem::take(&mut ready.presence.asking) {
            let told = told.clone();
            self.fx.reply(&from, call, told);
        }
    }
}
