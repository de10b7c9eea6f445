//! Lives of objects: start, inputs, calls from others, and the three ways a life ends (idle, failed storage, trap).

use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_core::object::CallError;

use super::{Caller, Done, Entry, Hold, Instances, Phase, Shard, Trap, call_error_out, persist_error_out, unavailable};
use crate::guest::wit::{self, Input};

/// Traps within [`TRAP_WINDOW`] after which only gateways are restarted at once: what traps in its first input must not
/// take everybody else along for ever.
const TRAPS: usize = 3;
const TRAP_WINDOW: Duration = Duration::from_secs(10);
const TRAP_PAUSE: Duration = Duration::from_millis(250);

impl<I: Instances + 'static> Shard<I> {
    /// Gives `input` to an object. One that is not in memory is started first, if `wakes`; else the input is of no use.
    pub(super) fn deliver(&mut self, name: &Arc<str>, input: Input, wakes: bool) {
        let entry = match self.lives.get_mut(name) {
            Some(entry) => entry,
            None if wakes => self.lives.entry(name.clone()).or_default(),
            None => return,
        };
        match &mut entry.phase {
            Phase::Live => self.batch.push((name.to_string(), input)),
            Phase::Waiting(inputs) => inputs.push(input),
            Phase::Gone if wakes => {
                entry.phase = Phase::Waiting(vec![input]);
                self.begin_if_ready(name);
            }
            Phase::Gone => {}
        }
    }

    /// Starts an object that has something to do of its own.
    pub(super) fn wake(&mut self, name: &Arc<str>) {
        let entry = self.lives.entry(name.clone()).or_default();
        if matches!(entry.phase, Phase::Gone) {
            entry.phase = Phase::Waiting(Vec::new());
            self.begin_if_ready(name);
        }
    }

    /// Starts a waiting object unless its former life still has something at the writer.
    pub(super) fn begin_if_ready(&mut self, name: &Arc<str>) {
        let ready = self
            .lives
            .get(name)
            .is_some_and(|entry| matches!(entry.phase, Phase::Waiting(_)) && entry.storing == 0 && entry.hold.is_empty());
        if ready {
            self.begin(name);
        }
    }

    fn begin(&mut self, name: &Arc<str>) {
        let epoch = self.next_epoch();
        let sockets = self.sockets_of(name);
        let Some(entry) = self.lives.get_mut(name) else { return };
        let waiting = match std::mem::replace(&mut entry.phase, Phase::Live) {
            Phase::Waiting(inputs) => inputs,
            Phase::Live | Phase::Gone => Vec::new(),
        };
        entry.life = epoch;
        entry.hold = Hold::default();
        let mut seed = vec![0; 32];
        getrandom::fill(&mut seed).expect("the operating system gives entropy");
        self.batch.push((name.to_string(), Input::Started(wit::Started { sockets, epoch, seed })));
        self.batch.extend(waiting.into_iter().map(|input| (name.to_string(), input)));
        self.count_life(name, true);
    }

    /// The sockets that the gateway had before. Those it has not heard of follow in inputs of their own.
    fn sockets_of(&mut self, name: &Arc<str>) -> Vec<(u64, Vec<u8>)> {
        if !name.starts_with("gateway/") {
            return Vec::new();
        }
        let own = self.sockets.iter_mut().filter(|(_, held)| held.socket.gateway() == name);
        own.filter_map(|(id, held)| std::mem::replace(&mut held.announced, true).then(|| (*id, held.attachment.clone()))).collect()
    }

    /// A call (or a message, with key 0) for an object of this shard.
    pub(super) fn call_in(&mut self, to: &Arc<str>, from: Caller, call: u64, msg: Vec<u8>) {
        let envelope = wit::Envelope { peer: from.name.to_string(), call, msg };
        self.deliver(to, Input::Object(envelope), true);
        if call != 0
            && let Some(entry) = self.lives.get_mut(to)
        {
            entry.inbound.arrived(from, call, Instant::now());
        }
    }

    /// An answer for an object of this shard, if that life still waits for it.
    pub(super) fn reply_in(&mut self, to: &Caller, call: u64, answer: Result<Vec<u8>, CallError>) {
        let Some(entry) = self.lives.get_mut(&to.name) else { return };
        if entry.life == to.life && entry.outgoing.answered(call) {
            let answer = answer.map_err(call_error_out);
            self.deliver(&to.name, Input::Reply(wit::Replied { call, answer }), false);
        }
    }

    /// A job is through.
    pub(super) fn stored(&mut self, done: Done) {
        let Done { object: name, life, unit, result } = done;
        let Some(entry) = self.lives.get_mut(&name) else { return };
        entry.storing = entry.storing.saturating_sub(1);
        if entry.life != life {
            if result.is_err() {
                self.storage.forget(name.clone(), life);
            }
        } else {
            match result {
                Ok(()) => {
                    if let Some(released) = entry.hold.stored(unit) {
                        for n in released.persisted {
                            self.deliver(&name, Input::Persisted(n), false);
                        }
                        for output in released.outputs {
                            self.perform(&name, output);
                        }
                    }
                }
                Err(error) => {
                    // FIFO: the writer reads this after every job of that life.
                    self.storage.forget(name.clone(), life);
                    if let Some(n) = entry.hold.number_of(unit) {
                        self.failed(&name, wit::Refused { n, error: persist_error_out(error) });
                    }
                }
            }
        }
        self.begin_if_ready(&name);
        self.forget_if_gone(&name);
    }

    /// Storage refused what an object wrote: its life is over, and whoever waits for it is told.
    fn failed(&mut self, name: &Arc<str>, refused: wit::Refused) {
        self.count(|stats| &stats.failed_lives);
        let Some(entry) = self.lives.get(name) else { return };
        let live = matches!(entry.phase, Phase::Live);
        let pending = self.withdraw(name);
        self.end_life(name, CallError::Failed);
        if live {
            self.batch.push((name.to_string(), Input::PersistFailed(refused)));
            self.begin(name);
            self.count_life(name, false);
        }
        // What it has not seen yet belongs to the next life, except calls that were just answered.
        for input in pending {
            match input {
                Input::Object(wit::Envelope { call: 0, .. })
                | Input::SocketOpened(_)
                | Input::SocketClosed(_)
                | Input::Frame(_)
                | Input::PollGet(_)
                | Input::PollPost(_)
                | Input::PollAborted(_)
                | Input::Draining => self.deliver(name, input, false),
                _ => {}
            }
        }
    }

    /// The inputs of an object that the guest has not seen.
    fn withdraw(&mut self, name: &Arc<str>) -> Vec<Input> {
        let mut pending = Vec::new();
        for (to, input) in std::mem::take(&mut self.batch) {
            if *to == **name {
                pending.push(input);
            } else {
                self.batch.push((to, input));
            }
        }
        pending
    }

    /// Nothing of a life counts any more; calls to it end with `error`.
    fn end_life(&mut self, name: &Arc<str>, error: CallError) {
        let Some(entry) = self.lives.get_mut(name) else { return };
        entry.hold = Hold::default();
        entry.outgoing = Default::default();
        entry.alarm = None;
        let calls: Vec<_> = entry.inbound.take().collect();
        for (from, call) in calls {
            self.answer(from, call, Err(error));
        }
    }

    /// The guest dropped an object that has nothing to do.
    pub(super) fn idle(&mut self, name: &Arc<str>) {
        let pending = self.withdraw(name);
        let Some(entry) = self.lives.get_mut(name) else { return };
        if !matches!(entry.phase, Phase::Live) {
            return;
        }
        entry.phase = Phase::Gone;
        entry.alarm = None;
        entry.outgoing = Default::default();
        self.count_life(name, false);
        for input in pending {
            let wakes = matches!(input, Input::Object(_) | Input::PollGet(_) | Input::PollPost(_) | Input::SocketOpened(_));
            self.deliver(name, input, wakes);
        }
        self.forget_if_gone(name);
    }

    pub(super) fn forget_if_gone(&mut self, name: &Arc<str>) {
        let gone = self
            .lives
            .get(name)
            .is_some_and(|entry| matches!(entry.phase, Phase::Gone) && entry.storing == 0 && entry.hold.is_empty());
        if gone {
            self.end_life(name, CallError::Lost);
            self.lives.remove(name);
        }
    }

    /// The guest is gone with the memory of all objects. They start again, from storage and attachments.
    pub(super) fn trapped(&mut self, trap: &Trap) {
        self.count(|stats| &stats.traps);
        tracing::error!(shard = self.index, trap = %trap.0, "the component stopped; its objects start again");
        self.batch.clear();
        for (_, (_, answer)) in self.polls.drain() {
            let _ = answer.send(unavailable());
        }
        let live: Vec<Arc<str>> =
            self.lives.iter().filter(|(_, entry)| matches!(entry.phase, Phase::Live)).map(|(name, _)| name.clone()).collect();
        for name in &live {
            self.end_life(name, CallError::Lost);
            self.count_life(name, false);
        }
        let again = self.restart_instance();
        for name in live {
            let Some(entry) = self.lives.get_mut(&name) else { continue };
            if again || name.starts_with("gateway/") {
                entry.phase = Phase::Waiting(Vec::new());
                self.begin_if_ready(&name);
            } else {
                entry.phase = Phase::Gone;
                self.forget_if_gone(&name);
            }
        }
    }

    /// A new instance. False when it trapped so often lately that most objects had better wait until they are needed.
    fn restart_instance(&mut self) -> bool {
        let now = Instant::now();
        self.traps.retain(|at| now.duration_since(*at) < TRAP_WINDOW);
        self.traps.push(now);
        let rare = self.traps.len() <= TRAPS;
        if !rare {
            std::thread::sleep(TRAP_PAUSE);
        }
        loop {
            match self.instances.fresh() {
                Ok(instance) => {
                    self.instance = instance;
                    return rare;
                }
                Err(Trap(why)) => {
                    tracing::error!(shard = self.index, %why, "the component does not start");
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
    }

    fn count_life(&self, name: &str, begins: bool) {
        let Some(objects) = self.objects.upgrade() else { return };
        let counter = match name.split('/').next() {
            Some("room") => &objects.stats.rooms,
            Some("user") => &objects.stats.users,
            Some("call") => &objects.stats.calls,
            _ => &objects.stats.gateways,
        };
        if begins {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        } else {
            counter.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

impl Entry {
    /// Whether outputs of the object are to be applied.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }
}
