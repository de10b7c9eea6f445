//! Virtual time and everything that stands in it. The model of the host is in [`crate::host`], that of the network
//! between host and clients in [`crate::net`], the clients in [`crate::client`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;

use edge_core::object::{CallError, CallKey, Frame, Input, Object, ObjectId, SocketId, Store};
use edge_core::objects::Message;
use edge_core::settings::Settings;
use edge_core::shard::Shard;
use edge_core::sql::Statement;
use wire::{RoomId, SessionId, Timestamp, UserId};

use crate::client::Client;
use crate::history::{HistoryEvent, Id, What};
use crate::host::{Call, Caller, Slot};
use crate::net::Socket;
use crate::packet::Packet;
use crate::product;
use crate::queue::Queue;
use crate::relations::Relation;
use crate::rng::Rng;
use crate::scenario::{Faults, Scenario};
use crate::store::Stores;

/// Wall clock at virtual time 0: 2026-03-01T00:00:00Z.
const WALL_START_MS: u64 = 1_772_323_200_000;

/// A person with an account.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: UserId,
    pub name: String,
    /// `id` as text.
    pub text: Id,
}

/// A conversation that the run uses.
#[derive(Debug, Clone)]
pub struct Conversation {
    pub id: RoomId,
    pub text: Id,
    pub direct: bool,
    /// Indices into the people of the run.
    pub members: Vec<usize>,
    /// Of them: comes and goes, until the run comes to rest.
    pub churner: Option<usize>,
    /// And is there again, for good.
    pub back: bool,
    pub created: bool,
}

/// Makes an object: `edge_core::shard::create`, a toy, or a wrapper with a planted bug.
pub type Create = Rc<dyn Fn(&ObjectId, &Rc<Settings>) -> Option<Box<dyn Object>>>;

/// Makes an access token.
pub type Token = Rc<dyn Fn(&Person, SessionId, &Settings, Timestamp) -> String>;
/// Makes the rows of the people database that registration would have written.
pub type Accounts = Rc<dyn Fn(&[Person], Timestamp) -> Vec<Statement>>;

/// What a run takes from outside: the product, or toys.
#[derive(Clone)]
pub struct Hooks {
    pub create: Create,
    pub token: Token,
    pub people: Accounts,
    /// The `seq`s above a given one that a room has stored, for `commit` lines in the log.
    pub stored: Option<fn(room: &str, after: u64) -> Statement>,
    pub bugs: Bugs,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").field("bugs", &self.bugs).finish_non_exhaustive()
    }
}

/// Bugs that are planted in the host's or the clients' model, to prove that the checker sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bugs {
    /// The host does not hold outputs behind a Persist.
    pub release_early: bool,
    /// The host answers a failed Persist with success.
    pub ignore_failed_persist: bool,
    /// Clients resume from a point in time instead of a `seq`.
    pub cursor_by_time: bool,
    /// A gateway that kept its sockets gets a new epoch.
    pub raise_epoch: bool,
    /// A search does not wake conversations that the index has forgotten.
    pub search_wakes_nobody: bool,
    /// A search looks at the conversations of everybody.
    pub search_everywhere: bool,
}

/// What happens at a point of virtual time.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message reaches an object. With `life`, only while the object still lives that life; where objects sleep it is
    /// the life of the sender.
    Message {
        to: usize,
        from: ObjectId,
        caller: Option<(Caller, u64)>,
        call: CallKey,
        msg: Box<Message>,
        host: u32,
        life: Option<u64>,
    },
    /// The answer to a call reaches the caller.
    Answer { caller: Caller, call: CallKey, token: u64, result: Box<Result<Message, CallError>> },
    /// An input for one life of an object.
    Inner { slot: usize, life: u64, input: Box<Input> },
    /// A Load reads now.
    Read { slot: usize, life: u64, load: u64, store: Store, statements: Vec<Statement> },
    Alarm { slot: usize, generation: u64 },
    /// An alarm that came before comes again.
    AlarmAgain { slot: usize, host: u32 },
    Commit { slot: usize, life: u64, commit: u64 },
    /// A projection that was applied before is applied again.
    ProjectAgain { statement: Box<Statement> },
    SocketUp { socket: SocketId },
    FrameIn { socket: SocketId, frame: Frame },
    FrameOut { socket: SocketId, packet: Rc<Packet>, bytes: usize },
    ServerSeesClose { socket: SocketId, clean: bool },
    ClientSeesClose { socket: SocketId },
    /// A client acts.
    Wake { client: usize },
    Connect { client: usize },
    /// A conversation is asked for (again).
    Found { conversation: usize },
    /// Whether somebody blocks somebody is said for the last time.
    Relate { by: usize, other: usize },
    /// Gathered rows reach the people database.
    PeopleWrite { slot: usize, life: u64, write: crate::sleep::Write },
    /// Objects fall asleep.
    Night,
    PeopleOut,
    CrashOne,
    HostCrash,
    HostStops,
    HostDown { host: u32 },
    CutOne,
    ClockJump,
}

/// A whole system under a seed.
pub struct World {
    pub(crate) now_us: u64,
    /// Wall clock against virtual time, in milliseconds.
    pub(crate) wall_offset_ms: i64,
    pub(crate) highest_offset_ms: i64,
    pub(crate) queue: Queue<Event>,
    pub(crate) rng: Rng,
    pub(crate) scenario: Scenario,
    pub(crate) faults: Faults,
    pub(crate) settings: Rc<Settings>,
    pub(crate) hooks: Hooks,
    pub(crate) stores: Stores,
    pub(crate) slots: Vec<Slot>,
    pub(crate) index: HashMap<ObjectId, usize>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) epoch: u64,
    /// Rises when the host process starts anew.
    pub(crate) host: u32,
    pub(crate) host_up_at_us: u64,
    pub(crate) calls: BTreeMap<(Caller, CallKey), Call>,
    pub(crate) deadlines: VecDeque<(u64, Caller, CallKey, u64)>,
    pub(crate) tokens: u64,
    pub(crate) sockets: BTreeMap<SocketId, Socket>,
    pub(crate) next_socket: u64,
    pub(crate) people: Vec<Person>,
    pub(crate) conversations: Vec<Conversation>,
    pub(crate) clients: Vec<Client>,
    pub(crate) requests: BTreeMap<u64, crate::client::Request>,
    pub(crate) next_request: u64,
    pub(crate) next_op: u64,
    pub(crate) history: Vec<HistoryEvent>,
    /// Highest `seq` of each room in `commit` lines.
    pub(crate) committed: BTreeMap<Id, u64>,
    pub(crate) breaches: Vec<String>,
    /// The object that last did something.
    pub(crate) last: Option<usize>,
    /// The people database is not reached, or slow, until then.
    pub(crate) people_down_us: u64,
    pub(crate) people_slow_us: u64,
    /// When somebody was told that somebody is offline.
    pub(crate) offline_heard: Vec<(u64, Id)>,
    /// Sessions that went on over another connection.
    pub(crate) recovered: u64,
    /// Who blocks whom.
    pub(crate) relations: BTreeMap<(usize, usize), Relation>,
    /// From when on one of them may not see the other, nor be seen.
    pub(crate) hidden: BTreeMap<(usize, usize), u64>,
    /// From when on nobody may see this person.
    pub(crate) hides: BTreeMap<usize, u64>,
    /// Each connection asks who is there.
    pub(crate) watching: bool,
    pub(crate) settling: bool,
    /// Clients neither act nor listen any more.
    pub(crate) frozen: bool,
    pub(crate) verbose: bool,
    pub(crate) steps: u64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("scenario", &self.scenario).field("now_us", &self.now_us).finish_non_exhaustive()
    }
}

/// Says what happens, when somebody wants to know.
macro_rules! tell {
    ($world:expr, $($arg:tt)*) => {
        if $world.verbose {
            $world.print(format_args!($($arg)*));
        }
    };
}
pub(crate) use tell;

impl World {
    /// The system of this scenario at virtual time 0.
    #[must_use]
    pub fn new(scenario: Scenario, hooks: Hooks, stores: Stores) -> Self {
        let mut rng = Rng::new(scenario.seed);
        let settings = scenario.settings(&mut rng);
        let shards = (0..scenario.shards).map(|_| Shard::new(settings.clone())).collect();
        let mut world = Self {
            now_us: 0,
            wall_offset_ms: 0,
            highest_offset_ms: 0,
            queue: Queue::default(),
            faults: scenario.faults.clone(),
            settings: Rc::new(settings),
            hooks,
            stores,
            slots: Vec::new(),
            index: HashMap::new(),
            shards,
            epoch: 1 << 20,
            host: 1,
            host_up_at_us: 0,
            calls: BTreeMap::new(),
            deadlines: VecDeque::new(),
            tokens: 0,
            sockets: BTreeMap::new(),
            next_socket: 1,
            people: Vec::new(),
            conversations: Vec::new(),
            clients: Vec::new(),
            requests: BTreeMap::new(),
            next_request: 1,
            next_op: 1,
            history: Vec::new(),
            committed: BTreeMap::new(),
            breaches: Vec::new(),
            last: None,
            people_down_us: 0,
            people_slow_us: 0,
            offline_heard: Vec::new(),
            recovered: 0,
            relations: BTreeMap::new(),
            hidden: BTreeMap::new(),
            hides: BTreeMap::new(),
            watching: false,
            settling: false,
            frozen: false,
            verbose: false,
            steps: 0,
            rng,
            scenario,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        let at = self.wall();
        let uuid = |rng: &mut Rng| wire::uuid_v7(at.0, rng.below(4096) as u16, rng.bits());
        // One more than the members: a stranger to every conversation.
        for n in 0..=self.scenario.users {
            let id = UserId(uuid(&mut self.rng));
            self.people.push(Person { id, name: format!("u{n}"), text: Id::from(id.to_string()) });
        }
        let rows = (self.hooks.people)(&self.people, at);
        if let Err(error) = self.stores.people.apply(&rows) {
            self.breach(format!("the people database refused its first rows: {error:?}"));
        }
        let users = self.scenario.users as u64;
        for n in 0..self.scenario.conversations {
            let id = RoomId(uuid(&mut self.rng));
            let mut members: Vec<usize> = (0..self.scenario.users).collect();
            let direct = n > 0 && self.rng.chance(0.3);
            let keep = if direct || users == 2 { 2 } else { self.rng.between(2, users) } as usize;
            while members.len() > keep {
                members.swap_remove(self.rng.below(members.len() as u64) as usize);
            }
            let text = Id::from(id.to_string());
            let churner = members.last().copied().filter(|_| self.scenario.churn && members.len() > 2);
            let direct = keep == 2 && direct;
            if let ([one, other], true) = (&members[..], direct && self.scenario.relations) {
                let row = product::pair(self.people[*one].id, self.people[*other].id, id, at);
                let _ = self.stores.people.apply(&[row]);
            }
            self.conversations.push(Conversation { id, text, direct, members, churner, back: false, created: false });
            let at = if n == 0 { 0 } else { self.rng.below(self.scenario.duration_ms * 300) };
            self.queue.push(at, Event::Found { conversation: n });
        }
        for user in 0..self.people.len() {
            let devices = if user == self.scenario.users { 1 } else { self.rng.between(1, self.scenario.devices) };
            for n in 0..devices {
                self.add_client(user, n);
            }
        }
        self.schedule_faults();
    }

    /// The wall clock, as objects see it.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        let ms = WALL_START_MS as i64 + (self.now_us / 1000) as i64 + self.wall_offset_ms;
        Timestamp(u64::try_from(ms).unwrap_or(0))
    }

    pub(crate) fn log(&mut self, what: What) {
        tell!(self, "log {what:?}");
        self.history.push(HistoryEvent { t: self.now_us / 1000, what });
    }

    /// An object broke the contract between objects and hosts.
    pub(crate) fn breach(&mut self, what: String) {
        tell!(self, "BREACH {what}");
        if self.breaches.len() < 20 && !self.breaches.contains(&what) {
            self.breaches.push(what);
        }
    }

    pub(crate) fn print(&self, what: std::fmt::Arguments<'_>) {
        let mut line = format!("{:>12.6} ", self.now_us as f64 / 1e6);
        let _ = write!(line, "{what}");
        if line.len() > 700 {
            let end = (0..=700).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            line.truncate(end);
        }
        println!("{line}");
    }

    pub(crate) fn after(&mut self, us: u64, event: Event) {
        self.queue.push(self.now_us + us, event);
    }

    pub(crate) fn op(&mut self) -> u64 {
        self.next_op += 1;
        self.next_op - 1
    }

    /// Handles one event. False when nothing is left to happen before `until_us`.
    pub(crate) fn turn(&mut self, until_us: u64) -> bool {
        let next = self.queue.next_at();
        if let Some((at, ..)) = self.deadlines.front()
            && *at <= until_us
            && next.is_none_or(|next| *at <= next)
            && let Some((at, caller, call, token)) = self.deadlines.pop_front()
        {
            self.now_us = self.now_us.max(at);
            self.call_timed_out(caller, call, token);
            self.maybe_sleep();
            return true;
        }
        if next.is_none_or(|next| next > until_us) {
            self.now_us = until_us;
            return false;
        }
        if let Some((at, event)) = self.queue.pop() {
            self.now_us = at;
            self.happen(event);
        }
        self.maybe_sleep();
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Message { to, from, caller, call, msg, host, life } => {
                // What was under way in a host process that is gone is gone with it.
                if host == self.host {
                    self.message(to, from, caller, call, *msg, life);
                }
            }
            Event::Answer { caller, call, token, result } => self.answer(caller, call, token, *result),
            Event::Inner { slot, life, input } => self.inner_came(slot, life, *input),
            Event::Read { slot, life, load, store, statements } => self.read(slot, life, load, store, &statements),
            Event::Alarm { slot, generation } => self.alarm(slot, generation),
            Event::AlarmAgain { slot, host } => self.alarm_again(slot, host),
            Event::Commit { slot, life, commit } => self.commit(slot, life, commit),
            Event::ProjectAgain { statement } => self.project_again(&statement),
            Event::SocketUp { socket } => self.socket_up(socket),
            Event::FrameIn { socket, frame } => self.frame_in(socket, frame),
            Event::FrameOut { socket, packet, bytes } => self.frame_out(socket, &packet, bytes),
            Event::ServerSeesClose { socket, clean } => self.server_sees_close(socket, clean),
            Event::ClientSeesClose { socket } => self.client_sees_close(socket),
            Event::Wake { client } => self.wake(client),
            Event::Connect { client } => self.connect(client),
            Event::Found { conversation } => self.found(conversation),
            Event::Relate { by, other } => self.relate_at_last(by, other),
            Event::PeopleWrite { slot, life, write } => self.people_write(slot, life, write),
            Event::Night => self.night(),
            Event::PeopleOut => self.people_out(),
            Event::CrashOne => self.crash_one(),
            Event::HostCrash => self.host_crash_fault(),
            Event::HostStops => self.host_stops(),
            Event::HostDown { host } => self.host_down(host),
            Event::CutOne => self.cut_one(),
            Event::ClockJump => self.clock_jump(),
        }
    }

    /// Runs until this virtual time.
    pub fn run_until(&mut self, until_us: u64) {
        while self.turn(until_us) {}
    }

    // ---- faults that come by themselves

    fn schedule_faults(&mut self) {
        self.next_fault(self.faults.crash_every_ms, Event::CrashOne);
        self.next_fault(self.faults.host_crash_every_ms, Event::HostCrash);
        self.next_fault(self.faults.deploy_every_ms, Event::HostStops);
        self.next_fault(self.faults.cut_every_ms, Event::CutOne);
        self.next_fault(self.faults.clock_jump_every_ms, Event::ClockJump);
        self.next_fault(self.faults.people_out_every_ms, Event::PeopleOut);
        self.next_fault(self.scenario.sleep.every_ms, Event::Night);
    }

    pub(crate) fn next_fault(&mut self, every_ms: u64, event: Event) {
        if every_ms > 0 {
            let us = self.rng.wait(every_ms * 1000);
            self.after(us, event);
        }
    }

    fn crash_one(&mut self) {
        let every = self.faults.crash_every_ms;
        if every == 0 {
            return;
        }
        self.next_fault(every, Event::CrashOne);
        let live: Vec<usize> = (0..self.slots.len()).filter(|slot| self.is_live(*slot)).collect();
        if let Some(slot) = self.rng.pick(&live).copied() {
            let how = self.draw_end();
            self.crash(slot, how);
        }
    }

    fn host_crash_fault(&mut self) {
        let every = self.faults.host_crash_every_ms;
        if every > 0 {
            self.next_fault(every, Event::HostCrash);
            self.host_crash();
        }
    }

    fn host_stops(&mut self) {
        let every = self.faults.deploy_every_ms;
        if every == 0 {
            return;
        }
        self.next_fault(every, Event::HostStops);
        if self.sleeps() {
            // A new version takes the objects' place without a word.
            return self.host_crash();
        }
        tell!(self, "host is told to stop");
        for slot in 0..self.slots.len() {
            if self.is_live(slot) {
                self.step(slot, Input::Draining);
            }
        }
        let us = self.rng.below(3_000_000);
        let host = self.host;
        self.after(us, Event::HostDown { host });
    }

    fn cut_one(&mut self) {
        let every = self.faults.cut_every_ms;
        if every == 0 {
            return;
        }
        self.next_fault(every, Event::CutOne);
        let open: Vec<SocketId> = self.sockets.iter().filter(|(_, socket)| socket.at_client).map(|(id, _)| *id).collect();
        if let Some(socket) = self.rng.pick(&open).copied() {
            self.cut(socket);
        }
    }

    fn clock_jump(&mut self) {
        let every = self.faults.clock_jump_every_ms;
        if every == 0 {
            return;
        }
        self.next_fault(every, Event::ClockJump);
        let span = [1_000, 300_000, 3_600_000];
        let span = self.rng.pick(&span).copied().unwrap_or(1_000);
        self.wall_offset_ms += self.rng.between(0, 2 * span) as i64 - span as i64;
        self.highest_offset_ms = self.highest_offset_ms.max(self.wall_offset_ms);
        tell!(self, "wall clock jumps to offset {} ms", self.wall_offset_ms);
        if self.rng.chance(0.5) {
            self.rearm();
        }
    }

    pub(crate) fn find_object(&mut self, id: &ObjectId) -> usize {
        if let Some(slot) = self.index.get(id) {
            return *slot;
        }
        let slot = self.slots.len();
        self.slots.push(Slot::new(id.clone()));
        self.index.insert(id.clone(), slot);
        slot
    }

}
