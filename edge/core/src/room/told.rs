//! People who came or went: their Users learn it, and in conversations small enough for presence those of all members, for
//! presence and for the last event of those who went. Stored is up to where everybody knows, so that a crash between a change
//! and its telling is made good by the next life.

use wire::{RoomId, Timestamp, UserId};

use super::audience::Called;
use super::{Ready, Seat};
use crate::effects::Effects;
use crate::limits;
use crate::map::{Map, Set};
use crate::object::{CallError, Kind, ObjectId};
use crate::objects::{self, LiveEvent, Location, Message, Removal};
use crate::sql;

/// Whose Users do not know yet.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// `true`: somebody did not answer since it was told last.
    waiting: Map<UserId, bool>,
    again_at: Option<Timestamp>,
}

impl Telling {
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.again_at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Seat {
    /// Somebody who came or went at this seq or later.
    fn is_news(&self, told: u64) -> bool {
        self.joined_seq >= told || self.left_seq.is_some_and(|seq| seq + 1 >= told)
    }
}

impl Ready {
    /// What an earlier life may not have told. It is told once the projections are right, or after a while.
    pub(super) fn recall_untold(&mut self, now: Timestamp) {
        let told = self.meta.told;
        let news: Set<UserId> = self.members.iter().filter(|(_, seat)| seat.is_news(told)).map(|(user, _)| *user).collect();
        if !news.is_empty() {
            self.audience.newcomers = news.iter().filter(|user| self.member(**user).is_some()).copied().collect();
            let small = self.members().count() <= limits::PRESENCE_MEMBERS;
            let others = self.members().map(|(user, _)| *user).filter(|_| small);
            let waiting = news.iter().copied().chain(others).map(|user| (user, false)).collect();
            self.telling = Telling { waiting, again_at: Some(now.plus_ms(limits::TELL_AGAIN_MS)) };
        }
    }

    pub(super) fn tell_untold(&mut self, fx: &mut Effects, room: RoomId) {
        self.telling.again_at = None;
        for user in self.telling.waiting.keys().copied().collect::<Vec<UserId>>() {
            if !self.is_telling(user) {
                self.tell(fx, room, user);
            }
        }
    }

    pub(super) fn tell_again(&mut self, fx: &mut Effects, room: RoomId, now: Timestamp) {
        if self.telling.again_at.is_some_and(|at| at <= now) {
            self.tell_untold(fx, room);
        }
    }

    /// Tells the User of somebody who came or went, or of somebody who saw them.
    pub(super) fn tell(&mut self, fx: &mut Effects, room: RoomId, user: UserId) {
        self.telling.waiting.insert(user, false);
        let gone = self.member(user).is_none();
        let mut about: Vec<UserId> = Vec::new();
        if !gone {
            let told = self.meta.told;
            about.extend(self.members.iter().filter(|(_, seat)| !seat.is_member() && seat.is_news(told)).map(|(other, _)| *other));
        } else if self.members().count() <= limits::PRESENCE_MEMBERS {
            about.extend(self.members().map(|(other, _)| *other));
        }
        let call = fx.call(objects::user(user), Message::MembershipChanged { room, gone, about });
        self.calls.insert(call, Called::Told { user });
    }

    fn is_telling(&self, user: UserId) -> bool {
        self.calls.values().any(|called| matches!(called, Called::Told { user: of } | Called::Dismiss { user: of } if *of == user))
    }

    /// A User, or a gateway with its sockets, has answered.
    pub(super) fn told(
        &mut self,
        fx: &mut Effects,
        room: RoomId,
        user: UserId,
        result: Result<Message, CallError>,
        now: Timestamp,
    ) {
        match result {
            // In another life the gateway may have kept its sockets: their User says where they are now.
            result if !objects::is_taken(&result) || matches!(result, Ok(Message::Accepted { stale: true, .. })) => {
                if let Some(failed) = self.telling.waiting.get_mut(&user) {
                    *failed = true;
                }
                self.telling.again_at.get_or_insert(now.plus_ms(limits::TELL_AGAIN_MS));
            }
            Ok(Message::Moved { gateways, .. }) => self.dismiss(fx, room, user, &gateways),
            _ => {}
        }
        if self.is_telling(user) || self.telling.waiting.get(&user) != Some(&false) {
            return;
        }
        self.telling.waiting.remove(&user);
        if self.telling.is_empty() {
            self.meta.told = self.head + 1;
            fx.persist(vec![sql::room::set_told(room, self.meta.told)]);
        }
    }

    /// E-045 to somebody who went, unless he is back.
    fn dismiss(&mut self, fx: &mut Effects, room: RoomId, user: UserId, gateways: &[Location]) {
        let Some(seat) = self.members.get(&user).filter(|seat| !seat.is_member()) else { return };
        let reason = seat.left_reason.unwrap_or(Removal::Removed);
        for at in gateways {
            let (audience, users) = self.audience.without(&at.gateway, at.epoch);
            let live = vec![LiveEvent::Dismissed { user, reason }];
            let msg = Message::Deliver {
                room,
                epoch: at.epoch,
                audience,
                users: Some(users),
                head: self.head,
                durable: Vec::new(),
                live,
            };
            let call = fx.call(ObjectId::new(Kind::Gateway, at.gateway.as_str()), msg);
            self.calls.insert(call, Called::Dismiss { user });
        }
    }
}
