use super::*;
use crate::testing::TempDir;
use edge_core::sql::Value;
use std::sync::Mutex;
use std::time::Duration;

const TABLE: Migration = Migration { set: "room", name: "0001_t", sql: "CREATE TABLE t (k TEXT PRIMARY KEY, v INTEGER CHECK (v < 100));" };

struct World {
    storage: Storage,
    done: Mutex<Receiver<Vec<Done>>>,
    first_epoch: u64,
}

fn world(dir: &TempDir) -> World {
    let file = dir.path().join("chatcall.db");
    let connection = Connection::open(&file).unwrap();
    connection.batch("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v INTEGER CHECK (v < 100))").unwrap();
    drop(connection);
    let (tx, rx) = channel();
    let sink: Sink = Box::new(move |done| tx.send(done).unwrap_or_default());
    let opened = Storage::open(&Options { file, readers: 1, shards: 1 }, vec![sink]).unwrap();
    World { storage: opened.storage, done: Mutex::new(rx), first_epoch: opened.first_epoch }
}

fn insert(key: &str, value: i64) -> Statement {
    Statement::new("INSERT INTO t (k, v) VALUES (?1, ?2)", vec![key.into(), value.into()])
}

impl World {
    fn submit(&self, object: &str, life: u64, unit: u64, statements: Vec<Statement>) {
        self.storage.submit(0, Job { object: object.into(), life, unit, statements });
    }

    fn outcomes(&self, count: usize) -> Vec<(String, u64, Result<(), PersistError>)> {
        let mut all = Vec::new();
        while all.len() < count {
            let round = self.done.lock().unwrap().recv_timeout(Duration::from_secs(10)).unwrap();
            all.extend(round.into_iter().map(|done| (done.object.to_string(), done.unit, done.result)));
        }
        all
    }

    fn keys(&self) -> Vec<String> {
        let (tx, rx) = channel();
        self.storage.load(vec![Statement::new("SELECT k FROM t ORDER BY k", vec![])], move |rows| tx.send(rows).unwrap());
        let rows = rx.recv().unwrap().unwrap();
        rows[0].iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_failing_object_leaves_the_others_of_its_round_alone() {
    let dir = TempDir::new();
    let world = world(&dir);
    world.submit("room/a", 1, 1, vec![insert("a1", 1), insert("a2", 2)]);
    world.submit("room/b", 1, 1, vec![insert("b1", 1), insert("b2", 1000)]);
    world.submit("room/c", 1, 1, vec![insert("c1", 1)]);
    let outcomes = world.outcomes(3);
    assert_eq!(outcomes[0], ("room/a".into(), 1, Ok(())));
    assert_eq!(outcomes[1], ("room/b".into(), 1, Err(PersistError::Conflict)));
    assert_eq!(outcomes[2], ("room/c".into(), 1, Ok(())));
    assert_eq!(world.keys(), ["a1", "a2", "c1"]);
    assert!(!world.storage.stats().read_only());
}

#[test]
fn the_rest_of_a_failed_life_is_refused_until_it_is_forgotten() {
    let dir = TempDir::new();
    let world = world(&dir);
    world.submit("room/a", 1, 1, vec![insert("x", 1000)]);
    world.submit("room/a", 1, 2, vec![insert("y", 1)]);
    world.submit("room/a", 2, 1, vec![insert("z", 1)]);
    let outcomes: Vec<bool> = world.outcomes(3).iter().map(|(_, _, result)| result.is_ok()).collect();
    assert_eq!(outcomes, [false, false, true]);
    world.storage.forget("room/a".into(), 1);
    world.submit("room/a", 2, 2, vec![insert("zz", 1)]);
    assert_eq!(world.outcomes(1)[0].2, Ok(()));
    assert_eq!(world.keys(), ["z", "zz"]);
}

#[test]
fn statements_that_do_not_fit_their_parameters_are_refused() {
    let dir = TempDir::new();
    let world = world(&dir);
    world.submit("room/a", 1, 1, vec![insert("a", 1)]);
    world.submit("room/b", 1, 1, vec![Statement::new("INSERT INTO t (k, v) VALUES (?1, ?2)", vec!["b".into()])]);
    let outcomes = world.outcomes(2);
    assert_eq!(outcomes[1].2, Err(PersistError::Io));
    assert_eq!(world.keys(), ["a"]);
}

#[tokio::test]
async fn a_people_batch_is_all_or_nothing_and_returns_rows() {
    let dir = TempDir::new();
    let world = world(&dir);
    let returning = Statement::new("INSERT INTO t (k, v) VALUES ('r', 7) RETURNING v, k", vec![]);
    let rows = world.storage.people_batch(vec![insert("a", 1), returning]).await.unwrap();
    assert_eq!(rows, vec![vec![], vec![vec![Value::Integer(7), Value::Text("r".into())]]]);
    let twice = world.storage.people_batch(vec![insert("b", 1), insert("a", 1)]).await;
    assert_eq!(twice, Err(PersistError::Conflict));
    assert_eq!(world.keys(), ["a", "r"]);
}

#[tokio::test]
async fn queries_name_their_columns_and_cannot_write() {
    let dir = TempDir::new();
    let world = world(&dir);
    world.storage.people_batch(vec![insert("a", 1)]).await.unwrap();
    let query = world.storage.query(Statement::new("SELECT v AS value, k FROM t WHERE k = ?1", vec!["a".into()])).await.unwrap();
    assert_eq!(query.columns, ["value", "k"]);
    assert_eq!(query.rows, vec![vec![Value::Integer(1), Value::Text("a".into())]]);
    assert!(world.storage.query(insert("b", 1)).await.is_err());
    assert!(world.storage.query(Statement::new("SELECT nothing", vec![])).await.is_err());
}

#[test]
fn a_database_below_full_is_refused() {
    let dir = TempDir::new();
    let file = dir.path().join("x.db");
    for (mode, accepted) in [("OFF", false), ("NORMAL", false), ("FULL", true), ("EXTRA", true)] {
        let pragmas = format!("PRAGMA journal_mode=WAL; PRAGMA synchronous={mode};");
        let checked = Connection::open_unchecked(&file, &pragmas).unwrap().check_synced();
        assert_eq!(checked.is_ok(), accepted, "{mode}");
    }
    let rollback_journal = Connection::open_unchecked(&dir.path().join("y.db"), "PRAGMA journal_mode=DELETE;").unwrap();
    assert!(rollback_journal.check_synced().is_err());
}

#[test]
fn a_newer_schema_is_refused_by_name() {
    let dir = TempDir::new();
    let file = dir.path().join("x.db");
    let later = Migration { set: "room", name: "0002_later", sql: "CREATE TABLE later (x);" };
    let mut connection = Connection::open(&file).unwrap();
    migrations::apply(&mut connection, &[TABLE, later]).unwrap();
    migrations::apply(&mut connection, &[TABLE, later]).unwrap();
    let refused = migrations::apply(&mut connection, &[TABLE]).unwrap_err();
    assert!(refused.0.contains("room/0002_later"), "{refused}");
}

#[test]
fn a_failing_migration_leaves_nothing_behind() {
    let dir = TempDir::new();
    let mut connection = Connection::open(&dir.path().join("x.db")).unwrap();
    let broken = Migration { set: "room", name: "0002_broken", sql: "CREATE TABLE half (x); CREATE TABLE t (y);" };
    assert!(migrations::apply(&mut connection, &[TABLE, broken]).unwrap_err().0.contains("room/0002_broken"));
    let tables = connection.run(Statement::new("SELECT name FROM sqlite_master WHERE name = 'half'", vec![])).unwrap();
    assert!(tables.is_empty());
}

#[test]
fn all_migrations_of_this_build_apply_to_an_empty_file() {
    let dir = TempDir::new();
    let mut connection = Connection::open(&dir.path().join("x.db")).unwrap();
    migrations::apply(&mut connection, migrations::ALL).unwrap();
    assert!(migrations::ALL.iter().any(|migration| migration.set == "room"));
}

#[test]
fn epochs_rise_with_every_start_and_with_reserved_blocks() {
    let dir = TempDir::new();
    let first = world(&dir);
    let used = first.first_epoch + EPOCH_BLOCK + 5;
    first.storage.reserve_epoch(used);
    first.submit("room/a", 1, 1, vec![]);
    first.outcomes(1);
    let second = world(&dir);
    assert!(second.first_epoch > used + EPOCH_BLOCK);
}

#[test]
fn damage_is_found_at_start() {
    let dir = TempDir::new();
    let file = dir.path().join("chatcall.db");
    std::fs::write(&file, vec![7_u8; 8192]).unwrap();
    assert!(Storage::open(&Options { file, readers: 1, shards: 1 }, vec![]).is_err());
}

#[test]
fn after_an_orderly_end_the_database_is_one_file() {
    let dir = TempDir::new();
    let file = dir.path().join("chatcall.db");
    let connection = Connection::open(&file).unwrap();
    connection.batch("CREATE TABLE t (k TEXT PRIMARY KEY, v INTEGER)").unwrap();
    drop(connection);
    let (tx, rx) = channel();
    let sink: Sink = Box::new(move |done| tx.send(done).unwrap_or_default());
    let opened = Storage::open(&Options { file: file.clone(), readers: 1, shards: 1 }, vec![sink]).unwrap();
    opened.storage.submit(0, Job { object: "room/a".into(), life: 1, unit: 1, statements: vec![insert("a", 1)] });
    rx.recv_timeout(Duration::from_secs(10)).unwrap();
    opened.storage.stop();
    opened.writer.join().unwrap();
    let log = std::fs::metadata(dir.path().join("chatcall.db-wal")).map_or(0, |meta| meta.len());
    assert_eq!(log, 0);
}
