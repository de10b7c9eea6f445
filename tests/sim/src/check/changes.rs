//! What became of messages: a change that was acknowledged is stored and was told (M1), and what is stored is what the
//! events tell (M4).

use std::collections::BTreeMap;

use super::{Log, Report, Rule};
use crate::history::{Id, Row, State, What};

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    let nothing = State::default();
    let mut asked: BTreeMap<u64, (&Id, &Id, &Id, &Id, &Id)> = BTreeMap::new();
    for (at, what) in log.iter() {
        match what {
            What::Change { op, user, conversation, message, kind, content } => {
                asked.insert(*op, (user, conversation, message, kind, content));
            }
            What::Changed { op } => {
                let Some((user, conversation, message, kind, content)) = asked.get(op) else {
                    report.add(Rule::Log, "answer_without_request", at, format!("op {op}"));
                    continue;
                };
                let (Some(stored), Some(states)) = (log.finals.get(*conversation), log.states.get(*conversation)) else { continue };
                let state = states.get(*message).unwrap_or(&nothing);
                let told = |row: &&&Row| row.kind.as_ref() == Some(*kind) && row.id == **message;
                let kept = match kind.as_ref() {
                    "chat:edited" => state.deleted || state.contents.contains(content),
                    "chat:deleted" => state.deleted,
                    // Taking back what was not there needs no event.
                    _ if content.ends_with('-') => true,
                    _ => stored.rows.values().filter(told).any(|row| row.sender.as_ref() == Some(*user) && row.content == **content),
                };
                if !kept {
                    let detail = format!("{conversation} op {op}: {kind} {content:?} of {message} by {user}");
                    report.add(Rule::M1, "acked_change_lost", at, detail);
                }
            }
            What::Final { conversation, rows, states, .. } => {
                for (message, state) in states {
                    if let Some(wrong) = told_otherwise(message, state, rows) {
                        report.add(Rule::M4, "state_without_event", at, format!("{conversation} {message}: {wrong}"));
                    }
                }
            }
            _ => {}
        }
    }
}

/// How the events of a message contradict what is stored of it.
fn told_otherwise(message: &Id, state: &State, rows: &[Row]) -> Option<String> {
    let (mut edits, mut deletions, mut reactions) = (0, 0, Vec::new());
    for row in rows.iter().filter(|row| row.id == *message) {
        match (row.kind.as_deref(), &row.sender) {
            (Some("chat:edited"), _) => edits += 1,
            (Some("chat:deleted"), _) => deletions += 1,
            (Some("chat:reaction"), Some(user)) => {
                let on = row.content.ends_with('+');
                let one = (Id::from(row.content.trim_end_matches(['+', '-'])), user.clone());
                if on == reactions.contains(&one) {
                    return Some(format!("{} changes nothing", super::truth::show(row)));
                }
                if on { reactions.push(one) } else { reactions.retain(|known| *known != one) }
            }
            _ => {}
        }
    }
    if deletions != usize::from(state.deleted) {
        return Some(format!("deleted: {}, {deletions} events", state.deleted));
    }
    if state.deleted {
        let nothing = state.contents.iter().all(|content| content.is_empty()) && state.reactions.is_empty();
        return (!nothing).then(|| "something is left of a deleted message".to_owned());
    }
    if edits + 1 != state.contents.len() {
        return Some(format!("{edits} events of {} contents", state.contents.len()));
    }
    let mut stored = state.reactions.clone();
    stored.sort();
    reactions.sort();
    (stored != reactions).then(|| format!("{reactions:?} were told, {stored:?} is stored"))
}
