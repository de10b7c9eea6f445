//! From storage to a loaded user.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::{SessionId, Timestamp, UserId};

use super::contacts::Contact;
use super::{Ready, State, User};
use crate::limits;
use crate::object::{Input, PersistError, Store};
use crate::sql::{self, Rows, Value};

impl User {
    pub(super) fn begin_load(&mut self) -> u64 {
        self.fx.load(Store::Own, sql::user::load(self.id))
    }

    pub(super) fn loaded(&mut self, load: u64, result: Result<Vec<Rows>, PersistError>, now: Timestamp) {
        match &mut self.state {
            State::Loading { load: wanted, waiting } if *wanted == load => {
                let waiting = std::mem::take(waiting);
                self.begin(result, waiting, now);
            }
            State::Ready(ready) if ready.seeing == Some(load) => self.sees_loaded(result, now),
            State::Ready(ready) => {
                if let Some(id) = ready.lookups.remove(&load) {
                    self.rooms_found(id, result, now);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, result: Result<Vec<Rows>, PersistError>, waiting: VecDeque<Input>, now: Timestamp) {
        let Some(ready) = result.ok().and_then(|rows| parse(rows, self.sleeps, now)) else {
            // Storage is out of reach: say so, and try again with the next question.
            self.state = State::New;
            self.load_again = self.sleeps.then(|| now.plus_ms(limits::LOAD_AGAIN_MS));
            for input in waiting {
                if let Input::Object { from, call, .. } = input {
                    self.refuse(&from, call, wire::ErrorCode::NodeUnavailable);
                }
            }
            return;
        };
        self.state = State::Ready(Box::new(ready));
        if self.sleeps {
            // An earlier life may have ended between a socket and what watchers are told of it.
            self.presence_changed(now, None);
            if matches!(&self.state, State::Ready(ready) if ready.presence.is_untold()) {
                self.tell_watchers(now);
            }
        } else {
            self.verify_sockets();
        }
        self.project_untold();
        self.outbox_alarm(now);
        for input in waiting {
            self.handle_waiting(input, now);
        }
    }

    fn handle_waiting(&mut self, input: Input, now: Timestamp) {
        match input {
            Input::Object { from, call, msg } => self.asked(from, call, msg, now),
            Input::Reply { call, result } => self.replied(call, result, now),
            _ => {}
        }
    }
}

fn parse(rows: Vec<Rows>, slept: bool, now: Timestamp) -> Option<Ready> {
    let [sockets, revoked, state, contacts, outbox, listeners, presence]: [Rows; 7] = rows.try_into().ok()?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let locations = sockets.iter().filter_map(|row| Some((text(row.first())?, row.get(1)?.as_u64()?, row.get(2)?.as_u64()? != 0))).collect();
    let sockets = super::sockets::Sockets::stored(locations, slept, now);
    let (mut watchers, mut interested) = (Vec::new(), BTreeSet::new());
    for row in listeners.iter().filter(|_| slept) {
        match row.first()?.as_str()?.split_once('/')? {
            ("gateway", name) => watchers.push((name.to_owned(), row.get(1)?.as_u64()?)),
            (_, name) => interested.extend(wire::RoomId::parse(name)),
        }
    }
    Some(Ready {
        presence: super::presence::Presence::stored(watchers, presence.first(), sockets.any(), slept, now),
        sockets,
        interested,
        revoked: revoked.iter().filter_map(|row| SessionId::parse(row.first()?.as_str()?)).collect(),
        min_version: state.first().and_then(|row| row.first()?.as_u64()).unwrap_or_default(),
        contacts: contacts
            .iter()
            .filter_map(|row| Some((UserId::parse(row.first()?.as_str()?)?, Contact::from_row(row)?)))
            .collect(),
        outbox: super::outbox::Outbox::stored(&outbox, now),
        calls: BTreeMap::new(),
        seeing: None,
        see_again: false,
        see_at: None,
        sees_moved: false,
        out_of_sight: BTreeSet::new(),
        sees: None,
        sees_version: 0,
        unseen: Vec::new(),
        arriving: Vec::new(),
        lookups: BTreeMap::new(),
        settling: Vec::new(),
    })
}
