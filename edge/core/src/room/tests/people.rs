//! How members are shown, and who sees how far they have read.

use super::*;

fn profile(n: u64, receipts: bool) -> Profile {
    Profile {
        id: user(n),
        username: format!("new{n}"),
        display_name: format!("New {n}"),
        avatar_url: None,
        status: "here".into(),
        receipts,
    }
}

fn member(host: &mut Host, viewer: u64, n: u64) -> wire::Member {
    let Message::Joined { members, .. } = host.ask(Message::Join { user: user(viewer) }) else { panic!("refused") };
    members.into_iter().find(|member| member.id == user(n)).expect("a member")
}

/// Read marks that a member's sockets are sent.
fn told(host: &Host, n: u64) -> Vec<LiveEvent> {
    let all = host.delivered().into_iter().flat_map(|(_, live)| live);
    all.filter_map(|event| match event {
        LiveEvent::For { these, only, event } => (these.contains(&user(n)) == only).then_some(*event),
        event => Some(event),
    })
    .collect()
}

fn read_seqs(events: &[LiveEvent]) -> Vec<u64> {
    let seq = |event: &LiveEvent| match event {
        LiveEvent::Read { up_to, .. } => Some(*up_to),
        LiveEvent::Receipts { read_seq, .. } => Some(*read_seq),
        _ => None,
    };
    events.iter().filter_map(seq).collect()
}

#[test]
fn a_new_name_is_stored_once_and_shown_everywhere() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    host.send(1, "m", None);
    for writes in [1, 0] {
        assert_eq!(host.ask_as(Kind::User, Message::PersonIs { profile: profile(1, true) }), Message::Done);
        let persists = host.seen.iter().filter(|output| matches!(output, Output::Persist { .. })).count();
        assert_eq!(persists, writes);
    }
    let shown = member(&mut host, 2, 1);
    assert_eq!((&*shown.username, &*shown.display_name, &*shown.status), ("new1", "New 1", "here"));
    let history = Message::History { user: user(2), cursor: HistoryCursor::Newest, limit: 10 };
    let Message::HistoryPage { messages, .. } = host.ask(history) else { panic!("refused") };
    assert_eq!(messages[0].sender_username, "new1");
    // The name in the caller's token may be older than the one that the Room was told.
    let Message::Sent { message, .. } = host.send(1, "again", None) else { panic!("refused") };
    assert_eq!(message.sender_username, "new1");
    host.ask(Message::Typing { from: Actor { id: user(1), username: "user1".into() }, on: true });
    assert!(host.delivered()[0].1.contains(&LiveEvent::Typing { user: user(1), username: "new1".into(), on: true }));
    assert_eq!(host.ask_as(Kind::User, Message::PersonIs { profile: profile(9, true) }), Message::Done, "no member");
}

#[test]
fn whoever_is_without_receipts_neither_sends_nor_sees_marks() {
    let mut host = Host::new(true);
    host.create(&[1, 2, 3]);
    host.send(1, "m", None);
    host.ask_as(Kind::User, Message::PersonIs { profile: profile(2, false) });

    assert_eq!(host.ask(Message::MarkRead { user: user(2), up_to: ReadUpTo::Seq(1) }), Message::Marked { read_seq: 1 });
    assert_eq!(read_seqs(&told(&host, 2)), [1, 1], "one's own devices know");
    for other in [1, 3] {
        assert_eq!(told(&host, other), [LiveEvent::Receipts { user: user(2), delivered_seq: 1, read_seq: 0 }]);
    }
    host.ask(Message::MarkRead { user: user(3), up_to: ReadUpTo::Seq(1) });
    assert_eq!(read_seqs(&told(&host, 1)), [1, 1]);
    assert_eq!(told(&host, 2), [LiveEvent::Receipts { user: user(3), delivered_seq: 1, read_seq: 0 }]);

    let seqs = |host: &mut Host, viewer| [1, 2, 3].map(|n| member(host, viewer, n).read_seq);
    assert_eq!([seqs(&mut host, 1), seqs(&mut host, 2), seqs(&mut host, 3)], [[0, 0, 1], [0, 1, 0], [0, 0, 1]]);
    let readers = |host: &mut Host, viewer| {
        let history = Message::History { user: user(viewer), cursor: HistoryCursor::Newest, limit: 10 };
        let Message::HistoryPage { messages, .. } = host.ask(history) else { panic!("refused") };
        messages[0].read_by.clone()
    };
    assert_eq!(readers(&mut host, 1), [user(3)]);
    assert_eq!(readers(&mut host, 2), []);
    let pull = Message::Pull { user: user(2), after: 0, limit: 10, generation: None, marks: true };
    let Message::Page { marks, .. } = host.ask(pull) else { panic!("refused") };
    assert_eq!(marks.iter().map(|one| one.read_seq).collect::<Vec<u64>>(), [0, 1, 0]);

    host.ask_as(Kind::User, Message::PersonIs { profile: profile(2, true) });
    assert_eq!(readers(&mut host, 1), [user(2), user(3)], "what was read meanwhile counts");
}

#[test]
fn a_block_and_receipts_are_kept_in_one_column() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    host.ask_as(Kind::User, Message::PersonIs { profile: profile(1, false) });
    host.ask_as(Kind::User, Message::Blocked { by: user(1), on: true, version: 0 });
    let flags = host.seen.iter().find_map(|output| match output {
        Output::Persist { statements, .. } => statements[0].params.last().cloned(),
        _ => None,
    });
    assert_eq!(flags, Some(Value::Integer(3)));
    host.ask_as(Kind::User, Message::Blocked { by: user(1), on: false, version: 0 });
    assert!(!host.seen.is_empty());
    assert_eq!(code(&host.send(2, "x", None)), None);
}
