//! What Rooms and devices must hear of contacts, blocks and profiles, whatever fails in between.

use super::*;
use crate::objects::ContactNews;

const HANDLER: &str = "1";

fn answer(host: &mut Host, answer: ContactAnswer) -> Option<Message> {
    host.ask(&ObjectId::new(Kind::Http, HANDLER), Message::ContactAnswer { me: me(), other: id(2), answer })
}

fn room(n: u64) -> RoomId {
    RoomId(uuid_v7(4, 4, n))
}

/// The value of `on` in each message about a block that Rooms were sent.
fn blocks(host: &Host) -> Vec<bool> {
    host.told(Kind::Room).iter().filter_map(|msg| if let Message::Blocked { on, .. } = msg { Some(*on) } else { None }).collect()
}

fn changed(host: &mut Host, change: ContactChange, version: u64, profile: Option<crate::objects::Profile>) {
    let msg = Message::ContactChanged { from: id(2), change, version, profile };
    host.ask(&ObjectId::new(Kind::User, id(2).to_string()), msg);
}

fn news(host: &Host) -> Vec<ContactNews> {
    let news = |msg| if let Message::ContactNews { news, .. } = msg { Some(news) } else { None };
    host.told(Kind::Gateway).into_iter().filter_map(news).collect()
}

fn is(status: &str) -> Vec<ContactNews> {
    vec![ContactNews::Is { other: id(2), status: status.into() }]
}

#[test]
fn the_end_of_a_block_is_stored_with_what_must_be_told_of_it() {
    let mut host = Host::new();
    host.rooms = Some(vec![room(1)]);
    answer(&mut host, ContactAnswer::Blocked);
    assert_eq!(blocks(&host), [true]);
    let unblocked = answer(&mut host, ContactAnswer::Removed);
    assert_eq!(unblocked, Some(Message::ContactIs { status: ContactStatus::None, fresh: true }));
    assert_eq!(blocks(&host), [false]);
    let first = host.seen.iter().find_map(|output| if let Output::Persist { statements, .. } = output { Some(statements) } else { None });
    let tables = |word: &str| first.expect("a Persist").iter().filter(|statement| statement.sql.contains(word)).count();
    assert_eq!((tables("INTO user_contacts"), tables("INTO user_outbox")), (1, 2), "the other side and the Room, in one transaction");
    assert_eq!(answer(&mut host, ContactAnswer::Removed), Some(Message::ContactIs { status: ContactStatus::None, fresh: false }));
}

#[test]
fn a_room_that_could_not_be_looked_up_is_told_later_and_only_what_is_true_then() {
    let mut host = Host::new();
    host.rooms = None;
    assert!(answer(&mut host, ContactAnswer::Blocked).is_some(), "the block holds");
    answer(&mut host, ContactAnswer::Removed);
    assert!(blocks(&host).is_empty());
    host.rooms = Some(vec![room(1)]);
    host.alarm_at(5_000);
    assert_eq!(blocks(&host), [false]);
    host.alarm_at(5_000);
    assert!(blocks(&host).is_empty(), "once");
}

#[test]
fn a_room_that_did_not_answer_hears_the_newest_word_only() {
    let mut host = Host::new();
    host.rooms = Some(vec![room(1)]);
    host.others_answer = false;
    answer(&mut host, ContactAnswer::Blocked);
    answer(&mut host, ContactAnswer::Removed);
    answer(&mut host, ContactAnswer::Blocked);
    let calls: Vec<CallKey> = (1 << 24..(1 << 24) + 32).map(CallKey).collect();
    for call in calls {
        host.give(Input::Reply { call, result: Err(crate::object::CallError::Lost) });
    }
    host.alarm_at(5_000);
    assert_eq!(blocks(&host), [true]);
}

#[test]
fn every_room_of_a_person_hears_how_it_is_shown_before_the_handler_does() {
    let mut host = Host::new();
    host.rooms = Some(vec![room(1), room(2)]);
    let handler = ObjectId::new(Kind::Http, HANDLER);
    assert_eq!(host.ask(&handler, Message::PersonChanged), Some(Message::Done));
    let told = host.told(Kind::Room);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|msg| matches!(msg, Message::PersonIs { profile } if profile.username == "new name" && profile.receipts)));
    assert!(matches!(host.seen.last(), Some(Output::Reply { .. })), "{:?}", host.seen.last());

    host.rooms = None;
    assert_eq!(host.ask(&handler, Message::PersonChanged), Some(Message::Done), "the rooms are told later");
    assert!(host.told(Kind::Room).is_empty());
    host.rooms = Some(vec![room(3)]);
    host.alarm_at(5_000);
    assert_eq!(host.told(Kind::Room).len(), 1);
}

#[test]
fn devices_hear_what_may_be_known() {
    let mut host = Host::new();
    up(&mut host, SESSION);
    let asker = crate::objects::Profile {
        id: id(2),
        username: "two".into(),
        display_name: "Two".into(),
        avatar_url: None,
        status: String::new(),
        receipts: true,
    };
    changed(&mut host, ContactChange::Asked, 1, Some(asker.clone()));
    assert_eq!(news(&host), [ContactNews::Asked { by: asker.clone(), at: host.now }]);
    changed(&mut host, ContactChange::Asked, 1, Some(asker.clone()));
    assert!(news(&host).is_empty(), "a repeat");
    answer(&mut host, ContactAnswer::Accepted);
    assert_eq!(news(&host), is("accepted"));
    changed(&mut host, ContactChange::Blocked, 2, None);
    assert_eq!(news(&host), is("none"), "a block looks like a removal");
    contact_ask(&mut host, Message::ContactRequest { me: me(), other: id(2), profile: None });
    assert_eq!(news(&host), is("pending"));
    changed(&mut host, ContactChange::Unblocked, 3, None);
    let again = contact_ask(&mut host, Message::ContactRequest { me: me(), other: id(2), profile: None });
    assert_eq!(again.1, Some(ContactChange::Asked), "what was asked in vain may be asked again");
    answer(&mut host, ContactAnswer::Blocked);
    assert_eq!(news(&host), is("blocked"));
    changed(&mut host, ContactChange::Asked, 4, Some(asker));
    assert!(news(&host).is_empty());
}

#[test]
fn whoever_asks_for_presence_does_not_watch() {
    let mut host = Host::new();
    up(&mut host, SESSION);
    let asked = host.ask(&ObjectId::new(Kind::Http, HANDLER), Message::AskPresence { by: id(2) });
    assert!(matches!(asked, Some(Message::Presence { online: true, .. })));
    host.ask(&gateway(), Message::SocketDown { at: at(), sockets: 0, clean: true, kept: 0 });
    host.alarm_at(2_000);
    assert!(host.told(Kind::Gateway).is_empty());
}
