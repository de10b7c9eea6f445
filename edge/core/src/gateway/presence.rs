//! People with sockets here, whom they may see, and who of those is online, and how (E-010..E-013, E-054).
//!
//! A User is watched once, however many sockets here may see it. It answers its state and pushes changes; because a
//! User that was dropped from memory has forgotten who watches, the sweep asks again.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Timestamp, UserId};

use super::Gateway;
use super::calls::Called;
use super::conn::ConnId;
use super::deliver::Targets;
use crate::dialect::{Answer, ServerEvent};
use crate::error::Failure;
use crate::limits;
use crate::object::CallError;
use crate::objects::{self, Message, PresenceState, Shown};

/// Requests for the list of online people that may wait per user.
const WAITING_LISTS: usize = 16;

/// A person with sockets here.
#[derive(Debug, Default)]
pub(super) struct LocalUser {
    /// Authenticated connections, and sessions that wait to be recovered.
    pub(super) conns: Vec<ConnId>,
    /// So many of them are such sessions.
    pub(super) kept: u32,
    /// Connections that wait for the User's answer.
    verifying: Vec<ConnId>,
    /// Whom the person may see, sorted; not known after a sleep, until somebody asks.
    sees: Vec<UserId>,
    sees_known: bool,
    sees_version: (u64, u64),
    /// First answers of watched Users that are still to come.
    unknown: usize,
    /// Who asked for the list meanwhile.
    asking: Vec<(ConnId, Option<u64>)>,
}

/// A User that somebody here may see.
#[derive(Debug)]
pub(super) struct Watched {
    watchers: BTreeSet<UserId>,
    /// `None` until it has answered.
    shown: Option<Shown>,
    /// Life of the User and version within it.
    version: (u64, u64),
    asked_at: Timestamp,
    /// Watchers that wait for the first answer; `true`: to be told that it is online.
    waiting: Vec<(UserId, bool)>,
    asking: bool,
}

impl Gateway {
    /// Sockets of this user here, and sessions without one.
    pub(super) fn sockets_of(&self, user: UserId) -> (u32, u32) {
        self.users.get(&user).map_or((0, 0), |local| (local.sockets(), local.kept))
    }

    /// A connection of this user waits for the User's answer. Counts it already.
    pub(super) fn add_local(&mut self, id: ConnId, user: UserId) -> u32 {
        let local = self.users.entry(user).or_default();
        if !local.conns.contains(&id) && !local.verifying.contains(&id) {
            local.verifying.push(id);
        }
        local.sockets()
    }

    /// It is authenticated.
    pub(super) fn make_live(&mut self, id: ConnId, user: UserId) {
        let local = self.users.entry(user).or_default();
        local.verifying.retain(|conn| *conn != id);
        if !local.conns.contains(&id) {
            local.conns.push(id);
        }
    }

    /// The User has accepted a connection, and says whom it may see. It asks who is there; the others hear what is new.
    pub(super) fn sees_said(&mut self, user: UserId, sees: Vec<UserId>, version: (u64, u64), now: Timestamp) {
        let Some(local) = self.users.get(&user) else { return };
        // The User could not find out: whoever wants to know asks again.
        let unknown = sees.is_empty() && version == (0, 0);
        if unknown || (local.sees_known && is_older(version, local.sees_version)) {
            return;
        }
        self.set_sees(user, sees, version, local.sees_known, now);
    }

    /// It is gone.
    pub(super) fn remove_local(&mut self, id: ConnId, user: UserId) {
        let Some(local) = self.users.get_mut(&user) else { return };
        local.conns.retain(|conn| *conn != id);
        local.verifying.retain(|conn| *conn != id);
        local.forget_asking(id);
        if local.conns.is_empty()
            && local.verifying.is_empty()
            && let Some(local) = self.users.remove(&user)
        {
            for other in local.sees {
                self.unwatch(user, other);
            }
        }
    }

    /// Connections of this user that wait for the User's answer.
    pub(super) fn verifying_of(&self, user: UserId) -> Vec<ConnId> {
        self.users.get(&user).map(|local| local.verifying.clone()).unwrap_or_default()
    }

    /// Authenticated connections of this user.
    pub(super) fn conns_of(&self, user: UserId) -> Vec<ConnId> {
        self.users.get(&user).map(|local| local.conns.clone()).unwrap_or_default()
    }

    /// The User says that this has changed.
    pub(super) fn sees_changed(
        &mut self,
        user: UserId,
        sees: Vec<UserId>,
        gone: &[UserId],
        version: (u64, u64),
        now: Timestamp,
    ) {
        let Some(local) = self.users.get(&user) else { return };
        let known = local.sees_known;
        if known && is_older(version, local.sees_version) {
            return;
        }
        self.set_sees(user, sees, version, true, now);
        if !known {
            for other in gone {
                self.tell_presence(&[user], *other, true, &Shown::plain(false, Some(now)), now);
            }
        }
    }

    /// `announce`: tell the user's sockets of people that came into sight or left it.
    fn set_sees(&mut self, user: UserId, mut sees: Vec<UserId>, version: (u64, u64), announce: bool, now: Timestamp) {
        sees.sort_unstable();
        sees.dedup();
        sees.retain(|other| *other != user);
        let Some(local) = self.users.get_mut(&user) else { return };
        let before = std::mem::replace(&mut local.sees, sees.clone());
        (local.sees_known, local.sees_version) = (true, version);
        for other in sees.iter().filter(|other| before.binary_search(other).is_err()) {
            self.watch(user, *other, announce, now);
        }
        for other in before.iter().filter(|other| sees.binary_search(other).is_err()) {
            let online = self.watched.get(other).is_some_and(Watched::is_online);
            self.unwatch(user, *other);
            if online && announce {
                // As if the other had left.
                self.tell_presence(&[user], *other, true, &Shown::plain(false, Some(now)), now);
            }
        }
    }

    fn watch(&mut self, user: UserId, other: UserId, announce: bool, now: Timestamp) {
        let watched = self.watched.entry(other).or_insert_with(|| Watched {
            watchers: BTreeSet::new(),
            shown: None,
            version: (0, 0),
            asked_at: now,
            waiting: Vec::new(),
            asking: false,
        });
        let first = watched.watchers.is_empty();
        watched.watchers.insert(user);
        match watched.shown.clone() {
            Some(shown) if announce && is_online(&shown) => self.tell_presence(&[user], other, true, &shown, now),
            Some(_) => {}
            None => {
                if first || watched.asking {
                    watched.waiting.push((user, announce));
                    if let Some(local) = self.users.get_mut(&user) {
                        local.unknown += 1;
                    }
                }
                if first {
                    self.ask_presence(other, now);
                }
            }
        }
    }

    fn ask_presence(&mut self, other: UserId, now: Timestamp) {
        if let Some(watched) = self.watched.get_mut(&other) {
            watched.asking = true;
            watched.asked_at = now;
            let msg = Message::Watch { at: self.location() };
            self.call(objects::user(other), msg, Called::Watch { user: other }, now);
        }
    }

    fn unwatch(&mut self, user: UserId, other: UserId) {
        let Some(watched) = self.watched.get_mut(&other) else { return };
        watched.watchers.remove(&user);
        let before = watched.waiting.len();
        watched.waiting.retain(|(waiting, _)| *waiting != user);
        let resolved = before - watched.waiting.len();
        let last = watched.watchers.is_empty();
        if last {
            self.watched.remove(&other);
            let at = self.location();
            self.fx.tell(objects::user(other), Message::Unwatch { at });
        }
        if let Some(local) = self.users.get_mut(&user) {
            local.unknown = local.unknown.saturating_sub(resolved);
        }
    }

    /// The answer to [`Message::Watch`].
    pub(super) fn watch_answered(&mut self, other: UserId, result: Result<Message, CallError>, now: Timestamp) {
        let Some(watched) = self.watched.get_mut(&other) else { return };
        watched.asking = false;
        let waiting = std::mem::take(&mut watched.waiting);
        if let Ok(Message::Presence { epoch, version, online, shown, .. }) = result {
            let shown = shown.unwrap_or_else(|| Shown::plain(online, None));
            let silent: Vec<UserId> = waiting.iter().filter(|(_, announce)| !announce).map(|(user, _)| *user).collect();
            self.presence_is(other, (epoch, version), shown, &silent, now);
        }
        for (user, _) in waiting {
            let Some(local) = self.users.get_mut(&user) else { continue };
            local.unknown = local.unknown.saturating_sub(1);
            self.answer_asking(user, now);
        }
    }

    /// A User pushes its state; with `audience` to those of them that are here, whatever this gateway remembers. The
    /// answer says when nobody here needs to be told any more.
    pub(super) fn presence(
        &mut self,
        other: UserId,
        version: (u64, u64),
        shown: Shown,
        audience: Option<Vec<UserId>>,
        now: Timestamp,
    ) -> Message {
        let Some(audience) = audience else {
            self.presence_is(other, version, shown, &[], now);
            return Message::Done;
        };
        let here: Vec<UserId> = audience.into_iter().filter(|user| self.users.contains_key(user)).collect();
        let mut flips = true;
        match self.watched.get_mut(&other) {
            Some(watched) if watched.shown.is_some() && version < watched.version => return Message::Done,
            Some(watched) => {
                watched.version = version;
                let before = watched.shown.replace(shown.clone());
                if !is_news(before.as_ref(), &shown) {
                    return Message::Done;
                }
                flips = before.is_none_or(|before| is_online(&before) != is_online(&shown));
            }
            None if here.is_empty() => return Message::Unwatch { at: self.location() },
            None => {}
        }
        self.tell_presence(&here, other, flips, &shown, now);
        Message::Done
    }

    /// Tells watchers of a change; those in `silent` ask for the list themselves.
    fn presence_is(&mut self, other: UserId, version: (u64, u64), shown: Shown, silent: &[UserId], now: Timestamp) {
        let Some(watched) = self.watched.get_mut(&other) else { return };
        if watched.shown.is_some() && version < watched.version {
            return;
        }
        watched.version = version;
        let before = watched.shown.replace(shown.clone()).unwrap_or_default();
        if !is_news(Some(&before), &shown) {
            return;
        }
        let flips = is_online(&before) != is_online(&shown);
        let watchers: Vec<UserId> = watched.watchers.iter().filter(|user| !silent.contains(user)).copied().collect();
        self.tell_presence(&watchers, other, flips, &shown, now);
    }

    /// E-012 or E-013 when it `flips`, then E-054.
    fn tell_presence(&mut self, watchers: &[UserId], other: UserId, flips: bool, shown: &Shown, now: Timestamp) {
        if flips {
            self.tell_all(watchers, &ServerEvent::Presence { user: other, online: is_online(shown) }, now);
        }
        self.tell_all(watchers, &ServerEvent::PresenceState { user: other, shown }, now);
    }

    fn tell_all(&mut self, users: &[UserId], event: &ServerEvent<'_>, now: Timestamp) {
        let mut targets = Targets::of(&self.log, None);
        for user in users {
            for id in self.conns_of(*user) {
                let Some(dialect) = self.conns.live(id).map(|live| live.who.dialect) else { continue };
                if let Some(entry) = self.conns.entry(id) {
                    targets.add(dialect, entry, id);
                }
            }
        }
        self.send_to(targets, event, now);
    }

    /// E-010: answered when the first answers are in.
    pub(super) fn get_online(&mut self, id: ConnId, ack: Option<u64>, event: &str, now: Timestamp) {
        let Some(who) = self.conns.live(id).map(|live| live.who.clone()) else { return };
        let Some(local) = self.users.get_mut(&who.user) else { return };
        if !local.sees_known && local.asking.is_empty() {
            local.asking.push((id, ack));
            if let Some(live) = self.conns.live_mut(id) {
                live.registered = false;
            }
            return self.register(id, &who, now);
        }
        if local.unknown == 0 && local.sees_known {
            self.answer_online(id, ack);
        } else if local.asking.len() < WAITING_LISTS {
            local.asking.push((id, ack));
        } else {
            self.refuse(id, ack, event, &Failure::rate_limited(1_000));
        }
    }

    /// The list is known, or its first answers are under way: whoever asked meanwhile gets it.
    pub(super) fn answer_asking(&mut self, user: UserId, now: Timestamp) {
        let Some(local) = self.users.get_mut(&user).filter(|local| local.unknown == 0) else { return };
        for (conn, ack) in std::mem::take(&mut local.asking) {
            self.answer_online(conn, ack);
            self.settle(conn, now);
        }
    }

    /// The User could not be asked whom a socket may see that survived a sleep.
    pub(super) fn sees_not_answered(&mut self, id: ConnId, now: Timestamp) {
        let Some(live) = self.conns.live_mut(id) else { return };
        live.registered = true;
        let user = live.who.user;
        let asking = self.users.get_mut(&user).map(|local| std::mem::take(&mut local.asking)).unwrap_or_default();
        for (conn, ack) in asking {
            let failure = Failure { retry_after: Some(1), ..wire::ErrorCode::NodeUnavailable.into() };
            self.refuse(conn, ack, "presence:getOnline", &failure);
            self.settle(conn, now);
        }
    }

    /// E-011, and the acknowledgement if one is wanted.
    fn answer_online(&mut self, id: ConnId, ack: Option<u64>) {
        let Some(user) = self.conns.live(id).map(|live| live.who.user) else { return };
        let Some(local) = self.users.get(&user) else { return };
        let online = |other: &&UserId| self.watched.get(other).is_some_and(Watched::is_online);
        let users: Vec<UserId> = local.sees.iter().filter(online).copied().collect();
        self.emit(id, &ServerEvent::OnlineList { users: &users });
        self.answer(id, ack, &Answer::Online { users: &users });
    }

    /// Asks watched Users again that may have forgotten.
    pub(super) fn watch_again(&mut self, now: Timestamp) {
        // By a sweep within the lease: a User that forgot its watchers is seen to go by then (P1).
        let stale = limits::LEASE_MS - limits::SWEEP_MS - limits::SWEEP_MS / 2;
        self.watch_where(|watched| watched.shown.is_none() || now.since(watched.asked_at) >= stale, now);
    }

    /// Where Users store who watches: asks those again that did not answer.
    pub(super) fn watch_unanswered(&mut self, now: Timestamp) {
        self.watch_where(|watched| watched.shown.is_none(), now);
    }

    fn watch_where(&mut self, stale: impl Fn(&Watched) -> bool, now: Timestamp) {
        let ask = self.watched.iter().filter(|(_, watched)| !watched.asking && stale(watched));
        for other in ask.map(|(user, _)| *user).collect::<Vec<UserId>>() {
            self.ask_presence(other, now);
        }
    }
}

/// A User of the version before does not count its lists.
fn is_older(version: (u64, u64), known: (u64, u64)) -> bool {
    version < known && version.1 > 0
}

fn is_online(shown: &Shown) -> bool {
    shown.state != PresenceState::Offline
}

/// Whether watchers have to be told. How long somebody who is away was gone before is not.
fn is_news(before: Option<&Shown>, now: &Shown) -> bool {
    before.is_none_or(|before| before != now && (is_online(before) || is_online(now)))
}

impl Watched {
    fn is_online(&self) -> bool {
        self.shown.as_ref().is_some_and(is_online)
    }
}

impl LocalUser {
    pub(super) fn forget_asking(&mut self, id: ConnId) {
        self.asking.retain(|(conn, _)| *conn != id);
    }

    fn sockets(&self) -> u32 {
        u32::try_from(self.conns.len() + self.verifying.len()).unwrap_or(u32::MAX).saturating_sub(self.kept)
    }
}

/// For the sweep: sockets and kept sessions of a user here, and the version of whom it sees.
type Local = (UserId, (u32, u32), (u64, u64));

pub(super) fn with_sockets(users: &BTreeMap<UserId, LocalUser>) -> Vec<Local> {
    users.iter().map(|(user, local)| (*user, (local.sockets(), local.kept), local.sees_version)).collect()
}
