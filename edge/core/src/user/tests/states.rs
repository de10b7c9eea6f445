//! What a person chose to be (E-053) and what others see of it (E-054), on a host that stays warm, and across its ends.

use std::collections::BTreeMap;

use wire::Timestamp;

use super::{User, at, gateway, id};
use crate::object::{CallKey, Input, Kind, Object, Output, Store};
use crate::objects::{Location, Message, PresenceState, Shown};
use crate::settings::Settings;
use crate::sql::Value;

/// A user over the one row that is stored of its presence.
struct Host {
    user: User,
    row: Option<Vec<Value>>,
    sockets: BTreeMap<String, Vec<Value>>,
    projected: Vec<(u64, String, Option<u64>)>,
    now: Timestamp,
    seen: Vec<Output>,
}

impl Host {
    fn new() -> Self {
        let mut host = Self {
            user: User::new(id(1), Settings::default().into()),
            row: None,
            sockets: BTreeMap::new(),
            projected: Vec::new(),
            now: Timestamp(1_000_000),
            seen: Vec::new(),
        };
        host.start(1);
        host
    }

    fn start(&mut self, epoch: u64) {
        self.give(Input::Started { sockets: Vec::new(), epoch, seed: [1; 32] });
    }

    fn give(&mut self, input: Input) {
        self.user.handle(input, self.now);
        while let Some(output) = self.user.poll_output() {
            self.seen.push(output.clone());
            match output {
                Output::Load { load, store: Store::Own, statements } => {
                    let rows = statements.iter().map(|statement| match &statement.sql {
                        sql if sql.contains("FROM user_presence") => self.row.clone().into_iter().collect(),
                        sql if sql.contains("FROM user_sockets") => self.sockets.values().cloned().collect(),
                        _ => Vec::new(),
                    });
                    let result = Ok(rows.collect());
                    self.give(Input::Loaded { load, result });
                }
                Output::Load { load, .. } => self.give(Input::Loaded { load, result: Ok(vec![vec![vec![Value::from(id(2))]]]) }),
                Output::Persist { n, statements } => {
                    for statement in statements {
                        let row = statement.params.get(1..).unwrap_or_default().to_vec();
                        match &statement.sql {
                            sql if sql.starts_with("INSERT INTO user_presence") => self.row = Some(row),
                            sql if sql.starts_with("INSERT INTO user_sockets") => {
                                self.sockets.insert(row[0].as_str().expect("a name").to_owned(), row);
                            }
                            sql if sql.starts_with("DELETE FROM user_sockets") => {
                                self.sockets.remove(row[0].as_str().expect("a name"));
                            }
                            _ => {}
                        }
                    }
                    self.give(Input::Persisted { n });
                }
                Output::Project { n, version, statement, .. } => {
                    let [_, _, state, seen] = &statement.params[..] else { panic!("{statement:?}") };
                    self.projected.push((version, state.as_str().expect("a word").to_owned(), seen.as_u64()));
                    self.give(Input::Persisted { n });
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, msg: Message) -> Option<Message> {
        self.seen.clear();
        self.give(Input::Object { from: gateway(), call: CallKey(7), msg });
        self.seen.iter().find_map(|output| match output {
            Output::Reply { msg, .. } => Some(msg.clone()),
            _ => None,
        })
    }

    fn set(&mut self, state: PresenceState, text: Option<&str>) {
        let msg = Message::SetPresence { state, text: text.map(str::to_owned) };
        assert_eq!(self.ask(msg), Some(Message::Done));
    }

    fn up(&mut self) {
        let msg = Message::SocketUp { at: at(), session: super::SESSION, version: 1, sockets: 1 };
        assert!(matches!(self.ask(msg), Some(Message::SocketAccepted { .. })));
    }

    fn down(&mut self, kept: u32) {
        self.ask(Message::SocketDown { at: at(), sockets: 0, clean: true, kept });
    }

    /// What a watcher would be answered.
    fn watched(&mut self) -> (bool, Shown) {
        match self.ask(Message::Watch { at: Location { gateway: "gw-9".into(), epoch: 1 } }) {
            Some(Message::Presence { online, shown: Some(shown), .. }) => (online, shown),
            other => panic!("{other:?}"),
        }
    }

    /// What watchers were pushed since the last input.
    fn told(&self) -> Vec<Shown> {
        let told = self.seen.iter().filter_map(|output| match output {
            Output::Object { to, msg: Message::Presence { shown, .. }, .. } if to.kind == Kind::Gateway => shown.clone(),
            _ => None,
        });
        told.collect()
    }

    fn advance(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        self.seen.clear();
        while let Some(due) = self.user.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.give(Input::Alarm);
            if self.user.is_idle(self.now) {
                break;
            }
        }
        self.now = end;
    }
}

fn seen(state: PresenceState, last_seen: Option<Timestamp>, text: Option<&str>) -> Shown {
    Shown { state, last_seen, text: text.map(str::to_owned) }
}

#[test]
fn watchers_see_what_was_chosen_while_somebody_is_connected() {
    let mut host = Host::new();
    host.watched();
    host.set(PresenceState::Away, Some("at lunch"));
    assert_eq!(host.told(), [], "nobody is there");
    host.up();
    assert_eq!(host.told(), [seen(PresenceState::Away, None, Some("at lunch"))]);
    host.advance(2_000);
    host.set(PresenceState::Dnd, None);
    assert_eq!(host.told(), [seen(PresenceState::Dnd, None, Some("at lunch"))], "a text that is not named stays");
    host.set(PresenceState::Dnd, None);
    assert_eq!(host.told(), [], "nothing new");
    host.set(PresenceState::Dnd, Some(""));
    assert_eq!(host.told(), [], "at most once a second");
    host.advance(1_000);
    assert_eq!(host.told(), [seen(PresenceState::Dnd, None, None)]);
    host.down(0);
    host.advance(10_000);
    assert!(matches!(&host.told()[..], [Shown { state: PresenceState::Offline, last_seen: Some(_), text: None }]));
}

#[test]
fn whoever_is_invisible_looks_as_if_gone_since_then() {
    let mut host = Host::new();
    host.watched();
    host.up();
    host.advance(5_000);
    let then = host.now;
    host.set(PresenceState::Invisible, Some("secret"));
    assert_eq!(host.told(), [seen(PresenceState::Offline, Some(then), None)]);
    assert_eq!(host.watched(), (false, seen(PresenceState::Offline, Some(then), None)));
    host.advance(60_000);
    host.set(PresenceState::Invisible, Some("another"));
    host.down(0);
    host.advance(20_000);
    host.up();
    assert_eq!(host.told(), [], "coming and going cannot be seen");
    assert_eq!(host.watched().1, seen(PresenceState::Offline, Some(then), None));
    assert_eq!(host.projected.last().map(|(_, word, at)| (word.as_str(), *at)), Some(("offline", Some(then.0))));
    host.set(PresenceState::Online, None);
    assert_eq!(host.told(), [seen(PresenceState::Online, None, Some("another"))]);
}

#[test]
fn what_was_chosen_survives_the_end_of_the_host() {
    let mut host = Host::new();
    host.up();
    host.set(PresenceState::Away, Some("back soon"));
    host.start(2);
    host.up();
    assert_eq!(host.watched(), (true, seen(PresenceState::Away, None, Some("back soon"))));
}

#[test]
fn handlers_read_changes_and_nothing_of_a_flapping_connection() {
    let mut host = Host::new();
    host.up();
    assert_eq!(host.projected, [(1, "online".to_owned(), None)], "at once after a quiet time");
    for _ in 0..50 {
        host.down(0);
        host.advance(1_000);
        host.up();
        host.advance(1_000);
    }
    assert_eq!(host.projected.len(), 1);
    for step in 0..60 {
        host.set(if step % 2 == 0 { PresenceState::Away } else { PresenceState::Dnd }, None);
        host.ask(Message::Renew { at: at(), sockets: 1, kept: 0, sees: (0, 0) });
        host.advance(1_000);
    }
    assert!((2..=8).contains(&host.projected.len()), "{:?}", host.projected);
    host.advance(20_000);
    assert_eq!(host.projected.last().map(|(_, word, _)| word.as_str()), Some("dnd"));
    assert!(host.projected.is_sorted_by(|a, b| a.0 < b.0), "versions rise");
}

#[test]
fn after_the_end_of_the_host_whoever_does_not_come_back_is_gone_for_handlers_too() {
    for comes_back in [false, true] {
        let mut host = Host::new();
        host.up();
        host.projected.clear();
        host.advance(50_000);
        // The host ended without a word.
        host.start(2);
        let asked = host.seen.iter().rev().find_map(|output| match output {
            Output::Object { call, msg: Message::Verify { .. }, .. } => Some(*call),
            _ => None,
        });
        host.advance(1_000);
        assert_eq!(host.projected, [], "not known yet");
        host.give(Input::Reply { call: asked.expect("the gateway is asked"), result: Ok(Message::Present { epoch: 9, sockets: 0, kept: 0 }) });
        host.advance(1_000);
        if comes_back {
            host.up();
        }
        host.advance(20_000);
        let gone = Some(1_050_000);
        let wanted = if comes_back { vec![] } else { vec![(2, "offline".to_owned(), gone)] };
        assert_eq!(host.projected, wanted);
        if !comes_back {
            assert_eq!(host.watched().1.last_seen.map(|at| at.0), gone);
        }
    }
}

#[test]
fn a_kept_session_is_a_place_but_nobody_is_online_by_it() {
    let mut host = Host::new();
    let room = wire::RoomId(wire::uuid_v7(4, 4, 4));
    host.give(Input::Object { from: crate::objects::room(room), call: CallKey(1), msg: Message::Locate { room } });
    host.watched();
    host.up();
    host.down(1);
    let moved = |host: &Host| host.seen.iter().any(|output| matches!(output, Output::Object { msg: Message::Moved { .. }, .. }));
    assert!(!moved(&host), "Rooms go on delivering to it");
    host.advance(2_000);
    assert!(matches!(&host.told()[..], [Shown { state: PresenceState::Offline, .. }]));
    // Another life finds it again: with or without the gateway's word it is not online.
    host.start(2);
    let asked = host.seen.iter().rev().find_map(|output| match output {
        Output::Object { call, msg: Message::Verify { .. }, .. } => Some(*call),
        _ => None,
    });
    host.give(Input::Reply { call: asked.expect("asked"), result: Ok(Message::Present { epoch: 5, sockets: 0, kept: 1 }) });
    assert!(!host.watched().0);
    host.ask(Message::Renew { at: at(), sockets: 0, kept: 1, sees: (0, 0) });
    assert!(!host.watched().0);
    assert_eq!(host.sockets.len(), 1);
    host.down(0);
    assert!(host.sockets.is_empty());
}

#[test]
fn an_older_version_says_less_and_is_understood() {
    let old = br#"{"presence":{"user":"00000000-0001-7000-8000-000000000001","epoch":1,"version":2,"online":true}}"#;
    let Message::Presence { online: true, shown: None, audience: None, .. } = Message::from_bytes(old) else { panic!() };
    let old = br#"{"socket_down":{"at":{"gateway":"gw-0","epoch":5},"sockets":0,"clean":true}}"#;
    assert_eq!(Message::from_bytes(old), Message::SocketDown { at: at(), sockets: 0, clean: true, kept: 0 });
}
