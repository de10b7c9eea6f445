//! A run from its number to the verdict.

use std::fmt;

use edge_core::objects::{HistoryCursor, Message, Numbered};

use crate::check::{Verdict, check};
use crate::client::{row_of, row_of_event};
use crate::history::{HistoryEvent, Id, Row, Watermarks, What};
use crate::relations::LATE_US;
use crate::scenario::{Faults, Scenario};
use crate::store::Stores;
use crate::world::{Event, Hooks, World};

/// What came out of a run.
#[derive(Debug)]
pub struct Outcome {
    pub scenario: Scenario,
    pub verdict: Verdict,
    /// Contracts that are not about messages: between objects and host, or who may see what.
    pub breaches: Vec<String>,
    pub history: Vec<HistoryEvent>,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Inputs that objects handled.
    pub steps: u64,
    /// Sessions that went on over another connection (G-17).
    pub recovered: u64,
}

impl Outcome {
    /// Whether nothing at all was wrong.
    #[must_use]
    pub fn good(&self) -> bool {
        self.verdict.holds() && self.breaches.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for breach in &self.breaches {
            writeln!(f, "BREACH {breach}")?;
        }
        write!(f, "seed {}: {} virtual s, {} steps, {}", self.scenario.seed, self.virtual_ms / 1000, self.steps, self.verdict)
    }
}

/// Runs a scenario. The databases are emptied first and come back for the next run.
pub fn run(scenario: Scenario, hooks: Hooks, mut stores: Stores, verbose: bool) -> Result<(Outcome, Stores), String> {
    stores.reset()?;
    let duration_us = scenario.duration_ms * 1000;
    let mut world = World::new(scenario, hooks, stores);
    world.verbose = verbose;
    world.run_until(duration_us.saturating_sub(CLOCK_REST_US));
    world.clock_rests();
    world.run_until(duration_us);
    world.settle();
    world.read_truth();
    let verdict = check(&world.history);
    let outcome = Outcome {
        verdict,
        breaches: std::mem::take(&mut world.breaches),
        history: std::mem::take(&mut world.history),
        virtual_ms: world.now_us / 1000,
        steps: world.steps,
        recovered: world.recovered,
        scenario: world.scenario,
    };
    Ok((outcome, world.stores))
}

/// The wall clock runs evenly for this time before the other faults end: what an object put off while the clock jumped
/// is due by then.
const CLOCK_REST_US: u64 = 35_000_000;
/// Longest wait for clients to come to rest after the faults.
const SETTLE_US: u64 = 240_000_000;
/// After the last answer, for what is still on its way.
const REST_US: u64 = 30_000_000;

impl World {
    /// Faults end; every client comes back and has everything; then the log says so.
    fn settle(&mut self) {
        self.settling = true;
        self.faults = Faults::NONE;
        for conversation in 0..self.conversations.len() {
            self.after(0, Event::Found { conversation });
            if self.scenario.relations {
                self.after(LATE_US, Event::Found { conversation });
            }
        }
        self.settle_relations();
        self.come_to_rest();
        if self.scenario.scenes && self.breaches.is_empty() {
            self.check_presence();
            self.check_marks();
            self.come_to_rest();
        }
        self.log(What::Quiesced);
        self.frozen = true;
        if self.scenario.scenes && self.breaches.is_empty() {
            self.check_search();
        }
    }

    /// Waits until every client has everything and waits for nothing.
    fn come_to_rest(&mut self) {
        let end = self.now_us + SETTLE_US;
        loop {
            let until = self.now_us + 1_000_000;
            self.run_until(until);
            if self.settled() {
                let rested = self.now_us + REST_US;
                self.run_until(rested);
                if self.settled() {
                    break;
                }
            }
            if self.now_us > end {
                for why in self.unsettled() {
                    self.breach(format!("does not come to rest: {why}"));
                }
                break;
            }
        }
    }

    fn clock_rests(&mut self) {
        self.faults.clock_jump_every_ms = 0;
        self.wall_offset_ms = self.highest_offset_ms;
        self.rearm();
    }

    /// The machine dies once more, and what is stored is read.
    fn read_truth(&mut self) {
        self.host_crash();
        let up = self.host_up_at_us.max(self.now_us);
        self.run_until(up);
        for n in 0..self.conversations.len() {
            if !self.conversations[n].created {
                self.breach("a conversation could not be made".to_owned());
                continue;
            }
            match self.truth_of(n) {
                Some(what) => self.log(what),
                None => self.breach("the stored truth cannot be read".to_owned()),
            }
        }
    }

    fn truth_of(&mut self, n: usize) -> Option<What> {
        let member = *self.conversations[n].members.first()?;
        let user = self.people[member].id;
        let mut events: Vec<Numbered> = Vec::new();
        let marks = loop {
            let after = events.last().map_or(0, |numbered| numbered.seq);
            let msg = Message::Pull { user, after, limit: 200, generation: None, marks: true };
            let Message::Page { events: page, marks, head, .. } = self.ask(n, msg)? else { return None };
            if page.is_empty() && after < head {
                return None;
            }
            events.extend(page);
            if events.last().is_none_or(|numbered| numbered.seq >= head) {
                break marks;
            }
        };
        let Message::View { conversation } = self.ask(n, Message::Describe { user })? else { return None };
        let members = conversation.members.iter().map(|member| Id::from(member.id.to_string())).collect();
        let rows: Vec<Row> = events.iter().map(row_of_event).collect();
        let mut messages: Vec<Row> = Vec::new();
        loop {
            let after = messages.last().map_or(0, |row| row.seq);
            let msg = Message::History { user, cursor: HistoryCursor::AfterSeq(after), limit: 200 };
            let Message::HistoryPage { messages: page, .. } = self.ask(n, msg)? else { return None };
            if page.is_empty() {
                break;
            }
            messages.extend(page.iter().map(row_of));
            if messages.last().is_none_or(|row| row.seq <= after) {
                return None;
            }
        }
        if !rows.iter().filter(|row| row.kind.is_none()).eq(&messages) {
            self.breach("history and events are not the same messages".to_owned());
        }
        let states = self.states_of(n, &events)?;
        let marks = marks
            .iter()
            .map(|marks| {
                let watermarks = Watermarks { delivered_seq: marks.delivered_seq, read_seq: marks.read_seq };
                (Id::from(marks.user.to_string()), watermarks)
            })
            .collect();
        Some(What::Final { conversation: self.conversations[n].text.clone(), rows, marks, states, members })
    }
}
