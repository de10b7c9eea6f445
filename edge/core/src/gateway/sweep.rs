//! The sweep, every [`limits::SWEEP_MS`] while there are sockets: leases, watches, and what may be forgotten.

use wire::Timestamp;

use super::Gateway;
use super::presence::with_sockets;
use crate::limits;
use crate::objects::{self, Message};

impl Gateway {
    pub(super) fn sweep(&mut self, now: Timestamp) {
        self.rates.purge(now);
        if self.conns.is_empty() {
            self.log.clear();
        } else {
            self.log.trim();
        }
        self.last_words.retain(|_, (_, until)| *until > now);
        if self.settings.hibernates {
            self.tell_down_again(now);
            self.watch_unanswered(now);
        } else {
            self.renew_all(now);
        }
        // Where this object may sleep, nothing but sockets is worth waking up for.
        let remembered = !(self.settings.hibernates || self.rates.is_empty() && self.last_words.is_empty());
        let nothing_left = self.conns.is_empty() && self.told.leaving.is_empty() && !remembered;
        self.sweep_at = (!nothing_left).then(|| self.next_sweep(now));
        let conns = &self.conns;
        // Counted, not timed: a clock that jumps must not forget what was written last to a socket.
        self.rooms.retain(|_, room| {
            room.quiet_sweeps = room.quiet_sweeps.saturating_add(1);
            room.quiet_sweeps <= limits::QUIET_SWEEPS || !room.is_idle(conns)
        });
    }

    pub(super) fn next_sweep(&self, now: Timestamp) -> Timestamp {
        if self.config.sweep_ms == 0 { now.plus_ms(limits::SWEEP_MS) } else { self.config.round_up_to_sweep(now.plus_ms(1)) }
    }

    /// Leases and watches again, and sockets whose User did not answer.
    fn renew_all(&mut self, now: Timestamp) {
        for (user, (sockets, kept), sees) in with_sockets(&self.users) {
            let at = self.location();
            self.fx.tell(objects::user(user), Message::Renew { at, sockets, kept, sees });
        }
        for id in self.conns.ids() {
            let unknown = self.conns.live(id).filter(|live| !live.registered && live.parked.is_none()).map(|live| live.who.clone());
            if let Some(who) = unknown {
                self.register(id, &who, now);
            }
        }
        self.watch_again(now);
    }
}
