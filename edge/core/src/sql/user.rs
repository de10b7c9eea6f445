//! Statements of User storage (`schema/migrations/user`).

use wire::{SessionId, Timestamp, UserId};

use super::Statement;

/// Everything a User needs before its first decision.
#[must_use]
pub fn load(user: UserId) -> Vec<Statement> {
    vec![
        Statement::new("SELECT gateway, epoch, live FROM user_sockets WHERE user_id=?1", vec![user.into()]),
        Statement::new("SELECT session_id FROM user_revoked WHERE user_id=?1", vec![user.into()]),
        Statement::new("SELECT min_version FROM user_state WHERE user_id=?1", vec![user.into()]),
        Statement::new(
            "SELECT other_id, status, blocked_by, version, other_version, created_at FROM user_contacts WHERE user_id=?1",
            vec![user.into()],
        ),
        Statement::new("SELECT id, target, msg FROM user_outbox WHERE user_id=?1 ORDER BY id", vec![user.into()]),
        Statement::new("SELECT name, epoch FROM user_listeners WHERE user_id=?1", vec![user.into()]),
        Statement::new("SELECT online, told, offline_at, state, text, last_seen, shown, version FROM user_presence WHERE user_id=?1", vec![user.into()]),
    ]
}

/// The user has sockets at this life of a gateway, or only sessions that wait to be recovered.
#[must_use]
pub fn put_socket(user: UserId, gateway: &str, epoch: u64, live: bool) -> Statement {
    Statement::new(
        "INSERT INTO user_sockets (user_id, gateway, epoch, live) VALUES (?1,?2,?3,?4) \
         ON CONFLICT (user_id, gateway) DO UPDATE SET epoch=?3, live=?4",
        vec![user.into(), gateway.into(), epoch.into(), live.into()],
    )
}

/// The user has no socket at this gateway any more.
#[must_use]
pub fn delete_socket(user: UserId, gateway: &str) -> Statement {
    Statement::new("DELETE FROM user_sockets WHERE user_id=?1 AND gateway=?2", vec![user.into(), gateway.into()])
}

/// This gateway (in this life) or Room, `<kind>/<name>`, wants to be told.
#[must_use]
pub fn put_listener(user: UserId, name: &str, epoch: u64) -> Statement {
    Statement::new(
        "INSERT INTO user_listeners (user_id, name, epoch) VALUES (?1,?2,?3) ON CONFLICT (user_id, name) DO UPDATE SET epoch=?3",
        vec![user.into(), name.into(), epoch.into()],
    )
}

/// It need not be told any more.
#[must_use]
pub fn delete_listener(user: UserId, name: &str) -> Statement {
    Statement::new("DELETE FROM user_listeners WHERE user_id=?1 AND name=?2", vec![user.into(), name.into()])
}

/// A row of `user_presence`.
#[derive(Debug)]
pub struct PresenceRow<'a> {
    /// There are sockets, or there were a moment ago; whether all watchers were told; and when it ends without a socket.
    pub online: bool,
    pub told: bool,
    pub offline_at: Option<Timestamp>,
    /// What the person chose.
    pub state: &'a str,
    pub text: &'a str,
    pub last_seen: Option<Timestamp>,
    /// What handlers were told, and the version of that.
    pub shown: &'a str,
    pub version: u64,
}

impl PresenceRow<'_> {
    /// The upsert.
    #[must_use]
    pub fn put(self, user: UserId) -> Statement {
        Statement::new(
            "INSERT INTO user_presence (user_id, online, told, offline_at, state, text, last_seen, shown, version) \
             VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9) ON CONFLICT (user_id) DO UPDATE SET online=?2, told=?3, offline_at=?4, \
             state=?5, text=?6, last_seen=?7, shown=?8, version=?9",
            vec![
                user.into(),
                self.online.into(),
                self.told.into(),
                self.offline_at.map(|at| at.0).into(),
                self.state.into(),
                self.text.into(),
                self.last_seen.map(|at| at.0).into(),
                self.shown.into(),
                self.version.into(),
            ],
        )
    }
}

/// A session is over.
#[must_use]
pub fn revoke(user: UserId, session: SessionId, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO user_revoked (user_id, session_id, revoked_at) VALUES (?1,?2,?3) ON CONFLICT DO NOTHING",
        vec![user.into(), session.into(), now.into()],
    )
}

/// Tokens below this version are dead.
#[must_use]
pub fn raise_min_version(user: UserId, version: u64) -> Statement {
    Statement::new(
        "INSERT INTO user_state (user_id, min_version) VALUES (?1,?2) \
         ON CONFLICT (user_id) DO UPDATE SET min_version=max(min_version,?2)",
        vec![user.into(), version.into()],
    )
}

/// This side of a pair.
#[must_use]
pub fn put_contact(
    user: UserId,
    other: UserId,
    status: &str,
    blocked_by: bool,
    version: u64,
    other_version: u64,
    created_at: Timestamp,
) -> Statement {
    Statement::new(
        "INSERT INTO user_contacts (user_id, other_id, status, blocked_by, version, other_version, created_at) \
         VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT (user_id, other_id) DO UPDATE SET status=?3, blocked_by=?4, version=?5, \
         other_version=?6, created_at=?7",
        vec![
            user.into(),
            other.into(),
            status.into(),
            blocked_by.into(),
            version.into(),
            other_version.into(),
            created_at.into(),
        ],
    )
}

/// A message that must arrive.
#[must_use]
pub fn put_outbox(user: UserId, id: u64, target: &str, msg: &str) -> Statement {
    Statement::new(
        "INSERT INTO user_outbox (user_id, id, target, msg) VALUES (?1,?2,?3,?4)",
        vec![user.into(), id.into(), target.into(), msg.into()],
    )
}

/// Users whose outbox is not empty, or who had sockets: a host starts them again after a crash. Rows: user id.
#[must_use]
pub fn with_outbox() -> Statement {
    Statement::new("SELECT user_id FROM user_outbox UNION SELECT user_id FROM user_sockets", vec![])
}

/// It has arrived.
#[must_use]
pub fn delete_outbox(user: UserId, id: u64) -> Statement {
    Statement::new("DELETE FROM user_outbox WHERE user_id=?1 AND id=?2", vec![user.into(), id.into()])
}
