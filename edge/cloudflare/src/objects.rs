//! Durable Objects: one class per kind, all of them the same small host of one object.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use edge_core::error::CloseCode;
use edge_core::limits;
use edge_core::object::{
    CallError, CallKey, Frame, Input, Kind, Object, ObjectId, Output, PersistError, RequestHead, RequestId, Response, SocketId,
    Store,
};
use edge_core::objects::Message;
use edge_core::settings::Settings;
use edge_core::sql::Statement;
use futures_channel::oneshot;
use serde::{Deserialize, Serialize};
use wire::Timestamp;
use worker::{
    Date, Delay, DurableObject, Env, Method, Request, Result, State, WebSocket, WebSocketIncomingMessage,
    WebSocketPair, durable_object, wasm_bindgen,
};

use crate::hrana::People;
use crate::{config, frontend, socket, storage};

/// A call between objects, or from a handler: body of `POST https://objects.internal/<kind>/<name>`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) from: ObjectId,
    pub(crate) call: CallKey,
    pub(crate) msg: Message,
}

/// The host of one object.
struct Host {
    state: State,
    env: Env,
    kind: Kind,
    inner: RefCell<Inner>,
    requests: Cell<u64>,
}

#[derive(Default)]
struct Inner {
    object: Option<Box<dyn Object>>,
    settings: Rc<Settings>,
    /// Outputs behind a Project that is not applied yet.
    held: VecDeque<Output>,
    holding: u32,
    /// Projects that may wait, by key: only the newest counts.
    waiting: BTreeMap<String, Statement>,
    flushing: bool,
    answers: BTreeMap<(ObjectId, CallKey), oneshot::Sender<Message>>,
    polls: BTreeMap<RequestId, oneshot::Sender<Response>>,
    alarm: Option<Timestamp>,
    pongs: BTreeMap<SocketId, u64>,
}

fn now() -> Timestamp {
    Timestamp(Date::now().as_millis())
}

impl Host {
    fn new(state: State, env: Env, kind: Kind) -> Rc<Self> {
        Rc::new(Self { state, env, kind, inner: RefCell::default(), requests: Cell::new(0) })
    }

    fn id(&self) -> ObjectId {
        ObjectId::new(self.kind, self.state.id().name().unwrap_or_default())
    }

    /// First event of a life.
    fn start(self: &Rc<Self>) -> Result<()> {
        if self.inner.borrow().object.is_some() {
            return Ok(());
        }
        let settings = Rc::new(config::settings(&self.env)?);
        if !storage::migrate(&self.state.storage(), self.kind)? {
            return Err(worker::Error::RustError("the storage is of a newer version".into()));
        }
        if self.kind == Kind::Gateway {
            socket::answer_pongs(&self.state);
        }
        self.inner.borrow_mut().settings = settings;
        self.restart()
    }

    fn restart(self: &Rc<Self>) -> Result<()> {
        let settings = self.inner.borrow().settings.clone();
        let object = edge_core::shard::create(&self.id(), &settings)
            .ok_or_else(|| worker::Error::RustError("no object has this name".into()))?;
        let sockets = socket::survivors(&self.state);
        let epoch = self.epoch(!sockets.is_empty());
        let seed = frontend::random()?;
        {
            let mut inner = self.inner.borrow_mut();
            inner.object = Some(object);
            inner.held.clear();
            inner.holding = 0;
            inner.answers.clear();
        }
        self.give(Input::Started { sockets, epoch, seed });
        Ok(())
    }

    /// A gateway that only slept keeps its epoch; every other life has a higher one.
    fn epoch(&self, only_slept: bool) -> u64 {
        let fresh = now().0;
        if self.kind != Kind::Gateway {
            return fresh;
        }
        let storage = self.state.storage();
        storage::gateway_epoch(&storage, only_slept, fresh).unwrap_or(fresh)
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
    }

    fn apply(self: &Rc<Self>, inputs: &mut VecDeque<Input>) {
        loop {
            let output = {
                let mut inner = self.inner.borrow_mut();
                if inner.holding > 0 {
                    return;
                }
                let Some(output) = inner.held.pop_front() else { return };
                output
            };
            if let Err(input) = self.apply_one(output, inputs) {
                self.fail(input, inputs);
                return;
            }
        }
    }

    /// `Err`: the Persist was not applied.
    fn apply_one(self: &Rc<Self>, output: Output, inputs: &mut VecDeque<Input>) -> std::result::Result<(), Input> {
        match output {
            Output::Send { sockets, frame } => {
                for ws in sockets.iter().filter_map(|id| socket::find(&self.state, *id)) {
                    socket::send(&ws, &frame);
                }
            }
            // The runtime queues without telling how much: replay goes on at once.
            Output::Drain { socket } => inputs.push_back(Input::Drained { socket }),
            Output::Respond { req, response } => {
                if let Some(answer) = self.inner.borrow_mut().polls.remove(&req) {
                    let _ = answer.send(response);
                }
            }
            Output::Close { socket, code, reason } => {
                if let Some(ws) = socket::find(&self.state, socket) {
                    let _ = ws.close(Some(code), Some(reason));
                }
                inputs.push_back(Input::SocketClosed { socket, clean: true });
            }
            Output::Attach { socket, data } => {
                if let Some(ws) = socket::find(&self.state, socket) {
                    let _ = socket::attach(&ws, data);
                }
            }
            Output::Persist { n, statements } => match storage::persist(&self.state.storage(), statements) {
                Ok(()) => inputs.push_back(Input::Persisted { n }),
                Err(error) => return Err(Input::PersistFailed { n, error }),
            },
            Output::Project { n, key, statement, hold, .. } => self.project(n, key, statement, hold, inputs),
            Output::Load { load, store: Store::Own, statements } => {
                let result = storage::load(&self.state.storage(), &statements);
                inputs.push_back(Input::Loaded { load, result });
            }
            Output::Load { load, store: Store::People, statements } => {
                let host = self.clone();
                self.state.wait_until(async move {
                    let result = match People::new(&host.env) {
                        Ok(people) => people.read(&statements).await,
                        Err(error) => Err(error),
                    };
                    host.give(Input::Loaded { load, result: result.map_err(|_| PersistError::Io) });
                });
            }
            Output::Object { to, call, msg } => self.call(to, call, msg),
            Output::Reply { to, call, msg } => {
                if let Some(answer) = self.inner.borrow_mut().answers.remove(&(to, call)) {
                    let _ = answer.send(msg);
                }
            }
            Output::NodeRequest { request, .. } => {
                inputs.push_back(Input::NodeReply { request, result: Err(CallError::Lost) });
            }
            Output::SetAlarm { .. } | Output::Idle => {}
        }
        Ok(())
    }

    /// Storage refused: nobody hears what stood behind it, and the object begins again from what is stored.
    fn fail(self: &Rc<Self>, input: Input, inputs: &mut VecDeque<Input>) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.held.clear();
            inner.answers.clear();
            if let Some(object) = inner.object.as_mut() {
                object.handle(input, now());
                while object.poll_output().is_some() {}
            }
        }
        inputs.clear();
        let _ = self.restart();
    }

    fn call(self: &Rc<Self>, to: ObjectId, call: CallKey, msg: Message) {
        let (host, from) = (self.clone(), self.id());
        self.state.wait_until(async move {
            let result = frontend::call(&host.env, &to, &Envelope { from, call, msg }).await;
            if call != CallKey::NONE {
                host.give(Input::Reply { call, result });
            }
        });
    }

    fn project(self: &Rc<Self>, n: u64, key: String, statement: Statement, hold: bool, inputs: &mut VecDeque<Input>) {
        let mut inner = self.inner.borrow_mut();
        inner.waiting.insert(key, statement);
        if hold {
            inner.holding += 1;
        } else {
            inputs.push_back(Input::Persisted { n });
            if inner.flushing {
                return;
            }
        }
        inner.flushing = true;
        drop(inner);
        let host = self.clone();
        self.state.wait_until(async move {
            if !hold {
                Delay::from(Duration::from_millis(limits::PROJECT_COALESCE_MS)).await;
            }
            host.flush_projects().await;
            if hold {
                {
                    let mut inner = host.inner.borrow_mut();
                    inner.holding = inner.holding.saturating_sub(1);
                }
                host.give(Input::Persisted { n });
            }
        });
    }

    /// Writes what waits; what fails waits for the next change, and for the comparison at the next start.
    async fn flush_projects(self: &Rc<Self>) {
        let waiting = {
            let mut inner = self.inner.borrow_mut();
            inner.flushing = false;
            std::mem::take(&mut inner.waiting)
        };
        if waiting.is_empty() {
            return;
        }
        let statements: Vec<Statement> = waiting.values().cloned().collect();
        let written = match People::new(&self.env) {
            Ok(people) => people.batch(&statements).await.is_ok(),
            Err(_) => false,
        };
        if !written {
            let mut inner = self.inner.borrow_mut();
            for (key, statement) in waiting {
                inner.waiting.entry(key).or_insert(statement);
            }
        }
    }

    /// One alarm per object: an earlier one than set replaces it, a later one waits for it.
    fn set_alarm(self: &Rc<Self>) {
        let mut inner = self.inner.borrow_mut();
        let Some(wanted) = inner.object.as_ref().and_then(|object| object.poll_timeout()) else { return };
        if inner.alarm.is_some_and(|set| set <= wanted) {
            return;
        }
        inner.alarm = Some(wanted);
        drop(inner);
        let host = self.clone();
        self.state.wait_until(async move {
            let _ = host.state.storage().set_alarm(wanted.0 as i64).await;
        });
    }

    async fn alarm(self: &Rc<Self>) -> Result<worker::Response> {
        self.start()?;
        let mut heard = Vec::new();
        {
            let mut inner = self.inner.borrow_mut();
            inner.alarm = None;
            if self.kind == Kind::Gateway {
                for ws in self.state.get_websockets() {
                    let Some(id) = socket::id(&self.state, &ws) else { continue };
                    if let Some(at) = socket::last_pong(&self.state, &ws)
                        && inner.pongs.insert(id, at) != Some(at)
                    {
                        heard.push(id);
                    }
                }
            }
        }
        // The runtime answered these pongs while the object slept: the object hears of them now.
        for socket in heard {
            self.give(Input::Frame { socket, frame: Frame::Text("3".into()) });
        }
        self.give(Input::Alarm);
        worker::Response::empty()
    }

    async fn fetch(self: &Rc<Self>, mut req: Request) -> Result<worker::Response> {
        self.start()?;
        if req.headers().has(frontend::OBJECT_CALL)? {
            return self.called(&mut req).await;
        }
        let head = frontend::request_head(&req)?;
        if req.headers().get("upgrade")?.is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
            return self.upgrade(head);
        }
        self.poll(req, head).await
    }

    async fn called(self: &Rc<Self>, req: &mut Request) -> Result<worker::Response> {
        let Envelope { from, call, msg } = req.json().await?;
        if call == CallKey::NONE {
            self.give(Input::Object { from, call, msg });
            return frontend::replied(&Message::Done);
        }
        let (sender, receiver) = oneshot::channel();
        self.inner.borrow_mut().answers.insert((from.clone(), call), sender);
        self.give(Input::Object { from, call, msg });
        match receiver.await {
            Ok(msg) => frontend::replied(&msg),
            Err(_) => frontend::not_replied(CallError::Failed),
        }
    }

    fn upgrade(self: &Rc<Self>, head: RequestHead) -> Result<worker::Response> {
        let pair = WebSocketPair::new()?;
        let id = socket::number(frontend::random()?);
        socket::accept(&self.state, &pair.server, id);
        self.give(Input::SocketOpened { socket: id, head });
        worker::Response::from_websocket(pair.client)
    }

    async fn poll(self: &Rc<Self>, mut req: Request, head: RequestHead) -> Result<worker::Response> {
        let number = RequestId(self.requests.replace(self.requests.get() + 1));
        let (sender, receiver) = oneshot::channel();
        self.inner.borrow_mut().polls.insert(number, sender);
        if req.method() == Method::Get {
            self.give(Input::PollGet { req: number, head });
        } else {
            let body = frontend::limited_body(&mut req, limits::MAX_PAYLOAD_BYTES).await?;
            self.give(Input::PollPost { req: number, head, body });
        }
        match receiver.await {
            Ok(response) => frontend::response(response),
            Err(_) => frontend::not_replied(CallError::Lost),
        }
    }

    fn message(self: &Rc<Self>, ws: &WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        self.start()?;
        let Some(socket) = socket::id(&self.state, ws) else { return Ok(()) };
        let frame = match message {
            WebSocketIncomingMessage::String(text) => Frame::Text(text),
            WebSocketIncomingMessage::Binary(bytes) => Frame::Binary(bytes),
        };
        if frame.len() > limits::MAX_PAYLOAD_BYTES {
            let (code, reason) = CloseCode::TooBig.frame();
            let _ = ws.close(Some(code), Some(reason));
            self.give(Input::SocketClosed { socket, clean: true });
            return Ok(());
        }
        self.give(Input::Frame { socket, frame });
        Ok(())
    }

    fn closed(self: &Rc<Self>, ws: &WebSocket, code: Option<usize>) -> Result<()> {
        self.start()?;
        if let Some(code) = code {
            // Completes the closing handshake; these three may not be sent.
            let code = if matches!(code, 1005 | 1006 | 1015) { 1000 } else { u16::try_from(code).unwrap_or(1000) };
            let _ = ws.close(Some(code), Some(""));
        }
        if let Some(socket) = socket::id(&self.state, ws) {
            self.inner.borrow_mut().pongs.remove(&socket);
            self.give(Input::SocketClosed { socket, clean: code.is_some_and(|code| code != 1006) });
        }
        Ok(())
    }
}

/// Holds sockets: `gw-<n>`.
#[durable_object]
pub struct Gateway {
    host: Rc<Host>,
}

/// Single writer of a conversation.
#[durable_object]
pub struct Room {
    host: Rc<Host>,
}

/// Registrar of a user's sockets.
#[durable_object]
pub struct User {
    host: Rc<Host>,
}

macro_rules! durable_object {
    ($name:ident) => {
        impl DurableObject for $name {
            fn new(state: State, env: Env) -> Self {
                Self { host: Host::new(state, env, Kind::$name) }
            }

            async fn fetch(&self, req: Request) -> Result<worker::Response> {
                self.host.fetch(req).await
            }

            async fn alarm(&self) -> Result<worker::Response> {
                self.host.alarm().await
            }

            async fn websocket_message(&self, ws: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
                self.host.message(&ws, message)
            }

            async fn websocket_close(&self, ws: WebSocket, code: usize, _reason: String, _clean: bool) -> Result<()> {
                self.host.closed(&ws, Some(code))
            }

            async fn websocket_error(&self, ws: WebSocket, _error: worker::Error) -> Result<()> {
                self.host.closed(&ws, None)
            }
        }
    };
}

durable_object!(Gateway);
durable_object!(Room);
durable_object!(User);
