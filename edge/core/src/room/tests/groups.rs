//! Group life: who may, what is told to whom, and what outlives a crash.

use wire::{ConversationType, ErrorCode, MemberRole, Timestamp};

use super::{Host, code, profile, user};
use crate::limits;
use crate::object::{CallError, CallKey, Input, Kind, Object, ObjectId, Output};
use crate::objects::{GroupChange, HistoryCursor, Level, LiveEvent, Location, Message, Numbered, Removal, RoomEvent};
use crate::settings::Settings;

/// 1 owns, 2 is an admin, 3 and 4 are members.
fn group() -> Host {
    with(Host::new(true))
}

fn with(mut host: Host) -> Host {
    host.create_as(ConversationType::Group, &[1, 2, 3, 4]);
    assert_eq!(code(&role(&mut host, 1, 2, MemberRole::Admin)), None);
    host
}

fn change(host: &mut Host, by: u64, change: GroupChange) -> Message {
    host.ask_as(Kind::Http, Message::Group { by: user(by), change })
}

fn rename(host: &mut Host, by: u64) -> Message {
    change(host, by, GroupChange::Update { name: Some("Crew".to_owned()), no_avatar: false })
}

fn add(host: &mut Host, by: u64, who: u64) -> Message {
    change(host, by, GroupChange::Add { members: vec![profile(who)] })
}

fn remove(host: &mut Host, by: u64, who: u64) -> Message {
    change(host, by, GroupChange::Remove { user: user(who) })
}

fn role(host: &mut Host, by: u64, who: u64, role: MemberRole) -> Message {
    change(host, by, GroupChange::Role { user: user(who), role })
}

fn roles(host: &mut Host, by: u64) -> Vec<(u64, MemberRole)> {
    let Message::View { conversation } = host.ask(Message::Describe { user: user(by) }) else { panic!("not a member") };
    let number = |id| (0..20).find(|n| user(*n) == id).expect("one of ours");
    let mut roles: Vec<_> = conversation.members.iter().map(|member| (number(member.id), member.role)).collect();
    roles.sort_unstable_by_key(|(n, _)| *n);
    roles
}

/// Whom a batch is for if that was said, its durable events, its live ones.
type Batch = (Option<Vec<wire::UserId>>, Vec<Numbered>, Vec<LiveEvent>);

/// Batches since the last question.
fn batches(host: &Host) -> Vec<Batch> {
    let batch = |output: &Output| match output {
        Output::Object { msg: Message::Deliver { users, durable, live, .. }, .. } => {
            Some((users.clone(), durable.clone(), live.clone()))
        }
        _ => None,
    };
    host.seen.iter().filter_map(batch).collect()
}

fn events(host: &Host) -> Vec<RoomEvent> {
    batches(host).into_iter().flat_map(|(_, durable, _)| durable).map(|numbered| numbered.event).collect()
}

#[test]
fn only_owners_and_admins_change_a_group() {
    for (by, allowed) in [(1, None), (2, None), (3, Some(ErrorCode::PermissionDenied)), (9, Some(ErrorCode::NotFound))] {
        assert_eq!(code(&rename(&mut group(), by)), allowed, "renamed by {by}");
        assert_eq!(code(&add(&mut group(), by, 5)), allowed, "added by {by}");
        assert_eq!(code(&remove(&mut group(), by, 4)), allowed, "removed by {by}");
    }
}

#[test]
fn only_an_owner_makes_or_unmakes_owners_and_admins() {
    for (by, who, to) in [(2, 3, MemberRole::Admin), (2, 2, MemberRole::Owner), (2, 1, MemberRole::Member), (3, 3, MemberRole::Admin)] {
        assert_eq!(code(&role(&mut group(), by, who, to)), Some(ErrorCode::PermissionDenied), "{by} makes {who} {to:?}");
    }
    assert_eq!(code(&remove(&mut group(), 2, 1)), Some(ErrorCode::PermissionDenied), "an admin does not remove an owner");
    let mut host = group();
    assert_eq!(code(&role(&mut host, 1, 3, MemberRole::Owner)), None);
    assert_eq!(code(&role(&mut host, 3, 1, MemberRole::Member)), None);
    assert_eq!(code(&role(&mut host, 3, 3, MemberRole::Member)), Some(ErrorCode::Conflict), "the last owner stays");
    assert_eq!(code(&role(&mut host, 3, 9, MemberRole::Member)), Some(ErrorCode::UserNotFound));
}

#[test]
fn direct_conversations_stay_as_they_are() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    for refused in [rename(&mut host, 1), add(&mut host, 1, 3), remove(&mut host, 1, 2), change(&mut host, 1, GroupChange::Leave)] {
        assert_eq!(code(&refused), Some(ErrorCode::PermissionDenied));
    }
    let quiet = GroupChange::Mine { muted_until: Some(Timestamp(9_000_000)), level: Some(Level::None) };
    assert_eq!(change(&mut host, 1, quiet), Message::Done);
    let muted = |host: &mut Host, who| {
        let Message::View { conversation } = host.ask(Message::Describe { user: user(who) }) else { panic!("refused") };
        conversation.muted_until
    };
    assert_eq!((muted(&mut host, 1), muted(&mut host, 2)), (Some(Timestamp(9_000_000)), None));
    change(&mut host, 1, GroupChange::Mine { muted_until: Some(Timestamp(0)), level: None });
    assert_eq!(muted(&mut host, 1), None);
}

#[test]
fn the_last_owner_hands_over_to_the_longest_standing_admin_else_member() {
    let mut host = group();
    assert_eq!(change(&mut host, 1, GroupChange::Leave), Message::Done);
    assert_eq!(roles(&mut host, 3), [(2, MemberRole::Owner), (3, MemberRole::Member), (4, MemberRole::Member)]);
    change(&mut host, 2, GroupChange::Leave);
    assert_eq!(roles(&mut host, 3), [(3, MemberRole::Owner), (4, MemberRole::Member)]);
    change(&mut host, 3, GroupChange::Leave);
    change(&mut host, 4, GroupChange::Leave);
    assert_eq!(code(&host.ask_as(Kind::Http, Message::Describe { user: user(4) })), Some(ErrorCode::NotFound));
}

#[test]
fn changes_take_numbers_and_are_stored_before_they_are_told() {
    let mut host = group();
    let head = host.send(1, "m", None);
    let Message::Sent { message, .. } = head else { panic!("refused") };
    for (n, step) in [(1, rename as fn(&mut Host, u64) -> Message), (2, |host, by| add(host, by, 5)), (3, |host, by| remove(host, by, 3))] {
        step(&mut host, 1);
        let seqs: Vec<u64> = batches(&host).into_iter().flat_map(|(_, durable, _)| durable).map(|one| one.seq).collect();
        assert_eq!(seqs, [message.seq + n]);
        let at = |wanted: fn(&Output) -> bool| host.seen.iter().position(wanted).expect("it is there");
        let persist = at(|output| matches!(output, Output::Persist { .. }));
        assert!(persist < at(|output| matches!(output, Output::Reply { .. })));
        assert!(persist < at(|output| matches!(output, Output::Object { msg: Message::Deliver { .. }, .. })));
    }
    add(&mut host, 1, 5);
    assert!(batches(&host).is_empty(), "a member already: nothing changes");
    rename(&mut host, 1);
    assert!(batches(&host).is_empty(), "the same name: nothing changes");
}

#[test]
fn somebody_who_is_added_learns_of_the_conversation_before_anything_of_it() {
    let mut host = group();
    host.located = false;
    add(&mut host, 1, 5);
    let locate = host.seen.iter().find_map(|output| match output {
        Output::Object { to, call, msg: Message::Locate { .. } } if *to == crate::objects::user(user(5)) => Some(*call),
        _ => None,
    });
    host.send(2, "meanwhile", None);
    assert!(batches(&host).is_empty(), "everything waits until it is known where the newcomer is");
    host.seen.clear();
    let moved = |version, gateway: &str| Message::Moved {
        user: user(5),
        epoch: 1,
        version,
        gateways: vec![Location { gateway: gateway.into(), epoch: 1 }],
    };
    host.give(Input::Reply { call: locate.expect("asked"), result: Ok(moved(1, "gw-5")) });
    for (users, durable, live) in batches(&host) {
        assert_eq!(durable.len(), 2, "the addition and the message");
        let new = users.is_some_and(|users| users.contains(&user(5)));
        let created: Vec<_> = live.iter().filter(|event| matches!(event, LiveEvent::Created { .. })).collect();
        assert_eq!(created.len(), usize::from(new));
        for event in created {
            let LiveEvent::Created { users, conversation } = event else { panic!() };
            assert_eq!((&users[..], conversation.members.len()), (&[user(5)][..], 5));
        }
    }
    host.ask(moved(2, "gw-6"));
    let live: Vec<LiveEvent> = batches(&host).into_iter().flat_map(|(_, _, live)| live).collect();
    assert!(live.is_empty(), "it is new once");
}

#[test]
fn somebody_who_goes_gets_one_last_event_and_nothing_after() {
    for (gone, reason) in [(GroupChange::Remove { user: user(3) }, Removal::Removed), (GroupChange::Leave, Removal::Left)] {
        let mut host = group();
        let by = if reason == Removal::Left { 3 } else { 2 };
        change(&mut host, by, gone);
        let seen = batches(&host);
        for (users, durable, _) in &seen {
            assert!(users.as_ref().is_some_and(|users| !users.contains(&user(3))), "the audience is told anew");
            assert!(durable.iter().all(|one| matches!(&one.event, RoomEvent::MemberRemoved(gone) if gone.reason == reason)));
        }
        let last = seen.iter().flat_map(|(_, _, live)| live).collect::<Vec<_>>();
        assert_eq!(last, [&LiveEvent::Dismissed { user: user(3), reason }]);
        host.ask(Message::Moved { user: user(3), epoch: 1, version: 2, gateways: vec![Location { gateway: "gw-7".into(), epoch: 1 }] });
        assert!(host.seen.iter().any(|output| matches!(output, Output::Object { msg: Message::Forget { .. }, .. })));
        host.send(1, "after", None);
        assert!(batches(&host).iter().all(|(users, ..)| users.as_ref().is_none_or(|users| !users.contains(&user(3)))));
        for msg in [Message::Join { user: user(3) }, Message::Pull { user: user(3), after: 0, limit: 9, generation: None, marks: false }] {
            assert_eq!(code(&host.ask(msg)), Some(ErrorCode::PermissionDenied));
        }
        assert_eq!(code(&host.send(3, "no", None)), Some(ErrorCode::PermissionDenied));
    }
}

#[test]
fn former_members_read_what_they_have_seen_where_that_is_allowed() {
    let settings = Settings { rate_limits: false, ex_member_history: true, ..Settings::default() };
    let mut host = with(Host::with(true, settings));
    host.send(1, "before", None);
    remove(&mut host, 1, 3);
    host.send(1, "after", None);
    for cursor in [HistoryCursor::Newest, HistoryCursor::BeforeSeq(99), HistoryCursor::AfterSeq(0)] {
        let history = Message::History { user: user(3), cursor, limit: 10 };
        let Message::HistoryPage { messages, .. } = host.ask_as(Kind::Http, history.clone()) else { panic!("refused") };
        assert_eq!(messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>(), ["before"]);
        assert_eq!(code(&host.ask(history)), Some(ErrorCode::NotAMember), "not on sockets");
    }
    let pull = Message::Pull { user: user(3), after: 0, limit: 10, generation: None, marks: false };
    let Message::Page { events, head, .. } = host.ask_as(Kind::Http, pull) else { panic!("refused") };
    assert_eq!((events.len() as u64, head), (2, 2), "a role and a message; not that it was removed");
    let read = Message::MarkRead { user: user(3), up_to: crate::objects::ReadUpTo::Seq(1) };
    for msg in [read, Message::Describe { user: user(3) }] {
        assert_eq!(code(&host.ask_as(Kind::Http, msg)), Some(ErrorCode::NotAMember));
    }
    assert_eq!(code(&rename(&mut host, 3)), Some(ErrorCode::NotAMember));
    assert_eq!(code(&rename(&mut host, 9)), Some(ErrorCode::NotFound), "strangers learn nothing");
}

#[test]
fn somebody_who_is_added_again_begins_anew() {
    let mut host = group();
    host.send(1, "before", None);
    role(&mut host, 1, 3, MemberRole::Admin);
    remove(&mut host, 1, 3);
    host.now = host.now.plus_ms(5_000);
    add(&mut host, 1, 3);
    let added = events(&host).into_iter().find_map(|event| if let RoomEvent::MemberAdded(added) = event { Some(added) } else { None });
    let member = added.expect("told").member;
    assert_eq!((member.role, member.joined_at), (MemberRole::Member, host.now));
    assert_eq!(code(&host.send(3, "hello again", None)), None);
}

#[test]
fn a_group_has_at_most_a_thousand_members() {
    let mut host = group();
    let many = |n: std::ops::Range<u64>| GroupChange::Add { members: n.map(profile).collect() };
    assert_eq!(code(&change(&mut host, 1, many(3..1_002))), Some(ErrorCode::InvalidData));
    assert_eq!(code(&change(&mut host, 1, many(3..1_001))), None);
    assert_eq!(code(&add(&mut host, 1, 1_001)), Some(ErrorCode::InvalidData));
    assert_eq!(code(&add(&mut host, 1, 1_000)), None, "a member already");
}

/// What is stored of who knows.
fn told(host: &Host) -> Vec<u64> {
    let statements = host.seen.iter().flat_map(|output| match output {
        Output::Persist { statements, .. } => &statements[..],
        _ => &[],
    });
    statements.filter(|one| one.sql.starts_with("UPDATE rooms SET told")).filter_map(|one| one.params[1].as_u64()).collect()
}

#[test]
fn users_are_told_of_memberships_until_they_answer() {
    let mut host = group();
    host.seen.clear();
    host.room.handle(
        Input::Object {
            from: ObjectId::new(Kind::Http, "1"),
            call: CallKey(77),
            msg: Message::Group { by: user(1), change: GroupChange::Remove { user: user(3) } },
        },
        host.now,
    );
    let (mut call, mut answers) = (None, Vec::new());
    while let Some(output) = host.room.poll_output() {
        match &output {
            Output::Object { call: key, msg: Message::MembershipChanged { gone: true, .. }, .. } => call = Some(*key),
            Output::Object { msg: Message::MembershipChanged { about, .. }, .. } => {
                assert_eq!(about[..], [user(3)], "whoever stays sees nothing of him any more");
                answers.extend(host.answer(&output));
            }
            _ => {}
        }
    }
    assert_eq!(answers.len(), 3, "those who stay");
    // One of them could not hear it.
    let lost = answers.pop();
    answers.into_iter().for_each(|answer| host.give(answer));
    if let Some(Input::Reply { call, .. }) = lost {
        let failure = ErrorCode::NodeUnavailable.into();
        host.give(Input::Reply { call, result: Ok(Message::Refused { failure }) });
    }
    host.give(Input::Reply { call: call.expect("told"), result: Err(CallError::Lost) });
    assert!(told(&host).is_empty());
    host.now = host.now.plus_ms(limits::TELL_AGAIN_MS);
    assert!(host.room.poll_timeout().is_some_and(|at| at <= host.now));
    host.seen.clear();
    host.give(Input::Alarm);
    let again = |output: &&Output| matches!(output, Output::Object { msg: Message::MembershipChanged { .. }, .. });
    assert_eq!(host.seen.iter().filter(again).count(), 2, "him, and the one who could not hear it");
    let farewell: Vec<CallKey> = host
        .seen
        .iter()
        .filter_map(|output| match output {
            Output::Object { call, msg: Message::Deliver { live, .. }, .. } if !live.is_empty() => Some(*call),
            _ => None,
        })
        .collect();
    assert_eq!(farewell.len(), 1);
    assert!(told(&host).is_empty(), "the gateway has not answered");
    host.give(Input::Reply { call: farewell[0], result: Ok(Message::Accepted { stale: false, unknown_audience: false }) });
    assert_eq!(told(&host), [3], "above the role and the removal");
}
