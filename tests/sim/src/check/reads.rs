//! M8: after the ack, the sender's history has the message; and M4 for all: what anybody saw does not vanish from
//! history.

use std::collections::{BTreeMap, HashMap};

use super::{Log, Report, Rule};
use crate::history::{Id, What};

struct Request<'a> {
    conversation: &'a Id,
    newest: bool,
    /// Highest seq that was acknowledged to this user before it asked.
    own: u64,
    /// Highest seq that anybody saw before it asked.
    seen: u64,
}

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    let mut sends: BTreeMap<u64, (&Id, &Id)> = BTreeMap::new();
    let mut own: HashMap<(&Id, &Id), u64> = HashMap::new();
    let mut seen: HashMap<&Id, u64> = HashMap::new();
    let mut requests: BTreeMap<u64, Request<'_>> = BTreeMap::new();
    for (at, what) in log.iter() {
        match what {
            What::Send { op, user, conversation, .. } => {
                sends.insert(*op, (user, conversation));
            }
            What::Ok { op, row } => {
                let Some((user, conversation)) = sends.get(op) else { continue };
                raise(own.entry((user, conversation)).or_default(), row.seq);
                raise(seen.entry(conversation).or_default(), row.seq);
            }
            What::Deliver { conversation, row, .. } if row.kind.is_none() => raise(seen.entry(conversation).or_default(), row.seq),
            What::Read { op, user, conversation, newest } => {
                let own = own.get(&(user, conversation)).copied().unwrap_or(0);
                let seen = seen.get(conversation).copied().unwrap_or(0);
                requests.insert(*op, Request { conversation, newest: *newest, own, seen });
            }
            What::Rows { op, rows } => {
                let Some(request) = requests.get(op) else { continue };
                let conversation = request.conversation;
                let head = rows.last().map_or(0, |row| row.seq);
                if request.newest && head < request.own {
                    let detail = format!("{conversation}: newest page ends at {head}, {} was acknowledged", request.own);
                    report.add(Rule::M8, "own_message_missing", at, detail);
                } else if request.newest && head < request.seen {
                    let detail = format!("{conversation}: newest page ends at {head}, {} was seen", request.seen);
                    report.add(Rule::M4, "seen_row_missing", at, detail);
                }
                for pair in rows.windows(2) {
                    if let [lower, upper] = pair
                        && !follows(log, conversation, lower.seq, upper.seq)
                    {
                        let detail = format!("{conversation}: {} after {} in one page", upper.seq, lower.seq);
                        report.add(Rule::M3, "page_with_hole", at, detail);
                    }
                }
            }
            _ => {}
        }
    }
}

fn raise(to: &mut u64, value: u64) {
    *to = (*to).max(value);
}

/// Only events that are no messages may lie between two rows of a page of history.
fn follows(log: &Log<'_>, conversation: &Id, lower: u64, upper: u64) -> bool {
    if upper <= lower {
        return false;
    }
    match log.finals.get(conversation) {
        Some(stored) => stored.rows.range(lower + 1..upper).all(|(_, row)| row.kind.is_some()),
        None => true,
    }
}
