//! The history checker: decides M1-M8, and who may see what, over a log. Pure: no clock, no order but that of the log.

mod changes;
mod connections;
mod marks;
mod members;
mod reads;
mod search;
mod sends;
mod sessions;
mod truth;

pub use sends::is_final;

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::history::{HistoryEvent, Id, Row, State, Watermarks, What};

/// The promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names of guarantees.md section 1
pub enum Rule {
    /// The log contradicts itself: the recorder is wrong, not the system.
    Log,
    M1,
    M2,
    M3,
    M4,
    M5,
    M6,
    M7,
    M8,
    /// A former member reads nothing.
    N19,
    N20,
    /// Nobody marks anything in a conversation of others.
    N22,
    /// Nor changes anything.
    N28,
    /// Nobody goes on with the session of somebody else.
    N47,
    /// A search finds what one may read, all of it and as it is now.
    G07,
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    /// A stable word for what happened, for example `acked_message_lost`.
    pub what: &'static str,
    /// Position in the log that shows it, 0-based.
    pub at: usize,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} (event {}): {}", self.rule, self.what, self.at, self.detail)
    }
}

/// What the log amounts to, so that an empty log is not taken for a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub events: usize,
    pub sends: usize,
    pub acked: usize,
    pub refused: usize,
    pub unknown: usize,
    pub delivered: usize,
    pub resumes: usize,
    pub found: usize,
    pub changes: usize,
    pub final_rows: usize,
}

/// The checker's answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    pub counts: Counts,
}

impl Verdict {
    /// Whether every promise held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether `rule` was broken.
    #[must_use]
    pub fn broke(&self, rule: Rule) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }

    /// Whether a violation of this kind was found.
    #[must_use]
    pub fn found(&self, what: &str) -> bool {
        self.violations.iter().any(|violation| violation.what == what)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { events, sends, acked, refused, unknown, delivered, resumes, found, changes, final_rows } = self.counts;
        writeln!(
            f,
            "{events} events: {sends} sends ({acked} acked, {refused} refused, {unknown} unknown), \
             {changes} changes, {delivered} deliveries, {resumes} resumes, {found} found, {final_rows} stored rows"
        )?;
        for violation in &self.violations {
            writeln!(f, "VIOLATED {violation}")?;
        }
        write!(f, "{}", if self.holds() { "every promise holds" } else { "not every promise holds" })
    }
}

/// Decides M1-M8 over a log.
#[must_use]
pub fn check(events: &[HistoryEvent]) -> Verdict {
    let log = Log::new(events);
    let mut report = Report::default();
    truth::check(&log, &mut report);
    sends::check(&log, &mut report);
    connections::check(&log, &mut report);
    marks::check(&log, &mut report);
    reads::check(&log, &mut report);
    changes::check(&log, &mut report);
    members::check(&log, &mut report);
    sessions::check(&log, &mut report);
    search::check(&log, &mut report);
    report.0.sort_by_key(|violation| (violation.at, violation.rule));
    Verdict { violations: report.0, counts: log.counts() }
}

/// The log with what every part of the checker needs.
struct Log<'a> {
    events: &'a [HistoryEvent],
    finals: BTreeMap<&'a Id, Final<'a>>,
    states: BTreeMap<&'a Id, &'a BTreeMap<Id, State>>,
    quiesced: Option<usize>,
}

/// The stored truth of a conversation.
struct Final<'a> {
    at: usize,
    rows: BTreeMap<u64, &'a Row>,
    marks: &'a BTreeMap<Id, Watermarks>,
    members: &'a [Id],
    /// Newest event that open connections must have got.
    quiesced: u64,
}

impl Final<'_> {
    fn head(&self) -> u64 {
        self.rows.last_key_value().map_or(0, |(seq, _)| *seq)
    }
}

impl<'a> Log<'a> {
    fn new(events: &'a [HistoryEvent]) -> Self {
        let (mut finals, mut states) = (BTreeMap::new(), BTreeMap::new());
        let mut quiesced = None;
        let mut late = HashSet::new();
        for (at, event) in events.iter().enumerate() {
            match &event.what {
                What::Final { conversation, rows, marks, states: changed, members } => {
                    states.insert(conversation, changed);
                    let rows: BTreeMap<u64, &Row> = rows.iter().map(|row| (row.seq, row)).collect();
                    let in_time = |row: &&&Row| row.client_id.as_ref().is_none_or(|id| !late.contains(&(conversation, id)));
                    let quiesced = rows.values().filter(in_time).map(|row| row.seq).max().unwrap_or(0);
                    finals.insert(conversation, Final { at, rows, marks, members, quiesced });
                }
                What::Quiesced => quiesced = Some(at),
                What::Send { conversation, client_id: Some(id), .. } if quiesced.is_some() => {
                    late.insert((conversation, id));
                }
                _ => {}
            }
        }
        Self { events, finals, states, quiesced }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &'a What)> {
        self.events.iter().enumerate().map(|(at, event)| (at, &event.what))
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { events: self.events.len(), ..Counts::default() };
        for (_, what) in self.iter() {
            match what {
                What::Send { .. } => counts.sends += 1,
                What::Ok { .. } => counts.acked += 1,
                What::Fail { .. } => counts.refused += 1,
                What::Unknown { .. } => counts.unknown += 1,
                What::Deliver { .. } => counts.delivered += 1,
                What::Changed { .. } => counts.changes += 1,
                What::Resume { .. } => counts.resumes += 1,
                What::Found { hits, .. } => counts.found += hits.len(),
                What::Final { rows, .. } => counts.final_rows += rows.len(),
                _ => {}
            }
        }
        counts
    }
}

/// Collects violations; a broken system breaks one promise thousands of times, so each kind is kept a few times.
#[derive(Default)]
struct Report(Vec<Violation>);

impl Report {
    const KEPT_OF_A_KIND: usize = 5;

    fn add(&mut self, rule: Rule, what: &'static str, at: usize, detail: impl Into<String>) {
        if self.0.iter().filter(|violation| violation.what == what).count() < Self::KEPT_OF_A_KIND {
            self.0.push(Violation { rule, what, at, detail: detail.into() });
        }
    }
}
