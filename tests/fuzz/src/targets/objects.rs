//! Rooms and Users that are told anything. What comes from another host is signed, and may still be of another version.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::rc::Rc;

use edge_core::content::check;
use edge_core::object::{CallKey, Input, Kind, Object, ObjectId, Output};
use edge_core::objects::{self, Actor, Location, Message, Profile};
use edge_core::room::Room;
use edge_core::settings::Settings;
use edge_core::user::User;
use serde_json::Value;
use wire::{ConversationType, RoomId, Timestamp, UserId};

const START: Timestamp = Timestamp(1_772_357_400_000);
/// Generous: what an object may take, written out, after an input of a few kilobytes.
const MOST_STATE_BYTES: usize = 512 * 1024;
/// Outputs that one input may lead to.
const MOST_OUTPUTS: usize = 10_000;

pub(super) fn user(n: usize) -> UserId {
    UserId(wire::uuid_v7(START.0, 1, n as u64))
}

fn room() -> RoomId {
    RoomId(wire::uuid_v7(START.0, 2, 1))
}

/// One object whose storage is empty; other objects answer what is likely.
struct Alone<O> {
    object: O,
    now: Timestamp,
    calls: u64,
    replies: Vec<(CallKey, Message)>,
}

impl<O: Object + Debug> Alone<O> {
    fn new(object: O) -> Self {
        let mut alone = Self { object, now: START, calls: 0, replies: Vec::new() };
        alone.give(Input::Started { sockets: Vec::new(), epoch: 1 << 20, seed: [3; 32] });
        alone
    }

    fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut outputs = 0;
        while let Some(input) = inputs.pop_front() {
            self.object.handle(input, self.now);
            while let Some(output) = self.object.poll_output() {
                outputs += 1;
                assert!(outputs < MOST_OUTPUTS, "it never ends: {output:?}");
                inputs.extend(self.answer(output));
            }
        }
    }

    fn answer(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Load { load, statements, .. } => Some(Input::Loaded { load, result: Ok(vec![Vec::new(); statements.len()]) }),
            Output::Persist { n, statements } => {
                assert!(statements.iter().all(|one| one.params.len() <= 100));
                Some(Input::Persisted { n })
            }
            Output::Project { n, .. } => Some(Input::Persisted { n }),
            Output::Object { to, call, msg } if call != CallKey::NONE => {
                let result = Ok(match msg {
                    Message::Locate { .. } | Message::MembershipChanged { .. } => {
                        let user = UserId::parse(&to.name).expect("a user's name is an id");
                        let gateways = vec![Location { gateway: "gw-0".into(), epoch: 7 }];
                        Message::Moved { user, epoch: 1, version: 1, gateways }
                    }
                    Message::Deliver { .. } => Message::Accepted { stale: false, unknown_audience: false },
                    Message::Verify { .. } => Message::Present { epoch: 7, sockets: 1, kept: 0 },
                    _ => Message::Done,
                });
                Some(Input::Reply { call, result })
            }
            Output::Reply { call, msg, .. } => {
                self.replies.push((call, msg));
                None
            }
            Output::Object { .. } => None,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// A question, and its one answer.
    fn ask(&mut self, from: ObjectId, msg: Message) -> Message {
        self.calls += 1;
        let call = CallKey(self.calls);
        let shown = format!("{msg:?}");
        self.give(Input::Object { from, call, msg });
        let mut answers = self.replies.extract_if(.., |(answered, _)| *answered == call);
        let answer = answers.next().unwrap_or_else(|| panic!("no answer to {shown}"));
        assert!(answers.next().is_none(), "two answers to {shown}");
        answer.1
    }

    fn advance(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while let Some(at) = self.object.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.give(Input::Alarm);
            if self.object.is_idle(self.now) {
                // The host drops it.
                break;
            }
            let next = self.object.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "an alarm that changes nothing");
        }
        self.now = end;
    }

    /// Lines of `<kind>/<name> <message>`, or `+<ms>` that pass. Answers whether one was taken.
    fn play(&mut self, text: &str) -> bool {
        let mut taken = false;
        let mut sent = Vec::new();
        for line in text.lines() {
            if let Some(ms) = line.strip_prefix('+') {
                self.advance(ms.parse::<u64>().unwrap_or_default().min(600_000));
                continue;
            }
            let Some((from, json)) = line.split_once(' ') else { continue };
            let Some(from) = ObjectId::parse(from) else { continue };
            let answer = self.ask(from, Message::from_bytes(filled(json, &sent).as_bytes()));
            if let Message::Sent { message, .. } = &answer {
                sent.push(message.id.to_string());
            }
            taken |= !matches!(answer, Message::Done | Message::Refused { .. });
        }
        self.advance(600_000);
        let state = format!("{:?}", self.object).len();
        assert!(state <= MOST_STATE_BYTES, "{state} bytes of state");
        taken
    }
}

/// `<1>` is the first person, `<room>` the conversation, `<m1>` the first message.
fn filled(json: &str, sent: &[String]) -> String {
    let mut json = json.replace("<room>", &room().to_string());
    for n in 1..=4 {
        json = json.replace(&format!("<{n}>"), &user(n).to_string());
    }
    for (at, id) in sent.iter().enumerate() {
        json = json.replace(&format!("<m{}>", at + 1), id);
    }
    json
}

/// A group of [`Conversation::NAMES`].
pub(super) struct Conversation(Alone<Room>);

impl Conversation {
    pub(super) const NAMES: [&str; 4] = ["ann", "bob", "bob.b", "x-"];

    pub(super) fn new(settings: &Settings) -> Self {
        let settings = Settings { rate_limits: false, ..settings.clone() };
        let mut alone = Alone::new(Room::new(room(), Rc::new(settings)));
        let member = |(at, name): (usize, &&str)| Profile {
            id: user(at + 1),
            username: (*name).to_owned(),
            display_name: (*name).to_owned(),
            avatar_url: None,
            status: String::new(),
            receipts: true,
        };
        let members = Self::NAMES.iter().enumerate().map(member).collect();
        let create = Message::Create { kind: ConversationType::Group, name: None, by: user(1), members };
        let made = alone.ask(ObjectId::new(Kind::Http, "1"), create);
        assert!(matches!(made, Message::View { .. }));
        Self(alone)
    }

    /// Person `n` sends a text.
    pub(super) fn send(&mut self, n: usize, text: &str) -> Message {
        let text = Value::String(text.to_owned());
        let message = check(Some(&text), None, None, None, None, &Settings::default()).expect("a text");
        let from = Actor { id: user(n), username: Self::NAMES[n - 1].to_owned() };
        self.0.ask(objects::gateway(0), Message::Send { from, message })
    }
}

/// What others say to a Room: one answer each, and a state in proportion.
pub(super) fn room_messages(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let sleeps = text.starts_with("sleeps");
    let mut settings = Settings::default();
    if sleeps {
        settings.hibernate();
    }
    Conversation::new(&settings).0.play(text)
}

/// The same for a User.
pub(super) fn user_messages(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut settings = Settings::default();
    if text.starts_with("sleeps") {
        settings.hibernate();
    }
    Alone::new(User::new(user(1), Rc::new(settings))).play(text)
}
