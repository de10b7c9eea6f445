//! Rotation of refresh tokens, all in one batch (S2, N10, N11).

use super::rates::per_ms;
use super::{SessionId, Statement, Timestamp, UserId, Value, limits};
use crate::limits::{REFRESH_REPEAT_MS, REFRESHES_PER_USER};
use crate::sql::Rows;

/// One request to exchange a token.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// Keyed hash of the token that was shown.
    pub shown: String,
    /// Keyed hash of its only possible successor.
    pub successor: String,
    /// Keyed hash of the client instance.
    pub client: String,
    /// When the successor expires.
    pub expires: Timestamp,
    /// Whether the rate of the user counts.
    pub limited: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// No such token, or its time or its session is over.
    Refused,
    /// Too many; tokens left in the bucket.
    Limited { tokens: f64 },
    /// A used token was shown again: the family is dead. `newly`: this request ended it.
    Reused { user: UserId, session: SessionId, newly: bool },
    /// The successor is valid.
    Rotated { user: UserId, session: SessionId, username: String, version: u64 },
}

impl Refresh {
    /// In this order: take from the rate of the user, end the family of a token that was used by someone else or long
    /// ago, mark the token as used, insert the successor, and read what is true then.
    #[must_use]
    pub fn statements(&self, now: Timestamp) -> Vec<Statement> {
        let shown = || Value::from(self.shown.as_str());
        let client = || Value::from(self.client.as_str());
        vec![
            Statement::new(
                "INSERT INTO rate_limits (key, tokens, at, allowed) SELECT 'refresh:'||s.user_id, ?2-1, ?4, 1 \
                 FROM refresh_tokens t JOIN sessions s ON s.id=t.session_id WHERE t.hash=?1 AND ?5 \
                 ON CONFLICT (key) DO UPDATE SET allowed=(min(?2, tokens+max(?4-at,0)*?3)>=1), \
                 tokens=min(?2, tokens+max(?4-at,0)*?3)-(min(?2, tokens+max(?4-at,0)*?3)>=1), at=max(at,?4) \
                 RETURNING allowed, tokens",
                vec![
                    shown(),
                    Value::Real(f64::from(REFRESHES_PER_USER.burst)),
                    per_ms(REFRESHES_PER_USER),
                    now.into(),
                    self.limited.into(),
                ],
            ),
            Statement::new(
                "UPDATE sessions SET ended_at=?2, end_reason='refresh_reused' WHERE ended_at IS NULL AND id=\
                 (SELECT session_id FROM refresh_tokens WHERE hash=?1 AND used_at IS NOT NULL \
                 AND NOT (used_by=?3 AND used_at>=?4)) RETURNING id",
                vec![shown(), now.into(), client(), repeat_from(now).into()],
            ),
            Statement::new(
                "UPDATE refresh_tokens SET used_at=?2, used_by=?3 WHERE hash=?1 AND used_at IS NULL AND expires_at>?2 \
                 AND EXISTS (SELECT 1 FROM sessions s JOIN users u ON u.id=s.user_id WHERE s.id=session_id \
                 AND s.ended_at IS NULL AND u.disabled_at IS NULL AND (NOT ?4 OR \
                 (SELECT allowed FROM rate_limits WHERE key='refresh:'||u.id)=1)) RETURNING session_id",
                vec![shown(), now.into(), client(), self.limited.into()],
            ),
            Statement::new(
                "INSERT INTO refresh_tokens (hash, session_id, issued_at, expires_at) SELECT ?4, session_id, ?2, ?5 \
                 FROM refresh_tokens WHERE hash=?1 AND used_at=?2 AND used_by=?3 ON CONFLICT (hash) DO NOTHING",
                vec![shown(), now.into(), client(), self.successor.as_str().into(), self.expires.into()],
            ),
            Statement::new(
                "UPDATE sessions SET last_seen_at=?2 WHERE id=\
                 (SELECT session_id FROM refresh_tokens WHERE hash=?1 AND used_at=?2)",
                vec![shown(), now.into()],
            ),
            Statement::new(
                "SELECT s.id, s.user_id, u.username, u.token_version, s.ended_at IS NULL AND u.disabled_at IS NULL, \
                 t.used_at, t.used_by=?2 AND t.used_at>=?3 FROM refresh_tokens t JOIN sessions s ON s.id=t.session_id \
                 JOIN users u ON u.id=s.user_id WHERE t.hash=?1",
                vec![shown(), client(), repeat_from(now).into()],
            ),
        ]
    }

    /// Reads the rows that [`Refresh::statements`] returned; `None` when they are not that.
    #[must_use]
    pub fn outcome(rows: &[Rows]) -> Option<Outcome> {
        let [bucket, ended, _, _, _, state] = rows else { return None };
        let Some(row) = state.first() else { return Some(Outcome::Refused) };
        let session = SessionId::parse(row.first()?.as_str()?)?;
        let user = UserId::parse(row.get(1)?.as_str()?)?;
        let alive = row.get(4)?.as_i64()? != 0;
        let used = !row.get(5)?.is_null();
        let ours = row.get(6)?.as_i64() == Some(1);
        if used && !ours {
            return Some(Outcome::Reused { user, session, newly: !ended.is_empty() });
        }
        if let Some([Value::Integer(0), Value::Real(tokens), ..]) = bucket.first().map(Vec::as_slice) {
            return Some(Outcome::Limited { tokens: *tokens });
        }
        if !alive || !used {
            return Some(Outcome::Refused);
        }
        let username = row.get(2)?.as_str()?.to_owned();
        Some(Outcome::Rotated { user, session, username, version: row.get(3)?.as_u64()? })
    }
}

/// Forgets some tokens that expired so long ago that nobody can mistake them.
#[must_use]
pub fn sweep_refresh_tokens(now: Timestamp) -> Statement {
    Statement::new(
        "DELETE FROM refresh_tokens WHERE hash IN (SELECT hash FROM refresh_tokens WHERE expires_at<?1 LIMIT ?2)",
        vec![now.into(), limits::SWEEP_ROWS.into()],
    )
}

fn repeat_from(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(REFRESH_REPEAT_MS))
}
