//! Who is told of changes: Rooms where the sockets are, Gateways whether the user is online. Where objects sleep the
//! list is stored, and whoever does not listen any more says so when it is told.

use wire::Timestamp;

use super::{Called, State, User};
use crate::object::{CallError, Kind, ObjectId};
use crate::objects::Message;
use crate::sql;

/// How often a listener that did not answer is told.
const TRIES: u32 = 3;

impl User {
    /// Stores a listener, where objects sleep.
    pub(super) fn remember(&mut self, listener: &ObjectId, epoch: u64) {
        if self.sleeps {
            self.fx.persist(vec![sql::user::put_listener(self.id, &listener.to_string(), epoch)]);
        }
    }

    /// It need not be told any more.
    pub(super) fn forget(&mut self, listener: &ObjectId) {
        let State::Ready(ready) = &mut self.state else { return };
        let known = match listener.kind {
            Kind::Gateway => ready.presence.forget(&listener.name),
            Kind::Room => wire::RoomId::parse(&listener.name).is_some_and(|room| ready.interested.remove(&room)),
            _ => false,
        };
        if known && self.sleeps {
            self.fx.persist(vec![sql::user::delete_listener(self.id, &listener.to_string())]);
        }
    }

    /// Tells one listener.
    pub(super) fn tell(&mut self, listener: ObjectId, msg: Message, tries: u32) {
        if !self.sleeps {
            return self.fx.tell(listener, msg);
        }
        let State::Ready(ready) = &mut self.state else { return };
        let call = self.fx.call(listener.clone(), msg.clone());
        ready.calls.insert(call, Called::Told { listener, msg, tries });
    }

    /// It has answered, or not.
    pub(super) fn told(
        &mut self,
        listener: ObjectId,
        msg: Message,
        tries: u32,
        result: Result<Message, CallError>,
        now: Timestamp,
    ) {
        let lost = result.is_err();
        match result {
            Ok(Message::Forget { .. } | Message::Unwatch { .. }) => self.forget(&listener),
            Err(_) if tries < TRIES && self.still_true(&msg) => return self.tell(listener, msg, tries + 1),
            _ => {}
        }
        if matches!(msg, Message::Presence { .. }) && self.still_true(&msg) {
            match lost {
                true => self.tell_later(now),
                false if self.tells_nobody() => self.all_told(),
                false => {}
            }
        }
    }

    /// No watcher is being told, or will be.
    fn tells_nobody(&self) -> bool {
        let State::Ready(ready) = &self.state else { return false };
        let telling = |called: &Called| matches!(called, Called::Told { msg: Message::Presence { .. }, .. });
        !ready.presence.waits() && !ready.calls.values().any(telling)
    }

    /// Whether nothing newer was told meanwhile.
    fn still_true(&self, msg: &Message) -> bool {
        let State::Ready(ready) = &self.state else { return false };
        match msg {
            Message::Moved { version, .. } => *version == ready.sockets.version(),
            Message::Presence { version, .. } => *version == ready.presence.version(),
            Message::Sees { version, .. } => version.1 == ready.sees_version,
            _ => true,
        }
    }
}
