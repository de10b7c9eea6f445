//! What people see of a conversation: messages with names and readers, members, the conversation itself.

use serde_json::{Value, json};
use wire::{Conversation, Member, Message as WireMessage, RoomId, UserId};

use super::reactions::listed;
use super::groups::member_of;
use super::{Ready, Room, Seat, State, Stored};
use crate::effects::Effects;
use crate::limits;
use crate::object::{CallKey, ObjectId};
use crate::objects::{Marks, Message, Profile, seen_by};
use crate::sql::projection::{Head, MemberRow};

/// Readers listed with a message.
const READERS: usize = 100;

impl Room {
    /// E-002.
    pub(super) fn join(&mut self, from: &ObjectId, call: CallKey, user: UserId) {
        let State::Ready(ready) = &self.state else { return };
        let Some(seat) = ready.member(user) else { return self.refuse(from, call, self.stranger(from, user)) };
        let members = ready.members_for(Some(user));
        let joined = Message::Joined {
            seq: ready.head,
            read_seq: seat.read_seq,
            members,
            generation: ready.meta.generation,
        };
        self.fx.reply(from, call, joined);
    }

    /// A person is shown differently from now on. Who has left keeps a seat, because messages show its name.
    pub(super) fn person_is(&mut self, from: &ObjectId, call: CallKey, profile: Profile) {
        if let State::Ready(ready) = &mut self.state
            && let Some(seat) = ready.members.get_mut(&profile.id)
            && !seat.shows(&profile)
        {
            seat.receipts = profile.receipts;
            self.fx.persist(vec![crate::sql::room::set_profile(self.id, &profile, seat.flags())]);
            seat.username = profile.username;
            seat.display_name = profile.display_name;
            seat.avatar_url = profile.avatar_url;
            seat.status = profile.status;
        }
        self.fx.reply(from, call, Message::Done);
    }

    /// G-21.
    pub(super) fn describe(&mut self, from: &ObjectId, call: CallKey, user: UserId) {
        let State::Ready(ready) = &self.state else { return };
        if ready.member(user).is_none() {
            return self.refuse(from, call, self.stranger(from, user));
        }
        let mut conversation = ready.conversation(self.id, Some(user));
        conversation.last_message = Some(ready.recent.back().map(|row| ready.render(self.id, row, Some(user))));
        self.fx.reply(from, call, Message::View { conversation });
    }
}

impl Seat {
    fn shows(&self, profile: &Profile) -> bool {
        self.username == profile.username
            && self.display_name == profile.display_name
            && self.avatar_url == profile.avatar_url
            && self.status == profile.status
            && self.receipts == profile.receipts
    }
}

impl Ready {
    /// As `viewer` sees it, or somebody who has just come.
    pub(super) fn conversation(&self, room: RoomId, viewer: Option<UserId>) -> Conversation {
        Conversation {
            id: room,
            kind: self.meta.kind,
            name: self.meta.name.clone(),
            avatar_url: self.meta.avatar_url.clone(),
            created_by: self.meta.created_by,
            created_at: self.meta.created_at,
            seq: self.head,
            members: self.members_for(viewer),
            last_message: None,
            unread_count: None,
            mention_count: 0,
            muted_until: viewer.and_then(|viewer| self.members.get(&viewer)?.muted_until),
            active_call: None,
        }
    }

    /// As `viewer` sees them, or somebody who has just come.
    fn members_for(&self, viewer: Option<UserId>) -> Vec<Member> {
        let mut members: Vec<(&UserId, &Seat)> = self.members().collect();
        members.sort_by_key(|(id, seat)| (seat.joined_seq, seat.joined_at, seat.role != wire::MemberRole::Owner, **id));
        let mut members: Vec<Member> = members.into_iter().map(|(id, seat)| member_of(*id, seat)).collect();
        self.veil_members(viewer, &mut members);
        members
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
            .filter(|(id, seat)| seat.receipts && seat.read_seq >= row.seq && Some(**id) != row.sender)
            .filter(|(id, _)| viewer.is_none_or(|viewer| self.shows_reading(**id, viewer)))
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
            metadata: row.metadata_with_mentions(),
        }
    }

    /// Writes the conversation's row of the people database.
    pub(super) fn project_head(&self, fx: &mut Effects, room: RoomId, hold: bool) {
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
        let hold = hold || self.head == 0;
        fx.project(format!("head:{room}"), self.head, head.upsert(), hold);
    }

    /// Writes a member's row of the people database, once it is known how much the member has read. With `hold` whoever
    /// is answered behind it finds it there, if memory knows.
    pub(super) fn project_member(&mut self, fx: &mut Effects, room: RoomId, user: UserId, hold: bool) {
        let Some(seat) = self.members.get(&user) else { return };
        let upto = seat.caught_up_to();
        // What somebody has read who is gone is of no interest.
        match self.nth_at(upto).or((!seat.is_member()).then_some(0)) {
            Some(read_count) => self.project_member_with(fx, room, user, read_count, hold),
            None => {
                let load = fx.load(crate::object::Store::Own, crate::sql::room::nth_at(room, &[upto]));
                self.reads.insert(load, super::Read::ReadCount { user });
            }
        }
    }

    pub(super) fn project_member_with(&self, fx: &mut Effects, room: RoomId, user: UserId, read_count: u64, hold: bool) {
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
            muted_until: seat.muted_until,
            level: seat.level,
        };
        let hold = hold || row.version == seat.changes;
        fx.project(format!("member:{room}:{user}"), row.version, row.upsert(), hold);
    }
}

impl Stored {
    /// What was sent, and the server's word on whom it mentions.
    fn metadata_with_mentions(&self) -> Option<Value> {
        let parse = |json: &Option<String>| json.as_deref().and_then(|json| serde_json::from_slice::<Value>(json.as_bytes()).ok());
        let mut metadata = parse(&self.metadata);
        if let Some(Value::Object(map)) = &mut metadata {
            map.remove("mentions");
        }
        if let Some(mentions) = parse(&self.mentions) {
            // Clients send objects only; another version of a caller may not have looked.
            metadata.take_if(|metadata| !metadata.is_object());
            metadata.get_or_insert_with(|| json!({}))["mentions"] = mentions;
        }
        metadata
    }
}
