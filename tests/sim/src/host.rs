//! The host contract, exactly: lives and epochs, outputs held behind a Persist or Project, loads, calls with exactly
//! one reply, alarms, crashes and evictions.

use std::collections::{BTreeMap, VecDeque};

use edge_core::limits;
use edge_core::object::{CallError, CallKey, Input, Kind, Object, ObjectId, Output, PersistError, Store};
use edge_core::objects::Message;
use edge_core::shard::Shard;
use edge_core::sql::Statement;
use wire::Timestamp;

use crate::history::{Id, What};
use crate::scenario::{Host, Projections};
use crate::store::SqlError;
use crate::world::{Event, World, tell};

/// The host gives a call this long.
const CALL_DEADLINE_US: u64 = 10_000_000;

/// Who waits for a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    Slot(usize),
    Http(u64),
}

/// A call without reply yet.
#[derive(Debug)]
pub(crate) struct Call {
    callee: usize,
    /// A repetition under the same key is another call to the host.
    token: u64,
    /// The callee has it.
    delivered: bool,
    /// And has answered.
    replied: bool,
}

impl Call {
    /// Whether this object owes the answer.
    pub(crate) fn keeps_awake(&self, slot: usize) -> bool {
        self.callee == slot && self.delivered && !self.replied
    }
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The guest trapped: Persists that were handed over finish, the next life begins at once.
    Trap,
    /// Evicted: as a trap, but the next life begins with the next input. Its alarm stays.
    Evicted,
    /// The machine died under it: a suffix of its Persists is lost.
    Lost,
}

/// An object and what its host keeps for it.
pub(crate) struct Slot {
    pub(crate) id: ObjectId,
    /// Unique over all objects and hosts.
    pub(crate) life: u64,
    pub(crate) live: bool,
    /// With shards the object is in there.
    pub(crate) guest: Option<Box<dyn Object>>,
    /// What the guest asked for last.
    wanted: Option<Timestamp>,
    pub(crate) alarm: Option<(Timestamp, u64)>,
    pub(crate) held: VecDeque<Held>,
    pub(crate) commits: VecDeque<Commit>,
    /// Commits of one object end in order.
    last_commit_us: u64,
    pub(crate) last_n: u64,
    /// Alarms at one instant.
    storm: (u64, u32),
    /// Where objects sleep: inputs of this life that the host has yet to give.
    pub(crate) pending: u32,
    pub(crate) gathered: crate::sleep::Gathered,
    /// When the last life was ended by a crash.
    pub(crate) died_us: u64,
    /// When the newest message to each other object arrives: they keep their order.
    pub(crate) sent: BTreeMap<usize, u64>,
}

/// More alarms of one object at one instant are a loop.
const STORM: u32 = 30;

pub(crate) enum Held {
    /// A Persist or Project that was handed over.
    Barrier { n: u64, done: bool, project: bool },
    Output(Box<Output>),
}

pub(crate) struct Commit {
    id: u64,
    ns: Vec<u64>,
    own: Vec<Statement>,
    people: Vec<Statement>,
    key: Option<String>,
    at_us: u64,
}

impl Slot {
    pub(crate) fn new(id: ObjectId) -> Self {
        Self {
            id,
            life: 0,
            live: false,
            guest: None,
            wanted: None,
            alarm: None,
            held: VecDeque::new(),
            commits: VecDeque::new(),
            last_commit_us: 0,
            last_n: 0,
            storm: (0, 0),
            pending: 0,
            gathered: crate::sleep::Gathered::default(),
            died_us: 0,
            sent: BTreeMap::new(),
        }
    }
}

impl World {
    pub(crate) fn is_live(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.live)
    }

    /// Gives an input to an object, which is started first if it does not live.
    pub(crate) fn input(&mut self, slot: usize, input: Input) {
        if !self.is_live(slot) {
            self.start(slot);
        }
        self.step(slot, input);
    }

    /// An input for this life of an object, later.
    pub(crate) fn inner_after(&mut self, us: u64, slot: usize, life: u64, input: Input) {
        if self.slots[slot].life == life {
            self.slots[slot].pending += 1;
        }
        self.after(us, Event::Inner { slot, life, input: Box::new(input) });
    }

    pub(crate) fn inner_came(&mut self, slot: usize, life: u64, input: Input) {
        if self.slots[slot].life == life {
            self.slots[slot].pending = self.slots[slot].pending.saturating_sub(1);
        }
        self.inner(slot, life, input);
    }

    pub(crate) fn inner(&mut self, slot: usize, life: u64, input: Input) {
        if self.slots[slot].live && self.slots[slot].life == life {
            self.step(slot, input);
        }
    }

    pub(crate) fn start(&mut self, slot: usize) {
        self.epoch = if self.sleeps() { self.wall().0.max(self.epoch + 1) } else { self.epoch + 1 };
        let seed = self.rng.bytes();
        let sockets = self.sockets_of(slot);
        let place = &mut self.slots[slot];
        place.life = self.epoch;
        place.live = true;
        place.held.clear();
        place.commits.clear();
        place.wanted = None;
        place.last_n = 0;
        place.pending = 0;
        place.gathered = crate::sleep::Gathered::default();
        place.sent.clear();
        if self.shards.is_empty() {
            let id = place.id.clone();
            self.slots[slot].guest = (self.hooks.create)(&id, &self.settings);
            if self.slots[slot].guest.is_none() {
                self.breach(format!("{id} cannot be created"));
            }
        }
        self.forget_calls_of(Caller::Slot(slot));
        let epoch = if self.sleeps() { self.epoch_of(slot, !sockets.is_empty()) } else { self.epoch };
        tell!(self, "{} starts, epoch {epoch}, {} sockets", self.slots[slot].id, sockets.len());
        self.step(slot, Input::Started { sockets, epoch, seed });
    }

    /// One input into a live object, and its outputs out.
    pub(crate) fn step(&mut self, slot: usize, input: Input) {
        self.steps += 1;
        tell!(self, "{} <- {input:?}", self.slots[slot].id);
        let now = self.wall();
        let outputs = if self.shards.is_empty() { self.run_alone(slot, input, now) } else { self.run_in_shard(slot, input, now) };
        self.take(slot, outputs);
        if self.sleeps() {
            self.last = Some(slot);
            self.wants_alarm(slot);
        }
    }

    fn run_alone(&mut self, slot: usize, input: Input, now: Timestamp) -> Vec<Output> {
        let place = &mut self.slots[slot];
        let mut outputs = Vec::new();
        let Some(guest) = place.guest.as_mut() else { return outputs };
        let was_alarm = matches!(input, Input::Alarm);
        if was_alarm {
            place.wanted = None;
        }
        guest.handle(input, now);
        while let Some(output) = guest.poll_output() {
            outputs.push(output);
        }
        let wanted = guest.poll_timeout();
        // Where objects sleep they are asked, and the host ends their lives as it likes.
        if self.scenario.host == Host::Sleeping {
            return outputs;
        }
        if wanted != place.wanted {
            place.wanted = wanted;
            outputs.push(Output::SetAlarm { at: wanted });
        }
        if was_alarm && guest.is_idle(now) {
            place.guest = None;
            outputs.push(Output::Idle);
        }
        outputs
    }

    fn run_in_shard(&mut self, slot: usize, input: Input, now: Timestamp) -> Vec<Output> {
        let shard = slot % self.shards.len();
        let id = self.slots[slot].id.clone();
        let mut outputs = Vec::new();
        self.shards[shard].step(now, vec![(id, input)], &mut outputs);
        outputs.into_iter().map(|(_, output)| output).collect()
    }

    fn take(&mut self, slot: usize, outputs: Vec<Output>) {
        let life = self.slots[slot].life;
        // The commit that a Project right behind a Persist joins.
        let mut open: Option<u64> = None;
        let last = outputs.len().saturating_sub(1);
        for (position, output) in outputs.into_iter().enumerate() {
            tell!(self, "{} -> {output:?}", self.slots[slot].id);
            let was_open = open.take();
            match output {
                Output::SetAlarm { at } => self.set_alarm(slot, at),
                Output::Idle => self.idle(slot),
                Output::Project { n, key, statement, hold, .. } if self.sleeps() && self.slots[slot].held.is_empty() => {
                    self.gather(slot, n, key, statement, hold);
                }
                // Behind a projection on another server everything waits, Persists too.
                Output::Persist { .. } | Output::Project { .. } if self.waits(slot, &output) => {
                    self.slots[slot].held.push_back(Held::Output(Box::new(output)));
                }
                Output::Project { n, statement, .. } if was_open.is_some() => {
                    open = was_open;
                    self.join(slot, was_open.unwrap_or_default(), n, statement);
                }
                output @ (Output::Persist { .. } | Output::Project { .. }) => {
                    let end = self.slots[slot].held.len();
                    let commit = self.submit(slot, output, end);
                    open = commit.filter(|_| self.scenario.projections == Projections::SameTransaction);
                }
                output if self.slots[slot].held.is_empty() || self.hooks.bugs.release_early => self.apply(slot, output),
                output => self.slots[slot].held.push_back(Held::Output(Box::new(output))),
            }
            if position < last && self.rng.chance(self.faults.crash_between_outputs) {
                let how = self.draw_end();
                self.crash(slot, how);
            }
            if !self.slots[slot].live || self.slots[slot].life != life {
                return;
            }
        }
    }

    fn apply(&mut self, slot: usize, output: Output) {
        match output {
            Output::Send { sockets, frame } => self.send(slot, &sockets, &frame),
            Output::Drain { socket } => self.drain(socket),
            Output::Close { socket, code, reason } => self.close(slot, socket, code, &reason),
            Output::Attach { socket, data } => {
                if data.len() > limits::ATTACHMENT_BYTES {
                    self.breach(format!("{} attaches {} bytes", self.slots[slot].id, data.len()));
                }
                self.attach(socket, data);
            }
            Output::Load { load, store, statements } => {
                let life = self.slots[slot].life;
                let us = 20 + self.rng.wait(self.scenario.sync_us / 4) + self.people_delay(store);
                self.slots[slot].pending += 1;
                self.after(us, Event::Read { slot, life, load, store, statements });
            }
            Output::Object { to, call, msg } => self.call(slot, &to, call, msg),
            Output::Reply { to, call, msg } => self.reply(slot, &to, call, msg),
            Output::NodeRequest { request, .. } => {
                let life = self.slots[slot].life;
                self.inner_after(1_000, slot, life, Input::NodeReply { request, result: Err(CallError::Lost) });
            }
            Output::Respond { .. } | Output::Persist { .. } | Output::Project { .. } => {}
            Output::SetAlarm { .. } | Output::Idle => {}
        }
    }

    // ---- storage

    /// Whether a Persist or Project must wait for a projection ahead of it, or a remote projection for anything but
    /// its like.
    fn waits(&self, slot: usize, output: &Output) -> bool {
        if self.scenario.projections == Projections::SameTransaction || self.hooks.bugs.release_early {
            return false;
        }
        let project = matches!(output, Output::Project { .. });
        if self.sleeps() {
            // One after the other, except that Persists share a sync.
            return project
                || self.slots[slot].held.iter().any(|held| match held {
                    Held::Barrier { done, project, .. } => *project && !done,
                    Held::Output(ahead) => matches!(**ahead, Output::Persist { .. } | Output::Project { .. }),
                });
        }
        self.slots[slot].held.iter().any(|held| match held {
            Held::Barrier { done: true, .. } => false,
            Held::Barrier { project: ahead, .. } => project != *ahead,
            Held::Output(ahead) => project || matches!(**ahead, Output::Persist { .. } | Output::Project { .. }),
        })
    }

    /// Hands a Persist or Project over to storage; its barrier stands at this place of the held outputs.
    fn submit(&mut self, slot: usize, output: Output, at: usize) -> Option<u64> {
        let remote = self.scenario.projections == Projections::Remote;
        let (n, own, people, key) = match output {
            Output::Persist { n, statements } => (n, statements, Vec::new(), None),
            Output::Project { n, key, statement, .. } => (n, Vec::new(), vec![statement], remote.then_some(key)),
            _ => return None,
        };
        self.tokens += 1;
        let id = self.tokens;
        let mut us = self.scenario.sync_us / 2 + self.rng.wait(self.scenario.sync_us);
        if self.rng.chance(self.faults.slow_sync) {
            us += self.rng.below(2_000_000);
        }
        if key.is_some() && self.rng.chance(self.faults.late_projection) {
            us += self.rng.below(5_000_000);
        }
        let place = &mut self.slots[slot];
        let mut at_us = self.now_us + us;
        match &key {
            // A remote projection waits for those of its key only.
            Some(key) => {
                let same = place.commits.iter().filter(|commit| commit.key.as_ref() == Some(key));
                at_us = same.map(|commit| commit.at_us + 1).fold(at_us, u64::max);
            }
            None => {
                at_us = at_us.max(place.last_commit_us + 1);
                place.last_commit_us = at_us;
            }
        }
        if n <= place.last_n {
            let what = format!("{} uses Persist number {n} after {}", place.id, place.last_n);
            self.breach(what);
        }
        let place = &mut self.slots[slot];
        place.last_n = n;
        place.held.insert(at.min(place.held.len()), Held::Barrier { n, done: false, project: own.is_empty() });
        place.commits.push_back(Commit { id, ns: vec![n], own, people, key, at_us });
        let life = place.life;
        self.queue.push(at_us, Event::Commit { slot, life, commit: id });
        Some(id)
    }

    fn join(&mut self, slot: usize, commit: u64, n: u64, statement: Statement) {
        let place = &mut self.slots[slot];
        if let Some(commit) = place.commits.iter_mut().find(|open| open.id == commit) {
            commit.ns.push(n);
            commit.people.push(statement);
            place.last_n = n;
            place.held.push_back(Held::Barrier { n, done: false, project: true });
        }
    }

    pub(crate) fn commit(&mut self, slot: usize, life: u64, id: u64) {
        let place = &mut self.slots[slot];
        if place.life != life {
            return;
        }
        let Some(position) = place.commits.iter().position(|commit| commit.id == id) else { return };
        let Some(commit) = place.commits.remove(position) else { return };
        let first = commit.ns.first().copied().unwrap_or(0);
        if self.rng.chance(self.faults.persist_fails) {
            let error = if self.rng.chance(0.5) { PersistError::Full } else { PersistError::Io };
            if error == PersistError::Io && self.rng.chance(self.faults.fails_but_applied) {
                let _ = self.execute(slot, &commit);
            }
            if !self.hooks.bugs.ignore_failed_persist {
                self.persist_failed(slot, first, error);
                return;
            }
        } else if let Err(error) = self.execute(slot, &commit) {
            self.persist_failed(slot, first, error.as_persist_error());
            return;
        }
        if commit.key.is_some() && self.rng.chance(self.faults.late_projection) {
            for statement in commit.people {
                let us = self.rng.below(10_000_000);
                self.after(us, Event::ProjectAgain { statement: Box::new(statement) });
            }
        }
        let mut tellable = Vec::new();
        for held in &mut self.slots[slot].held {
            if let Held::Barrier { n, done, .. } = held
                && commit.ns.contains(n)
            {
                *done = true;
                tellable.push(*n);
            }
        }
        self.release(slot, life);
        for n in tellable {
            self.inner(slot, life, Input::Persisted { n });
        }
    }

    pub(crate) fn release(&mut self, slot: usize, life: u64) {
        while self.slots[slot].life == life {
            match self.slots[slot].held.pop_front() {
                None => return,
                Some(Held::Barrier { done: true, .. }) => {}
                Some(barrier @ Held::Barrier { .. }) => {
                    self.slots[slot].held.push_front(barrier);
                    return self.submit_waiting(slot);
                }
                Some(Held::Output(output)) if matches!(*output, Output::Persist { .. } | Output::Project { .. }) => match *output {
                    Output::Project { n, key, statement, hold, .. } if self.sleeps() => {
                        self.gather(slot, n, key, statement, hold);
                    }
                    output => {
                        self.submit(slot, output, 0);
                    }
                },
                Some(Held::Output(output)) => {
                    self.apply(slot, *output);
                    if self.slots[slot].live && self.rng.chance(self.faults.crash_between_outputs) {
                        let how = self.draw_end();
                        self.crash(slot, how);
                    }
                }
            }
        }
    }

    /// Of what stands at the front, those of one sort run side by side: Persists in order, projections as they like.
    fn submit_waiting(&mut self, slot: usize) {
        let mut sort = None;
        for at in 0.. {
            let held = &mut self.slots[slot].held;
            match held.get(at) {
                Some(Held::Barrier { done: true, .. }) => {}
                Some(Held::Barrier { project, .. }) if *sort.get_or_insert(*project) == *project => {}
                Some(Held::Output(output)) => {
                    let project = match **output {
                        Output::Project { .. } if self.scenario.host == Host::Sleeping => return,
                        Output::Project { .. } => true,
                        Output::Persist { .. } => false,
                        // Other outputs wait, and Persists behind them do not, as long as no projection stands between.
                        _ if sort == Some(false) => continue,
                        _ => return,
                    };
                    if sort != Some(project) {
                        return;
                    }
                    if let Some(Held::Output(output)) = held.remove(at) {
                        self.submit(slot, *output, at);
                    }
                }
                _ => return,
            }
        }
    }

    fn execute(&mut self, slot: usize, commit: &Commit) -> Result<(), SqlError> {
        let own = if commit.own.is_empty() { Ok(()) } else { self.own_store(slot).apply(&commit.own) };
        let done = own.and_then(|()| if commit.people.is_empty() { Ok(()) } else { self.stores.people.apply(&commit.people) });
        match &done {
            Ok(()) => self.note_commits(slot),
            Err(SqlError::Constraint(text)) => tell!(self, "{} is refused: {text}", self.slots[slot].id),
            Err(SqlError::Broken(text)) => self.breach(format!("{}: {text}", self.slots[slot].id)),
        }
        done
    }

    /// Writes `commit` lines for what a room has stored since.
    fn note_commits(&mut self, slot: usize) {
        let Some(stored) = self.hooks.stored else { return };
        let id = &self.slots[slot].id;
        if id.kind != Kind::Room {
            return;
        }
        let name: Id = id.name.clone();
        let after = self.committed.get(&name).copied().unwrap_or(0);
        let Ok(rows) = self.stores.own.read(&[stored(&name, after)]) else { return };
        let seqs: Vec<u64> = rows.iter().flatten().filter_map(|row| row.first()?.as_u64()).collect();
        for seq in seqs {
            self.committed.insert(name.clone(), seq);
            self.log(What::Commit { conversation: name.clone(), seq });
        }
    }

    fn persist_failed(&mut self, slot: usize, n: u64, error: PersistError) {
        tell!(self, "{} persist {n} fails: {error:?}", self.slots[slot].id);
        self.slots[slot].held.clear();
        self.slots[slot].commits.clear();
        self.fail_calls_to(slot, CallError::Failed);
        if self.slots[slot].live {
            self.step(slot, Input::PersistFailed { n, error });
            self.start(slot);
        }
    }

    pub(crate) fn project_again(&mut self, statement: &Statement) {
        if let Err(error) = self.stores.people.apply(std::slice::from_ref(statement)) {
            self.breach(format!("a projection cannot be repeated: {error:?}"));
        }
    }

    pub(crate) fn read(&mut self, slot: usize, life: u64, load: u64, store: Store, statements: &[Statement]) {
        if !self.slots[slot].live || self.slots[slot].life != life {
            return;
        }
        self.slots[slot].pending = self.slots[slot].pending.saturating_sub(1);
        let result = if self.rng.chance(self.faults.load_fails) || self.people_down(store) {
            Err(PersistError::Io)
        } else {
            let database = if store == Store::Own { self.own_store(slot) } else { &mut self.stores.people };
            database.read(statements).map_err(|error| {
                let told = error.as_persist_error();
                self.breach(format!("{}: {error:?}", self.slots[slot].id));
                told
            })
        };
        let us = self.rng.wait(self.scenario.sync_us / 4);
        self.inner_after(us, slot, life, Input::Loaded { load, result });
    }

    // ---- calls

    fn call(&mut self, slot: usize, to: &ObjectId, call: CallKey, msg: Message) {
        let from = self.slots[slot].id.clone();
        let caller = (call != CallKey::NONE).then_some(Caller::Slot(slot));
        self.transmit(from, caller, to, call, msg);
    }

    /// A call of an HTTP handler.
    pub(crate) fn call_from_http(&mut self, request: u64, to: &ObjectId, msg: Message) {
        let from = ObjectId::new(Kind::Http, request.to_string());
        self.transmit(from, Some(Caller::Http(request)), to, CallKey(1), msg);
    }

    fn transmit(&mut self, from: ObjectId, caller: Option<Caller>, to: &ObjectId, call: CallKey, msg: Message) {
        let to = self.find_object(to);
        let msg = if self.scenario.json_messages { Message::from_bytes(&msg.to_bytes()) } else { msg };
        let caller = caller.map(|caller| {
            self.tokens += 1;
            let token = self.tokens;
            self.calls.insert((caller, call), Call { callee: to, token, delivered: false, replied: false });
            self.deadlines.push_back((self.now_us + CALL_DEADLINE_US, caller, call, token));
            (caller, token)
        });
        let mut us = self.message_delay();
        if let Some(sender) = self.index.get(&from).copied().filter(|_| self.sleeps()) {
            us = self.in_order(sender, to, us);
        }
        if self.rng.chance(self.faults.drop_message) {
            tell!(self, "the message to {} is lost", self.slots[to].id);
            // The host knows at once, or never.
            if let (Some((caller, token)), true) = (caller, self.rng.chance(0.5)) {
                self.after(us, Event::Answer { caller, call, token, result: Box::new(Err(CallError::Lost)) });
            }
            return;
        }
        let host = self.host;
        // Twice while both live: a send without key must not come to two lives of its room.
        let keyless = matches!(&msg, Message::Send { message, .. } if message.client_id.is_none());
        let mut life = None;
        if self.rng.chance(self.faults.duplicate_message) {
            life = keyless.then(|| self.slots[to].life);
            let later = us + self.rng.below(3_000_000);
            let msg = Box::new(msg.clone());
            self.after(later, Event::Message { to, from: from.clone(), caller, call, msg, host, life });
        }
        if self.sleeps()
            && let Some(sender) = self.index.get(&from)
        {
            life = Some(self.slots[*sender].life);
        }
        self.after(us, Event::Message { to, from, caller, call, msg: Box::new(msg), host, life });
    }

    fn message_delay(&mut self) -> u64 {
        let us = 10 + self.rng.wait(200);
        if self.rng.chance(self.faults.delay_message) { us + self.rng.below(3_000_000) } else { us }
    }

    pub(crate) fn message(
        &mut self,
        to: usize,
        from: ObjectId,
        caller: Option<(Caller, u64)>,
        call: CallKey,
        msg: Message,
        life: Option<u64>,
    ) {
        if self.sleeps() {
            if life.is_some_and(|life| self.sender_died(&from, life)) {
                return;
            }
        } else if life.is_some_and(|life| !self.slots[to].live || life != self.slots[to].life) {
            // Dead, and maybe about to begin another life with this very message.
            return;
        }
        if let Some((caller, token)) = caller
            && let Some(open) = self.calls.get_mut(&(caller, call))
            && open.token == token
        {
            open.delivered = true;
        }
        self.input(to, Input::Object { from, call, msg });
    }

    fn reply(&mut self, slot: usize, to: &ObjectId, call: CallKey, msg: Message) {
        let caller = match to.kind {
            Kind::Http => to.name.parse().ok().map(Caller::Http),
            _ => self.index.get(to).copied().map(Caller::Slot),
        };
        let Some(caller) = caller else { return };
        let Some(open) = self.calls.get(&(caller, call)).filter(|open| open.callee == slot) else { return };
        let token = open.token;
        if let Some(open) = self.calls.get_mut(&(caller, call)) {
            open.replied = true;
        }
        let msg = if self.scenario.json_messages { Message::from_bytes(&msg.to_bytes()) } else { msg };
        if self.rng.chance(self.faults.drop_message) {
            tell!(self, "the reply to {to} is lost");
            return;
        }
        let us = self.message_delay();
        self.after(us, Event::Answer { caller, call, token, result: Box::new(Ok(msg)) });
    }

    pub(crate) fn answer(&mut self, caller: Caller, call: CallKey, token: u64, result: Result<Message, CallError>) {
        if self.calls.get(&(caller, call)).is_none_or(|open| open.token != token) {
            return;
        }
        self.calls.remove(&(caller, call));
        match caller {
            Caller::Slot(slot) if self.is_live(slot) => self.step(slot, Input::Reply { call, result }),
            Caller::Slot(_) => {}
            Caller::Http(request) => self.http_done(request, result),
        }
    }

    pub(crate) fn call_timed_out(&mut self, caller: Caller, call: CallKey, token: u64) {
        self.answer(caller, call, token, Err(CallError::Lost));
    }

    fn forget_calls_of(&mut self, caller: Caller) {
        let keys: Vec<_> = self.calls.range((caller, CallKey(0))..=(caller, CallKey(u64::MAX))).map(|(key, _)| *key).collect();
        for key in keys {
            self.calls.remove(&key);
        }
    }

    fn fail_calls_to(&mut self, slot: usize, error: CallError) {
        let open: Vec<_> = self
            .calls
            .iter()
            .filter(|(_, call)| call.callee == slot && call.delivered)
            .map(|((caller, key), call)| (*caller, *key, call.token))
            .collect();
        for (caller, call, token) in open {
            self.after(10, Event::Answer { caller, call, token, result: Box::new(Err(error)) });
        }
    }

    // ---- alarms

    pub(crate) fn set_alarm(&mut self, slot: usize, at: Option<Timestamp>) {
        let Some(at) = at else {
            self.slots[slot].alarm = None;
            return;
        };
        self.tokens += 1;
        let generation = self.tokens;
        self.slots[slot].alarm = Some((at, generation));
        let mut us = at.since(self.wall()) * 1000;
        let now_us = self.now_us;
        let storm = &mut self.slots[slot].storm;
        *storm = if storm.0 == now_us { (now_us, storm.1 + 1) } else { (now_us, 0) };
        if storm.1 > STORM {
            // The clock would never go on.
            us += 1_000_000;
            self.breach(format!("{} asks for the same alarm for ever", self.slots[slot].id.kind.as_str()));
        }
        if self.rng.chance(self.faults.odd_alarm) && self.rng.chance(0.5) {
            us += if self.scenario.host == Host::Sleeping { self.rng.below(5_000_000) } else { self.rng.wait(10_000_000) };
        }
        self.after(us, Event::Alarm { slot, generation });
    }

    pub(crate) fn alarm(&mut self, slot: usize, generation: u64) {
        let Some((at, _)) = self.slots[slot].alarm.filter(|(_, current)| *current == generation) else { return };
        let early = at.since(self.wall());
        if early > 0 {
            // The wall clock went back: the time has not come.
            self.after(early * 1000, Event::Alarm { slot, generation });
            return;
        }
        self.slots[slot].alarm = None;
        if self.rng.chance(self.faults.odd_alarm) {
            let (us, host) = (self.rng.below(5_000_000), self.host);
            self.after(us, Event::AlarmAgain { slot, host });
        }
        self.ring(slot);
    }

    pub(crate) fn alarm_again(&mut self, slot: usize, host: u32) {
        if host == self.host || self.sleeps() {
            self.ring(slot);
        }
    }

    /// When the wall clock was set, timers are looked at anew.
    pub(crate) fn rearm(&mut self) {
        for slot in 0..self.slots.len() {
            if let Some((at, generation)) = self.slots[slot].alarm {
                let us = at.since(self.wall()) * 1000;
                self.after(us, Event::Alarm { slot, generation });
            }
        }
    }

    // ---- ends

    fn idle(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        place.live = false;
        place.guest = None;
        place.alarm = None;
        if !place.held.is_empty() || !place.commits.is_empty() {
            let what = format!("{} says it is idle with a Persist under way", place.id);
            self.breach(what);
            self.finish_commits(slot, End::Trap);
        }
    }

    pub(crate) fn draw_end(&mut self) -> End {
        match self.rng.below(3) {
            0 => End::Trap,
            1 => End::Evicted,
            _ => End::Lost,
        }
    }

    /// Ends a life. Sockets and their attachments stay.
    pub(crate) fn crash(&mut self, slot: usize, how: End) {
        if self.sleeps() {
            self.end(slot, End::Lost);
            self.drop_sockets(Some(slot));
            return;
        }
        if self.shards.is_empty() || how != End::Trap {
            self.end(slot, how);
            if how == End::Trap {
                self.start(slot);
            }
            return;
        }
        // A trap takes the whole shard with it.
        let shard = slot % self.shards.len();
        self.shards[shard] = Shard::new((*self.settings).clone());
        let mates: Vec<usize> =
            (0..self.slots.len()).filter(|mate| mate % self.shards.len() == shard && self.slots[*mate].live).collect();
        for mate in &mates {
            self.end(*mate, how);
        }
        for mate in mates {
            if !self.slots[mate].live {
                self.start(mate);
            }
        }
    }

    fn end(&mut self, slot: usize, how: End) {
        if !self.slots[slot].live {
            return;
        }
        tell!(self, "{} dies: {how:?}", self.slots[slot].id);
        self.slots[slot].live = false;
        self.slots[slot].guest = None;
        self.slots[slot].held.clear();
        self.slots[slot].gathered = crate::sleep::Gathered::default();
        self.slots[slot].died_us = self.now_us;
        self.finish_commits(slot, how);
        self.fail_calls_to(slot, CallError::Lost);
        self.forget_calls_of(Caller::Slot(slot));
    }

    /// What becomes of Persists that were handed over.
    fn finish_commits(&mut self, slot: usize, how: End) {
        let commits = std::mem::take(&mut self.slots[slot].commits);
        let mut lost = false;
        for commit in commits {
            if commit.key.is_some() {
                // A projection on another server, under way: it may arrive or not.
                if self.rng.chance(0.5) {
                    let _ = self.execute(slot, &commit);
                }
                continue;
            }
            lost = lost || how == End::Lost && self.rng.chance(0.6);
            if !lost {
                let _ = self.execute(slot, &commit);
            }
        }
    }

    /// kill -9 or power loss: every object, every socket, everything not synced.
    pub(crate) fn host_crash(&mut self) {
        tell!(self, "the host crashes");
        self.all_end(End::Lost);
    }

    /// The end of an orderly stop.
    pub(crate) fn host_down(&mut self, host: u32) {
        if host == self.host {
            tell!(self, "the host stops");
            self.all_end(End::Trap);
        }
    }

    fn all_end(&mut self, how: End) {
        for slot in 0..self.slots.len() {
            self.end(slot, how);
            if !self.sleeps() {
                self.slots[slot].alarm = None;
            }
        }
        if self.sleeps() {
            // Messages under way find the next lives, and alarms are kept.
            return self.drop_sockets(None);
        }
        for shard in &mut self.shards {
            *shard = Shard::new((*self.settings).clone());
        }
        self.host += 1;
        // The process epoch is stored: it rises.
        self.epoch = (self.epoch >> 20 << 20) + (1 << 20);
        self.host_up_at_us = self.now_us + self.rng.between(20_000, 2_000_000);
        let waiting: Vec<_> = self.calls.iter().map(|((caller, key), call)| (*caller, *key, call.token)).collect();
        for (caller, call, token) in waiting {
            if matches!(caller, Caller::Http(_)) {
                self.after(0, Event::Answer { caller, call, token, result: Box::new(Err(CallError::Lost)) });
            } else {
                self.calls.remove(&(caller, call));
            }
        }
        self.drop_sockets(None);
    }
}

impl World {
    pub(crate) fn life_of(&self, slot: usize) -> u64 {
        self.slots.get(slot).map_or(0, |slot| slot.life)
    }
}
