//! The outputs of one object that wait for its storage.
//!
//! A Persist (with the Projects directly behind it) is one unit. Everything behind a unit waits until that is durable;
//! other objects never wait for it.

use std::collections::VecDeque;

use edge_core::sql::Statement;

use crate::guest::wit::{self, Output};

/// What goes to storage as one savepoint.
#[derive(Debug, PartialEq)]
pub(super) struct Unit {
    pub(super) unit: u64,
    pub(super) statements: Vec<Statement>,
}

/// What an output, pushed, makes due at once.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Nothing stands before it.
    pub(super) output: Option<Output>,
    /// A unit that is complete: to be submitted.
    pub(super) unit: Option<Unit>,
}

/// What the end of a unit makes due.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// Numbers of the Persists and Projects in it.
    pub(super) persisted: Vec<u64>,
    /// The outputs up to the next unit.
    pub(super) outputs: Vec<Output>,
}

#[derive(Debug)]
enum Held {
    Unit { unit: u64, numbers: Vec<u64> },
    Output(Output),
}

#[derive(Debug, Default)]
pub(super) struct Hold {
    queue: VecDeque<Held>,
    /// The unit at the end of the queue while it may still grow.
    open: Option<Unit>,
    units: u64,
}

impl Hold {
    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the next output of the object.
    pub(super) fn push(&mut self, output: Output) -> Due {
        match output {
            Output::Persist(wit::Persist { n, statements }) => {
                let unit = self.open.take();
                self.begin(n, statements.into_iter().map(statement).collect());
                Due { output: None, unit }
            }
            Output::Project(wit::Project { n, statement: row, .. }) => {
                match (&mut self.open, self.queue.back_mut()) {
                    (Some(open), Some(Held::Unit { numbers, .. })) => {
                        open.statements.push(statement(row));
                        numbers.push(n);
                    }
                    _ => self.begin(n, vec![statement(row)]),
                }
                Due::default()
            }
            output => {
                let unit = self.open.take();
                if self.queue.is_empty() {
                    return Due { output: Some(output), unit };
                }
                self.queue.push_back(Held::Output(output));
                Due { output: None, unit }
            }
        }
    }

    fn begin(&mut self, n: u64, statements: Vec<Statement>) {
        self.units += 1;
        self.queue.push_back(Held::Unit { unit: self.units, numbers: vec![n] });
        self.open = Some(Unit { unit: self.units, statements });
    }

    /// The unit that was still growing: nothing more comes in this step.
    pub(super) fn close(&mut self) -> Option<Unit> {
        self.open.take()
    }

    /// The unit in front is durable. `None` when it is not the one in front, which only a former life explains.
    pub(super) fn stored(&mut self, done: u64) -> Option<Released> {
        match self.queue.front() {
            Some(Held::Unit { unit, .. }) if *unit == done => {}
            _ => return None,
        }
        let Some(Held::Unit { numbers, .. }) = self.queue.pop_front() else { return None };
        let mut outputs = Vec::new();
        while let Some(Held::Output(_)) = self.queue.front() {
            if let Some(Held::Output(output)) = self.queue.pop_front() {
                outputs.push(output);
            }
        }
        Some(Released { persisted: numbers, outputs })
    }

    /// The first number of the unit `failed`, when it is one of ours.
    pub(super) fn number_of(&self, failed: u64) -> Option<u64> {
        self.queue.iter().find_map(|held| match held {
            Held::Unit { unit, numbers } if *unit == failed => numbers.first().copied(),
            _ => None,
        })
    }
}

fn statement(statement: wit::Statement) -> Statement {
    Statement { sql: statement.sql.into(), params: statement.params.into_iter().map(super::shard::value_in).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn persist(n: u64) -> Output {
        let statement = wit::Statement { sql: format!("p{n}"), params: vec![] };
        Output::Persist(wit::Persist { n, statements: vec![statement] })
    }

    fn project(n: u64) -> Output {
        let statement = wit::Statement { sql: format!("q{n}"), params: vec![] };
        Output::Project(wit::Project { n, key: String::new(), version: 1, statement, hold: true })
    }

    fn alarm(at: u64) -> Output {
        Output::SetAlarm(Some(at))
    }

    fn alarms(outputs: &[Output]) -> Vec<u64> {
        outputs.iter().map(|output| if let Output::SetAlarm(Some(at)) = output { *at } else { panic!("{output:?}") }).collect()
    }

    fn texts(unit: &Unit) -> Vec<String> {
        unit.statements.iter().map(|statement| statement.sql.to_string()).collect()
    }

    #[test]
    fn outputs_pass_while_nothing_is_stored() {
        let mut hold = Hold::default();
        let due = hold.push(alarm(1));
        assert!(due.output.is_some() && due.unit.is_none() && hold.is_empty());
    }

    #[test]
    fn outputs_behind_a_persist_wait_and_come_in_order() {
        let mut hold = Hold::default();
        assert!(hold.push(persist(1)).output.is_none());
        let due = hold.push(alarm(1));
        assert!(due.output.is_none());
        assert_eq!(texts(&due.unit.unwrap()), ["p1"]);
        assert!(hold.push(alarm(2)).output.is_none());
        assert!(hold.push(persist(2)).output.is_none());
        assert!(hold.push(alarm(3)).output.is_none());
        assert!(hold.close().is_none());

        assert!(hold.stored(2).is_none(), "units become durable in order");
        let first = hold.stored(1).unwrap();
        assert_eq!((first.persisted, alarms(&first.outputs)), (vec![1], vec![1, 2]));
        assert!(hold.push(alarm(4)).output.is_none(), "the second unit still stands before it");
        let second = hold.stored(2).unwrap();
        assert_eq!((second.persisted, alarms(&second.outputs)), (vec![2], vec![3, 4]));
        assert!(hold.is_empty());
    }

    #[test]
    fn projects_directly_behind_a_persist_share_its_savepoint() {
        let mut hold = Hold::default();
        hold.push(persist(1));
        hold.push(project(2));
        assert!(hold.push(project(3)).unit.is_none());
        let unit = hold.push(persist(4)).unit.unwrap();
        assert_eq!((unit.unit, texts(&unit)), (1, vec!["p1".into(), "q2".into(), "q3".into()]));
        let unit = hold.close().unwrap();
        assert_eq!((unit.unit, texts(&unit)), (2, vec!["p4".to_owned()]));
        assert_eq!(hold.stored(1).unwrap().persisted, [1, 2, 3]);
        assert_eq!(hold.stored(2).unwrap().persisted, [4]);
    }

    #[test]
    fn a_project_of_a_later_step_is_a_unit_of_its_own() {
        let mut hold = Hold::default();
        hold.push(persist(1));
        assert_eq!(hold.close().unwrap().unit, 1);
        hold.push(project(2));
        assert_eq!(hold.close().unwrap().unit, 2);
        assert_eq!((hold.number_of(2), hold.number_of(3)), (Some(2), None));
    }
}
