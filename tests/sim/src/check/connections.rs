//! What each connection received: M3 (`seq` only rises) and M5 (a resume brings every later event once, then live ones,
//! without a gap or an overlap at the hand-over; nothing is left out between two resumes of a device).
//!
//! The deliveries of a conversation on a connection fall into segments, one per `sync:resume` that names it. In a
//! segment the client may first see what was written before the server handled the resume (contract 5.1, rule 5), then
//! the run: cursor + 1, cursor + 2, ... The run begins at the last `cursor + 1`, and not later than the first event
//! behind the ack.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Log, Report, Rule};
use crate::history::{Id, What};

enum From {
    /// No resume: live events only, from wherever.
    Live,
    Cursor(u64),
    /// `cursors: {}`.
    Heads,
    /// A resume whose person came or went meanwhile.
    Anywhere,
}

struct Ack {
    at: usize,
    head: Option<u64>,
    more: Option<u64>,
}

struct Segment {
    from: From,
    ack: Option<Ack>,
    reset: bool,
    seen: Vec<(usize, u64)>,
}

impl Segment {
    fn new(from: From) -> Self {
        Self { from, ack: None, reset: false, seen: Vec::new() }
    }
}

/// Answer to a resume: its place in the log, and the heads.
type HeadsAck<'a> = Option<(usize, &'a BTreeMap<Id, u64>)>;

struct Connection<'a> {
    device: &'a Id,
    conversations: BTreeMap<&'a Id, Vec<Segment>>,
    /// A resume with `cursors: {}` concerns conversations that nothing was received of yet.
    all: Vec<(u64, HeadsAck<'a>)>,
    open: bool,
}

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    let mut connections: BTreeMap<&Id, Connection<'_>> = BTreeMap::new();
    let mut asked: HashMap<u64, (&Id, &BTreeMap<Id, u64>)> = HashMap::new();
    let mut held = Held::default();
    for (at, what) in log.iter() {
        match what {
            What::Connect { conn, device, .. } => {
                let fresh = Connection { device, conversations: BTreeMap::new(), all: Vec::new(), open: true };
                if connections.insert(conn, fresh).is_some() {
                    report.add(Rule::Log, "connection_opened_twice", at, conn.to_string());
                }
            }
            What::Disconnect { conn } => {
                if let Some(connection) = connections.get_mut(conn) {
                    connection.open = false;
                }
            }
            What::Hold { device, conversation, seq } => held.hold(device, conversation, *seq),
            What::Resume { op, conn, cursors } => {
                asked.insert(*op, (conn, cursors));
                let Some(connection) = connections.get_mut(conn) else {
                    report.add(Rule::Log, "unknown_connection", at, conn.to_string());
                    continue;
                };
                for (conversation, cursor) in cursors {
                    held.present(report, at, connection.device, conversation, *cursor);
                    let segments = connection.conversations.entry(conversation).or_default();
                    segments.push(Segment::new(From::Cursor(*cursor)));
                }
                if cursors.is_empty() {
                    for segments in connection.conversations.values_mut() {
                        segments.push(Segment::new(From::Heads));
                    }
                    connection.all.push((*op, None));
                }
            }
            What::Resumed { op, heads, more, .. } => {
                let Some((conn, cursors)) = asked.get(op) else {
                    report.add(Rule::Log, "answer_without_request", at, format!("op {op}"));
                    continue;
                };
                let Some(connection) = connections.get_mut(conn) else { continue };
                for (conversation, segments) in &mut connection.conversations {
                    let concerned = cursors.is_empty() || cursors.contains_key(*conversation);
                    if let Some(segment) = segments.last_mut().filter(|segment| concerned && segment.ack.is_none()) {
                        let (head, more) = (heads.get(*conversation).copied(), more.get(*conversation).copied());
                        segment.ack = Some(Ack { at, head, more });
                    }
                }
                for (all, ack) in &mut connection.all {
                    if all == op {
                        *ack = Some((at, heads));
                    }
                }
            }
            What::Deliver { conn, conversation, row } => {
                let Some(connection) = connections.get_mut(conn) else {
                    report.add(Rule::Log, "unknown_connection", at, conn.to_string());
                    continue;
                };
                if !connection.open {
                    report.add(Rule::Log, "delivery_after_disconnect", at, conn.to_string());
                }
                let all = connection.all.last().map(|(_, ack)| *ack);
                let segments = connection.conversations.entry(conversation).or_default();
                if segments.is_empty() {
                    segments.push(first_segment(all, conversation));
                }
                if let Some(segment) = segments.last_mut() {
                    segment.seen.push((at, row.seq));
                    held.receive(connection.device, conversation, row.seq);
                }
            }
            What::Dismissed { conn, conversation } => {
                // Whatever comes from here on begins anew, but for a resume that was not answered yet.
                if let Some(connection) = connections.get_mut(conn) {
                    let segments = connection.conversations.entry(conversation).or_default();
                    let from = match segments.last() {
                        Some(Segment { from: From::Cursor(_) | From::Anywhere, ack: None, .. }) => From::Anywhere,
                        _ => From::Live,
                    };
                    segments.push(Segment::new(from));
                }
            }
            What::Reset { conn, conversation, head } => {
                let stored = log.finals.get(conversation).map(super::Final::head);
                let cursor = connections.get_mut(conn).and_then(|connection| {
                    let segment = connection.conversations.get_mut(conversation)?.last_mut()?;
                    segment.reset = true;
                    if let From::Cursor(cursor) = segment.from { Some(cursor) } else { None }
                });
                if let (Some(stored), Some(cursor)) = (stored, cursor)
                    && cursor <= stored
                {
                    let detail = format!("{conversation}: cursor {cursor} is stored, head {head} was told");
                    report.add(Rule::M4, "needless_reset", at, detail);
                }
            }
            _ => {}
        }
    }
    for (conn, connection) in &connections {
        for (conversation, segments) in &connection.conversations {
            let who = format!("{conn} ({}) {conversation}", connection.device);
            let at_end = judge(report, &who, segments);
            let (Some(quiesced), Some(stored)) = (log.quiesced, log.finals.get(conversation)) else { continue };
            if let Some(next) = at_end
                && connection.open
                && next <= stored.quiesced
            {
                let detail = format!("{who}: still waits for {next}, the head is {}", stored.quiesced);
                report.add(Rule::M5, "never_caught_up", quiesced, detail);
            }
        }
    }
}

fn first_segment(all: Option<HeadsAck<'_>>, conversation: &Id) -> Segment {
    match all {
        None => Segment::new(From::Live),
        Some(None) => Segment::new(From::Heads),
        Some(Some((at, heads))) => {
            let ack = Some(Ack { at, head: heads.get(conversation).copied(), more: None });
            Segment { ack, ..Segment::new(From::Heads) }
        }
    }
}

/// Judges the segments of one conversation on one connection. The answer is the next event it must get, if it is
/// subscribed and what it has is known.
fn judge(report: &mut Report, who: &str, segments: &[Segment]) -> Option<u64> {
    let mut next = Expect::Anything;
    for segment in segments {
        next = match segment.from {
            From::Anywhere => Expect::Anything,
            From::Live => {
                rises(report, who, &segment.seen);
                Expect::Anything
            }
            From::Cursor(cursor) => from_cursor(report, who, segment, cursor, next),
            From::Heads => from_heads(report, who, segment),
        };
    }
    if let Expect::Next(next) = next { Some(next) } else { None }
}

/// What may come before the server handles the next resume.
enum Expect {
    Anything,
    Next(u64),
    /// Cut off by `more`: unsubscribed.
    Nothing,
}

fn from_cursor(report: &mut Report, who: &str, segment: &Segment, cursor: u64, before: Expect) -> Expect {
    let seen = &segment.seen;
    if let Some(Ack { at, head: None, more: None }) = &segment.ack {
        // A conversation that the ack does not name is not the user's any more.
        taken_away(report, who, seen, cursor, &before, *at);
        return Expect::Anything;
    }
    let ack_at = segment.ack.as_ref().map_or(usize::MAX, |ack| ack.at);
    let first_behind = seen.iter().position(|(at, _)| *at > ack_at).unwrap_or(seen.len());
    // Where the run may begin; the last place is the likeliest.
    let starts: Vec<usize> = match &segment.ack {
        // What was sent is told by the ack: what came before it was written before the resume.
        Some(Ack { more: Some(more), .. }) => vec![first_behind.saturating_sub(more.saturating_sub(cursor) as usize)],
        ack => {
            // Replay comes before the ack, up to the head that it names.
            let head = ack.as_ref().and_then(|ack| ack.head).filter(|_| !segment.reset).unwrap_or(cursor);
            let latest = first_behind.saturating_sub(head.saturating_sub(cursor) as usize);
            let open = if first_behind == seen.len() && head <= cursor { Some(seen.len()) } else { None };
            let begins = (0..seen.len()).rev().filter(|at| *at <= latest && seen.get(*at).is_some_and(|(_, seq)| *seq == cursor + 1));
            let mut starts: Vec<usize> = begins.chain(open).collect();
            if starts.is_empty() {
                starts.push(latest);
            }
            starts
        }
    };
    let mut first_try = None;
    for start in starts {
        let mut tried = Report::default();
        let expect = run_from(&mut tried, who, segment, cursor, &before, (start, first_behind));
        if tried.0.is_empty() {
            return expect;
        }
        first_try.get_or_insert((tried, expect));
    }
    let Some((tried, expect)) = first_try else { return Expect::Anything };
    for violation in tried.0 {
        report.add(violation.rule, violation.what, violation.at, violation.detail);
    }
    expect
}

/// Judges a segment whose person was gone before the ack: what was replayed until then is a run like any other, even if
/// it is not the whole of it. What follows the ack is live only.
fn taken_away(report: &mut Report, who: &str, seen: &[(usize, u64)], cursor: u64, before: &Expect, ack_at: usize) {
    let fell = seen.windows(2).position(|pair| matches!(pair, [(_, lower), (_, upper)] if upper <= lower));
    let begins = |(at, seq): &(usize, u64)| *at < ack_at && *seq == cursor + 1;
    let Some(start) = fell.map(|index| index + 1).filter(|start| seen.get(*start).is_some_and(begins)) else {
        return rises(report, who, seen);
    };
    let (early, rest) = seen.split_at(start);
    written_before(report, who, early, before);
    let (run, _) = rest.split_at(rest.partition_point(|(at, _)| *at < ack_at));
    contiguous(report, who, run, cursor + 1);
    rises(report, who, rest);
}

/// Judges what was written before the server handled a resume.
fn written_before(report: &mut Report, who: &str, early: &[(usize, u64)], before: &Expect) {
    match before {
        Expect::Anything => rises(report, who, early),
        Expect::Next(next) => contiguous(report, who, early, *next),
        Expect::Nothing => {
            if let Some((at, seq)) = early.first() {
                report.add(Rule::M5, "unsubscribed_but_delivered", *at, format!("{who}: {seq} after it was cut off"));
            }
        }
    }
}

/// Judges a segment whose run begins at `start`; deliveries from `first_behind` on came behind the ack.
fn run_from(
    report: &mut Report,
    who: &str,
    segment: &Segment,
    cursor: u64,
    before: &Expect,
    (start, first_behind): (usize, usize),
) -> Expect {
    let (early, run) = segment.seen.split_at(start);
    written_before(report, who, early, before);
    if let Some((at, seq)) = segment.seen.get(first_behind).filter(|(_, seq)| start == first_behind && *seq != cursor + 1) {
        report.add(Rule::M5, "hole_behind_resume", *at, format!("{who}: {seq} instead of {} behind the ack", cursor + 1));
        return Expect::Anything;
    }
    contiguous(report, who, run, cursor + 1);
    if segment.reset {
        return Expect::Anything;
    }
    let before_ack = (first_behind - start) as u64;
    match &segment.ack {
        None => Expect::Anything,
        Some(Ack { at, more: Some(more), .. }) => {
            let sent = cursor + before_ack;
            if sent != *more {
                report.add(Rule::M5, "more_is_wrong", *at, format!("{who}: more says {more}, {sent} was the last"));
            }
            if let Some((at, seq)) = segment.seen.get(first_behind) {
                report.add(Rule::M5, "unsubscribed_but_delivered", *at, format!("{who}: {seq} after it was cut off"));
            }
            Expect::Nothing
        }
        Some(Ack { head: None, .. }) => Expect::Anything,
        Some(Ack { at, head: Some(head), .. }) => {
            if cursor + before_ack < *head {
                let detail = format!("{who}: the ack names {head}, {} was replayed", cursor + before_ack);
                report.add(Rule::M5, "ack_before_replay", *at, detail);
            }
            Expect::Next(cursor + 1 + run.len() as u64)
        }
    }
}

fn from_heads(report: &mut Report, who: &str, segment: &Segment) -> Expect {
    let seen = &segment.seen;
    let Some(Ack { at, head: Some(head), .. }) = &segment.ack else {
        rises(report, who, seen);
        return Expect::Anything;
    };
    let behind = seen.partition_point(|(position, _)| position < at);
    // What was written before the server subscribed may come again; from there on nothing does.
    let fell = |index: &usize| matches!((seen.get(index - 1), seen.get(*index)), (Some((_, lower)), Some((_, upper))) if upper <= lower);
    let start = (1..seen.len()).rev().find(fell).unwrap_or(behind);
    if start > behind {
        rises(report, who, seen);
        return Expect::Anything;
    }
    let (early, run) = seen.split_at(start);
    rises(report, who, early);
    let early = seen.get(..behind).and_then(|early| early.last()).map_or(0, |(_, seq)| *seq);
    let known = early.max(*head);
    let Some((first_at, first)) = run.first() else { return Expect::Next(known + 1) };
    if *first > known + 1 {
        report.add(Rule::M5, "hole_behind_resume", *first_at, format!("{who}: {first} after the head {known}"));
    }
    contiguous(report, who, run, *first);
    Expect::Next(run.last().map_or(known, |(_, seq)| (*seq).max(known)) + 1)
}

fn rises(report: &mut Report, who: &str, seen: &[(usize, u64)]) {
    for pair in seen.windows(2) {
        if let [(_, lower), (at, upper)] = pair
            && upper <= lower
        {
            report.add(Rule::M3, "seq_fell_on_connection", *at, format!("{who}: {upper} after {lower}"));
        }
    }
}

fn contiguous(report: &mut Report, who: &str, run: &[(usize, u64)], first: u64) {
    for ((at, seq), wanted) in run.iter().zip(first..) {
        if *seq != wanted {
            let what = if *seq > wanted { "hole_in_run" } else { "repeat_in_run" };
            report.add(Rule::M5, what, *at, format!("{who}: {seq} instead of {wanted}"));
            return;
        }
    }
}

/// What each device holds over all its connections, as far as the log shows.
#[derive(Default)]
struct Held<'a>(HashMap<(&'a Id, &'a Id), Holding>);

#[derive(Default)]
struct Holding {
    /// Everything up to here, once the first cursor or `hold` has said where to begin.
    through: Option<u64>,
    above: BTreeSet<u64>,
}

impl Holding {
    fn through(&mut self, seq: u64) {
        let mut through = self.through.map_or(seq, |held| held.max(seq));
        self.above.retain(|above| *above > through);
        while self.above.remove(&(through + 1)) {
            through += 1;
        }
        self.through = Some(through);
    }
}

impl<'a> Held<'a> {
    fn hold(&mut self, device: &'a Id, conversation: &'a Id, seq: u64) {
        self.0.entry((device, conversation)).or_default().through(seq);
    }

    fn receive(&mut self, device: &'a Id, conversation: &'a Id, seq: u64) {
        let holding = self.0.entry((device, conversation)).or_default();
        match holding.through {
            Some(through) if seq == through + 1 => holding.through(seq),
            Some(through) if seq <= through => {}
            _ => {
                holding.above.insert(seq);
            }
        }
    }

    /// The first cursor of a device is taken as it is; a later one above what it can hold leaves a hole for ever.
    fn present(&mut self, report: &mut Report, at: usize, device: &'a Id, conversation: &'a Id, cursor: u64) {
        let holding = self.0.entry((device, conversation)).or_default();
        if let Some(through) = holding.through
            && cursor > through
        {
            let detail = format!("{device} {conversation}: cursor {cursor}, but only {through} was received");
            report.add(Rule::M5, "cursor_skips_events", at, detail);
        }
        holding.through(holding.through.unwrap_or(cursor).max(cursor));
    }
}
