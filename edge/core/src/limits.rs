//! Every bound of `guarantees.md` 3.2 and 3.3 and of contract section 9, the unit in the name.

/// A frame before the socket is authenticated.
pub const FRAME_BEFORE_AUTH_BYTES: usize = 4 * 1024;
/// A frame, a polling body and `maxPayload`.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Body of a JSON request.
pub const HTTP_BODY_BYTES: usize = 256 * 1024;
/// Request line and headers together.
pub const HTTP_HEAD_BYTES: usize = 16 * 1024;
/// Headers of a request.
pub const HTTP_HEADERS: usize = 100;
/// Packets in one polling body.
pub const POLLING_PACKETS: usize = 64;
/// What a polling session may have waiting.
pub const POLLING_BUFFER_BYTES: usize = 256 * 1024;
/// How long a polling GET is held.
pub const POLL_HOLD_MS: u64 = 25_000;
/// A room that does not exist, or has nothing to do, is dropped from memory after this time.
pub const ABSENT_IDLE_MS: u64 = 5_000;
/// A Room asks again where its members are.
pub const LOCATE_EVERY_MS: u64 = 30_000;
/// Storage that was out of reach at the start of a life is asked again after this time: its own where objects sleep, the
/// people database everywhere.
pub const LOAD_AGAIN_MS: u64 = 5_000;
/// A member's User that did not answer is asked again after this time.
pub const LOCATE_AGAIN_MS: u64 = 1_000;
/// A people database elsewhere answers within this time, or is out of reach (F8: 503 within 3 s).
pub const PEOPLE_ANSWER_MS: u64 = 2_500;
/// Events wait at most this long for the whereabouts of members right after a Room was loaded.
pub const LOCATE_HOLD_MS: u64 = 1_000;
/// A batch that a gateway did not take is followed by another try after this time.
pub const DELIVER_RETRY_MS: u64 = 1_000;
/// From the open packet to an authenticated namespace.
pub const AUTH_TIMEOUT_MS: u64 = 5_000;
/// Sockets of one address that are not authenticated yet, per gateway.
pub const UNAUTHENTICATED_PER_ADDRESS: usize = 20;
/// Binary attachments of one packet.
pub const BINARY_ATTACHMENTS: usize = 10;
/// Nesting of JSON on the wire.
pub const JSON_DEPTH: usize = 32;
/// Name of a socket event.
pub const EVENT_NAME_BYTES: usize = 128;
/// Largest ack id: 2^53 - 1.
pub const MAX_ACK_ID: u64 = (1 << 53) - 1;
/// What a socket may have waiting before it is closed as a slow consumer (O2).
pub const SOCKET_QUEUE_BYTES: usize = 256 * 1024;
/// Frames a socket may have waiting.
pub const SOCKET_QUEUE_FRAMES: usize = 1_000;
/// Below this the host answers `Drain`.
pub const DRAINED_BYTES: usize = 64 * 1024;
/// What a socket keeps over hibernation.
pub const ATTACHMENT_BYTES: usize = 16_384;
/// Conversations named by one `sync:resume`.
pub const RESUME_CONVERSATIONS: usize = 500;
/// Events replayed per conversation and request.
pub const RESUME_EVENTS_PER_CONVERSATION: usize = 500;
/// Events replayed per request.
pub const RESUME_EVENTS: usize = 2_000;
/// Events a Gateway pulls from a Room at once.
pub const PULL_PAGE: usize = 100;
/// Pulls that one socket has under way at once.
pub const PULLS_PER_SOCKET: usize = 4;
/// Replayed events written before the gateway waits for the socket to drain.
pub const REPLAY_CHUNK_EVENTS: usize = 100;
/// A pull that failed outside a resume is tried again this often, then the socket is closed to resume by itself.
pub const PULL_RETRIES: u32 = 5;
/// Conversations of which one socket holds a cursor or that it opened.
pub const SOCKET_CONVERSATIONS: usize = 5_000;
/// Members of a conversation.
pub const CONVERSATION_MEMBERS: usize = 1_000;
/// Members listed in E-041; whoever needs all of a larger conversation reads it.
pub const CREATED_MEMBERS: usize = 500;
/// Users that one message mentions by name.
pub const MENTIONED_USERS: usize = 50;
/// Members up to which marks of a conversation are listed in `sync:resume` acks.
pub const MARKS_MEMBERS: usize = 100;
/// Members up to which a conversation makes people see each other's presence.
pub const PRESENCE_MEMBERS: usize = 500;
/// Sockets a gateway accepts.
pub const GATEWAY_SOCKETS: usize = 5_000;
/// Connects a gateway accepts.
pub const GATEWAY_CONNECTS_PER_SECOND: u32 = 200;
/// A session whose connection was lost is kept for recovery (G-17) for this time.
pub const RECOVERY_MS: u64 = 120_000;
/// The same where gateways sleep: their memory does not last longer.
pub const RECOVERY_SLEEPING_MS: u64 = 10_000;
/// What a recovered session gets at most of what it missed.
pub const RECOVERY_BYTES: usize = 256 * 1024;
/// Packets of one socket that are remembered until they are known to have arrived.
pub const RECOVERY_PACKETS: usize = 1_000;
/// Packets that a gateway remembers, each once, however many sockets they went to.
pub const RECOVERY_GATEWAY_BYTES: usize = 8 * 1024 * 1024;
/// Longest `pid` or offset of a client that is looked at.
pub const RECOVERY_TEXT_BYTES: usize = 64;
/// Upgrade candidate without `5`.
pub const UPGRADE_TIMEOUT_MS: u64 = 10_000;
/// While an upgrade is probed, a held polling GET is ended this often.
pub const UPGRADE_CHECK_MS: u64 = 100;
/// A session that ends while its client upgrades is closed after this time, so that the websocket can bring the reason.
pub const UPGRADE_END_MS: u64 = 1_000;
/// Final packets of a closed polling session wait this long for its last GET.
pub const LINGER_MS: u64 = 30_000;
/// Closed polling sessions whose final packets a gateway keeps.
pub const LINGERING_SESSIONS: usize = 256;
/// Name of a Socket.IO namespace.
pub const NAMESPACE_BYTES: usize = 128;
/// A call to another object without reply.
pub const CALL_TIMEOUT_MS: u64 = 8_000;
/// Registration of a gateway at a User without renewal.
pub const LEASE_MS: u64 = 60_000;
/// How often a gateway renews and sweeps.
pub const SWEEP_MS: u64 = 20_000;
/// Sweeps without a batch of a room until a gateway forgets its audience.
pub const QUIET_SWEEPS: u32 = 3;
/// A user whose last socket was lost without close stays online for this time (P1).
pub const RECONNECT_GRACE_MS: u64 = 10_000;
/// A user whose last socket closed cleanly is offline after this time (P1).
pub const CLEAN_CLOSE_MS: u64 = 1_500;
/// Watermarks are stored and told at most this often per conversation.
pub const MARKS_COALESCE_MS: u64 = 3_000;
/// Where objects sleep, what was read is told together in rooms that are at this many gateways.
pub const MARKS_GATEWAYS: usize = 4;
/// A projection that nobody waits for is written within this time where the people database is elsewhere.
pub const PROJECT_COALESCE_MS: u64 = 3_000;
/// As many times in it; what is more waits for its end.
pub const PROJECT_WRITES: u32 = 4;
/// Status text of `presence:set` (E-053).
pub const STATUS_TEXT_CODE_POINTS: usize = 200;
/// `presence:set` per minute of one user.
pub const PRESENCE_SETS_PER_MINUTE: u32 = 30;
/// What handlers read of a person's presence is written at most this often.
pub const PRESENCE_PROJECT_MS: u64 = 10_000;
/// Presence changes are told at most this often per watcher.
pub const PRESENCE_COALESCE_MS: u64 = 1_000;
/// Watchers that could not be told of a presence change are told again after this time.
pub const TELL_AGAIN_MS: u64 = 5_000;
/// Keys of repeated sends are kept at least this long (M2).
pub const DEDUPE_MS: u64 = 7 * 24 * 3_600_000;
/// Keys of repeated sends that a Room keeps at most: 1.6 sends a second over [`DEDUPE_MS`].
pub const DEDUPE_KEYS: usize = 1_000_000;
/// A bundle of keys is stored with every so many messages; the keys above it are among the messages that a start loads.
pub const KEYS_BUNDLE: usize = 64;
/// Sends without `clientId` whose call a Room remembers, against repetition between objects.
pub const CALLS_REMEMBERED: usize = 64;
/// Messages per minute of one user (V-27).
pub const MESSAGES_PER_MINUTE: u32 = 100;
/// Sends per second that a conversation admits.
pub const ROOM_SENDS_PER_SECOND: u32 = 150;
/// Joins per minute of one user.
pub const JOINS_PER_MINUTE: u32 = 60;
/// One typing event per conversation and socket in this time.
pub const TYPING_EVERY_MS: u64 = 3_000;
/// Failed socket authentications of one address per minute.
pub const FAILED_AUTH_PER_MINUTE: u32 = 5;
/// Connects without a valid token of one address per minute.
pub const ANONYMOUS_CONNECTS_PER_MINUTE: u32 = 20;
/// Events a socket may send per second, `hb` aside; twice as many at once.
pub const SOCKET_EVENTS_PER_SECOND: u32 = 50;
/// A room without traffic is dropped from memory after this time.
pub const IDLE_MS: u64 = 60_000;
/// `auth:expiring` comes this long before `exp`; the socket is closed this long after it.
pub const EXPIRY_NOTICE_MS: u64 = 60_000;
/// Skew of clocks that tokens allow.
pub const TOKEN_LEEWAY_MS: u64 = 60_000;
/// Shortest password, in characters.
pub const PASSWORD_MIN_CHARS: usize = 8;
/// Longest password, in bytes of UTF-8.
pub const PASSWORD_MAX_BYTES: usize = 72;
/// Longest user name, in characters.
pub const USERNAME_CHARS: usize = 50;
/// Longest e-mail address, in bytes.
pub const EMAIL_BYTES: usize = 255;
/// Longest status text, in characters.
pub const STATUS_CHARS: usize = 200;
/// Longest text about oneself, in characters.
pub const BIO_CHARS: usize = 1_000;
/// Longest text of `profile` (mobile, gender, user type), in characters.
pub const PROFILE_CHARS: usize = 100;
/// Shortest and longest text to search people by, in characters (V-23).
pub const SEARCH_CHARS: std::ops::RangeInclusive<usize> = 2..=50;
/// People that one search finds.
pub const SEARCH_RESULTS: u64 = 20;
/// Rows of a list of contacts.
pub const CONTACTS_LISTED: u64 = 2_000;
/// Contacts in one answer whose presence is asked for; the rest is shown offline.
pub const CONTACTS_ASKED: usize = 300;
/// Conversations that are told of a change of a person, newest activity first.
pub const ROOMS_TOLD: u64 = 2_000;
/// Longest conversation name, in characters.
pub const GROUP_NAME_CHARS: usize = 100;
/// Longest `clientId`, in bytes of printable ASCII.
pub const CLIENT_ID_BYTES: usize = 64;
/// Longest `metadata` of a message, in bytes of JSON.
pub const METADATA_BYTES: usize = 8 * 1024;
/// Different reactions to a message.
pub const REACTIONS: usize = 20;
/// Longest emoji of a reaction, in bytes.
pub const EMOJI_BYTES: usize = 64;
/// Users listed with a reaction.
pub const REACTION_USERS: usize = 100;
/// Ids in one `chat:markRead`.
pub const MARK_READ_IDS: usize = 500;
/// Page of history.
pub const PAGE_DEFAULT: u64 = 50;
/// Longest page of history.
pub const PAGE_MAX: u64 = 200;
/// Conversations of a person among which a bare message id is looked for.
pub const CONVERSATIONS_SEARCHED: u64 = 10_000;
/// Longest conversation list.
pub const CONVERSATIONS_MAX: u64 = 500;
/// A repeated refresh by the same client gets the same successor within this time (S2).
pub const REFRESH_REPEAT_MS: u64 = 10_000;
/// A signed request between our own parts is refused when it is older than this.
pub const INTERNAL_REQUEST_MS: u64 = 30_000;
/// Body of a signed request between our own parts.
pub const INTERNAL_BODY_BYTES: usize = 1024 * 1024;
/// Longest access token that is looked at.
pub const ACCESS_TOKEN_BYTES: usize = 4 * 1024;
/// A rate of guarantees 3.3: `burst` at once, and as many again in `window_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub burst: u32,
    pub window_ms: u64,
}

/// Wrong logins of one account from one address.
pub const WRONG_LOGINS_PER_ACCOUNT: Rate = Rate { burst: 5, window_ms: 15 * 60_000 };
/// Wrong logins of one address.
pub const WRONG_LOGINS_PER_ADDRESS: Rate = Rate { burst: 50, window_ms: 3_600_000 };
/// Registrations of one address.
pub const REGISTRATIONS_PER_ADDRESS: Rate = Rate { burst: 5, window_ms: 3_600_000 };
/// Links to a new password that one account may ask for.
pub const RESETS_PER_ACCOUNT: Rate = Rate { burst: 3, window_ms: 3_600_000 };
/// Contact requests of one user.
pub const CONTACT_REQUESTS_PER_USER: Rate = Rate { burst: 30, window_ms: 3_600_000 };
/// Changes of the own profile or settings by one user.
pub const PROFILE_CHANGES_PER_USER: Rate = Rate { burst: 30, window_ms: 60_000 };
/// Life of a link to a new password.
pub const RESET_MS: u64 = 30 * 60_000;
/// Refreshes of one user.
pub const REFRESHES_PER_USER: Rate = Rate { burst: 30, window_ms: 60_000 };
/// A bucket untouched for this long is full again, whatever its rate.
pub const RATE_FORGET_MS: u64 = 24 * 3_600_000;
/// Rows that one request sweeps out of a table of things that expire.
pub const SWEEP_ROWS: u64 = 20;
/// Health asks the storage for a write at most this often.
pub const HEALTH_PROBE_MS: u64 = 5_000;
/// Members in one answer of the conversation list; the list is cut (and paged) before it.
pub const LIST_MEMBERS: u64 = 20_000;
/// User agent kept with a session, in characters.
pub const DEVICE_CHARS: usize = 200;
/// How often a handler tells a User of a revocation before it gives up.
pub const REVOKE_TRIES: usize = 3;
/// New messages of a conversation are entered into the search index this long after the first of them.
pub const INDEX_AFTER_MS: u64 = 700;
/// Events in one batch for the search index: below 1 MB of the longest messages.
pub const INDEX_EVENTS: u64 = 100;
/// A conversation whose newest message is older than this, and not in the index, was forgotten there.
pub const INDEX_LATE_MS: u64 = 4_000;
/// Forgotten conversations that one search wakes.
pub const INDEX_WAKES: u64 = 8;
/// Messages that the full text may find in all conversations together; for more of them the caller's own are read through.
pub const SEARCH_CANDIDATES: u64 = 20_000;
/// Whoever has no more messages than these has them read through.
pub const SEARCH_READ: u64 = 10_000;
/// Of more conversations than these the newest are read through first.
pub const SEARCH_ROOMS: u64 = 100;
/// The list of conversations may know of a message this much later than the index.
pub const HEADS_LATE_MS: u64 = 10_000;
/// Groups of three characters that two characters may stand for.
pub const SEARCH_GROUPS: u64 = 200;
/// Shortest and longest question of a search of messages, in characters (V-23).
pub const QUESTION_CHARS: std::ops::RangeInclusive<usize> = 2..=200;
/// Hits in one answer of a search, and at most.
pub const SEARCH_HITS: u64 = 20;
/// At most.
pub const SEARCH_HITS_MAX: u64 = 50;
/// Searches of one user.
pub const SEARCHES_PER_USER: Rate = Rate { burst: 30, window_ms: 60_000 };
