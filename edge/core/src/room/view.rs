//! What people see of a conversation: messages with names and readers, members, the conversation itself.

use wire::{Conversation, Member, Message as WireMessage, RoomId, UserId};

use super::reactions::listed;
use super::{Ready, Room, Seat, State, Stored, not_visible};
use crate::effects::Effects;
use crate::limits;
use crate::object::{CallKey, ObjectId};
use crate::objects::{Marks, Message, seen_by};
use crate::sql::projection::{Head, MemberRow};

/// Readers listed with a message.
const READERS: usize = 100;

impl Room {
    /// E-002.
    pub(super) fn join(&mut self, from: &ObjectId, call: CallKey, user: UserId) {
        let State::Ready(ready) = &self.state else { return };
        let Some(seat) = ready.member(user) else { return self.refuse(from, call, not_visible(from)) };
        let joined = Message::Joined {
            seq: ready.head,
            read_seq: seat.read_seq,
            members: ready.member_list(),
            generation: ready.meta.generation,
        };
        self.fx.reply(from, call, joined);
    }

    /// G-21.
    pub(super) fn describe(&mut self, from: &ObjectId, call: CallKey, user: UserId) {
        let State::Ready(ready) = &self.state else { return };
        if ready.member(user).is_none() {
            return self.refuse(from, call, not_visible(from));
        }
        let conversation = ready.conversation(self.id);
        self.fx.reply(from, call, Message::View { conversation });
    }
}

impl Ready {
    pub(super) fn conversation(&self, room: RoomId) -> Conversation {
        Conversation {
            id: room,
            kind: self.meta.kind,
            name: self.meta.name.clone(),
            avatar_url: self.meta.avatar_url.clone(),
            created_by: self.meta.created_by,
            created_at: self.meta.created_at,
            seq: self.head,
            members: self.member_list(),
            last_message: None,
            unread_count: None,
            mention_count: 0,
            muted_until: None,
            active_call: None,
        }
    }

    fn member_list(&self) -> Vec<Member> {
        let mut members: Vec<(&UserId, &Seat)> = self.members().collect();
        members.sort_by_key(|(id, seat)| (seat.joined_seq, seat.joined_at, seat.role != wire::MemberRole::Owner, **id));
        members
            .into_iter()
            .map(|(id, seat)| Member {
                id: *id,
                username: seat.username.clone(),
                display_name: seat.display_name.clone(),
                avatar_url: seat.avatar_url.clone(),
                status: seat.status.clone(),
                role: seat.role,
                joined_at: seat.joined_at,
                delivered_seq: seat.delivered_seq,
                read_seq: seat.read_seq,
            })
            .collect()
    }

    /// Everybody's watermarks, in conversations small enough for it.
    pub(super) fn all_marks(&self) -> Vec<Marks> {
        if self.members().count() > limits::MARKS_MEMBERS {
            return Vec::new();
        }
        self.members()
            .map(|(user, seat)| Marks { user: *user, delivered_seq: seat.delivered_seq, read_seq: seat.read_seq })
            .collect()
    }

    /// The current row of a message (section 3 of the contract) as one person sees it; `None`: its reactions name
    /// everybody, and [`seen_by`] is due where it is known for whom it is.
    pub(super) fn render(&self, room: RoomId, row: &Stored, viewer: Option<UserId>) -> WireMessage {
        let sender = row.sender.and_then(|sender| self.members.get(&sender));
        let read_by = self
            .members()
            .filter(|(id, seat)| seat.read_seq >= row.seq && Some(**id) != row.sender)
            .map(|(id, _)| *id)
            .take(READERS)
            .collect();
        let mut reactions = listed(&row.reactions);
        if viewer.is_some() {
            seen_by(&mut reactions, viewer);
        }
        WireMessage {
            id: row.id,
            conversation_id: room,
            seq: row.seq,
            client_id: row.client_id.clone(),
            sender_id: row.sender,
            sender_username: sender.map(|seat| seat.username.clone()).unwrap_or_default(),
            sender_avatar_url: sender.and_then(|seat| seat.avatar_url.clone()),
            content: row.content.clone(),
            kind: row.kind,
            file_url: None,
            attachments: Vec::new(),
            reply_to: row.reply_to,
            reactions,
            read_by,
            created_at: row.created_at,
            edited_at: row.edited_at,
            deleted_at: row.deleted_at,
            metadata: row.metadata.as_deref().and_then(|json| serde_json::from_slice(json.as_bytes()).ok()),
        }
    }

    /// Writes the conversation's row of the people database.
    pub(super) fn project_head(&self, fx: &mut Effects, room: RoomId) {
        let last = self.recent.back();
        let head = Head {
            room,
            kind: self.meta.kind,
            name: self.meta.name.as_deref(),
            avatar_url: self.meta.avatar_url.as_deref(),
            created_by: self.meta.created_by,
            created_at: self.meta.created_at,
            generation: self.meta.generation,
            seq: self.head,
            message_count: self.count,
            last_sender: last.and_then(|row| row.sender),
            last_message: last.and_then(|row| serde_json::to_string(&self.render(room, row, None)).ok()),
            active_at: last.map_or(self.meta.created_at, |row| row.created_at),
        };
        // Who creates a conversation waits until it is listed; later heads may follow a little later.
        let fresh = self.head == 0;
        fx.project(format!("head:{room}"), self.head, head.upsert(), fresh);
    }

    /// Writes a member's row of the people database, once it is known how much the member has read.
    pub(super) fn project_member(&mut self, fx: &mut Effects, room: RoomId, user: UserId) {
        let Some(seat) = self.members.get(&user) else { return };
        let upto = seat.caught_up_to();
        match self.nth_at(upto) {
            Some(read_count) => self.project_member_with(fx, room, user, read_count),
            None => {
                let load = fx.load(crate::object::Store::Own, crate::sql::room::nth_at(room, &[upto]));
                self.reads.insert(load, super::Read::ReadCount { user });
            }
        }
    }

    pub(super) fn project_member_with(&self, fx: &mut Effects, room: RoomId, user: UserId, read_count: u64) {
        let Some(seat) = self.members.get(&user) else { return };
        let row = MemberRow {
            user,
            room,
            version: seat.version(),
            role: seat.role,
            joined_at: seat.joined_at,
            left_at: seat.left_at,
            delivered_seq: seat.delivered_seq,
            read_seq: seat.read_seq,
            read_count,
        };
        let fresh = row.version == seat.changes;
        fx.project(format!("member:{room}:{user}"), row.version, row.upsert(), fresh);
    }
}
