//! Finding people, contacts, profiles and settings. Lists leave the database as the JSON of their rows: one column `row`
//! each, as the contract shows it (4.2).

use super::{OWN_USER, Statement, Timestamp, UserId, Value, limits};
use crate::sql::Row;

/// Milliseconds as ISO 8601.
macro_rules! iso {
    ($column:literal) => {
        concat!("strftime('%Y-%m-%dT%H:%M:%fZ',", $column, "/1000.0,'unixepoch')")
    };
}
pub(super) use iso;

/// Accounts `u` and `b`, the block that `u` put on the reader ?1, if there is one.
macro_rules! seen_by_reader {
    () => {
        "LEFT JOIN contacts b ON b.user_id=u.id AND b.other_id=?1 AND b.status='blocked' "
    };
}

/// A column that neither deactivated accounts nor those that block the reader show (contract 2.3).
macro_rules! shown {
    ($column:literal, $hidden:literal) => {
        concat!("CASE WHEN u.disabled_at IS NULL AND b.user_id IS NULL THEN ", $column, " ELSE ", $hidden, " END")
    };
}

/// The search with what finds `text` inside of names; it is asked only when prefixes are not enough.
macro_rules! search {
    ($inside:literal) => {
        concat!(
            "WITH hidden(id) AS (SELECT user_id FROM contacts WHERE other_id=?1 AND status='blocked' UNION ALL SELECT ?1), \
             first(id) AS MATERIALIZED (SELECT * FROM (SELECT id FROM users WHERE username>=?2 AND username<?3 \
             AND disabled_at IS NULL AND id NOT IN hidden ORDER BY username LIMIT ?5) \
             UNION SELECT * FROM (SELECT id FROM users WHERE display_name COLLATE NOCASE>=?2 AND display_name COLLATE NOCASE<?3 \
             AND disabled_at IS NULL AND id NOT IN hidden ORDER BY display_name COLLATE NOCASE LIMIT ?5)), \
             found(id, later) AS (SELECT id, 0 FROM first UNION ALL SELECT * FROM (SELECT u.id, 1 \
             FROM (SELECT 1 WHERE (SELECT count(*) FROM first)<?5) CROSS JOIN ",
            $inside,
            " CROSS JOIN users u ON u.id=s.user_id WHERE u.disabled_at IS NULL AND u.id NOT IN first AND u.id NOT IN hidden \
             LIMIT ?5)) \
             SELECT json_object('id',u.id,'username',u.username,'avatar_url',u.avatar_url,'status',u.status_text) \
             FROM found f JOIN users u ON u.id=f.id ORDER BY f.later, u.username LIMIT ?5"
        )
    };
}

/// people whose name or display name begins with `text`, then those where it is inside. Two characters are no word of
/// the full text: they are looked for in the first 10,000 names, which is everybody where prefixes find few. Row: `row`.
#[must_use]
pub fn search(me: UserId, text: &str) -> Statement {
    let (sql, inside) = if text.chars().count() < 3 {
        let literally = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        (
            search!("(SELECT user_id FROM (SELECT user_id, names FROM user_names LIMIT 10000) WHERE names LIKE ?4 ESCAPE '\\') s"),
            format!("%{literally}%"),
        )
    } else {
        (search!("user_names_fts f CROSS JOIN user_names s ON s.n=f.rowid AND f.names MATCH ?4"), format!("\"{}\"", text.replace('"', "\"\"")))
    };
    Statement::new(sql, vec![me.into(), text.into(), format!("{text}\u{10ffff}").into(), inside.into(), limits::SEARCH_RESULTS.into()])
}

/// R-06, without `presence`. Row: `row, id`.
#[must_use]
pub fn contacts(me: UserId) -> Statement {
    Statement::new(
        concat!(
            "SELECT json_object('id',u.id,'username',u.username,'avatar_url',",
            shown!("u.avatar_url", "NULL"),
            ",'status',",
            shown!("u.status_text", "''"),
            ",'display_name',u.display_name), u.id FROM contacts c JOIN users u ON u.id=c.other_id ",
            seen_by_reader!(),
            "WHERE c.user_id=?1 AND c.status='accepted' ORDER BY u.username LIMIT ?2"
        ),
        vec![me.into(), limits::CONTACTS_LISTED.into()],
    )
}

/// R-07 (`in`, `out`) and G-03 (`blocked`), newest first. Row: `row`.
#[must_use]
pub fn contacts_in(me: UserId, status: &'static str) -> Statement {
    Statement::new(
        concat!(
            "SELECT json_object('id',u.id,'username',u.username,'avatar_url',",
            shown!("u.avatar_url", "NULL"),
            ",'created_at',",
            iso!("c.created_at"),
            ") FROM contacts c JOIN users u ON u.id=c.other_id ",
            seen_by_reader!(),
            "WHERE c.user_id=?1 AND c.status=?2 ORDER BY c.created_at DESC, u.username LIMIT ?3"
        ),
        vec![me.into(), status.into(), limits::CONTACTS_LISTED.into()],
    )
}

/// G-19. Row: `row`.
#[must_use]
pub fn public_user(me: UserId, other: UserId) -> Statement {
    Statement::new(
        concat!(
            "SELECT json_object('id',u.id,'username',u.username,'display_name',u.display_name,'avatar_url',",
            shown!("u.avatar_url", "NULL"),
            ",'status',",
            shown!("u.status_text", "''"),
            ") FROM users u ",
            seen_by_reader!(),
            "WHERE u.id=?2"
        ),
        vec![me.into(), other.into()],
    )
}

/// What a person changes of the own record; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange<'a> {
    pub username: Option<&'a str>,
    pub display_name: Option<&'a str>,
    pub status: Option<&'a str>,
    pub bio: Option<&'a str>,
    /// In lower case.
    pub email: Option<&'a str>,
    /// JSON object that is merged.
    pub profile: String,
}

impl ProfileChange<'_> {
    /// Applies it; refused by a constraint when a name or an address is taken. A display name that was never chosen goes
    /// with the name. Row: the own record.
    #[must_use]
    pub fn update(self, user: UserId, now: Timestamp) -> Statement {
        let sql = format!(
            "UPDATE users SET username=coalesce(?2,username), \
             display_name=coalesce(?3,CASE WHEN display_name=username THEN ?2 END,display_name), \
             status_text=coalesce(?4,status_text), bio=coalesce(?5,bio), email=coalesce(?6,email), \
             profile=json_patch(profile,?7), updated_at=?8 WHERE id=?1 RETURNING {OWN_USER}"
        );
        let params = vec![
            user.into(),
            self.username.into(),
            self.display_name.into(),
            self.status.into(),
            self.bio.into(),
            self.email.into(),
            self.profile.into(),
            now.into(),
        ];
        Statement { sql: sql.into(), params }
    }
}

/// G-20: the settings, complete. Row: JSON.
#[must_use]
pub fn settings(user: UserId) -> Statement {
    Statement::new(
        "SELECT json_patch('{\"quietHours\":null,\"sounds\":true,\"locale\":null,\"theme\":\"system\",\"readReceipts\":true}',\
         coalesce((SELECT settings FROM user_settings WHERE user_id=?1),'{}'))",
        vec![user.into()],
    )
}

/// G-20: merges a JSON object of settings. What is null in it goes back to the default.
#[must_use]
pub fn change_settings(user: UserId, change: &str) -> [Statement; 2] {
    [
        Statement::new(
            "INSERT INTO user_settings (user_id, settings) VALUES (?1,json_patch('{}',?2)) \
             ON CONFLICT (user_id) DO UPDATE SET settings=json_patch(settings,?2)",
            vec![user.into(), change.into()],
        ),
        Statement::new(
            "UPDATE users SET read_receipts=coalesce((SELECT json_extract(settings,'$.readReceipts') FROM user_settings \
             WHERE user_id=?1),1) WHERE id=?1",
            vec![user.into()],
        ),
    ]
}

/// What Rooms keep of a person. Row as [`profile_from`] reads it.
#[must_use]
pub fn profile(user: UserId) -> Statement {
    Statement::new(
        "SELECT id, username, display_name, avatar_url, status_text, read_receipts FROM users WHERE id=?1",
        vec![user.into()],
    )
}

/// Columns `id, username, display_name, avatar_url, status, read_receipts`.
#[must_use]
pub fn profile_from(row: &Row) -> Option<crate::objects::Profile> {
    let text = |at: usize| row.get(at).and_then(Value::as_str).map(str::to_owned);
    Some(crate::objects::Profile {
        id: UserId::parse(row.first()?.as_str()?)?,
        username: text(1)?,
        display_name: text(2)?,
        avatar_url: text(3),
        status: text(4)?,
        receipts: row.get(5)?.as_i64()? != 0,
    })
}
