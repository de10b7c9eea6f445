//! M7: watermarks rise only. Pushed marks may overtake each other, so a client keeps the highest it saw; but what is
//! asked for after a value was seen is never below it, and neither is what is stored.

use std::collections::{BTreeMap, HashMap};

use super::{Log, Report, Rule};
use crate::history::{Id, Watermarks, What};

/// The highest marks anybody had seen, by position in the log.
#[derive(Default)]
struct Seen<'a>(HashMap<(&'a Id, &'a Id), Vec<(usize, Watermarks)>>);

impl<'a> Seen<'a> {
    fn note(&mut self, at: usize, conversation: &'a Id, user: &'a Id, marks: Watermarks) {
        let steps = self.0.entry((conversation, user)).or_default();
        let last = steps.last().map_or(Watermarks::default(), |(_, marks)| *marks);
        let next = Watermarks {
            delivered_seq: last.delivered_seq.max(marks.delivered_seq),
            read_seq: last.read_seq.max(marks.read_seq),
        };
        if next != last {
            steps.push((at, next));
        }
    }

    fn before(&self, at: usize, conversation: &'a Id, user: &'a Id) -> Watermarks {
        let Some(steps) = self.0.get(&(conversation, user)) else { return Watermarks::default() };
        let after = steps.partition_point(|(noted, _)| *noted < at);
        after.checked_sub(1).and_then(|last| steps.get(last)).map_or(Watermarks::default(), |(_, marks)| *marks)
    }
}

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    let mut seen = Seen::default();
    let mut resumes: BTreeMap<u64, usize> = BTreeMap::new();
    let mut requests: BTreeMap<u64, (usize, &Id, &Id, u64)> = BTreeMap::new();
    for (at, what) in log.iter() {
        match what {
            What::Marks { conversation, user, delivered_seq, read_seq } => {
                seen.note(at, conversation, user, Watermarks { delivered_seq: *delivered_seq, read_seq: *read_seq });
            }
            What::Resume { op, .. } => {
                resumes.insert(*op, at);
            }
            What::Resumed { op, marks, .. } => {
                let Some(asked) = resumes.get(op) else { continue };
                for (conversation, members) in marks {
                    for (user, marks) in members {
                        let floor = seen.before(*asked, conversation, user);
                        not_below(report, at, conversation, user, floor, *marks);
                        seen.note(at, conversation, user, *marks);
                    }
                }
            }
            What::Mark { op, user, conversation, up_to } => {
                requests.insert(*op, (at, conversation, user, *up_to));
            }
            What::Marked { op, read_seq } => {
                let Some((asked, conversation, user, up_to)) = requests.get(op) else {
                    report.add(Rule::Log, "answer_without_request", at, format!("op {op}"));
                    continue;
                };
                let before = seen.before(*asked, conversation, user);
                let floor = Watermarks { delivered_seq: 0, read_seq: before.read_seq.max(*up_to) };
                let marks = Watermarks { delivered_seq: 0, read_seq: *read_seq };
                not_below(report, at, conversation, user, floor, marks);
                seen.note(at, conversation, user, marks);
            }
            _ => {}
        }
    }
    for ((conversation, user), steps) in &seen.0 {
        let (Some(stored), Some((at, highest))) = (log.finals.get(conversation), steps.last()) else { continue };
        if highest.delivered_seq.max(highest.read_seq) > stored.head() {
            let detail = format!("{conversation} {user}: {highest:?} above the head {}", stored.head());
            report.add(Rule::M7, "mark_above_head", *at, detail);
        }
        if let Some(marks) = stored.marks.get(*user) {
            not_below(report, stored.at, conversation, user, *highest, *marks);
        }
    }
}

fn not_below(report: &mut Report, at: usize, conversation: &Id, user: &Id, floor: Watermarks, marks: Watermarks) {
    if marks.delivered_seq < floor.delivered_seq || marks.read_seq < floor.read_seq {
        let detail = format!("{conversation} {user}: {marks:?} after {floor:?} was seen");
        report.add(Rule::M7, "mark_fell", at, detail);
    }
}
