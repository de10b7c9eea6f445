//! Rooms of hosts that let objects sleep.

use wire::{ConversationType, UserId};

use super::{Host, ROOM, user};
use crate::limits;
use crate::map::Set;
use crate::object::{CallError, CallKey, Input, Kind, Object, ObjectId, Output, PersistError};
use crate::objects::{self, LiveEvent, Location, Message, ReadUpTo};

fn moved() -> Message {
    Message::Moved { user: user(1), epoch: 1, version: 2, gateways: vec![Location { gateway: "gw-0".into(), epoch: 7 }] }
}

fn locates(host: &Host) -> Vec<(ObjectId, CallKey)> {
    let asked = |output: &Output| match output {
        Output::Object { to, call, msg: Message::Locate { .. } } => Some((to.clone(), *call)),
        _ => None,
    };
    host.seen.iter().filter_map(asked).collect()
}

fn loads(host: &Host) -> usize {
    host.seen.iter().filter(|output| matches!(output, Output::Load { .. })).count()
}

#[test]
fn a_room_that_is_not_loaded_asks_to_be_forgotten_and_does_not_load() {
    let mut host = Host::sleeping(true);
    assert_eq!(host.ask_as(Kind::User, moved()), Message::Forget { room: ROOM });
    assert_eq!(loads(&host), 0);
    host.create(&[1, 2]);
    assert_eq!(host.ask_as(Kind::User, moved()), Message::Done);
}

#[test]
fn a_member_that_could_not_be_located_is_asked_again() {
    let mut host = Host::sleeping(false);
    host.create(&[1, 2]);
    let asked = locates(&host);
    assert_eq!(asked.len(), 2);
    host.give(Input::Reply { call: asked[0].1, result: Err(CallError::Lost) });
    host.seen.clear();
    host.now = host.now.plus_ms(limits::LOCATE_AGAIN_MS);
    host.give(Input::Alarm);
    let again: Vec<ObjectId> = locates(&host).into_iter().map(|(to, _)| to).collect();
    assert_eq!(again, [asked[0].0.clone()]);
    assert_eq!(asked[0].0, objects::user(user(1)));
}

#[test]
fn whereabouts_that_are_still_unknown_outlive_a_crash() {
    let mut host = Host::sleeping(false);
    host.create(&[1, 2]);
    host.now = host.now.plus_ms(limits::LOCATE_HOLD_MS);
    host.give(Input::Alarm);
    assert!(host.room.poll_timeout().is_some(), "its next life would ask");
}

#[test]
fn a_room_at_rest_wants_no_alarm() {
    let mut host = Host::sleeping(true);
    host.create(&[1, 2]);
    host.send(1, "m", None);
    assert_eq!(host.room.poll_timeout(), None);
}

#[test]
fn storage_that_was_out_of_reach_at_a_wake_is_asked_again() {
    let mut host = Host::sleeping(true);
    host.room.handle(Input::Alarm, host.now);
    let Some(Output::Load { load, .. }) = host.room.poll_output() else { panic!("work was under way") };
    host.give(Input::Loaded { load, result: Err(PersistError::Io) });
    assert_eq!(host.room.poll_timeout(), Some(host.now.plus_ms(limits::LOAD_AGAIN_MS)));
    host.give(Input::Alarm);
    assert_eq!(loads(&host), 0);
    host.now = host.now.plus_ms(limits::LOAD_AGAIN_MS);
    host.give(Input::Alarm);
    assert_eq!(loads(&host), 1);
}

/// A group whose members are at gateways of their own.
fn spread(members: &[u64]) -> Host {
    let mut host = Host::sleeping(true);
    host.create_as(ConversationType::Group, members);
    for n in members {
        let gateways = vec![Location { gateway: format!("gw-{n}"), epoch: 7 }];
        host.ask_as(Kind::User, Message::Moved { user: user(*n), epoch: 1, version: 2, gateways });
    }
    host.send(members[0], "m", None);
    host
}

/// Who is told to have read up to where, when `reader` reads everything.
fn reads(host: &mut Host, reader: u64) -> Set<(UserId, u64)> {
    let head = host.head();
    assert_eq!(host.ask(Message::MarkRead { user: user(reader), up_to: ReadUpTo::Seq(head) }), Message::Marked { read_seq: head });
    told(host)
}

fn told(host: &Host) -> Set<(UserId, u64)> {
    let read = |event: &LiveEvent| if let LiveEvent::Read { user, up_to, .. } = event { Some((*user, *up_to)) } else { None };
    host.delivered().iter().flat_map(|(_, live)| live).filter_map(read).collect()
}

#[test]
fn what_many_read_at_a_time_is_told_at_once_and_then_together() {
    let mut host = spread(&[1, 2, 3, 4]);
    let head = host.head();
    assert_eq!(reads(&mut host, 2), [(user(2), head)].into_iter().collect(), "the first one at once");
    assert!(reads(&mut host, 3).is_empty());
    assert!(reads(&mut host, 4).is_empty());
    let at = host.room.poll_timeout();
    assert_eq!(at, Some(host.now.plus_ms(limits::MARKS_COALESCE_MS)));
    host.now = at.expect("due");
    host.seen.clear();
    host.give(Input::Alarm);
    assert_eq!(told(&host), [(user(3), head), (user(4), head)].into_iter().collect());
    assert_eq!(host.room.poll_timeout(), None);
}

#[test]
fn the_next_event_takes_along_what_was_read() {
    let mut host = spread(&[1, 2, 3, 4]);
    let head = host.head();
    reads(&mut host, 2);
    assert!(reads(&mut host, 3).is_empty());
    host.send(1, "n", None);
    assert_eq!(host.delivered().len(), 4, "one batch for each gateway");
    assert_eq!((host.delivered()[0].0.clone(), told(&host)), (vec![head + 1], [(user(3), head)].into_iter().collect()));
    assert_eq!(host.room.poll_timeout(), None);
}

#[test]
fn at_few_gateways_an_alarm_would_cost_more() {
    let mut host = spread(&[1, 2, 3]);
    let head = host.head();
    for reader in [2, 3, 1] {
        assert_eq!(reads(&mut host, reader), [(user(reader), head)].into_iter().collect());
    }
    assert_eq!(host.room.poll_timeout(), None);
}
