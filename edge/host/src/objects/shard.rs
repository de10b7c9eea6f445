//! A shard: a thread, one guest instance, and everything that the host keeps for its objects.
//!
//! Events are drained as a batch into one step of the guest; its outputs are applied in order, those behind a Persist
//! when that is durable.

mod lives;
mod outputs;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use edge_core::object::{CallError, PersistError, RequestHead};
use edge_core::sql::{Rows, Value};
use tokio::sync::oneshot;

use super::alarms::Alarms;
use super::calls::{Caller, Deadlines, Inbound, Outgoing};
use super::hold::Hold;
use super::{Event, Instance, Instances, Objects, PollAnswer, Trap};
use crate::clock::Clock;
use crate::frontend::socket::{Socket, weight};
use crate::guest::wit::{self, Input};
use crate::storage::{Done, EPOCH_BLOCK, Storage};

/// Events of one step at most: bounds how long a step takes.
const STEP_EVENTS: usize = 512;
/// The longest sleep: alarms are set by a clock that may be corrected meanwhile.
const SLEEP: Duration = Duration::from_secs(1);

/// What a shard shares with the rest of the host.
#[derive(Debug)]
pub struct ShardParts {
    pub index: usize,
    pub objects: Arc<Objects>,
    pub storage: Storage,
    pub clock: Arc<Clock>,
    /// The next epoch, of all shards.
    pub epochs: Arc<AtomicU64>,
}

/// See the module.
pub struct Shard<I: Instances> {
    index: usize,
    /// Weak: the inboxes must close when the host lets go of them.
    objects: Weak<Objects>,
    storage: Storage,
    clock: Arc<Clock>,
    epochs: Arc<AtomicU64>,
    instances: I,
    instance: I::Instance,
    lives: HashMap<Arc<str>, Entry>,
    sockets: HashMap<u64, HeldSocket, BuildHasherDefault<IdHasher>>,
    polls: HashMap<u64, (Arc<str>, oneshot::Sender<PollAnswer>), BuildHasherDefault<IdHasher>>,
    alarms: Alarms,
    deadlines: Deadlines,
    /// Inputs of the next step.
    batch: Vec<(String, Input)>,
    /// Sockets of the frames in the batch, with their weights.
    reading: Vec<(Arc<Socket>, u32)>,
    /// Sockets with frames that were queued in this step.
    dirty: Vec<Arc<Socket>>,
    /// Objects whose storage units may still grow in this step.
    open_units: Vec<Arc<str>>,
    after_step: Vec<oneshot::Sender<()>>,
    traps: Vec<Instant>,
    stop: Option<oneshot::Sender<()>>,
}

impl<I: Instances> std::fmt::Debug for Shard<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("index", &self.index).finish_non_exhaustive()
    }
}

/// What the host keeps per object.
#[derive(Debug, Default)]
struct Entry {
    life: u64,
    phase: Phase,
    hold: Hold,
    inbound: Inbound,
    outgoing: Outgoing,
    /// Milliseconds since the epoch.
    alarm: Option<u64>,
    /// Jobs at the writer, of any life.
    storing: usize,
}

#[derive(Debug, Default)]
enum Phase {
    /// Not in the guest's memory.
    #[default]
    Gone,
    Live,
    /// To be started once the jobs of its former life are through: it would load too early.
    Waiting(Vec<Input>),
}

#[derive(Debug)]
struct HeldSocket {
    socket: Arc<Socket>,
    attachment: Vec<u8>,
    /// The gateway was told of it.
    announced: bool,
}

/// Socket numbers and request numbers are already well spread.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<I: Instances + 'static> Shard<I> {
    /// Builds the instance and starts the thread.
    ///
    /// # Errors
    /// The guest cannot be started.
    pub fn spawn(parts: ShardParts, instances: I, inbox: Receiver<Event>) -> anyhow::Result<std::thread::JoinHandle<()>> {
        let name = format!("shard-{}", parts.index);
        let shard = std::thread::Builder::new().name(name);
        let (started, outcome) = std::sync::mpsc::channel();
        let thread = shard.spawn(move || match Self::new(parts, instances) {
            Ok(shard) => {
                let _ = started.send(Ok(()));
                shard.run(&inbox);
            }
            Err(Trap(why)) => {
                let _ = started.send(Err(why));
            }
        })?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(thread),
            Ok(Err(why)) => Err(anyhow::anyhow!("the component does not start: {why}")),
            Err(_) => Err(anyhow::anyhow!("the component does not start")),
        }
    }

    fn new(parts: ShardParts, instances: I) -> Result<Self, Trap> {
        let ShardParts { index, objects, storage, clock, epochs } = parts;
        let instance = instances.fresh()?;
        Ok(Self {
            index,
            objects: Arc::downgrade(&objects),
            storage,
            clock,
            epochs,
            instances,
            instance,
            lives: HashMap::new(),
            sockets: HashMap::default(),
            polls: HashMap::default(),
            alarms: Alarms::default(),
            deadlines: Deadlines::default(),
            batch: Vec::new(),
            reading: Vec::new(),
            dirty: Vec::new(),
            open_units: Vec::new(),
            after_step: Vec::new(),
            traps: Vec::new(),
            stop: None,
        })
    }

    fn run(mut self, inbox: &Receiver<Event>) {
        while self.take(inbox) {
            self.due();
            self.step();
            if let Some(stopped) = self.stop.take() {
                self.close_sockets();
                let _ = stopped.send(());
                return;
            }
        }
    }

    /// Takes what waits in the inbox, at least one event unless there is other work. False at the end.
    fn take(&mut self, inbox: &Receiver<Event>) -> bool {
        let mut taken = 0;
        if self.batch.is_empty() {
            match inbox.recv_timeout(self.sleep()) {
                Ok(event) => {
                    self.event(event);
                    taken = 1;
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        while taken < STEP_EVENTS {
            match inbox.try_recv() {
                Ok(event) => {
                    self.event(event);
                    taken += 1;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        if let Some(objects) = self.objects.upgrade() {
            objects.taken(self.index, taken);
        }
        true
    }

    fn sleep(&self) -> Duration {
        let alarm = self.alarms.next().map(|at| Duration::from_millis(at.saturating_sub(self.clock.now_ms())));
        let deadline = self.deadlines.next().map(|until| until.saturating_duration_since(Instant::now()));
        [alarm, deadline].into_iter().flatten().fold(SLEEP, Duration::min)
    }

    /// Alarms and lost calls whose time has come.
    fn due(&mut self) {
        let now = self.clock.now_ms();
        while let Some((at, name)) = self.alarms.pop_due(now) {
            let Some(entry) = self.lives.get_mut(&name) else { continue };
            if entry.alarm == Some(at) {
                entry.alarm = None;
                self.deliver(&name, Input::Alarm, false);
            }
        }
        let now = Instant::now();
        while let Some((until, from, call)) = self.deadlines.pop_due(now) {
            let Some(entry) = self.lives.get_mut(&from.name) else { continue };
            if entry.life == from.life && entry.outgoing.expired(call, until) {
                self.count(|stats| &stats.lost_calls);
                let lost = wit::Replied { call, answer: Err(wit::CallError::Lost) };
                self.deliver(&from.name, Input::Reply(lost), false);
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Open { socket, head } => self.open(socket, head),
            Event::Frame { socket, frame } => {
                let weight = weight(&frame);
                let input = Input::Frame(wit::Received { socket: socket.id(), frame });
                self.deliver(socket.gateway(), input, false);
                self.reading.push((socket, weight));
            }
            Event::Drained { socket } => self.deliver(socket.gateway(), Input::Drained(socket.id()), false),
            Event::Closed { socket, clean } => self.closed(&socket, clean),
            Event::Poll { gateway, request, get, head, body, answer } => {
                self.polls.insert(request, (gateway.clone(), answer));
                let poll = wit::Poll { req: request, head: head_out(head), body };
                self.deliver(&gateway, if get { Input::PollGet(poll) } else { Input::PollPost(poll) }, true);
            }
            Event::PollAborted { gateway, request } => {
                if self.polls.remove(&request).is_some() {
                    self.deliver(&gateway, Input::PollAborted(request), false);
                }
            }
            Event::Call { to, from, call, msg } => self.call_in(&to, from, call, msg),
            Event::Reply { to, call, answer } => self.reply_in(&to, call, answer),
            Event::Stored(done) => done.into_iter().for_each(|done| self.stored(done)),
            Event::Loaded { object, life, load, answer } => {
                if self.lives.get(&object).is_some_and(|entry| entry.life == life) {
                    let answer = answer.map(|all| all.into_iter().map(rows_out).collect()).map_err(persist_error_out);
                    self.deliver(&object, Input::Loaded(wit::Loaded { load, answer }), false);
                }
            }
            Event::Wake { object } => self.wake(&object),
            Event::Draining(told) => {
                for name in self.live_gateways() {
                    self.deliver(&name, Input::Draining, false);
                }
                self.after_step.push(told);
            }
            Event::Waiting(answer) => {
                let bytes = self.sockets.values().map(|held| held.socket.waiting_bytes()).sum();
                let jobs = self.lives.values().map(|entry| entry.storing).sum();
                let _ = answer.send((bytes, jobs));
            }
            Event::Stop(stopped) => self.stop = Some(stopped),
        }
    }

    fn open(&mut self, socket: Arc<Socket>, head: RequestHead) {
        let name = socket.gateway().clone();
        let id = socket.id();
        let input = Input::SocketOpened(wit::Opened { socket: id, head: head_out(head) });
        // Started first, without this socket: it is announced by an input of its own.
        self.deliver(&name, input, true);
        let announced = self.lives.get(&name).is_some_and(Entry::is_live);
        self.sockets.insert(id, HeldSocket { socket, attachment: Vec::new(), announced });
        self.count_sockets();
    }

    fn closed(&mut self, socket: &Arc<Socket>, clean: bool) {
        if self.sockets.remove(&socket.id()).is_some() {
            self.deliver(socket.gateway(), Input::SocketClosed(wit::Gone { socket: socket.id(), clean }), false);
            self.count_sockets();
        }
    }

    /// One step of the guest, if there is anything to tell it.
    fn step(&mut self) {
        if !self.batch.is_empty() {
            let inputs = std::mem::take(&mut self.batch);
            let count = inputs.len() as u64;
            let started = Instant::now();
            let outcome = self.instance.step(self.clock.now_ms(), inputs);
            let micros = started.elapsed().as_micros() as u64;
            if let Some(objects) = self.objects.upgrade() {
                objects.stats.steps.fetch_add(1, Ordering::Relaxed);
                objects.stats.inputs.fetch_add(count, Ordering::Relaxed);
                objects.stats.step_micros.fetch_add(micros, Ordering::Relaxed);
                objects.stats.frames_in.fetch_add(self.reading.len() as u64, Ordering::Relaxed);
            }
            match outcome {
                Ok(outputs) => self.apply(outputs),
                Err(trap) => self.trapped(&trap),
            }
        }
        for (socket, weight) in self.reading.drain(..) {
            socket.consumed(weight);
        }
        for socket in self.dirty.drain(..) {
            socket.flush();
        }
        for told in self.after_step.drain(..) {
            let _ = told.send(());
        }
    }

    fn close_sockets(&mut self) {
        let (code, reason) = edge_core::error::CloseCode::ServiceRestart.frame();
        for held in self.sockets.values() {
            held.socket.close(code, reason);
            held.socket.flush();
        }
        for (_, (_, answer)) in self.polls.drain() {
            let _ = answer.send(unavailable());
        }
    }

    fn next_epoch(&self) -> u64 {
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
        if epoch.is_multiple_of(EPOCH_BLOCK) {
            self.storage.reserve_epoch(epoch);
        }
        epoch
    }

    fn count(&self, counter: impl Fn(&super::ObjectStats) -> &AtomicU64) {
        if let Some(objects) = self.objects.upgrade() {
            counter(&objects.stats).fetch_add(1, Ordering::Relaxed);
        }
    }

    fn live_gateways(&self) -> Vec<Arc<str>> {
        let live = self.lives.iter().filter(|(name, entry)| name.starts_with("gateway/") && matches!(entry.phase, Phase::Live));
        live.map(|(name, _)| name.clone()).collect()
    }

    /// The table of all shards' sockets is the sum of what each reports.
    fn count_sockets(&self) {
        if let Some(objects) = self.objects.upgrade() {
            objects.set_sockets(self.index, self.sockets.len());
        }
    }
}

/// The answer to a polling request whose gateway cannot give one.
fn unavailable() -> PollAnswer {
    PollAnswer {
        status: 503,
        headers: vec![("content-type".into(), "text/plain".into()), ("retry-after".into(), "1".into())],
        body: b"service unavailable".to_vec(),
    }
}

fn head_out(head: RequestHead) -> wit::RequestHead {
    let RequestHead { method, path, query, origin, content_type, address, upgrades } = head;
    wit::RequestHead { method, path, query, origin, content_type, address, upgrades }
}

pub(super) fn value_in(value: wit::Value) -> Value {
    match value {
        wit::Value::Null => Value::Null,
        wit::Value::Integer(n) => Value::Integer(n),
        wit::Value::Real(x) => Value::Real(x),
        wit::Value::Text(text) => Value::Text(text),
        wit::Value::Blob(bytes) => Value::Blob(bytes),
    }
}

fn rows_out(rows: Rows) -> Vec<Vec<wit::Value>> {
    let value = |value| match value {
        Value::Null => wit::Value::Null,
        Value::Integer(n) => wit::Value::Integer(n),
        Value::Real(x) => wit::Value::Real(x),
        Value::Text(text) => wit::Value::Text(text),
        Value::Blob(bytes) => wit::Value::Blob(bytes),
    };
    rows.into_iter().map(|row| row.into_iter().map(value).collect()).collect()
}

fn persist_error_out(error: PersistError) -> wit::PersistError {
    match error {
        PersistError::Conflict => wit::PersistError::Conflict,
        PersistError::Full => wit::PersistError::Full,
        PersistError::Io => wit::PersistError::Io,
    }
}

fn call_error_out(error: CallError) -> wit::CallError {
    match error {
        CallError::Failed => wit::CallError::Failed,
        CallError::Lost => wit::CallError::Lost,
        CallError::Overloaded => wit::CallError::Overloaded,
    }
}

#[cfg(test)]
mod tests;
