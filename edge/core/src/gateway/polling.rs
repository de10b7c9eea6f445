//! Engine.IO requests: the handshake by polling, GET, POST and `OPTIONS`, with their refusals.

use std::rc::Rc;

use wire::Timestamp;

use super::Gateway;
use super::conn::{ConnId, Wish};
use crate::engineio::response::{self, Cors};
use crate::engineio::{Config, Query, Reason, Session, payload};
use crate::error::{CloseCode, EngineError};
use crate::http::cors::listed_origin;
use crate::limits;
use crate::object::{Output, RequestHead, RequestId, Response};

impl Gateway {
    /// The origin to name in the answer: only one that the deployment allows, compared as a whole.
    fn cors(&self, head: &RequestHead) -> Cors {
        let origin = head.origin.as_deref()?;
        if self.is_test() {
            return Some("*".into());
        }
        listed_origin(Some(origin), &self.settings)
    }

    fn respond(&mut self, req: RequestId, response: Response) {
        self.fx.push(Output::Respond { req, response });
    }

    fn refuse_request(&mut self, req: RequestId, error: EngineError, cors: &Cors) {
        self.respond(req, response::refused(error, cors));
    }

    pub(super) fn poll_get(&mut self, req: RequestId, head: &RequestHead, now: Timestamp) {
        let cors = self.cors(head);
        let query = Query::parse(&head.query);
        if let Err(error) = check_transport(&query) {
            return self.refuse_request(req, error, &cors);
        }
        let Some(sid) = query.sid else {
            return self.open_polling(req, head, &query, &cors, now);
        };
        if let Some((bodies, _)) = self.last_words.get_mut(sid) {
            let body = bodies.pop_front().unwrap_or_default();
            if bodies.is_empty() {
                self.last_words.remove(sid);
            }
            return self.respond(req, response::packets(body, &cors));
        }
        let Some(&id) = self.sids.get(sid) else {
            return self.refuse_request(req, EngineError::UnknownSid, &cors);
        };
        if let Some(conn) = self.conns.get_mut(id) {
            conn.session.on_get(req, cors, now, &mut self.fx);
        }
        self.mark_written(id, now);
        self.settle(id, now);
    }

    fn open_polling(&mut self, req: RequestId, head: &RequestHead, query: &Query<'_>, cors: &Cors, now: Timestamp) {
        if query.version != Some("4") {
            return self.refuse_request(req, EngineError::UnsupportedVersion, cors);
        }
        let address: Rc<str> = head.address.as_str().into();
        if !self.has_room(now) {
            return self.refuse_request(req, EngineError::Unavailable, cors);
        }
        if !self.admit_address(&address, now) {
            return self.refuse_request(req, EngineError::TooMany, cors);
        }
        let sid = self.new_sid();
        let config = Config { upgrades: self.config.upgrades && head.upgrades, ..self.config };
        let session = Session::polling(sid, req, cors, &config, now, &mut self.fx);
        let id = self.add(session, address, Wish::of(query.dialect), self.app_of(head), now);
        self.settle(id, now);
    }

    pub(super) fn poll_post(&mut self, req: RequestId, head: &RequestHead, body: &[u8], now: Timestamp) {
        let cors = self.cors(head);
        if head.method == "OPTIONS" {
            return self.respond(req, response::preflight(&cors));
        }
        let query = Query::parse(&head.query);
        if let Err(error) = check_transport(&query) {
            return self.refuse_request(req, error, &cors);
        }
        let Some(sid) = query.sid else {
            return self.refuse_request(req, EngineError::BadHandshakeMethod, &cors);
        };
        let Some(&id) = self.sids.get(sid) else {
            return self.refuse_request(req, EngineError::UnknownSid, &cors);
        };
        let upgraded = self.conns.get(id).is_none_or(|conn| conn.session.socket().is_some());
        if head.method != "POST" || upgraded {
            return self.refuse_request(req, EngineError::BadRequest, &cors);
        }
        if body.len() > self.payload_limit(id) {
            return self.refuse_request(req, EngineError::TooLarge, &cors);
        }
        let answer = match self.posted(id, head, body, now) {
            Ok(()) => response::ok(&cors),
            Err(error) => response::refused(error, &cors),
        };
        self.respond(req, answer);
        self.mark_written(id, now);
        self.settle(id, now);
    }

    fn posted(&mut self, id: ConnId, head: &RequestHead, body: &[u8], now: Timestamp) -> Result<(), EngineError> {
        let binary = head.content_type.as_deref().is_some_and(|kind| kind.starts_with("application/octet-stream"));
        let packets = if binary { Err(crate::engineio::ParseError) } else { payload::decode(body, limits::POLLING_PACKETS) };
        let Ok(packets) = packets else {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.session.close(CloseCode::ProtocolError, Reason::Server, &mut self.fx);
            }
            return Err(EngineError::BadRequest);
        };
        for packet in &packets {
            let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.session.closed().is_none()) else { break };
            let waited = conn.session.awaits_pong();
            let event = conn.session.on_posted(packet, &mut self.fx).map_err(|_| EngineError::BadRequest)?;
            self.message(id, event, now);
            self.notice_pong(id, waited);
        }
        Ok(())
    }

    pub(super) fn poll_aborted(&mut self, req: RequestId, now: Timestamp) {
        let Some(&id) = self.gets.get(&req) else { return };
        if let Some(conn) = self.conns.get_mut(id) {
            conn.session.on_aborted(req, &mut self.fx);
        }
        self.settle(id, now);
    }

    /// Keeps what a polling session could not be told, so that its next GET gets it. Call it before closing.
    pub(super) fn keep_last_words(&mut self, id: ConnId, now: Timestamp) {
        if self.last_words.len() >= limits::LINGERING_SESSIONS {
            return;
        }
        if let Some(conn) = self.conns.get_mut(id)
            && let Some(bodies) = conn.session.last_words(&mut self.fx)
        {
            self.last_words.insert(conn.session.sid().clone(), (bodies, now.plus_ms(limits::LINGER_MS)));
        }
    }
}

fn check_transport(query: &Query<'_>) -> Result<(), EngineError> {
    match query.transport {
        Some("polling") => Ok(()),
        Some("websocket") => Err(EngineError::BadRequest),
        _ => Err(EngineError::UnknownTransport),
    }
}
