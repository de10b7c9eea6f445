//! What becomes of a message after it was sent (G-05, G-06, G-24): edits, deletion, reactions. Nothing changes, nothing is
//! told: a repeat is answered with what is.

use wire::{ConversationType, ErrorCode, MemberRole, MessageId, Timestamp, UserId};

use super::events::Change;
use super::history::Read;
use super::load::parse_message;
use super::{Ready, Room, State, Stored, Waits, not_visible};
use crate::error::Failure;
use crate::limits;
use crate::object::{CallKey, ObjectId, PersistError, Store};
use crate::objects::{Deleted, Edit, Edited, Message, MessageChange, Reacted, RoomEvent};
use crate::sql::{self, Rows};

/// A change of a message: whose, of which, what.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) from: ObjectId,
    pub(super) call: CallKey,
    pub(super) user: UserId,
    pub(super) message: MessageId,
    pub(super) change: MessageChange,
}

impl Room {
    pub(super) fn change(&mut self, wish: Wish, now: Timestamp) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.member(wish.user).is_none() {
            return self.refuse(&wish.from, wish.call, self.stranger(&wish.from, wish.user));
        }
        let at = ready.recent.partition_point(|row| row.id < wish.message);
        match ready.recent.get(at).filter(|row| row.id == wish.message).cloned() {
            Some(row) => self.change_row(&wish, row, now),
            None => {
                let load = self.fx.load(Store::Own, vec![sql::room::message(self.id, wish.message)]);
                ready.blocked = Some((load, Waits::Change(wish)));
            }
        }
    }

    /// Storage was asked for a message that memory does not have.
    pub(super) fn change_loaded(&mut self, wish: &Wish, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        let found = match result {
            Ok(rows) => rows.into_iter().next().unwrap_or_default(),
            Err(_) => return self.refuse(&wish.from, wish.call, ErrorCode::NodeUnavailable),
        };
        match found.first().map(|row| parse_message(row).filter(|row| row.is_intact(self.id))) {
            Some(Some(row)) => self.change_row(wish, row, now),
            Some(None) => self.refuse(&wish.from, wish.call, ErrorCode::InternalError),
            None => self.refuse(&wish.from, wish.call, not_visible(&wish.from)),
        }
    }

    fn change_row(&mut self, wish: &Wish, mut row: Stored, now: Timestamp) {
        let Wish { from, call, user, .. } = wish;
        let rated = self.settings.rate_limits;
        let State::Ready(ready) = &mut self.state else { return };
        let known = ready.seq_by_call(from, *call).is_some();
        let (seq, before) = (ready.head + 1, (row.content.clone(), row.edit_seq));
        let mentioned = row.mentions.clone();
        let changed = match &wish.change {
            _ if known => Ok(false),
            MessageChange::Edit { content } => ready.edit(*user, &mut row, content, seq, now),
            MessageChange::Delete => ready.delete(*user, &mut row, now),
            MessageChange::React { emoji, on } => ready.react(*user, &mut row, emoji, *on),
        };
        let changed = changed.and_then(|changed| {
            if changed && rated && wish.change != MessageChange::Delete {
                ready.admit(*user, now).map_err(Failure::rate_limited)?;
            }
            Ok(changed)
        });
        let reply = |row: &Stored| Message::Changed { message: ready.render(self.id, row, Some(*user)) };
        match changed {
            Err(failure) => return self.refuse(from, *call, failure),
            Ok(false) => return self.fx.reply(from, *call, reply(&row)),
            Ok(true) => {}
        }
        let digest = row.digest_in(self.id);
        if digest != row.digest {
            row.sent_digest.get_or_insert(row.digest);
            row.digest = digest;
        }
        if let Ok(at) = ready.recent.binary_search_by_key(&row.seq, |known| known.seq) {
            ready.recent[at] = row.clone(); // just found
        }
        let message = ready.render(self.id, &row, None);
        let (mut writes, mut replaced) = (vec![sql::room::update_message(self.id, &row)], None);
        let event = match &wish.change {
            MessageChange::Edit { .. } => {
                replaced = Some(serde_json::json!({"content": before.0, "previous": before.1}).to_string());
                RoomEvent::Edited(Edited { message })
            }
            MessageChange::Delete => {
                writes.extend(before.1.map(|edit_seq| sql::room::forget_edits(self.id, edit_seq)));
                RoomEvent::Deleted(Deleted { message_id: row.id, by: *user, deleted_at: now })
            }
            MessageChange::React { emoji, on } => RoomEvent::Reaction(Reacted {
                message_id: row.id,
                user_id: *user,
                emoji: emoji.clone(),
                on: *on,
                reactions: message.reactions,
            }),
        };
        let answer = (from, *call, Message::Changed { message: ready.render(self.id, &row, Some(*user)) });
        self.append_event(answer, Change { actor: *user, event, about: Some(row.seq), replaced }, writes, now);
        if let State::Ready(ready) = &self.state
            && mentioned != row.mentions
        {
            ready.project_mentions(&mut self.fx, self.id, &row);
        }
    }

    /// G-24: always from storage.
    pub(super) fn edits(&mut self, from: ObjectId, call: CallKey, user: UserId, message: MessageId) {
        let State::Ready(ready) = &mut self.state else { return };
        if ready.member(user).is_none() {
            return self.refuse(&from, call, self.stranger(&from, user));
        }
        let load = self.fx.load(Store::Own, sql::room::edits(self.id, message));
        ready.reads.insert(load, Read::Edits { from, call });
    }

    /// The message, and what its edits replaced: of a deleted one nothing is left.
    pub(super) fn edits_loaded(&mut self, from: &ObjectId, call: CallKey, rows: &[Rows]) {
        let [found, edits] = rows else { return self.refuse(from, call, ErrorCode::InternalError) };
        if found.is_empty() {
            return self.refuse(from, call, not_visible(from));
        }
        let edits = edits.iter().filter_map(|row| {
            let (content, edited_at) = (row.first()?.as_str()?.to_owned(), Timestamp(row.get(1)?.as_u64()?));
            Some(Edit { content, edited_at })
        });
        self.fx.reply(from, call, Message::EditsAre { edits: edits.collect() });
    }
}

/// Each says whether it changed the row.
impl Ready {
    fn edit(&self, user: UserId, row: &mut Stored, content: &str, seq: u64, now: Timestamp) -> Result<bool, Failure> {
        if row.sender != Some(user) {
            return Err(ErrorCode::PermissionDenied.into());
        }
        self.may_reach(user)?;
        still_there(row)?;
        if row.content == content {
            return Ok(false);
        }
        content.clone_into(&mut row.content);
        row.mentions = self.mentioned(content);
        (row.edited_at, row.edit_seq) = (Some(now), Some(seq));
        Ok(true)
    }

    fn delete(&self, user: UserId, row: &mut Stored, now: Timestamp) -> Result<bool, Failure> {
        let rules = |role| matches!(role, MemberRole::Owner | MemberRole::Admin);
        let moderates = self.meta.kind == ConversationType::Group && self.member(user).is_some_and(|seat| rules(seat.role));
        if row.sender != Some(user) && !moderates {
            return Err(ErrorCode::PermissionDenied.into());
        }
        if row.deleted_at.is_some() {
            return Ok(false);
        }
        row.deleted_at = Some(now);
        row.content.clear();
        row.reactions.clear();
        (row.metadata, row.mentions, row.edit_seq) = (None, None, None);
        Ok(true)
    }

    fn react(&self, user: UserId, row: &mut Stored, emoji: &str, on: bool) -> Result<bool, Failure> {
        self.may_reach(user)?;
        still_there(row)?;
        let at = row.reactions.iter().position(|(known, _)| known == emoji);
        let used = at.and_then(|at| row.reactions.get_mut(at));
        let mine = used.as_ref().and_then(|(_, users)| users.iter().position(|known| *known == user));
        match (used, mine) {
            (Some((_, users)), None) if on => users.push(user),
            (None, _) if on => {
                if row.reactions.len() >= limits::REACTIONS {
                    return Err(Failure::conflict("emoji", "This message has as many different reactions as it may"));
                }
                row.reactions.push((emoji.to_owned(), vec![user]));
            }
            (Some((_, users)), Some(mine)) if !on => {
                users.remove(mine);
                row.reactions.retain(|(_, users)| !users.is_empty());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn still_there(row: &Stored) -> Result<(), Failure> {
    match row.deleted_at {
        None => Ok(()),
        Some(_) => Err(Failure::from(ErrorCode::Conflict).saying("The message was deleted")),
    }
}
