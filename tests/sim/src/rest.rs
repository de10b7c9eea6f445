//! REST as the product's handlers answer it, over the people database and the objects of a run: each request takes its
//! virtual time, and whatever happens meanwhile happens.

use std::cell::RefCell;

use edge_core::http::{self, Request};
use edge_core::object::{CallError, Kind, ObjectId};
use edge_core::objects::Message;
use edge_core::platform::{Platform, StoreError};
use edge_core::settings::Settings;
use edge_core::sql::{Rows, Statement};
use serde_json::Value;
use wire::{SessionId, Timestamp};

use crate::store::{SqlError, now};
use crate::world::{Person, World};

/// What only the search asks for: the conversations of a person that the index has forgotten, and those of a member.
const BEHIND: &str = "AND h.active_at<?2 LIMIT ?3";
const MINE: &str = "WHERE m.user_id=?1 AND m.left_at IS NULL AND (?5 IS NULL";

struct Rest<'a> {
    world: RefCell<&'a mut World>,
    settings: Settings,
}

impl Platform for Rest<'_> {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn read(&self, mut statement: Statement) -> Result<Rows, StoreError> {
        let mut world = self.world.borrow_mut();
        let bugs = world.hooks.bugs;
        if bugs.search_wakes_nobody && statement.sql.contains(BEHIND) {
            return Ok(Rows::new());
        }
        if bugs.search_everywhere {
            statement.sql = statement.sql.replace(MINE, "WHERE ?1=?1 AND (?5 IS NULL").into();
        }
        let mut rows = world.stores.people.read(&[statement]).map_err(refused)?;
        Ok(rows.pop().unwrap_or_default())
    }

    async fn people_batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        let mut world = self.world.borrow_mut();
        let rows = statements.iter().map(|_| Rows::new()).collect();
        world.stores.people.apply(&statements).map_err(refused)?;
        Ok(rows)
    }

    async fn object(&self, kind: Kind, name: &str, mut msg: Message) -> Result<Message, CallError> {
        let mut world = self.world.borrow_mut();
        if let (Message::Look { user, .. }, true) = (&mut msg, world.hooks.bugs.search_everywhere)
            && let Some(one) = world.conversations.iter().find(|one| *one.text == *name)
            && let Some(member) = one.members.first()
        {
            *user = world.people[*member].id;
        }
        world.ask_object(&ObjectId::new(kind, name), msg)
    }

    fn now(&self) -> Timestamp {
        self.world.borrow().wall()
    }

    fn random(&self) -> [u8; 32] {
        self.world.borrow_mut().rng.bytes()
    }
}

fn refused(error: SqlError) -> StoreError {
    match error {
        SqlError::Constraint(_) => StoreError::Conflict,
        SqlError::Broken(text) => StoreError::Unavailable(text),
    }
}

/// The session that a person's REST requests belong to.
fn session_of(person: &Person) -> SessionId {
    SessionId(person.id.0)
}

impl World {
    /// Everybody has a session for REST.
    pub(crate) fn sign_in(&mut self) {
        let sql = "INSERT INTO sessions (id, user_id, dialect, device, ip, created_at, last_seen_at) \
                   VALUES (?1,?2,'chatcall','','',?3,?3)";
        let at = self.wall();
        let row = |person: &Person| {
            Statement::new(sql, vec![session_of(person).0.to_string().into(), person.id.into(), at.into()])
        };
        let rows: Vec<Statement> = self.people.iter().map(row).collect();
        if let Err(error) = self.stores.people.apply(&rows) {
            self.breach(format!("nobody can sign in: {error:?}"));
        }
    }

    /// A request of a person: status and body.
    pub(crate) fn get(&mut self, user: usize, target: &str) -> (u16, Value) {
        let person = self.people[user].clone();
        let token = (self.hooks.token)(&person, session_of(&person), &self.settings, self.wall());
        let settings = Settings { rate_limits: false, ..(*self.settings).clone() };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = Request {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: vec![("authorization".to_owned(), format!("Bearer {token}"))],
            ..Request::default()
        };
        let platform = Rest { world: RefCell::new(self), settings };
        let response = now(http::handle(&platform, request));
        (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
    }
}
