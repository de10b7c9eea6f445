//! Text that belongs into one place, or nowhere.

use std::collections::BTreeMap;

use crate::tree::{File, files, none, root};

/// What ships: a rule about code asks these folders.
const SHIPPED: [&str; 3] = ["edge/", "media-node/", "schema/wire/"];

fn shipped(files: &[File]) -> impl Iterator<Item = &File> {
    let test = |path: &str| path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("/testing.rs");
    files.iter().filter(move |file| {
        file.path.ends_with(".rs") && SHIPPED.iter().any(|part| file.path.starts_with(part)) && !test(&file.path)
    })
}

/// Lines of `files` that `wrong` refuses, except in the files allowed.
fn findings<'a>(
    files: impl Iterator<Item = &'a File>,
    allowed: &[(&str, &str)],
    wrong: impl Fn(&str) -> bool,
) -> Vec<String> {
    let may = |path: &str| allowed.iter().any(|(part, _)| path.starts_with(part));
    files
        .filter(|file| !may(&file.path))
        .flat_map(|file| file.code().filter(|(_, line)| wrong(line)).map(|(n, line)| format!("{}:{n}: {}", file.path, line.trim())))
        .collect()
}

fn contains_any(line: &str, words: &[&str]) -> bool {
    words.iter().any(|word| line.contains(word))
}

#[test]
fn sql_stands_in_migrations_and_sql_modules() {
    let verbs = |line: &str| {
        contains_any(line, &["SELECT ", "INSERT INTO ", "INSERT OR ", "REPLACE INTO ", "DELETE FROM ", "CREATE TABLE", "ALTER TABLE", "DROP TABLE"])
            || (line.contains("UPDATE ") && line.contains(" SET "))
    };
    let sql_module = |file: &&File| !file.path.contains("/sql/") && !file.path.ends_with("/sql.rs");
    none("SQL outside migrations and sql modules", &findings(shipped(&files()).filter(sql_module), &[], verbs));
}

#[test]
fn transactions_are_opened_by_storage_only() {
    let allowed = [
        ("edge/host/src/storage", "rounds and savepoints of the own host"),
        ("edge/component/src/platform.rs", "the batch of the people database on Spin"),
        ("edge/cloudflare/src/hrana.rs", "the batch of the people database over HTTP"),
    ];
    let words = ["\"BEGIN", "\"COMMIT", "\"ROLLBACK", "\"SAVEPOINT", "\"RELEASE", "\"PRAGMA"];
    let sql_module = |file: &&File| !file.path.contains("/sql/") && !file.path.ends_with("/sql.rs");
    none("transactions outside storage", &findings(shipped(&files()).filter(sql_module), &allowed, |line| contains_any(line, &words)));
}

#[test]
fn error_statuses_and_close_codes_stand_in_the_error_table() {
    let allowed = [("edge/core/src/error.rs", "the table")];
    let in_core = |file: &&File| file.path.starts_with("edge/core/") || file.path.starts_with("edge/component/");
    let wrong = |line: &str| {
        let about = contains_any(line, &["status", "Status", "close", "Close", "Response"]);
        about && integers(line).any(|n| (400..600).contains(&n) || (1000..1016).contains(&n) || (4000..5000).contains(&n))
    };
    none("an error status or close code outside error.rs", &findings(shipped(&files()).filter(in_core), &allowed, wrong));
}

/// Integer literals of a line, outside words like `u16`.
fn integers(line: &str) -> impl Iterator<Item = u64> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter_map(|word| word.replace('_', "").parse().ok())
}

#[test]
fn the_core_asks_no_clock_thread_file_or_hash_map() {
    let words = [
        "Instant::now", "SystemTime", "std::thread", "std::fs", "TcpStream", "UdpSocket", "ToSocketAddrs", "std::env", "std::process", "OsRng", "thread_rng",
        "HashMap", "HashSet", "println!", "RandomState",
    ];
    let core = |file: &&File| file.path.starts_with("edge/core/") || file.path.starts_with("schema/wire/");
    none(
        "time and entropy are arguments, order is defined (BTreeMap), output is an Output",
        &findings(shipped(&files()).filter(core), &[], |line| contains_any(line, &words)),
    );
}

#[test]
fn nothing_that_ships_unwraps() {
    none("say with `expect` why it holds, or handle it", &findings(shipped(&files()), &[], |line| line.contains(".unwrap()")));
}

#[test]
fn no_work_is_left_behind() {
    // Split, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:"), concat!("todo", "!("),
        concat!("unimpl", "emented!("), concat!("#[ign", "ore"), concat!("test.", "only("), concat!("it.", "only("),
        concat!("describe.", "only("), concat!("test.", "skip("), concat!("it.", "skip("), concat!("describe.", "skip("),
    ];
    let mut wrong = Vec::new();
    for file in files() {
        let found = file.lines().filter(|(_, line)| contains_any(line, &words));
        wrong.extend(found.map(|(n, line)| format!("{}:{n}: {}", file.path, line.trim())));
    }
    none("unfinished work", &wrong);
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let mut homes: Vec<String> =
        [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")].map(str::to_owned).into();
    let here = root().to_string_lossy().into_owned();
    // A checkout at `/src` says nothing.
    if here.split('/').count() > 2 {
        homes.push(here);
    }
    let begins = |line: &str, home: &str| {
        line.match_indices(home).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_ascii_alphanumeric() || "_.-}$/".contains(c))
        })
    };
    let mut wrong = Vec::new();
    for file in files() {
        let found = file.lines().filter(|(_, line)| homes.iter().any(|home| begins(line, home)));
        wrong.extend(found.map(|(n, line)| format!("{}:{n}: {}", file.path, line.trim())));
    }
    none("paths of a developer's machine", &wrong);
}

#[test]
fn migrations_are_numbered_without_gaps() {
    let mut numbers: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for file in files() {
        let Some(rest) = file.path.strip_prefix("schema/migrations/") else { continue };
        let number = rest.split_once('/').and_then(|(folder, name)| {
            let (digits, name) = name.split_once('_')?;
            (digits.len() == 4 && name.ends_with(".sql")).then_some((folder, digits.parse().ok()?))
        });
        match number {
            Some((folder, number)) => numbers.entry(folder.to_owned()).or_default().push(number),
            None => wrong.push(format!("{}: a migration is named NNNN_name.sql", file.path)),
        }
    }
    for (folder, mut found) in numbers {
        found.sort_unstable();
        if found != (1..).take(found.len()).collect::<Vec<u32>>() {
            wrong.push(format!("schema/migrations/{folder}: {found:?}"));
        }
    }
    none("migrations apply in the order of their numbers, each once", &wrong);
}

#[test]
fn hosts_that_name_their_migrations_name_all_of_them() {
    let files = files();
    let source = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    let (people, objects) = (source("edge/core/src/sql/people_schema.rs"), source("edge/cloudflare/src/storage.rs"));
    let mut wrong = Vec::new();
    for file in &files {
        let Some(rest) = file.path.strip_prefix("schema/migrations/") else { continue };
        let Some((folder, name)) = rest.split_once('/') else { continue };
        let named = match folder {
            "people" => people.contains(&format!("\"{}\"", name.trim_end_matches(".sql"))),
            _ => objects.contains(&file.path),
        };
        if !named {
            wrong.push(file.path.clone());
        }
    }
    none("migrations that a host would leave out", &wrong);
}
