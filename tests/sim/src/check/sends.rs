//! What became of every send: M1 (acknowledged is stored), M2 (one row per key, one answer per key), M3 (the order
//! agrees with real time), M6 (every send resolves, and an unknown outcome is never shown as failed).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::truth::show;
use super::{Log, Report, Rule};
use crate::history::{Id, Row, What};

/// Codes after which the client gives up: the message was not stored, whatever it repeats.
const FINAL_CODES: [&str; 9] = [
    "INVALID_DATA",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "NOT_A_MEMBER",
    "USER_NOT_FOUND",
    "CONFLICT",
    "BLOCKED",
    "USER_UNAVAILABLE",
    "PAYLOAD_TOO_LARGE",
];

/// Whether a refusal with this code is the end of a send.
#[must_use]
pub fn is_final(code: &str) -> bool {
    FINAL_CODES.contains(&code)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key<'a> {
    Named(&'a Id, &'a Id, &'a Id),
    /// A send without `clientId` is a message of its own with each attempt.
    Op(u64),
}

struct Attempt<'a> {
    at: usize,
    key: Key<'a>,
    user: &'a Id,
    conversation: &'a Id,
    content: &'a Id,
    /// Highest seq that anybody knew when the key was sent first.
    floor: u64,
    outcome: Outcome<'a>,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome<'a> {
    None,
    Ok(usize, &'a Row),
    Fail(usize, &'a Id),
    Unknown,
}

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    let attempts = collect(log, report);
    acked(log, &attempts, report);
    one_answer_per_key(&attempts, report);
    resolved(log, &attempts, report);
    nothing_from_nowhere(log, &attempts, report);
}

fn collect<'a>(log: &Log<'a>, report: &mut Report) -> BTreeMap<u64, Attempt<'a>> {
    let mut attempts: BTreeMap<u64, Attempt<'a>> = BTreeMap::new();
    let mut floors: HashMap<Key<'a>, u64> = HashMap::new();
    let mut known: HashMap<&Id, u64> = HashMap::new();
    for (at, what) in log.iter() {
        let (op, outcome) = match what {
            What::Send { op, user, conversation, client_id, content, .. } => {
                let key = client_id.as_ref().map_or(Key::Op(*op), |id| Key::Named(conversation, user, id));
                let floor = *floors.entry(key).or_insert_with(|| known.get(conversation).copied().unwrap_or(0));
                let attempt = Attempt { at, key, user, conversation, content, floor, outcome: Outcome::None };
                if attempts.insert(*op, attempt).is_some() {
                    report.add(Rule::Log, "op_used_twice", at, format!("op {op}"));
                }
                continue;
            }
            What::Deliver { conversation, row, .. } => {
                let head = known.entry(conversation).or_default();
                *head = (*head).max(row.seq);
                continue;
            }
            What::Ok { op, row } => (op, Outcome::Ok(at, row)),
            What::Fail { op, code } => (op, Outcome::Fail(at, code)),
            What::Unknown { op } => (op, Outcome::Unknown),
            _ => continue,
        };
        let Some(attempt) = attempts.get_mut(op) else {
            report.add(Rule::Log, "answer_without_request", at, format!("op {op}"));
            continue;
        };
        if matches!(attempt.outcome, Outcome::Ok(..) | Outcome::Fail(..)) && outcome != Outcome::Unknown {
            report.add(Rule::M6, "answered_twice", at, format!("op {op}"));
            continue;
        }
        if let Outcome::Ok(_, row) = outcome {
            let head = known.entry(attempt.conversation).or_default();
            *head = (*head).max(row.seq);
        }
        attempt.outcome = outcome;
    }
    attempts
}

fn acked(log: &Log<'_>, attempts: &BTreeMap<u64, Attempt<'_>>, report: &mut Report) {
    for (op, attempt) in attempts {
        let Outcome::Ok(at, row) = attempt.outcome else { continue };
        // Of a deleted message nothing is answered.
        if (row.content != *attempt.content && !row.content.is_empty()) || row.sender.as_ref().is_some_and(|sender| sender != attempt.user) {
            let detail = format!("op {op} sent {:?} and was answered {}", attempt.content, show(row));
            report.add(Rule::M2, "answered_with_another_message", at, detail);
        }
        if row.seq <= attempt.floor {
            let detail = format!("op {op}: {} after seq {} was known", show(row), attempt.floor);
            report.add(Rule::M3, "order_against_real_time", at, detail);
        }
        let Some(stored) = log.finals.get(attempt.conversation) else { continue };
        match stored.rows.get(&row.seq) {
            Some(truth) if truth.id == row.id && (truth.content == row.content || truth.content.is_empty()) => {}
            Some(truth) => {
                let detail = format!("op {op}: {} was acknowledged, {} is stored", show(row), show(truth));
                report.add(Rule::M1, "acked_message_lost", at, detail);
            }
            None => report.add(Rule::M1, "acked_message_lost", at, format!("op {op}: {} is not stored", show(row))),
        }
    }
}

fn one_answer_per_key(attempts: &BTreeMap<u64, Attempt<'_>>, report: &mut Report) {
    let mut answers: HashMap<Key<'_>, (&Row, &Id)> = HashMap::new();
    for (op, attempt) in attempts {
        let Outcome::Ok(at, row) = attempt.outcome else { continue };
        let (first, content) = answers.entry(attempt.key).or_insert((row, attempt.content));
        if (&first.id, first.seq) != (&row.id, row.seq) {
            let detail = format!("op {op}: first {}, now {}", show(first), show(row));
            report.add(Rule::M2, "repeat_answered_differently", at, detail);
        }
        if *content != attempt.content {
            let detail = format!("op {op}: {:?} under the key of {content:?}", attempt.content);
            report.add(Rule::M2, "conflict_accepted", at, detail);
        }
    }
}

fn resolved(log: &Log<'_>, attempts: &BTreeMap<u64, Attempt<'_>>, report: &mut Report) {
    let mut keys: BTreeMap<Key<'_>, Vec<&Attempt<'_>>> = BTreeMap::new();
    for (op, attempt) in attempts {
        keys.entry(attempt.key).or_default().push(attempt);
        if attempt.outcome == Outcome::None && log.quiesced.is_some_and(|quiesced| attempt.at < quiesced) {
            report.add(Rule::M6, "send_without_outcome", attempt.at, format!("op {op}"));
        }
    }
    for (key, attempts) in keys {
        let Some(first) = attempts.first() else { continue };
        if attempts.iter().any(|attempt| matches!(attempt.outcome, Outcome::Ok(..))) {
            continue;
        }
        let refused = attempts.iter().find_map(|attempt| match attempt.outcome {
            Outcome::Fail(at, code) if is_final(code) => Some((at, code, attempt.content)),
            _ => None,
        });
        match (refused, key) {
            // Refused to somebody who was removed or blocked, and taken before or after that.
            (Some((_, code, _)), _)
                if matches!(code.as_ref(), "PERMISSION_DENIED" | "NOT_FOUND" | "BLOCKED" | "USER_UNAVAILABLE") => {}
            (Some((at, code, content)), Key::Named(conversation, user, client_id)) => {
                let stored = log.finals.get(conversation).and_then(|stored| {
                    stored.rows.values().find(|row| {
                        row.client_id.as_ref() == Some(client_id) && row.sender.as_ref() == Some(user) && row.content == *content
                    })
                });
                if let Some(row) = stored {
                    report.add(Rule::M6, "stored_but_refused", at, format!("{code}, and yet {} is stored", show(row)));
                }
            }
            (None, Key::Named(..)) if log.quiesced.is_some() => {
                let detail = format!("{:?} of {} never got an answer", first.content, first.user);
                report.add(Rule::M6, "send_never_resolved", first.at, detail);
            }
            _ => {}
        }
    }
}

/// Every stored row of a person was sent by that person, and without a key at most once per attempt.
fn nothing_from_nowhere(log: &Log<'_>, attempts: &BTreeMap<u64, Attempt<'_>>, report: &mut Report) {
    let mut budget: HashMap<(&Id, &Id, Option<&Id>, &Id), usize> = HashMap::new();
    let mut senders = HashSet::new();
    for attempt in attempts.values() {
        let key = match attempt.key {
            Key::Named(_, _, client_id) => Some(client_id),
            Key::Op(_) => None,
        };
        *budget.entry((attempt.conversation, attempt.user, key, attempt.content)).or_default() += 1;
        senders.insert(attempt.user);
    }
    for (conversation, stored) in &log.finals {
        for row in stored.rows.values().filter(|row| row.kind.is_none() && !row.content.is_empty()) {
            let Some(sender) = row.sender.as_ref().filter(|sender| senders.contains(sender)) else { continue };
            match budget.get_mut(&(conversation, sender, row.client_id.as_ref(), &row.content)) {
                None => {
                    report.add(Rule::M2, "stored_but_never_sent", stored.at, format!("{conversation}: {}", show(row)));
                }
                Some(0) => {
                    let detail = format!("{conversation}: {} more often than it was sent", show(row));
                    report.add(Rule::M2, "stored_too_often", stored.at, detail);
                }
                Some(left) => *left -= 1,
            }
        }
    }
}
