//! The objects' names, and the messages between them: used by caller and callee alike.
//!
//! Messages travel as JSON, so that versions N and N-1 understand each other: fields may be added with a default,
//! never renamed. Delivery is best effort and may repeat or reorder, therefore every message is idempotent.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{Conversation, ConversationType, ErrorCode, Member, MemberRole, MessageId, MessageKind, RoomId, SessionId, Timestamp, UserId};

use crate::error::Failure;
use crate::object::{CallError, Kind, ObjectId};

/// The gateway number `n`.
#[must_use]
pub fn gateway(n: u32) -> ObjectId {
    ObjectId::new(Kind::Gateway, format!("gw-{n}"))
}

/// The Room of a conversation.
#[must_use]
pub fn room(id: RoomId) -> ObjectId {
    ObjectId::new(Kind::Room, id.to_string())
}

/// The User object of a person.
#[must_use]
pub fn user(id: UserId) -> ObjectId {
    ObjectId::new(Kind::User, id.to_string())
}

/// The gateway whose socket has this Engine.IO `sid`: the part before the dot names it (`gw-3` for `3.…`).
#[must_use]
pub fn gateway_of_sid(sid: &str) -> Option<ObjectId> {
    let (index, rest) = sid.split_once('.')?;
    if rest.is_empty() || index.is_empty() || index.len() > 5 || !index.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(ObjectId::new(Kind::Gateway, format!("gw-{index}")))
}

/// Whether an object has done what it was asked. One that could not reach its storage has not; it is to be asked again.
#[must_use]
pub fn is_taken(result: &Result<Message, CallError>) -> bool {
    match result {
        Ok(Message::Refused { failure }) => failure.code != ErrorCode::NodeUnavailable,
        result => result.is_ok(),
    }
}

/// Where sockets of a user are: a gateway in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Name of the gateway, `gw-<n>`.
    pub gateway: String,
    /// Its epoch when it registered.
    pub epoch: u64,
}

/// Who does something: the token's subject, never a field of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub id: UserId,
    pub username: String,
}

/// A profile as the Room keeps it for rendering rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub id: UserId,
    pub username: String,
    pub display_name: String,
    pub avatar_url: Option<String>,
    #[serde(default)]
    pub status: String,
    /// Sends and sees read marks (G-20).
    #[serde(default = "yes")]
    pub receipts: bool,
}

fn yes() -> bool {
    true
}

/// What a person sends (E-004, G-22), already checked by the caller with [`crate::content::check`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewMessage {
    pub content: String,
    pub kind: MessageKind,
    #[serde(default)]
    pub client_id: Option<String>,
    #[serde(default)]
    pub reply_to: Option<MessageId>,
    #[serde(default)]
    pub metadata: Option<Value>,
}

/// What a person does with a message that was sent, already checked by the caller with [`crate::content`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageChange {
    Edit { content: String },
    Delete,
    React { emoji: String, on: bool },
}

/// A row of G-24: what an edit replaced, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    pub content: String,
    pub edited_at: Timestamp,
}

/// A durable event of a conversation. Replay renders the current row of a message, and later events after it. On their
/// way to a Gateway reactions name everybody; [`seen_by`] makes them what one person sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomEvent {
    /// E-005.
    Message { message: wire::Message },
    Edited(Edited),
    Deleted(Deleted),
    Reaction(Reacted),
    Updated(Updated),
    MemberAdded(MemberAdded),
    MemberRemoved(MemberRemoved),
}

/// E-036. The fields of this and of what follows are named as clients read them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edited {
    pub message: wire::Message,
}

/// E-038.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deleted {
    #[serde(rename = "messageId")]
    pub message_id: MessageId,
    pub by: UserId,
    pub deleted_at: Timestamp,
}

/// E-040.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reacted {
    pub message_id: MessageId,
    pub user_id: UserId,
    pub emoji: String,
    pub on: bool,
    /// All of the message's, as they are now.
    pub reactions: Vec<wire::Reaction>,
}

/// E-042.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Updated {
    pub by: UserId,
    /// `name` and `avatar_url`, those that changed.
    pub changes: Value,
}

/// E-043.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberAdded {
    pub by: UserId,
    pub member: Member,
}

/// E-044.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberRemoved {
    pub by: UserId,
    pub user_id: UserId,
    pub reason: Removal,
}

/// Why somebody is no longer a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    Left,
    Removed,
    /// The account is gone.
    Deleted,
}

impl RoomEvent {
    /// The reactions it shows, which look different to each person.
    pub fn reactions(&mut self) -> Option<&mut Vec<wire::Reaction>> {
        match self {
            Self::Message { message } | Self::Edited(Edited { message }) => Some(&mut message.reactions),
            Self::Reaction(reacted) => Some(&mut reacted.reactions),
            _ => None,
        }
    }
}

/// Reactions that name everybody, as one person sees them; `None`: somebody who is in none of them.
pub fn seen_by(reactions: &mut [wire::Reaction], viewer: Option<UserId>) {
    for reaction in reactions {
        reaction.me = viewer.is_some_and(|viewer| reaction.user_ids.contains(&viewer));
        reaction.user_ids.truncate(crate::limits::REACTION_USERS);
    }
}

/// A durable event with its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered {
    pub seq: u64,
    pub event: RoomEvent,
}

/// An event that takes no number and is never replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveEvent {
    /// E-006, E-007: to sockets that opened the conversation, not to the one who types.
    Typing { user: UserId, username: String, on: bool },
    /// E-009: to every socket of every member, the reader's included.
    Read { user: UserId, ids: Vec<MessageId>, up_to: u64 },
    /// E-034: to every socket of every member.
    Receipts { user: UserId, delivered_seq: u64, read_seq: u64 },
    /// E-041: to every socket of these members, ahead of everything else of the conversation.
    Created { users: Vec<UserId>, conversation: Box<Conversation> },
    /// E-045: to every socket of somebody who is no member any more, after everything else of the conversation.
    Dismissed { user: UserId, reason: Removal },
    /// For sockets of these members only, or for those of all others.
    For { these: Vec<UserId>, only: bool, event: Box<LiveEvent> },
}

/// What somebody wants of a conversation (G-04).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupChange {
    Update { name: Option<String>, no_avatar: bool },
    /// People that the caller may add; members among them stay as they are.
    Add { members: Vec<Profile> },
    Remove { user: UserId },
    Role { user: UserId, role: MemberRole },
    Leave,
    /// A time that is over ends the silence; in direct conversations too.
    Mine { muted_until: Option<Timestamp>, level: Option<Level> },
}

/// What a member wants to be told of while away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    #[default]
    All,
    Mentions,
    None,
}

/// How a person is there. Chosen (E-053): the first four. Seen by others (E-054): never `Invisible`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    Online,
    Away,
    Dnd,
    Invisible,
    InCall,
    #[default]
    Offline,
}

impl PresenceState {
    const WORDS: [(Self, &'static str); 6] = [
        (Self::Online, "online"),
        (Self::Away, "away"),
        (Self::Dnd, "dnd"),
        (Self::Invisible, "invisible"),
        (Self::InCall, "in_call"),
        (Self::Offline, "offline"),
    ];

    /// As on the wire and in storage.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(state, _)| *state == self).map_or("offline", |(_, word)| word)
    }

    /// The inverse of [`PresenceState::word`].
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(state, _)| *state)
    }

    /// Whether a person may ask to be seen so.
    #[must_use]
    pub fn may_be_chosen(self) -> bool {
        matches!(self, Self::Online | Self::Away | Self::Dnd | Self::Invisible)
    }
}

/// What others see of a person (E-054).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shown {
    pub state: PresenceState,
    /// `None` while online, and of a person who never was.
    #[serde(default)]
    pub last_seen: Option<Timestamp>,
    #[serde(default)]
    pub text: Option<String>,
}

impl Shown {
    /// A person of whom no more is known than this.
    #[must_use]
    pub fn plain(online: bool, last_seen: Option<Timestamp>) -> Self {
        let state = if online { PresenceState::Online } else { PresenceState::Offline };
        Self { state, last_seen: last_seen.filter(|_| !online), text: None }
    }
}

/// Watermarks of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    pub user: UserId,
    pub delivered_seq: u64,
    pub read_seq: u64,
}

/// Where a page of history begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryCursor {
    /// The newest page.
    Newest,
    /// Messages below this seq.
    BeforeSeq(u64),
    /// Messages above this seq, oldest first from there.
    AfterSeq(u64),
    /// Messages older than this one.
    BeforeMessage(MessageId),
    /// Messages created before this time.
    BeforeTime(Timestamp),
    /// A page with this message in its middle.
    Around(MessageId),
}

/// How far a person has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadUpTo {
    Seq(u64),
    /// The newest of these; one id of another conversation refuses the whole request.
    Ids(Vec<MessageId>),
}

/// What one object (or handler) says to another. Replies stand beside their request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    // ---- replies that many requests share
    /// Done; nothing to say.
    Done,
    /// Refused; the failure goes to the client as it is.
    Refused { failure: Failure },

    // ---- Gateway -> User
    /// A socket of the user was authenticated here. `sockets` counts this user's sockets at this gateway now.
    /// Reply: [`Message::SocketAccepted`] or [`Message::Refused`] (session revoked, account disabled).
    SocketUp { at: Location, session: SessionId, version: u64, sockets: u32 },
    SocketAccepted {
        /// Whom this user may see (C-19), for the gateway's watches.
        sees: Vec<UserId>,
        /// Life of the User, and its changes in it: an older list never replaces a newer one.
        #[serde(default)]
        version: (u64, u64),
    },
    /// A socket is gone. `clean`: by close frame, `41` or our own close. `kept`: sessions without a connection that wait to
    /// be recovered (G-17); what happens goes on being delivered to them, but nobody is online by them.
    SocketDown {
        at: Location,
        sockets: u32,
        clean: bool,
        #[serde(default, skip_serializing_if = "is_zero")]
        kept: u32,
    },
    /// The lease of [`crate::limits::LEASE_MS`] again; from the sweep. `sees`: the version of the list that is known there.
    /// Reply: [`Message::Done`].
    Renew {
        at: Location,
        sockets: u32,
        #[serde(default, skip_serializing_if = "is_zero")]
        kept: u32,
        #[serde(default)]
        sees: (u64, u64),
    },
    /// E-053, from a socket of the user; `text`: empty clears it, `None` leaves it. Reply: [`Message::Done`] after it is
    /// durable.
    SetPresence {
        state: PresenceState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Tell me this user's presence now and with each change. Reply: [`Message::Presence`].
    Watch { at: Location },
    Unwatch { at: Location },

    // ---- User -> Gateway
    /// Do you still hold sockets of this user? Reply: [`Message::Present`].
    Verify { user: UserId },
    Present {
        epoch: u64,
        sockets: u32,
        #[serde(default, skip_serializing_if = "is_zero")]
        kept: u32,
    },
    /// `version` rises with each change of one life of the User; `epoch` is that life.
    /// Where gateways sleep, `audience` is who may know: a gateway that remembers nothing tells those who are there, and
    /// answers [`Message::Unwatch`] when there is none.
    Presence {
        user: UserId,
        epoch: u64,
        version: u64,
        online: bool,
        /// What exactly is seen; a User of the version before does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown: Option<Shown>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audience: Option<Vec<UserId>>,
    },
    /// Whom the user may see has changed. `gone`: some of those that it may not, for a gateway that slept and does not
    /// know whom it saw.
    Sees {
        user: UserId,
        sees: Vec<UserId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<UserId>,
        #[serde(default)]
        version: (u64, u64),
    },
    /// E-051, E-052: for every socket of the user.
    ContactNews { user: UserId, news: ContactNews },
    /// Close these sessions' sockets (`None`: all of the user), `auth:revoked` first. Reply: [`Message::Done`].
    CloseSessions { user: UserId, sessions: Option<Vec<SessionId>>, reason: String },

    // ---- Gateway -> Gateway
    /// The client of the session `pid` has connected here and holds everything up to `offset`: hand the session over, if
    /// it is this user's. Reply: [`Message::SessionTaken`], [`Message::SessionAt`], or [`Message::Done`] when there is none.
    TakeSession { pid: String, user: UserId, dialect: String, offset: String },
    /// It is here no more. `state`: what an attachment holds; `packets`: what the client missed, without offsets, durable
    /// events with their place.
    SessionTaken { state: String, packets: Vec<(String, Option<(RoomId, u64)>)> },
    /// It was handed to that gateway before.
    SessionAt { gateway: String },

    // ---- Room -> User
    /// Where are your sockets? Keep me told until [`Message::Forget`]. Reply: [`Message::Moved`].
    Locate { room: RoomId },
    Forget { room: RoomId },
    /// Membership changed: whom the user may see may have changed. `gone`: the user itself is no longer a member, and the
    /// Room need not be told any more. `about`: who may be out of sight now. Reply: [`Message::Moved`].
    MembershipChanged {
        room: RoomId,
        #[serde(default)]
        gone: bool,
        #[serde(default)]
        about: Vec<UserId>,
    },
    // ---- User -> Room
    /// `version` rises with each change of one life (`epoch`) of the User. A Room that is not loaded answers
    /// [`Message::Forget`], where it is asked.
    Moved { user: UserId, epoch: u64, version: u64, gateways: Vec<Location> },
    /// In a direct conversation: `by` blocked the other person, or no longer. Reply: [`Message::Done`].
    Blocked {
        by: UserId,
        on: bool,
        /// Rises with each change; what comes late changes nothing.
        #[serde(default)]
        version: u64,
    },
    /// How a member is shown from now on. Reply: [`Message::Done`].
    PersonIs { profile: Profile },

    // ---- Http -> User
    /// Sessions are over (`None`: all; then tokens with a version below `version` too). Reply: [`Message::Done`] after
    /// it is durable.
    Revoke { sessions: Option<Vec<SessionId>>, version: Option<u64>, reason: String },
    /// The people database shows this person differently now: the Rooms must know. Reply: [`Message::Done`], when those
    /// within reach do.
    PersonChanged,
    /// Are you online, as far as `by` may know? Reply: [`Message::Presence`].
    AskPresence { by: UserId },
    /// asks `other` (known to exist). Reply: [`Message::ContactIs`].
    ContactRequest {
        me: Actor,
        other: UserId,
        /// `me` as others see it, for E-051.
        #[serde(default)]
        profile: Option<Profile>,
    },
    /// Reply: [`Message::ContactIs`] or [`Message::Refused`].
    ContactAnswer { me: Actor, other: UserId, answer: ContactAnswer },
    ContactIs { status: ContactStatus, fresh: bool },
    // ---- User -> User, by outbox
    /// The state of my side of the pair after a change of mine, `version` rising per pair and side.
    ContactChanged {
        from: UserId,
        change: ContactChange,
        version: u64,
        /// Who asked, for E-051.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<Profile>,
    },

    // ---- Gateway or Http -> Room
    /// E-002. Reply: [`Message::Joined`].
    Join { user: UserId },
    Joined { seq: u64, read_seq: u64, members: Vec<Member>, generation: u64 },
    /// E-004, G-22. `admitted`: the caller's own rate check has passed. Reply: [`Message::Sent`].
    Send { from: Actor, message: NewMessage },
    Sent {
        message: wire::Message,
        /// The same `clientId` was sent before: this is the first answer.
        repeated: bool,
    },
    /// E-035, E-037, E-039, G-05, G-06. Reply: [`Message::Changed`].
    Change { user: UserId, message: MessageId, change: MessageChange },
    /// The message as it is now.
    Changed { message: wire::Message },
    /// G-24. Reply: [`Message::EditsAre`].
    Edits { user: UserId, message: MessageId },
    /// Oldest first, at most [`crate::limits::PAGE_MAX`] of the newest.
    EditsAre { edits: Vec<Edit> },
    /// E-006, E-007.
    Typing { from: Actor, on: bool },
    /// E-008, G-10. Reply: [`Message::Marked`].
    MarkRead { user: UserId, up_to: ReadUpTo },
    Marked { read_seq: u64 },
    /// E-033 and every other sign of delivery.
    MarkDelivered { user: UserId, up_to: u64 },
    /// Events above `after`, at most `limit`. Reply: [`Message::Page`].
    Pull {
        user: UserId,
        after: u64,
        limit: u32,
        /// The generation the client holds, when it knows it.
        generation: Option<u64>,
        /// Also answer the members' marks (conversations of at most [`crate::limits::MARKS_MEMBERS`]).
        marks: bool,
    },
    Page {
        events: Vec<Numbered>,
        /// Head when this was answered: the page is the last one when it reaches it.
        head: u64,
        generation: u64,
        read_seq: u64,
        marks: Vec<Marks>,
        /// Cursor above the head or of another generation: nothing was replayed (E-047).
        reset: Option<String>,
    },
    /// Reply: [`Message::HistoryPage`].
    History { user: UserId, cursor: HistoryCursor, limit: u32 },
    HistoryPage {
        /// Oldest first.
        messages: Vec<wire::Message>,
        /// `before` cursor of the next older page, while there is one.
        next_before: Option<MessageId>,
    },
    /// G-07: the rows of these messages. Reply: [`Message::HistoryPage`], in the order of their seqs.
    Look { user: UserId, seqs: Vec<u64> },
    /// R-11, idempotent by the room's id. Reply: [`Message::View`].
    Create { kind: ConversationType, name: Option<String>, by: UserId, members: Vec<Profile> },
    /// G-21. Reply: [`Message::View`] with the last message.
    Describe { user: UserId },
    /// G-04. Reply: [`Message::View`], or [`Message::Done`] for what only concerns the caller.
    Group { by: UserId, change: GroupChange },
    View { conversation: Conversation },

    // ---- Room -> Gateway
    /// Events for the sockets of `users` here. Reply: [`Message::Accepted`].
    Deliver {
        room: RoomId,
        /// Epoch of the gateway as the Room knows it; another one answers `stale`.
        epoch: u64,
        /// Version of the audience at this gateway.
        audience: u64,
        /// The audience, when the gateway may not know this version yet.
        users: Option<Vec<UserId>>,
        /// The Room's head: who holds less pulls.
        head: u64,
        durable: Vec<Numbered>,
        live: Vec<LiveEvent>,
    },
    Accepted {
        /// This gateway is in another life: locate again.
        stale: bool,
        /// The audience version is not known: repeat with `users`.
        unknown_audience: bool,
    },

    /// A message of a newer version ([`Message::from_bytes`]); ignored, and answered [`Message::Done`].
    #[serde(skip)]
    Unknown,
}

///
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactAnswer {
    Accepted,
    Declined,
    Blocked,
    /// G-03: no contact, no request, no block any more.
    Removed,
}

/// How one person stands to another, seen from one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactStatus {
    None,
    /// I asked.
    Out,
    /// I was asked.
    In,
    Accepted,
    /// I blocked.
    Blocked,
}

/// What the other side of a pair did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactChange {
    Asked,
    Accepted,
    /// Declined, removed or cancelled.
    Gone,
    Blocked,
    Unblocked,
}

/// What a person's sockets are told of contacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactNews {
    /// E-051: somebody asks.
    Asked { by: Profile, at: Timestamp },
    /// E-052, in the words of the contract: `pending`, `accepted`, `declined`, `blocked`, `none`.
    Is { other: UserId, status: String },
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Message {
    /// JSON for the way between objects.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The inverse; [`Message::Unknown`] for what this version does not understand.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        crate::json::read(bytes).unwrap_or(Self::Unknown)
    }
}
