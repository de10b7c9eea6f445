//! What clients do with messages that were sent: edits, deletion, reactions. Each content is written once, so that the
//! history of edits tells what became of it.

use std::collections::BTreeMap;

use edge_core::objects::{Message, MessageChange, Numbered, RoomEvent};
use serde_json::json;
use wire::MessageId;

use crate::client::{Pending, RequestKind};
use crate::history::{Id, Row, State, What};
use crate::world::World;

/// Messages of one conversation that a client may change: the newest, and a few from before.
const KNOWN: usize = 24;

/// Events that are no messages: `(name, id of the message, who, what)`, the same for every reader at any time.
pub(crate) fn row_of_change(seq: u64, name: &str, message: Id, by: Option<Id>, what: &str) -> Row {
    Row { seq, kind: Some(Id::from(name)), id: message, sender: by, client_id: None, content: Id::from(what) }
}

/// What a reaction says.
pub(crate) fn reaction_text(emoji: &str, on: bool) -> String {
    format!("{emoji}{}", if on { "+" } else { "-" })
}

/// A content without what edits put behind it.
pub(crate) fn as_sent(content: &str) -> Id {
    Id::from(content.split('#').next().unwrap_or_default())
}

impl World {
    /// Notes a message that may be changed later.
    pub(crate) fn note_known(&mut self, index: usize, conversation: usize, row: &Row) {
        let old = self.rng.below(KNOWN as u64) as usize;
        let known = self.clients[index].known.entry(conversation).or_default();
        if row.kind.is_some() || row.content.is_empty() || known.iter().any(|known| known.id == row.id) {
            return;
        }
        if known.len() >= KNOWN {
            known.remove(old);
        }
        known.push(row.clone());
    }

    /// Edits or deletes an own message, or reacts to anybody's.
    pub(crate) fn change_message(&mut self, index: usize, conversation: usize) {
        let client = &self.clients[index];
        let me = self.people[client.user].clone();
        let known = client.known.get(&conversation).cloned().unwrap_or_default();
        let mine: Vec<Row> = known.iter().filter(|row| row.sender.as_ref() == Some(&me.text)).cloned().collect();
        let op = self.op();
        let kind = self.rng.below(10);
        let Some(row) = self.rng.pick(if kind < 5 { &mine } else { &known }).cloned() else { return };
        let id = row.id;
        let (change, content) = match kind {
            0..=3 => {
                let content = format!("{}#e{op}", row.content);
                (MessageChange::Edit { content: content.clone() }, content)
            }
            4 => (MessageChange::Delete, String::new()),
            _ => {
                let emoji = if self.rng.chance(0.7) { "👍" } else { "❤" };
                (MessageChange::React { emoji: emoji.to_owned(), on: kind < 8 }, reaction_text(emoji, kind < 8))
            }
        };
        let text = self.conversations[conversation].text.clone();
        self.log(What::Change {
            op,
            user: me.text.clone(),
            conversation: text.clone(),
            message: id.clone(),
            kind: Id::from(name_of(&change)),
            content: Id::from(content.as_str()),
        });
        if self.rng.chance(0.25) {
            let Some(message) = MessageId::parse(&id) else { return };
            let msg = Message::Change { user: me.id, message, change };
            self.request(index, conversation, RequestKind::Change { op }, msg);
            return;
        }
        let (name, mut body) = match &change {
            MessageChange::Edit { content } => ("chat:edit", json!({ "content": content })),
            MessageChange::Delete => ("chat:delete", json!({})),
            MessageChange::React { emoji, on } => ("chat:react", json!({ "emoji": emoji, "on": on })),
        };
        (body["conversationId"], body["messageId"]) = (json!(text), json!(id));
        self.emit(index, &json!([name, body]), Some(Pending::Change { op }));
    }

    /// The stored state of every message that was changed, to be compared with its events.
    pub(crate) fn states_of(&mut self, n: usize, events: &[Numbered]) -> Option<BTreeMap<Id, State>> {
        let member = *self.conversations[n].members.first()?;
        let user = self.people[member].id;
        let mut edited: BTreeMap<MessageId, bool> = BTreeMap::new();
        for numbered in events {
            match &numbered.event {
                RoomEvent::Edited(edit) => drop(edited.insert(edit.message.id, true)),
                RoomEvent::Deleted(deleted) => drop(edited.entry(deleted.message_id).or_default()),
                RoomEvent::Reaction(reacted) => drop(edited.entry(reacted.message_id).or_default()),
                _ => {}
            }
        }
        let mut states = BTreeMap::new();
        for numbered in events {
            let RoomEvent::Message { message } = &numbered.event else { continue };
            let Some(has_edits) = edited.get(&message.id) else { continue };
            let mut contents = Vec::new();
            if *has_edits {
                let Message::EditsAre { edits } = self.ask(n, Message::Edits { user, message: message.id })? else { return None };
                contents.extend(edits.iter().map(|edit| Id::from(edit.content.as_str())));
            }
            contents.push(Id::from(message.content.as_str()));
            let reactions = message.reactions.iter();
            let reactions = reactions.flat_map(|one| one.user_ids.iter().map(|user| (Id::from(one.emoji.as_str()), Id::from(user.to_string()))));
            let state = State { deleted: message.deleted_at.is_some(), contents, reactions: reactions.collect() };
            states.insert(Id::from(message.id.to_string()), state);
        }
        Some(states)
    }
}

/// The event that tells of it.
fn name_of(change: &MessageChange) -> &'static str {
    match change {
        MessageChange::Edit { .. } => "chat:edited",
        MessageChange::Delete => "chat:deleted",
        MessageChange::React { .. } => "chat:reaction",
    }
}
