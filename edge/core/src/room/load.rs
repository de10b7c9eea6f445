//! From storage to a loaded conversation, and projections that a crash left behind.

use std::collections::VecDeque;

use wire::{MessageId, MessageKind, Timestamp, UserId};

use super::events::parse_events;
use super::{Keys, MessageIds, Meta, RECENT, Ready, Room, Seat, State, Stored, Waits, history::Read, reactions};
use crate::effects::Effects;
use crate::limits;
use crate::map::Map;
use crate::object::{Input, PersistError, Store};
use crate::sql::{self, Row, Rows, projection};

impl Room {
    /// Asks storage for the conversation.
    pub(super) fn begin_load(&mut self) -> u64 {
        self.fx.load(Store::Own, sql::room::load(self.id, RECENT))
    }

    pub(super) fn loaded(&mut self, load: u64, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        match &mut self.state {
            State::Loading { load: wanted, waiting } if *wanted == load => {
                let waiting = std::mem::take(waiting);
                self.begin(result, waiting, now);
            }
            State::Ready(ready) => {
                if ready.blocked.as_ref().is_some_and(|(wanted, _)| *wanted == load) {
                    if let Some((_, waits)) = ready.blocked.take() {
                        let waiting = std::mem::take(&mut ready.waiting);
                        match waits {
                            Waits::Send(decision) => self.decide(decision, result, now),
                            Waits::Change(wish) => self.change_loaded(&wish, result, now),
                        }
                        self.release(waiting, now);
                    }
                } else if let Some(read) = ready.reads.remove(&load) {
                    self.read_done(read, result, now);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, result: Result<Vec<Rows>, PersistError>, waiting: VecDeque<Input>, now: Timestamp) {
        let Ok(rows) = result else {
            // Storage is out of reach: say so, and try again with the next question.
            self.state = State::New;
            self.load_again = self.settings.hibernates.then(|| now.plus_ms(limits::LOAD_AGAIN_MS));
            for input in waiting {
                if let Input::Object { from, call, .. } = input {
                    self.refuse(&from, call, wire::ErrorCode::NodeUnavailable);
                }
            }
            return;
        };
        self.state = match parse(rows, self.id, self.seed) {
            Loaded::Absent => State::Absent,
            Loaded::Ready(ready) => {
                let mut ready = ready;
                ready.recall_untold(now);
                ready.recall_reading(now);
                ready.locate_all(&mut self.fx, self.id, self.settings.hibernates, now);
                ready.ask_what_is_projected(&mut self.fx, self.id);
                State::Ready(ready)
            }
            Loaded::Damaged => State::New,
        };
        if matches!(self.state, State::New) {
            for input in waiting {
                if let Input::Object { from, call, .. } = input {
                    self.refuse(&from, call, wire::ErrorCode::InternalError);
                }
            }
            return;
        }
        self.release(waiting, now);
    }

    /// Compares what is projected with what is true, and repairs what a crash left behind.
    pub(super) fn reconcile(&mut self, rows: &[Rows]) {
        self.index_is(rows.get(3).and_then(|found| found.first()?.first()?.as_u64()).unwrap_or_default());
        let State::Ready(ready) = &mut self.state else { return };
        let head_known = rows.first().and_then(|head| head.first()).and_then(|row| {
            Some((row.first()?.as_u64()?, row.get(1)?.as_u64()?))
        });
        if head_known.is_none_or(|known| known < (ready.meta.generation, ready.head)) {
            ready.project_head(&mut self.fx, self.id, false);
        }
        let known: Map<UserId, u64> = rows
            .get(1)
            .into_iter()
            .flatten()
            .filter_map(|row| Some((UserId::parse(row.first()?.as_str()?)?, row.get(1)?.as_u64()?)))
            .collect();
        let stale: Vec<UserId> = ready
            .members
            .iter()
            .filter(|(user, seat)| known.get(user).is_none_or(|version| *version < seat.version()))
            .map(|(user, _)| *user)
            .collect();
        for user in stale {
            ready.project_member(&mut self.fx, self.id, user, true);
        }
        let mentioned = rows.get(2).and_then(|found| found.first()?.first()?.as_u64());
        ready.repair_mentions(&mut self.fx, self.id, mentioned.unwrap_or_default());
        ready.tell_untold(&mut self.fx, self.id);
    }
}

impl Seat {
    /// Version of the member's projection: every part only rises, so that a life after a crash goes on above it.
    pub(super) fn version(&self) -> u64 {
        self.delivered_seq + self.read_seq + self.own_seq + self.changes
    }

    /// Up to where this member has nothing unread; whoever comes later begins there.
    pub(super) fn caught_up_to(&self) -> u64 {
        self.read_seq.max(self.own_seq).max(self.joined_seq)
    }
}

enum Loaded {
    Absent,
    Damaged,
    Ready(Box<Ready>),
}

fn parse(rows: Vec<Rows>, room: wire::RoomId, seed: [u8; 32]) -> Loaded {
    let [meta, members, messages, bundles, events]: [Rows; 5] = match rows.try_into() {
        Ok(five) => five,
        Err(_) => return Loaded::Damaged,
    };
    let Some(meta) = meta.first() else { return Loaded::Absent };
    let Some(meta) = parse_meta(meta) else { return Loaded::Damaged };
    let mut seats = Map::new();
    for row in &members {
        let Some((user, seat)) = parse_seat(row) else { return Loaded::Damaged };
        seats.insert(user, seat);
    }
    let mut recent = VecDeque::with_capacity(messages.len());
    for row in &messages {
        match parse_message(row) {
            Some(stored) if stored.is_intact(room) => recent.push_front(stored),
            _ => return Loaded::Damaged,
        }
    }
    let Some(mut keys) = Keys::from_bundles(&bundles) else { return Loaded::Damaged };
    for row in &recent {
        keys.insert(row);
        if let Some(seat) = row.sender.and_then(|sender| seats.get_mut(&sender)) {
            seat.own_seq = row.seq;
            seat.delivered_seq = seat.delivered_seq.max(row.seq);
        }
    }
    let mut calls: Vec<(u64, u64, String)> =
        recent.iter().filter_map(|row| Some((row.seq, row.seq, row.call.clone()?))).collect();
    calls.extend(events.iter().filter_map(|row| {
        let seq = row.first()?.as_u64()?;
        Some((seq, row.get(2)?.as_u64().unwrap_or(seq), row.get(4)?.as_str()?.to_owned()))
    }));
    calls.sort_unstable();
    let Some(events) = parse_events(&events) else { return Loaded::Damaged };
    let newest = recent.back();
    let head = newest.map_or(0, |row| row.seq).max(events.last().map_or(0, |event| event.seq));
    // What is below a full load may be there.
    let full = |length, oldest: Option<u64>| oldest.filter(|_| length == RECENT).map_or(0, |seq| seq.saturating_sub(1));
    let floor = full(recent.len(), recent.front().map(|row| row.seq)).max(full(events.len(), events.first().map(|event| event.seq)));
    let count = newest.map_or(0, |row| row.nth);
    let ids = MessageIds::new(room, newest.map(|row| row.id), seed);
    let mut ready = Ready {
        head,
        count,
        events: events.into(),
        floor,
        ids,
        keys,
        ..Ready::empty(meta, seats, recent, room, seed)
    };
    calls.into_iter().for_each(|(_, about, call)| ready.remember_call(call, about));
    Loaded::Ready(Box::new(ready))
}

impl Ready {
    pub(super) fn ask_what_is_projected(&mut self, fx: &mut Effects, room: wire::RoomId) {
        let load = fx.load(Store::People, projection::projected(room));
        self.reads.insert(load, Read::Reconcile);
    }

    /// A conversation without events.
    pub(super) fn empty(
        meta: Meta,
        members: Map<UserId, Seat>,
        recent: VecDeque<Stored>,
        room: wire::RoomId,
        seed: [u8; 32],
    ) -> Self {
        Self {
            meta,
            members,
            head: 0,
            count: 0,
            recent,
            events: VecDeque::new(),
            floor: 0,
            keys: Keys::default(),
            index: super::Index::default(),
            once: VecDeque::new(),
            ids: MessageIds::new(room, None, seed),
            audience: super::Audience::default(),
            marks: super::marks::Dirty::default(),
            reads: Map::new(),
            blocked: None,
            waiting: VecDeque::new(),
            sender_rates: Map::new(),
            room_rate: None,
            calls: Map::new(),
            said_goodbye: false,
            telling: super::told::Telling::default(),
        }
    }
}

fn user_id(value: &sql::Value) -> Option<UserId> {
    UserId::parse(value.as_str()?)
}

fn parse_meta(row: &Row) -> Option<Meta> {
    Some(Meta {
        kind: projection::type_from(row.first()?.as_str()?)?,
        name: row.get(1)?.as_str().map(str::to_owned),
        avatar_url: row.get(2)?.as_str().map(str::to_owned),
        created_by: row.get(3).and_then(user_id),
        created_at: Timestamp(row.get(4)?.as_u64()?),
        generation: row.get(5)?.as_u64()?,
        told: row.get(6)?.as_u64()?,
    })
}

fn parse_seat(row: &Row) -> Option<(UserId, Seat)> {
    let text = |at: usize| row.get(at)?.as_str().map(str::to_owned);
    let number = |at: usize| row.get(at)?.as_u64();
    Some((
        user_id(row.first()?)?,
        Seat {
            role: projection::role_from(row.get(1)?.as_str()?)?,
            username: text(2)?,
            display_name: text(3)?,
            avatar_url: text(4),
            status: text(5)?,
            joined_at: Timestamp(number(6)?),
            joined_seq: number(7)?,
            left_at: number(8).map(Timestamp),
            left_seq: number(9),
            left_reason: row.get(17)?.as_str().map(projection::removal_from),
            delivered_seq: number(10)?,
            read_seq: number(11)?,
            read_at: number(18).map(Timestamp),
            blocks: number(12)? & 1 != 0,
            blocks_version: number(12)? >> 2,
            receipts: number(12)? & 2 == 0,
            muted_until: number(15).map(Timestamp),
            level: projection::level_from(row.get(16)?.as_str()?).unwrap_or_default(),
            changes: number(13)?,
            own_seq: number(14)?,
        },
    ))
}

/// Reads a message row; `None` when a column is not what it must be.
pub(super) fn parse_message(row: &Row) -> Option<Stored> {
    let text = |at: usize| row.get(at)?.as_str().map(str::to_owned);
    let time = |at: usize| row.get(at)?.as_u64().map(Timestamp);
    let word = row.get(5)?.as_str()?;
    let kind = kind_from(word);
    Some(Stored {
        seq: row.first()?.as_u64()?,
        id: MessageId::parse(row.get(1)?.as_str()?)?,
        sender: row.get(2).and_then(user_id),
        client_id: text(3),
        nth: row.get(4)?.as_u64()?,
        kind: kind.unwrap_or(MessageKind::Text),
        other_kind: kind.is_none().then(|| word.to_owned()),
        content: text(6)?,
        reply_to: row.get(7)?.as_str().and_then(MessageId::parse),
        metadata: text(8),
        created_at: time(9)?,
        edited_at: time(10),
        deleted_at: time(11),
        digest: row.get(12)?.as_blob()?.try_into().ok()?,
        reactions: reactions::unpack(row.get(13)?.as_blob().unwrap_or_default())?,
        edit_seq: row.get(14)?.as_u64(),
        sent_digest: row.get(15)?.as_blob().and_then(|digest| digest.try_into().ok()),
        call: text(16),
        mentions: text(17),
    })
}

fn kind_from(word: &str) -> Option<MessageKind> {
    Some(match word {
        "text" => MessageKind::Text,
        "image" => MessageKind::Image,
        "file" => MessageKind::File,
        "voice" => MessageKind::Voice,
        "system" => MessageKind::System,
        _ => return None,
    })
}
