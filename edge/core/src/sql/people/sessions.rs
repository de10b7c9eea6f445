//! Sessions that their owner looks at or ends, and passwords that change (G-15, G-16).

use super::directory::iso;
use super::{SessionId, Statement, Timestamp, UserId, limits};

/// G-15: sessions that can still be refreshed, newest first; `current` is the caller's. Row: JSON.
#[must_use]
pub fn sessions(user: UserId, current: SessionId, seen_since: Timestamp) -> Statement {
    Statement::new(
        concat!(
            "SELECT json_object('id',id,'device',device,'ip',ip,'dialect',dialect,'created_at',",
            iso!("created_at"),
            ",'last_seen_at',",
            iso!("last_seen_at"),
            ",'current',json(CASE id WHEN ?2 THEN 'true' ELSE 'false' END)) FROM sessions \
             WHERE user_id=?1 AND ended_at IS NULL AND last_seen_at>=?3 ORDER BY last_seen_at DESC, id DESC LIMIT ?4"
        ),
        vec![user.into(), current.into(), seen_since.into(), limits::PAGE_MAX.into()],
    )
}

/// Ends one session of a person, whether or not it has ended before. Row: `id`, when there is one.
#[must_use]
pub fn end_own_session(user: UserId, session: SessionId, now: Timestamp) -> Statement {
    Statement::new(
        "UPDATE sessions SET ended_at=coalesce(ended_at,?3), end_reason=coalesce(end_reason,'revoked') \
         WHERE id=?2 AND user_id=?1 RETURNING id",
        vec![user.into(), session.into(), now.into()],
    )
}

/// What a person must know to change something important. Row: `password_hash`.
#[must_use]
pub fn password_of(user: UserId) -> Statement {
    Statement::new("SELECT password_hash FROM users WHERE id=?1", vec![user.into()])
}

/// Changes the password from `old` to `new` (hashes), then ends the sessions but `keep` and forgets resets under way, if it
/// was still that one. Rows of the first: `id`; of the second: `id` of each session that ended.
#[must_use]
pub fn change_password(user: UserId, old: &str, new: &str, keep: SessionId, now: Timestamp) -> [Statement; 4] {
    [
        Statement::new(
            "UPDATE users SET password_hash=?3, updated_at=?4 WHERE id=?1 AND password_hash=?2 RETURNING id",
            vec![user.into(), old.into(), new.into(), now.into()],
        ),
        Statement::new(
            "UPDATE sessions SET ended_at=?3, end_reason='password' WHERE user_id=?1 AND id<>?2 AND ended_at IS NULL \
             AND (SELECT password_hash FROM users WHERE id=?1)=?4 RETURNING id",
            vec![user.into(), keep.into(), now.into(), new.into()],
        ),
        forget_resets(user),
        forget_mail(user),
    ]
}

/// Links that were asked for are of no use any more.
#[must_use]
pub fn forget_resets(user: UserId) -> Statement {
    Statement::new("DELETE FROM password_resets WHERE user_id=?1", vec![user.into()])
}

/// Nor is the mail that would bring them.
#[must_use]
pub fn forget_mail(user: UserId) -> Statement {
    Statement::new("DELETE FROM mail WHERE user_id=?1 AND kind='reset'", vec![user.into()])
}

/// G-16: a link for whoever has this address, if anybody has, and the mail that brings it. The same work in both cases.
#[must_use]
pub fn request_reset(email: &str, hash: &str, mail: &str, now: Timestamp) -> Vec<Statement> {
    let expires = now.plus_ms(limits::RESET_MS);
    vec![
        Statement::new(
            "INSERT INTO password_resets (hash, user_id, expires_at) SELECT ?2, id, ?3 FROM users \
             WHERE email=?1 AND disabled_at IS NULL AND password_hash IS NOT NULL",
            vec![email.into(), hash.into(), expires.into()],
        ),
        Statement::new(
            "INSERT INTO mail (id, user_id, kind, expires_at, due_at, tries) SELECT ?3, user_id, 'reset', expires_at, ?1, 0 \
             FROM password_resets WHERE hash=?2",
            vec![now.into(), hash.into(), mail.into()],
        ),
        Statement::new("DELETE FROM password_resets WHERE expires_at<?1", vec![now.into()]),
        sweep_mail(now),
    ]
}

/// Whose password a token may set. Row: `user_id`.
#[must_use]
pub fn reset(hash: &str, now: Timestamp) -> Statement {
    Statement::new(
        "SELECT user_id FROM password_resets WHERE hash=?1 AND expires_at>?2",
        vec![hash.into(), now.into()],
    )
}

/// Uses a token: the new password (hash), no session, no other link. Row of the first: `token_version`, unless the token
/// was used meanwhile or the account is deactivated.
#[must_use]
pub fn use_reset(user: UserId, hash: &str, new: &str, now: Timestamp) -> [Statement; 4] {
    [
        Statement::new(
            "UPDATE users SET password_hash=?3, token_version=token_version+1, updated_at=?4 WHERE id=?1 \
             AND disabled_at IS NULL AND EXISTS (SELECT 1 FROM password_resets WHERE hash=?2 AND user_id=?1 AND expires_at>?4) \
             RETURNING token_version",
            vec![user.into(), hash.into(), new.into(), now.into()],
        ),
        Statement::new(
            "UPDATE sessions SET ended_at=?3, end_reason='reset' WHERE user_id=?1 AND ended_at IS NULL \
             AND EXISTS (SELECT 1 FROM password_resets WHERE hash=?2)",
            vec![user.into(), hash.into(), now.into()],
        ),
        forget_resets(user),
        forget_mail(user),
    ]
}

/// Mail that waits to be sent. Row: `id, kind, email, tries`.
#[must_use]
pub fn due_mail(now: Timestamp) -> Statement {
    Statement::new(
        "SELECT m.id, m.kind, u.email, m.tries FROM mail m JOIN users u ON u.id=m.user_id \
         WHERE m.due_at<=?1 AND m.expires_at>?1 AND u.email IS NOT NULL ORDER BY m.due_at LIMIT 20",
        vec![now.into()],
    )
}

/// Claims a mail for one try: nobody else tries before `until`. Row: `id`, unless somebody was faster.
#[must_use]
pub fn claim_mail(id: &str, now: Timestamp, until: Timestamp) -> Statement {
    Statement::new(
        "UPDATE mail SET due_at=?3, tries=tries+1 WHERE id=?1 AND due_at<=?2 RETURNING id",
        vec![id.into(), now.into(), until.into()],
    )
}

/// It was sent, or never can be.
#[must_use]
pub fn delete_mail(id: &str) -> Statement {
    Statement::new("DELETE FROM mail WHERE id=?1", vec![id.into()])
}

/// Forgets what nobody sent in time.
#[must_use]
pub fn sweep_mail(now: Timestamp) -> Statement {
    Statement::new("DELETE FROM mail WHERE expires_at<?1", vec![now.into()])
}
