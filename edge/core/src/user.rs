//! User object.

use std::rc::Rc;

use wire::Timestamp;

use crate::object::{Input, Object, Output};
use crate::settings::Settings;

/// Stub, replaced by the real state machine.
#[derive(Debug)]
pub struct User {}

impl User {
    /// Before its `Started`.
    #[must_use]
    pub fn new(_name: wire::UserId, _settings: Rc<Settings>) -> Self {
        Self {}
    }
}

impl Object for User {
    fn handle(&mut self, _input: Input, _now: Timestamp) {}
    fn poll_output(&mut self) -> Option<Output> {
        None
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }
    fn is_idle(&self, _now: Timestamp) -> bool {
        false
    }
}
