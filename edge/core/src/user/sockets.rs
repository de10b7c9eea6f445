//! The registrar: which gateways hold sockets of this user, as leases that gateways renew.

use std::collections::BTreeMap;

use wire::{RoomId, SessionId, Timestamp};

use super::{Called, Ready, State, User, session_over};
use crate::limits;
use crate::object::{CallError, CallKey, Kind, ObjectId, PersistError, Store};
use crate::objects::{self, Location, Message};
use crate::sql::{self, Rows, projection};

/// Sockets by gateway.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    at: BTreeMap<String, Held>,
    /// Rises with each change, for [`Message::Moved`].
    version: u64,
}

#[derive(Debug)]
struct Held {
    epoch: u64,
    sockets: u32,
    /// Sessions without a socket: the gateway is told of everything, but the user is not online by them.
    kept: u32,
    lease_until: Timestamp,
    /// Stored by an earlier life; the gateway was asked whether it is still true.
    verifying: bool,
}

impl Sockets {
    /// What an earlier life stored: to be verified, unless that life only slept; then no lease ends either.
    pub(super) fn stored(locations: Vec<(String, u64, bool)>, slept: bool, now: Timestamp) -> Self {
        let lease_until = lease(slept, now);
        let held = |epoch, live: bool| {
            let (sockets, kept) = if live { (1, 0) } else { (0, 1) };
            Held { epoch, sockets, kept, lease_until, verifying: !slept }
        };
        Self { at: locations.into_iter().map(|(gateway, epoch, live)| (gateway, held(epoch, live))).collect(), version: 1 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Whether any socket is known to live.
    pub(super) fn any(&self) -> bool {
        self.at.values().any(|held| !held.verifying && held.sockets > 0)
    }

    pub(super) fn verifying(&self) -> bool {
        self.at.values().any(|held| held.verifying)
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        self.at.values().map(|held| held.lease_until).min().filter(|until| *until < FOR_EVER)
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn locations(&self) -> Vec<Location> {
        self.at.iter().map(|(gateway, held)| Location { gateway: gateway.clone(), epoch: held.epoch }).collect()
    }
}

/// The end of no lease.
const FOR_EVER: Timestamp = Timestamp(u64::MAX);

/// Where gateways sleep nobody renews: they tell every end.
fn lease(sleeps: bool, now: Timestamp) -> Timestamp {
    if sleeps { FOR_EVER } else { now.plus_ms(limits::LEASE_MS) }
}

impl User {
    #[allow(clippy::too_many_arguments)] // the fields of one message
    pub(super) fn socket_up(
        &mut self,
        from: ObjectId,
        call: CallKey,
        at: Location,
        session: SessionId,
        version: u64,
        sockets: u32,
        now: Timestamp,
    ) {
        let State::Ready(ready) = &mut self.state else { return };
        if version < ready.min_version || ready.revoked.contains(&session) {
            return self.refuse(&from, call, session_over());
        }
        self.register(at, (sockets, 0), now);
        self.presence_changed(now, None);
        let State::Ready(ready) = &mut self.state else { return };
        match &ready.sees {
            Some(sees) => {
                let (sees, version) = (sees.clone(), (self.epoch, ready.sees_version));
                self.fx.reply(&from, call, Message::SocketAccepted { sees, version });
            }
            None => {
                ready.arriving.push((from, call));
                self.want_sees();
            }
        }
    }

    /// `held`: sockets and kept sessions.
    pub(super) fn renew(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        at: Location,
        held: (u32, u32),
        sees: (u64, u64),
        now: Timestamp,
    ) {
        if held != (0, 0) {
            self.register(at, held, now);
            self.presence_changed(now, None);
            self.renew_sees(from, sees);
        }
        self.fx.reply(from, call, Message::Done);
    }

    /// What a gateway knows of whom this person may see may be of an earlier life, or a word on the way was lost.
    fn renew_sees(&mut self, gateway: &ObjectId, known: (u64, u64)) {
        let State::Ready(ready) = &mut self.state else { return };
        let version = (self.epoch, ready.sees_version);
        match &ready.sees {
            Some(_) if known == version || ready.seeing.is_some() => {}
            Some(sees) => {
                let msg = Message::Sees { user: self.id, sees: sees.clone(), gone: Vec::new(), version };
                self.tell(gateway.clone(), msg, 1);
            }
            None => {
                ready.sees_moved = true;
                self.want_sees();
            }
        }
    }

    pub(super) fn socket_down(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        at: &Location,
        (sockets, kept): (u32, u32),
        clean: bool,
        now: Timestamp,
    ) {
        let State::Ready(ready) = &mut self.state else { return };
        if let Some(held) = ready.sockets.at.get_mut(&at.gateway)
            // A gateway in a later life speaks for the earlier one too.
            && held.epoch <= at.epoch
        {
            let before = std::mem::replace(&mut held.sockets, sockets);
            held.kept = kept;
            if sockets == 0 {
                if kept == 0 {
                    self.drop_location(&at.gateway);
                } else if before > 0 {
                    self.fx.persist(vec![sql::user::put_socket(self.id, &at.gateway, at.epoch, false)]);
                }
                // Offline since the last socket went, not since its session was given up.
                if before > 0 {
                    self.presence_changed(now, Some(clean));
                }
            }
        }
        self.fx.reply(from, call, Message::Done);
    }

    fn register(&mut self, at: Location, (sockets, kept): (u32, u32), now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        let known = ready.sockets.at.get(&at.gateway);
        if known.is_some_and(|held| held.epoch > at.epoch) {
            return;
        }
        let moved = known.is_none_or(|held| held.epoch != at.epoch);
        let live = sockets > 0;
        let stored = !moved && known.is_some_and(|held| (held.sockets > 0) == live);
        let lease_until = lease(self.sleeps, now);
        ready.sockets.at.insert(at.gateway.clone(), Held { epoch: at.epoch, sockets, kept, lease_until, verifying: false });
        if moved {
            ready.sockets.version += 1;
            self.tell_rooms();
        }
        if !stored {
            self.fx.persist(vec![sql::user::put_socket(self.id, &at.gateway, at.epoch, live)]);
        }
    }

    fn drop_location(&mut self, gateway: &str) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.sockets.at.remove(gateway).is_some() {
            ready.sockets.version += 1;
            if ready.sockets.is_empty() && !self.sleeps {
                ready.sees = None;
            }
            self.tell_rooms();
            self.fx.persist(vec![sql::user::delete_socket(self.id, gateway)]);
        }
    }

    /// Asks the gateways of an earlier life whether they still hold sockets.
    pub(super) fn verify_sockets(&mut self) {
        let State::Ready(ready) = &mut self.state else { return };
        for at in ready.sockets.locations() {
            let call = self.fx.call(ObjectId::new(Kind::Gateway, at.gateway.as_str()), Message::Verify { user: self.id });
            ready.calls.insert(call, Called::Verify { gateway: at.gateway, epoch: at.epoch });
        }
    }

    pub(super) fn verified(&mut self, gateway: &str, epoch: u64, result: Result<Message, CallError>, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        let Some(held) = ready.sockets.at.get_mut(gateway).filter(|held| held.verifying && held.epoch == epoch) else {
            return;
        };
        match result {
            Ok(Message::Present { epoch: life, sockets, kept }) if sockets + kept > 0 => {
                self.register(Location { gateway: gateway.to_owned(), epoch: life }, (sockets, kept), now);
                let State::Ready(ready) = &mut self.state else { return };
                if let Some(held) = ready.sockets.at.get_mut(gateway) {
                    held.verifying = false;
                }
                self.presence_changed(now, (sockets == 0).then_some(false));
            }
            Err(CallError::Lost | CallError::Overloaded) => {
                // Unknown: the lease decides, unless the gateway speaks before.
                held.verifying = false;
                held.lease_until = now.plus_ms(limits::SWEEP_MS);
                self.presence_changed(now, None);
            }
            _ => {
                self.drop_location(gateway);
                self.presence_changed(now, Some(false));
            }
        }
    }

    pub(super) fn expire_leases(&mut self, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        let over: Vec<String> =
            ready.sockets.at.iter().filter(|(_, held)| held.lease_until <= now).map(|(name, _)| name.clone()).collect();
        for gateway in over {
            self.drop_location(&gateway);
            self.presence_changed(now, Some(true));
        }
    }

    pub(super) fn locate(&mut self, from: &ObjectId, call: CallKey, room: RoomId) {
        let State::Ready(ready) = &mut self.state else { return };
        let new = ready.interested.insert(room);
        let moved = ready.moved(self.id, self.epoch);
        if new {
            self.remember(&objects::room(room), 0);
        }
        self.fx.reply(from, call, moved);
    }

    /// A Room that is not this person's any more need not be told.
    pub(super) fn membership_changed(&mut self, from: &ObjectId, call: CallKey, room: RoomId, gone: bool) {
        if gone {
            self.forget(&objects::room(room));
        }
        let State::Ready(ready) = &self.state else { return };
        let moved = ready.moved(self.id, self.epoch);
        self.fx.reply(from, call, moved);
    }

    fn tell_rooms(&mut self) {
        let State::Ready(ready) = &self.state else { return };
        let moved = ready.moved(self.id, self.epoch);
        for room in ready.interested.clone() {
            self.tell(objects::room(room), moved.clone(), 1);
        }
    }

    /// Sees to it that `sees` will be known.
    pub(super) fn want_sees(&mut self) {
        if let State::Ready(ready) = &self.state
            && ready.seeing.is_none()
        {
            self.query_sees();
        }
    }

    /// Asks the people database whom this person may see.
    pub(super) fn query_sees(&mut self) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.seeing.is_some() {
            ready.see_again = true;
            return;
        }
        (ready.see_again, ready.see_at) = (false, None);
        ready.seeing = Some(self.fx.load(Store::People, vec![projection::sees(self.id, limits::PRESENCE_MEMBERS)]));
    }

    /// Contacts, blocks or memberships changed, perhaps only about one person.
    pub(super) fn refresh_sees(&mut self, about: impl IntoIterator<Item = wire::UserId>) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.sockets.is_empty() {
            ready.sees = None;
        } else {
            // After a sleep or a crash nothing is left to compare with: the gateways do.
            ready.sees_moved |= ready.sees.is_none();
            // A gateway that slept has nothing to compare with either.
            ready.out_of_sight.extend(about);
            self.query_sees();
        }
    }

    pub(super) fn see_alarm(&mut self, now: Timestamp) {
        if let State::Ready(ready) = &mut self.state
            && ready.see_at.take_if(|at| *at <= now).is_some()
            && !(ready.sockets.is_empty() && ready.unseen.is_empty())
        {
            self.query_sees();
        }
    }

    pub(super) fn sees_loaded(&mut self, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        ready.seeing = None;
        if ready.see_again {
            return self.query_sees();
        }
        let arriving = std::mem::take(&mut ready.arriving);
        let Ok(rows) = result else {
            if !ready.sockets.is_empty() {
                (ready.sees_moved, ready.see_at) = (true, Some(now.plus_ms(limits::LOAD_AGAIN_MS)));
            }
            // A gateway that slept could not tell anybody.
            if ready.presence.forget_waiting() {
                self.tell_later(now);
            }
            // Presence is not worth refusing a socket for: it sees nobody until then.
            for (from, call) in arriving {
                self.fx.reply(&from, call, Message::SocketAccepted { sees: Vec::new(), version: (0, 0) });
            }
            return;
        };
        let found = rows.into_iter().flatten();
        let sees: Vec<_> = found.filter_map(|row| wire::UserId::parse(row.first()?.as_str()?)).collect();
        let moved = std::mem::take(&mut ready.sees_moved);
        let gone = std::mem::take(&mut ready.out_of_sight).into_iter().filter(|other| !sees.contains(other));
        let gone: Vec<_> = gone.collect();
        let changed = moved || ready.sees.as_ref().is_some_and(|known| *known != sees);
        ready.sees_version += u64::from(ready.sees.as_ref() != Some(&sees));
        let version = (self.epoch, ready.sees_version);
        ready.sees = Some(sees.clone());
        let told = if changed { ready.sockets.locations() } else { Vec::new() };
        for at in told {
            let to = ObjectId::new(Kind::Gateway, at.gateway.as_str());
            self.tell(to, Message::Sees { user: self.id, sees: sees.clone(), gone: gone.clone(), version }, 1);
        }
        let State::Ready(ready) = &mut self.state else { return };
        for (from, call) in std::mem::take(&mut ready.unseen) {
            self.fx.reply(&from, call, Message::Done);
        }
        for (from, call) in arriving {
            self.fx.reply(&from, call, Message::SocketAccepted { sees: sees.clone(), version });
        }
        self.tell_waiting_watchers();
    }
}

impl Ready {
    fn moved(&self, user: wire::UserId, epoch: u64) -> Message {
        Message::Moved { user, epoch, version: self.sockets.version, gateways: self.sockets.locations() }
    }
}
