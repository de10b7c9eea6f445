//! The embedded database: one writer thread, some readers, migrations.
//!
//! Every write of every object goes through the writer in rounds (`design.md` 2.1): one transaction and one sync per
//! round, one savepoint per object's job. Loads and reads of HTTP handlers run on reader threads.

mod checkpoint;
mod connection;
mod migrations;
mod readers;
mod sql;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use edge_core::object::PersistError;
use edge_core::sql::{Rows, Statement};
use tokio::sync::oneshot;

pub use connection::{Query, QueryError, from_libsql, to_libsql};
pub use migrations::{EPOCH_BLOCK, Migration};

use connection::Connection;
use writer::Command;

/// Why the database cannot be used. The sentence is for the operator.
#[derive(Debug)]
pub struct OpenError(pub String);

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

/// What one object wants written at once: a Persist with the Projects behind it.
#[derive(Debug)]
pub struct Job {
    /// `<kind>/<name>`.
    pub object: Arc<str>,
    /// Epoch of the life that wrote it; after a failure the rest of that life is refused.
    pub life: u64,
    /// Number of the job within the life.
    pub unit: u64,
    pub statements: Vec<Statement>,
}

/// The outcome of a [`Job`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub object: Arc<str>,
    pub life: u64,
    pub unit: u64,
    pub result: Result<(), PersistError>,
}

/// Takes the outcomes of a round that belong to one shard. Called on the writer thread: it must not block.
pub type Sink = Box<dyn Fn(Vec<Done>) + Send>;

type BatchAnswer = oneshot::Sender<Result<Vec<Rows>, PersistError>>;

/// Counters and the state that health shows.
#[derive(Debug, Default)]
pub struct StorageStats {
    read_only: AtomicBool,
    /// Transactions committed, each with one sync.
    pub rounds: AtomicU64,
    /// Jobs and batches that became durable.
    pub jobs: AtomicU64,
    pub failed_jobs: AtomicU64,
    pub loads: AtomicU64,
    pub messages: AtomicU64,
}

impl StorageStats {
    /// Writing fails at the moment (disk full, sync error); reading goes on.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }
}

/// How the database file is opened.
#[derive(Debug, Clone)]
pub struct Options {
    pub file: PathBuf,
    pub readers: usize,
    /// Shards that will submit jobs.
    pub shards: usize,
}

/// Handle of the running storage threads; clones share them.
#[derive(Debug, Clone)]
pub struct Storage {
    writer: Sender<Command>,
    reads: Sender<readers::Read>,
    stats: Arc<StorageStats>,
}

/// A storage that was just opened.
#[derive(Debug)]
pub struct Opened {
    pub storage: Storage,
    /// Every epoch of this process is at or above this.
    pub first_epoch: u64,
    /// Joined after [`Storage::stop`].
    pub writer: std::thread::JoinHandle<()>,
}

impl Storage {
    /// Checks and migrates the file, raises the process epoch and starts the threads.
    ///
    /// # Errors
    /// Damage, a schema of a newer version, a journal that is not synced at each commit, or no access.
    pub fn open(options: &Options, sinks: Vec<Sink>) -> Result<Opened, OpenError> {
        let mut connection = Connection::open(&options.file)?;
        connection.check()?;
        migrations::apply(&mut connection, migrations::ALL)?;
        let first_epoch = migrations::raise_epoch(&mut connection)?;
        connection.prepare_writer()?;

        let stats = Arc::new(StorageStats::default());
        let (writer, commands) = channel();
        let (reads, queue) = channel();
        readers::spawn(&options.file, options.readers, queue)?;
        checkpoint::spawn(&options.file, &stats)?;
        let thread = writer::spawn(connection, commands, sinks, stats.clone());
        Ok(Opened { storage: Self { writer, reads, stats }, first_epoch, writer: thread })
    }

    /// Queues a job for the next round; the outcome goes to the sink of `shard`.
    pub fn submit(&self, shard: usize, job: Job) {
        self.command(Command::Job { shard, job });
    }

    /// The shard will send no more jobs of this life: its failure need not be remembered.
    pub fn forget(&self, object: Arc<str>, life: u64) {
        self.command(Command::Forget { object, life });
    }

    /// Keeps a later start of this host above `epoch`.
    pub fn reserve_epoch(&self, epoch: u64) {
        self.command(Command::ReserveEpoch(epoch));
    }

    /// Statements on the people database, all or nothing, durable when answered.
    ///
    /// # Errors
    /// Why nothing was applied.
    pub async fn people_batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, PersistError> {
        let (answer, outcome) = oneshot::channel();
        self.command(Command::Batch { statements, answer });
        outcome.await.unwrap_or(Err(PersistError::Io))
    }

    /// Reads on a reader thread, all statements on one snapshot; `answer` is called there.
    pub fn load(&self, statements: Vec<Statement>, answer: impl FnOnce(Result<Vec<Rows>, PersistError>) + Send + 'static) {
        self.stats.loads.fetch_add(1, Ordering::Relaxed);
        // Readers end only with the process.
        let _ = self.reads.send(readers::Read::Load { statements, answer: Box::new(answer) });
    }

    /// One query on a reader thread.
    ///
    /// # Errors
    /// SQLite's own words, for the log.
    pub async fn query(&self, statement: Statement) -> Result<Query, QueryError> {
        let (answer, outcome) = oneshot::channel();
        let _ = self.reads.send(readers::Read::Query { statement, answer });
        outcome.await.unwrap_or_else(|_| Err(QueryError::stopped()))
    }

    /// Ends the writer after everything that was submitted so far. Later writes are never answered.
    pub fn stop(&self) {
        self.command(Command::Stop);
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> &Arc<StorageStats> {
        &self.stats
    }

    fn command(&self, command: Command) {
        // After its end nothing is durable and nothing must be acknowledged: silence is right.
        let _ = self.writer.send(command);
    }
}

fn spawn_thread(name: &str, body: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("the operating system gives threads at start")
}

type Commands = Receiver<Command>;

#[cfg(test)]
mod tests;
