//! The people schema by statements: once, all or nothing, by several instances at a time, never backwards.

use std::cell::Cell;
use std::task::{Context, Poll, Waker};

use edge_core::object::{CallError, Kind};
use edge_core::objects::Message;
use edge_core::platform::{Platform, StoreError};
use edge_core::settings::Settings;
use edge_core::sql::people_schema::{MIGRATIONS, SchemaError, migrate, statements};
use edge_core::sql::{Rows, Statement};
use handlers::World;
use wire::Timestamp;

/// A database that another instance prepares just before a batch of ours.
struct Raced<'a> {
    world: &'a World,
    before: Cell<Option<&'a dyn Fn()>>,
}

impl Platform for Raced<'_> {
    fn settings(&self) -> &Settings {
        &self.world.settings
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        self.world.read(statement).await
    }

    async fn people_batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        // The second batch is the first migration.
        if statements.len() > 1
            && let Some(before) = self.before.take()
        {
            before();
        }
        self.world.people_batch(statements).await
    }

    async fn object(&self, _: Kind, _: &str, _: Message) -> Result<Message, CallError> {
        Err(CallError::Lost)
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn random(&self) -> [u8; 32] {
        self.world.random()
    }
}

/// An embedded database answers at once.
fn now<T>(work: impl Future<Output = T>) -> T {
    match std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the database should have answered"),
    }
}

fn schema(world: &World) -> Rows {
    let text = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE '%host_migrations%' ORDER BY name";
    world.run(Statement::new(text, vec![]))
}

fn applied(world: &World) -> usize {
    world.run(Statement::new("SELECT name FROM host_migrations WHERE set_name = 'people'", vec![])).len()
}

#[test]
fn the_schema_is_that_of_the_files_and_comes_once() {
    let world = World::empty();
    now(migrate(&world)).unwrap();
    assert_eq!(schema(&world), schema(&World::new()));
    assert_eq!(applied(&world), MIGRATIONS.len());
    now(migrate(&world)).unwrap();
    assert_eq!(applied(&world), MIGRATIONS.len());
}

#[test]
fn two_instances_may_start_at_once() {
    let world = World::empty();
    let other = || now(migrate(&world)).unwrap();
    let raced = Raced { world: &world, before: Cell::new(Some(&other)) };
    now(migrate(&raced)).unwrap();
    assert_eq!(applied(&world), MIGRATIONS.len());
    assert_eq!(schema(&world), schema(&World::new()));
}

#[test]
fn a_newer_schema_is_refused_and_not_touched() {
    let world = World::empty();
    now(migrate(&world)).unwrap();
    world.run(Statement::new("INSERT INTO host_migrations VALUES ('people', '9999_future'), ('room', '0001_room')", vec![]));
    let refused = now(migrate(&world)).unwrap_err();
    assert_eq!(refused, SchemaError::Newer("9999_future".into()));
    assert!(refused.to_string().contains("newer version"), "{refused}");
}

#[test]
fn a_database_that_refuses_is_tried_again() {
    let world = World::empty();
    world.broken.set(Some(|| StoreError::ReadOnly));
    assert_eq!(now(migrate(&world)), Err(SchemaError::Store(StoreError::ReadOnly)));
    world.broken.set(None);
    now(migrate(&world)).unwrap();
}

#[test]
fn the_list_is_the_folder() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema/migrations/people");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, MIGRATIONS.iter().map(|migration| migration.name).collect::<Vec<_>>());
    assert!(MIGRATIONS.iter().all(|migration| !statements(migration.sql).is_empty()));
}
