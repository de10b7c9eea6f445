//! Durable changes that are no messages: they take numbers as messages do, are stored with what they change, and are
//! replayed among the messages.

use wire::{RoomId, Timestamp, UserId};

use super::load::parse_message;
use super::{RECENT, Ready, Room, State, Stored};
use crate::object::{CallKey, ObjectId};
use crate::objects::{Edited, Message, Numbered, RoomEvent};
use crate::sql::{self, Row, Rows, Statement};

/// An event's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    pub seq: u64,
    /// Seq of the message it is about.
    pub about: Option<u64>,
    /// `None`: an edit, of which the message's row says everything.
    pub event: Option<RoomEvent>,
}

impl Logged {
    pub(crate) fn kind_word(&self) -> &'static str {
        match self.event {
            None | Some(RoomEvent::Message { .. } | RoomEvent::Edited(_)) => EDITED,
            Some(RoomEvent::Deleted(_)) => "deleted",
            Some(RoomEvent::Reaction(_)) => "reaction",
            Some(RoomEvent::Updated(_)) => "updated",
            Some(RoomEvent::MemberAdded(_)) => "member_added",
            Some(RoomEvent::MemberRemoved(_)) => "member_removed",
        }
    }

    /// Reads `seq, kind, message_seq, data, call`; `None` when a column is not what it must be.
    fn parse(row: &Row) -> Option<Self> {
        let [seq, kind, about, data, ..] = row.as_slice() else { return None };
        let event = match kind.as_str()? {
            EDITED => None,
            _ => Some(serde_json::from_slice(data.as_str()?.as_bytes()).ok()?),
        };
        Some(Self { seq: seq.as_u64()?, about: about.as_u64(), event })
    }
}

const EDITED: &str = "edited";

/// Reads event rows, ascending; `None` when one is damaged.
pub(super) fn parse_events(rows: &Rows) -> Option<Vec<Logged>> {
    let mut events: Vec<Logged> = rows.iter().map(Logged::parse).collect::<Option<_>>()?;
    events.sort_by_key(|event| event.seq);
    Some(events)
}

/// A durable change on its way: who makes it, and what it is.
pub(super) struct Change {
    pub(super) actor: UserId,
    /// As every Gateway is told it.
    pub(super) event: RoomEvent,
    /// Seq of the message it is about, whose row (in memory too) has changed already.
    pub(super) about: Option<u64>,
    /// What an edit replaced: JSON. Other events are stored as they are.
    pub(super) replaced: Option<String>,
}

impl Room {
    /// Gives `change` the next number; notes the call ([`Ready::seq_by_call`] knows it again); stores the change together
    /// with `writes`, what it changes, in one Persist; projects the head; answers the call with `reply`; tells the members.
    pub(super) fn append_event(
        &mut self,
        (from, call, reply): (&ObjectId, CallKey, Message),
        change: Change,
        writes: Vec<Statement>,
        now: Timestamp,
    ) {
        let State::Ready(ready) = &mut self.state else { return };
        let Change { actor, event, about, replaced } = change;
        let mut kept = event.clone();
        if let Some(reactions) = kept.reactions() {
            reactions.clear();
        }
        let is_edit = matches!(event, RoomEvent::Edited(_));
        let data = replaced.or_else(|| serde_json::to_string(&kept).ok()).unwrap_or_default();
        let call_name = ready.note_call(from, call, about.unwrap_or(ready.head + 1));
        let row = ready.log(self.id, actor, Logged { seq: 0, about, event: (!is_edit).then_some(kept) }, data, call_name, now);
        self.fx.persist(std::iter::once(row).chain(writes).collect());
        ready.project_head(&mut self.fx, self.id, false);
        self.fx.reply(from, call, reply);
        let numbered = Numbered { seq: ready.head, event };
        ready.deliver(&mut self.fx, self.id, vec![numbered], Vec::new());
        self.index_soon(now);
    }
}

impl Ready {
    /// Gives an event the next number: its row, for the Persist of what it stands for.
    pub(super) fn log(
        &mut self,
        room: RoomId,
        actor: UserId,
        event: Logged,
        data: String,
        call: Option<String>,
        now: Timestamp,
    ) -> Statement {
        self.head += 1;
        let logged = Logged { seq: self.head, ..event };
        let row = sql::room::insert_event(room, &logged, actor, data, call, now);
        self.events.push_back(logged);
        if self.events.len() > RECENT {
            self.floor = self.events.pop_front().map_or(self.floor, |gone| self.floor.max(gone.seq));
        }
        row
    }

    /// What memory has above `after`; `None` when storage must be asked.
    pub(super) fn recent_events(&self, room: RoomId, user: UserId, after: u64, limit: usize) -> Option<Vec<Numbered>> {
        if !self.recent_covers(after) {
            return None;
        }
        let at = self.recent.partition_point(|row| row.seq <= after);
        let rows = self.recent.range(at..).take(limit);
        let at = self.events.partition_point(|event| event.seq <= after);
        let events: Vec<Logged> = self.events.range(at..).take(limit).cloned().collect();
        self.replayed(room, user, rows, &events, |seq| self.recent_at(seq), limit)
    }

    /// What storage had: the answers of [`sql::room::replay`]. `None`: a row is damaged, and wrong data is never served.
    pub(super) fn stored_events(&self, room: RoomId, user: UserId, rows: &[Rows], limit: usize) -> Option<Vec<Numbered>> {
        let [messages, events, others] = rows else { return None };
        let parsed = |rows: &Rows| -> Option<Vec<Stored>> {
            let rows: Vec<Stored> = rows.iter().map(parse_message).collect::<Option<_>>()?;
            rows.iter().all(|row| row.is_intact(room)).then_some(rows)
        };
        let (messages, others) = (parsed(messages)?, parsed(others)?);
        let about = |seq| others.iter().find(|row| row.seq == seq);
        self.replayed(room, user, messages.iter(), &parse_events(events)?, about, limit)
    }

    /// Messages and events by number, the first `limit` of them, as `user` sees them now.
    fn replayed<'a>(
        &self,
        room: RoomId,
        user: UserId,
        messages: impl Iterator<Item = &'a Stored>,
        events: &[Logged],
        about: impl Fn(u64) -> Option<&'a Stored>,
        limit: usize,
    ) -> Option<Vec<Numbered>> {
        let viewer = Some(user);
        let mut all: Vec<Numbered> = messages
            .map(|row| Numbered { seq: row.seq, event: RoomEvent::Message { message: self.render(room, row, viewer) } })
            .collect();
        for logged in events {
            let message = match logged.about {
                Some(seq) => Some(self.render(room, about(seq)?, viewer)),
                None => None,
            };
            let event = match (&logged.event, message) {
                (None, Some(message)) => RoomEvent::Edited(Edited { message }),
                (None, None) => return None,
                (Some(event), message) => {
                    let mut event = event.clone();
                    if let (Some(reactions), Some(message)) = (event.reactions(), message) {
                        *reactions = message.reactions;
                    }
                    event
                }
            };
            all.push(Numbered { seq: logged.seq, event });
        }
        all.sort_unstable_by_key(|numbered| numbered.seq);
        all.truncate(limit);
        Some(all)
    }
}
