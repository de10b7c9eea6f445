//! Rules of a Room that need no storage: loads of a new conversation find nothing, everything else is in memory.

mod changes;
mod groups;
mod index;
mod keys;
mod mentions;
mod people;
mod sleep;

use std::collections::VecDeque;

use wire::{ConversationType, ErrorCode, MessageKind, RoomId, Timestamp, UserId, uuid_v7};

use super::{Room, State};
use crate::object::{CallError, CallKey, Input, Kind, Object, ObjectId, Output};
use crate::objects::{Actor, HistoryCursor, LiveEvent, Location, Message, NewMessage, Profile, ReadUpTo};
use crate::settings::Settings;
use crate::sql::{Row, Statement, Value};

const ROOM: RoomId = RoomId(uuid::Uuid::from_u128(0xabc));

fn user(n: u64) -> UserId {
    UserId(uuid_v7(1, 0, n))
}

fn actor(n: u64) -> Actor {
    Actor { id: user(n), username: format!("user{n}") }
}

fn profile(n: u64) -> Profile {
    Profile {
        id: user(n),
        username: format!("user{n}"),
        display_name: format!("User {n}"),
        avatar_url: None,
        status: String::new(),
        receipts: true,
    }
}

fn text(content: &str, client_id: Option<&str>) -> NewMessage {
    NewMessage {
        content: content.to_owned(),
        kind: MessageKind::Text,
        client_id: client_id.map(str::to_owned),
        reply_to: None,
        metadata: None,
    }
}

/// One Room, a storage that is empty, and Users that answer where they are.
struct Host {
    room: Room,
    now: Timestamp,
    calls: u64,
    /// Gateway of each located user.
    located: bool,
    seen: Vec<Output>,
}

impl Host {
    fn new(located: bool) -> Self {
        Self::with(located, Settings { rate_limits: false, ..Settings::default() })
    }

    fn sleeping(located: bool) -> Self {
        let mut settings = Settings { rate_limits: false, ..Settings::default() };
        settings.hibernate();
        Self::with(located, settings)
    }

    fn with(located: bool, settings: Settings) -> Self {
        let mut host =
            Self { room: Room::new(ROOM, settings.into()), now: Timestamp(1_000_000), calls: 0, located, seen: Vec::new() };
        host.give(Input::Started { sockets: Vec::new(), epoch: 1, seed: [3; 32] });
        host
    }

    fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.room.handle(input, self.now);
            while let Some(output) = self.room.poll_output() {
                inputs.extend(self.answer(&output));
                self.seen.push(output);
            }
        }
    }

    fn answer(&self, output: &Output) -> Option<Input> {
        match output {
            Output::Load { load, statements, .. } => {
                Some(Input::Loaded { load: *load, result: Ok(vec![Vec::new(); statements.len()]) })
            }
            Output::Persist { n, .. } | Output::Project { n, .. } => Some(Input::Persisted { n: *n }),
            Output::Object { msg: Message::Locate { .. }, .. } if !self.located => None,
            Output::Object { to, call, msg: Message::Locate { .. } | Message::MembershipChanged { .. } } if *call != CallKey::NONE => {
                let user = UserId::parse(&to.name).expect("a user's name is an id");
                let here = Location { gateway: "gw-0".into(), epoch: 7 };
                let gateways = if self.located { vec![here] } else { Vec::new() };
                Some(Input::Reply { call: *call, result: Ok(Message::Moved { user, epoch: 1, version: 1, gateways }) })
            }
            _ => None,
        }
    }

    fn ask_as(&mut self, kind: Kind, msg: Message) -> Message {
        self.calls += 1;
        let call = CallKey(self.calls);
        self.seen.clear();
        self.give(Input::Object { from: ObjectId::new(kind, "gw-0"), call, msg });
        self.seen
            .iter()
            .find_map(|output| match output {
                Output::Reply { call: answered, msg, .. } if *answered == call => Some(msg.clone()),
                _ => None,
            })
            .expect("every call is answered")
    }

    fn ask(&mut self, msg: Message) -> Message {
        self.ask_as(Kind::Gateway, msg)
    }

    fn create(&mut self, members: &[u64]) {
        self.create_as(ConversationType::Direct, members);
    }

    fn create_as(&mut self, kind: ConversationType, members: &[u64]) {
        let members = members.iter().map(|n| profile(*n)).collect();
        let msg = Message::Create { kind, name: None, by: user(1), members };
        assert!(matches!(self.ask_as(Kind::Http, msg), Message::View { .. }));
    }

    fn send(&mut self, from: u64, content: &str, client_id: Option<&str>) -> Message {
        self.ask(Message::Send { from: actor(from), message: text(content, client_id) })
    }

    fn head(&self) -> u64 {
        let State::Ready(ready) = &self.room.state else { panic!("not loaded") };
        ready.head
    }

    /// The call of the batch that was sent to a gateway.
    fn delivery(&self) -> CallKey {
        let batch = self.seen.iter().find_map(|output| match output {
            Output::Object { call, msg: Message::Deliver { .. }, .. } => Some(*call),
            _ => None,
        });
        batch.expect("delivered")
    }

    fn delivered(&self) -> Vec<(Vec<u64>, Vec<LiveEvent>)> {
        self.seen
            .iter()
            .filter_map(|output| match output {
                Output::Object { msg: Message::Deliver { durable, live, .. }, .. } => {
                    Some((durable.iter().map(|event| event.seq).collect(), live.clone()))
                }
                _ => None,
            })
            .collect()
    }
}

/// Stored since the last look by statements that begin so.
fn persisted<'a>(host: &'a Host, table: &'a str) -> impl Iterator<Item = &'a Statement> {
    let statements = host.seen.iter().flat_map(|output| match output {
        Output::Persist { statements, .. } => &statements[..],
        _ => &[],
    });
    statements.filter(move |statement| statement.sql.starts_with(table))
}

/// Messages that were stored, as storage would give them back.
fn stored_messages(host: &Host) -> Vec<Row> {
    let columns = |insert: &Statement| {
        let [_, row @ .., created_at, digest, call, mentions] = &insert.params[..] else { panic!("as many as columns") };
        let mut row = row.to_vec();
        let null = &Value::Null;
        row.extend([created_at, null, null, digest, null, null, null, call, mentions].map(Clone::clone));
        row
    };
    persisted(host, "INSERT INTO room_messages").map(columns).collect()
}

fn code(msg: &Message) -> Option<ErrorCode> {
    if let Message::Refused { failure } = msg { Some(failure.code) } else { None }
}

#[test]
fn sends_are_numbered_without_holes_and_stored_before_they_are_told() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    for n in 1..=5 {
        let Message::Sent { message, repeated: false } = host.send(1 + n % 2, "hello", None) else { panic!("refused") };
        assert_eq!(message.seq, n);
        let at = |wanted: fn(&Output) -> bool| host.seen.iter().position(wanted).expect("it is there");
        let persist = at(|output| matches!(output, Output::Persist { .. }));
        assert!(persist < at(|output| matches!(output, Output::Reply { .. })));
        assert!(persist < at(|output| matches!(output, Output::Object { msg: Message::Deliver { .. }, .. })));
    }
}

#[test]
fn the_same_client_id_gets_the_first_answer_or_a_conflict() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    let Message::Sent { message: first, .. } = host.send(1, "once", Some("k")) else { panic!("refused") };
    let Message::Sent { message: again, repeated } = host.send(1, "once", Some("k")) else { panic!("refused") };
    assert!(repeated && again.id == first.id && again.seq == first.seq);
    assert!(host.delivered().is_empty(), "a repeat is told to nobody");
    assert_eq!(code(&host.send(1, "twice", Some("k"))), Some(ErrorCode::Conflict));
    let Message::Sent { message, repeated: false } = host.send(2, "once", Some("k")) else { panic!("keys are per sender") };
    assert_eq!(message.seq, 2);
}

#[test]
fn strangers_learn_nothing() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    let pull = Message::Pull { user: user(9), after: 0, limit: 10, generation: None, marks: true };
    let delivered = Message::MarkDelivered { user: user(9), up_to: 1 };
    for msg in [Message::Join { user: user(9) }, pull, Message::Describe { user: user(9) }, delivered] {
        assert_eq!(code(&host.ask(msg.clone())), Some(ErrorCode::PermissionDenied));
        assert_eq!(code(&host.ask_as(Kind::Http, msg)), Some(ErrorCode::NotFound));
    }
    let mut missing = Host::new(true);
    assert_eq!(code(&missing.ask_as(Kind::Http, Message::Describe { user: user(1) })), Some(ErrorCode::NotFound));
    assert_eq!(code(&missing.send(1, "x", None)), Some(ErrorCode::PermissionDenied));
}

#[test]
fn watermarks_only_rise() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    for _ in 0..5 {
        host.send(1, "m", None);
    }
    let read = |host: &mut Host, seq| host.ask(Message::MarkRead { user: user(2), up_to: ReadUpTo::Seq(seq) });
    assert_eq!(read(&mut host, 4), Message::Marked { read_seq: 4 });
    assert!(host.delivered().iter().any(|(_, live)| live.iter().any(|event| matches!(event, LiveEvent::Read { up_to: 4, ids, .. } if ids.len() == 4))));
    assert_eq!(read(&mut host, 2), Message::Marked { read_seq: 4 });
    assert!(host.delivered().is_empty(), "an older mark is told to nobody");
    assert_eq!(read(&mut host, 99), Message::Marked { read_seq: 5 }, "nothing beyond the head is read");
}

#[test]
fn one_foreign_id_marks_nothing() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    let Message::Sent { message, .. } = host.send(1, "m", None) else { panic!("refused") };
    let foreign = wire::MessageId(uuid_v7(5, 5, 5));
    let up_to = ReadUpTo::Ids(vec![message.id, foreign]);
    assert_eq!(code(&host.ask(Message::MarkRead { user: user(2), up_to })), Some(ErrorCode::InvalidData));
    let Message::Joined { read_seq, .. } = host.ask(Message::Join { user: user(2) }) else { panic!("refused") };
    assert_eq!(read_seq, 0);
}

#[test]
fn deliveries_are_told_at_most_every_three_seconds() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    for _ in 0..3 {
        host.send(1, "m", None);
    }
    host.ask(Message::MarkDelivered { user: user(2), up_to: 1 });
    assert_eq!(host.delivered().len(), 1);
    host.ask(Message::MarkDelivered { user: user(2), up_to: 3 });
    assert!(host.delivered().is_empty());
    host.now = host.now.plus_ms(3_000);
    host.seen.clear();
    host.give(Input::Alarm);
    let told = host.delivered();
    assert!(matches!(told[0].1[0], LiveEvent::Receipts { delivered_seq: 3, read_seq: 0, .. }));
}

#[test]
fn events_wait_until_it_is_known_where_the_members_are() {
    let mut host = Host::new(false);
    host.create(&[1, 2]);
    let locates: Vec<(CallKey, UserId)> = host
        .seen
        .iter()
        .filter_map(|output| match output {
            Output::Object { to, call, msg: Message::Locate { .. } } => Some((*call, UserId::parse(&to.name)?)),
            _ => None,
        })
        .collect();
    host.send(1, "early", None);
    assert!(host.delivered().is_empty());
    host.seen.clear();
    for (call, user) in locates {
        let gateways = vec![Location { gateway: "gw-3".into(), epoch: 1 }];
        host.give(Input::Reply { call, result: Ok(Message::Moved { user, epoch: 1, version: 1, gateways }) });
    }
    let told = host.delivered();
    assert_eq!((told.len(), &told[0].0), (1, &vec![1]));
    assert!(matches!(&told[0].1[..], [LiveEvent::Created { users, .. }] if users.len() == 2), "it is new to both");
}

#[test]
fn a_gateway_in_another_life_is_asked_for_again_and_not_for_ever() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    host.send(1, "m", None);
    let call = host.delivery();
    host.seen.clear();
    host.give(Input::Reply { call, result: Ok(Message::Accepted { stale: true, unknown_audience: false }) });
    let locates = host.seen.iter().filter(|output| matches!(output, Output::Object { msg: Message::Locate { .. }, .. }));
    assert_eq!(locates.count(), 2, "the harness answers with the old life: it is not believed, and not asked again");
    host.seen.clear();
    host.send(1, "m", None);
    assert!(host.delivered().is_empty());
    let gateways = vec![Location { gateway: "gw-0".into(), epoch: 8 }];
    host.give(Input::Object {
        from: ObjectId::new(Kind::User, user(2).to_string()),
        call: CallKey::NONE,
        msg: Message::Moved { user: user(2), epoch: 1, version: 2, gateways },
    });
    host.send(1, "m", None);
    assert_eq!(host.delivered().len(), 1);
}

/// Call, whether the users were told, and the events of the batches that were sent since the last look.
fn batches(host: &mut Host) -> Vec<(CallKey, bool, Vec<u64>)> {
    let seen = std::mem::take(&mut host.seen);
    let batch = |output: &Output| match output {
        Output::Object { call, msg: Message::Deliver { users, durable, .. }, .. } => {
            Some((*call, users.is_some(), durable.iter().map(|numbered| numbered.seq).collect()))
        }
        _ => None,
    };
    seen.iter().filter_map(batch).collect()
}

fn taken(unknown_audience: bool) -> Result<Message, CallError> {
    Ok(Message::Accepted { stale: false, unknown_audience })
}

#[test]
fn what_a_gateway_without_audience_did_not_take_is_repeated_in_order_and_ahead_of_what_came_since() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    let told = batches(&mut host);
    assert!(told.iter().all(|(_, users, _)| *users), "the gateway learns who its audience is");
    for (call, ..) in told {
        host.give(Input::Reply { call, result: taken(false) });
    }
    host.send(1, "1", None);
    let first = batches(&mut host);
    host.give(Input::Reply { call: first[0].0, result: taken(false) });
    host.send(1, "2", None);
    let second = batches(&mut host);
    host.send(1, "3", None);
    let third = batches(&mut host);
    assert!(!second[0].1 && !third[0].1, "the gateway was told before");
    host.give(Input::Reply { call: second[0].0, result: taken(true) });
    assert!(batches(&mut host).is_empty(), "another one is under way");
    host.send(1, "4", None);
    assert!(batches(&mut host).is_empty(), "nothing passes what was not taken");
    host.give(Input::Reply { call: third[0].0, result: taken(true) });
    let again = batches(&mut host);
    assert_eq!((again.len(), again[0].1, &again[0].2), (1, true, &vec![2, 3, 4]));
    host.give(Input::Reply { call: again[0].0, result: taken(false) });
    host.send(1, "5", None);
    assert_eq!(batches(&mut host)[0].2, [5]);
}

#[test]
fn a_lost_batch_is_followed_by_the_head() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    host.send(1, "m", None);
    let call = host.delivery();
    host.give(Input::Reply { call, result: Err(CallError::Lost) });
    host.now = host.now.plus_ms(1_000);
    host.seen.clear();
    host.give(Input::Alarm);
    let head = host.seen.iter().find_map(|output| match output {
        Output::Object { msg: Message::Deliver { head, durable, .. }, .. } => Some((*head, durable.len())),
        _ => None,
    });
    assert_eq!(head, Some((1, 0)));
}

#[test]
fn replay_starts_above_the_cursor_and_foreign_cursors_reset() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    for _ in 0..250 {
        host.send(1, "m", None);
    }
    let pull = |host: &mut Host, after, generation| {
        host.ask(Message::Pull { user: user(2), after, limit: 100, generation, marks: false })
    };
    let Message::Page { events, head, reset: None, .. } = pull(&mut host, 100, Some(1)) else { panic!("refused") };
    assert_eq!(head, 250);
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (101..=200).collect::<Vec<_>>());
    let Message::Page { reset, .. } = pull(&mut host, 251, None) else { panic!("refused") };
    assert_eq!(reset.as_deref(), Some("cursor_ahead"));
    let Message::Page { reset, .. } = pull(&mut host, 3, Some(9)) else { panic!("refused") };
    assert_eq!(reset.as_deref(), Some("generation"));
}

#[test]
fn history_pages_are_oldest_first_and_name_the_next_one() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    for _ in 0..7 {
        host.send(1, "m", None);
    }
    let page = |host: &mut Host, cursor| {
        let Message::HistoryPage { messages, next_before } = host.ask(Message::History { user: user(2), cursor, limit: 3 })
        else {
            panic!("refused")
        };
        (messages.iter().map(|message| message.seq).collect::<Vec<_>>(), next_before)
    };
    let (seqs, next) = page(&mut host, HistoryCursor::Newest);
    assert_eq!(seqs, [5, 6, 7]);
    let (seqs, next) = page(&mut host, HistoryCursor::BeforeMessage(next.expect("older ones exist")));
    assert_eq!(seqs, [2, 3, 4]);
    let (seqs, next) = page(&mut host, HistoryCursor::BeforeMessage(next.expect("older ones exist")));
    assert_eq!((seqs, next), (vec![1], None));
    assert_eq!(page(&mut host, HistoryCursor::AfterSeq(4)).0, [5, 6, 7]);
}

#[test]
fn a_block_refuses_sends_both_ways_with_different_words() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    host.ask(Message::Blocked { by: user(2), on: true, version: 0 });
    assert_eq!(code(&host.send(1, "m", None)), Some(ErrorCode::UserUnavailable));
    assert_eq!(code(&host.send(2, "m", None)), Some(ErrorCode::Blocked));
    host.ask(Message::Typing { from: actor(1), on: true });
    host.ask(Message::MarkRead { user: user(1), up_to: ReadUpTo::Seq(1) });
    assert!(host.delivered().is_empty(), "typing and marks vanish silently");
    host.ask(Message::Blocked { by: user(2), on: false, version: 0 });
    assert!(matches!(host.send(1, "m", None), Message::Sent { .. }));
}

#[test]
fn a_late_word_of_a_block_changes_nothing() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    for (on, version) in [(true, 5), (false, 6), (true, 5)] {
        host.ask(Message::Blocked { by: user(2), on, version });
    }
    assert_eq!(code(&host.send(1, "m", None)), None);
    host.ask(Message::Blocked { by: user(2), on: true, version: 7 });
    assert_eq!(code(&host.send(1, "m", None)), Some(ErrorCode::UserUnavailable));
}

#[test]
fn a_room_without_use_says_goodbye_and_is_dropped() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    host.send(1, "m", None);
    host.now = host.now.plus_ms(crate::limits::INDEX_AFTER_MS);
    host.give(Input::Alarm);
    host.now = host.now.plus_ms(crate::limits::IDLE_MS);
    host.seen.clear();
    host.give(Input::Alarm);
    let forgets = host.seen.iter().filter(|output| matches!(output, Output::Object { msg: Message::Forget { .. }, .. }));
    assert_eq!(forgets.count(), 2);
    assert!(host.room.is_idle(host.now));
}
