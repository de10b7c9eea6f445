//! Durable Objects: one class per kind, all of them the same small host of one object.
//!
//! The runtime drops an object from memory between two events whenever it likes; its sockets, their attachments, its
//! storage and its alarm stay. Each event after that begins a life ([`Host::start`]).

mod alarms;
mod calls;
mod classes;
mod meter;
mod outputs;
mod projections;
mod sleep;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use edge_core::error::CloseCode;
use edge_core::limits;
use edge_core::map::{Map, Set};
use edge_core::object::{CallKey, Frame, Input, Kind, Object, ObjectId, Output, RequestHead, RequestId, Response, SocketId};
use edge_core::objects::Message;
use edge_core::settings::Settings;
use futures_channel::oneshot;
use wire::Timestamp;
use worker::{Date, Env, Error, Method, Request, Result, State, Stub, WebSocket, WebSocketIncomingMessage, WebSocketPair};

use crate::{config, frontend, socket, storage};

pub(crate) use calls::stub;

/// The host of one object.
struct Host {
    state: State,
    env: Env,
    kind: Kind,
    inner: RefCell<Inner>,
    requests: Cell<u64>,
    /// Counts lives: what was begun for one is of no use to another.
    life: Cell<u64>,
    turns: RefCell<calls::Turns>,
    sleep: sleep::Sleep,
    meter: meter::Meter,
}

#[derive(Default)]
struct Inner {
    object: Option<Box<dyn Object>>,
    settings: Rc<Settings>,
    name: Rc<str>,
    epoch: u64,
    /// Outputs that were not applied yet: behind a Project that others wait for.
    held: VecDeque<Output>,
    holding: u32,
    projections: projections::Projections,
    sockets: Map<SocketId, WebSocket>,
    /// Those without an attachment: they are closed in seconds, or attached.
    fresh: Set<SocketId>,
    /// Calls over one stub arrive in their order.
    stubs: Map<ObjectId, Rc<Stub>>,
    answers: Map<(ObjectId, CallKey), oneshot::Sender<Message>>,
    polls: Map<RequestId, oneshot::Sender<Response>>,
    alarm: alarms::Alarm,
}

/// Epochs count milliseconds from 2026: what objects derive from them has 40 bits for that.
const FIRST_EPOCH: u64 = 1_767_225_600_000;

fn now() -> Timestamp {
    Timestamp(Date::now().as_millis())
}

fn failed(sentence: impl Into<String>) -> Error {
    Error::RustError(sentence.into())
}

impl Host {
    fn new(state: State, env: Env, kind: Kind) -> Rc<Self> {
        let (sleep, meter) = (sleep::Sleep::new(&env), meter::Meter::new(&env));
        Rc::new(Self { state, env, kind, inner: RefCell::default(), requests: Cell::new(0), life: Cell::new(0), turns: RefCell::default(), sleep, meter })
    }

    fn id(&self) -> ObjectId {
        ObjectId::new(self.kind, &*self.inner.borrow().name)
    }

    /// Begins a life, unless one is under way.
    fn start(self: &Rc<Self>) -> Result<()> {
        if self.inner.borrow().object.is_some() {
            return Ok(());
        }
        let settings = config::settings(&self.env)?;
        let storage = self.state.storage();
        storage::migrate(&storage, self.kind)?;
        // Alarms and sockets begin lives too, and then the runtime may not know the name any more.
        let name = storage::name(&storage, self.state.id().name())?.ok_or_else(|| failed("an object without a name"))?;
        if self.kind == Kind::Gateway {
            socket::answer_pongs(&self.state);
        }
        {
            let mut inner = self.inner.borrow_mut();
            (inner.settings, inner.name) = (settings, name.into());
        }
        self.meter.count("life", 1);
        self.restart()
    }

    fn restart(self: &Rc<Self>) -> Result<()> {
        let (settings, before) = {
            let inner = self.inner.borrow();
            (inner.settings.clone(), inner.epoch)
        };
        let object = edge_core::shard::create(&self.id(), &settings).ok_or_else(|| failed("no object has this name"))?;
        let found = socket::survivors(&self.state);
        self.life.set(self.life.get() + 1);
        let fresh = now().0.saturating_sub(FIRST_EPOCH).max(before + 1);
        let epoch = match self.kind {
            // A gateway that kept its sockets has only slept.
            Kind::Gateway => storage::gateway_epoch(&self.state.storage(), !found.is_empty(), fresh)?,
            _ => fresh,
        };
        let seed = frontend::random()?;
        let mut sockets = Vec::with_capacity(found.len());
        {
            let mut inner = self.inner.borrow_mut();
            (inner.object, inner.epoch) = (Some(object), epoch);
            inner.held.clear();
            inner.holding = 0;
            inner.projections.nobody_waits();
            // Whoever waits for an answer of the life before hears that there is none.
            inner.answers.clear();
            inner.polls.clear();
            for (id, ws, attachment) in found {
                inner.sockets.insert(id, ws);
                sockets.push((id, attachment));
            }
        }
        self.give(Input::Started { sockets, epoch, seed });
        Ok(())
    }

    /// Hands one event to the object and applies what it wants done.
    fn give(self: &Rc<Self>, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            {
                let mut inner = self.inner.borrow_mut();
                let inner = &mut *inner;
                let Some(object) = inner.object.as_mut() else { return };
                object.handle(input, now());
                while let Some(output) = object.poll_output() {
                    inner.held.push_back(output);
                }
            }
            self.apply(&mut inputs);
        }
        self.set_alarm();
        self.meter.tell(&self.inner.borrow().name, self.kind);
    }

    /// Each kind of request reads its body first: between the start of a life and its event nothing may come.
    async fn fetch(self: &Rc<Self>, mut req: Request) -> Result<worker::Response> {
        self.meter.count("request", 1);
        if req.headers().has(frontend::OBJECT_CALL)? {
            return self.called(&mut req).await;
        }
        let head = frontend::request_head(&req)?;
        if frontend::is_upgrade(&req)? {
            return self.upgrade(head);
        }
        self.poll(req, head).await
    }

    fn upgrade(self: &Rc<Self>, head: RequestHead) -> Result<worker::Response> {
        self.start()?;
        let pair = WebSocketPair::new()?;
        let id = socket::number(frontend::random()?);
        socket::accept(&self.state, &pair.server, id);
        {
            let mut inner = self.inner.borrow_mut();
            inner.sockets.insert(id, pair.server);
            inner.fresh.insert(id);
        }
        self.give(Input::SocketOpened { socket: id, head });
        worker::Response::from_websocket(pair.client)
    }

    async fn poll(self: &Rc<Self>, mut req: Request, head: RequestHead) -> Result<worker::Response> {
        let number = RequestId(self.requests.replace(self.requests.get() + 1));
        let body = match req.method() {
            Method::Get => None,
            _ => Some(frontend::limited_body(&mut req, limits::MAX_PAYLOAD_BYTES).await?),
        };
        self.start()?;
        let (sender, receiver) = oneshot::channel();
        self.inner.borrow_mut().polls.insert(number, sender);
        self.sleep.polled(now());
        self.give(match body {
            None => Input::PollGet { req: number, head },
            Some(body) => Input::PollPost { req: number, head, body },
        });
        match receiver.await {
            Ok(response) => frontend::response(response),
            Err(_) => frontend::not_replied(edge_core::object::CallError::Lost),
        }
    }

    fn message(self: &Rc<Self>, ws: &WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        self.start()?;
        self.meter.count("frame", 1);
        let Some(socket) = socket::id(&self.state, ws) else { return Ok(()) };
        let frame = match message {
            WebSocketIncomingMessage::String(text) => Frame::Text(text),
            WebSocketIncomingMessage::Binary(bytes) => Frame::Binary(bytes),
        };
        if frame.len() > limits::MAX_PAYLOAD_BYTES {
            let (code, reason) = CloseCode::TooBig.frame();
            let _ = ws.close(Some(code), Some(reason));
            self.lost(socket, true);
            return Ok(());
        }
        self.give(Input::Frame { socket, frame });
        Ok(())
    }

    /// `code`: of the client's close frame; none when the connection broke.
    fn closed(self: &Rc<Self>, ws: &WebSocket, code: Option<usize>) -> Result<()> {
        self.start()?;
        self.meter.count("close", 1);
        let Some(socket) = socket::id(&self.state, ws) else { return Ok(()) };
        let ours = !self.inner.borrow().sockets.contains_key(&socket);
        if let Some(code) = code.filter(|_| !ours) {
            // Completes the closing handshake; these three may not be sent.
            let code = if matches!(code, 1005 | 1006 | 1015) { 1000 } else { u16::try_from(code).unwrap_or(1000) };
            let _ = ws.close(Some(code), Some(""));
        }
        self.lost(socket, code.is_some_and(|code| code != 1006));
        Ok(())
    }

    fn lost(self: &Rc<Self>, socket: SocketId, clean: bool) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.sockets.remove(&socket);
            inner.fresh.remove(&socket);
        }
        self.give(Input::SocketClosed { socket, clean });
    }
}
