//! Whole requests, through every handler, over the real schema.

use std::cell::Cell;
use std::rc::Rc;

use edge_core::auth::verify_access;
use edge_core::content;
use edge_core::http::{self, Request, Response};
use edge_core::limits;
use edge_core::object::{CallError, Kind};
use edge_core::objects::{ContactStatus, Message, PresenceState, Shown};
use edge_core::platform::{Platform, StoreError};
use edge_core::search::fold;
use edge_core::settings::Settings;
use edge_core::sql::{Rows, Statement, search};
use handlers::{Person, World};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use wire::{Conversation, ConversationType, Member, MemberRole, MessageId, MessageKind, RoomId, Timestamp};

/// What every answer has.
const SECURITY_HEADERS: [&str; 6] = [
    "cache-control",
    "content-security-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
];
/// What answers without a token.
const OPEN: [&str; 7] = ["register", "login", "refresh", "reset/request", "reset", "health", "info"];

thread_local!(static PLACE: Rc<Place> = Rc::new(Place::new()));

/// A request as text: `METHOD target`, headers, an empty line, the body. `<token>`, `<refresh>`, `<ann>`, `<ben>`, `<eve>`,
/// `<room>` and `<message>` stand for those of the world, which is the same for each input. Objects and storage are in
/// good order: whatever is asked, no status says that the server failed, and nothing is shown without a token.
pub(super) fn http_request(input: &[u8]) -> bool {
    let place = PLACE.with(Rc::clone);
    let Some(request) = place.request(input) else { return false };
    let response = place.handle(request.clone());
    place.check(&request, &response);
    (200..300).contains(&response.status)
}

/// A deployment, and what is in it.
struct Place {
    world: World,
    runtime: Runtime,
    ann: Person,
    ben: Person,
    eve: Person,
    entropy: Cell<u8>,
}

impl Place {
    fn new() -> Self {
        let mut world = World::new();
        world.settings.allowed_origins = vec!["https://chat.example.com".to_owned()];
        let (ann, ben, eve) = (world.person("ann"), world.person("ben"), world.person("eve"));
        world.sql(
            "INSERT INTO conversation_heads VALUES (?1,0,'group','Room',NULL,NULL,0,1,2,2,NULL,NULL,0)",
            vec![room().into()],
        );
        for member in [&ann, &ben] {
            let sql = "INSERT INTO members_by_user \
                (user_id, room_id, version, role, joined_at, left_at, delivered_seq, read_seq, read_count) \
                VALUES (?1,?2,1,'member',0,NULL,0,0,0)";
            world.sql(sql, vec![member.id.into(), room().into()]);
        }
        let entry = json!([[1, ben.id.to_string(), "text", 1_000, fold(CONTENT)]]);
        world.run(search::enter(room(), 0, 1, entry.to_string()));
        world.take_asked();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self { world, runtime, ann, ben, eve, entropy: Cell::new(0) }
    }

    fn request(&self, input: &[u8]) -> Option<Request> {
        let words = [
            ("<token>", self.ann.access.clone()),
            ("<refresh>", self.ann.refresh.clone()),
            ("<ann>", self.ann.id.to_string()),
            ("<ben>", self.ben.id.to_string()),
            ("<eve>", self.eve.id.to_string()),
            ("<room>", room().to_string()),
            ("<message>", message_id().to_string()),
        ];
        let fill = |text: &str| words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value));
        let end = input.windows(2).position(|two| two == b"\n\n");
        let (head, body) = end.map_or((input, &[][..]), |at| (&input[..at], &input[at + 2..]));
        let head = fill(std::str::from_utf8(head).ok()?);
        let mut lines = head.split('\n');
        let (method, target) = lines.next()?.split_once(' ')?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some(Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: lines.filter_map(header).collect(),
            body: std::str::from_utf8(body).map_or_else(|_| body.to_vec(), |text| fill(text).into_bytes()),
            address: "198.51.100.7".to_owned(),
        })
    }

    /// Answers a request; then everything is as before.
    fn handle(&self, request: Request) -> Response {
        self.entropy.set(0);
        self.runtime.block_on(async {
            self.run("SAVEPOINT request").await;
            let response = http::handle(self, request).await;
            self.run("ROLLBACK TO request").await;
            self.run("RELEASE request").await;
            response
        })
    }

    async fn run(&self, sql: &'static str) {
        self.world.read(Statement::new(sql, Vec::new())).await.expect("a transaction");
    }

    fn check(&self, request: &Request, response: &Response) {
        let shown = || format!("{request:?}: {} {}", response.status, String::from_utf8_lossy(&response.body));
        assert!((200..500).contains(&response.status), "{}", shown());
        let header = |name: &str| response.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        for name in SECURITY_HEADERS {
            assert!(header(name).is_some(), "no {name}: {}", shown());
        }
        for (name, value) in &response.headers {
            let printable = |byte: u8| byte >= b' ' && byte != 0x7f;
            assert!(value.bytes().all(printable), "{name}: {value:?}: {}", shown());
        }
        let allowed = header("access-control-allow-origin");
        assert!(allowed.is_none_or(|origin| origin == "https://chat.example.com" && request.header("origin") == Some(origin)));
        assert_eq!(allowed.is_some(), header("access-control-allow-credentials").is_some());

        let is_json = header("content-type").is_some_and(|media| media.starts_with("application/json"));
        let has_length = request.method != "HEAD" && response.status != 204;
        assert_eq!(header("content-length"), has_length.then(|| response.body.len().to_string()).as_deref());
        let body: Value = if is_json && request.method != "HEAD" {
            serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {}", shown()))
        } else {
            Value::Null
        };
        if response.status >= 400 && request.method != "HEAD" {
            assert!(body["error"].is_string() || body["error"]["message"].is_string(), "{}", shown());
        }
        // Who may have it, and what nobody gets.
        let rest = request.path.strip_prefix("/api/").map(|rest| rest.strip_prefix("auth/").unwrap_or(rest));
        if response.status < 300 && request.method != "OPTIONS" && rest.is_some_and(|rest| !OPEN.contains(&rest)) {
            let bearer = request.header("authorization").unwrap_or_default();
            let token = bearer.split_once(' ').map(|(_, token)| token.trim()).unwrap_or_default();
            let claims = verify_access(token, &self.world.settings, self.world.now());
            assert_eq!(claims.map(|claims| claims.user), Ok(self.ann.id), "{}", shown());
        }
        let text = String::from_utf8_lossy(&response.body);
        for secret in ["$2b$", "sqlite", "SELECT ", &self.ann.refresh, &self.ben.email, &self.eve.email] {
            let said = request.body.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(said || !text.contains(secret), "{secret}: {}", shown());
        }
    }

    fn answer(&self, kind: Kind, name: &str, msg: Message) -> Message {
        assert_eq!(Message::from_bytes(&msg.to_bytes()), msg, "another host reads something else");
        let known = match kind {
            Kind::Room => RoomId::parse(name).is_some(),
            Kind::User => wire::UserId::parse(name).is_some(),
            _ => false,
        };
        assert!(known, "{kind:?} {name}");
        match msg {
            Message::AskPresence { by } => {
                let shown = Some(Shown { state: PresenceState::Away, last_seen: None, text: None });
                Message::Presence { user: by, epoch: 1, version: 1, online: true, shown, audience: None }
            }
            Message::ContactRequest { .. } => Message::ContactIs { status: ContactStatus::Out, fresh: true },
            Message::ContactAnswer { .. } => Message::ContactIs { status: ContactStatus::Accepted, fresh: false },
            Message::Create { .. } | Message::Describe { .. } | Message::Group { .. } => {
                Message::View { conversation: self.conversation() }
            }
            Message::Send { message, .. } => {
                let most = self.world.settings.max_text_code_points;
                assert!((1..=most).contains(&message.content.chars().count()));
                assert!(message.metadata.as_ref().is_none_or(|data| data.to_string().len() <= limits::METADATA_BYTES));
                Message::Sent { message: self.message(), repeated: false }
            }
            Message::Change { change, .. } => {
                if let edge_core::objects::MessageChange::React { emoji, .. } = change {
                    assert!(content::reaction_of(Some(&emoji), true).is_ok());
                }
                Message::Changed { message: self.message() }
            }
            Message::Edits { .. } => Message::EditsAre { edits: vec![] },
            Message::MarkRead { .. } => Message::Marked { read_seq: 1 },
            Message::History { limit, .. } => {
                assert!((1..=limits::PAGE_MAX).contains(&u64::from(limit)));
                Message::HistoryPage { messages: vec![self.message()], next_before: Some(message_id()) }
            }
            Message::Look { .. } => Message::HistoryPage { messages: vec![self.message()], next_before: None },
            Message::Pull { after, limit, .. } => {
                assert!((1..=limits::PAGE_MAX).contains(&u64::from(limit)));
                Message::Page { events: vec![], head: after, generation: 1, read_seq: 0, marks: vec![], reset: None }
            }
            _ => Message::Done,
        }
    }

    fn conversation(&self) -> Conversation {
        let member = |(person, name): (&Person, &str)| Member {
            id: person.id,
            username: name.to_owned(),
            display_name: name.to_owned(),
            avatar_url: None,
            status: String::new(),
            role: MemberRole::Admin,
            joined_at: Timestamp(0),
            delivered_seq: 0,
            read_seq: 0,
        };
        Conversation {
            id: room(),
            kind: ConversationType::Group,
            name: Some("Room".to_owned()),
            avatar_url: None,
            created_by: Some(self.ann.id),
            created_at: Timestamp(0),
            seq: 1,
            members: [(&self.ann, "ann"), (&self.ben, "ben")].map(member).into(),
            last_message: Some(Some(self.message())),
            unread_count: None,
            mention_count: 0,
            muted_until: None,
            active_call: None,
        }
    }

    fn message(&self) -> wire::Message {
        wire::Message {
            id: message_id(),
            conversation_id: room(),
            seq: 1,
            client_id: None,
            sender_id: Some(self.ben.id),
            sender_username: "ben".into(),
            sender_avatar_url: None,
            content: CONTENT.into(),
            kind: MessageKind::Text,
            file_url: None,
            attachments: vec![],
            reply_to: None,
            reactions: vec![],
            read_by: vec![],
            created_at: Timestamp(1_000),
            edited_at: None,
            deleted_at: None,
            metadata: None,
        }
    }
}

const CONTENT: &str = "Where is the <kettle>? See https://example.com";

fn room() -> RoomId {
    RoomId(wire::uuid_v7(1, 0, 7))
}

/// In its Room by the bits that name it.
fn message_id() -> MessageId {
    let hash = Sha256::digest(room().0.as_bytes());
    let bits = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) & 0x3fff_ffff;
    MessageId(wire::uuid_v7(1_000, 0, u64::from(bits) << 32))
}

impl Platform for Place {
    fn settings(&self) -> &Settings {
        &self.world.settings
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        self.world.read(statement).await
    }

    async fn people_batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        self.run("SAVEPOINT batch").await;
        let mut all = Vec::new();
        for statement in statements {
            match self.world.read(statement).await {
                Ok(rows) => all.push(rows),
                Err(error) => {
                    self.run("ROLLBACK TO batch").await;
                    self.run("RELEASE batch").await;
                    return Err(error);
                }
            }
        }
        self.run("RELEASE batch").await;
        Ok(all)
    }

    async fn object(&self, kind: Kind, name: &str, msg: Message) -> Result<Message, CallError> {
        Ok(self.answer(kind, name, msg))
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn random(&self) -> [u8; 32] {
        self.entropy.set(self.entropy.get().wrapping_add(1));
        [self.entropy.get(); 32]
    }
}
