//! Who is a member may read, write and be told; nobody else (N19, N20, N22, N28). A durable event reaches only those who
//! are members with its number, or became members again before they got it: what was under way when somebody was removed
//! has lower numbers than the removal. Whoever asked when he was no member, and became none until the answer, is refused.

use std::collections::{BTreeMap, HashMap};

use super::truth::show;
use super::{Log, Report, Rule};
use crate::history::{Id, What};

/// First and last number of a membership.
type Times = Vec<(u64, u64)>;

/// Who was a member when, as far as the log tells.
struct Members<'a> {
    log: &'a Log<'a>,
    changed: HashMap<(&'a Id, &'a Id), Times>,
}

impl<'a> Members<'a> {
    fn of(log: &'a Log<'a>) -> Self {
        let mut changed: HashMap<(&Id, &Id), Times> = HashMap::new();
        for (conversation, stored) in &log.finals {
            for (seq, row) in &stored.rows {
                let times = || (*conversation, &row.content);
                match row.kind.as_deref() {
                    Some("conversation:memberAdded") => changed.entry(times()).or_default().push((*seq, u64::MAX)),
                    Some("conversation:memberRemoved") => {
                        let times = changed.entry(times()).or_insert_with(|| vec![(0, u64::MAX)]);
                        if let Some((_, last)) = times.last_mut() {
                            *last = seq - 1;
                        }
                    }
                    _ => {}
                }
            }
        }
        Self { log, changed }
    }

    /// `None`: nobody knows.
    fn times(&self, conversation: &'a Id, user: &'a Id) -> Option<Times> {
        if let Some(times) = self.changed.get(&(conversation, user)) {
            return Some(times.clone());
        }
        let members = self.log.finals.get(conversation)?.members;
        if members.is_empty() {
            return None;
        }
        Some(if members.contains(user) { vec![(0, u64::MAX)] } else { Vec::new() })
    }

    /// Whether the user certainly was no member while the head rose from `low` to `high`.
    fn outside(&self, conversation: &'a Id, user: &'a Id, low: u64, high: u64) -> bool {
        let inside = |times: Times| times.iter().any(|(first, last)| *first <= high && low <= *last);
        !self.times(conversation, user).is_none_or(inside)
    }
}

/// The committed heads, as far as the log has come.
#[derive(Default)]
struct Heads<'a>(HashMap<&'a Id, u64>);

impl Heads<'_> {
    fn of(&self, conversation: &Id) -> u64 {
        self.0.get(conversation).copied().unwrap_or(0)
    }
}

/// Something that only members may do: what it is called when it was answered, who asked, where, and the head then.
struct Request<'a> {
    rule: Rule,
    what: &'static str,
    user: &'a Id,
    conversation: &'a Id,
    head: u64,
}

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    let members = Members::of(log);
    for (conversation, stored) in &log.finals {
        for row in stored.rows.values().filter(|row| row.kind.is_none()) {
            let times = row.sender.as_ref().and_then(|sender| members.times(conversation, sender));
            if times.is_some_and(|times| !times.iter().any(|(first, last)| (*first..=*last).contains(&row.seq))) {
                report.add(Rule::N20, "outsider_was_heard", stored.at, format!("{conversation}: {}", show(row)));
            }
        }
    }
    let commits = log.iter().any(|(_, what)| matches!(what, What::Commit { .. }));
    let mut user_of: BTreeMap<&Id, &Id> = BTreeMap::new();
    let mut heads = Heads::default();
    let mut asked: BTreeMap<u64, Request<'_>> = BTreeMap::new();
    for (at, what) in log.iter() {
        let mut ask = |op: &u64, rule, what, user, conversation: &_| {
            let Some((conversation, _)) = log.finals.get_key_value(conversation) else { return };
            asked.insert(*op, Request { rule, what, user, conversation, head: heads.of(conversation) });
        };
        match what {
            What::Connect { conn, user, .. } => drop(user_of.insert(conn, user)),
            What::Commit { conversation, seq } => {
                let head = heads.0.entry(conversation).or_default();
                *head = (*head).max(*seq);
            }
            What::Deliver { conn, conversation, row } => {
                let Some(times) = user_of.get(conn).and_then(|user| members.times(conversation, user)) else { continue };
                let head = if commits { heads.of(conversation) } else { u64::MAX };
                if !times.iter().any(|(first, last)| *first <= head && row.seq <= *last) {
                    let detail = format!("{conversation}: {conn} got {} and was a member in {times:?}", row.seq);
                    report.add(Rule::N20, "outsider_was_told", at, detail);
                }
            }
            What::Read { op, user, conversation, .. } => ask(op, Rule::N19, "outsider_read", user, conversation),
            What::Mark { op, user, conversation, .. } => ask(op, Rule::N22, "outsider_marked", user, conversation),
            What::Change { op, user, conversation, .. } => ask(op, Rule::N28, "outsider_changed", user, conversation),
            What::Rows { op, .. } | What::Marked { op, .. } | What::Changed { op } => {
                let Some(Request { rule, what, user, conversation, head }) = asked.get(op) else { continue };
                let high = if commits { heads.of(conversation) } else { u64::MAX };
                if members.outside(conversation, user, *head, high) {
                    let detail = format!("{conversation}: {user} was no member between {head} and {high}");
                    report.add(*rule, what, at, detail);
                }
            }
            _ => {}
        }
    }
}
