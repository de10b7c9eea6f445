//! Presence: watched once, told to those who may see it (E-010..E-013).

use serde_json::{Value, json};

use super::bench::{Bench, user};
use crate::object::{CallError, CallKey, SocketId};
use crate::objects::{self, Message, PresenceState, Shown};

fn watch(bench: &mut Bench, n: u64) -> Option<CallKey> {
    let found = bench.take(|to, msg| {
        (*to == objects::user(user(n)) && matches!(msg, Message::Watch { .. })).then_some(())
    });
    found.map(|(call, ())| call)
}

fn is(n: u64, version: u64, online: bool) -> Message {
    Message::Presence { user: user(n), epoch: 1, version, online, shown: None, audience: None }
}

/// E-012 or E-013, and E-054.
fn news(n: u64, online: bool, last_seen: Value) -> [Value; 2] {
    let (event, state) = if online { ("presence:online", "online") } else { ("presence:offline", "offline") };
    let state = json!({"userId": user(n), "state": state, "lastSeen": last_seen, "text": null});
    [json!([event, {"userId": user(n)}]), json!(["presence:state", state])]
}

fn list(bench: &mut Bench, socket: SocketId) -> Option<Value> {
    bench.events(socket).into_iter().find(|event| event[0] == "presence:onlineList").map(|event| event[1].clone())
}

#[test]
fn the_list_waits_for_the_first_answers() {
    let mut bench = Bench::new();
    let socket = bench.client_seeing(1, &[2, 3, 1]);
    bench.emit(socket, None, json!(["presence:getOnline"]));
    assert_eq!(list(&mut bench, socket), None);
    let (two, three) = (watch(&mut bench, 2).expect("asked"), watch(&mut bench, 3).expect("asked"));
    assert!(watch(&mut bench, 1).is_none(), "nobody watches oneself");
    bench.reply(two, is(2, 1, true));
    assert_eq!(list(&mut bench, socket), None);
    bench.reply(three, is(3, 1, false));
    assert_eq!(list(&mut bench, socket), Some(json!([user(2)])));
}

#[test]
fn the_acknowledgement_has_the_list_too() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.emit(socket, Some(4), json!(["presence:getOnline"]));
    let texts = bench.texts(socket);
    assert!(texts[0].starts_with(r#"42["presence:onlineList",[],""#) && texts[1] == "434[[]]", "{texts:?}");
}

#[test]
fn a_silent_user_delays_the_list_by_the_call_timeout_at_most() {
    let mut bench = Bench::new();
    let socket = bench.client_seeing(1, &[2]);
    bench.emit(socket, None, json!(["presence:getOnline"]));
    bench.advance(9_000);
    assert_eq!(list(&mut bench, socket), Some(json!([])));
    // Later it is found to be online after all.
    bench.user_says(user(2), is(2, 1, true));
    assert_eq!(bench.events(socket), news(2, true, Value::Null));
}

#[test]
fn a_user_is_watched_once_however_many_sockets_may_see_it() {
    let mut bench = Bench::new();
    let sockets: Vec<SocketId> = [1, 1, 2].iter().map(|n| bench.client_seeing(*n, &[9])).collect();
    let call = watch(&mut bench, 9).expect("asked");
    assert!(watch(&mut bench, 9).is_none());
    bench.reply(call, is(9, 1, false));
    bench.user_says(user(9), is(9, 2, true));
    for socket in &sockets {
        assert_eq!(bench.events(*socket), news(9, true, Value::Null));
    }
    bench.user_says(user(9), is(9, 3, false));
    bench.user_says(user(9), is(9, 2, true));
    assert_eq!(bench.events(sockets[0]), news(9, false, Value::Null), "older ones are ignored");
    for socket in &sockets[..2] {
        bench.step(crate::object::Input::SocketClosed { socket: *socket, clean: true });
    }
    let unwatched = |bench: &mut Bench| bench.take(|_, msg| matches!(msg, Message::Unwatch { .. }).then_some(()));
    assert!(unwatched(&mut bench).is_none(), "user 2 still sees it");
    bench.step(crate::object::Input::SocketClosed { socket: sockets[2], clean: true });
    assert!(unwatched(&mut bench).is_none(), "what happens is kept for it");
    bench.advance(crate::limits::RECOVERY_MS);
    assert!(unwatched(&mut bench).is_some());
}

#[test]
fn only_permitted_watchers_are_told() {
    let mut bench = Bench::new();
    let (sees, blind) = (bench.client_seeing(1, &[9]), bench.client_seeing(2, &[]));
    let call = watch(&mut bench, 9).expect("asked");
    bench.reply(call, is(9, 1, false));
    bench.user_says(user(9), is(9, 2, true));
    assert_eq!(bench.events(sees).len(), 2);
    assert_eq!(bench.events(blind), Vec::<Value>::new());
}

#[test]
fn people_who_come_into_sight_or_leave_it_are_announced() {
    let mut bench = Bench::new();
    let socket = bench.client_seeing(1, &[2]);
    let call = watch(&mut bench, 2).expect("asked");
    bench.reply(call, is(2, 1, true));
    assert_eq!(bench.events(socket), Vec::<Value>::new(), "the list is asked for");
    bench.user_says(user(1), Message::Sees { user: user(1), sees: vec![user(3)], gone: Vec::new(), version: (1, 2) });
    assert_eq!(bench.events(socket), news(2, false, json!(bench.now)), "as if it had left");
    bench.user_says(user(1), Message::Sees { user: user(1), sees: vec![user(2)], gone: Vec::new(), version: (1, 1) });
    assert!(watch(&mut bench, 2).is_none(), "an older list comes too late");
    let call = watch(&mut bench, 3).expect("asked");
    bench.reply(call, is(3, 1, true));
    assert_eq!(bench.events(socket), news(3, true, Value::Null));
}

#[test]
fn users_that_may_have_forgotten_are_asked_again() {
    let mut bench = Bench::new();
    let socket = bench.client_seeing(1, &[2, 3]);
    let call = watch(&mut bench, 2).expect("asked");
    bench.reply(call, is(2, 1, false));
    let call = watch(&mut bench, 3).expect("asked");
    bench.fail(call, CallError::Lost);
    bench.advance(14_000);
    bench.text(socket, "3");
    bench.advance(10_000);
    bench.text(socket, "3");
    assert!(watch(&mut bench, 3).is_some(), "an unknown state is asked for with the next sweep");
    assert!(watch(&mut bench, 2).is_none());
    for _ in 0..5 {
        bench.advance(10_000);
        bench.text(socket, "3");
    }
    assert!(watch(&mut bench, 2).is_some(), "every minute at least");
}

#[test]
fn leases_are_renewed_by_the_sweep() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.advance(20_500);
    bench.text(socket, "3");
    let renewed = bench.take(|to, msg| match msg {
        Message::Renew { sockets, .. } if *to == objects::user(user(1)) => Some(*sockets),
        _ => None,
    });
    assert_eq!(renewed.map(|(_, sockets)| sockets), Some(1));
}

#[test]
fn how_a_socket_went_is_told_to_its_user() {
    for (clean, wanted) in [(true, true), (false, false)] {
        let mut bench = Bench::new();
        let socket = bench.client(1);
        bench.step(crate::object::Input::SocketClosed { socket, clean });
        let down = bench.take(|_, msg| match msg {
            Message::SocketDown { sockets, clean, .. } => Some((*sockets, *clean)),
            _ => None,
        });
        assert_eq!(down.map(|(_, down)| down), Some((0, wanted)));
    }
}

#[test]
fn a_half_open_socket_is_found_in_time_and_no_return_is_waited_for() {
    let mut bench = Bench::new();
    let socket = bench.client(1);
    bench.advance(38_000);
    assert_eq!(bench.closed[&socket], 4000);
    let down = bench.take(|_, msg| if let Message::SocketDown { clean, .. } = msg { Some(*clean) } else { None });
    assert_eq!(down.map(|(_, clean)| clean), Some(true));
}

#[test]
fn a_storm_of_connects_costs_each_its_contacts_and_is_no_broadcast() {
    let mut bench = Bench::new();
    let users = 1_000;
    let contacts = |n: u64| [n.saturating_sub(1), n + 1].into_iter().filter(move |other| (1..=users).contains(other)).collect::<Vec<u64>>();
    let mut calls = 0;
    let sockets: Vec<SocketId> = (1..=users)
        .map(|n| {
            let socket = bench.client_seeing(n, &contacts(n));
            calls += 1;
            while let Some((call, who)) = bench.take(|to, msg| matches!(msg, Message::Watch { .. }).then(|| to.clone())) {
                calls += 1;
                let other = (1..=users).find(|n| objects::user(user(*n)) == who).expect("a user");
                bench.reply(call, is(other, 1, false));
            }
            socket
        })
        .collect();
    assert!(bench.asked.is_empty() && calls <= users * 3, "{calls} calls");
    // Each User pushes that it is online, once to this gateway.
    (1..=users).for_each(|n| bench.user_says(user(n), is(n, 2, true)));
    let frames: usize = sockets.iter().map(|socket| bench.events(*socket).len()).sum();
    assert_eq!(frames as u64, 2 * (2 * users - 2), "E-012 and E-054 of each contact, nothing of strangers");
}

#[test]
fn a_state_is_told_without_a_coming_or_going() {
    let mut bench = Bench::new();
    let socket = bench.client_seeing(1, &[2]);
    let call = watch(&mut bench, 2).expect("asked");
    bench.reply(call, is(2, 1, true));
    let shown = |state, text: Option<&str>| Shown { state, last_seen: None, text: text.map(str::to_owned) };
    let says = |bench: &mut Bench, version, shown: Shown| {
        let online = shown.state != PresenceState::Offline;
        bench.user_says(user(2), Message::Presence { user: user(2), epoch: 1, version, online, shown: Some(shown), audience: None });
    };
    says(&mut bench, 2, shown(PresenceState::Away, Some("x")));
    let state = json!({"userId": user(2), "state": "away", "lastSeen": null, "text": "x"});
    assert_eq!(bench.events(socket), [json!(["presence:state", state])]);
    says(&mut bench, 2, shown(PresenceState::Away, Some("x")));
    assert_eq!(bench.events(socket), Vec::<Value>::new(), "a repeated push");
    says(&mut bench, 3, shown(PresenceState::InCall, None));
    assert_eq!(bench.events(socket)[0][1]["state"], "in_call");
    says(&mut bench, 4, shown(PresenceState::Offline, None));
    assert_eq!(bench.events(socket).len(), 2);
    let now = bench.now;
    says(&mut bench, 5, Shown { last_seen: Some(now), ..Shown::default() });
    assert_eq!(bench.events(socket), Vec::<Value>::new(), "nobody hears how long somebody was gone before");
}

#[test]
fn presence_set_goes_to_the_own_user_and_is_acknowledged_by_it() {
    let mut bench = Bench::with(crate::settings::Settings::default());
    let socket = bench.client(1);
    let set = |bench: &mut Bench, ack| bench.emit(socket, Some(ack), json!(["presence:set", {"state": "dnd", "text": null}]));
    set(&mut bench, 1);
    let asked = bench.take(|to, msg| (*to == objects::user(user(1))).then(|| msg.clone()));
    let (call, msg) = asked.expect("asked");
    assert_eq!(msg, Message::SetPresence { state: PresenceState::Dnd, text: Some(String::new()) });
    bench.reply(call, Message::Done);
    assert_eq!(bench.ack(socket, 1), json!({"ok": true}));
    set(&mut bench, 2);
    let (call, ()) = bench.take(|_, msg| matches!(msg, Message::SetPresence { .. }).then_some(())).expect("asked");
    bench.fail(call, CallError::Lost);
    assert_eq!(bench.ack(socket, 2)["error"]["code"], "NODE_UNAVAILABLE");
    for ack in 3..=u64::from(crate::limits::PRESENCE_SETS_PER_MINUTE) {
        set(&mut bench, ack);
    }
    set(&mut bench, 99);
    assert_eq!(bench.ack(socket, 99)["error"]["code"], "RATE_LIMITED");
}
