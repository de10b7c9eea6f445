//! What is billed, counted for the bench: one line of the log per event, only where `METER=on` in development.

use std::cell::RefCell;

use edge_core::map::Map;
use edge_core::object::Kind;
use worker::Env;

use crate::config;

/// Counts since the last line.
pub(super) struct Meter(Option<RefCell<Map<&'static str, u64>>>);

impl Meter {
    pub(super) fn new(env: &Env) -> Self {
        Self(config::development_switch(env, "METER").then(RefCell::default))
    }

    pub(super) fn count(&self, what: &'static str, n: u64) {
        if let Some(counts) = &self.0 {
            *counts.borrow_mut().or_default(what) += n;
        }
    }

    /// `meter {"kind":…,"name":…,"rows":…}`
    pub(super) fn tell(&self, name: &str, kind: Kind) {
        let Some(counts) = &self.0 else { return };
        let counts = std::mem::take(&mut *counts.borrow_mut());
        if !counts.is_empty() {
            worker::console_log!("meter {}", serde_json::json!({"kind": kind, "name": name, "counts": counts}));
        }
    }
}
