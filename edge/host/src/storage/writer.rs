//! The writer thread: everything that is queued becomes one transaction with one sync.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use edge_core::object::PersistError;
use edge_core::sql::{Rows, Statement};

use super::connection::{Connection, QueryError};
use super::{BatchAnswer, Commands, Done, Job, Sink, StorageStats, migrations, sql, spawn_thread};

/// Jobs of one round at most: bounds how long the first of them waits.
const ROUND_JOBS: usize = 2_000;
/// How often a database that refused a write is tried again.
const PROBE: Duration = Duration::from_secs(1);
/// One line in the log per this time about a failing disk.
const COMPLAIN: Duration = Duration::from_secs(10);

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Command {
    Job { shard: usize, job: Job },
    Batch { statements: Vec<Statement>, answer: BatchAnswer },
    Forget { object: Arc<str>, life: u64 },
    ReserveEpoch(u64),
    /// End after what came before.
    Stop,
}

struct Writer {
    connection: Connection,
    sinks: Vec<Sink>,
    stats: Arc<StorageStats>,
    /// Lives whose later jobs are refused.
    failed: HashMap<Arc<str>, u64>,
    complained: Option<Instant>,
}

/// A job or batch of the round, with its outcome so far.
enum Unit {
    Job { shard: usize, object: Arc<str>, life: u64, unit: u64, messages: u64, result: Result<(), PersistError> },
    Batch { answer: BatchAnswer, result: Result<Vec<Rows>, PersistError> },
}

pub(super) fn spawn(
    connection: Connection,
    commands: Commands,
    sinks: Vec<Sink>,
    stats: Arc<StorageStats>,
) -> std::thread::JoinHandle<()> {
    let mut writer = Writer { connection, sinks, stats, failed: HashMap::new(), complained: None };
    spawn_thread("writer", move || {
        loop {
            let first = if writer.stats.read_only() {
                match commands.recv_timeout(PROBE) {
                    Ok(command) => Some(command),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                match commands.recv() {
                    Ok(command) => Some(command),
                    Err(_) => return,
                }
            };
            match first {
                Some(first) => {
                    let mut round = vec![first];
                    round.extend(commands.try_iter().take(ROUND_JOBS));
                    let stop = round.iter().position(|command| matches!(command, Command::Stop));
                    round.truncate(stop.unwrap_or(round.len()));
                    writer.round(round);
                    if stop.is_some() {
                        // Everything is durable already: an error costs the next start a moment, nothing else.
                        if let Err(error) = writer.connection.plain(sql::LAST_CHECKPOINT) {
                            tracing::debug!(%error, "last checkpoint");
                        }
                        return;
                    }
                }
                None => writer.probe(),
            }
        }
    })
}

impl Writer {
    fn round(&mut self, commands: Vec<Command>) {
        let mut units = Vec::with_capacity(commands.len());
        match self.fill(commands, &mut units) {
            Ok(()) => {}
            Err(error) => self.fail_all(&mut units, &error),
        }
        self.tell(units);
    }

    /// Runs the round. An error means that none of its jobs was applied.
    fn fill(&mut self, commands: Vec<Command>, units: &mut Vec<Unit>) -> Result<(), QueryError> {
        let mut begun = Ok(false);
        for command in commands {
            if matches!(command, Command::Forget { .. }) {
                self.forget(command);
                continue;
            }
            if matches!(begun, Ok(false)) {
                begun = self.connection.plain(sql::BEGIN).map(|()| true);
            }
            // Once the transaction is gone the rest of the round only gets its answers.
            let broken = match &begun {
                Ok(_) => None,
                Err(error) => Some(error.kind()),
            };
            if let Err(error) = self.apply(command, broken, units) {
                begun = Err(error);
            }
        }
        match begun {
            Ok(false) => Ok(()),
            Ok(true) => self.commit(),
            Err(error) => Err(error),
        }
    }

    fn forget(&mut self, command: Command) {
        if let Command::Forget { object, life } = command
            && let Entry::Occupied(entry) = self.failed.entry(object)
            && *entry.get() <= life
        {
            entry.remove();
        }
    }

    /// One savepoint. An error here means that SQLite ended the whole transaction.
    fn apply(&mut self, command: Command, broken: Option<PersistError>, units: &mut Vec<Unit>) -> Result<(), QueryError> {
        match command {
            Command::Forget { .. } | Command::Stop => Ok(()),
            Command::ReserveEpoch(epoch) => match broken {
                None => self.savepoint(vec![migrations::reserve(epoch)]).map(|_| ()),
                Some(_) => Ok(()),
            },
            Command::Batch { statements, answer } => {
                let (result, fatal) = self.attempt(statements, broken);
                units.push(Unit::Batch { answer, result });
                fatal
            }
            Command::Job { shard, job: Job { object, life, unit, statements } } => {
                let refused = self.failed.get(&object).is_some_and(|failed| *failed >= life);
                let broken = broken.or(refused.then_some(PersistError::Io));
                let messages = statements.iter().filter(|statement| statement.sql.starts_with(sql::MESSAGE_INSERT)).count() as u64;
                let (result, fatal) = self.attempt(statements, broken);
                let result = result.map(|_| ());
                if result.is_err() && !refused {
                    self.failed.insert(object.clone(), life);
                }
                units.push(Unit::Job { shard, object, life, unit, messages, result });
                fatal
            }
        }
    }

    fn attempt(
        &mut self,
        statements: Vec<Statement>,
        broken: Option<PersistError>,
    ) -> (Result<Vec<Rows>, PersistError>, Result<(), QueryError>) {
        if let Some(error) = broken {
            return (Err(error), Ok(()));
        }
        match self.savepoint(statements) {
            Ok(result) => (result, Ok(())),
            Err(fatal) => (Err(fatal.kind()), Err(fatal)),
        }
    }

    /// All statements or none. The outer error is the end of the transaction.
    fn savepoint(&mut self, statements: Vec<Statement>) -> Result<Result<Vec<Rows>, PersistError>, QueryError> {
        self.connection.plain(sql::SAVEPOINT)?;
        let mut all = Vec::with_capacity(statements.len());
        for statement in statements {
            match self.connection.run(statement) {
                Ok(rows) => all.push(rows),
                Err(error) if self.connection.is_autocommit() => return Err(error),
                Err(error) => {
                    self.connection.plain(sql::ROLLBACK_TO)?;
                    self.connection.plain(sql::RELEASE)?;
                    if error.kind() != PersistError::Conflict {
                        tracing::warn!(%error, "a statement was refused");
                    }
                    self.note(error.kind());
                    return Ok(Err(error.kind()));
                }
            }
        }
        self.connection.plain(sql::RELEASE)?;
        Ok(Ok(all))
    }

    fn commit(&mut self) -> Result<(), QueryError> {
        self.connection.plain(sql::COMMIT)?;
        self.stats.rounds.fetch_add(1, Ordering::Relaxed);
        if self.stats.read_only.swap(false, Ordering::Relaxed) {
            tracing::info!("storage takes writes again");
        }
        Ok(())
    }

    /// The transaction is gone: nobody may be told that anything was stored.
    fn fail_all(&mut self, units: &mut [Unit], error: &QueryError) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.plain(sql::ROLLBACK)
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAIN) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "storage refuses writes");
        }
        self.note(if error.kind() == PersistError::Conflict { PersistError::Io } else { error.kind() });
        let kind = if error.kind() == PersistError::Full { PersistError::Full } else { PersistError::Io };
        for unit in units {
            match unit {
                Unit::Batch { result, .. } => {
                    if result.is_ok() {
                        *result = Err(kind);
                    }
                }
                Unit::Job { object, life, result, .. } => {
                    if result.is_ok() {
                        *result = Err(kind);
                        self.failed.insert(object.clone(), *life);
                    }
                }
            }
        }
    }

    fn note(&self, kind: PersistError) {
        if kind != PersistError::Conflict {
            self.stats.read_only.store(true, Ordering::Relaxed);
        }
    }

    fn tell(&self, units: Vec<Unit>) {
        let mut done: Vec<Vec<Done>> = self.sinks.iter().map(|_| Vec::new()).collect();
        for unit in units {
            let stored = match unit {
                Unit::Batch { answer, result } => {
                    let stored = result.is_ok();
                    let _ = answer.send(result);
                    stored
                }
                Unit::Job { shard, object, life, unit, messages, result } => {
                    let stored = result.is_ok();
                    if stored && messages > 0 {
                        self.stats.messages.fetch_add(messages, Ordering::Relaxed);
                    }
                    if let Some(done) = done.get_mut(shard) {
                        done.push(Done { object, life, unit, result });
                    }
                    stored
                }
            };
            let counter = if stored { &self.stats.jobs } else { &self.stats.failed_jobs };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        for (sink, done) in self.sinks.iter().zip(done) {
            if !done.is_empty() {
                sink(done);
            }
        }
    }

    /// Tries whether the disk takes writes again.
    fn probe(&mut self) {
        let tried = self.connection.plain(sql::BEGIN).and_then(|()| {
            self.connection.run(Statement::new(sql::SET_STATE, vec!["probe".into(), 0_i64.into()]))?;
            self.commit()
        });
        if tried.is_err() && !self.connection.is_autocommit() {
            let _ = self.connection.plain(sql::ROLLBACK);
        }
    }
}
