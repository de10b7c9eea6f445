//! G-07: whoever searches finds every message of his conversations that says it now, and nothing else: none that is
//! deleted, none by what it said before an edit, none of others.

use std::collections::{BTreeMap, HashSet};

use super::{Log, Report, Rule};
use crate::history::{Hit, Id, What};

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    let mut asked: BTreeMap<u64, (&Id, &Id)> = BTreeMap::new();
    for (at, what) in log.iter() {
        match what {
            What::Search { op, user, text } => drop(asked.insert(*op, (user, text))),
            What::Found { op, hits } => match asked.get(op) {
                Some((user, text)) => found(log, report, at, user, text, hits),
                None => report.add(Rule::Log, "answer_without_request", at, format!("op {op}")),
            },
            _ => {}
        }
    }
}

fn found(log: &Log<'_>, report: &mut Report, at: usize, user: &Id, text: &str, hits: &[Hit]) {
    let mut ids = HashSet::new();
    for hit in hits {
        let Hit { conversation, id, content } = hit;
        let about = || format!("{user} looked for {text:?} and found {id} {content:?} of {conversation}");
        if !ids.insert(id) {
            report.add(Rule::G07, "found_twice", at, about());
        }
        let Some(stored) = log.finals.get(conversation) else { continue };
        if !stored.members.contains(user) {
            report.add(Rule::G07, "stranger_found", at, about());
        }
        let row = stored.rows.values().find(|row| row.kind.is_none() && row.id == *id);
        let says = row.and_then(|row| newest(log, conversation, &row.id, &row.content));
        if says != Some(content) || !contains(content, text) {
            report.add(Rule::G07, "found_what_is_gone", at, about());
        }
    }
    for (conversation, stored) in log.finals.iter().filter(|(_, stored)| stored.members.contains(user)) {
        for row in stored.rows.values().filter(|row| row.kind.is_none() && row.sender.is_some()) {
            let says = newest(log, conversation, &row.id, &row.content).is_some_and(|content| contains(content, text));
            if says && !ids.contains(&row.id) {
                let detail = format!("{user} looked for {text:?} in {conversation}: {}", super::truth::show(row));
                report.add(Rule::G07, "not_found", at, detail);
            }
        }
    }
}

/// What a message says now; `None` when it is deleted.
fn newest<'a>(log: &Log<'a>, conversation: &Id, id: &Id, sent: &'a Id) -> Option<&'a Id> {
    let state = log.states.get(conversation).and_then(|states| states.get(id));
    let content = state.map_or(Some(sent), |state| state.contents.last().filter(|_| !state.deleted));
    content.filter(|content| !content.is_empty())
}

fn contains(content: &str, text: &str) -> bool {
    content.to_lowercase().contains(&text.to_lowercase())
}
