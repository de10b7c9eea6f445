//! The objects' world: WIT events to `edge-core`'s inputs, effects back. State lives in the instance.

use std::cell::RefCell;

use edge_core::object::{self as core, CallKey, ObjectId, RequestId, SocketId};
use edge_core::objects::Message;
use edge_core::settings::Settings;
use edge_core::shard::Shard;
use edge_core::sql;
use wire::Timestamp;

#[allow(unsafe_code, unreachable_pub, unused_qualifications, missing_debug_implementations)] // generated
mod wit {
    spin_sdk::wit_bindgen::generate!({
        world: "objects",
        path: "../wit",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
    });

    pub struct Exported;
    export!(Exported);
}

use wit::exports::chatcall::objects::shard::*;

thread_local!(static SHARD: RefCell<Option<Shard>> = const { RefCell::new(None) });

impl Guest for wit::Exported {
    fn configure(settings: String) -> Result<(), String> {
        let settings: Settings = serde_json::from_str(&settings).map_err(|error| error.to_string())?;
        SHARD.set(Some(Shard::new(settings)));
        Ok(())
    }

    fn step(now: u64, inputs: Vec<(String, Input)>) -> Vec<(String, Output)> {
        let inputs = inputs.into_iter().filter_map(|(name, input)| Some((ObjectId::parse(&name)?, input_in(input)?)));
        let inputs: Vec<_> = inputs.collect();
        SHARD.with_borrow_mut(|shard| {
            let Some(shard) = shard else { return Vec::new() };
            let mut outputs = Vec::new();
            shard.step(Timestamp(now), inputs, &mut outputs);
            outputs.into_iter().map(|(id, output)| (id.to_string(), output_out(output))).collect()
        })
    }
}


/// `None` only for an event whose sender has no name: nobody could be answered.
fn input_in(input: Input) -> Option<core::Input> {
    Some(match input {
        Input::Started(Started { sockets, epoch, seed }) => {
            let sockets = sockets.into_iter().map(|(socket, data)| (SocketId(socket), data)).collect();
            core::Input::Started { sockets, epoch, seed: seed.try_into().ok()? }
        }
        Input::SocketOpened(Opened { socket, head }) => {
            core::Input::SocketOpened { socket: SocketId(socket), head: head_in(head) }
        }
        Input::Frame(Received { socket, frame }) => {
            core::Input::Frame { socket: SocketId(socket), frame: frame_in(frame) }
        }
        Input::Drained(socket) => core::Input::Drained { socket: SocketId(socket) },
        Input::SocketClosed(Gone { socket, clean }) => core::Input::SocketClosed { socket: SocketId(socket), clean },
        Input::PollGet(Poll { req, head, body: _ }) => {
            core::Input::PollGet { req: RequestId(req), head: head_in(head) }
        }
        Input::PollPost(Poll { req, head, body }) => {
            core::Input::PollPost { req: RequestId(req), head: head_in(head), body }
        }
        Input::PollAborted(req) => core::Input::PollAborted { req: RequestId(req) },
        Input::Object(Envelope { peer, call, msg }) => core::Input::Object {
            from: ObjectId::parse(&peer)?,
            call: CallKey(call),
            msg: Message::from_bytes(&msg),
        },
        Input::Reply(Replied { call, answer }) => core::Input::Reply {
            call: CallKey(call),
            result: answer.map(|msg| Message::from_bytes(&msg)).map_err(call_error_in),
        },
        Input::Loaded(Loaded { load, answer }) => core::Input::Loaded {
            load,
            result: answer.map(|all| all.into_iter().map(rows_in).collect()).map_err(persist_error_in),
        },
        Input::Persisted(n) => core::Input::Persisted { n },
        Input::PersistFailed(Refused { n, error }) => core::Input::PersistFailed { n, error: persist_error_in(error) },
        Input::Alarm => core::Input::Alarm,
        Input::NodeReply(NodeReply { request, answer }) => core::Input::NodeReply {
            request,
            result: answer
                .map_err(call_error_in)
                .and_then(|json| serde_json::from_slice(&json).map_err(|_| core::CallError::Failed)),
        },
        Input::NodeEvent(NodeEvent { node, event }) => {
            core::Input::NodeEvent { node, event: serde_json::from_slice(&event).ok()? }
        }
        Input::Draining => core::Input::Draining,
    })
}

fn output_out(output: core::Output) -> Output {
    match output {
        core::Output::Send { sockets, frame } => Output::Send(SendTo {
            sockets: sockets.into_iter().map(|socket| socket.0).collect(),
            frame: match frame {
                core::Frame::Text(text) => Frame::Text(text),
                core::Frame::Binary(bytes) => Frame::Binary(bytes),
            },
        }),
        core::Output::Drain { socket } => Output::Drain(socket.0),
        core::Output::Respond { req, response: core::Response { status, headers, body } } => {
            Output::Respond(Respond { req: req.0, status, headers, body })
        }
        core::Output::Close { socket, code, reason } => Output::Close(Close { socket: socket.0, code, reason }),
        core::Output::Attach { socket, data } => Output::Attach(Attach { socket: socket.0, data }),
        core::Output::Persist { n, statements } => {
            Output::Persist(Persist { n, statements: statements.into_iter().map(statement_out).collect() })
        }
        core::Output::Project { n, key, version, statement, hold } => {
            Output::Project(Project { n, key, version, statement: statement_out(statement), hold })
        }
        core::Output::Load { load, store, statements } => Output::Load(Load {
            load,
            store: match store {
                core::Store::Own => Store::Own,
                core::Store::People => Store::People,
            },
            statements: statements.into_iter().map(statement_out).collect(),
        }),
        core::Output::Object { to, call, msg } => Output::Object(envelope(&to, call, &msg)),
        core::Output::Reply { to, call, msg } => Output::Reply(envelope(&to, call, &msg)),
        core::Output::NodeRequest { node, request, body } => {
            Output::NodeRequest(NodeRequest { node, request, body: body.to_string().into_bytes() })
        }
        core::Output::SetAlarm { at } => Output::SetAlarm(at.map(|at| at.0)),
        core::Output::Idle => Output::Idle,
    }
}

fn envelope(peer: &ObjectId, call: CallKey, msg: &Message) -> Envelope {
    Envelope { peer: peer.to_string(), call: call.0, msg: msg.to_bytes() }
}

fn head_in(head: RequestHead) -> core::RequestHead {
    let RequestHead { method, path, query, origin, content_type, address, upgrades } = head;
    core::RequestHead { method, path, query, origin, content_type, address, upgrades }
}

fn frame_in(frame: Frame) -> core::Frame {
    match frame {
        Frame::Text(text) => core::Frame::Text(text),
        Frame::Binary(bytes) => core::Frame::Binary(bytes),
    }
}

fn rows_in(rows: Vec<Vec<Value>>) -> sql::Rows {
    rows.into_iter().map(|row| row.into_iter().map(value_in).collect()).collect()
}

fn value_in(value: Value) -> sql::Value {
    match value {
        Value::Null => sql::Value::Null,
        Value::Integer(n) => sql::Value::Integer(n),
        Value::Real(x) => sql::Value::Real(x),
        Value::Text(text) => sql::Value::Text(text),
        Value::Blob(bytes) => sql::Value::Blob(bytes),
    }
}

fn value_out(value: sql::Value) -> Value {
    match value {
        sql::Value::Null => Value::Null,
        sql::Value::Integer(n) => Value::Integer(n),
        sql::Value::Real(x) => Value::Real(x),
        sql::Value::Text(text) => Value::Text(text),
        sql::Value::Blob(bytes) => Value::Blob(bytes),
    }
}

fn statement_out(statement: sql::Statement) -> Statement {
    Statement {
        sql: statement.sql.into_owned(),
        params: statement.params.into_iter().map(value_out).collect(),
    }
}

fn call_error_in(error: CallError) -> core::CallError {
    match error {
        CallError::Failed => core::CallError::Failed,
        CallError::Lost => core::CallError::Lost,
        CallError::Overloaded => core::CallError::Overloaded,
    }
}

fn persist_error_in(error: PersistError) -> core::PersistError {
    match error {
        PersistError::Conflict => core::PersistError::Conflict,
        PersistError::Full => core::PersistError::Full,
        PersistError::Io => core::PersistError::Io,
    }
}
