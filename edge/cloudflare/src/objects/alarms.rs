//! One alarm per object: an earlier one replaces it, a later one waits for it. Setting one is a row written.

use std::rc::Rc;
use std::time::Duration;

use edge_core::object::{Input, Kind};
use wire::Timestamp;
use worker::Result;

use super::{Host, now};
use crate::socket;

/// The runtime loses an alarm that is set for the very millisecond of the one it is running.
const SOONEST_MS: u64 = 10;
/// An alarm that is this late is set again.
const LOST_MS: u64 = 5_000;

#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// As far as this life knows.
    set: Option<Timestamp>,
    /// The one that the life before left was asked for.
    known: bool,
}

impl Host {
    /// Sees to it that the object is woken when it wants to.
    pub(super) fn set_alarm(self: &Rc<Self>) {
        self.project_if_due();
        let wanted = {
            let inner = self.inner.borrow();
            let timeout = inner.object.as_ref().and_then(|object| object.poll_timeout());
            [timeout, inner.projections.due()].into_iter().flatten().min()
        };
        let Some(wanted) = wanted.map(|wanted| wanted.max(now().plus_ms(SOONEST_MS))) else { return };
        let first = {
            let mut inner = self.inner.borrow_mut();
            if inner.alarm.set.is_some_and(|set| set <= wanted && now().since(set) < LOST_MS) {
                return;
            }
            inner.alarm.set = Some(wanted);
            !std::mem::replace(&mut inner.alarm.known, true)
        };
        let host = self.clone();
        self.spawn(async move {
            let storage = host.state.storage();
            if first
                && let Ok(Some(left)) = storage.get_alarm().await
                && let Ok(left) = u64::try_from(left)
                && (now().0..=wanted.0).contains(&left)
            {
                host.inner.borrow_mut().alarm.set = Some(Timestamp(left));
                return;
            }
            // Another event may have wanted an earlier one meanwhile.
            let newest = host.inner.borrow().alarm.set;
            if newest == Some(wanted) {
                host.meter.count("rows", 1);
                host.meter.count("alarm_set", 1);
                host.meter.tell(&host.inner.borrow().name, host.kind);
                // The binding counts from now.
                let ahead = Duration::from_millis(wanted.0.saturating_sub(now().0).max(SOONEST_MS));
                if let Err(error) = storage.set_alarm(ahead).await {
                    worker::console_error!("{:?}: no alarm could be set: {error}", host.id());
                    host.inner.borrow_mut().alarm.set = None;
                }
            }
        });
    }

    pub(super) fn alarm(self: &Rc<Self>) -> Result<worker::Response> {
        {
            let mut inner = self.inner.borrow_mut();
            inner.alarm = Alarm { set: None, known: true };
        }
        self.meter.count("alarm", 1);
        self.start()?;
        if self.kind == Kind::Gateway {
            self.hear();
        }
        self.give(Input::Alarm);
        worker::Response::empty()
    }

    /// The runtime answers pongs while the object sleeps: the object hears of them before it looks who is silent.
    fn hear(self: &Rc<Self>) {
        let sockets: Vec<_> = self.inner.borrow().sockets.iter().map(|(id, ws)| (*id, ws.clone())).collect();
        for (socket, ws) in sockets {
            if let Some(at) = socket::last_pong(&self.state, &ws) {
                self.give(Input::Heard { socket, at });
            }
        }
    }
}
