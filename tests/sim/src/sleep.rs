//! The other host contract: objects sleep. Any object at rest may leave memory between two events, without a word; its
//! storage, its alarm and (gateways) its sockets with their attachments stay. The next event begins a life.
//!
//! What differs from [`crate::host`] stands here: when an object may sleep, the epoch of a gateway, alarms that stay and
//! come too often, pongs that the host answers, calls in order and never twice, and rows of the people database that are
//! gathered and lost with the memory they wait in.

use std::collections::BTreeMap;

use edge_core::limits;
use edge_core::object::{Frame, Input, Kind, ObjectId, SocketId, Store};
use edge_core::sql::Statement;
use wire::Timestamp;

use crate::host::{Caller, Held};
use crate::scenario::Host;
use crate::store::Database;
use crate::world::{Event, World, tell};

/// Pause before rows that somebody waits for are tried again.
const PEOPLE_RETRY_US: u64 = 300_000;

/// Messages of a life that crashed arrive within this time.
const AFTER_DEATH_US: u64 = 100_000;
/// Most sleep per event once people only wait to come to rest: a socket that is not authenticated yet does not survive it.
const RESTING_SLEEP: f64 = 0.1;
const RESTING_NIGHTS_MS: u64 = 5_000;

/// Rows of the people database that wait in the memory of a host of one object, the newest per key.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    waiting: BTreeMap<String, Statement>,
    written_us: u64,
    /// Writes under way.
    writing: u32,
}

/// Rows on their way.
#[derive(Debug)]
pub(crate) struct Write {
    rows: BTreeMap<String, Statement>,
    /// The Project whose outputs wait for it.
    holds: Option<u64>,
}

impl World {
    /// Whether this is the host whose objects sleep.
    pub(crate) fn sleeps(&self) -> bool {
        self.scenario.host == Host::Sleeping
    }

    // ---- sleep

    /// Nothing is under way that keeps an object awake: a call of its own, one of another that it has not answered, a
    /// write, a read.
    fn at_rest(&self, slot: usize) -> bool {
        let place = &self.slots[slot];
        let own = (Caller::Slot(slot), edge_core::object::CallKey(0))..=(Caller::Slot(slot), edge_core::object::CallKey(u64::MAX));
        place.live
            && place.pending == 0
            && place.gathered.writing == 0
            && place.held.is_empty()
            && place.commits.is_empty()
            && place.sent.values().all(|at| *at < self.now_us)
            && self.calls.range(own).next().is_none()
            && !self.calls.values().any(|call| call.keeps_awake(slot))
    }

    fn fall_asleep(&mut self, slot: usize) {
        if !self.at_rest(slot) {
            return;
        }
        tell!(self, "{} sleeps", self.slots[slot].id);
        let place = &mut self.slots[slot];
        (place.live, place.guest, place.gathered) = (false, None, Gathered::default());
    }

    /// Behind each event the object that it was for may fall asleep.
    pub(crate) fn maybe_sleep(&mut self) {
        if let Some(slot) = self.last.take()
            && self.rng.chance(self.sleep_after_event())
        {
            self.fall_asleep(slot);
        }
    }

    fn sleep_after_event(&self) -> f64 {
        let rate = self.scenario.sleep.after_event;
        if self.settling { rate.min(RESTING_SLEEP) } else { rate }
    }

    pub(crate) fn night(&mut self) {
        let every = self.scenario.sleep.every_ms;
        self.next_fault(if self.settling { every.max(RESTING_NIGHTS_MS) } else { every }, Event::Night);
        let live: Vec<usize> = (0..self.slots.len()).filter(|slot| self.is_live(*slot)).collect();
        match self.rng.below(4) {
            0 => self.all_sleep(),
            1 => {
                for slot in live {
                    if self.rng.chance(0.5) {
                        self.fall_asleep(slot);
                    }
                }
            }
            _ => {
                if let Some(slot) = self.rng.pick(&live).copied() {
                    self.fall_asleep(slot);
                }
            }
        }
    }

    pub(crate) fn all_sleep(&mut self) {
        for slot in 0..self.slots.len() {
            self.fall_asleep(slot);
        }
    }

    // ---- lives

    /// The epoch of a life: of a gateway that kept sockets the stored one, else a higher one.
    pub(crate) fn epoch_of(&mut self, slot: usize, kept: bool) -> u64 {
        let fresh = self.epoch;
        if self.slots[slot].id.kind != Kind::Gateway {
            return fresh;
        }
        let stored = self.own_store(slot).read(&[Statement::new("SELECT epoch FROM gateway_epoch", Vec::new())]);
        let stored = stored.ok().and_then(|rows| rows.first()?.first()?.first()?.as_u64());
        if let Some(epoch) = stored.filter(|_| kept && !self.hooks.bugs.raise_epoch) {
            return epoch;
        }
        let sql = "INSERT INTO gateway_epoch (id, epoch) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET epoch=?1";
        if let Err(error) = self.own_store(slot).apply(&[Statement::new(sql, vec![fresh.into()])]) {
            self.breach(format!("the epoch of a gateway cannot be stored: {error:?}"));
        }
        fresh
    }

    /// The database of an object's own storage.
    pub(crate) fn own_store(&mut self, slot: usize) -> &mut Database {
        let id = &self.slots[slot].id;
        let gateway = (self.scenario.host == Host::Sleeping && id.kind == Kind::Gateway).then(|| id.name.rsplit('-').next());
        let number = gateway.flatten().and_then(|number| number.parse::<usize>().ok());
        match number.and_then(|number| self.stores.gateways.get_mut(number)) {
            Some(database) => database,
            None => &mut self.stores.own,
        }
    }

    // ---- alarms and pongs

    /// One alarm per object: an earlier one stays, whoever asked for it, and is never taken back.
    pub(crate) fn wants_alarm(&mut self, slot: usize) {
        let place = &self.slots[slot];
        if !place.live {
            return;
        }
        let wanted = place.guest.as_ref().and_then(|guest| guest.poll_timeout());
        let Some(wanted) = [wanted, self.gathered_due(slot)].into_iter().flatten().min() else { return };
        let now = self.wall();
        match self.slots[slot].alarm {
            // One that is late already may give way to the next.
            Some((at, _)) if at < now && at < wanted && self.rng.chance(0.5) => self.set_alarm(slot, Some(wanted)),
            Some((at, _)) if at <= wanted => {}
            _ => self.set_alarm(slot, Some(wanted)),
        }
    }

    /// Gives an alarm; before it, a gateway hears of the pongs that were answered for it.
    pub(crate) fn ring(&mut self, slot: usize) {
        if self.sleeps() {
            if !self.is_live(slot) {
                self.start(slot);
            }
            for (socket, at) in self.pongs_of(slot) {
                self.step(slot, Input::Heard { socket, at });
            }
        }
        self.input(slot, Input::Alarm);
        if self.gathered_due(slot).is_some_and(|due| due <= self.wall()) {
            self.write_people(slot, None);
        }
    }

    /// The host answers `3` with `6`, and wakes nobody.
    pub(crate) fn answer_pong(&mut self, id: SocketId) {
        let wall = self.wall();
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.heard = Some(wall);
        let gateway = socket.gateway;
        self.send(gateway, &[id], &Frame::Text("6".to_owned()));
    }

    // ---- calls

    /// How long a message takes that may not overtake an earlier one of this life.
    pub(crate) fn in_order(&mut self, sender: usize, to: usize, us: u64) -> u64 {
        let now = self.now_us;
        let newest = self.slots[sender].sent.entry(to).or_default();
        *newest = (now + us).max(*newest + 1);
        *newest - now
    }

    /// What a crash finds under way arrives soon, or never.
    pub(crate) fn sender_died(&self, from: &ObjectId, life: u64) -> bool {
        let Some(slot) = self.index.get(from).map(|sender| &self.slots[*sender]) else { return false };
        (slot.life != life || !slot.live) && self.now_us.saturating_sub(slot.died_us) > AFTER_DEATH_US
    }

    // ---- people database

    pub(crate) fn people_out(&mut self) {
        let every = self.faults.people_out_every_ms;
        if every == 0 {
            return;
        }
        self.next_fault(every, Event::PeopleOut);
        let until = self.now_us + self.rng.between(500_000, 25_000_000);
        if self.rng.chance(0.6) {
            self.people_down_us = until;
        } else {
            self.people_slow_us = until;
        }
        tell!(self, "people database out until {} or slow until {}", self.people_down_us, self.people_slow_us);
    }

    pub(crate) fn people_down(&self, store: Store) -> bool {
        store == Store::People && self.now_us < self.people_down_us && !self.settling
    }

    pub(crate) fn people_delay(&mut self, store: Store) -> u64 {
        let slow = store == Store::People && self.now_us < self.people_slow_us && !self.settling;
        if slow { self.rng.below(4_000_000) } else { 0 }
    }

    /// When what waits is to be written.
    fn gathered_due(&self, slot: usize) -> Option<Timestamp> {
        let gathered = &self.slots[slot].gathered;
        let at_us = gathered.written_us + limits::PROJECT_COALESCE_MS * 1000;
        let in_ms = at_us.saturating_sub(self.now_us).div_ceil(1000);
        (!gathered.waiting.is_empty() && gathered.writing == 0).then(|| self.wall().plus_ms(in_ms))
    }

    /// A Project whose turn has come.
    pub(crate) fn gather(&mut self, slot: usize, n: u64, key: String, statement: Statement, hold: bool) {
        let place = &mut self.slots[slot];
        if n <= place.last_n {
            let what = format!("{} uses Persist number {n} after {}", place.id, place.last_n);
            self.breach(what);
        }
        let place = &mut self.slots[slot];
        place.last_n = n;
        place.gathered.waiting.insert(key, statement);
        let life = place.life;
        if hold {
            place.held.push_front(Held::Barrier { n, done: false, project: true });
            return self.write_people(slot, Some(n));
        }
        self.inner_after(0, slot, life, Input::Persisted { n });
        if self.gathered_due(slot).is_some_and(|due| due <= self.wall()) {
            self.write_people(slot, None);
        }
    }

    fn write_people(&mut self, slot: usize, holds: Option<u64>) {
        let us = self.scenario.sync_us / 2 + self.rng.wait(self.scenario.sync_us) + self.people_delay(Store::People);
        let now = self.now_us;
        let place = &mut self.slots[slot];
        place.gathered.written_us = now;
        place.gathered.writing += 1;
        let (life, rows) = (place.life, std::mem::take(&mut place.gathered.waiting));
        self.after(us, Event::PeopleWrite { slot, life, write: Write { rows, holds } });
    }

    pub(crate) fn people_write(&mut self, slot: usize, life: u64, write: Write) {
        let current = self.slots[slot].live && self.slots[slot].life == life;
        if self.people_down(Store::People) {
            if current && write.holds.is_some() {
                self.after(PEOPLE_RETRY_US, Event::PeopleWrite { slot, life, write });
            } else if current {
                let gathered = &mut self.slots[slot].gathered;
                gathered.writing -= 1;
                for (key, statement) in write.rows {
                    gathered.waiting.entry(key).or_insert(statement);
                }
                self.wants_alarm(slot);
            }
            return;
        }
        // What was on its way when its sender died arrives or not.
        if !current && self.rng.chance(0.5) {
            return;
        }
        let rows: Vec<Statement> = write.rows.into_values().collect();
        if let Err(error) = self.stores.people.apply(&rows) {
            self.breach(format!("{}: {error:?}", self.slots[slot].id));
        }
        if self.rng.chance(self.faults.late_projection) {
            for statement in rows {
                let us = self.rng.below(10_000_000);
                self.after(us, Event::ProjectAgain { statement: Box::new(statement) });
            }
        }
        if !current {
            return;
        }
        self.slots[slot].gathered.writing -= 1;
        if let Some(n) = write.holds {
            for held in &mut self.slots[slot].held {
                if let Held::Barrier { n: of, done, .. } = held {
                    *done |= *of == n;
                }
            }
            self.release(slot, life);
            self.inner(slot, life, Input::Persisted { n });
        }
        self.wants_alarm(slot);
    }
}
