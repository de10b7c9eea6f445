//! What a gateway knows of a room: who is its audience here, and how far each socket is.

use std::collections::BTreeMap;

use wire::{RoomId, UserId};

use super::conn::{ConnId, Conns};
use super::presence::LocalUser;
use crate::dialect::DialectId;

/// A room that delivers here, or of which a socket here holds a cursor.
#[derive(Debug, Default)]
pub(super) struct RoomEntry {
    /// Version of `users`; `None` while the Room has not said.
    pub(super) audience: Option<u64>,
    /// Members with sockets here, sorted.
    users: Vec<UserId>,
    /// Sorted by connection.
    slots: Vec<Slot>,
    /// The state of the gateway's sockets that `slots` were made from.
    resolved: u64,
    /// Sweeps since the last batch.
    pub(super) quiet_sweeps: u32,
}

/// One socket in one room.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) conn: ConnId,
    pub(super) user: UserId,
    pub(super) dialect: DialectId,
    /// The user is in the audience: events may be sent.
    pub(super) member: bool,
    /// `chat:join`: typing flows here.
    pub(super) opened: bool,
    pub(super) mode: Mode,
    /// With a cursor: the seq that comes next. Live only: above what was written last.
    pub(super) next: u64,
    /// While replaying: highest seq that was seen live and dropped. Live only: highest seq written and not marked.
    pub(super) highest: u64,
    /// Storage generation of the cursor, 0 when unknown.
    pub(super) generation: u64,
    /// The replay under way; answers to an older one are ignored.
    pub(super) serial: u32,
}

/// How durable events reach a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As they come: the socket has no cursor.
    Live,
    /// In order, without a gap.
    Tracked,
    /// Pulled; live ones are dropped meanwhile.
    Replaying,
    /// Not at all until the client asks again: a resume was cut off here.
    Cut,
}

impl RoomEntry {
    /// Takes over what the Room says, unless it is older than what is known.
    pub(super) fn set_audience(&mut self, version: u64, mut users: Vec<UserId>) {
        if self.audience.is_some_and(|known| known > version) {
            return;
        }
        users.sort_unstable();
        users.dedup();
        self.users = users;
        self.audience = Some(version);
        self.resolved = 0;
    }

    /// Whether the user is a member, as far as the Room has said.
    pub(super) fn has(&self, user: UserId) -> bool {
        self.users.binary_search(&user).is_ok()
    }

    /// Makes a slot for each socket of the audience. `changes` is the gateway's count of sockets coming and going.
    pub(super) fn resolve(&mut self, changes: u64, users: &BTreeMap<UserId, LocalUser>, conns: &Conns) {
        if self.resolved == changes {
            return;
        }
        self.resolved = changes;
        self.slots.retain(|slot| conns.get(slot.conn).is_some());
        for slot in &mut self.slots {
            slot.member = self.users.binary_search(&slot.user).is_ok();
        }
        let known = self.slots.len();
        for user in &self.users {
            for conn in users.get(user).map(|local| local.conns.as_slice()).unwrap_or_default() {
                let old = self.slots.get(..known).unwrap_or_default();
                if old.binary_search_by_key(conn, |slot| slot.conn).is_err()
                    && let Some(live) = conns.live(*conn)
                {
                    self.slots.push(Slot::new(*conn, *user, live.who.dialect, true));
                }
            }
        }
        if self.slots.len() > known {
            self.slots.sort_unstable_by_key(|slot| slot.conn);
        }
    }

    pub(super) fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots
    }

    pub(super) fn slot_mut(&mut self, conn: ConnId) -> Option<&mut Slot> {
        let at = self.slots.binary_search_by_key(&conn, |slot| slot.conn).ok()?;
        self.slots.get_mut(at)
    }

    /// The slot of a socket that opens or resumes the room.
    pub(super) fn slot_or_new(&mut self, conn: ConnId, user: UserId, dialect: DialectId) -> &mut Slot {
        let at = match self.slots.binary_search_by_key(&conn, |slot| slot.conn) {
            Ok(at) => at,
            Err(at) => {
                let member = self.users.binary_search(&user).is_ok();
                self.slots.insert(at, Slot::new(conn, user, dialect, member));
                at
            }
        };
        &mut self.slots[at] // found or just inserted
    }

    pub(super) fn remove(&mut self, conn: ConnId) {
        if let Ok(at) = self.slots.binary_search_by_key(&conn, |slot| slot.conn) {
            self.slots.remove(at);
        }
    }

    /// Nothing here would be missed: the Room tells its audience again.
    pub(super) fn is_idle(&self, conns: &Conns) -> bool {
        self.slots.iter().all(|slot| (slot.mode == Mode::Live && !slot.opened) || conns.get(slot.conn).is_none())
    }
}

impl Slot {
    fn new(conn: ConnId, user: UserId, dialect: DialectId, member: bool) -> Self {
        Self {
            conn,
            user,
            dialect,
            member,
            opened: false,
            mode: Mode::Live,
            next: 0,
            highest: 0,
            generation: 0,
            serial: 0,
        }
    }
}

/// The slot of a connection, if the room is known.
pub(super) fn slot_of(rooms: &mut BTreeMap<RoomId, RoomEntry>, room: RoomId, conn: ConnId) -> Option<&mut Slot> {
    rooms.get_mut(&room)?.slot_mut(conn)
}
