use super::*;
use crate::guest::wit::Output;
use crate::storage::{Options, Storage};
use crate::testing::TempDir;
use std::sync::mpsc;

const ROOM: &str = "room/01890a5d-ac96-774b-bcce-b302099a8057";
const USER: &str = "user/01890a5d-ac96-774b-bcce-b302099a8058";

/// What the guest answers to an input of an object; `None` is a trap.
type Script = fn(&str, &Input) -> Option<Vec<Output>>;

struct Scripted {
    script: Script,
    seen: mpsc::Sender<(String, String)>,
}

impl Instances for Scripted {
    type Instance = ScriptedInstance;

    fn fresh(&self) -> Result<ScriptedInstance, Trap> {
        Ok(ScriptedInstance { script: self.script, seen: self.seen.clone() })
    }
}

struct ScriptedInstance {
    script: Script,
    seen: mpsc::Sender<(String, String)>,
}

impl Instance for ScriptedInstance {
    fn step(&mut self, _: u64, inputs: Vec<(String, Input)>) -> Result<Vec<(String, Output)>, Trap> {
        let mut outputs = Vec::new();
        for (object, input) in inputs {
            self.seen.send((object.clone(), word(&input))).unwrap();
            match (self.script)(&object, &input) {
                Some(all) => outputs.extend(all.into_iter().map(|output| (object.clone(), output))),
                None => return Err(Trap("as told".into())),
            }
        }
        Ok(outputs)
    }
}

fn word(input: &Input) -> String {
    match input {
        Input::Started(_) => "started".into(),
        Input::Object(envelope) => format!("object {}", String::from_utf8_lossy(&envelope.msg)),
        Input::Reply(wit::Replied { answer: Ok(msg), .. }) => format!("reply {}", String::from_utf8_lossy(msg)),
        Input::Reply(wit::Replied { answer: Err(error), .. }) => format!("reply {error:?}"),
        Input::Loaded(wit::Loaded { answer, .. }) => format!("loaded {}", answer.as_ref().map_or(0, |all| all[0].len())),
        Input::Persisted(n) => format!("persisted {n}"),
        Input::PersistFailed(refused) => format!("failed {} {:?}", refused.n, refused.error),
        Input::Alarm => "alarm".into(),
        Input::Draining => "draining".into(),
        other => format!("{other:?}"),
    }
}

struct World {
    objects: Arc<Objects>,
    seen: Receiver<(String, String)>,
    _dir: TempDir,
}

fn world(shards: usize, script: Script) -> World {
    let dir = TempDir::new();
    let (objects, ends) = Objects::new(shards, 2, false);
    let options = Options { file: dir.path().join("chatcall.db"), readers: 1, shards };
    let opened = Storage::open(&options, objects.sinks()).unwrap();
    let epochs = Arc::new(AtomicU64::new(opened.first_epoch));
    let clock = Arc::new(Clock::default());
    let (tx, seen) = mpsc::channel();
    for (index, inbox) in ends.into_iter().enumerate() {
        let parts = ShardParts {
            index,
            objects: objects.clone(),
            storage: opened.storage.clone(),
            clock: clock.clone(),
            epochs: epochs.clone(),
        };
        Shard::spawn(parts, Scripted { script, seen: tx.clone() }, inbox).unwrap();
    }
    World { objects, seen, _dir: dir }
}

impl World {
    async fn call(&self, object: &str, msg: &str) -> Result<String, CallError> {
        let pending = self.objects.call(object, msg.as_bytes().to_vec())?;
        let answer = tokio::time::timeout(Duration::from_secs(10), pending).await.expect("an answer");
        answer.map(|msg| String::from_utf8(msg).unwrap())
    }

    /// The next inputs, in order.
    fn seen(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.seen.recv_timeout(Duration::from_secs(10)).expect("an input").1).collect()
    }
}

fn state(n: i64) -> wit::Statement {
    let sql = "INSERT INTO host_state (key, value) VALUES ('test', ?1)".to_owned();
    wit::Statement { sql, params: vec![wit::Value::Integer(n)] }
}

fn persist(n: u64) -> Output {
    Output::Persist(wit::Persist { n, statements: vec![state(n as i64)] })
}

fn reply(to: &Input, msg: &str) -> Output {
    let Input::Object(wit::Envelope { peer, call, .. }) = to else { panic!("{to:?}") };
    Output::Reply(wit::Envelope { peer: peer.clone(), call: *call, msg: msg.as_bytes().to_vec() })
}

fn says(input: &Input, words: &str) -> bool {
    matches!(input, Input::Object(envelope) if envelope.msg == words.as_bytes())
}

#[tokio::test]
async fn an_object_is_started_first_and_again_after_it_was_idle() {
    let world = world(1, |_, input| {
        Some(match input {
            Input::Object(_) => vec![reply(input, "pong"), Output::SetAlarm(Some(1))],
            Input::Alarm => vec![Output::Idle],
            _ => vec![],
        })
    });
    for _ in 0..2 {
        assert_eq!(world.call(ROOM, "ping").await, Ok("pong".into()));
        assert_eq!(world.seen(3), ["started", "object ping", "alarm"]);
    }
}

#[tokio::test]
async fn what_stands_behind_a_persist_comes_when_it_is_durable() {
    let world = world(1, |_, input| {
        Some(match input {
            Input::Object(_) => {
                let load = wit::Load { load: 1, store: wit::Store::Own, statements: vec![wit::Statement {
                    sql: "SELECT value FROM host_state WHERE key = 'test'".into(),
                    params: vec![],
                }] };
                vec![persist(1), Output::Load(load), reply(input, "stored")]
            }
            _ => vec![],
        })
    });
    assert_eq!(world.call(ROOM, "store").await, Ok("stored".into()));
    assert_eq!(world.seen(4), ["started", "object store", "persisted 1", "loaded 1"]);
}

#[tokio::test]
async fn a_refused_persist_fails_its_callers_and_begins_a_new_life() {
    let world = world(1, |_, input| {
        Some(match input {
            // The second row has the key of the first.
            _ if says(input, "store") => vec![persist(1), persist(2), reply(input, "never"), persist(3)],
            Input::Object(_) => vec![reply(input, "pong")],
            _ => vec![],
        })
    });
    assert_eq!(world.call(ROOM, "store").await, Err(CallError::Failed));
    assert_eq!(world.call(ROOM, "ping").await, Ok("pong".into()));
    // Whether the life still heard of its first Persist depends on the round.
    let seen: Vec<String> = world.seen.try_iter().map(|(_, word)| word).filter(|word| word != "persisted 1").collect();
    assert_eq!(seen, ["started", "object store", "failed 2 PersistError::Conflict", "started", "object ping"]);
}

#[tokio::test]
async fn a_trap_loses_the_calls_and_starts_every_object_again() {
    let world = world(1, |_, input| {
        Some(match input {
            _ if says(input, "trap") => return None,
            _ if says(input, "keep") => vec![],
            Input::Object(_) => vec![reply(input, "pong")],
            _ => vec![],
        })
    });
    let kept = world.objects.call(USER, b"keep".to_vec()).unwrap();
    assert_eq!(world.seen(2), ["started", "object keep"]);
    assert_eq!(world.call(ROOM, "trap").await, Err(CallError::Lost));
    assert_eq!(kept.await, Err(CallError::Lost));
    assert_eq!(world.seen(4), ["started", "object trap", "started", "started"]);
    assert_eq!(world.call(ROOM, "ping").await, Ok("pong".into()));
}

#[tokio::test]
async fn what_was_on_its_way_to_storage_before_a_trap_is_stored_but_not_told() {
    let world = world(1, |_, input| {
        Some(match input {
            _ if says(input, "store") => vec![persist(1), reply(input, "never")],
            _ if says(input, "trap") => return None,
            Input::Started(_) => vec![Output::Load(wit::Load { load: 1, store: wit::Store::Own, statements: vec![wit::Statement {
                sql: "SELECT value FROM host_state WHERE key = 'test'".into(),
                params: vec![],
            }] })],
            _ => vec![],
        })
    });
    let stored = world.objects.call(ROOM, b"store".to_vec()).unwrap();
    while world.seen(1) != ["object store"] {}
    let trapped = world.objects.call(USER, b"trap".to_vec()).unwrap();
    assert_eq!(trapped.await, Err(CallError::Lost));
    // Either the trap came first, or the commit did; an acknowledgement may only follow the commit.
    let answer = stored.await;
    assert!(matches!(&answer, Err(CallError::Lost)) || answer == Ok(b"never".to_vec()), "{answer:?}");
    // The new life reads after the write of the old one.
    let loaded = std::iter::from_fn(|| world.seen.recv_timeout(Duration::from_secs(2)).ok());
    let last = loaded.filter(|(object, word)| object == ROOM && word.starts_with("loaded")).last();
    assert_eq!(last, Some((ROOM.to_owned(), "loaded 1".to_owned())));
}

#[tokio::test]
async fn objects_call_each_other_over_shards() {
    let world = world(3, |object, input| {
        let ask = |to: &str| Output::Object(wit::Envelope { peer: to.into(), call: 5, msg: b"question".to_vec() });
        Some(match input {
            _ if says(input, "go") => vec![ask(USER), reply(input, "gone")],
            _ if says(input, "nowhere") => vec![ask("user/nobody"), reply(input, "gone")],
            Input::Object(_) if object == USER => vec![reply(input, "answer")],
            _ => vec![],
        })
    });
    assert_eq!(world.call(ROOM, "go").await, Ok("gone".into()));
    assert_eq!(world.seen(5), ["started", "object go", "started", "object question", "reply answer"]);
    assert_eq!(world.call(ROOM, "nowhere").await, Ok("gone".into()));
    assert_eq!(world.seen(2), ["object nowhere", "reply CallError::Lost"]);
}

#[tokio::test]
async fn gateways_hear_that_the_host_stops() {
    let world = world(1, |_, input| if let Input::Object(_) = input { Some(vec![reply(input, "x")]) } else { Some(vec![]) });
    world.call("gateway/gw-1", "wake").await.unwrap();
    world.call(ROOM, "wake").await.unwrap();
    let (told, heard) = oneshot::channel();
    world.objects.send(0, Event::Draining(told));
    heard.await.unwrap();
    assert_eq!(world.seen(5), ["started", "object wake", "started", "object wake", "draining"]);
}
