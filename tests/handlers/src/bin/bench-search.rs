//! `cargo xtask bench search`: how long a search takes (G-07) in a people database with a million messages in a file, through
//! the handler, and what it costs to enter them. Nothing fails by being slow.
//!
//! Rooms answer from the index itself: what they cost is not in these numbers.

use std::time::{Duration, Instant};

use edge_core::http::{self, Request};
use edge_core::object::{CallError, Kind};
use edge_core::objects::Message;
use edge_core::platform::{Platform, StoreError};
use edge_core::search::fold;
use edge_core::settings::Settings;
use edge_core::sql::{Rows, Statement, search};
use handlers::{Person, RequestExt, World, request};
use wire::{Message as WireMessage, MessageId, MessageKind, RoomId, Timestamp, UserId, uuid_v7};

const ROOMS: u64 = 5_000;
const SYLLABLES: [&str; 24] = [
    "ka", "to", "mi", "re", "san", "lo", "ver", "ta", "the", "in", "er", "po", "qu", "zu", "bra", "ne", "di", "al", "us", "om", "gi",
    "fa", "sto", "ly",
];
const START: u64 = 1_700_000_000_000;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }

    /// Small numbers are much more frequent, as words are.
    fn skewed(&mut self, n: u64) -> u64 {
        let x = self.below(1 << 32) as f64 / (1_u64 << 32) as f64;
        (((n + 10) as f64 / 10.0).powf(x) * 10.0 - 10.0) as u64
    }
}

struct Corpus {
    world: World,
    people: Vec<(&'static str, Person)>,
    words: Vec<String>,
}

fn room(n: u64) -> RoomId {
    RoomId(uuid_v7(1, 0, n))
}

fn build(file: &std::path::Path, messages: u64) -> Corpus {
    let world = World::in_file(file);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let words: Vec<String> = (0..20_000)
        .map(|_| (0..=dice.below(3)).map(|_| SYLLABLES[dice.below(24) as usize]).collect())
        .collect();
    let begun = Instant::now();
    world.sql("PRAGMA journal_mode=WAL", vec![]);
    // As the readers of the own host.
    world.sql("PRAGMA cache_size=-8192", vec![]);
    let people: Vec<(&'static str, Person, u64)> =
        [("in 20", 20), ("in 100", 100), ("in 1,000", 1_000), ("in all", ROOMS)].map(|(name, count)| (name, world.person(&name.replace([' ', ','], "")), count)).into();
    world.sql("BEGIN", vec![]);
    for n in 0..ROOMS {
        let sql = "INSERT INTO conversation_heads VALUES (?1,0,'group',?2,NULL,NULL,0,1,0,0,NULL,NULL,0)";
        world.sql(sql, vec![room(n).into(), format!("Room {n}").into()]);
    }
    for (_, person, count) in &people {
        for n in 0..*count {
            let sql = "INSERT INTO members_by_user (user_id, room_id, version, role, joined_at, left_at, delivered_seq, read_seq, read_count) VALUES (?1,?2,1,'member',0,NULL,0,0,0)";
            world.sql(sql, vec![person.id.into(), room(n * (ROOMS / count)).into()]);
        }
    }
    world.sql("COMMIT", vec![]);
    println!("{ROOMS} conversations, {} people in {:.1} s", people.len(), begun.elapsed().as_secs_f64());

    // Busy and quiet conversations; batches as Rooms write them, each durable.
    let mut seqs = vec![0_u64; ROOMS as usize];
    let (mut entered, mut spent, mut slowest, mut batches) = (0, Duration::ZERO, Duration::ZERO, 0_u64);
    world.sql("PRAGMA synchronous=OFF", vec![]);
    while entered < messages {
        let at = dice.skewed(ROOMS) % ROOMS;
        let (from, count) = (seqs[at as usize], (1 + dice.below(20)).min(messages - entered));
        let entries: Vec<_> = (1..=count)
            .map(|k| {
                let n = entered + k;
                let mut text: Vec<&str> = (0..3 + dice.below(18)).map(|_| words[dice.skewed(20_000) as usize % 20_000].as_str()).collect();
                if n % 10_000 == 7 {
                    text.push("zebra crossing");
                }
                if n % 50_000 == 11 {
                    text.push("會議記錄");
                }
                let sender = UserId(uuid_v7(2, 0, dice.below(1_000))).to_string();
                (from + k, Some(sender), "text", START + n * 1_000, fold(&text.join(" ")))
            })
            .collect();
        let statement = search::enter(room(at), from, from + count, serde_json::to_string(&entries).expect("JSON"));
        let begun = Instant::now();
        world.run(statement);
        let took = begun.elapsed();
        (spent, slowest, batches) = (spent + took, slowest.max(took), batches + 1);
        seqs[at as usize] += count;
        entered += count;
    }
    world.sql(
        "UPDATE conversation_heads SET active_at=coalesce((SELECT max(created_at) FROM message_index x JOIN message_rooms r \
         ON x.id BETWEEN r.ordinal*4294967296 AND r.ordinal*4294967296+4294967295 WHERE r.room_id=conversation_heads.room_id), 0)",
        vec![],
    );
    let mb = |sql: &'static str| world.sql(sql, vec![]).first().and_then(|row| row[0].as_i64()).unwrap_or(0) as f64 / 1e6;
    println!(
        "{entered} messages in {batches} batches (mean {:.1}): {:.1} us a message, slowest batch {:.1} ms, syncs not counted",
        entered as f64 / batches as f64,
        spent.as_secs_f64() * 1e6 / entered as f64,
        slowest.as_secs_f64() * 1e3
    );
    println!(
        "text {:.0} MB, full text {:.0} MB, file {:.0} MB",
        mb("SELECT sum(length(CAST(content AS BLOB))) FROM message_index"),
        mb("SELECT sum(length(block)) FROM message_fts_data"),
        mb("SELECT page_count*page_size FROM pragma_page_count, pragma_page_size")
    );
    Corpus { world, people: people.into_iter().map(|(name, person, _)| (name, person)).collect(), words }
}

/// Rooms that show what the index has.
struct Bench<'a>(&'a World);

impl Platform for Bench<'_> {
    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        self.0.read(statement).await
    }

    async fn people_batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        self.0.people_batch(statements).await
    }

    async fn object(&self, _kind: Kind, name: &str, msg: Message) -> Result<Message, CallError> {
        let (Some(id), Message::Look { seqs, .. }) = (RoomId::parse(name), msg) else { return Ok(Message::Done) };
        let mut messages = Vec::new();
        for seq in seqs {
            let sql = "SELECT content FROM message_index JOIN message_rooms ON id=ordinal*4294967296+?2 WHERE room_id=?1";
            let rows = self.0.read(Statement::new(sql, vec![name.into(), seq.into()])).await.unwrap_or_default();
            let content = rows.first().and_then(|row| row.first()?.as_str()).unwrap_or_default().to_owned();
            messages.push(message(id, seq, content));
        }
        Ok(Message::HistoryPage { messages, next_before: None })
    }

    fn now(&self) -> Timestamp {
        self.0.now.get()
    }

    fn random(&self) -> [u8; 32] {
        self.0.random()
    }
}

fn message(conversation_id: RoomId, seq: u64, content: String) -> WireMessage {
    WireMessage {
        id: MessageId(uuid_v7(3, 0, seq)),
        conversation_id,
        seq,
        client_id: None,
        sender_id: None,
        sender_username: String::new(),
        sender_avatar_url: None,
        content,
        kind: MessageKind::Text,
        file_url: None,
        attachments: Vec::new(),
        reply_to: None,
        reactions: Vec::new(),
        read_by: Vec::new(),
        created_at: Timestamp(0),
        edited_at: None,
        deleted_at: None,
        metadata: None,
    }
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let messages = if quick { 100_000 } else { 1_000_000 };
    let folder = std::env::temp_dir().join(format!("chatcall-search-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let corpus = build(&folder.join("people.db"), messages);
    let word = |from: usize, long: usize| corpus.words.iter().skip(from).find(|word| word.len() >= long).cloned().unwrap_or_default();
    let questions: Vec<(&str, String)> = vec![
        ("rare word", "q=zebra".to_owned()),
        ("rare phrase", "q=zebra+crossing".to_owned()),
        ("rare, words apart", "q=crossing+zebra".to_owned()),
        ("nowhere", "q=xyzzyx".to_owned()),
        ("most frequent word", format!("q={}", word(0, 3))),
        ("frequent word", format!("q={}", word(100, 5))),
        ("word of the middle", format!("q={}", word(5_000, 6))),
        ("two frequent words", format!("q={}+{}", word(0, 4), word(10, 4))),
        ("2 characters, frequent", "q=th".to_owned()),
        ("2 characters, nowhere", "q=qx".to_owned()),
        ("2 characters, CJK, rare", "q=%E6%9C%83%E8%AD%B0".to_owned()),
        ("frequent, by a person, in a time", format!("q={}&from={}&before=2023-11-20T00:00:00Z", word(0, 3), UserId(uuid_v7(2, 0, 5)))),
        ("frequent, in one conversation", format!("q={}&conversationId={}", word(0, 3), room(0))),
        ("frequent, has=image (none)", format!("q={}&has=image", word(0, 3))),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let bench = Bench(&corpus.world);
    let mut all: Vec<f64> = Vec::new();
    println!("\nmilliseconds, median and slowest of 7 (hits)\n{:<34}{}", "", corpus.people.iter().map(|(name, _)| format!("{name:>22}")).collect::<String>());
    for (name, question) in &questions {
        let mut line = format!("{name:<34}");
        for (_, person) in &corpus.people {
            let mut hits = 0;
            let mut times: Vec<f64> = (0..7)
                .map(|_| {
                    let asked: Request = request("GET", &format!("/api/chats/search?{question}")).bearer(&person.access);
                    let begun = Instant::now();
                    let answer = runtime.block_on(http::handle(&bench, asked));
                    let took = begun.elapsed().as_secs_f64() * 1e3;
                    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
                    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                    hits = body["hits"].as_array().map_or(0, Vec::len);
                    took
                })
                .collect();
            times.sort_by(f64::total_cmp);
            all.extend(&times);
            line += &format!("{:>10.1}{:>8.1} {:>3}", times[3], times[6], format!("({hits})"));
        }
        println!("{line}");
    }
    all.sort_by(f64::total_cmp);
    let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize];
    println!("\nall: p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, slowest {:.1} ms", at(0.5), at(0.95), at(0.99), at(1.0));
    drop(corpus);
    let _ = std::fs::remove_dir_all(&folder);
}
