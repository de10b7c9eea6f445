//! Connections: an Engine.IO session and what speaks over it, in a slab with stable ids.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use wire::{RoomId, SessionId, Timestamp, UserId};

use super::echo;
use super::recovery::Claim;
use super::replay::Replay;
use super::resume::Resume;
use super::sent::Sent;
use crate::dialect::DialectId;
use crate::engineio::Session;
use crate::object::{RequestId, SocketId};
use crate::rate::Bucket;
use crate::socketio::Decoder;

/// A connection; never reused for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnId {
    index: u32,
    life: u32,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) session: Session,
    pub(super) decoder: Decoder,
    /// Client address, for rates of those that are not authenticated.
    pub(super) address: Rc<str>,
    /// `?dialect=` of the handshake.
    pub(super) wish: Wish,
    pub(super) app: App,
    /// Closed at this time unless authenticated.
    pub(super) auth_until: Option<Timestamp>,
    /// The session that its CONNECT asks for.
    pub(super) claim: Option<Box<Claim>>,
    /// The held GET, the websocket and the candidate as the gateway's maps know them.
    pub(super) known_get: Option<RequestId>,
    pub(super) known_socket: Option<SocketId>,
    pub(super) known_candidate: Option<SocketId>,
}

/// The dialect a client asks for by name (contract 1.3, rule 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    None,
    Named(DialectId),
    Unknown,
}

impl Wish {
    pub(super) fn of(name: Option<&str>) -> Self {
        name.map_or(Self::None, |name| DialectId::named(name).map_or(Self::Unknown, Self::Named))
    }
}

/// What speaks over a session.
#[derive(Debug)]
pub(super) enum App {
    /// The test application's raw Engine.IO: every message comes back.
    Raw,
    /// The test application's Socket.IO namespaces.
    Test(echo::Namespaces),
    /// No CONNECT of the default namespace yet, or no longer.
    Waiting,
    /// Connected without a token: nothing is accepted, closed after the time to authenticate.
    Anonymous,
    /// The token is good; the User was asked.
    Verifying(Box<Identity>),
    Live(Box<Live>),
}

/// Who is behind a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) user: UserId,
    pub(super) username: String,
    pub(super) session: SessionId,
    pub(super) version: u64,
    pub(super) expires: Timestamp,
    pub(super) dialect: DialectId,
}

/// An authenticated connection.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) who: Identity,
    /// Socket.IO id.
    pub(super) sid: String,
    /// The secret by which the session is recovered, unless that is over.
    pub(super) pid: Option<Rc<str>>,
    /// The connection was lost, and the session is kept until then.
    pub(super) parked: Option<Timestamp>,
    /// E-048 was sent for `who.expires`.
    pub(super) warned: bool,
    /// The User knows of it.
    pub(super) registered: bool,
    /// It has sent `sync:resume` once: it marks deliveries itself.
    pub(super) resumed: bool,
    /// Rooms with a slot of this connection that holds more than the audience says.
    pub(super) rooms: BTreeSet<RoomId>,
    pub(super) replay: Replay,
    pub(super) resume: Option<Box<Resume>>,
    /// The number of the last event of a resume: whoever has not got it has no answer, and resumes again.
    pub(super) resume_end: u64,
    /// After a recovery, until the next resume: the first seq that was sent again or pulled, by conversation with a cursor.
    pub(super) recovered: BTreeMap<RoomId, u64>,
    /// Last E-006 per conversation.
    pub(super) typing: BTreeMap<RoomId, Timestamp>,
    /// Rooms whose events were written and not marked delivered.
    pub(super) unmarked: Vec<RoomId>,
    pub(super) marked_at: Timestamp,
    pub(super) events: Option<Bucket>,
}

impl Live {
    pub(super) fn new(who: Identity, sid: String) -> Self {
        Self {
            who,
            sid,
            pid: None,
            parked: None,
            warned: false,
            registered: true,
            resumed: false,
            rooms: BTreeSet::new(),
            replay: Replay::default(),
            resume: None,
            resume_end: 0,
            recovered: BTreeMap::new(),
            typing: BTreeMap::new(),
            unmarked: Vec::new(),
            marked_at: Timestamp(0),
            events: None,
        }
    }
}

/// What the host keeps of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Saved {
    /// Nothing yet.
    #[default]
    Nothing,
    /// As it is.
    Clean,
    /// A mark that it is behind: after a restart the socket is closed.
    Dirty,
    /// The same for ever: there is more than the host keeps.
    TooLarge,
}

/// A place in the slab. What broadcasting needs stands here, the rest behind the box.
#[derive(Debug, Default)]
pub(super) struct Entry {
    life: u32,
    /// The websocket of an authenticated connection: frames may go to it at once.
    pub(super) direct: Option<SocketId>,
    pub(super) saved: Saved,
    /// The attachment is to be written after a quiet time.
    pub(super) save_wanted: bool,
    /// When something last changed that the attachment holds.
    pub(super) touched: Timestamp,
    /// Where it stands in the wheel.
    pub(super) armed: Option<Timestamp>,
    pub(super) sent: Sent,
    conn: Option<Box<Conn>>,
}

/// The slab.
#[derive(Debug, Default)]
pub(super) struct Conns {
    entries: Vec<Entry>,
    free: Vec<u32>,
    len: usize,
}

impl Conns {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn insert(&mut self, conn: Conn) -> ConnId {
        self.len += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        let entry = &mut self.entries[index as usize]; // just made, or taken from the free list
        *entry = Entry { life: entry.life.wrapping_add(1), conn: Some(Box::new(conn)), ..Entry::default() };
        ConnId { index, life: entry.life }
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let entry = self.entry(id)?;
        let conn = entry.conn.take()?;
        *entry = Entry { life: entry.life, ..Entry::default() };
        self.free.push(id.index);
        self.len -= 1;
        Some(*conn)
    }

    /// The place of a connection that lives.
    pub(super) fn entry(&mut self, id: ConnId) -> Option<&mut Entry> {
        self.entries.get_mut(id.index as usize).filter(|entry| entry.life == id.life && entry.conn.is_some())
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        let entry = self.entries.get(id.index as usize).filter(|entry| entry.life == id.life)?;
        entry.conn.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.entry(id)?.conn.as_deref_mut()
    }

    pub(super) fn live(&self, id: ConnId) -> Option<&Live> {
        if let App::Live(live) = &self.get(id)?.app { Some(live) } else { None }
    }

    pub(super) fn live_mut(&mut self, id: ConnId) -> Option<&mut Live> {
        if let App::Live(live) = &mut self.get_mut(id)?.app { Some(live) } else { None }
    }

    /// Every connection, in no order that matters.
    pub(super) fn ids(&self) -> Vec<ConnId> {
        let living = self.entries.iter().enumerate().filter(|(_, entry)| entry.conn.is_some());
        living.map(|(index, entry)| ConnId { index: u32::try_from(index).unwrap_or(u32::MAX), life: entry.life }).collect()
    }
}
