//! Connection state recovery (G-17): missed packets in order, the same session, nobody else's.

use serde_json::{Value, json};
use wire::ErrorCode;

use super::bench::{Bench, EPOCH, event, numbered, room, session, token, user};
use crate::limits;
use crate::object::{CallError, CallKey, Input, Kind, ObjectId, SocketId};
use crate::objects::{self, LiveEvent, Message, Numbered, Reacted, Removal, RoomEvent};
use crate::settings::Settings;

/// What a stock client holds of its connection.
#[derive(Debug, Clone)]
struct Client {
    socket: SocketId,
    sid: String,
    pid: String,
    offset: Option<String>,
    seqs: Vec<u64>,
    recovered: bool,
}

impl Client {
    fn connect(bench: &mut Bench, n: u64) -> Self {
        let socket = bench.open();
        bench.text(socket, &format!("40{{\"token\":\"{}\"}}", token(n, n, 900_000)));
        bench.accept(n, &[]);
        let mut client =
            Self { socket, sid: String::new(), pid: String::new(), offset: None, seqs: vec![], recovered: false };
        client.read(bench);
        assert!(!client.pid.is_empty() && !client.recovered);
        client
    }

    /// Reads what arrives, as socket.io-client does.
    fn read(&mut self, bench: &mut Bench) {
        for text in bench.texts(self.socket) {
            if let Some(answer) = text.strip_prefix("40") {
                let answer: Value = serde_json::from_str(answer).expect("JSON");
                let word = |name: &str| answer[name].as_str().expect(name).to_owned();
                self.recovered = self.pid == word("pid");
                (self.sid, self.pid) = (word("sid"), word("pid"));
            } else if text.starts_with("42") {
                let (event, offset) = event(&text);
                self.offset = offset.or(self.offset.take());
                if event[0] == "chat:message" {
                    self.seqs.push(event[1]["seq"].as_u64().expect("a seq"));
                }
            }
        }
    }

    fn cut(&self, bench: &mut Bench) {
        bench.step(Input::SocketClosed { socket: self.socket, clean: false });
    }

    /// Connects again at a gateway, as user `n`, up to the CONNECT packet.
    fn ask_again(&mut self, bench: &mut Bench, n: u64) {
        self.socket = bench.open();
        let mut auth = json!({"pid": self.pid, "token": token(n, n, 900_000)});
        if let Some(offset) = &self.offset {
            auth["offset"] = json!(offset);
        }
        bench.text(self.socket, &format!("40{auth}"));
    }

    fn reconnect(&mut self, bench: &mut Bench) {
        self.ask_again(bench, 1);
        bench.accept(1, &[]);
        self.read(bench);
    }
}

fn down(bench: &mut Bench) -> Option<(u32, u32)> {
    let found = bench.take(|_, msg| match msg {
        Message::SocketDown { sockets, kept, .. } => Some((*sockets, *kept)),
        _ => None,
    });
    found.map(|(_, counts)| counts)
}

#[test]
fn a_client_that_was_cut_off_gets_what_it_missed_and_its_session() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    let sid = client.sid.clone();
    bench.deliver(room(1), &[1], &[1, 2]);
    client.read(&mut bench);
    bench.deliver(room(1), &[1], &[3]);
    client.cut(&mut bench);
    assert_eq!(down(&mut bench), Some((0, 1)), "nobody is online by a kept session");
    bench.deliver(room(1), &[1], &[4, 5]);
    client.reconnect(&mut bench);
    assert_eq!((client.recovered, client.sid.as_str()), (true, sid.as_str()));
    bench.deliver(room(1), &[1], &[6]);
    client.read(&mut bench);
    assert_eq!(client.seqs, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_half_open_connection_gives_way() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    let old = client.socket;
    bench.deliver(room(1), &[1], &[1]);
    client.reconnect(&mut bench);
    assert!(bench.is_closed(old) && client.recovered);
    assert_eq!(client.seqs, [1], "no event had arrived: there was no offset");
    bench.deliver(room(1), &[1], &[2]);
    client.read(&mut bench);
    assert_eq!(client.seqs, [1, 2]);
    client.cut(&mut bench);
    client.reconnect(&mut bench);
    assert_eq!((client.seqs.as_slice(), client.recovered), (&[1, 2][..], true), "nothing twice");
    bench.step(Input::SocketClosed { socket: client.socket, clean: true });
    bench.advance(limits::RECOVERY_MS + 1_000);
    assert!(bench.holds_nothing());
}

#[test]
fn every_event_ends_in_an_offset_but_the_heartbeat() {
    let mut bench = Bench::new();
    let client = Client::connect(&mut bench, 1);
    bench.deliver(room(1), &[1], &[1]);
    bench.deliver_batch(room(1), &[1], 1, vec![], vec![LiveEvent::Read { user: user(1), ids: vec![], up_to: 1 }]);
    for event in ["presence:getOnline", "nonsense"] {
        bench.emit(client.socket, None, json!([event]));
    }
    let texts = bench.texts(client.socket);
    assert_eq!(texts.len(), 4);
    let offsets: Vec<_> = texts.iter().map(|text| event(text).1.expect("an offset")).collect();
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    bench.emit(client.socket, None, json!(["hb"]));
    assert_eq!(bench.texts(client.socket), [r#"42["hb"]"#]);
}

#[test]
fn one_packet_of_a_broadcast_is_the_same_for_all() {
    let mut bench = Bench::new();
    let clients: Vec<Client> = (1..=3).map(|n| Client::connect(&mut bench, n)).collect();
    bench.log.clear();
    bench.deliver(room(1), &[1, 2, 3], &[1]);
    let sends = bench.log.iter().filter(|output| matches!(output, crate::object::Output::Send { sockets, .. } if sockets.len() == 3));
    assert_eq!(sends.count(), 1);
    assert_eq!(bench.texts(clients[0].socket), bench.texts(clients[2].socket));
}

#[test]
fn a_wrong_user_an_unknown_pid_and_a_malformed_offset_begin_anew() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    bench.deliver(room(1), &[1], &[1]);
    client.read(&mut bench);
    client.cut(&mut bench);
    bench.deliver(room(1), &[1], &[2]);
    let mut thief = client.clone();
    thief.ask_again(&mut bench, 2);
    bench.accept(2, &[]);
    thief.read(&mut bench);
    assert!(!thief.recovered && thief.sid != client.sid && thief.seqs == [1]);
    for (pid, offset) in [("3.unknown", "3000000000001"), ("", ""), ("9.x", "x"), ("03.x", "+"), (&*"3.".repeat(99), "")] {
        let mut stranger = Client { pid: pid.into(), offset: Some(offset.into()), ..client.clone() };
        stranger.reconnect(&mut bench);
        assert!(!stranger.recovered && stranger.seqs == [1], "{pid}");
    }
    assert!(bench.take(|_, msg| matches!(msg, Message::TakeSession { .. }).then_some(())).is_none());
    let socket = bench.open();
    let odd = json!({"pid": [client.pid], "offset": {"a": 1}, "token": token(1, 1, 900_000)});
    bench.text(socket, &format!("40{odd}"));
    bench.accept(1, &[]);
    assert!(bench.texts(socket)[0].starts_with("40{\"sid\""));
    let mut own = client.clone();
    own.reconnect(&mut bench);
    assert_eq!((own.recovered, own.seqs.as_slice()), (true, &[1, 2][..]), "none of them took it");
    own.cut(&mut bench);
    own.offset = Some("ffffffffffff".into());
    own.reconnect(&mut bench);
    assert!(!own.recovered, "an offset that was never given");
}

#[test]
fn a_session_is_kept_for_two_minutes() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    client.cut(&mut bench);
    assert_eq!(down(&mut bench), Some((0, 1)));
    bench.advance(limits::RECOVERY_MS - 1_000);
    assert_eq!(down(&mut bench), None);
    bench.advance(2_000);
    assert_eq!(down(&mut bench), Some((0, 0)));
    assert!(bench.holds_nothing());
    client.reconnect(&mut bench);
    assert!(!client.recovered);
}

#[test]
fn more_than_is_kept_begins_anew() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    client.cut(&mut bench);
    let mut seq = 0;
    let mut bytes = 0;
    while bytes <= limits::RECOVERY_BYTES {
        seq += 1;
        let mut long = numbered(room(1), seq);
        let RoomEvent::Message { message } = &mut long.event else { panic!("a message") };
        message.content = "x".repeat(30_000);
        bytes += 30_000;
        bench.deliver_batch(room(1), &[1], seq, vec![long], vec![]);
    }
    client.reconnect(&mut bench);
    assert!(!client.recovered && client.seqs.is_empty());
}

#[test]
fn leaving_the_namespace_and_the_end_of_a_session_keep_nothing() {
    for case in 0..3 {
        let mut bench = Bench::new();
        let mut client = Client::connect(&mut bench, 1);
        if case == 0 {
            bench.text(client.socket, "41");
        }
        if case == 1 {
            client.cut(&mut bench);
        }
        bench.user_says(user(1), Message::CloseSessions { user: user(1), sessions: Some(vec![session(1)]), reason: "x".into() });
        client.reconnect(&mut bench);
        assert!(!client.recovered, "{case}");
    }
}

#[test]
fn typing_is_not_worth_keeping() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    bench.emit(client.socket, Some(1), json!(["chat:join", room(1)]));
    let (call, ()) = bench.take(|_, msg| matches!(msg, Message::Join { .. }).then_some(())).expect("asked");
    bench.reply(call, Message::Joined { seq: 0, read_seq: 0, members: vec![], generation: 1 });
    let typing = || vec![LiveEvent::Typing { user: user(2), username: "u".into(), on: true }];
    bench.deliver_batch(room(1), &[1, 2], 1, vec![numbered(room(1), 1)], typing());
    let texts = bench.texts(client.socket);
    let [_, message, typed] = &texts[..] else { panic!("{texts:?}") };
    assert_eq!(event(message).1, event(typed).1, "it says as much about what came before");
    client.offset = event(typed).1;
    client.cut(&mut bench);
    bench.deliver_batch(room(1), &[1, 2], 2, vec![], typing());
    client.reconnect(&mut bench);
    assert!(client.recovered && bench.texts(client.socket).is_empty());
    bench.deliver_batch(room(1), &[1, 2], 2, vec![], typing());
    assert_eq!(bench.events(client.socket).len(), 1, "what was opened stays open");
}

#[test]
fn a_resumed_conversation_goes_on_behind_what_was_missed() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    bench.emit(client.socket, Some(1), json!(["sync:resume", {"cursors": {room(1).to_string(): 4}}]));
    bench.heads(&[(1, 4)]);
    let (call, _) = bench.pull(1).expect("asked");
    bench.page(call, 1, 0..0, 4);
    bench.deliver(room(1), &[1], &[5]);
    client.read(&mut bench);
    client.cut(&mut bench);
    bench.deliver(room(1), &[1], &[6]);
    bench.deliver(room(1), &[1], &[9]);
    assert!(bench.pull(1).is_none(), "nobody to pull for");
    client.reconnect(&mut bench);
    let (call, (after, _)) = bench.pull(1).expect("the gap");
    assert_eq!(after, 6);
    bench.page(call, 1, 7..=9, 9);
    bench.deliver(room(1), &[1], &[10]);
    client.read(&mut bench);
    assert_eq!(client.seqs, [5, 6, 7, 8, 9, 10]);
}

#[test]
fn what_a_lost_connection_asked_for_is_not_acknowledged_to_the_next() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    bench.emit(client.socket, Some(5), json!(["chat:join", room(1)]));
    let (call, ()) = bench.take(|_, msg| matches!(msg, Message::Join { .. }).then_some(())).expect("asked");
    client.cut(&mut bench);
    client.reconnect(&mut bench);
    bench.reply(call, Message::Joined { seq: 0, read_seq: 0, members: vec![], generation: 1 });
    assert!(client.recovered && bench.texts(client.socket).is_empty());
    let typing = vec![LiveEvent::Typing { user: user(2), username: "u".into(), on: true }];
    bench.deliver_batch(room(1), &[1, 2], 0, vec![], typing);
    assert_eq!(bench.events(client.socket).len(), 1, "what was asked for is done");
}

#[test]
fn in_the_middle_of_a_resume_a_client_begins_anew() {
    for answered in [false, true] {
        let mut bench = Bench::new();
        let mut client = Client::connect(&mut bench, 1);
        bench.deliver(room(1), &[1], &[4]);
        client.read(&mut bench);
        bench.emit(client.socket, Some(1), json!(["sync:resume", {"cursors": {room(1).to_string(): 2}}]));
        bench.heads(&[(1, 4)]);
        let (call, _) = bench.pull(1).expect("asked");
        if answered {
            bench.page(call, 1, 3..=4, 4);
        }
        client.cut(&mut bench);
        client.reconnect(&mut bench);
        assert!(!client.recovered, "it has no answer, so it asks again");
    }
}

#[test]
fn a_resume_behind_a_recovery_starts_from_what_that_sent() {
    for (cursor, wanted) in [(5, 9), (7, 9), (8, 9), (4, 5), (2, 3)] {
        let mut bench = Bench::new();
        let mut client = Client::connect(&mut bench, 1);
        let resume = |cursor: u64| json!(["sync:resume", {"cursors": {room(1).to_string(): cursor}}]);
        bench.emit(client.socket, Some(1), resume(4));
        bench.heads(&[(1, 4)]);
        let (call, _) = bench.pull(1).expect("asked");
        bench.page(call, 1, 0..0, 4);
        bench.deliver(room(1), &[1], &[5]);
        client.read(&mut bench);
        client.cut(&mut bench);
        bench.deliver(room(1), &[1], &[6]);
        bench.deliver(room(1), &[1], &[7, 8]);
        client.reconnect(&mut bench);
        // A stock client asks as soon as it is connected, before it has read what follows.
        bench.emit(client.socket, Some(2), resume(cursor));
        bench.heads(&[(1, 8)]);
        let (call, (after, _)) = bench.pull(1).expect("asked");
        assert_eq!(after + 1, wanted, "{cursor}");
        bench.page(call, 1, wanted..=8, 8);
        bench.deliver(room(1), &[1], &[9]);
        client.read(&mut bench);
        assert_eq!(client.seqs.iter().filter(|seq| **seq == 8).count(), if wanted == 9 { 1 } else { 2 });
        assert_eq!(client.seqs.last(), Some(&9));
        // Once: who asks again for the same gets it.
        bench.emit(client.socket, Some(3), resume(5));
        bench.heads(&[(1, 9)]);
        assert_eq!(bench.pull(1).expect("asked").1.0, 5);
    }
}

#[test]
fn what_was_missed_is_written_as_the_socket_drains() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    client.cut(&mut bench);
    for seq in 1..=250 {
        bench.deliver(room(1), &[1], &[seq]);
    }
    client.reconnect(&mut bench);
    assert_eq!(client.seqs.len(), limits::REPLAY_CHUNK_EVENTS);
    bench.deliver(room(1), &[1], &[251]);
    while let Some(socket) = bench.drains.pop() {
        bench.step(Input::Drained { socket });
        client.read(&mut bench);
    }
    bench.deliver(room(1), &[1], &[252]);
    client.read(&mut bench);
    assert_eq!(client.seqs, (1..=252).collect::<Vec<_>>());
}

#[test]
fn polling_clients_recover_too_and_go_on_after_an_upgrade() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    client.cut(&mut bench);
    bench.deliver(room(1), &[1], &[1, 2]);
    let sid = bench.poll_session();
    let query = format!("EIO=4&transport=polling&sid={sid}");
    bench.post(&query, &format!("40{}", json!({"pid": client.pid, "token": token(1, 1, 900_000)})));
    bench.accept(1, &[]);
    let get = bench.get(&query);
    let (_, body) = bench.answered(get).expect("at once");
    let packets: Vec<&str> = body.split('\u{1e}').collect();
    assert_eq!(packets.len(), 3, "{body}");
    assert!(packets[0].contains(&client.pid) && packets[0].contains(&client.sid));
    client.offset = event(packets[2]).1;
    let socket = bench.open_at("/socket.io/", &format!("EIO=4&transport=websocket&sid={sid}"));
    bench.text(socket, "2probe");
    bench.deliver(room(1), &[1], &[3]);
    bench.text(socket, "5");
    client.socket = socket;
    client.read(&mut bench);
    bench.deliver(room(1), &[1], &[4]);
    client.read(&mut bench);
    assert_eq!(client.seqs, [3, 4]);
    client.cut(&mut bench);
    bench.deliver(room(1), &[1], &[5]);
    client.reconnect(&mut bench);
    assert_eq!((client.recovered, client.seqs.as_slice()), (true, &[3, 4, 5][..]));
}

#[test]
fn pongs_free_what_has_arrived() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    bench.deliver(room(1), &[1], &[1, 2]);
    client.read(&mut bench);
    let early = client.offset.clone();
    bench.deliver(room(1), &[1], &[3]);
    client.read(&mut bench);
    bench.advance(21_000);
    bench.deliver(room(1), &[1], &[4]);
    bench.text(client.socket, "3");
    client.cut(&mut bench);
    let mut older = Client { offset: early, ..client.clone() };
    client.reconnect(&mut bench);
    assert_eq!((client.recovered, client.seqs.as_slice()), (true, &[1, 2, 3, 4][..]));
    client.cut(&mut bench);
    older.reconnect(&mut bench);
    assert!(!older.recovered, "it has answered a ping behind more than that");
}

#[test]
fn a_gateway_in_a_new_life_refuses_honestly() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    bench.deliver(room(1), &[1], &[1]);
    client.read(&mut bench);
    bench.restart(&[]);
    client.reconnect(&mut bench);
    assert!(!client.recovered);
}

#[test]
fn a_socket_that_slept_recovers_from_what_it_got_since() {
    let mut bench = Bench::sleeping();
    let mut client = Client::connect(&mut bench, 1);
    bench.deliver(room(1), &[1], &[1]);
    client.read(&mut bench);
    bench.wake(&[client.socket], EPOCH);
    bench.told(&[1]);
    let before = client.clone();
    bench.deliver(room(1), &[1], &[2]);
    client.read(&mut bench);
    client.cut(&mut bench);
    bench.deliver(room(1), &[1], &[3]);
    client.reconnect(&mut bench);
    assert_eq!((client.recovered, client.seqs.as_slice()), (true, &[1, 2, 3][..]));
    client.cut(&mut bench);
    let mut before = before;
    before.reconnect(&mut bench);
    assert!(!before.recovered, "what was sent before the sleep is forgotten");
}

#[test]
fn where_gateways_sleep_a_kept_session_ends_with_a_sweep_and_wakes_nobody_later() {
    let mut bench = Bench::sleeping();
    let client = Client::connect(&mut bench, 1);
    client.cut(&mut bench);
    let told = |bench: &mut Bench| {
        bench.take(|_, msg| match msg {
            Message::SocketDown { kept, .. } => Some(*kept),
            _ => None,
        })
    };
    let (call, kept) = told(&mut bench).expect("told");
    bench.stored.clear();
    bench.reply(call, Message::Done);
    assert!(kept == 1 && bench.stored.is_empty(), "the next life has to tell its end");
    bench.advance(limits::SWEEP_MS);
    let (call, kept) = told(&mut bench).expect("told again");
    bench.reply(call, Message::Done);
    assert_eq!((kept, bench.stored.len()), (0, 1));
    assert_eq!(crate::object::Object::poll_timeout(&bench.gateway), None);
}

// ---- at another gateway

fn gateways() -> (Bench, Bench) {
    let settings = || Settings { rate_limits: false, gateways: 5, ..Settings::default() };
    (Bench::named("gw-3", settings()), Bench::named("gw-4", Settings { gateways: 5, ..settings() }))
}

/// `to` asks `from` (by name), which answers.
fn pass(to: &mut Bench, name: &str, from: &mut Bench) {
    let (call, msg) = to
        .take(|id, msg| (id.kind == Kind::Gateway && matches!(msg, Message::TakeSession { .. })).then(|| msg.clone()))
        .expect("asked");
    // As it travels.
    let msg = Message::from_bytes(&msg.to_bytes());
    from.step(Input::Object { from: ObjectId::new(Kind::Gateway, name), call: CallKey(9), msg });
    let answer = from.replies.pop().expect("an answer");
    to.reply(call, Message::from_bytes(&answer.to_bytes()));
}

#[test]
fn another_gateway_takes_a_session_over() {
    let (mut home, mut other) = gateways();
    let mut client = Client::connect(&mut home, 1);
    let (sid, pid) = (client.sid.clone(), client.pid.clone());
    assert!(pid.starts_with("3."));
    home.emit(client.socket, Some(1), json!(["sync:resume", {"cursors": {room(1).to_string(): 0}}]));
    home.heads(&[(1, 0)]);
    let (call, _) = home.pull(1).expect("asked");
    home.page(call, 1, 0..0, 0);
    home.deliver(room(1), &[1], &[1, 2]);
    home.deliver(room(2), &[1], &[7]);
    client.read(&mut home);
    assert_eq!(client.seqs, [1, 2, 7]);
    client.cut(&mut home);
    home.deliver(room(1), &[1], &[3]);
    client.ask_again(&mut other, 1);
    other.accept(1, &[]);
    assert!(other.texts(client.socket).is_empty(), "the other gateway is asked first");
    pass(&mut other, "gw-4", &mut home);
    client.read(&mut other);
    assert_eq!((client.recovered, &client.sid, &client.pid), (true, &sid, &pid));
    assert_eq!(client.seqs, [1, 2, 7, 3]);
    assert!(home.holds_nothing());
    // It pulls what came between the two, from where the session was.
    let (call, (after, _)) = other.pull(1).expect("asked");
    assert_eq!(after, 3);
    other.page(call, 1, 4..=5, 5);
    other.deliver(room(1), &[1], &[6]);
    client.read(&mut other);
    assert_eq!(client.seqs, [1, 2, 7, 3, 4, 5, 6]);
    // And back again: the home knows where it is.
    client.cut(&mut other);
    other.deliver(room(1), &[1], &[7]);
    client.ask_again(&mut home, 1);
    home.accept(1, &[]);
    pass(&mut home, "gw-3", &mut other);
    client.read(&mut home);
    assert_eq!((client.recovered, client.seqs.last(), &client.pid), (true, Some(&7), &pid));
}

#[test]
fn a_conversation_without_a_cursor_is_pulled_once_from_what_was_written() {
    let (mut home, mut other) = gateways();
    let mut client = Client::connect(&mut home, 1);
    home.deliver(room(2), &[1], &[7]);
    client.read(&mut home);
    client.cut(&mut home);
    client.ask_again(&mut other, 1);
    other.accept(1, &[]);
    pass(&mut other, "gw-4", &mut home);
    client.read(&mut other);
    let (call, (after, _)) = other.pull(2).expect("what came between the two");
    assert_eq!(after, 7);
    other.deliver(room(2), &[1], &[8, 9]);
    other.page(call, 2, 8..=9, 9);
    client.read(&mut other);
    other.deliver(room(2), &[1], &[9, 10]);
    client.read(&mut other);
    assert_eq!((client.recovered, client.seqs.as_slice()), (true, &[7, 8, 9, 10][..]));
    assert!(other.pull(2).is_none());
    other.text(client.socket, "3");
    let marked = other.take(|_, msg| match msg {
        Message::MarkDelivered { up_to, .. } => Some(*up_to),
        _ => None,
    });
    assert_eq!(marked.map(|(_, up_to)| up_to), Some(10), "it goes on live: what is written is marked when it has arrived");
}

#[test]
fn a_resume_after_a_recovery_with_holes_is_an_ordinary_one() {
    let (mut home, mut other) = gateways();
    let mut client = Client::connect(&mut home, 1);
    client.cut(&mut home);
    // Live only: a batch in between was lost.
    home.deliver(room(1), &[1], &[3]);
    home.deliver(room(1), &[1], &[6]);
    client.ask_again(&mut other, 1);
    other.accept(1, &[]);
    pass(&mut other, "gw-4", &mut home);
    assert!(other.pull(1).is_some());
    other.emit(client.socket, Some(1), json!(["sync:resume", {"cursors": {room(1).to_string(): 4}}]));
    other.heads(&[(1, 6)]);
    assert_eq!(other.pull(1).expect("asked").1.0, 4);
}

#[test]
fn the_home_sends_a_third_gateway_to_the_one_that_has_the_session() {
    let (mut home, mut second) = gateways();
    let mut third = Bench::named("gw-2", Settings { rate_limits: false, gateways: 5, ..Settings::default() });
    let mut client = Client::connect(&mut home, 1);
    client.cut(&mut home);
    client.ask_again(&mut second, 1);
    second.accept(1, &[]);
    pass(&mut second, "gw-4", &mut home);
    second.deliver(room(1), &[1], &[1]);
    client.read(&mut second);
    client.ask_again(&mut third, 1);
    third.accept(1, &[]);
    pass(&mut third, "gw-2", &mut home);
    pass(&mut third, "gw-2", &mut second);
    client.read(&mut third);
    assert_eq!((client.recovered, client.seqs.as_slice()), (true, &[1][..]));
    assert!(second.holds_nothing(), "its half-open connection was closed");
}

#[test]
fn the_gateway_that_spoke_last_is_found_though_the_home_forgot_it() {
    let (mut home, mut other) = gateways();
    let mut third = Bench::named("gw-2", Settings { rate_limits: false, gateways: 5, ..Settings::default() });
    let mut client = Client::connect(&mut home, 1);
    client.cut(&mut home);
    client.ask_again(&mut other, 1);
    other.accept(1, &[]);
    pass(&mut other, "gw-4", &mut home);
    home.restart(&[]);
    other.deliver(room(1), &[1], &[1]);
    client.read(&mut other);
    client.cut(&mut other);
    other.deliver(room(1), &[1], &[2]);
    client.ask_again(&mut third, 1);
    third.accept(1, &[]);
    pass(&mut third, "gw-2", &mut other);
    client.read(&mut third);
    assert_eq!((client.recovered, client.seqs.as_slice()), (true, &[1, 2][..]));
    // Where nobody has it, the home is asked last.
    client.cut(&mut third);
    third.advance(limits::RECOVERY_MS + 1_000);
    client.ask_again(&mut other, 1);
    other.accept(1, &[]);
    pass(&mut other, "gw-4", &mut third);
    pass(&mut other, "gw-4", &mut home);
    client.read(&mut other);
    assert!(!client.recovered);
}

#[test]
fn a_gateway_hands_nothing_to_a_stranger_and_a_silent_one_delays_nobody_for_long() {
    let (mut home, mut other) = gateways();
    let client = Client::connect(&mut home, 1);
    client.cut(&mut home);
    let take = |user, from: ObjectId| {
        let msg = Message::TakeSession { pid: client.pid.clone(), user, dialect: "chatcall".into(), offset: String::new() };
        Input::Object { from, call: CallKey(9), msg }
    };
    home.step(take(user(2), ObjectId::new(Kind::Gateway, "gw-4")));
    assert_eq!(home.replies.pop(), Some(Message::Done), "another user");
    home.step(take(user(1), objects::user(user(1))));
    assert_eq!(home.replies.pop(), Some(Message::Done), "no gateway");
    let mut twin = client.clone();
    for outcome in [Err(CallError::Lost), Ok(Message::Unknown)] {
        twin.pid.clone_from(&client.pid);
        twin.ask_again(&mut other, 1);
        other.accept(1, &[]);
        let (call, ()) = other.take(|_, msg| matches!(msg, Message::TakeSession { .. }).then_some(())).expect("asked");
        other.step(Input::Reply { call, result: outcome });
        twin.read(&mut other);
        assert!(!twin.recovered);
    }
    twin.pid.clone_from(&client.pid);
    twin.ask_again(&mut other, 1);
    other.accept(1, &[]);
    let (call, ()) = other.take(|_, msg| matches!(msg, Message::TakeSession { .. }).then_some(())).expect("asked");
    other.step(Input::SocketClosed { socket: twin.socket, clean: false });
    other.refused(call, ErrorCode::NotFound);
}

#[test]
fn nothing_of_a_conversation_that_was_left_after_the_loss_is_recovered() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    bench.deliver(room(1), &[1], &[1, 2]);
    client.read(&mut bench);
    // Written, and lost on the way.
    bench.deliver(room(1), &[1], &[3]);
    client.cut(&mut bench);
    bench.deliver_batch(room(1), &[1], 4, vec![numbered(room(1), 4)], vec![LiveEvent::Read { user: user(1), ids: vec![], up_to: 1 }]);
    bench.deliver(room(2), &[1], &[50]);
    let gone = LiveEvent::Dismissed { user: user(1), reason: Removal::Removed };
    let (room_id, users) = (room(1), Some(vec![]));
    let msg = Message::Deliver { room: room_id, epoch: EPOCH, audience: 9, users, head: 5, durable: vec![], live: vec![gone] };
    bench.room_says(room(1), msg);
    client.ask_again(&mut bench, 1);
    bench.accept(1, &[]);
    let texts = bench.texts(client.socket);
    let names: Vec<Value> = texts.iter().filter(|text| text.starts_with("42")).map(|text| event(text).0[0].clone()).collect();
    assert_eq!(names, ["chat:message", "conversation:removed"], "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("\"seq\":50")) && texts[0].contains(&client.sid), "{texts:?}");
}

#[test]
fn who_reacted_recovers_the_packet_that_was_meant_for_them() {
    let mut bench = Bench::new();
    let mut clients: Vec<Client> = (1..=3).map(|n| Client::connect(&mut bench, n)).collect();
    bench.deliver(room(1), &[1, 2, 3], &[1]);
    clients.iter_mut().for_each(|client| client.read(&mut bench));
    clients.iter().for_each(|client| client.cut(&mut bench));
    let reactions = vec![wire::Reaction { emoji: "👍".into(), count: 2, user_ids: vec![user(1), user(3)], me: false }];
    let message_id = super::bench::message_id(1);
    let reacted = Reacted { message_id, user_id: user(3), emoji: "👍".into(), on: true, reactions };
    bench.deliver_batch(room(1), &[1, 2, 3], 2, vec![Numbered { seq: 2, event: RoomEvent::Reaction(reacted) }], vec![]);
    bench.deliver(room(1), &[1, 2, 3], &[3]);
    for (client, n) in clients.iter_mut().zip(1..) {
        client.ask_again(&mut bench, n);
        bench.accept(n, &[]);
        let texts = bench.texts(client.socket);
        let events: Vec<(Value, Option<String>)> = texts.iter().filter(|text| text.starts_with("42")).map(|text| event(text)).collect();
        assert_eq!(events.len(), 2, "{texts:?}");
        assert_eq!(events[0].0[1]["reactions"][0]["me"], json!(n != 2));
        assert!(events[0].1.is_some() && events[0].1 < events[1].1);
    }
}

#[test]
fn whoever_is_back_in_a_conversation_is_replayed_what_no_recovery_brought() {
    let mut bench = Bench::new();
    let mut client = Client::connect(&mut bench, 1);
    let cursors = json!({room(1).to_string(): 0});
    bench.emit(client.socket, Some(1), json!(["sync:resume", {"cursors": cursors}]));
    bench.heads(&[(1, 1)]);
    let (call, _) = bench.pull(1).expect("asked");
    bench.page(call, 1, 1..=1, 1);
    client.read(&mut bench);
    client.cut(&mut bench);
    client.reconnect(&mut bench);
    assert!(client.recovered);
    let gone = LiveEvent::Dismissed { user: user(1), reason: Removal::Removed };
    for (audience, users, durable, live) in
        [(8, vec![], vec![], vec![gone]), (9, vec![user(1)], vec![numbered(room(1), 5)], vec![])]
    {
        let (room_id, users) = (room(1), Some(users));
        bench.room_says(room_id, Message::Deliver { room: room_id, epoch: EPOCH, audience, users, head: 5, durable, live });
    }
    client.read(&mut bench);
    bench.emit(client.socket, Some(2), json!(["sync:resume", {"cursors": {room(1).to_string(): 1}}]));
    bench.heads(&[(1, 5)]);
    let (_, (after, _)) = bench.pull(1).expect("asked");
    assert_eq!((after, client.seqs.as_slice()), (1, &[1, 5][..]));
}
