//! The schema of the people database for hosts whose database is reached by statements only: the migrations of
//! `schema/migrations/people`, each once and all or nothing, recorded as the own host records them.

use super::{Rows, Statement};
use crate::platform::{Platform, StoreError};

/// The set in the table of migrations; other sets in it belong to whoever shares the database.
const SET: &str = "people";

/// A file of `schema/migrations/people`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// `NNNN_name`.
    pub name: &'static str,
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($name:literal),+ $(,)?) => {
        &[$(Migration { name: $name, sql: crate::migration!(concat!("../../../../schema/migrations/people/", $name, ".sql")) }),+]
    };
}

/// All migrations of this build, in order.
pub const MIGRATIONS: &[Migration] = migrations![
    "0001_accounts",
    "0002_projections",
    "0003_mentions",
    "0004_settings",
    "0005_message_index",
    "0006_presence"
];

/// Why the database cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaError {
    /// It was written by a newer version, which knows this migration.
    Newer(String),
    Store(StoreError),
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer(name) => write!(
                f,
                "the people database was written by a newer version of ChatCall (it has {SET}/{name}, which this one does not know): deploy that version"
            ),
            Self::Store(error) => write!(f, "the people database cannot be prepared ({error:?})"),
        }
    }
}

impl std::error::Error for SchemaError {}

impl From<StoreError> for SchemaError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Applies what is missing. Several instances may do so at once: one of them applies a migration, the others see it done.
///
/// # Errors
/// A newer schema, or a database that refuses.
pub async fn migrate(platform: &impl Platform) -> Result<(), SchemaError> {
    if platform.read(table_exists()).await?.is_empty() {
        platform.people_batch(vec![create_table()]).await?;
    }
    let applied = names(&platform.read(applied()).await?);
    if let Some(name) = applied.iter().find(|name| !MIGRATIONS.iter().any(|known| known.name == *name)) {
        return Err(SchemaError::Newer(name.clone()));
    }
    for migration in MIGRATIONS.iter().filter(|known| !applied.iter().any(|name| name == known.name)) {
        // The record comes first: it is what a second instance fails on, before it changes anything.
        let mut batch = vec![record(migration.name)];
        batch.extend(statements(migration.sql).into_iter().map(|text| Statement::new(text, Vec::new())));
        match platform.people_batch(batch).await {
            Ok(_) => {}
            Err(StoreError::Conflict) if names(&platform.read(self::applied()).await?).iter().any(|name| name == migration.name) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn names(rows: &Rows) -> Vec<String> {
    rows.iter().filter_map(|row| Some(row.first()?.as_str()?.to_owned())).collect()
}

fn table_exists() -> Statement {
    Statement::new("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'host_migrations'", Vec::new())
}

fn create_table() -> Statement {
    let text = "CREATE TABLE IF NOT EXISTS host_migrations (set_name TEXT NOT NULL, name TEXT NOT NULL, \
                PRIMARY KEY (set_name, name)) WITHOUT ROWID";
    Statement::new(text, Vec::new())
}

fn applied() -> Statement {
    Statement::new("SELECT name FROM host_migrations WHERE set_name = ?1 ORDER BY name", vec![SET.into()])
}

fn record(name: &str) -> Statement {
    Statement::new("INSERT INTO host_migrations (set_name, name) VALUES (?1, ?2)", vec![SET.into(), name.into()])
}

/// The statements of a migration file, without their semicolons. Comments, quoted text and bodies of triggers stay whole.
#[must_use]
pub fn statements(text: &'static str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut statement = Open::default();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = token(rest);
        let token = rest.get(..length).unwrap_or(rest);
        match token {
            ";" if statement.depth == 0 => {
                found.extend(statement.from.and_then(|from| text.get(from..at)));
                statement = Open::default();
            }
            _ if token.starts_with(char::is_whitespace) || token.starts_with("--") || token.starts_with("/*") => {}
            word => statement.take(word, at),
        }
        at += length;
    }
    found.extend(statement.from.and_then(|from| text.get(from..)).map(str::trim_end));
    found
}

/// A statement that has begun.
#[derive(Default)]
struct Open {
    from: Option<usize>,
    words: usize,
    trigger: bool,
    /// `BEGIN` and `CASE` of a trigger that have no `END` yet.
    depth: usize,
}

impl Open {
    fn take(&mut self, word: &str, at: usize) {
        self.from.get_or_insert(at);
        self.words += 1;
        let is = |wanted: &str| word.eq_ignore_ascii_case(wanted);
        // CREATE [TEMP|TEMPORARY] TRIGGER
        self.trigger |= self.words <= 3 && is("trigger");
        if self.trigger && (is("begin") || is("case")) {
            self.depth += 1;
        } else if self.trigger && is("end") {
            self.depth = self.depth.saturating_sub(1);
        }
    }
}

/// The length of the first token, at least one character.
fn token(text: &str) -> usize {
    let first = text.chars().next().unwrap_or(' ');
    let until = |end: &str, from: usize| text.get(from..).and_then(|rest| rest.find(end)).map_or(text.len(), |at| from + at + end.len());
    let run = |belongs: fn(char) -> bool| text.find(|c| !belongs(c)).unwrap_or(text.len());
    match first {
        // A doubled quote ends one token and begins the next: the same for us.
        '\'' | '"' | '`' => until(first.encode_utf8(&mut [0; 4]), 1),
        '[' => until("]", 1),
        '-' if text.starts_with("--") => until("\n", 2),
        '/' if text.starts_with("/*") => until("*/", 2),
        c if c.is_whitespace() => run(char::is_whitespace),
        c if c.is_alphanumeric() || c == '_' => run(|c| c.is_alphanumeric() || c == '_'),
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_falls_into_whole_statements() {
        for migration in MIGRATIONS {
            let parts = statements(migration.sql);
            assert!(!parts.is_empty(), "{}", migration.name);
            for part in &parts {
                let word = part.split_whitespace().next().unwrap();
                assert!(["CREATE", "ALTER", "INSERT", "UPDATE", "DROP", "DELETE"].contains(&word), "{}: {part}", migration.name);
            }
            let open: usize = migration.sql.matches("CREATE ").count();
            assert_eq!(parts.iter().filter(|part| part.starts_with("CREATE ")).count(), open, "{}", migration.name);
        }
    }

    #[test]
    fn comments_quotes_and_triggers_hide_semicolons() {
        let text = "-- a; b\nCREATE TABLE t (a TEXT DEFAULT ';''; -- ', \"b;\" TEXT); /* ; */\n\
                    CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN\n  UPDATE t SET a = CASE WHEN 1 THEN ';' ELSE 2 END; -- end;\n  DELETE FROM t;\nEND;\n\
                    CREATE INDEX [i;] ON t (a) ; ;\n-- the end";
        let parts = statements(text);
        assert_eq!(parts.len(), 3, "{parts:#?}");
        assert!(parts[0].starts_with("CREATE TABLE t") && parts[0].ends_with("TEXT)"));
        assert!(parts[1].starts_with("CREATE TEMP TRIGGER") && parts[1].ends_with("END"));
        assert_eq!(parts[2].trim_end(), "CREATE INDEX [i;] ON t (a)");
    }

    #[test]
    fn broken_text_ends() {
        assert_eq!(statements("SELECT 'open"), ["SELECT 'open"]);
        assert_eq!(statements("SELECT 1"), ["SELECT 1"]);
        assert!(statements(" \n-- only words").is_empty());
        assert_eq!(statements("/* é").len(), 0);
    }
}
