//! The Socket.IO side of a connection: CONNECT with authentication, events, DISCONNECT, invalid states.

use serde_json::{Map, Value, json};
use wire::{ErrorCode, Timestamp};

use super::Gateway;
use super::calls::Called;
use super::conn::{App, ConnId, Identity, Live, Wish};
use super::recovery::{Claim, Taken};
use super::sent::Sent;
use crate::dialect::DialectId;
use crate::engineio::Reason;
use crate::error::{CloseCode, Failure};
use crate::limits;
use crate::object::CallError;
use crate::objects::{self, Message};
use crate::socketio::packet::ROOT;
use crate::socketio::{Packet, encode};

impl Gateway {
    /// A packet of the product. Whatever does not fit the state closes the whole connection.
    pub(super) fn packet(&mut self, id: ConnId, packet: Packet, now: Timestamp) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let root = packet.namespace() == ROOT;
        match (packet, &conn.app) {
            (Packet::Connect { namespace, .. }, _) if !root => {
                let body = json!({"message": "Invalid namespace"});
                conn.session.send(encode::connect_error(&namespace, &body), &mut self.fx);
            }
            (Packet::Connect { auth, .. }, App::Waiting) => self.connect(id, auth.unwrap_or_default(), now),
            (Packet::Event(event), App::Live(_)) if root => self.event(id, &event, now),
            (Packet::Event(event), App::Anonymous) if root => {
                self.refuse(id, event.id, &event.name, &ErrorCode::AuthRequired.into());
            }
            // The server never asks for one, so each names an id that was never issued.
            (Packet::Ack { .. }, App::Live(_) | App::Anonymous) if root => {}
            (Packet::Disconnect { .. }, App::Live(_) | App::Anonymous) if root => self.disconnected(id, now),
            _ => conn.session.close(CloseCode::ProtocolError, Reason::Server, &mut self.fx),
        }
    }

    fn connect(&mut self, id: ConnId, auth: Map<String, Value>, now: Timestamp) {
        let Some(conn) = self.conns.get(id) else { return };
        let address = conn.address.clone();
        let wish = match auth.get("dialect") {
            None | Some(Value::Null) => conn.wish,
            Some(name) => name.as_str().map_or(Wish::Unknown, |name| Wish::of(Some(name))),
        };
        if wish == Wish::Unknown {
            let failure = Failure::invalid("dialect", "This dialect is not known here");
            return self.connect_error(id, &failure);
        }
        let token = match auth.get("token") {
            None | Some(Value::Null) => None,
            Some(token) => Some(token.as_str().unwrap_or_default()),
        };
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            if wish == Wish::None && token.is_none() {
                return self.connect_anonymous(id);
            }
            return self.connect_error(id, &ErrorCode::AuthRequired.into());
        };
        if let Err(failure) = self.may_authenticate(&address, now) {
            return self.connect_error(id, &failure);
        }
        let claims = match (self.verify)(token, &self.settings, now) {
            Ok(claims) => claims,
            Err(failure) => {
                self.authentication_failed(&address, now);
                return self.connect_error(id, &failure);
            }
        };
        let dialect = if let Wish::Named(dialect) = wish { dialect } else { DialectId::DEFAULT };
        let who = Identity {
            user: claims.user,
            username: claims.username,
            session: claims.session,
            version: claims.version,
            expires: claims.expires,
            dialect,
        };
        self.register(id, &who, now);
        let claim = Claim::of(&auth);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.auth_until = None;
            conn.claim = claim.map(Box::new);
            conn.app = App::Verifying(Box::new(who));
        }
    }

    /// Tells the User of a socket; its answer decides.
    pub(super) fn register(&mut self, id: ConnId, who: &Identity, now: Timestamp) {
        let sockets = self.add_local(id, who.user);
        self.will_tell(who.user);
        let msg = Message::SocketUp { at: self.location(), session: who.session, version: who.version, sockets };
        self.call(objects::user(who.user), msg, Called::SocketUp { conn: id }, now);
    }

    /// Rule 5 of contract 1.3: connected, but nothing is accepted, until the time to authenticate has run out.
    fn connect_anonymous(&mut self, id: ConnId) {
        let sid = self.token(15);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.app = App::Anonymous;
            conn.session.send(encode::connected(ROOT, &sid, None), &mut self.fx);
        }
    }

    /// The transport stays open: the client may try again in its time to authenticate.
    fn connect_error(&mut self, id: ConnId, failure: &Failure) {
        let message = match failure.code {
            ErrorCode::Unauthorized | ErrorCode::TokenExpired | ErrorCode::AuthRequired => "Authentication failed",
            _ => failure.sentence(),
        };
        let mut body = json!({"message": message, "data": {"code": failure.code}});
        if let (Some(seconds), Some(data)) = (failure.retry_after, body.get_mut("data")) {
            data["retryAfter"] = seconds.into();
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.session.send(encode::connect_error(ROOT, &body), &mut self.fx);
        }
    }

    /// The User has answered a [`Message::SocketUp`].
    pub(super) fn registered(&mut self, id: ConnId, result: Result<Message, CallError>, now: Timestamp) {
        let Some(conn) = self.conns.get(id) else { return };
        match (&conn.app, result) {
            (App::Verifying(who), Ok(Message::SocketAccepted { sees, version })) => {
                let user = who.user;
                self.sees_said(user, sees, version, now);
                self.accepted(id, now);
            }
            (App::Verifying(_), Ok(Message::Refused { failure })) => self.not_accepted(id, &failure, now),
            (App::Verifying(_), _) => {
                let failure = Failure { retry_after: Some(1), ..ErrorCode::NodeUnavailable.into() };
                self.not_accepted(id, &failure, now);
            }
            (App::Live(live), Ok(Message::SocketAccepted { sees, version })) => {
                let user = live.who.user;
                self.sees_said(user, sees, version, now);
                self.accepted_again(id, now);
            }
            (App::Live(_), Ok(Message::Refused { .. })) => self.revoke(id, "session_ended", now),
            (App::Live(_), _) if self.settings.hibernates => self.sees_not_answered(id, now),
            // A socket that survived a restart: the sweep asks again.
            _ => {}
        }
        self.settle(id, now);
    }

    fn accepted(&mut self, id: ConnId, now: Timestamp) {
        match self.conns.get_mut(id).and_then(|conn| conn.claim.take()) {
            Some(claim) => self.claimed(id, *claim, now),
            None => self.begin_session(id, None, now),
        }
    }

    /// A new session, or one of another gateway that goes on here.
    pub(super) fn begin_session(&mut self, id: ConnId, taken: Option<Taken>, now: Timestamp) {
        let (sid, pid) = match &taken {
            Some(taken) => (taken.state.socket_sid.clone(), taken.pid.clone()),
            None => (self.token(15), self.new_sid()),
        };
        let Some(conn) = self.conns.get_mut(id) else { return };
        let App::Verifying(who) = std::mem::replace(&mut conn.app, App::Waiting) else { return };
        let (user, address) = (who.user, conn.address.clone());
        conn.session.send(encode::connected(ROOT, &sid, Some(&pid)), &mut self.fx);
        let mut live = Live::new(*who, sid);
        live.pid = Some(pid.clone());
        conn.app = App::Live(Box::new(live));
        self.pids.insert(pid, id);
        if let Some(entry) = self.conns.entry(id) {
            entry.sent = Sent::begin("", self.log.last());
        }
        self.address_settled(&address, true, now);
        self.changes += 1;
        let elsewhere = taken.is_some();
        if let Some(taken) = taken {
            self.go_on(id, taken);
        }
        self.make_live(id, user);
        if elsewhere {
            // Who came and went between the two gateways is not known: tell the whole list once.
            self.get_online(id, None, "presence:getOnline", now);
        }
        self.pump(id, now);
    }

    /// A restored socket is known to its User: it catches up from its cursors.
    fn accepted_again(&mut self, id: ConnId, now: Timestamp) {
        let Some(live) = self.conns.live_mut(id) else { return };
        if std::mem::replace(&mut live.registered, true) {
            return;
        }
        let user = live.who.user;
        self.make_live(id, user);
        self.answer_asking(user, now);
        if self.settings.hibernates {
            return;
        }
        // What changed meanwhile is not known: tell the whole list once.
        self.get_online(id, None, "presence:getOnline", now);
        self.pump(id, now);
    }

    pub(super) fn not_accepted(&mut self, id: ConnId, failure: &Failure, now: Timestamp) {
        let until = self.config.round_up(now.plus_ms(limits::AUTH_TIMEOUT_MS));
        let Some(conn) = self.conns.get_mut(id) else { return };
        let App::Verifying(who) = std::mem::replace(&mut conn.app, App::Waiting) else { return };
        conn.auth_until = Some(until);
        self.left(id, &who, true, now);
        self.connect_error(id, failure);
    }

    /// `41`: the namespace is left, the transport stays for the time to authenticate.
    fn disconnected(&mut self, id: ConnId, now: Timestamp) {
        self.leave_namespace(id, now.plus_ms(limits::AUTH_TIMEOUT_MS), now);
    }

    /// The connection is nobody's any more, and is closed at `until`.
    pub(super) fn leave_namespace(&mut self, id: ConnId, until: Timestamp, now: Timestamp) {
        let until = self.config.round_up(until);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let address = conn.address.clone();
        let app = std::mem::replace(&mut conn.app, App::Waiting);
        if let App::Live(live) = app {
            conn.auth_until = Some(until);
            self.address_pending(&address, now);
            self.ended(id, &live, true, now);
            if let Some(entry) = self.conns.entry(id) {
                // After a restart nothing of the former user may come back.
                entry.save_wanted = false;
                let direct = entry.direct.take();
                entry.saved = super::conn::Saved::Nothing;
                if let Some(socket) = direct {
                    let data = super::attachment::DIRTY.to_vec();
                    self.fx.push(crate::object::Output::Attach { socket, data });
                }
            }
        }
    }

    /// A socket that survived a restart: its User in this life of the gateway must know of it.
    pub(super) fn restored(&mut self, id: ConnId, now: Timestamp) {
        let Some(who) = self.conns.live(id).map(|live| live.who.clone()) else { return };
        self.changes += 1;
        if !self.settings.hibernates {
            self.register(id, &who, now);
        }
        self.make_live(id, who.user);
    }
}
