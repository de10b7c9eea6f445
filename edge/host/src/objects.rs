//! Objects and who finds them: shards, names, and calls from outside.
//!
//! A shard is a thread with one live guest instance. Rooms and users belong to a shard by hash of their name, gateways
//! in turn. Everything that happens to an object is an [`Event`] in the inbox of its shard.

mod alarms;
mod calls;
mod hold;
mod instance;
mod shard;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edge_core::object::{CallError, PersistError, RequestHead};
use edge_core::objects::gateway_of_sid;
use edge_core::sql::Rows;
use tokio::sync::oneshot;

use crate::frontend::socket::Socket;
use crate::guest::wit;
use crate::storage::{Done, Sink};

pub use calls::Caller;
pub use instance::{GuestInstances, Instance, Instances, Trap};
pub use shard::{Shard, ShardParts};

/// Events waiting at a shard above which calls from outside are turned away.
const OVERLOADED_EVENTS: usize = 20_000;

/// The gateway of the protocol test application.
pub const ECHO_GATEWAY: &str = "gateway/echo-0";

/// An answer to a polling request.
#[derive(Debug)]
pub struct PollAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What reaches a shard.
#[derive(Debug)]
pub enum Event {
    Open { socket: Arc<Socket>, head: RequestHead },
    Frame { socket: Arc<Socket>, frame: wit::Frame },
    Drained { socket: Arc<Socket> },
    Closed { socket: Arc<Socket>, clean: bool },
    Poll { gateway: Arc<str>, request: u64, get: bool, head: RequestHead, body: Vec<u8>, answer: oneshot::Sender<PollAnswer> },
    PollAborted { gateway: Arc<str>, request: u64 },
    Call { to: Arc<str>, from: Caller, call: u64, msg: Vec<u8> },
    Reply { to: Caller, call: u64, answer: Result<Vec<u8>, CallError> },
    Stored(Vec<Done>),
    Loaded { object: Arc<str>, life: u64, load: u64, answer: Result<Vec<Rows>, PersistError> },
    /// Start an object that has something to finish.
    Wake { object: Arc<str> },
    /// Tell the gateways that the host stops soon. Answered when they have spoken.
    Draining(oneshot::Sender<()>),
    /// Answered with the bytes that wait in socket queues, and the jobs that wait for storage.
    Waiting(oneshot::Sender<(usize, usize)>),
    /// Close all sockets and end. Answered at the end.
    Stop(oneshot::Sender<()>),
}

/// Counters of all shards.
#[derive(Debug, Default)]
pub struct ObjectStats {
    pub users: AtomicUsize,
    pub rooms: AtomicUsize,
    pub calls: AtomicUsize,
    pub gateways: AtomicUsize,
    pub steps: AtomicU64,
    pub inputs: AtomicU64,
    pub step_micros: AtomicU64,
    pub frames_in: AtomicU64,
    pub frames_out: AtomicU64,
    pub traps: AtomicU64,
    pub failed_lives: AtomicU64,
    pub lost_calls: AtomicU64,
    pub slow_consumers: AtomicU64,
    /// Sockets whose tasks have not ended.
    socket_tasks: AtomicUsize,
}

struct Inbox {
    events: Sender<Event>,
    depth: AtomicUsize,
    sockets: AtomicUsize,
}

type Waiting = HashMap<u64, oneshot::Sender<Result<Vec<u8>, CallError>>>;

/// The way to every object.
pub struct Objects {
    shards: Vec<Inbox>,
    gateways: u32,
    protocol_test: bool,
    /// Answers that HTTP handlers wait for, by the request in their name.
    waiting: Mutex<Waiting>,
    next_request: AtomicU64,
    next_socket: AtomicU64,
    draining: AtomicBool,
    pub stats: ObjectStats,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

impl Objects {
    /// Inboxes for `shards` shards, whose ends the caller gives to [`Shard::spawn`].
    #[must_use]
    pub fn new(shards: usize, gateways: u32, protocol_test: bool) -> (Arc<Self>, Vec<Receiver<Event>>) {
        let (inboxes, ends) = (0..shards.max(1))
            .map(|_| {
                let (events, end) = channel();
                (Inbox { events, depth: AtomicUsize::new(0), sockets: AtomicUsize::new(0) }, end)
            })
            .unzip();
        let objects = Self {
            shards: inboxes,
            gateways,
            protocol_test,
            waiting: Mutex::default(),
            next_request: AtomicU64::new(1),
            next_socket: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            stats: ObjectStats::default(),
        };
        (Arc::new(objects), ends)
    }

    /// What the writer calls with the outcomes of each shard.
    #[must_use]
    pub fn sinks(self: &Arc<Self>) -> Vec<Sink> {
        (0..self.shards.len())
            .map(|shard| {
                let objects = Arc::downgrade(self);
                let sink: Sink = Box::new(move |done| {
                    if let Some(objects) = objects.upgrade() {
                        objects.send(shard, Event::Stored(done));
                    }
                });
                sink
            })
            .collect()
    }

    /// Puts an event into the inbox of a shard.
    pub fn send(&self, shard: usize, event: Event) {
        let Some(inbox) = self.shards.get(shard) else { return };
        inbox.depth.fetch_add(1, Ordering::Relaxed);
        // A shard ends only when the process does.
        let _ = inbox.events.send(event);
    }

    fn taken(&self, shard: usize, events: usize) {
        if let Some(inbox) = self.shards.get(shard) {
            inbox.depth.fetch_sub(events, Ordering::Relaxed);
        }
    }

    /// Events waiting at each shard.
    #[must_use]
    pub fn depths(&self) -> Vec<usize> {
        self.shards.iter().map(|inbox| inbox.depth.load(Ordering::Relaxed)).collect()
    }

    fn set_sockets(&self, shard: usize, sockets: usize) {
        if let Some(inbox) = self.shards.get(shard) {
            inbox.sockets.store(sockets, Ordering::Relaxed);
        }
    }

    /// Open WebSockets.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.shards.iter().map(|inbox| inbox.sockets.load(Ordering::Relaxed)).sum()
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The shard of an object, by its whole name.
    #[must_use]
    pub fn shard_of(&self, object: &str) -> usize {
        let count = self.shards.len();
        if let Some(n) = object.strip_prefix("gateway/gw-").and_then(|n| n.parse::<usize>().ok()) {
            return n % count;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(object.as_bytes());
        (hasher.finish() % count as u64) as usize
    }

    /// Whether an object of this name can exist; names come from tokens and messages, and each live one costs memory.
    #[must_use]
    pub fn exists(&self, object: &str) -> bool {
        match object.split_once('/') {
            Some(("room", id)) => wire::RoomId::parse(id).is_some(),
            Some(("user", id)) => wire::UserId::parse(id).is_some(),
            Some(("gateway", "echo-0")) => self.protocol_test,
            Some(("gateway", name)) => {
                let n = name.strip_prefix("gw-").filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
                n.and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n < self.gateways)
            }
            _ => false,
        }
    }

    /// The gateway for a request to `/socket.io/`: named by its `sid`, any one without. An unknown name goes to the
    /// first, which refuses it.
    #[must_use]
    pub fn gateway_for(&self, query: &str) -> Arc<str> {
        let sid = query.split('&').find_map(|pair| pair.strip_prefix("sid="));
        let name = match sid {
            None => format!("gateway/gw-{}", random() % u64::from(self.gateways.max(1))),
            Some(sid) => gateway_of_sid(sid).map(|id| id.to_string()).filter(|name| self.exists(name)).unwrap_or_else(|| "gateway/gw-0".into()),
        };
        name.into()
    }

    /// Sockets that are open or still closing.
    #[must_use]
    pub fn closing_sockets(&self) -> usize {
        self.stats.socket_tasks.load(Ordering::Relaxed)
    }

    /// A socket's task began or ended.
    pub fn count_socket_task(&self, begins: bool) {
        if begins {
            self.stats.socket_tasks.fetch_add(1, Ordering::Relaxed);
        } else {
            self.stats.socket_tasks.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A number for a new socket.
    #[must_use]
    pub fn socket_id(&self) -> u64 {
        self.next_socket.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for a request that waits for an answer.
    #[must_use]
    pub fn request_id(&self) -> u64 {
        self.next_request.fetch_add(1, Ordering::Relaxed)
    }

    /// No new work is taken any more.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the host is about to stop.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Sends `msg` to an object in the name of an HTTP request; the future waits for its reply without limit.
    ///
    /// # Errors
    /// No object can have this name, or its shard has too much to do.
    pub fn call(
        self: &Arc<Self>,
        object: &str,
        msg: Vec<u8>,
    ) -> Result<impl Future<Output = Result<Vec<u8>, CallError>> + Send + use<>, CallError> {
        if !self.exists(object) {
            return Err(CallError::Failed);
        }
        let shard = self.shard_of(object);
        if self.shards.get(shard).is_none_or(|inbox| inbox.depth.load(Ordering::Relaxed) > OVERLOADED_EVENTS) {
            return Err(CallError::Overloaded);
        }
        let request = self.request_id();
        let (answer, reply) = oneshot::channel();
        self.waiting().insert(request, answer);
        let from = Caller { name: format!("http/{request}").into(), life: 0 };
        self.send(shard, Event::Call { to: object.into(), from, call: 1, msg });
        let guard = Forget { objects: self.clone(), request };
        Ok(async move {
            let result = reply.await.unwrap_or(Err(CallError::Lost));
            drop(guard);
            result
        })
    }

    /// Brings the answer of a call to whoever made it.
    pub fn reply(&self, to: Caller, call: u64, answer: Result<Vec<u8>, CallError>) {
        match to.name.strip_prefix("http/") {
            Some(request) => {
                let request = request.parse().ok().and_then(|request: u64| self.waiting().remove(&request));
                if let Some(waiting) = request {
                    let _ = waiting.send(answer);
                }
            }
            None => self.send(self.shard_of(&to.name), Event::Reply { to, call, answer }),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes an HTTP call out of the table when nobody waits for it any more.
struct Forget {
    objects: Arc<Objects>,
    request: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.objects.waiting().remove(&self.request);
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives entropy");
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_to_the_gateway_of_their_sid() {
        let (objects, _ends) = Objects::new(2, 3, false);
        assert_eq!(&*objects.gateway_for("EIO=4&transport=polling&sid=2.abc"), "gateway/gw-2");
        for foreign in ["sid=3.abc", "sid=x.abc", "sid=", "sid=2", "sid=02.%2e"] {
            let name = objects.gateway_for(foreign);
            assert!(objects.exists(&name), "{foreign} {name}");
        }
        assert!(objects.exists(&objects.gateway_for("EIO=4&transport=polling")));
        assert_eq!((objects.shard_of("gateway/gw-0"), objects.shard_of("gateway/gw-1")), (0, 1));
    }

    #[test]
    fn only_names_that_can_exist_are_called() {
        let (objects, _ends) = Objects::new(1, 2, false);
        for name in ["room/x", "user/", "gateway/gw-2", "gateway/echo-0", "call/1", "http/1", "room", ""] {
            assert!(!objects.exists(name), "{name}");
            assert!(matches!(objects.call(name, Vec::new()), Err(CallError::Failed)));
        }
        assert!(objects.exists("gateway/gw-1"));
    }

    #[tokio::test]
    async fn a_handler_gets_the_reply_of_its_own_call() {
        let (objects, ends) = Objects::new(1, 1, false);
        let first = objects.call("gateway/gw-0", b"1".to_vec()).unwrap();
        let second = objects.call("gateway/gw-0", b"2".to_vec()).unwrap();
        for event in ends[0].try_iter() {
            let Event::Call { from, call, msg, .. } = event else { panic!("{event:?}") };
            objects.reply(from, call, Ok(msg));
        }
        assert_eq!((second.await, first.await), (Ok(b"2".to_vec()), Ok(b"1".to_vec())));
        drop(objects.call("gateway/gw-0", Vec::new()).unwrap());
        assert!(objects.waiting().is_empty());
    }
}
