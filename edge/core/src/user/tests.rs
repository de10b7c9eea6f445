//! Rules of a User over a storage that is empty.

mod outbox;
mod sleep;
mod states;

use wire::{ErrorCode, RoomId, SessionId, Timestamp, UserId, uuid_v7};

use super::User;
use crate::object::{CallKey, Input, Kind, Object, ObjectId, Output, PersistError, Store};
use crate::objects::{Actor, ContactAnswer, ContactChange, ContactStatus, Location, Message};
use crate::settings::Settings;
use crate::sql::Value;

fn id(n: u64) -> UserId {
    UserId(uuid_v7(1, 0, n))
}

struct Host {
    user: User,
    now: Timestamp,
    calls: u64,
    sees: Vec<UserId>,
    others_answer: bool,
    /// What the people database says of conversations; without, it is out of reach for that.
    rooms: Option<Vec<RoomId>>,
    /// It cannot say whom one may see.
    blind: bool,
    seen: Vec<Output>,
}

impl Host {
    fn new() -> Self {
        let user = User::new(id(1), Settings::default().into());
        let mut host = Self { user, now: Timestamp(1_000_000), calls: 0, sees: vec![id(2)], others_answer: true, rooms: Some(Vec::new()), blind: false, seen: Vec::new() };
        host.give(Input::Started { sockets: Vec::new(), epoch: 1, seed: [1; 32] });
        host
    }

    fn give(&mut self, input: Input) {
        self.user.handle(input, self.now);
        while let Some(output) = self.user.poll_output() {
            self.seen.push(output.clone());
            match output {
                Output::Load { load, store: Store::Own, statements } => {
                    self.give(Input::Loaded { load, result: Ok(vec![Vec::new(); statements.len()]) });
                }
                Output::Load { load, store: Store::People, statements } if !statements[0].sql.contains("'blocked'") => {
                    let rooms = self.rooms.clone().ok_or(PersistError::Io);
                    let result = rooms.map(|rooms| {
                        let rows = rooms.into_iter().map(|room| vec![Value::from(room)]).collect();
                        let name = || Value::from("new name");
                        vec![rows, vec![vec![id(1).into(), name(), name(), Value::Null, "".into(), 1_i64.into()]]]
                    });
                    self.give(Input::Loaded { load, result });
                }
                Output::Load { load, store: Store::People, .. } => {
                    let rows = self.sees.iter().map(|user| vec![Value::from(*user)]).collect();
                    let result = if self.blind { Err(PersistError::Io) } else { Ok(vec![rows]) };
                    self.give(Input::Loaded { load, result });
                }
                Output::Persist { n, .. } | Output::Project { n, .. } => self.give(Input::Persisted { n }),
                Output::Object { to, call, .. } if self.others_answer && to.kind != Kind::Gateway && call != CallKey::NONE => {
                    self.give(Input::Reply { call, result: Ok(Message::Done) });
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, from: &ObjectId, msg: Message) -> Option<Message> {
        self.calls += 1;
        let call = CallKey(self.calls);
        self.seen.clear();
        self.give(Input::Object { from: from.clone(), call, msg });
        self.seen.iter().find_map(|output| match output {
            Output::Reply { call: answered, msg, .. } if *answered == call => Some(msg.clone()),
            _ => None,
        })
    }

    fn told(&self, kind: Kind) -> Vec<Message> {
        self.seen
            .iter()
            .filter_map(|output| match output {
                Output::Object { to, msg, .. } if to.kind == kind => Some(msg.clone()),
                _ => None,
            })
            .collect()
    }

    fn alarm_at(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.seen.clear();
        self.give(Input::Alarm);
    }
}

fn gateway() -> ObjectId {
    ObjectId::new(Kind::Gateway, "gw-0")
}

fn at() -> Location {
    Location { gateway: "gw-0".into(), epoch: 5 }
}

fn up(host: &mut Host, session: SessionId) -> Option<Message> {
    host.ask(&gateway(), Message::SocketUp { at: at(), session, version: 1, sockets: 1 })
}

const SESSION: SessionId = SessionId(uuid::Uuid::from_u128(77));

#[test]
fn a_new_socket_learns_whom_it_may_see_and_rooms_learn_where_it_is() {
    let mut host = Host::new();
    let room = ObjectId::new(Kind::Room, RoomId(uuid_v7(4, 4, 4)).to_string());
    let moved = host.ask(&room, Message::Locate { room: RoomId(uuid_v7(4, 4, 4)) });
    assert!(matches!(moved, Some(Message::Moved { gateways, .. }) if gateways.is_empty()));
    assert!(matches!(up(&mut host, SESSION), Some(Message::SocketAccepted { sees, .. }) if sees == [id(2)]));
    assert!(matches!(&host.told(Kind::Room)[..], [Message::Moved { gateways, .. }] if *gateways == [at()]));
}

#[test]
fn a_clean_close_is_visible_within_two_seconds_and_a_lost_one_waits() {
    for (clean, before, after) in [(true, 1_000, 600), (false, 9_000, 1_100)] {
        let mut host = Host::new();
        up(&mut host, SESSION);
        host.ask(&gateway(), Message::Watch { at: at() });
        host.ask(&gateway(), Message::SocketDown { at: at(), sockets: 0, clean, kept: 0 });
        host.alarm_at(before);
        assert!(host.told(Kind::Gateway).is_empty(), "clean={clean}");
        host.alarm_at(after);
        assert!(matches!(&host.told(Kind::Gateway)[..], [Message::Presence { online: false, .. }]), "clean={clean}");
    }
}

#[test]
fn a_reconnect_in_time_is_no_flap() {
    let mut host = Host::new();
    up(&mut host, SESSION);
    host.ask(&gateway(), Message::Watch { at: at() });
    host.ask(&gateway(), Message::SocketDown { at: at(), sockets: 0, clean: false, kept: 0 });
    host.now = host.now.plus_ms(5_000);
    up(&mut host, SESSION);
    host.alarm_at(30_000);
    assert!(host.told(Kind::Gateway).is_empty());
}

#[test]
fn a_lease_without_renewal_ends_online() {
    let mut host = Host::new();
    up(&mut host, SESSION);
    let watched = host.ask(&gateway(), Message::Watch { at: at() });
    assert!(matches!(watched, Some(Message::Presence { online: true, .. })));
    host.alarm_at(crate::limits::LEASE_MS);
    host.alarm_at(crate::limits::CLEAN_CLOSE_MS);
    assert!(matches!(&host.told(Kind::Gateway)[..], [Message::Presence { online: false, .. }]));
}

#[test]
fn revoked_sessions_are_stored_closed_and_refused() {
    let mut host = Host::new();
    up(&mut host, SESSION);
    let handler = ObjectId::new(Kind::Http, "1");
    let revoke = Message::Revoke { sessions: Some(vec![SESSION]), version: None, reason: "logout".into() };
    assert_eq!(host.ask(&handler, revoke), Some(Message::Done));
    assert!(host.seen.iter().any(|output| matches!(output, Output::Persist { .. })));
    assert!(matches!(&host.told(Kind::Gateway)[..], [Message::CloseSessions { .. }]));
    let again = up(&mut host, SESSION);
    assert!(matches!(again, Some(Message::Refused { failure }) if failure.code == ErrorCode::Unauthorized));
    assert!(matches!(up(&mut host, SessionId(uuid_v7(3, 3, 3))), Some(Message::SocketAccepted { .. })));
}

fn contact_ask(host: &mut Host, msg: Message) -> (Option<ContactStatus>, Option<ContactChange>) {
    let status = match host.ask(&ObjectId::new(Kind::Http, "1"), msg) {
        Some(Message::ContactIs { status, .. }) => Some(status),
        _ => None,
    };
    let change = host.told(Kind::User).into_iter().find_map(|msg| match msg {
        Message::ContactChanged { change, .. } => Some(change),
        _ => None,
    });
    (status, change)
}

fn me() -> Actor {
    Actor { id: id(1), username: "one".into() }
}

#[test]
fn only_the_one_asked_may_accept() {
    let mut host = Host::new();
    let asked = contact_ask(&mut host, Message::ContactRequest { me: me(), other: id(2), profile: None });
    assert_eq!(asked, (Some(ContactStatus::Out), Some(ContactChange::Asked)));
    let answer = Message::ContactAnswer { me: me(), other: id(2), answer: ContactAnswer::Accepted };
    assert_eq!(contact_ask(&mut host, answer), (None, None));
}

#[test]
fn crossing_requests_are_a_yes() {
    let mut host = Host::new();
    contact_ask(&mut host, Message::ContactRequest { me: me(), other: id(2), profile: None });
    let from = ObjectId::new(Kind::User, id(2).to_string());
    let crossing = Message::ContactChanged { from: id(2), change: ContactChange::Asked, version: 1, profile: None };
    assert_eq!(host.ask(&from, crossing.clone()), Some(Message::Done));
    assert!(host.told(Kind::User).iter().any(|msg| matches!(msg, Message::ContactChanged { change: ContactChange::Accepted, .. })));
    assert_eq!(host.ask(&from, crossing), Some(Message::Done));
    assert!(!host.seen.iter().any(|output| matches!(output, Output::Persist { .. })), "a repeat changes nothing");
    let again = contact_ask(&mut host, Message::ContactRequest { me: me(), other: id(2), profile: None });
    assert_eq!(again, (Some(ContactStatus::Accepted), None));
}

#[test]
fn whoever_is_blocked_asks_without_effect() {
    let mut host = Host::new();
    let block = Message::ContactAnswer { me: me(), other: id(2), answer: ContactAnswer::Blocked };
    assert_eq!(contact_ask(&mut host, block), (Some(ContactStatus::Blocked), Some(ContactChange::Blocked)));
    let from = ObjectId::new(Kind::User, id(2).to_string());
    host.ask(&from, Message::ContactChanged { from: id(2), change: ContactChange::Asked, version: 1, profile: None });
    let own = contact_ask(&mut host, Message::ContactRequest { me: me(), other: id(2), profile: None });
    assert_eq!(own.0, None, "one asks nobody whom one blocks");
}

#[test]
fn whoever_asks_hears_it_only_when_the_other_side_knows() {
    let mut host = Host::new();
    host.others_answer = false;
    assert_eq!(contact_ask(&mut host, Message::ContactRequest { me: me(), other: id(2), profile: None }).0, None);
    let call = host.seen.iter().find_map(|output| match output {
        Output::Object { call, msg: Message::ContactChanged { .. }, .. } => Some(*call),
        _ => None,
    });
    host.seen.clear();
    host.give(Input::Reply { call: call.expect("the other side was told"), result: Ok(Message::Done) });
    let answered = |output: &Output| matches!(output, Output::Reply { msg: Message::ContactIs { .. }, .. });
    assert!(host.seen.iter().any(answered));
}

#[test]
fn a_gateway_with_an_older_list_is_told_whom_one_sees() {
    let mut host = Host::new();
    let Some(Message::SocketAccepted { version, .. }) = up(&mut host, SESSION) else { panic!("accepted") };
    let renew = |sees| Message::Renew { at: at(), sockets: 1, kept: 0, sees };
    host.ask(&gateway(), renew(version));
    assert!(host.told(Kind::Gateway).is_empty());
    host.ask(&gateway(), renew((0, 9)));
    assert!(matches!(&host.told(Kind::Gateway)[..], [Message::Sees { version: told, .. }] if *told == version));
}

#[test]
fn a_life_that_begins_with_sockets_tells_whom_they_see() {
    let mut host = Host::new();
    host.ask(&gateway(), Message::Renew { at: at(), sockets: 1, kept: 0, sees: (0, 3) });
    assert!(matches!(&host.told(Kind::Gateway)[..], [Message::Sees { sees, .. }] if *sees == [id(2)]));
}

#[test]
fn whom_one_sees_is_asked_for_again_when_it_could_not_be_read() {
    let mut host = Host::new();
    let room = RoomId(uuid_v7(4, 4, 4));
    up(&mut host, SESSION);
    (host.sees, host.blind) = (vec![id(3)], true);
    host.ask(&crate::objects::room(room), Message::MembershipChanged { room, gone: false, about: vec![] });
    assert!(host.told(Kind::Gateway).is_empty());
    host.blind = false;
    host.alarm_at(crate::limits::LOAD_AGAIN_MS);
    assert!(matches!(&host.told(Kind::Gateway)[..], [Message::Sees { sees, .. }] if *sees == [id(3)]));
}

#[test]
fn the_other_side_is_answered_when_gateways_know_whom_one_sees() {
    let mut host = Host::new();
    up(&mut host, SESSION);
    host.sees = Vec::new();
    let other = crate::objects::user(id(2));
    let blocked = || Message::ContactChanged { from: id(2), change: ContactChange::Blocked, version: 1, profile: None };
    assert_eq!(host.ask(&other, blocked()), Some(Message::Done));
    let place = |wanted: fn(&Output) -> bool| host.seen.iter().position(wanted).expect("an output");
    let told = place(|output| matches!(output, Output::Object { msg: Message::Sees { .. }, .. }));
    assert!(told < place(|output| matches!(output, Output::Reply { .. })));
    // The life that answered may have ended before handlers knew.
    assert_eq!(host.ask(&other, blocked()), Some(Message::Done));
    assert!(host.seen.iter().any(|output| matches!(output, Output::Project { key, .. } if key.starts_with("contact:"))));
}

#[test]
fn a_membership_that_ends_is_answered_with_where_the_sockets_are_and_its_room_is_forgotten() {
    let mut host = Host::new();
    let room = RoomId(uuid_v7(4, 4, 4));
    let object = crate::objects::room(room);
    up(&mut host, SESSION);
    host.ask(&object, Message::Locate { room });
    host.sees = vec![id(2), id(3)];
    let here = |answer: Option<Message>| matches!(answer, Some(Message::Moved { gateways, .. }) if gateways == [at()]);
    assert!(here(host.ask(&object, Message::MembershipChanged { room, gone: false, about: vec![] })));
    assert!(matches!(&host.told(Kind::Gateway)[..], [Message::Sees { sees, .. }] if *sees == [id(2), id(3)]));
    host.sees = vec![id(2)];
    assert!(here(host.ask(&object, Message::MembershipChanged { room, gone: true, about: vec![id(3)] })));
    assert!(matches!(&host.told(Kind::Gateway)[..], [Message::Sees { sees, .. }] if *sees == [id(2)]));
    host.seen.clear();
    host.ask(&gateway(), Message::SocketDown { at: at(), sockets: 0, clean: true, kept: 0 });
    assert!(host.told(Kind::Room).is_empty());
}
