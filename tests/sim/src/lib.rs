//! The whole system in one process, driven by one number, with the history checker.
//!
//! Two things that know nothing of each other:
//!
//! - [`check`]: a pure function over a log of what clients asked and saw. It decides M1-M8 of `guarantees.md` section 1
//!   the way section 11.3 says, who may read and do what (N19, N20, N22, N28, N47), and what a search finds (G-07). The log is [`history::HistoryEvent`], in files one JSON object per line, so that tests
//!   of real processes in any language feed the same checker: `cargo run -p sim --bin check-history < history.jsonl`.
//! - the simulator ([`world`]): gateways, rooms and users of `edge-core` under an exact model of the host contract
//!   ([`host`]), real SQL in memory ([`store`]), model clients ([`client`]), and faults. One `u64` determines everything.
//!   Every third number runs on a host whose objects sleep ([`sleep`]). At the end of a run, without faults but for one
//!   that a scene brings, everything that has a time is looked at: presence and blocks ([`presence`]), read marks
//!   ([`marks`]), the search index ([`search`]).
//!
//! # The log, one JSON object per line
//!
//! Every line has `e` (what happened) and may have `t` (milliseconds of any clock, for people only). **Lines stand in
//! the order in which the one recorder saw them happen**: the checker compares positions, never times. Ids of
//! conversations, users, messages, devices and connections are strings; `op` is a number unique in the log.
//!
//! | `e` | fields | written |
//! |---|---|---|
//! | `connect` | `conn`, `device`, `user`, `session`? | when the namespace is connected; `conn` is new each time, `device` stays; `session`: the `pid` |
//! | `disconnect` | `conn` | when the client knows that the connection is gone |
//! | `resume` | `op`, `conn`, `cursors` | before `sync:resume` is written; `cursors` as sent, `{}` subscribes from the heads |
//! | `resumed` | `op`, `heads`, `more`?, `marks`? | its ack; `marks` as `{conversation:{user:{delivered_seq,read_seq}}}` |
//! | `resume_failed` | `op` | its ack was an error |
//! | `dismissed` | `conn`, `conversation` | `conversation:removed` |
//! | `deliver` | `conn`, `conversation`, `row` | each durable event, **before** the client drops repeats |
//! | `reset` | `conn`, `conversation`, `head` | `sync:reset` |
//! | `hold` | `device`, `conversation`, `seq` | the device now holds everything up to `seq` by other means (history) |
//! | `send` | `op`, `user`, `device`?, `conversation`, `client_id`?, `content` | before each attempt, repeats included |
//! | `ok` | `op`, `row` | the ack or 201/200 of a send |
//! | `fail` | `op`, `code` | an error answer to a send |
//! | `unknown` | `op` | the connection went, or nobody answered within 10 s |
//! | `mark` | `op`, `user`, `conversation`, `up_to` | before `chat:markRead` |
//! | `marked` | `op`, `read_seq` | its ack (an error needs no line) |
//! | `marks` | `conversation`, `user`, `delivered_seq`?, `read_seq`? | a client saw these marks of `user` (`chat:receipts`, `chat:read`) |
//! | `read` | `op`, `user`, `conversation`, `newest` | before a request for history; `newest`: the newest page |
//! | `rows` | `op`, `rows` | its answer, oldest first |
//! | `commit` | `conversation`, `seq` | optional: the row became durable; with it M4 is checked to the event |
//! | `quiesced` | | everything was given time to arrive: from here on open connections must have everything |
//! | `change` | `op`, `user`, `conversation`, `message`, `kind`, `content` | before an edit, deletion or reaction; `kind` is the event that tells of it, `content` an edit's text or a reaction's `👍+`, `👍-` |
//! | `changed` | `op` | its ack (an error needs no line) |
//! | `search` | `op`, `user`, `text` | before a search, made when the index had time to follow |
//! | `found` | `op`, `hits` | everything it found, as `{conversation,id,content}` |
//! | `final` | `conversation`, `rows`, `marks`?, `states`?, `members`? | the stored truth, read at the end; all rows, oldest first; `states`: of changed messages; `members`: who is one at the end |
//!
//! A `row` is `{"seq":1,"id":"..","sender":"..","client_id":null,"content":".."}`; unknown fields are ignored. The content
//! is the one that was sent, and empty once the message is deleted. Durable events that are no messages have their name in
//! `kind`, the message's id in `id`, who did it in `sender`, and in `content` nothing that changes later.

#![allow(clippy::missing_errors_doc)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
mod changes;
pub mod check;
mod client;
mod groups;
pub mod history;
mod host;
mod marks;
mod net;
mod packet;
pub mod planted;
mod presence;
pub mod product;
pub mod queue;
mod relations;
mod rest;
pub mod rng;
pub mod run;
pub mod scenario;
mod search;
mod sleep;
pub mod store;
pub mod toy;
pub mod world;
