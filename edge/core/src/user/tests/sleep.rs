//! Users of hosts that let objects sleep: what others asked them to remember is stored.

use std::collections::BTreeMap;

use wire::{RoomId, SessionId, Timestamp, uuid_v7};

use super::super::User;
use super::id;
use crate::limits;
use crate::object::{CallError, CallKey, Input, Kind, Object, ObjectId, Output, PersistError, Store};
use crate::objects::{Location, Message};
use crate::settings::Settings;
use crate::sql::{Row, Statement, Value};

/// Own storage, as far as sleep needs it.
#[derive(Default)]
struct Storage {
    sockets: BTreeMap<String, Row>,
    listeners: BTreeMap<String, Row>,
    presence: Option<Row>,
}

impl Storage {
    fn write(&mut self, statement: &Statement) {
        let row: Row = statement.params[1..].to_vec();
        let name = || row[0].as_str().expect("a name").to_owned();
        match statement.sql.split_whitespace().take(3).collect::<Vec<_>>()[..] {
            ["INSERT", "INTO", "user_sockets"] => drop(self.sockets.insert(name(), row)),
            ["DELETE", "FROM", "user_sockets"] => drop(self.sockets.remove(&name())),
            ["INSERT", "INTO", "user_listeners"] => drop(self.listeners.insert(name(), row)),
            ["DELETE", "FROM", "user_listeners"] => drop(self.listeners.remove(&name())),
            ["INSERT", "INTO", "user_presence"] => self.presence = Some(row),
            _ => panic!("unexpected {}", statement.sql),
        }
    }

    fn read(&self, statement: &Statement) -> Vec<Row> {
        match statement.sql.split_once("FROM ").and_then(|(_, rest)| rest.split_whitespace().next()) {
            Some("user_sockets") => self.sockets.values().cloned().collect(),
            Some("user_listeners") => self.listeners.values().cloned().collect(),
            Some("user_presence") => self.presence.clone().into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

struct Host {
    user: User,
    storage: Storage,
    now: Timestamp,
    life: u64,
    storage_fails: bool,
    people_fail: bool,
    seen: Vec<Output>,
}

impl Host {
    fn new() -> Self {
        let mut settings = Settings::default();
        settings.hibernate();
        let user = User::new(id(1), settings.into());
        let mut host = Self {
            user,
            storage: Storage::default(),
            now: Timestamp(1_000_000),
            life: 0,
            storage_fails: false,
            people_fail: false,
            seen: Vec::new(),
        };
        host.wake();
        host
    }

    /// Another life; everything but storage is gone.
    fn wake(&mut self) {
        self.life += 1;
        self.seen.clear();
        self.give(Input::Started { sockets: Vec::new(), epoch: self.life, seed: [1; 32] });
    }

    fn give(&mut self, input: Input) {
        self.user.handle(input, self.now);
        while let Some(output) = self.user.poll_output() {
            self.seen.push(output.clone());
            match output {
                Output::Load { load, store: Store::Own, statements } => {
                    let rows = statements.iter().map(|statement| self.storage.read(statement)).collect();
                    let result = if self.storage_fails { Err(PersistError::Io) } else { Ok(rows) };
                    self.give(Input::Loaded { load, result });
                }
                Output::Load { load, store: Store::People, .. } => {
                    let result = if self.people_fail { Err(PersistError::Io) } else { Ok(vec![vec![vec![Value::from(id(2))]]]) };
                    self.give(Input::Loaded { load, result });
                }
                Output::Persist { n, statements } => {
                    statements.iter().for_each(|statement| self.storage.write(statement));
                    self.give(Input::Persisted { n });
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, from: ObjectId, msg: Message) {
        self.seen.clear();
        self.give(Input::Object { from, call: CallKey(77), msg });
    }

    fn alarm_at(&mut self, at: Timestamp) {
        self.now = at;
        self.seen.clear();
        self.give(Input::Alarm);
    }

    /// Alarms until nothing is due before this time.
    fn advance(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        self.seen.clear();
        while let Some(at) = self.user.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.give(Input::Alarm);
        }
        self.now = end;
    }

    /// Calls to other objects, newest last.
    fn told(&self, kind: Kind) -> Vec<(CallKey, Message)> {
        let told = |output: &Output| match output {
            Output::Object { to, call, msg } if to.kind == kind => Some((*call, msg.clone())),
            _ => None,
        };
        self.seen.iter().filter_map(told).collect()
    }

    fn pushed(&self) -> Vec<(CallKey, bool)> {
        let pushed = |(call, msg)| if let Message::Presence { online, .. } = msg { Some((call, online)) } else { None };
        self.told(Kind::Gateway).into_iter().filter_map(pushed).collect()
    }

    fn answer(&mut self, call: CallKey, result: Result<Message, CallError>) {
        self.seen.clear();
        self.give(Input::Reply { call, result });
    }

    fn up(&mut self) {
        self.ask(gateway(), Message::SocketUp { at: at("gw-0"), session: SESSION, version: 1, sockets: 1 });
    }

    fn down(&mut self, clean: bool) {
        self.ask(gateway(), Message::SocketDown { at: at("gw-0"), sockets: 0, clean, kept: 0 });
    }

    fn watched(&mut self) {
        self.ask(ObjectId::new(Kind::Gateway, "gw-1"), Message::Watch { at: at("gw-1") });
    }
}

const SESSION: SessionId = SessionId(uuid::Uuid::from_u128(77));

fn gateway() -> ObjectId {
    ObjectId::new(Kind::Gateway, "gw-0")
}

fn at(name: &str) -> Location {
    Location { gateway: name.into(), epoch: 5 }
}

fn room() -> RoomId {
    RoomId(uuid_v7(4, 4, 4))
}

#[test]
fn listeners_of_an_earlier_life_are_told() {
    let mut host = Host::new();
    host.ask(ObjectId::new(Kind::Room, room().to_string()), Message::Locate { room: room() });
    host.watched();
    host.wake();
    host.up();
    assert!(matches!(&host.told(Kind::Room)[..], [(_, Message::Moved { gateways, .. })] if *gateways == [at("gw-0")]));
    let [(_, Message::Presence { online: true, audience, .. })] = &host.told(Kind::Gateway)[..] else {
        panic!("{:?}", host.seen)
    };
    assert_eq!(*audience, Some(vec![id(2)]), "a gateway that slept does not know who may see");
}

#[test]
fn listeners_that_say_so_are_forgotten() {
    let mut host = Host::new();
    host.ask(ObjectId::new(Kind::Room, room().to_string()), Message::Locate { room: room() });
    host.watched();
    host.up();
    let calls = [host.told(Kind::Room), host.told(Kind::Gateway)].concat();
    assert_eq!(host.storage.listeners.len(), 2);
    host.answer(calls[0].0, Ok(Message::Forget { room: room() }));
    host.answer(calls[1].0, Ok(Message::Unwatch { at: at("gw-1") }));
    assert_eq!(host.storage.listeners.len(), 0);
}

#[test]
fn a_sleep_within_the_grace_is_no_flap() {
    let mut host = Host::new();
    host.watched();
    host.up();
    let (call, _) = host.pushed()[0];
    host.answer(call, Ok(Message::Done));
    host.down(false);
    let lost_at = host.now;
    host.now = host.now.plus_ms(3_000);
    host.wake();
    assert_eq!(host.user.poll_timeout(), Some(lost_at.plus_ms(limits::RECONNECT_GRACE_MS)));
    host.alarm_at(lost_at.plus_ms(4_000));
    assert_eq!(host.pushed(), [], "an alarm that was set before");
    host.alarm_at(lost_at.plus_ms(limits::RECONNECT_GRACE_MS));
    assert!(matches!(host.pushed()[..], [(_, false)]));
}

#[test]
fn what_a_life_did_not_get_told_the_next_one_tells() {
    let mut host = Host::new();
    host.watched();
    host.up();
    assert!(matches!(host.pushed()[..], [(_, true)]));
    host.wake();
    let [(call, true)] = host.pushed()[..] else { panic!("{:?}", host.seen) };
    host.answer(call, Ok(Message::Done));
    host.wake();
    assert_eq!(host.pushed(), [], "once the watcher has taken it");
}

#[test]
fn watchers_that_did_not_answer_are_told_again() {
    let mut host = Host::new();
    host.watched();
    host.up();
    for _ in 0..3 {
        let [(call, true)] = host.pushed()[..] else { panic!("{:?}", host.seen) };
        host.answer(call, Err(CallError::Lost));
    }
    assert_eq!(host.pushed(), []);
    host.advance(limits::TELL_AGAIN_MS);
    assert!(matches!(host.pushed()[..], [(_, true)]));
}

#[test]
fn without_the_people_database_watchers_are_told_later() {
    let mut host = Host::new();
    host.watched();
    host.people_fail = true;
    host.up();
    assert_eq!(host.pushed(), [], "nobody knows who may see");
    host.people_fail = false;
    host.advance(limits::TELL_AGAIN_MS);
    assert!(matches!(host.pushed()[..], [(_, true)]));
}

#[test]
fn storage_that_was_out_of_reach_at_a_wake_is_asked_again() {
    let mut host = Host::new();
    host.watched();
    host.up();
    let (call, _) = host.pushed()[0];
    host.answer(call, Ok(Message::Done));
    host.down(true);
    host.storage_fails = true;
    host.now = host.now.plus_ms(limits::CLEAN_CLOSE_MS);
    host.wake();
    host.give(Input::Alarm);
    assert_eq!(host.pushed(), []);
    host.storage_fails = false;
    host.advance(2 * limits::LOAD_AGAIN_MS);
    assert!(matches!(host.pushed()[..], [(_, false)]), "the alarm that would have told it is spent");
}

#[test]
fn a_later_life_of_a_gateway_speaks_for_the_earlier_one() {
    let mut host = Host::new();
    host.up();
    host.wake();
    let later = Location { epoch: 6, ..at("gw-0") };
    host.ask(gateway(), Message::SocketDown { at: later, sockets: 0, clean: false, kept: 0 });
    assert!(host.storage.sockets.is_empty());
    host.up();
    let earlier = Location { epoch: 4, ..at("gw-0") };
    host.ask(gateway(), Message::SocketDown { at: earlier, sockets: 0, clean: false, kept: 0 });
    assert_eq!(host.storage.sockets.len(), 1, "an earlier one does not speak for a later one");
}
