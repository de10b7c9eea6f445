//! Calls to other objects that wait for a reply, and reads that wait for rows.

use std::collections::{BTreeMap, VecDeque};

use wire::{RoomId, Timestamp, UserId};

use super::Gateway;
use super::conn::ConnId;
use super::replay::Pull;
use crate::limits;
use crate::object::{CallError, CallKey, ObjectId, PersistError, Store};
use crate::objects::Message;
use crate::sql::{Rows, Statement};

/// What a reply is for.
#[derive(Debug)]
pub(super) enum Called {
    SocketUp { conn: ConnId },
    /// Where gateways sleep: the User must know before it is forgotten here.
    Down { user: UserId, round: u64 },
    Watch { user: UserId },
    Room(Request),
    Pull { conn: ConnId, pull: Pull },
    /// E-053
    Presence { conn: ConnId, ack: Option<u64> },
    /// The gateway that has the session of a client.
    Take { conn: ConnId },
}

/// A command of a client that a Room decides.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) conn: ConnId,
    /// The client wants an acknowledgement with this id.
    pub(super) ack: Option<u64>,
    /// Its name, for E-059.
    pub(super) event: &'static str,
    pub(super) room: RoomId,
    pub(super) asked: Asked,
}

/// Which command of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Join,
    Send,
    Edit,
    Delete,
    React,
    MarkRead,
    /// Typing and delivery: nobody is told of an unknown outcome.
    Light,
}

#[derive(Debug, Clone, Copy)]
enum Waiting {
    Call(CallKey),
    Load(u64),
}

/// What waits, and until when.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<CallKey, Called>,
    /// Heads for a resume.
    loads: BTreeMap<u64, ConnId>,
    /// In the order of their deadlines; what was answered stays until then.
    deadlines: VecDeque<(Timestamp, Waiting)>,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.loads.is_empty()
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// The client has another connection: nobody waits for what the former one asked. What it opened is open.
    pub(super) fn forget_asked(&mut self, of: ConnId) {
        self.calls.retain(|_, called| match called {
            Called::Room(request) if request.conn == of => {
                request.ack = None;
                request.asked == Asked::Join
            }
            Called::Presence { conn, .. } => *conn != of,
            _ => true,
        });
    }

    pub(super) fn take(&mut self, call: CallKey) -> Option<Called> {
        self.calls.remove(&call)
    }
}

impl Gateway {
    /// Calls an object; its reply, or an error after [`limits::CALL_TIMEOUT_MS`], comes to [`Gateway::replied`].
    pub(super) fn call(&mut self, to: ObjectId, msg: Message, called: Called, now: Timestamp) {
        let call = self.fx.call(to, msg);
        self.calls.calls.insert(call, called);
        self.wait(Waiting::Call(call), now);
    }

    /// Reads the people database for a connection; the rows come to [`Gateway::heads_loaded`].
    pub(super) fn load_for(&mut self, conn: ConnId, statement: Statement, now: Timestamp) {
        let load = self.fx.load(Store::People, vec![statement]);
        self.calls.loads.insert(load, conn);
        self.wait(Waiting::Load(load), now);
    }

    fn wait(&mut self, waiting: Waiting, now: Timestamp) {
        self.calls.deadlines.push_back((now.plus_ms(limits::CALL_TIMEOUT_MS), waiting));
    }

    pub(super) fn loaded(&mut self, load: u64, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        if self.told.is_load(load) {
            return self.told_loaded(result, now);
        }
        if let Some(conn) = self.calls.loads.remove(&load) {
            self.heads_loaded(conn, result, now);
            self.settle(conn, now);
        }
    }

    /// Ends what has waited too long: the outcome is unknown.
    pub(super) fn expire_calls(&mut self, now: Timestamp) {
        while let Some((_, waiting)) = self.calls.deadlines.pop_front_if(|(at, _)| *at <= now) {
            match waiting {
                Waiting::Call(call) => self.replied(call, Err(CallError::Lost), now),
                Waiting::Load(load) => self.loaded(load, Err(PersistError::Io), now),
            }
        }
    }
}
