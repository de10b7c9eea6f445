//! Creating a conversation. Idempotent by the room's id: the handler may repeat it after a crash.

use std::collections::{BTreeMap, VecDeque};

use wire::{ConversationType, MemberRole, Timestamp, UserId};

use super::{Meta, Ready, Room, Seat, State, not_visible};
use crate::limits;
use crate::object::{CallKey, ObjectId};
use crate::objects::{self, Message, Profile};
use crate::sql;

impl Room {
    #[allow(clippy::too_many_arguments)] // the fields of one message
    pub(super) fn create(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        kind: ConversationType,
        name: Option<String>,
        by: UserId,
        profiles: Vec<Profile>,
        now: Timestamp,
    ) {
        if let State::Ready(ready) = &self.state {
            if ready.member(by).is_none() {
                return self.refuse(from, call, not_visible(from));
            }
            // The life that made it may have died before its rows were projected.
            return self.made(from, call);
        }
        let creator_first = profiles.iter().filter(|who| who.id == by).chain(profiles.iter().filter(|who| who.id != by));
        let members: BTreeMap<UserId, Seat> =
            creator_first.take(limits::CONVERSATION_MEMBERS).map(|who| (who.id, seat_of(who, kind, by, now))).collect();
        if !members.contains_key(&by) {
            return self.refuse(from, call, not_visible(from));
        }
        let meta = Meta { kind, name, avatar_url: None, created_by: Some(by), created_at: now, generation: 1 };
        let rows = std::iter::once(sql::room::insert_room(self.id, &meta))
            .chain(members.iter().map(|(user, seat)| sql::room::insert_member(self.id, *user, seat)))
            .collect();
        self.fx.persist(rows);
        let mut ready = Box::new(Ready::empty(meta, members, VecDeque::new(), self.id, self.seed));
        ready.locate_all(&mut self.fx, self.id, self.settings.hibernates, now);
        self.state = State::Ready(ready);
        self.index_is(0);
        self.last_use = now;
        self.made(from, call);
    }

    /// Answers once the conversation is in everybody's list.
    fn made(&mut self, from: &ObjectId, call: CallKey) {
        let State::Ready(ready) = &mut self.state else { return };
        ready.project_head(&mut self.fx, self.id);
        let users: Vec<UserId> = ready.members.keys().copied().collect();
        for user in &users {
            ready.project_member(&mut self.fx, self.id, *user);
        }
        let conversation = ready.conversation(self.id);
        self.fx.reply(from, call, Message::View { conversation });
        for user in users {
            self.fx.tell(objects::user(user), Message::MembershipChanged { room: self.id });
        }
    }
}

fn seat_of(who: &Profile, kind: ConversationType, creator: UserId, now: Timestamp) -> Seat {
    let owns = kind == ConversationType::Group && who.id == creator;
    Seat {
        role: if owns { MemberRole::Owner } else { MemberRole::Member },
        username: who.username.clone(),
        display_name: who.display_name.clone(),
        avatar_url: who.avatar_url.clone(),
        status: who.status.clone(),
        joined_at: now,
        joined_seq: 0,
        left_at: None,
        left_seq: None,
        delivered_seq: 0,
        read_seq: 0,
        blocks: false,
        changes: 1,
        own_seq: 0,
    }
}
