//! Sessions that are over: stored first, then every gateway that holds the user closes their sockets (S1).

use wire::{SessionId, Timestamp};

use super::{Called, State, User};
use crate::object::{CallKey, Kind, ObjectId};
use crate::objects::Message;
use crate::sql;

/// Tries to reach a gateway; its lease ends soon after.
const TRIES: u32 = 5;

impl User {
    pub(super) fn revoke(
        &mut self,
        from: &ObjectId,
        call: CallKey,
        sessions: Option<Vec<SessionId>>,
        version: Option<u64>,
        reason: &str,
        now: Timestamp,
    ) {
        let State::Ready(ready) = &mut self.state else { return };
        let mut statements = Vec::new();
        for session in sessions.iter().flatten() {
            if ready.revoked.insert(*session) {
                statements.push(sql::user::revoke(self.id, *session, now));
            }
        }
        if let Some(version) = version.filter(|version| *version > ready.min_version) {
            ready.min_version = version;
            statements.push(sql::user::raise_min_version(self.id, version));
        }
        if !statements.is_empty() {
            self.fx.persist(statements);
        }
        let msg = Message::CloseSessions { user: self.id, sessions, reason: reason.to_owned() };
        for at in ready.sockets.locations() {
            let close = self.fx.call(ObjectId::new(Kind::Gateway, at.gateway.as_str()), msg.clone());
            ready.calls.insert(close, Called::Close { gateway: at.gateway, epoch: at.epoch, msg: msg.clone(), tries: 1 });
        }
        self.fx.reply(from, call, Message::Done);
    }

    /// The gateway did not answer.
    pub(super) fn close_again(&mut self, gateway: &str, epoch: u64, msg: Message, tries: u32) {
        let State::Ready(ready) = &mut self.state else { return };
        let still = ready.sockets.locations().iter().any(|at| at.gateway == gateway && at.epoch == epoch);
        if still && tries < TRIES {
            let call = self.fx.call(ObjectId::new(Kind::Gateway, gateway), msg.clone());
            ready.calls.insert(call, Called::Close { gateway: gateway.to_owned(), epoch, msg, tries: tries + 1 });
        }
    }
}
