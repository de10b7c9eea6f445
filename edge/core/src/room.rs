//! Room: the single writer of a conversation. Members, order, messages, watermarks.
//!
//! It is not for sockets (Gateways hold them), accounts (people database) or presence (Users). What it says about a
//! message always stands behind the Persist of that message, because outputs apply in order.

mod audience;
mod change;
mod create;
mod events;
mod groups;
mod history;
mod ids;
mod index;
mod keys;
mod load;
mod marks;
mod mentions;
mod reactions;
mod receipts;
mod send;
mod told;
mod view;

use std::collections::VecDeque;
use std::rc::Rc;

use wire::{ConversationType, ErrorCode, MemberRole, MessageId, MessageKind, RoomId, Timestamp, UserId};

use crate::effects::Effects;
use crate::error::Failure;
use crate::limits;
use crate::map::{Map, Set};
use crate::object::{CallKey, Input, Kind, Object, ObjectId, Output};
use crate::objects::{Level, Message, Removal};
use crate::rate::Bucket;
use crate::settings::Settings;
use audience::Audience;
pub use events::Logged;
pub(crate) use ids::may_hold;
use history::Read;
use ids::MessageIds;
use index::Index;
use keys::Keys;
use reactions::Reactions;
pub(crate) use reactions::pack;

/// Messages, and events, kept in memory: pages of most replays and histories come from here.
const RECENT: usize = 200;

/// A conversation's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    pub kind: ConversationType,
    pub name: Option<String>,
    pub avatar_url: Option<String>,
    pub created_by: Option<UserId>,
    pub created_at: Timestamp,
    pub generation: u64,
    /// Whoever came or went below this seq knows it.
    pub told: u64,
}

/// A member's row; former members keep theirs, because their messages show their name.
#[derive(Debug, Clone, PartialEq)]
pub struct Seat {
    pub role: MemberRole,
    pub username: String,
    pub display_name: String,
    pub avatar_url: Option<String>,
    pub status: String,
    pub joined_at: Timestamp,
    pub joined_seq: u64,
    pub left_at: Option<Timestamp>,
    /// The newest event before.
    pub left_seq: Option<u64>,
    pub left_reason: Option<Removal>,
    pub delivered_seq: u64,
    pub read_seq: u64,
    /// As it was when this life was loaded.
    pub read_at: Option<Timestamp>,
    pub blocks: bool,
    /// Of the newest word on that.
    pub blocks_version: u64,
    pub muted_until: Option<Timestamp>,
    pub level: Level,
    /// Sends and sees read marks.
    pub receipts: bool,
    pub changes: u64,
    /// Newest own message in memory: whoever writes has nothing unread up to there.
    pub own_seq: u64,
}

impl Seat {
    fn is_member(&self) -> bool {
        self.left_at.is_none()
    }
}

/// A message's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub seq: u64,
    pub id: MessageId,
    pub sender: Option<UserId>,
    pub client_id: Option<String>,
    /// Messages up to this one.
    pub nth: u64,
    pub kind: MessageKind,
    /// The word of a kind that is not known here, as a later version may have stored it: it is shown as text.
    pub other_kind: Option<String>,
    pub content: String,
    pub reply_to: Option<MessageId>,
    /// JSON, as it was sent.
    pub metadata: Option<String>,
    /// JSON: whom it mentions.
    pub mentions: Option<String>,
    pub created_at: Timestamp,
    pub edited_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub digest: [u8; 16],
    pub reactions: Reactions,
    /// Seq of the newest edit.
    pub edit_seq: Option<u64>,
    /// The digest of what was sent, when the row has changed since.
    pub sent_digest: Option<[u8; 16]>,
    /// The call of a Gateway that a send without key came with.
    pub call: Option<String>,
}

/// The Room object.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    settings: Rc<Settings>,
    fx: Effects,
    seed: [u8; 32],
    state: State,
    last_use: Timestamp,
    /// This life was loaded, or tried to, without a question.
    woken: bool,
    /// Storage was out of reach: where objects sleep, the alarm that woke this one is spent.
    load_again: Option<Timestamp>,
}

#[derive(Debug)]
enum State {
    /// Nothing is known; the first question loads.
    New,
    /// Storage was asked; questions wait.
    Loading { load: u64, waiting: VecDeque<Input> },
    /// No such conversation.
    Absent,
    Ready(Box<Ready>),
}

/// Everything of a loaded conversation.
#[derive(Debug)]
struct Ready {
    meta: Meta,
    members: Map<UserId, Seat>,
    /// Newest seq given, to a message or an event.
    head: u64,
    /// Messages up to the head.
    count: u64,
    recent: VecDeque<Stored>,
    /// The newest events.
    events: VecDeque<Logged>,
    /// Every message and event above this seq is in memory.
    floor: u64,
    keys: Keys,
    index: Index,
    /// The newest sends without key, and changes: between objects they may repeat too.
    once: VecDeque<(String, u64)>,
    ids: MessageIds,
    audience: Audience,
    marks: marks::Dirty,
    reads: Map<u64, Read>,
    /// A read that decides about order is under way: everything else waits.
    blocked: Option<(u64, Waits)>,
    waiting: VecDeque<Input>,
    sender_rates: Map<UserId, Bucket>,
    room_rate: Option<Bucket>,
    /// Calls whose reply matters.
    calls: Map<CallKey, audience::Called>,
    said_goodbye: bool,
    telling: told::Telling,
}

/// What waits for a read that decides about order.
#[derive(Debug)]
enum Waits {
    Send(send::Decision),
    Change(change::Wish),
}

impl Room {
    /// Before its `Started`.
    #[must_use]
    pub fn new(id: RoomId, settings: Rc<Settings>) -> Self {
        Self {
            id,
            settings,
            fx: Effects::default(),
            seed: [0; 32],
            state: State::New,
            last_use: Timestamp(0),
            woken: false,
            load_again: None,
        }
    }

    fn asked(&mut self, from: ObjectId, call: CallKey, msg: Message, now: Timestamp) {
        if let Message::Create { kind, name, by, members } = msg {
            return self.create(&from, call, kind, name, by, members, now);
        }
        let State::Ready(ready) = &mut self.state else {
            return self.refuse(&from, call, not_visible(&from));
        };
        ready.noticed(&mut self.fx, self.id, &from, &msg);
        match msg {
            Message::Send { from: actor, message } => self.send(from, call, actor, message, now),
            Message::Join { user } => self.join(&from, call, user),
            Message::Describe { user } => self.describe(&from, call, user),
            Message::Typing { from: actor, on } => self.typing(&from, call, actor, on),
            Message::MarkRead { user, up_to } => self.mark_read(from, call, user, up_to, now),
            Message::MarkDelivered { user, up_to } => {
                if ready.member(user).is_none() {
                    return self.refuse(&from, call, self.stranger(&from, user));
                }
                self.mark_delivered(user, up_to, now);
                self.fx.reply(&from, call, Message::Done);
            }
            Message::Look { user, seqs } => self.look(from, call, user, &seqs),
            Message::Pull { user, after, limit, generation, marks } => {
                self.pull(from, call, user, after, limit, generation, marks, now);
            }
            Message::History { user, cursor, limit } => self.history(from, call, user, cursor, limit, now),
            Message::Change { user, message, change } => {
                self.change(change::Wish { from, call, user, message, change }, now);
            }
            Message::Edits { user, message } => self.edits(from, call, user, message),
            Message::Moved { user, epoch, version, gateways } => {
                self.moved(user, epoch, version, gateways);
                self.fx.reply(&from, call, Message::Done);
            }
            Message::Blocked { by, on, version } => self.blocked_by(&from, call, by, on, version),
            Message::Group { by, change } => self.group(&from, call, by, change, now),
            Message::PersonIs { profile } => self.person_is(&from, call, profile),
            _ => self.fx.reply(&from, call, Message::Done),
        }
    }

    fn refuse(&mut self, to: &ObjectId, call: CallKey, failure: impl Into<Failure>) {
        self.fx.reply(to, call, Message::Refused { failure: failure.into() });
    }

    /// What somebody reads who is no member: a former one may be told so.
    fn stranger(&self, from: &ObjectId, user: UserId) -> ErrorCode {
        match &self.state {
            State::Ready(ready) if self.settings.ex_member_history && ready.members.contains_key(&user) => ErrorCode::NotAMember,
            _ => not_visible(from),
        }
    }

    fn blocked_by(&mut self, from: &ObjectId, call: CallKey, by: UserId, on: bool, version: u64) {
        if let State::Ready(ready) = &mut self.state
            && ready.meta.kind == ConversationType::Direct
            && let Some(seat) = ready.members.get_mut(&by)
            && (version > seat.blocks_version || version == 0 && seat.blocks != on)
        {
            (seat.blocks, seat.blocks_version) = (on, seat.blocks_version.max(version));
            self.fx.persist(vec![crate::sql::room::set_flags(self.id, by, seat.flags())]);
        }
        self.fx.reply(from, call, Message::Done);
    }

    fn replied(&mut self, call: CallKey, result: Result<Message, crate::object::CallError>, now: Timestamp) {
        if let State::Ready(ready) = &mut self.state {
            ready.replied(&mut self.fx, self.id, call, result, now);
        }
    }

    /// Lets the inputs in that waited for a read; another read may make the rest wait again, in the same order.
    fn release(&mut self, waiting: VecDeque<Input>, now: Timestamp) {
        for input in waiting {
            self.handle(input, now);
        }
    }
}

fn is_moved(input: &Input) -> bool {
    matches!(input, Input::Object { msg: Message::Moved { .. }, .. })
}

/// What a caller reads about a conversation that is not his (contract 2.3): 404 by REST, `PERMISSION_DENIED` on sockets.
fn not_visible(from: &ObjectId) -> ErrorCode {
    if from.kind == Kind::Http { ErrorCode::NotFound } else { ErrorCode::PermissionDenied }
}

impl Ready {
    fn members(&self) -> impl Iterator<Item = (&UserId, &Seat)> {
        self.members.iter().filter(|(_, seat)| seat.is_member())
    }

    fn member(&self, user: UserId) -> Option<&Seat> {
        self.members.get(&user).filter(|seat| seat.is_member())
    }

    /// Somebody in a direct conversation blocks the other: typing and marks vanish silently (contract 2.3).
    fn is_hushed(&self) -> bool {
        self.meta.kind == ConversationType::Direct && self.members().any(|(_, seat)| seat.blocks)
    }

    fn member_ids(&self) -> Set<UserId> {
        self.members().map(|(id, _)| *id).collect()
    }

    /// The row of `seq`, if it is in memory.
    fn recent_at(&self, seq: u64) -> Option<&Stored> {
        let at = self.recent.partition_point(|row| row.seq < seq);
        self.recent.get(at).filter(|row| row.seq == seq)
    }

    /// Whether every message and event above `seq` is in memory.
    fn recent_covers(&self, seq: u64) -> bool {
        seq >= self.floor
    }

    /// Messages up to `seq`, when memory can tell.
    fn nth_at(&self, seq: u64) -> Option<u64> {
        if seq >= self.head {
            return Some(self.count);
        }
        let at = self.recent.partition_point(|row| row.seq <= seq);
        match at.checked_sub(1).and_then(|at| self.recent.get(at)) {
            Some(row) => Some(row.nth),
            None if self.count as usize == self.recent.len() => Some(0),
            None => None,
        }
    }
}

impl Object for Room {
    fn handle(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Started { epoch, seed, .. } => {
                self.fx = Effects::new(epoch);
                self.seed = seed;
                self.state = State::New;
                self.last_use = now;
                (self.woken, self.load_again) = (false, None);
                return;
            }
            Input::Persisted { n } => {
                self.fx.persisted();
                return self.index_written(n);
            }
            Input::Alarm => return self.alarm(now),
            Input::Loaded { load, result } => return self.loaded(load, result, now),
            Input::Object { .. } | Input::Reply { .. } => {}
            _ => return,
        }
        match &mut self.state {
            State::New | State::Absent if self.settings.hibernates && is_moved(&input) => {
                // It fell asleep and forgot who listens: not worth loading for.
                if let Input::Object { from, call, .. } = input {
                    self.fx.reply(&from, call, Message::Forget { room: self.id });
                }
            }
            State::New => {
                let load = self.begin_load();
                self.state = State::Loading { load, waiting: VecDeque::from([input]) };
            }
            State::Loading { waiting, .. } => waiting.push_back(input),
            State::Ready(ready) if ready.blocked.is_some() => ready.waiting.push_back(input),
            _ => match input {
                Input::Object { from, call, msg } => {
                    if !matches!(msg, Message::Moved { .. }) {
                        self.last_use = now;
                    }
                    self.asked(from, call, msg, now);
                }
                Input::Reply { call, result } => self.replied(call, result, now),
                _ => {}
            },
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.fx.pop()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let idle_at = match &self.state {
            State::Loading { .. } => return None,
            State::New if self.settings.hibernates => return self.load_again,
            // The host ends lives as it likes.
            _ if self.settings.hibernates => None,
            State::Ready(_) => Some(self.last_use.plus_ms(limits::IDLE_MS)),
            State::New | State::Absent => Some(self.last_use.plus_ms(limits::ABSENT_IDLE_MS)),
        };
        // Everything that is due waits for the read, and its answer asks again.
        if matches!(&self.state, State::Ready(ready) if ready.blocked.is_some()) {
            return None;
        }
        let State::Ready(ready) = &self.state else { return idle_at };
        [idle_at, ready.marks.flush_at(), ready.audience.due(), ready.telling.due(), ready.index.due()].into_iter().flatten().min()
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        match &self.state {
            State::Loading { .. } => false,
            State::New | State::Absent => now.since(self.last_use) >= limits::ABSENT_IDLE_MS,
            State::Ready(ready) => ready.said_goodbye && ready.nothing_under_way() && self.fx.settled(),
        }
    }
}

impl Room {
    fn alarm(&mut self, now: Timestamp) {
        let again = self.load_again.take_if(|at| *at <= now).is_some();
        if matches!(self.state, State::New) && (!std::mem::replace(&mut self.woken, true) || again) {
            // Nobody asked, and yet this life began: the one before ended with work under way. What it stored but did
            // not deliver is told by loading.
            let load = self.begin_load();
            self.state = State::Loading { load, waiting: VecDeque::new() };
        }
        let State::Ready(ready) = &mut self.state else { return };
        if ready.blocked.is_some() {
            return;
        }
        self.marks_alarm(now);
        self.index_alarm(now);
        let State::Ready(ready) = &mut self.state else { return };
        ready.audience_alarm(&mut self.fx, self.id, self.settings.hibernates, now);
        ready.tell_again(&mut self.fx, self.id, now);
        if !self.settings.hibernates && now.since(self.last_use) >= limits::IDLE_MS {
            if ready.nothing_under_way() && self.fx.settled() {
                ready.goodbye(&mut self.fx, self.id);
            } else {
                // Something is still under way: ask again later.
                self.last_use = Timestamp(now.0.saturating_sub(limits::IDLE_MS - limits::ABSENT_IDLE_MS));
            }
        }
    }
}

impl Ready {
    fn nothing_under_way(&self) -> bool {
        self.reads.is_empty()
            && self.blocked.is_none()
            && self.marks.is_clean()
            && self.telling.is_empty()
            && self.index.due().is_none()
    }
}

#[cfg(test)]
mod tests;
