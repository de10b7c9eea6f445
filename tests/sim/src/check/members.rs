//! N19, N20: nobody writes who is no member. A durable event reaches only those who are members with its number, or became members again before they got
//! it. What was under way when somebody was removed has lower numbers than the removal.

use std::collections::{BTreeMap, HashMap};

use super::{Log, Report, Rule};
use crate::history::{Id, What};

/// First and last number of a membership.
type Times = Vec<(u64, u64)>;

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    let mut members: HashMap<(&Id, &Id), Times> = HashMap::new();
    for (conversation, stored) in &log.finals {
        for (seq, row) in &stored.rows {
            let times = || (*conversation, &row.content);
            match row.kind.as_deref() {
                Some("conversation:memberAdded") => members.entry(times()).or_default().push((*seq, u64::MAX)),
                Some("conversation:memberRemoved") => {
                    let times = members.entry(times()).or_insert_with(|| vec![(0, u64::MAX)]);
                    if let Some((_, last)) = times.last_mut() {
                        *last = seq - 1;
                    }
                }
                _ => {}
            }
        }
    }
    for (conversation, stored) in &log.finals {
        for row in stored.rows.values().filter(|row| row.kind.is_none()) {
            let Some(times) = row.sender.as_ref().and_then(|sender| members.get(&(*conversation, sender))) else { continue };
            if !times.iter().any(|(first, last)| (*first..=*last).contains(&row.seq)) {
                report.add(Rule::N20, "outsider_was_heard", stored.at, format!("{conversation}: {}", super::truth::show(row)));
            }
        }
    }
    let mut user_of: BTreeMap<&Id, &Id> = BTreeMap::new();
    let mut committed: HashMap<&Id, u64> = HashMap::new();
    let commits = log.iter().any(|(_, what)| matches!(what, What::Commit { .. }));
    for (at, what) in log.iter() {
        match what {
            What::Connect { conn, user, .. } => drop(user_of.insert(conn, user)),
            What::Commit { conversation, seq } => {
                let head = committed.entry(conversation).or_default();
                *head = (*head).max(*seq);
            }
            What::Deliver { conn, conversation, row } => {
                let Some(user) = user_of.get(conn) else { continue };
                let Some(times) = members.get(&(conversation, *user)) else { continue };
                let head = if commits { committed.get(conversation).copied().unwrap_or(0) } else { u64::MAX };
                if !times.iter().any(|(first, last)| *first <= head && row.seq <= *last) {
                    let detail = format!("{conversation}: {user} got {} and was a member in {times:?}", row.seq);
                    report.add(Rule::N20, "outsider_was_told", at, detail);
                }
            }
            _ => {}
        }
    }
}
