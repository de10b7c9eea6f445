//! Tokens that run out or are renewed, sessions that are revoked, and the shutdown of the host (E-048..E-050, E-056).

use wire::{ErrorCode, SessionId, Timestamp, UserId};

use super::Gateway;
use super::conn::{App, ConnId, Live};
use crate::dialect::{Answer, ServerEvent};
use crate::engineio::{Config, Reason};
use crate::error::{CloseCode, Failure};
use crate::limits;

impl Live {
    /// When E-048 is due, then when the socket is closed: with the sweep before and the sweep behind, where there are any.
    pub(super) fn expiry_due(&self, config: &Config) -> Timestamp {
        if self.warned {
            config.round_up_to_sweep(self.who.expires.plus_ms(limits::EXPIRY_NOTICE_MS))
        } else {
            config.round_down_to_sweep(Timestamp(self.who.expires.0.saturating_sub(limits::EXPIRY_NOTICE_MS)))
        }
    }
}

impl Gateway {
    pub(super) fn expiry_due(&mut self, id: ConnId, now: Timestamp) {
        let config = self.config;
        let Some(live) = self.conns.live_mut(id) else { return };
        if live.expiry_due(&config) > now {
            return;
        }
        let at = live.who.expires;
        if !std::mem::replace(&mut live.warned, true) {
            self.emit(id, &ServerEvent::Expiring { at });
            self.want_save(id, now);
        }
        let over = self.conns.live(id).is_some_and(|live| live.expiry_due(&config) <= now);
        if over && let Some(conn) = self.conns.get_mut(id) {
            // The transport, not the namespace: stock clients then reconnect by themselves.
            conn.session.close(CloseCode::AuthTimeout, Reason::Server, &mut self.fx);
        }
    }

    /// E-049: another token of the same user and session.
    pub(super) fn renew(&mut self, id: ConnId, ack: Option<u64>, event: &str, token: &str, now: Timestamp) {
        let Some(live) = self.conns.live(id) else { return };
        let claims = match (self.verify)(token, &self.settings, now) {
            Ok(claims) if claims.user == live.who.user && claims.session == live.who.session => claims,
            Ok(_) => return self.refuse(id, ack, event, &ErrorCode::Unauthorized.into()),
            Err(failure) => return self.refuse(id, ack, event, &failure),
        };
        let Some(live) = self.conns.live_mut(id) else { return };
        live.who.expires = live.who.expires.max(claims.expires);
        live.who.version = live.who.version.max(claims.version);
        live.who.username = claims.username;
        live.warned = false;
        let expires = live.who.expires;
        self.want_save(id, now);
        self.answer(id, ack, &Answer::Renewed { expires });
    }

    /// S1: closes sockets of these sessions (`None`: all), those that wait for the User's answer too.
    pub(super) fn close_sessions(&mut self, user: UserId, sessions: Option<&[SessionId]>, reason: &str, now: Timestamp) {
        let over = |session: SessionId| sessions.is_none_or(|sessions| sessions.contains(&session));
        for id in self.conns_of(user) {
            if self.conns.live(id).is_some_and(|live| over(live.who.session)) {
                self.revoke(id, reason, now);
                self.settle(id, now);
            }
        }
        for id in self.verifying_of(user) {
            let Some(conn) = self.conns.get(id) else { continue };
            if let App::Verifying(who) = &conn.app
                && over(who.session)
            {
                self.not_accepted(id, &Failure::new(ErrorCode::Unauthorized), now);
                self.settle(id, now);
            }
        }
    }

    /// E-050, then the end of the transport.
    pub(super) fn revoke(&mut self, id: ConnId, reason: &str, now: Timestamp) {
        if self.never_recover(id) {
            return self.end_session(id, now);
        }
        self.emit(id, &ServerEvent::Revoked { reason });
        if self.conns.get(id).is_some_and(|conn| conn.session.is_probed()) {
            // The client has stopped polling and would never ask again: its websocket brings the event, then the end.
            return self.leave_namespace(id, now.plus_ms(limits::UPGRADE_END_MS), now);
        }
        self.keep_last_words(id, now);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.session.close(CloseCode::Revoked, Reason::Server, &mut self.fx);
        }
    }

    /// E-056: nobody new, and everybody is told to come back.
    pub(super) fn drain(&mut self, now: Timestamp) {
        self.draining = true;
        let event = ServerEvent::Draining { reconnect_after_ms: self.settings.reconnect_after_ms };
        let mut targets = super::deliver::Targets::of(&self.log, None);
        for id in self.conns.ids() {
            let Some(dialect) = self.conns.live(id).map(|live| live.who.dialect) else { continue };
            if let Some(entry) = self.conns.entry(id) {
                targets.add(dialect, entry, id);
            }
        }
        self.send_to(targets, &event, now);
    }
}
