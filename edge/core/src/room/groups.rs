//! Group life (G-04): who may change what, and what follows for the members.

use serde_json::{Value, json};
use wire::{ConversationType, ErrorCode, Member, MemberRole, RoomId, Timestamp, UserId};

use super::{Logged, Ready, Room, Seat, State};
use crate::error::Failure;
use crate::limits;
use crate::map::Set;
use crate::object::{CallKey, ObjectId};
use crate::objects::{GroupChange, Level, MemberAdded, MemberRemoved, Message, Numbered, Profile, Removal, RoomEvent, Updated};
use crate::sql::{self, Statement};

/// What a change comes to.
#[derive(Default)]
struct Work {
    rows: Vec<Statement>,
    events: Vec<Numbered>,
    /// Members whose rows change.
    seats: Set<UserId>,
    came: Set<UserId>,
    went: Set<UserId>,
}

impl Room {
    pub(super) fn group(&mut self, from: &ObjectId, call: CallKey, by: UserId, change: GroupChange, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.member(by).is_none() {
            return self.refuse(from, call, self.stranger(from, by));
        }
        if let Err(failure) = ready.may_change(by, &change) {
            return self.refuse(from, call, failure);
        }
        let quiet = matches!(change, GroupChange::Leave | GroupChange::Mine { .. });
        let before = ready.members().count();
        let mut work = Work::default();
        ready.apply(self.id, by, change, &mut work, now);
        let logged = !work.events.is_empty();
        self.commit(work, before, now);
        if logged {
            self.index_soon(now);
        }
        let State::Ready(ready) = &self.state else { return };
        let reply = if quiet { Message::Done } else { Message::View { conversation: ready.conversation(self.id, Some(by)) } };
        self.fx.reply(from, call, reply);
    }

    /// Stores, projects, and tells; the caller's answer follows behind.
    fn commit(&mut self, work: Work, before: usize, now: Timestamp) {
        let Work { mut rows, events, seats, came, went } = work;
        let State::Ready(ready) = &mut self.state else { return };
        let fx = &mut self.fx;
        let changed = seats.iter().filter_map(|user| Some(sql::room::put_member(self.id, *user, ready.members.get(user)?)));
        rows.extend(changed);
        if rows.is_empty() {
            return;
        }
        fx.persist(rows);
        if !events.is_empty() {
            ready.project_head(fx, self.id, true);
        }
        for user in &seats {
            ready.project_member(fx, self.id, *user, true);
        }
        for user in &went {
            ready.drop_member(fx, self.id, *user);
        }
        if !came.is_empty() {
            ready.welcome_later(fx, self.id, &came, now);
        }
        ready.deliver(fx, self.id, events, Vec::new());
        if came.is_empty() && went.is_empty() {
            return;
        }
        if before.min(ready.members().count()) <= limits::PRESENCE_MEMBERS {
            for user in ready.member_ids().iter().filter(|user| !came.contains(*user)) {
                ready.tell(fx, self.id, *user);
            }
        }
        for user in came.into_iter().chain(went) {
            ready.tell(fx, self.id, user);
        }
    }
}

fn rank(role: MemberRole) -> u8 {
    match role {
        MemberRole::Owner => 2,
        MemberRole::Admin => 1,
        MemberRole::Member => 0,
    }
}

impl Ready {
    /// `by` is a member.
    fn may_change(&self, by: UserId, change: &GroupChange) -> Result<(), Failure> {
        let denied = || Err(ErrorCode::PermissionDenied.into());
        let mine = self.member(by).map_or(0, |seat| rank(seat.role));
        let target = |user: &UserId| self.member(*user).ok_or(ErrorCode::UserNotFound);
        match change {
            GroupChange::Mine { .. } => Ok(()),
            _ if self.meta.kind == ConversationType::Direct => denied(),
            GroupChange::Leave => Ok(()),
            _ if mine == 0 => denied(),
            GroupChange::Update { .. } => Ok(()),
            GroupChange::Add { members } => {
                let more = members.iter().filter(|who| self.member(who.id).is_none()).count();
                match self.members().count() + more > limits::CONVERSATION_MEMBERS {
                    true => Err(Failure::invalid("userIds", "A group has at most 1,000 members")),
                    false => Ok(()),
                }
            }
            // Only owners make or unmake owners and admins, and nobody is removed by an equal below them.
            GroupChange::Remove { user } => match rank(target(user)?.role) < mine || mine == 2 || *user == by {
                true => Ok(()),
                false => denied(),
            },
            GroupChange::Role { user, role } => match target(user)?.role {
                known if known == *role => Ok(()),
                _ if mine < 2 => denied(),
                MemberRole::Owner if self.members().filter(|(_, seat)| seat.role == MemberRole::Owner).count() == 1 => {
                    Err(Failure::conflict("role", "A group has an owner: name another one first"))
                }
                _ => Ok(()),
            },
        }
    }

    fn apply(&mut self, room: RoomId, by: UserId, change: GroupChange, work: &mut Work, now: Timestamp) {
        match change {
            GroupChange::Update { name, no_avatar } => {
                let mut changes = serde_json::Map::new();
                if name.is_some() && name != self.meta.name {
                    changes.insert("name".to_owned(), json!(name));
                    self.meta.name = name;
                }
                if no_avatar && self.meta.avatar_url.take().is_some() {
                    changes.insert("avatar_url".to_owned(), Value::Null);
                }
                if !changes.is_empty() {
                    work.rows.push(sql::room::update_room(room, &self.meta));
                    self.note(room, by, updated(by, changes.into()), work, now);
                }
            }
            GroupChange::Add { members } => {
                for who in members {
                    if self.member(who.id).is_none() {
                        self.join_group(room, by, &who, work, now);
                    }
                }
            }
            GroupChange::Remove { user } if user != by => self.part(room, by, user, Removal::Removed, work, now),
            GroupChange::Remove { .. } | GroupChange::Leave => {
                let owns = |seat: &Seat| seat.role == MemberRole::Owner;
                let others = || self.members().filter(|(user, _)| **user != by);
                if self.member(by).is_some_and(owns) && !others().any(|(_, seat)| owns(seat)) {
                    let longest = |(user, seat): &(&UserId, &Seat)| (2 - rank(seat.role), seat.joined_seq, seat.joined_at, **user);
                    if let Some(heir) = others().min_by_key(longest).map(|(user, _)| *user) {
                        self.set_role(room, by, heir, MemberRole::Owner, work, now);
                    }
                }
                self.part(room, by, by, Removal::Left, work, now);
            }
            GroupChange::Role { user, role } => self.set_role(room, by, user, role, work, now),
            GroupChange::Mine { muted_until, level } => {
                let Some(seat) = self.members.get_mut(&by) else { return };
                let before = (seat.muted_until, seat.level);
                if let Some(until) = muted_until {
                    seat.muted_until = (until > now).then_some(until);
                }
                seat.level = level.unwrap_or(seat.level);
                if before != (seat.muted_until, seat.level) {
                    seat.changes += 1;
                    work.seats.insert(by);
                }
            }
        }
    }

    fn join_group(&mut self, room: RoomId, by: UserId, who: &Profile, work: &mut Work, now: Timestamp) {
        let fresh = Seat { joined_seq: self.head + 1, ..Seat::new(who, MemberRole::Member, now) };
        let seat = match self.members.get(&who.id) {
            Some(former) => Seat {
                delivered_seq: former.delivered_seq,
                read_seq: former.read_seq,
                own_seq: former.own_seq,
                changes: former.changes + 1,
                ..fresh
            },
            None => fresh,
        };
        let member = member_of(who.id, &seat);
        self.members.insert(who.id, seat);
        work.seats.insert(who.id);
        work.came.insert(who.id);
        self.note(room, by, RoomEvent::MemberAdded(MemberAdded { by, member }), work, now);
    }

    fn part(&mut self, room: RoomId, by: UserId, user: UserId, reason: Removal, work: &mut Work, now: Timestamp) {
        // The event of it is not for the one who goes.
        let last_seen = self.head;
        let Some(seat) = self.members.get_mut(&user) else { return };
        (seat.left_at, seat.left_seq, seat.left_reason) = (Some(now), Some(last_seen), Some(reason));
        seat.changes += 1;
        work.seats.insert(user);
        work.went.insert(user);
        self.note(room, by, RoomEvent::MemberRemoved(MemberRemoved { by, user_id: user, reason }), work, now);
    }

    /// Told as an update: the role of each whose role has changed.
    fn set_role(&mut self, room: RoomId, by: UserId, user: UserId, role: MemberRole, work: &mut Work, now: Timestamp) {
        let Some(seat) = self.members.get_mut(&user).filter(|seat| seat.role != role) else { return };
        seat.role = role;
        seat.changes += 1;
        work.seats.insert(user);
        self.note(room, by, updated(by, json!({"roles": {user.to_string(): role}})), work, now);
    }

    fn note(&mut self, room: RoomId, by: UserId, event: RoomEvent, work: &mut Work, now: Timestamp) {
        let data = serde_json::to_string(&event).unwrap_or_default();
        let logged = Logged { seq: 0, about: None, event: Some(event.clone()) };
        work.rows.push(self.log(room, by, logged, data, None, now));
        work.events.push(Numbered { seq: self.head, event });
    }
}

fn updated(by: UserId, changes: Value) -> RoomEvent {
    RoomEvent::Updated(Updated { by, changes })
}

impl Seat {
    /// Of somebody who comes now.
    pub(super) fn new(who: &Profile, role: MemberRole, now: Timestamp) -> Self {
        Self {
            role,
            username: who.username.clone(),
            display_name: who.display_name.clone(),
            avatar_url: who.avatar_url.clone(),
            status: who.status.clone(),
            joined_at: now,
            joined_seq: 0,
            left_at: None,
            left_seq: None,
            left_reason: None,
            delivered_seq: 0,
            read_seq: 0,
            read_at: None,
            blocks: false,
            blocks_version: 0,
            receipts: who.receipts,
            muted_until: None,
            level: Level::All,
            changes: 1,
            own_seq: 0,
        }
    }
}

/// A member as others see it.
pub(super) fn member_of(id: UserId, seat: &Seat) -> Member {
    Member {
        id,
        username: seat.username.clone(),
        display_name: seat.display_name.clone(),
        avatar_url: seat.avatar_url.clone(),
        status: seat.status.clone(),
        role: seat.role,
        joined_at: seat.joined_at,
        delivered_seq: seat.delivered_seq,
        read_seq: seat.read_seq,
    }
}
