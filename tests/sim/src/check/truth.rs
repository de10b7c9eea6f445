//! What is stored: dense `seq` and rising ids (M3), one row per key (M2); and that all readers saw the same rows, after
//! their commit and never to vanish (M3, M4).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Log, Report, Rule};
use crate::history::{Id, Row, What};

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    stored_rows(log, report);
    seen_rows(log, report);
    commits(log, report);
}

fn stored_rows(log: &Log<'_>, report: &mut Report) {
    for (at, what) in log.iter() {
        let What::Final { conversation, rows, .. } = what else { continue };
        let mut keys = BTreeSet::new();
        let mut ids = BTreeSet::new();
        let mut last_id: Option<&Id> = None;
        for (position, row) in rows.iter().enumerate() {
            let wanted = position as u64 + 1;
            if row.seq != wanted {
                report.add(
                    Rule::M3,
                    "seq_not_dense",
                    at,
                    format!("{conversation}: stored row {wanted} has seq {}", row.seq),
                );
                break;
            }
        }
        for row in rows.iter().filter(|row| row.kind.is_none()) {
            if let (Some(sender), Some(client_id)) = (&row.sender, &row.client_id)
                && !keys.insert((sender, client_id))
            {
                let detail = format!("{conversation}: {sender} {client_id} again at seq {}", row.seq);
                report.add(Rule::M2, "key_stored_twice", at, detail);
            }
            if !ids.insert(&row.id) {
                report.add(Rule::M2, "id_stored_twice", at, format!("{conversation}: {} at seq {}", row.id, row.seq));
            }
            if last_id.is_some_and(|last| *last >= row.id) {
                report.add(Rule::M3, "ids_do_not_rise", at, format!("{conversation}: {} at seq {}", row.id, row.seq));
            }
            last_id = Some(&row.id);
        }
    }
}

/// Every reader agrees with the stored rows, or with the first reader where the end is not known.
fn seen_rows(log: &Log<'_>, report: &mut Report) {
    let mut readers = Readers::default();
    let mut conversation_of: BTreeMap<u64, &Id> = BTreeMap::new();
    for (at, what) in log.iter() {
        match what {
            What::Deliver { conversation, row, .. } => readers.see(log, report, at, conversation, row),
            What::Read { op, conversation, .. } => {
                conversation_of.insert(*op, conversation);
            }
            What::Rows { op, rows } => match conversation_of.get(op) {
                Some(conversation) => rows.iter().for_each(|row| readers.see(log, report, at, conversation, row)),
                None => report.add(Rule::Log, "answer_without_request", at, format!("op {op}")),
            },
            _ => {}
        }
    }
}

#[derive(Default)]
struct Readers<'a> {
    first: HashMap<(&'a Id, u64), &'a Row>,
}

impl<'a> Readers<'a> {
    fn see(&mut self, log: &Log<'a>, report: &mut Report, at: usize, conversation: &'a Id, row: &'a Row) {
        let truth = match log.finals.get(conversation) {
            Some(stored) => stored.rows.get(&row.seq).copied(),
            None => Some(*self.first.entry((conversation, row.seq)).or_insert(row)),
        };
        let Some(truth) = truth else {
            report.add(Rule::M4, "seen_row_vanished", at, format!("{conversation}: {} is not stored", show(row)));
            return;
        };
        // Its content is gone by now.
        let was_deleted = truth.content.is_empty() || (row.content.is_empty() && log.finals.is_empty());
        let same = truth == row || (was_deleted && *truth == Row { content: truth.content.clone(), ..row.clone() });
        if !same {
            let what = if truth.id == row.id { "row_changed" } else { "readers_disagree" };
            let detail = format!("{conversation}: {} was seen, {} is stored", show(row), show(truth));
            report.add(Rule::M3, what, at, detail);
        }
    }
}

/// With `commit` events in the log, nobody may have seen a row before its own.
fn commits(log: &Log<'_>, report: &mut Report) {
    if !log.iter().any(|(_, what)| matches!(what, What::Commit { .. })) {
        return;
    }
    let mut committed: HashMap<&Id, BTreeSet<u64>> = HashMap::new();
    let mut conversation_of: BTreeMap<u64, &Id> = BTreeMap::new();
    let ask = |report: &mut Report, at, committed: &HashMap<&Id, BTreeSet<u64>>, conversation: &Id, seq| {
        if !committed.get(conversation).is_some_and(|seqs| seqs.contains(&seq)) {
            report.add(Rule::M4, "seen_before_commit", at, format!("{conversation}: seq {seq}"));
        }
    };
    for (at, what) in log.iter() {
        match what {
            What::Commit { conversation, seq } => {
                committed.entry(conversation).or_default().insert(*seq);
            }
            What::Deliver { conversation, row, .. } => ask(report, at, &committed, conversation, row.seq),
            What::Send { op, conversation, .. } | What::Read { op, conversation, .. } => {
                conversation_of.insert(*op, conversation);
            }
            What::Ok { op, row } => {
                if let Some(conversation) = conversation_of.get(op) {
                    ask(report, at, &committed, conversation, row.seq);
                }
            }
            What::Rows { op, rows } => {
                if let Some(conversation) = conversation_of.get(op) {
                    rows.iter().for_each(|row| ask(report, at, &committed, conversation, row.seq));
                }
            }
            _ => {}
        }
    }
}

/// `seq 4 0195… by u1`.
pub(super) fn show(row: &Row) -> String {
    format!("seq {} {} by {} {:?}", row.seq, row.id, row.sender.as_deref().unwrap_or("-"), row.content)
}
