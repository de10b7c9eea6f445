//! Creating a conversation. Idempotent by the room's id: the handler may repeat it after a crash.

use std::collections::{BTreeMap, VecDeque};

use wire::{ConversationType, MemberRole, Timestamp, UserId};

use super::{Meta, Ready, Room, Seat, State, not_visible};
use crate::limits;
use crate::object::{CallKey, ObjectId};
use crate::objects::{Message, Profile};
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
                return self.refuse(from, call, self.stranger(from, by));
            }
            // The life that made it may have died before its rows were projected.
            return self.made(from, call, by);
        }
        let creator_first = profiles.iter().filter(|who| who.id == by).chain(profiles.iter().filter(|who| who.id != by));
        let members: BTreeMap<UserId, Seat> =
            creator_first.take(limits::CONVERSATION_MEMBERS).map(|who| (who.id, Seat::new(who, role_of(who, kind, by), now))).collect();
        if !members.contains_key(&by) {
            return self.refuse(from, call, not_visible(from));
        }
        let meta = Meta { kind, name, avatar_url: None, created_by: Some(by), created_at: now, generation: 1, told: 0 };
        let rows = std::iter::once(sql::room::insert_room(self.id, &meta))
            .chain(members.iter().map(|(user, seat)| sql::room::put_member(self.id, *user, seat)))
            .collect();
        self.fx.persist(rows);
        let mut ready = Box::new(Ready::empty(meta, members, VecDeque::new(), self.id, self.seed));
        ready.recall_untold(now);
        ready.locate_all(&mut self.fx, self.id, self.settings.hibernates, now);
        self.state = State::Ready(ready);
        self.index_is(0);
        self.last_use = now;
        self.made(from, call, by);
        let State::Ready(ready) = &mut self.state else { return };
        ready.tell_untold(&mut self.fx, self.id);
    }

    /// Answers once the conversation is in everybody's list.
    fn made(&mut self, from: &ObjectId, call: CallKey, by: UserId) {
        let State::Ready(ready) = &mut self.state else { return };
        ready.project_head(&mut self.fx, self.id, false);
        let users: Vec<UserId> = ready.members.keys().copied().collect();
        for user in &users {
            ready.project_member(&mut self.fx, self.id, *user, false);
        }
        let conversation = ready.conversation(self.id, Some(by));
        self.fx.reply(from, call, Message::View { conversation });
    }
}

fn role_of(who: &Profile, kind: ConversationType, creator: UserId) -> MemberRole {
    let owns = kind == ConversationType::Group && who.id == creator;
    if owns { MemberRole::Owner } else { MemberRole::Member }
}
