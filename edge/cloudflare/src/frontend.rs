//! The fetch handler: Engine.IO to a gateway, everything else to the handlers of `edge-core` over `Platform`.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use edge_core::error::Failure;
use edge_core::http::{self, unavailable};
use edge_core::limits;
use edge_core::object::{CallError, CallKey, Kind, ObjectId, RequestHead, Response};
use edge_core::objects::{self, Message};
use edge_core::platform::{Platform, StoreError};
use edge_core::settings::Settings;
use edge_core::sql::people_schema::{self, SchemaError};
use edge_core::sql::{Rows, Statement};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use serde_json::json;
use wire::{ErrorCode, Timestamp};
use worker::js_sys::Uint8Array;
use worker::{Context, Date, Delay, Env, Headers, Method, Request, RequestInit, Result, Stub, console_error, event};

use crate::config::{self, binding};
use crate::hrana::People;
use crate::objects::stub;

/// As the own host's.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Who calls an object. Marks a call between objects, which is no request from outside.
pub(crate) const OBJECT_CALL: &str = "x-chatcall-object";
/// The key of the call.
const CALL_KEY: &str = "x-chatcall-call";

thread_local!(static SCHEMA_IS_THERE: Cell<bool> = const { Cell::new(false) });

#[event(fetch)]
async fn fetch(req: Request, env: Env, _context: Context) -> Result<worker::Response> {
    if req.headers().has(OBJECT_CALL)? {
        // Only objects and handlers speak to objects; nobody outside may look like one.
        return worker::Response::error("", Failure::new(ErrorCode::NotFound).status());
    }
    let settings = match config::deployment(&env) {
        Ok(settings) => settings,
        Err(why) => return response(unavailable(&request(req).await?, &why, &Settings::default(), now())),
    };
    if req.path() == "/socket.io/" || req.path() == "/socket.io" {
        return to_gateway(req, &env, &settings).await;
    }
    let platform = Workers { env, settings };
    response(platform.answer(request(req).await?).await)
}

/// Polling requests and upgrades go to the gateway that the `sid` names, new ones to any.
async fn to_gateway(req: Request, env: &Env, settings: &Settings) -> Result<worker::Response> {
    let url = req.url()?;
    let sid = url.query_pairs().find(|(name, _)| name == "sid").map(|(_, value)| value.into_owned());
    let known = sid.as_deref().and_then(objects::gateway_of_sid);
    let random = random()?;
    let any = u32::from_le_bytes([random[0], random[1], random[2], random[3]]) % settings.gateways.max(1);
    let gateways = 0..settings.gateways;
    let known = known.filter(|id| gateways.clone().any(|n| objects::gateway(n) == *id));
    let id = known.unwrap_or_else(|| objects::gateway(if sid.is_some() { 0 } else { any }));
    let upgrade = is_upgrade(&req)?;
    let (origin, host) = (req.headers().get("origin")?, req.headers().get("host")?);
    if upgrade && !http::cors::origin_allowed(origin.as_deref(), host.as_deref(), settings) {
        return worker::Response::error("", Failure::new(ErrorCode::PermissionDenied).status());
    }
    let path = url.path().to_owned();
    let answer = env.durable_object(binding(Kind::Gateway))?.get_by_name(&id.name)?.fetch_with_request(req).await;
    match answer {
        Ok(answer) if answer.status_code() != Failure::new(ErrorCode::InternalError).status() => Ok(answer),
        // It could not begin, or broke off; why is in the log, its own or this one.
        trouble => {
            if let Err(error) = trouble {
                console_error!("{}: {error}", id.name);
            }
            let head = http::Request { path, ..http::Request::default() };
            response(unavailable(&head, "sockets are not served at the moment: the log says why", settings, now()))
        }
    }
}

/// Whether the client wants a WebSocket.
pub(crate) fn is_upgrade(req: &Request) -> Result<bool> {
    Ok(req.headers().get("upgrade")?.is_some_and(|value| value.eq_ignore_ascii_case("websocket")))
}

/// Fresh bytes.
pub(crate) fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| worker::Error::RustError(error.to_string()))?;
    Ok(bytes)
}

/// What an Engine.IO session needs to know of a request.
pub(crate) fn request_head(req: &Request) -> Result<RequestHead> {
    let url = req.url()?;
    Ok(RequestHead {
        method: req.method().to_string(),
        path: url.path().to_owned(),
        query: url.query().unwrap_or_default().to_owned(),
        origin: req.headers().get("origin")?,
        content_type: req.headers().get("content-type")?,
        address: address(req.headers()),
        upgrades: true,
    })
}

fn address(headers: &Headers) -> String {
    headers.get("cf-connecting-ip").ok().flatten().unwrap_or_default()
}

async fn request(mut req: Request) -> Result<http::Request> {
    let url = req.url()?;
    let body = match req.method() {
        Method::Get | Method::Head | Method::Options => Vec::new(),
        _ => limited_body(&mut req, limits::HTTP_BODY_BYTES).await?,
    };
    Ok(http::Request {
        // As it came: for `Request::method` everything that it does not know is GET.
        method: req.inner().method(),
        path: url.path().to_owned(),
        query: url.query().unwrap_or_default().to_owned(),
        headers: req.headers().entries().collect(),
        body,
        address: address(req.headers()),
    })
}

/// The body, cut after one byte more than `limit`.
pub(crate) async fn limited_body(req: &mut Request, limit: usize) -> Result<Vec<u8>> {
    let Ok(mut stream) = req.stream() else { return Ok(Vec::new()) };
    let mut body = Vec::new();
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk?);
        if body.len() > limit {
            body.truncate(limit + 1);
            break;
        }
    }
    Ok(body)
}

/// An answer of the core as one of the runtime.
pub(crate) fn response(response: Response) -> Result<worker::Response> {
    let headers = Headers::new();
    for (name, value) in &response.headers {
        headers.append(name, value)?;
    }
    let answer = if response.body.is_empty() { worker::Response::empty()? } else { worker::Response::from_bytes(response.body)? };
    Ok(answer.with_status(response.status).with_headers(headers))
}

/// The answer to a call between objects.
pub(crate) fn replied(msg: &Message) -> Result<worker::Response> {
    worker::Response::from_bytes(msg.to_bytes())
}

/// A call that got no answer.
pub(crate) fn not_replied(error: CallError) -> Result<worker::Response> {
    let status = Failure::new(ErrorCode::NodeUnavailable).status();
    Ok(worker::Response::from_json(&json!({"error": error}))?.with_status(status))
}

/// Calls an object. Without an answer in time the outcome is unknown.
pub(crate) async fn call(
    stub: &Stub,
    to: &ObjectId,
    from: &ObjectId,
    call: CallKey,
    msg: &Message,
) -> std::result::Result<Message, CallError> {
    let (answer, late) = (pin!(try_call(stub, to, from, call, msg)), pin!(Delay::from(CALL_TIMEOUT)));
    match select(answer, late).await {
        Either::Left((Ok(answer), _)) => answer,
        Either::Left((Err(error), _)) => {
            console_error!("a call to {}/{} is lost: {error}", to.kind.as_str(), to.name);
            Err(CallError::Lost)
        }
        Either::Right(_) => Err(CallError::Lost),
    }
}

async fn try_call(
    stub: &Stub,
    to: &ObjectId,
    from: &ObjectId,
    call: CallKey,
    msg: &Message,
) -> Result<std::result::Result<Message, CallError>> {
    let headers = Headers::new();
    headers.set(OBJECT_CALL, &from.to_string())?;
    headers.set(CALL_KEY, &call.0.to_string())?;
    let mut init = RequestInit::new();
    let body = Uint8Array::from(msg.to_bytes().as_slice());
    init.with_method(Method::Post).with_headers(headers).with_body(Some(body.into()));
    let req = Request::new_with_init(&format!("https://objects.internal/{to}"), &init)?;
    let mut answer = stub.fetch_with_request(req).await?;
    if answer.status_code() != 200 {
        return Ok(Err(CallError::Failed));
    }
    Ok(Ok(Message::from_bytes(&answer.bytes().await?)))
}

/// Who calls, and the key of the call.
pub(crate) fn caller(headers: &Headers) -> Result<(ObjectId, CallKey)> {
    let from = headers.get(OBJECT_CALL)?.and_then(|from| ObjectId::parse(&from));
    let call = headers.get(CALL_KEY)?.and_then(|call| call.parse().ok()).map(CallKey);
    from.zip(call).ok_or_else(|| worker::Error::RustError("an object call without a caller".into()))
}

struct Workers {
    env: Env,
    settings: Rc<Settings>,
}

impl Workers {
    async fn answer(&self, request: http::Request) -> Response {
        if let Err(error) = self.prepare().await {
            console_error!("LIBSQL_URL: {error}");
            // Health has words of its own for a database out of reach, and a page needs none.
            let needs = request.path.starts_with("/api/") && !request.path.ends_with("/health");
            let why = match &error {
                SchemaError::Newer(_) => Some(format!("LIBSQL_URL: {error}")),
                SchemaError::Store(_) => needs.then(|| "the people database (LIBSQL_URL) does not answer".to_owned()),
            };
            if let Some(why) = why {
                return unavailable(&request, &why, &self.settings, now());
            }
        }
        http::handle(self, request).await
    }

    /// Creates what the people database misses, once in the life of an isolate.
    async fn prepare(&self) -> std::result::Result<(), SchemaError> {
        if !SCHEMA_IS_THERE.get() {
            people_schema::migrate(self).await?;
            SCHEMA_IS_THERE.set(true);
        }
        Ok(())
    }
}

fn now() -> Timestamp {
    Timestamp(Date::now().as_millis())
}

impl Platform for Workers {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn read(&self, statement: Statement) -> std::result::Result<Rows, StoreError> {
        Ok(People::new(&self.env)?.read(&[statement]).await?.pop().unwrap_or_default())
    }

    async fn people_batch(&self, statements: Vec<Statement>) -> std::result::Result<Vec<Rows>, StoreError> {
        People::new(&self.env)?.batch(&statements).await
    }

    async fn object(&self, kind: Kind, name: &str, msg: Message) -> std::result::Result<Message, CallError> {
        let from = ObjectId::new(Kind::Http, format!("{:x}", u64::from_le_bytes(self.random()[..8].try_into().unwrap_or_default())));
        let to = ObjectId::new(kind, name);
        let stub = stub(&self.env, &to).map_err(|_| CallError::Lost)?;
        call(&stub, &to, &from, CallKey(1), &msg).await
    }

    fn now(&self) -> Timestamp {
        now()
    }

    fn random(&self) -> [u8; 32] {
        random().unwrap_or_default()
    }
}
