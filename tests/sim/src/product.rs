//! What a run is made of: the product's objects, or the toy gateway in front of the product's rooms and users.

use std::rc::Rc;

use edge_core::auth::{Claims, sign_access};
use edge_core::object::Kind;
use edge_core::shard;
use edge_core::sql::Statement;
use uuid::Uuid;
use wire::{RoomId, Timestamp, UserId};

use crate::store::{Stores, migrations};
use crate::toy::ToyGateway;
use crate::world::{Bugs, Create, Hooks};

/// Life of tokens in a run: longer than any run, so that they end only where a test wants it.
const TOKEN_MS: u64 = 30 * 24 * 3_600_000;

/// The product.
#[must_use]
pub fn product() -> Hooks {
    hooks(Rc::new(shard::create))
}

/// The toy gateway, the product's rooms and users.
#[must_use]
pub fn toy() -> Hooks {
    hooks(Rc::new(|id, settings| match id.kind {
        Kind::Gateway => Some(Box::new(ToyGateway::new(&id.name, settings.clone()))),
        _ => shard::create(id, settings),
    }))
}

/// Any objects, with the product's accounts and tokens.
#[must_use]
pub fn hooks(create: Create) -> Hooks {
    Hooks {
        create,
        token: Rc::new(|person, session, settings, now| {
            let claims = Claims {
                user: person.id,
                username: person.name.clone(),
                session,
                version: 0,
                expires: now.plus_ms(TOKEN_MS),
            };
            sign_access(&claims, Uuid::nil(), settings, now).unwrap_or_default()
        }),
        people: Rc::new(|people, at| {
            let sql = "INSERT INTO users (id, oid, username, display_name, created_at, updated_at) VALUES (?1,?2,?3,?4,?5,?5)";
            let row = |person: &crate::world::Person| {
                let oid: String = person.text.chars().filter(|c| *c != '-').take(24).collect();
                let name = person.name.as_str();
                Statement::new(sql, vec![person.id.into(), oid.into(), name.into(), name.to_uppercase().into(), at.into()])
            };
            people.iter().map(row).collect()
        }),
        stored: Some(|room, after| {
            let sql = "SELECT seq FROM room_messages WHERE room_id=?1 AND seq>?2 UNION SELECT seq FROM room_events \
                       WHERE room_id=?1 AND seq>?2 ORDER BY seq";
            Statement::new(sql, vec![room.into(), after.into()])
        }),
        bugs: Bugs::default(),
    }
}

/// The row that a direct conversation of two people has; the first one is theirs.
#[must_use]
pub fn pair(one: UserId, other: UserId, room: RoomId, at: Timestamp) -> Statement {
    let sql = "INSERT INTO direct_pairs (low, high, room_id, created_by, created_at) VALUES (?1,?2,?3,?4,?5) \
               ON CONFLICT DO NOTHING";
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    Statement::new(sql, vec![low.into(), high.into(), room.into(), one.into(), at.into()])
}

/// Empty databases of the product.
pub fn stores() -> Result<Stores, String> {
    Stores::open(&migrations()?)
}
