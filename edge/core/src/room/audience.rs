//! Who is where: the gateways that hold sockets of members, and the batches sent to them.

use wire::{RoomId, Timestamp, UserId};

use super::{Ready, Room, State};
use crate::effects::Effects;
use crate::limits;
use crate::map::{Map, Set};
use crate::object::{CallError, CallKey, Kind, ObjectId};
use crate::objects::{self, LiveEvent, Location, Message, Numbered};

/// Whereabouts of the members.
#[derive(Debug, Default)]
pub(super) struct Audience {
    places: Map<UserId, Place>,
    gateways: Map<String, There>,
    /// Members that were asked and did not answer yet.
    locating: Set<UserId>,
    /// Those whose answer did not come.
    unlocated: Set<UserId>,
    /// Right after a start events wait for the answers, so that nobody is forgotten.
    hold_until: Option<Timestamp>,
    held: (Vec<Numbered>, Vec<LiveEvent>),
    locate_at: Option<Timestamp>,
    /// Gateways that did not take a batch.
    behind: Set<String>,
    retry_at: Option<Timestamp>,
    /// Counts the changes of `gateways`; higher than in any earlier life.
    versions: u64,
    /// Newest life of a gateway that is known to be over.
    ended: Map<String, u64>,
    /// Members to whom the conversation is new (E-041), until it is known where they are.
    pub(super) newcomers: Set<UserId>,
}

#[derive(Debug)]
struct Place {
    epoch: u64,
    version: u64,
    gateways: Vec<Location>,
}

/// Members at one gateway.
#[derive(Debug)]
struct There {
    epoch: u64,
    users: Set<UserId>,
    /// Version of `users`.
    version: u64,
    /// The gateway was sent this version.
    told: bool,
    /// Batches that were not answered yet.
    under_way: u32,
    /// The gateway had forgotten its audience: what it did not take, and what has come since, goes there in one batch
    /// when nothing is under way any more. Else newer events would pass older ones.
    again: Option<(Vec<Numbered>, Vec<LiveEvent>)>,
}

/// A call of ours that is under way.
#[derive(Debug)]
pub(super) enum Called {
    Locate { user: UserId },
    /// `batch` is kept while the gateway may not know the audience.
    /// `created`: to whom it tells that the conversation is new.
    Deliver { gateway: String, epoch: u64, batch: Option<(Vec<Numbered>, Vec<LiveEvent>)>, created: Vec<UserId> },
    /// The User of somebody who came or went.
    Told { user: UserId },
    /// A gateway that is to tell somebody who went.
    Dismiss { user: UserId },
}

impl Room {
    pub(super) fn moved(&mut self, user: UserId, epoch: u64, version: u64, gateways: Vec<Location>) {
        if let State::Ready(ready) = &mut self.state {
            ready.moved(&mut self.fx, self.id, user, epoch, version, gateways);
        }
    }
}

impl Audience {
    pub(super) fn gateways_there(&self) -> usize {
        self.gateways.len()
    }

    /// When something here is due.
    pub(super) fn due(&self) -> Option<Timestamp> {
        [self.hold_until, self.locate_at, self.retry_at].into_iter().flatten().min()
    }

    fn leave(&mut self, user: UserId, gateway: &str) {
        if let Some(there) = self.gateways.get_mut(gateway)
            && there.users.remove(&user)
        {
            self.versions += 1;
            (there.version, there.told) = (self.versions, false);
            if there.users.is_empty() {
                self.gateways.remove(gateway);
                self.behind.remove(gateway);
            }
        }
    }

    /// The audience that is left at a gateway, and its version.
    pub(super) fn without(&mut self, gateway: &str, epoch: u64) -> (u64, Vec<UserId>) {
        match self.gateways.get(gateway).filter(|there| there.epoch == epoch) {
            Some(there) => (there.version, there.users.iter().copied().collect()),
            None => {
                self.versions += 1;
                (self.versions, Vec::new())
            }
        }
    }

    /// Notes that sockets of `user` are there.
    fn arrive(&mut self, user: UserId, at: &Location) -> Arrival {
        let mut arrival = Arrival::default();
        if self.ended.get(&at.gateway).is_some_and(|ended| at.epoch <= *ended) {
            return arrival;
        }
        self.versions += 1;
        let there = self.gateways.or_insert_with(at.gateway.clone(), || There {
            epoch: at.epoch,
            users: Set::new(),
            version: 0,
            told: false,
            under_way: 0,
            again: None,
        });
        if at.epoch < there.epoch {
            return arrival;
        }
        if at.epoch > there.epoch {
            arrival.restarted = true;
            arrival.lost = std::mem::take(&mut there.users);
            // Answers to its former life count no more, and who is left there pulls.
            (there.under_way, there.again) = (0, None);
            arrival.lost.remove(&user);
        }
        if there.users.insert(user) {
            arrival.new = true;
            (there.epoch, there.version, there.told) = (at.epoch, self.versions, false);
        }
        arrival
    }
}

impl There {
    fn wants(&self, event: &LiveEvent) -> bool {
        !matches!(event, LiveEvent::Created { users, .. } if users.iter().all(|user| !self.users.contains(user)))
    }
}

/// What changed when a member came to be known at a gateway.
#[derive(Debug, Default)]
struct Arrival {
    /// It was not known to be there.
    new: bool,
    /// The gateway is in another life than the one we knew.
    restarted: bool,
    /// Who was there in the life before: where they are now is not known.
    lost: Set<UserId>,
}

impl Ready {
    /// Asks every member's User where its sockets are.
    pub(super) fn locate_all(&mut self, fx: &mut Effects, room: RoomId, sleeps: bool, now: Timestamp) {
        let first = self.audience.places.is_empty();
        // Gateways keep the newest version they were told, by whichever life of this Room.
        self.audience.versions = self.audience.versions.max(fx.life());
        for user in self.member_ids() {
            self.locate(fx, room, user);
        }
        if first && !self.audience.locating.is_empty() {
            self.audience.hold_until = Some(now.plus_ms(limits::LOCATE_HOLD_MS));
        }
        // Where objects sleep, Users store who listens.
        self.audience.locate_at = (!sleeps).then(|| now.plus_ms(limits::LOCATE_EVERY_MS));
    }

    /// The conversation is new to `came`: everything waits until it is known where they are.
    pub(super) fn welcome_later(&mut self, fx: &mut Effects, room: RoomId, came: &Set<UserId>, now: Timestamp) {
        self.audience.hold_until.get_or_insert(now.plus_ms(limits::LOCATE_HOLD_MS));
        self.audience.newcomers.extend(came);
        for user in came {
            self.locate(fx, room, *user);
        }
    }

    /// E-041 for those newcomers whose sockets are known.
    fn welcome(&mut self, room: RoomId) -> Option<LiveEvent> {
        let audience = &self.audience;
        let located = |user: &&UserId| audience.places.contains_key(user) && !audience.locating.contains(user);
        let located: Vec<UserId> = audience.newcomers.iter().filter(located).copied().collect();
        self.audience.newcomers.retain(|user| !located.contains(user));
        let online = |user: &UserId| self.audience.places.get(user).is_some_and(|place| !place.gateways.is_empty());
        let users: Vec<UserId> = located.into_iter().filter(online).collect();
        if users.is_empty() {
            return None;
        }
        let mut conversation = self.conversation(room, None);
        conversation.members.truncate(limits::CREATED_MEMBERS);
        Some(LiveEvent::Created { users, conversation: Box::new(conversation) })
    }

    /// Somebody is no longer a member: nothing more goes to the sockets.
    pub(super) fn drop_member(&mut self, fx: &mut Effects, room: RoomId, user: UserId) {
        self.marks.forget(user);
        let audience = &mut self.audience;
        for gateway in audience.gateways.keys().cloned().collect::<Vec<String>>() {
            audience.leave(user, &gateway);
        }
        audience.places.remove(&user);
        audience.newcomers.remove(&user);
        audience.unlocated.remove(&user);
        if audience.locating.remove(&user) && audience.locating.is_empty() && audience.hold_until.is_some() {
            self.release_held(fx, room);
        }
    }

    fn locate(&mut self, fx: &mut Effects, room: RoomId, user: UserId) {
        if self.audience.locating.insert(user) {
            let call = fx.call(objects::user(user), Message::Locate { room });
            self.calls.insert(call, Called::Locate { user });
        }
    }

    /// A socket speaks that we do not know to be there: its User may have forgotten that we want to know.
    pub(super) fn noticed(&mut self, fx: &mut Effects, room: RoomId, from: &ObjectId, msg: &Message) {
        let user = match msg {
            Message::Join { user } | Message::Pull { user, .. } | Message::MarkRead { user, .. } | Message::Change { user, .. } => {
                *user
            }
            Message::Send { from, .. } | Message::Typing { from, .. } => from.id,
            _ => return,
        };
        let there = self.audience.gateways.get(&*from.name).is_some_and(|there| there.users.contains(&user));
        if from.kind == Kind::Gateway && !there && self.member(user).is_some() {
            self.locate(fx, room, user);
        }
    }

    fn moved(
        &mut self,
        fx: &mut Effects,
        room: RoomId,
        user: UserId,
        epoch: u64,
        version: u64,
        gateways: Vec<Location>,
    ) {
        if self.member(user).is_none() {
            return fx.tell(objects::user(user), Message::Forget { room });
        }
        // Whoever comes to be known here again (a lease that ran out, a late word of a closed socket) may have missed
        // something in between. Right after a start the events of that time are held instead.
        let late = self.audience.hold_until.is_none();
        self.audience.locating.remove(&user);
        self.audience.unlocated.remove(&user);
        let known = self.audience.places.get(&user);
        if known.is_none_or(|place| (place.epoch, place.version) <= (epoch, version)) {
            let before: Vec<String> = known.into_iter().flat_map(|place| &place.gateways).map(|at| at.gateway.clone()).collect();
            for gateway in before.iter().filter(|name| gateways.iter().all(|at| at.gateway != **name)) {
                self.audience.leave(user, gateway);
            }
            let mut lost = Vec::new();
            for at in &gateways {
                let arrival = self.audience.arrive(user, at);
                if arrival.restarted || (late && arrival.new) {
                    self.audience.behind.insert(at.gateway.clone());
                }
                lost.extend(arrival.lost.into_iter().map(|user| (user, at.gateway.clone())));
            }
            for (user, gateway) in lost {
                self.lose(fx, room, user, &gateway);
            }
            self.audience.places.insert(user, Place { epoch, version, gateways });
            self.announce_head(fx, room);
        }
        if self.audience.hold_until.is_none() {
            let created = self.welcome(room);
            self.deliver(fx, room, Vec::new(), created.into_iter().collect());
        } else if self.audience.locating.is_empty() {
            self.release_held(fx, room);
        }
    }

    /// Tells gateways that may have missed something how far the conversation is: whoever holds less pulls.
    fn announce_head(&mut self, fx: &mut Effects, room: RoomId) {
        for gateway in std::mem::take(&mut self.audience.behind) {
            self.deliver_to(fx, room, &gateway, Vec::new(), Vec::new(), true);
        }
    }

    fn release_held(&mut self, fx: &mut Effects, room: RoomId) {
        self.audience.hold_until = None;
        let (durable, mut live) = std::mem::take(&mut self.audience.held);
        live.extend(self.welcome(room));
        // An earlier life may have died between a commit and its delivery: without events they are told of the head.
        let anyway = durable.is_empty();
        self.deliver_all(fx, room, &durable, &live, anyway);
    }

    /// Events to every gateway that holds members.
    pub(super) fn deliver(&mut self, fx: &mut Effects, room: RoomId, durable: Vec<Numbered>, live: Vec<LiveEvent>) {
        let live = if self.is_hushed() { Vec::new() } else { live };
        if durable.is_empty() && live.is_empty() {
            return;
        }
        if self.audience.hold_until.is_some() {
            self.audience.held.0.extend(durable);
            self.audience.held.1.extend(live);
            return;
        }
        self.deliver_all(fx, room, &durable, &live, false);
    }

    fn deliver_all(&mut self, fx: &mut Effects, room: RoomId, durable: &[Numbered], live: &[LiveEvent], anyway: bool) {
        for name in self.audience.gateways.keys().cloned().collect::<Vec<String>>() {
            let Some(there) = self.audience.gateways.get(&name) else { continue };
            let live: Vec<LiveEvent> = live.iter().filter(|event| there.wants(event)).cloned().collect();
            if anyway || !(durable.is_empty() && live.is_empty()) {
                self.deliver_to(fx, room, &name, durable.to_vec(), live, anyway);
            }
        }
    }

    fn deliver_to(
        &mut self,
        fx: &mut Effects,
        room: RoomId,
        gateway: &str,
        durable: Vec<Numbered>,
        live: Vec<LiveEvent>,
        tell_users: bool,
    ) {
        let Some(there) = self.audience.gateways.get_mut(gateway) else { return };
        if let Some(again) = &mut there.again {
            again.0.extend(durable);
            again.1.extend(live);
            return;
        }
        there.under_way += 1;
        let users = (tell_users || !there.told).then(|| there.users.iter().copied().collect());
        there.told = true;
        let batch = users.is_none().then(|| (durable.clone(), live.clone()));
        let created = live.iter().flat_map(|event| if let LiveEvent::Created { users, .. } = event { &users[..] } else { &[] });
        let created = created.copied().filter(|user| there.users.contains(user)).collect();
        let msg = Message::Deliver {
            room,
            epoch: there.epoch,
            audience: there.version,
            users,
            head: self.head,
            durable,
            live,
        };
        let epoch = there.epoch;
        let call = fx.call(ObjectId::new(Kind::Gateway, gateway), msg);
        self.calls.insert(call, Called::Deliver { gateway: gateway.to_owned(), epoch, batch, created });
    }

    /// An answer to a call of ours.
    pub(super) fn replied(
        &mut self,
        fx: &mut Effects,
        room: RoomId,
        call: CallKey,
        result: Result<Message, CallError>,
        now: Timestamp,
    ) {
        match (self.calls.remove(&call), result) {
            (Some(Called::Locate { .. }), Ok(Message::Moved { user, epoch, version, gateways })) => {
                self.moved(fx, room, user, epoch, version, gateways);
            }
            (Some(Called::Locate { user }), _) => {
                self.audience.locating.remove(&user);
                self.audience.unlocated.insert(user);
                self.audience.locate_at.get_or_insert(now.plus_ms(limits::LOCATE_AGAIN_MS));
                if self.audience.hold_until.is_some() && self.audience.locating.is_empty() {
                    self.release_held(fx, room);
                }
            }
            (Some(Called::Told { user } | Called::Dismiss { user }), result) => self.told(fx, room, user, result, now),
            (Some(Called::Deliver { gateway, epoch, batch, created }), result) => {
                if matches!(result, Err(_) | Ok(Message::Accepted { stale: true, .. })) {
                    let created = created.into_iter().filter(|user| self.member(*user).is_some());
                    self.audience.newcomers.extend(created.collect::<Vec<UserId>>());
                }
                let there = self.audience.gateways.get_mut(&gateway).filter(|there| there.epoch == epoch);
                if let Some(there) = there {
                    there.under_way = there.under_way.saturating_sub(1);
                    if matches!(result, Ok(Message::Accepted { unknown_audience: true, .. })) {
                        let (durable, live) = batch.unwrap_or_default();
                        let again = there.again.get_or_insert_default();
                        again.0.extend(durable);
                        again.1.extend(live);
                    }
                }
                match result {
                    Ok(Message::Accepted { stale: true, .. }) => self.gone(fx, room, &gateway, epoch),
                    Err(_) => {
                        self.audience.behind.insert(gateway.clone());
                        self.audience.retry_at = Some(now.plus_ms(limits::DELIVER_RETRY_MS));
                    }
                    _ => {}
                }
                self.deliver_again(fx, room, &gateway);
            }
            _ => {}
        }
    }

    /// Repeats what a gateway without an audience did not take, in order.
    fn deliver_again(&mut self, fx: &mut Effects, room: RoomId, gateway: &str) {
        let Some(there) = self.audience.gateways.get_mut(gateway).filter(|there| there.under_way == 0) else { return };
        let Some((mut durable, live)) = there.again.take() else { return };
        durable.sort_by_key(|numbered| numbered.seq);
        durable.dedup_by_key(|numbered| numbered.seq);
        self.deliver_to(fx, room, gateway, durable, live, true);
    }

    /// The gateway is in another life: ask the Users again.
    fn gone(&mut self, fx: &mut Effects, room: RoomId, gateway: &str, epoch: u64) {
        let Some(there) = self.audience.gateways.get(gateway).filter(|there| there.epoch <= epoch) else { return };
        let users: Vec<UserId> = there.users.iter().copied().collect();
        self.audience.ended.insert(gateway.to_owned(), there.epoch);
        self.audience.gateways.remove(gateway);
        for user in users {
            self.lose(fx, room, user, gateway);
        }
    }

    /// A member is not where it was: asks its User.
    fn lose(&mut self, fx: &mut Effects, room: RoomId, user: UserId, gateway: &str) {
        if let Some(place) = self.audience.places.get_mut(&user) {
            place.gateways.retain(|at| at.gateway != gateway);
        }
        self.locate(fx, room, user);
    }

    pub(super) fn audience_alarm(&mut self, fx: &mut Effects, room: RoomId, sleeps: bool, now: Timestamp) {
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if due(self.audience.hold_until) {
            self.release_held(fx, room);
            if !self.audience.locating.is_empty() {
                // Should this life end before they answer, the next one asks again.
                self.audience.locate_at.get_or_insert(now.plus_ms(limits::LOCATE_EVERY_MS));
            }
        }
        if due(self.audience.retry_at) {
            self.audience.retry_at = None;
            self.announce_head(fx, room);
            let created = self.welcome(room);
            self.deliver(fx, room, Vec::new(), created.into_iter().collect());
        }
        if due(self.audience.locate_at) {
            self.audience.locate_at = None;
            let unlocated = std::mem::take(&mut self.audience.unlocated);
            if sleeps {
                unlocated.into_iter().for_each(|user| self.locate(fx, room, user));
                return;
            }
            self.audience.locating.clear();
            self.calls.retain(|_, called| !matches!(called, Called::Locate { .. }));
            self.locate_all(fx, room, false, now);
        }
    }

    /// The Users need not tell us any more.
    pub(super) fn goodbye(&mut self, fx: &mut Effects, room: RoomId) {
        for user in self.member_ids() {
            fx.tell(objects::user(user), Message::Forget { room });
        }
        self.said_goodbye = true;
    }
}
