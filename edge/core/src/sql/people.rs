//! Statements of the people database (`schema/migrations/people`): accounts and sessions written by handlers, and what
//! handlers read of projections.

use serde_json::json;
use wire::{RoomId, SessionId, Timestamp, UserId};

use super::{Statement, Value};
use crate::limits::{self, Rate};

mod conversations;
mod directory;
mod rates;
mod refresh;
mod sessions;

pub use conversations::{ListPosition, conversations, insert_pair, members, pair, people, profiles, rooms_of};
pub use directory::{
    ProfileChange, change_settings, contacts, contacts_in, profile, profile_from, public_user, search, settings,
};
pub use rates::{give_back, probe, sweep_rates, take};
pub use refresh::{Outcome, Refresh, sweep_refresh_tokens};
pub use sessions::{
    change_password, claim_mail, delete_mail, due_mail, end_own_session, forget_mail, forget_resets, password_of, request_reset,
    reset, sessions, sweep_mail, use_reset,
};

/// Columns of [`own_user`], in the order [`crate::http`] reads them.
const OWN_USER: &str = "id, username, display_name, avatar_url, status_text, email, bio, created_at, role";

/// A new account.
#[derive(Debug, Clone)]
pub struct NewUser<'a> {
    pub id: UserId,
    pub username: &'a str,
    /// In lower case.
    pub email: &'a str,
    pub password_hash: String,
}

/// A new sign-in with the first token of its family.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    pub id: SessionId,
    pub user: UserId,
    pub dialect: &'static str,
    pub device: &'a str,
    pub address: &'a str,
    /// Keyed hash of the refresh token.
    pub refresh_hash: String,
    pub refresh_expires: Timestamp,
}

impl NewUser<'_> {
    /// Inserts the account unless its name or address is taken (then no row comes back); the very first one is the
    /// administrator. Row: `role`.
    #[must_use]
    pub fn insert(self, now: Timestamp) -> Statement {
        let oid: String = self.id.to_string().chars().filter(char::is_ascii_hexdigit).take(24).collect();
        Statement::new(
            "INSERT INTO users (id, oid, username, display_name, email, password_hash, role, created_at, updated_at) \
             SELECT ?1, ?2, ?3, ?3, ?4, ?5, CASE WHEN EXISTS (SELECT 1 FROM users) THEN 'user' ELSE 'admin' END, ?6, ?6 \
             WHERE true ON CONFLICT DO NOTHING RETURNING role",
            vec![
                self.id.into(),
                oid.into(),
                self.username.into(),
                self.email.into(),
                self.password_hash.into(),
                now.into(),
            ],
        )
    }
}

impl NewSession<'_> {
    /// Inserts session and token, if the account exists and is not disabled. Row of the first: `id`.
    #[must_use]
    pub fn insert(self, now: Timestamp) -> [Statement; 2] {
        [
            Statement::new(
                "INSERT INTO sessions (id, user_id, dialect, device, ip, created_at, last_seen_at) \
                 SELECT ?1, id, ?3, ?4, ?5, ?6, ?6 FROM users WHERE id=?2 AND disabled_at IS NULL RETURNING id",
                vec![
                    self.id.into(),
                    self.user.into(),
                    self.dialect.into(),
                    self.device.into(),
                    self.address.into(),
                    now.into(),
                ],
            ),
            Statement::new(
                "INSERT INTO refresh_tokens (hash, session_id, issued_at, expires_at) \
                 SELECT ?1, id, ?3, ?4 FROM sessions WHERE id=?2",
                vec![self.refresh_hash.into(), self.id.into(), now.into(), self.refresh_expires.into()],
            ),
        ]
    }
}

/// Whether somebody else than `me` has this name or address. Row: `username_taken, email_taken` as 0 or 1.
#[must_use]
pub fn taken(me: Option<UserId>, username: Option<&str>, email: Option<&str>) -> Statement {
    Statement::new(
        "SELECT EXISTS (SELECT 1 FROM users WHERE username=?1 AND id IS NOT ?3), \
         EXISTS (SELECT 1 FROM users WHERE email=?2 AND id IS NOT ?3)",
        vec![username.into(), email.into(), me.into()],
    )
}

/// The account of an address. Row: `id, password_hash, disabled_at, token_version`, then the own record.
#[must_use]
pub fn credentials(email: &str) -> Statement {
    let sql = format!("SELECT id, password_hash, disabled_at, token_version, {OWN_USER} FROM users WHERE email=?1");
    Statement { sql: sql.into(), params: vec![email.into()] }
}

/// The own record. Row: `id, username, display_name, avatar_url, status_text, email, bio, created_at, role`.
#[must_use]
pub fn own_user(user: UserId) -> Statement {
    Statement { sql: format!("SELECT {OWN_USER} FROM users WHERE id=?1").into(), params: vec![user.into()] }
}

/// What a token is checked against. Row: `ended_at, disabled_at, token_version, username`.
#[must_use]
pub fn standing(user: UserId, session: SessionId) -> Statement {
    Statement::new(
        "SELECT s.ended_at, u.disabled_at, u.token_version, u.username FROM sessions s JOIN users u ON u.id=s.user_id \
         WHERE s.id=?2 AND u.id=?1",
        vec![user.into(), session.into()],
    )
}

/// Ends the session, and the one that a refresh token belongs to if it is the same person's. Rows: `id`.
#[must_use]
pub fn end_session(user: UserId, session: SessionId, refresh_hash: Option<String>, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE sessions SET ended_at=?4, end_reason='logout' WHERE user_id=?1 AND ended_at IS NULL \
         AND (id=?2 OR id=(SELECT session_id FROM refresh_tokens WHERE hash=?3)) RETURNING id",
        vec![user.into(), session.into(), refresh_hash.into(), now.into()],
    )
}

/// Ends every session and every token issued so far. Row of the first: the new `token_version`.
#[must_use]
pub fn end_all_sessions(user: UserId, now: Timestamp) -> [Statement; 2] {
    [
        Statement::new(
            "UPDATE users SET token_version=token_version+1, updated_at=?2 WHERE id=?1 RETURNING token_version",
            vec![user.into(), now.into()],
        ),
        Statement::new(
            "UPDATE sessions SET ended_at=?2, end_reason='logout_all' WHERE user_id=?1 AND ended_at IS NULL",
            vec![user.into(), now.into()],
        ),
    ]
}

/// Whether a person exists. Row: `1`.
#[must_use]
pub fn exists(user: UserId) -> Statement {
    Statement::new("SELECT 1 FROM users WHERE id=?1", vec![user.into()])
}

/// Many ids as one parameter, for `json_each`.
fn id_list<T: std::fmt::Display>(ids: impl IntoIterator<Item = T>) -> Value {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    json!(ids).to_string().into()
}
