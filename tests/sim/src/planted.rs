//! Bugs that real chat servers had, planted into the models and around the objects (never into the product), to prove
//! that the checker sees them.

mod rights;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use edge_core::object::{CallKey, Frame, Input, Kind, Object, ObjectId, Output, SocketId};
use edge_core::objects::{Message, ReadUpTo, RoomEvent};
use edge_core::shard;
use edge_core::sql::{Statement, Value};
use wire::Timestamp;

use crate::check::Rule;
use crate::product;
use crate::run::Outcome;
use crate::scenario::Host;
use crate::world::{Bugs, Hooks};
use rights::{
    BlockIgnored, BlockedSeen, Deed, IndexBatchLost, InvisibleSeen, LastDevice, MarksUntold, SessionOfAnother, TypingKept, Unchecked,
};

/// One bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Outputs are not held behind their Persist.
    AckBeforeCommit,
    /// A Persist that failed is answered like one that did not.
    AckAfterFailure,
    /// One message in fifty is never written.
    DroppedWrite,
    /// Keys of repeated sends live in memory only.
    MemoryOnlyDedupe,
    /// Keys of repeated sends are not looked at.
    NoDedupe,
    /// Clients resume from the newest event they saw, not from the last one without a hole.
    CursorByTime,
    /// Live events are not dropped while a resume replays.
    MissingFence,
    /// One live event in fifty is not written to the sockets.
    LostDelivery,
    /// One event in fifty is written twice.
    DoubleDelivery,
    /// One event in fifty is overtaken by the next.
    OvertakenDelivery,
    /// A late read mark overwrites a newer one.
    ReceiptOverwrite,
    /// The newest page comes from a cache.
    StaleHistory,
    /// One edit in ten changes the message, but its event is not written.
    EditWithoutEvent,
    /// One change in ten writes its event, but not the message.
    EventWithoutEdit,
    /// Reactions are told before they are stored.
    ReactionTooEarly,
    /// Where objects sleep: a gateway that kept its sockets gets a new epoch.
    EpochRaised,
    /// A User does not store who wants to be told.
    ListenersForgotten,
    /// A gateway does not store whose sockets it has.
    SocketsForgotten,
    /// A gateway counts its calls from the same number in each life.
    CallsRepeated,
    /// The cursor of a socket is kept with the next event, not with the one that moved it.
    CursorLate,
    /// Sockets that survived a sleep are not pinged.
    NeverPinged,
    /// A recovery sends again what the client has.
    RecoveryRepeats,
    /// A recovery leaves out what the client missed.
    RecoverySkips,
    /// Gateways never forget who was a member.
    OutsidersKept,
    /// One batch for the search index in three is empty, and its cursor is stored.
    IndexBatchLost,
    /// A search does not wake conversations that the index has forgotten.
    SearchWakesNobody,
    /// A search looks at the conversations of everybody.
    SearchEverywhere,
    /// Whoever shows what a session is recovered by gets the session.
    SessionOfAnother,
    /// Rooms show their history to everybody who asks by REST.
    HistoryUnchecked,
    /// Rooms give their events to whoever resumes.
    ResumeUnchecked,
    /// Rooms take read marks of everybody.
    MarksUnchecked,
    /// Rooms take edits, deletions and reactions of everybody.
    ChangesUnchecked,
    /// Whoever heard somebody type in a conversation hears it for ever.
    TypingKept,
    /// Whoever hides is only away.
    InvisibleSeen,
    /// With each device its person is gone.
    LastDevice,
    /// Rooms know of no block.
    BlockIgnored,
    /// A block hides nobody.
    BlockedSeen,
    /// A User does not store what others must be told.
    OutboxForgotten,
    /// One time in three nobody is told who has read.
    MarksUntold,
    /// Where objects sleep: what was read and not told at once is not told.
    MarksPutOff,
}

/// How a bug shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// As this violation of the history.
    Broken(Rule, &'static str),
    /// As a breach of this name.
    Breach(&'static str),
}

impl Shows {
    /// Whether the run shows it.
    #[must_use]
    pub fn in_run(self, outcome: &Outcome) -> bool {
        match self {
            Self::Broken(rule, what) => outcome.verdict.broke(rule) && outcome.verdict.found(what),
            Self::Breach(name) => outcome.breaches.iter().any(|breach| breach.starts_with(name)),
        }
    }
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 40] = [
        Self::AckBeforeCommit,
        Self::AckAfterFailure,
        Self::DroppedWrite,
        Self::MemoryOnlyDedupe,
        Self::NoDedupe,
        Self::CursorByTime,
        Self::MissingFence,
        Self::LostDelivery,
        Self::DoubleDelivery,
        Self::OvertakenDelivery,
        Self::ReceiptOverwrite,
        Self::StaleHistory,
        Self::EditWithoutEvent,
        Self::EventWithoutEdit,
        Self::ReactionTooEarly,
        Self::EpochRaised,
        Self::ListenersForgotten,
        Self::SocketsForgotten,
        Self::CallsRepeated,
        Self::CursorLate,
        Self::NeverPinged,
        Self::RecoveryRepeats,
        Self::RecoverySkips,
        Self::OutsidersKept,
        Self::IndexBatchLost,
        Self::SearchWakesNobody,
        Self::SearchEverywhere,
        Self::SessionOfAnother,
        Self::HistoryUnchecked,
        Self::ResumeUnchecked,
        Self::MarksUnchecked,
        Self::ChangesUnchecked,
        Self::TypingKept,
        Self::InvisibleSeen,
        Self::LastDevice,
        Self::BlockIgnored,
        Self::BlockedSeen,
        Self::OutboxForgotten,
        Self::MarksUntold,
        Self::MarksPutOff,
    ];

    /// What the checker must say of it.
    #[must_use]
    pub fn verdict(self) -> Shows {
        let (rule, what) = match self {
            Self::AckBeforeCommit => (Rule::M4, "seen_before_commit"),
            Self::AckAfterFailure | Self::DroppedWrite => (Rule::M1, "acked_message_lost"),
            Self::MemoryOnlyDedupe => (Rule::M2, "key_stored_twice"),
            Self::NoDedupe => (Rule::M2, "repeat_answered_differently"),
            Self::CursorByTime => (Rule::M5, "cursor_skips_events"),
            Self::MissingFence | Self::DoubleDelivery | Self::RecoveryRepeats => (Rule::M5, "repeat_in_run"),
            Self::LostDelivery | Self::RecoverySkips => (Rule::M5, "hole_in_run"),
            Self::OvertakenDelivery => (Rule::M3, "seq_fell_on_connection"),
            Self::ReceiptOverwrite => (Rule::M7, "mark_fell"),
            Self::StaleHistory => (Rule::M8, "own_message_missing"),
            Self::EditWithoutEvent => (Rule::M3, "seq_not_dense"),
            Self::EventWithoutEdit => (Rule::M1, "acked_change_lost"),
            Self::ReactionTooEarly => (Rule::M4, "seen_before_commit"),
            Self::EpochRaised => (Rule::M5, "never_caught_up"),
            Self::CallsRepeated => (Rule::M2, "answered_with_another_message"),
            Self::CursorLate => (Rule::M5, "repeat_in_run"),
            Self::OutsidersKept => (Rule::N20, "outsider_was_told"),
            Self::IndexBatchLost | Self::SearchWakesNobody => (Rule::G07, "not_found"),
            Self::SearchEverywhere => (Rule::G07, "stranger_found"),
            Self::SessionOfAnother => (Rule::N47, "session_of_another"),
            Self::HistoryUnchecked => (Rule::N19, "outsider_read"),
            Self::ResumeUnchecked => (Rule::N20, "outsider_was_told"),
            Self::MarksUnchecked => (Rule::N22, "outsider_marked"),
            Self::ChangesUnchecked => (Rule::N28, "outsider_changed"),
            Self::TypingKept => return Shows::Breach("N20 a live event came after"),
            Self::InvisibleSeen => return Shows::Breach("P2 invisible"),
            Self::LastDevice => return Shows::Breach("P1 flap"),
            Self::BlockIgnored | Self::OutboxForgotten => return Shows::Breach("P2 heard"),
            Self::BlockedSeen => return Shows::Breach("P2 blocked"),
            Self::MarksUntold | Self::MarksPutOff => return Shows::Breach("M7 late"),
            Self::ListenersForgotten | Self::SocketsForgotten => return Shows::Breach("P1 still online"),
            Self::NeverPinged => return Shows::Breach("P1 silence"),
        };
        Shows::Broken(rule, what)
    }

    /// Where it is planted.
    #[must_use]
    pub fn host(self) -> Host {
        match self {
            Self::EpochRaised
            | Self::ListenersForgotten
            | Self::SocketsForgotten
            | Self::CallsRepeated
            | Self::CursorLate
            | Self::NeverPinged
            | Self::MarksPutOff => Host::Sleeping,
            _ => Host::Own,
        }
    }

    /// The product with this bug.
    #[must_use]
    pub fn hooks(self) -> Hooks {
        let bugs = Bugs {
            release_early: self == Self::AckBeforeCommit,
            ignore_failed_persist: self == Self::AckAfterFailure,
            cursor_by_time: self == Self::CursorByTime,
            raise_epoch: self == Self::EpochRaised,
            search_wakes_nobody: self == Self::SearchWakesNobody,
            search_everywhere: self == Self::SearchEverywhere,
        };
        let create = Rc::new(move |id: &ObjectId, settings: &_| {
            let inner = shard::create(id, settings)?;
            Some(match self.twist(id.kind) {
                Some(twist) => Box::new(Twisted { inner, twist, out: VecDeque::new() }) as Box<dyn Object>,
                None => inner,
            })
        });
        Hooks { bugs, ..product::hooks(create) }
    }

    fn twist(self, kind: Kind) -> Option<Box<dyn Twist>> {
        let twist: Box<dyn Twist> = match (self, kind) {
            (Self::DroppedWrite, Kind::Room) => Box::new(DroppedWrite(0)),
            (Self::MemoryOnlyDedupe, Kind::Room) => Box::new(MemoryOnlyDedupe),
            (Self::NoDedupe, Kind::Room) => Box::new(NoDedupe(0)),
            (Self::ReceiptOverwrite, Kind::Room) => Box::new(ReceiptOverwrite::default()),
            (Self::StaleHistory, Kind::Room) => Box::new(StaleHistory(None)),
            (Self::EditWithoutEvent, Kind::Room) => Box::new(HalfWritten(0, "INSERT INTO room_events")),
            (Self::EventWithoutEdit, Kind::Room) => Box::new(HalfWritten(0, "UPDATE room_messages")),
            (Self::ReactionTooEarly, Kind::Room) => Box::new(ReactionTooEarly),
            (Self::MissingFence, Kind::Gateway) => Box::new(MissingFence::default()),
            (Self::LostDelivery, Kind::Gateway) => Box::new(Written(0, |_, _, _| {})),
            (Self::DoubleDelivery, Kind::Gateway) => Box::new(Written(0, |output, _, out| {
                out.push_back(output.clone());
                out.push_back(output);
            })),
            (Self::OvertakenDelivery, Kind::Gateway) => Box::new(Written(0, |output, late, _| *late = Some(output))),
            (Self::ListenersForgotten, Kind::User) => Box::new(Forgotten("INSERT INTO user_listeners")),
            (Self::SocketsForgotten, Kind::Gateway) => Box::new(Forgotten("INSERT INTO gateway_users")),
            (Self::CallsRepeated, Kind::Gateway) => Box::new(CallsRepeated::default()),
            (Self::CursorLate, Kind::Gateway) => Box::new(CursorLate::default()),
            (Self::RecoveryRepeats, Kind::Gateway) => Box::new(Offset(|known| known.saturating_sub(8))),
            (Self::RecoverySkips, Kind::Gateway) => Box::new(Offset(|known| known + 8)),
            (Self::NeverPinged, Kind::Gateway) => Box::new(NeverPinged(BTreeSet::new())),
            (Self::OutsidersKept, Kind::Gateway) => Box::new(OutsidersKept::default()),
            (Self::IndexBatchLost, Kind::Room) => Box::new(IndexBatchLost(0)),
            (Self::SessionOfAnother, Kind::Gateway) => Box::new(SessionOfAnother::default()),
            (Self::HistoryUnchecked, Kind::Room) => Box::new(Unchecked(Deed::History, None)),
            (Self::ResumeUnchecked, Kind::Room) => Box::new(Unchecked(Deed::Pull, None)),
            (Self::MarksUnchecked, Kind::Room) => Box::new(Unchecked(Deed::Mark, None)),
            (Self::ChangesUnchecked, Kind::Room) => Box::new(Unchecked(Deed::Change, None)),
            (Self::TypingKept, Kind::Gateway) => Box::new(TypingKept::default()),
            (Self::InvisibleSeen, Kind::User) => Box::new(InvisibleSeen),
            (Self::LastDevice, Kind::Gateway) => Box::new(LastDevice),
            (Self::BlockIgnored, Kind::Room) => Box::new(BlockIgnored),
            (Self::BlockedSeen, Kind::User) => Box::new(BlockedSeen),
            (Self::OutboxForgotten, Kind::User) => Box::new(Forgotten("INSERT INTO user_outbox")),
            (Self::MarksUntold, Kind::Room) => Box::new(MarksUntold { put_off: false, told: 0, alarm: false }),
            (Self::MarksPutOff, Kind::Room) => Box::new(MarksUntold { put_off: true, told: 0, alarm: false }),
            _ => return None,
        };
        Some(twist)
    }
}

/// Changes what goes into an object and what comes out.
trait Twist {
    fn input(&mut self, input: Input, _now: Timestamp) -> Input {
        input
    }
    fn output(&mut self, output: Output, out: &mut VecDeque<Output>) {
        out.push_back(output);
    }
}

/// The gateway takes the offset of a client that comes back for another one.
struct Offset(fn(u64) -> u64);

impl Twist for Offset {
    fn input(&mut self, input: Input, _now: Timestamp) -> Input {
        let Input::Frame { socket, frame: Frame::Text(text) } = &input else { return input };
        let auth = text.strip_prefix("40").and_then(|auth| serde_json::from_str::<serde_json::Value>(auth).ok());
        let known = |auth: &serde_json::Value| u64::from_str_radix(auth.get("offset")?.as_str()?, 16).ok();
        match auth.and_then(|auth| Some((known(&auth)?, auth))) {
            Some((known, mut auth)) => {
                auth["offset"] = format!("{:x}", (self.0)(known)).into();
                Input::Frame { socket: *socket, frame: Frame::Text(format!("40{auth}")) }
            }
            None => input,
        }
    }
}

/// An object with a twist.
struct Twisted {
    inner: Box<dyn Object>,
    twist: Box<dyn Twist>,
    out: VecDeque<Output>,
}

impl Object for Twisted {
    fn handle(&mut self, input: Input, now: Timestamp) {
        let input = self.twist.input(input, now);
        self.inner.handle(input, now);
        while let Some(output) = self.inner.poll_output() {
            self.twist.output(output, &mut self.out);
        }
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.inner.poll_timeout()
    }
    fn is_idle(&self, now: Timestamp) -> bool {
        self.inner.is_idle(now)
    }
}

/// Statements that begin with this are never executed.
struct Forgotten(&'static str);

impl Twist for Forgotten {
    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Persist { statements, .. } = &mut output {
            statements.retain(|statement| !statement.sql.starts_with(self.0));
        }
        out.push_back(output);
    }
}

/// Each life counts its calls from the epoch, which a gateway keeps while it sleeps.
#[derive(Default)]
struct CallsRepeated {
    life: u64,
    given: u64,
    real: BTreeMap<CallKey, CallKey>,
}

impl Twist for CallsRepeated {
    fn input(&mut self, mut input: Input, _: Timestamp) -> Input {
        match &mut input {
            Input::Started { epoch, .. } => *self = Self { life: *epoch << 24, ..Self::default() },
            Input::Reply { call, .. } => *call = self.real.remove(call).unwrap_or(*call),
            _ => {}
        }
        input
    }

    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Object { call, .. } = &mut output
            && *call != CallKey::NONE
        {
            self.given += 1;
            let given = CallKey(self.life + self.given);
            self.real.insert(given, std::mem::replace(call, given));
        }
        out.push_back(output);
    }
}

/// What is attached waits for the next event.
#[derive(Default)]
struct CursorLate {
    late: VecDeque<Output>,
    due: VecDeque<Output>,
}

impl Twist for CursorLate {
    fn input(&mut self, input: Input, _: Timestamp) -> Input {
        self.due.append(&mut self.late);
        input
    }

    fn output(&mut self, output: Output, out: &mut VecDeque<Output>) {
        out.append(&mut self.due);
        if matches!(output, Output::Attach { .. }) {
            return self.late.push_back(output);
        }
        out.push_back(output);
    }
}

/// The sockets that a life began with.
struct NeverPinged(BTreeSet<SocketId>);

impl Twist for NeverPinged {
    fn input(&mut self, input: Input, _: Timestamp) -> Input {
        if let Input::Started { sockets, .. } = &input {
            self.0 = sockets.iter().map(|(socket, _)| *socket).collect();
        }
        input
    }

    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Send { sockets, frame: Frame::Text(text) } = &mut output
            && text == "2"
        {
            sockets.retain(|socket| !self.0.contains(socket));
        }
        out.push_back(output);
    }
}

/// Everybody who ever was in the audience of a room.
#[derive(Default)]
struct OutsidersKept(BTreeMap<wire::RoomId, BTreeSet<wire::UserId>>);

impl Twist for OutsidersKept {
    fn input(&mut self, mut input: Input, _: Timestamp) -> Input {
        if let Input::Object { msg: Message::Deliver { room, users: Some(users), .. }, .. } = &mut input {
            let all = self.0.entry(*room).or_default();
            all.extend(users.iter().copied());
            *users = all.iter().copied().collect();
        }
        input
    }
}

fn inserts_message(statement: &Statement) -> bool {
    statement.sql.starts_with("INSERT INTO room_messages")
}

struct DroppedWrite(u64);

impl Twist for DroppedWrite {
    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Persist { statements, .. } = &mut output
            && statements.iter().any(inserts_message)
        {
            self.0 += 1;
            if self.0.is_multiple_of(50) {
                statements.retain(|statement| !inserts_message(statement));
            }
        }
        out.push_back(output);
    }
}

/// One change of a message in ten is written without the statement that begins like this.
struct HalfWritten(u64, &'static str);

impl Twist for HalfWritten {
    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Persist { statements, .. } = &mut output
            && statements.iter().any(|statement| statement.sql.starts_with("UPDATE room_messages"))
        {
            self.0 += 1;
            if self.0.is_multiple_of(10) {
                statements.retain(|statement| !statement.sql.starts_with(self.1));
            }
        }
        out.push_back(output);
    }
}

/// The batch with a reaction goes out ahead of what stores it.
struct ReactionTooEarly;

impl Twist for ReactionTooEarly {
    fn output(&mut self, output: Output, out: &mut VecDeque<Output>) {
        let is_reaction = |numbered: &edge_core::objects::Numbered| matches!(numbered.event, RoomEvent::Reaction(_));
        let early = matches!(&output, Output::Object { msg: Message::Deliver { durable, .. }, .. } if durable.iter().any(is_reaction));
        match out.iter().position(|before| matches!(before, Output::Persist { .. })).filter(|_| early) {
            Some(at) => out.insert(at, output),
            None => out.push_back(output),
        }
    }
}

/// Knows no key of an earlier life.
struct MemoryOnlyDedupe;

impl Twist for MemoryOnlyDedupe {
    fn input(&mut self, mut input: Input, _: Timestamp) -> Input {
        if let Input::Loaded { result: Ok(all), .. } = &mut input {
            for rows in all {
                // Bundles: last_seq, sent_at, keys. Messages have theirs in the fourth column.
                rows.retain(|row| !(row.len() == 3 && matches!(row.get(2), Some(Value::Blob(_)))));
                for value in rows.iter_mut().filter_map(|row| if row.len() > 10 { row.get_mut(3) } else { None }) {
                    if let Value::Text(key) = value {
                        key.push('~');
                    }
                }
            }
        }
        input
    }
}

/// Gives every send a key of its own.
struct NoDedupe(u64);

impl Twist for NoDedupe {
    fn input(&mut self, mut input: Input, _: Timestamp) -> Input {
        match &mut input {
            Input::Started { epoch, .. } => self.0 = *epoch << 20,
            Input::Object { msg: Message::Send { message, .. }, .. } => {
                if let Some(key) = &mut message.client_id {
                    self.0 += 1;
                    key.push_str(&format!("~{}", self.0));
                }
            }
            _ => {}
        }
        input
    }

    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Reply { msg: Message::Sent { message, .. }, .. } = &mut output
            && let Some(key) = &mut message.client_id
            && let Some((bare, _)) = key.split_once('~')
        {
            *key = bare.to_owned();
        }
        out.push_back(output);
    }
}

/// With the next Persist, read marks become what was asked last, however old.
#[derive(Default)]
struct ReceiptOverwrite {
    asked: BTreeMap<wire::UserId, u64>,
}

impl Twist for ReceiptOverwrite {
    fn input(&mut self, input: Input, _: Timestamp) -> Input {
        if let Input::Object { msg: Message::MarkRead { user, up_to: ReadUpTo::Seq(seq) }, .. } = &input {
            self.asked.insert(*user, *seq);
        }
        input
    }

    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Persist { statements, .. } = &mut output
            && let Some(room) = statements.first().and_then(|statement| statement.params.first()).cloned()
        {
            for (user, seq) in std::mem::take(&mut self.asked) {
                let sql = "UPDATE room_members SET read_seq=min(?3,(SELECT max(seq) FROM room_messages WHERE room_id=?1)) \
                           WHERE room_id=?1 AND user_id=?2";
                statements.push(Statement::new(sql, vec![room.clone(), user.into(), seq.into()]));
            }
        }
        out.push_back(output);
    }
}

/// The newest page, as it was up to ten answers ago.
struct StaleHistory(Option<(u64, Message)>);

impl Twist for StaleHistory {
    fn output(&mut self, mut output: Output, out: &mut VecDeque<Output>) {
        if let Output::Reply { msg, .. } = &mut output
            && matches!(msg, Message::HistoryPage { messages, .. } if messages.len() < 200)
        {
            match &mut self.0 {
                Some((left @ 1.., cached)) => {
                    *left -= 1;
                    *msg = cached.clone();
                }
                cache => *cache = Some((10, msg.clone())),
            }
        }
        out.push_back(output);
    }
}

/// What happens to one written event in fifty: it, the one that is late, and what goes out.
type Change = fn(Output, &mut Option<Output>, &mut VecDeque<Output>);

struct Written(u64, Change);

impl Written {
    fn is_event(output: &Output) -> bool {
        matches!(output, Output::Send { frame: Frame::Text(text), .. } if text.starts_with("42[\"chat:message\""))
    }
}

impl Twist for Written {
    fn output(&mut self, output: Output, out: &mut VecDeque<Output>) {
        if !Self::is_event(&output) {
            return out.push_back(output);
        }
        self.0 += 1;
        if !self.0.is_multiple_of(50) {
            return out.push_back(output);
        }
        let mut late = None;
        (self.1)(output, &mut late, out);
        // The one that is late goes behind another copy of what went before it.
        if let Some(late) = late {
            let before = out.iter().rev().find(|before| Self::is_event(before)).cloned();
            out.push_back(late);
            out.extend(before);
        }
    }
}

/// Events of a conversation go to sockets that are in the middle of its replay.
#[derive(Default)]
struct MissingFence {
    resuming: BTreeMap<SocketId, BTreeSet<String>>,
    pending: Vec<Output>,
}

impl Twist for MissingFence {
    fn input(&mut self, input: Input, _: Timestamp) -> Input {
        match &input {
            Input::Frame { socket, frame: Frame::Text(text) } if text.contains("\"sync:resume\"") => {
                let body = text.find('[').and_then(|at| serde_json::from_str::<serde_json::Value>(text.get(at..)?).ok());
                let cursors = body.as_ref().and_then(|body| body.get(1)?.get("cursors")?.as_object());
                let named = cursors.into_iter().flatten().map(|(room, _)| room.clone()).collect();
                self.resuming.insert(*socket, named);
            }
            Input::Object { msg: Message::Deliver { room, durable, .. }, call, .. } if *call != CallKey::NONE => {
                for numbered in durable {
                    let RoomEvent::Message { message } = &numbered.event else { continue };
                    let mut body = serde_json::json!(message);
                    body["conversationId"] = serde_json::json!(room);
                    let room = room.to_string();
                    let named = self.resuming.iter().filter(|(_, rooms)| rooms.contains(&room));
                    let sockets: Vec<SocketId> = named.map(|(socket, _)| *socket).collect();
                    let frame = Frame::Text(format!("42{}", serde_json::json!(["chat:message", body])));
                    self.pending.push(Output::Send { sockets, frame });
                }
            }
            _ => {}
        }
        input
    }

    fn output(&mut self, output: Output, out: &mut VecDeque<Output>) {
        out.extend(self.pending.drain(..));
        if let Output::Send { sockets, frame: Frame::Text(text) } = &output
            && text.starts_with("43")
            && text.contains("\"heads\"")
        {
            for socket in sockets {
                self.resuming.remove(socket);
            }
        }
        out.push_back(output);
    }
}
