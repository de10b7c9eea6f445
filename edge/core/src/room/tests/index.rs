//! Messages reach the search index (G-07): batches, cursors, what happens after a crash.

use super::{Host, stored_messages, user};
use crate::limits;
use crate::object::{Input, Object, Output, PersistError, Store};
use crate::objects::{Message, MessageChange};
use crate::sql::{Row, Value};

/// `after`, `upto`, the entries, and whether somebody waits.
type Batch = (u64, u64, Vec<(u64, Option<String>)>, bool);

/// `after`, `upto` and the entered `[seq, content]` of each batch since the last look, and whether somebody waits for it.
fn batches(host: &mut Host) -> Vec<Batch> {
    let seen = std::mem::take(&mut host.seen);
    let batch = |output: &Output| match output {
        Output::Project { key, statement, hold, .. } if key.starts_with("index:") => {
            let number = |at: usize| statement.params[at].as_u64().unwrap();
            let entries: Vec<serde_json::Value> = serde_json::from_str(statement.params[3].as_str().unwrap()).unwrap();
            let read = |entry: &serde_json::Value| (entry[0].as_u64().unwrap(), entry[4].as_str().map(str::to_owned));
            Some((number(1), number(2), entries.iter().map(read).collect(), *hold))
        }
        _ => None,
    };
    seen.iter().filter_map(batch).collect()
}

fn entered(batch: &Batch) -> (u64, u64, usize) {
    (batch.0, batch.1, batch.2.len())
}

fn later(host: &mut Host, ms: u64) {
    host.now = host.now.plus_ms(ms);
    host.give(Input::Alarm);
}

fn meta() -> Row {
    vec!["direct".into(), Value::Null, Value::Null, Value::Null, Value::Integer(1), Value::Integer(1), Value::Integer(1)]
}

#[test]
fn a_second_of_messages_is_one_batch_outside_of_every_send() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    for n in 0..5 {
        host.send(1, &format!("Hello {n}"), None);
        assert!(batches(&mut host).is_empty(), "not with a send");
    }
    assert_eq!(host.room.poll_timeout(), Some(host.now.plus_ms(limits::INDEX_AFTER_MS)));
    later(&mut host, limits::INDEX_AFTER_MS);
    let all = batches(&mut host);
    assert_eq!(all.iter().map(entered).collect::<Vec<_>>(), [(0, 5, 5)]);
    assert_eq!(all[0].2[4], (5, Some("hello 4".to_owned())));
    later(&mut host, limits::INDEX_AFTER_MS);
    assert!(batches(&mut host).is_empty(), "nothing is new");
    host.send(2, "more", None);
    later(&mut host, limits::INDEX_AFTER_MS);
    assert_eq!(batches(&mut host).iter().map(entered).collect::<Vec<_>>(), [(5, 6, 1)]);
}

#[test]
fn where_objects_sleep_each_message_waits_with_the_projections_and_no_alarm_is_set() {
    let mut host = Host::sleeping(true);
    host.create(&[1, 2]);
    for n in 1..=3 {
        host.send(1, "m", None);
        assert_eq!(host.room.poll_timeout(), None);
        let all = batches(&mut host);
        assert_eq!(all.iter().map(entered).collect::<Vec<_>>(), [(n - 1, n, 1)]);
        assert!(!all[0].3, "nobody waits for it");
    }
}

#[test]
fn a_changed_message_is_entered_again() {
    let mut host = Host::new(true);
    host.create(&[1, 2]);
    let Message::Sent { message, .. } = host.send(1, "one", None) else { panic!("refused") };
    host.send(1, "two", None);
    later(&mut host, limits::INDEX_AFTER_MS);
    batches(&mut host);
    host.send(1, "three", None);
    let mut all = Vec::new();
    for change in [MessageChange::Edit { content: "New".into() }, MessageChange::Delete] {
        host.ask(Message::Change { user: user(1), message: message.id, change });
        later(&mut host, limits::INDEX_AFTER_MS);
        all.extend(batches(&mut host));
    }
    let entries: Vec<_> = all.iter().map(|batch| (batch.0, batch.1, batch.2.clone())).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(entries, [(2, 4, vec![(1, text("new")), (3, text("three"))]), (4, 5, vec![(1, None)])]);
}

#[test]
fn a_life_after_a_crash_enters_what_the_index_does_not_have_as_soon_as_it_is_in_reach() {
    for (sleeps, out_of_reach) in [(false, false), (true, false), (false, true), (true, true)] {
        let new = |located| if sleeps { Host::sleeping(located) } else { Host::new(located) };
        let mut before = new(true);
        before.create(&[1, 2]);
        let mut rows = Vec::new();
        for n in 0..250 {
            before.send(1, &format!("m{n}"), None);
            rows.extend(stored_messages(&before));
        }
        let mut host = new(true);
        let (mut loads, mut asked) = (0, 0);
        let mut pending = vec![Input::Alarm];
        let mut found = Vec::new();
        while let Some(input) = pending.pop() {
            host.room.handle(input, host.now);
            while let Some(output) = host.room.poll_output() {
                match &output {
                    Output::Load { load, store: Store::Own, statements } if statements.len() == 5 => {
                        let result = Ok(vec![vec![meta()], Vec::new(), rows.iter().rev().take(200).cloned().collect(), Vec::new(), Vec::new()]);
                        pending.push(Input::Loaded { load: *load, result });
                    }
                    Output::Load { load, store: Store::Own, statements } => {
                        loads += 1;
                        let (after, upto) = (statements[0].params[1].as_u64().unwrap(), statements[0].params[2].as_u64().unwrap());
                        let page = rows.iter().filter(|row| row[0].as_u64().is_some_and(|seq| seq > after && seq <= upto));
                        pending.push(Input::Loaded { load: *load, result: Ok(vec![page.cloned().collect()]) });
                    }
                    Output::Load { load, store: Store::People, .. } if out_of_reach && asked == 0 => {
                        asked += 1;
                        pending.push(Input::Loaded { load: *load, result: Err(PersistError::Io) });
                    }
                    Output::Load { load, store: Store::People, .. } => {
                        asked += 1;
                        let cursor = vec![vec![Value::Integer(30)]];
                        pending.push(Input::Loaded { load: *load, result: Ok(vec![Vec::new(), Vec::new(), Vec::new(), cursor]) });
                    }
                    Output::Project { n, .. } | Output::Persist { n, .. } => pending.push(Input::Persisted { n: *n }),
                    _ => {}
                }
                found.push(output);
            }
            if pending.is_empty() && out_of_reach && asked == 1 {
                host.now = host.room.poll_timeout().expect("it asks again");
                pending.push(Input::Alarm);
            }
        }
        host.seen = found;
        let all = batches(&mut host);
        assert_eq!(all.iter().map(entered).collect::<Vec<_>>(), [(30, 130, 100), (130, 230, 100), (230, 250, 20)]);
        assert_eq!(all.iter().map(|batch| batch.3).collect::<Vec<_>>(), [true, true, false], "one batch at a time");
        assert_eq!((loads, asked), (1, 1 + u32::from(out_of_reach)), "the rest is in memory");
    }
}

