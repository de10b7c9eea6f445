//! The targets: one per parser that anything from outside reaches, and some per object behind several of them. What a
//! target checks holds of every input.

mod attachment;
mod content;
mod headers;
mod hrana;
mod http;
mod internal;
mod names;
mod net;
mod objects;
mod recovery;
mod search;
mod settings;
mod socket;
mod tokens;

/// A check of any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also the folder of its corpus.
    pub name: &'static str,
    /// Mutations in a short run.
    pub count: usize,
    /// Panics when a rule is broken. Answers whether the input was taken for what the parser reads: a corpus of which
    /// nothing is taken tests nothing.
    pub check: fn(&[u8]) -> bool,
}

/// About a second in a debug build.
const MANY: usize = 20_000;
/// The same for what a whole object is built for.
const SOME: usize = 3_000;
/// The same for what asks a database.
const FEW: usize = 1_500;

macro_rules! target {
    ($module:ident::$name:ident, $count:expr) => {
        Target { name: stringify!($name), count: $count, check: $module::$name }
    };
}

/// All of them.
pub const TARGETS: &[Target] = &[
    // What sockets send.
    target!(socket::engineio_packet, MANY),
    target!(socket::engineio_polling_body, MANY),
    target!(socket::engineio_query, MANY),
    target!(socket::socketio_packet, MANY),
    target!(socket::socketio_binary_reassembly, MANY),
    target!(socket::chatcall_event, MANY),
    target!(socket::sync_cursor, MANY),
    target!(recovery::recovery_claim, SOME),
    target!(recovery::session_handover, SOME),
    target!(attachment::socket_attachment, SOME),
    // What requests bring.
    target!(http::http_request, FEW),
    target!(headers::origin, MANY),
    target!(headers::client_address, MANY),
    target!(tokens::access_token, SOME),
    target!(tokens::access_token_claims, MANY),
    target!(tokens::refresh_token, MANY),
    // What is in them.
    target!(content::message_content, MANY),
    target!(content::reaction, MANY),
    target!(content::mentions, SOME),
    target!(search::search_query, MANY),
    target!(names::ids, MANY),
    target!(names::time, MANY),
    // What parts of a deployment say to each other.
    target!(internal::object_message, MANY),
    target!(internal::forwarded_request, MANY),
    target!(internal::internal_signature, MANY),
    target!(internal::store_answer, MANY),
    target!(objects::room_messages, SOME),
    target!(objects::user_messages, SOME),
    target!(hrana::hrana_reply, MANY),
    target!(settings::variables, MANY),
];

/// The target of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
