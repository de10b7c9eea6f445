//! The public port: HTTP/1.1, WebSocket upgrades and Engine.IO polling.
//!
//! `/socket.io/` goes to gateways and never enters the HTTP component; everything else goes to the component.

mod address;
mod handlers;
mod internal;
pub mod polling;
pub mod socket;
mod websocket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_core::error::{Failure, Shape};
use edge_core::http::cors::origin_allowed;
use edge_core::limits;
use edge_core::object::RequestHead;
use edge_core::settings::Settings;
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use wire::{ErrorCode, Timestamp};

use crate::clock::Clock;
use crate::objects::{ECHO_GATEWAY, Objects};

pub use handlers::Handlers;
pub use internal::Internal;

/// A body of either direction.
pub type Body = wasmtime_wasi_http::WasiBody;

/// From the first byte of a connection to the end of the head; also the longest pause between two requests.
const HEAD_WAIT: Duration = Duration::from_secs(5);
/// How long a client may take to send a body.
const BODY_WAIT: Duration = Duration::from_secs(15);
/// So much of a refused body is taken, that its sender reads the refusal.
const REFUSED_BODY_BYTES: usize = 4 << 20;
/// How long connections may take to finish after the end was announced.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// How long a peer may leave what we sent unacknowledged, or take nothing.
const STUCK: Duration = Duration::from_secs(30);
const BACKLOG: u32 = 4_096;
/// Largest message of the protocol test application, and its `maxPayload`.
const ECHO_BYTES: usize = 1_000_000;

/// What a room host answers too.
const STATUS_PATHS: [&str; 3] = ["/api/health", "/health", "/api/info"];

/// Counters of HTTP requests, by class of status.
#[derive(Debug, Default)]
pub struct HttpStats {
    pub statuses: [AtomicU64; 6],
    pub connections: AtomicU64,
    /// Requests that the component has not answered.
    pub in_handlers: AtomicUsize,
}

/// What serves one port.
#[derive(Debug)]
pub struct Frontend {
    pub objects: Arc<Objects>,
    /// None where there is no component to ask (protocol test application).
    pub handlers: Option<Handlers>,
    /// Everything is served; else only what says how the host is (`--roles rooms`).
    pub rest: bool,
    /// None at the port of the protocol test application.
    pub internal: Option<Internal>,
    pub settings: Arc<Settings>,
    pub trusted_proxies: usize,
    /// This is the port of the protocol test application.
    pub echo: bool,
    pub clock: Arc<Clock>,
    pub stats: Arc<HttpStats>,
    pub posts: polling::Posts,
}

/// A listening socket with a backlog for storms of reconnecting clients.
///
/// # Errors
/// The port is taken, or not allowed.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until `stop` turns true.
pub async fn serve(listener: TcpListener, frontend: Arc<Frontend>, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(connection(stream, peer, frontend.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: those in use must first go.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Waits until the host stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender lives as long as the host.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, frontend: Arc<Frontend>, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    // A peer that takes nothing for so long is gone, or wants to hold our memory.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, STUCK.as_millis() as u32);
    frontend.stats.connections.fetch_add(1, Ordering::Relaxed);
    let service = hyper::service::service_fn(|request| {
        let frontend = frontend.clone();
        async move { Ok::<_, Infallible>(frontend.answer(request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .max_headers(limits::HTTP_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // Errors are the client's: it hung up, or did not speak HTTP and was told so.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(LAST_REQUESTS, connection).await;
        }
    }
}

impl Frontend {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let started = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let address = address::of_client(peer, request.headers(), self.trusted_proxies);
        let mut response = self.route(request, &address).await;
        let status = response.status().as_u16();
        if let Some(counter) = self.stats.statuses.get(usize::from(status / 100)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if self.objects.draining() && status != 101 {
            response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        // Never the query, which may hold a token, nor headers or bodies.
        tracing::info!(target: "access", %method, path, status, micros = started.elapsed().as_micros() as u64, address, "request");
        response
    }

    async fn route(self: &Arc<Self>, mut request: Request<Incoming>, address: &str) -> Response<Body> {
        let path = request.uri().path();
        if self.is_engine_path(path) {
            let head = head(&request, address);
            let gateway = if self.echo { ECHO_GATEWAY.into() } else { self.objects.gateway_for(&head.query) };
            if websocket::is_upgrade(request.headers()) && has_pair(&head.query, "transport=websocket") {
                if has_pair(&head.query, "EIO=4") {
                    return self.upgrade(&mut request, gateway, head);
                }
                // Asked without an upgrade, the gateway names the version as what is wrong.
                let head = RequestHead { query: head.query.replace("transport=websocket", "transport=polling"), ..head };
                return polling::answer(self, request, gateway, head).await;
            }
            return polling::answer(self, request, gateway, head).await;
        }
        if let Some(internal) = self.internal.as_ref().filter(|_| path.starts_with(edge_core::internal::PREFIX)) {
            return internal.answer(self, request, address).await;
        }
        match &self.handlers {
            Some(handlers) if self.rest || STATUS_PATHS.contains(&path) => {
                let _counted = InHandlers::new(&self.stats);
                handlers.answer(self, request, address).await
            }
            _ => text(StatusCode::NOT_FOUND, "not found"),
        }
    }

    fn upgrade(self: &Arc<Self>, request: &mut Request<Incoming>, gateway: Arc<str>, head: RequestHead) -> Response<Body> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        // An Origin that is no text is nobody's.
        let origin = request.headers().get(ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
        if !origin_allowed(origin, host, &self.settings) {
            return text(StatusCode::FORBIDDEN, "this origin is not allowed");
        }
        match websocket::handshake(request.headers()) {
            Err(refusal) => *refusal,
            Ok(response) => {
                let upgrade = hyper::upgrade::on(request);
                let max_bytes = if self.echo { ECHO_BYTES } else { limits::MAX_PAYLOAD_BYTES };
                tokio::spawn(websocket::serve(upgrade, self.objects.clone(), gateway, head, max_bytes));
                response
            }
        }
    }

    fn is_engine_path(&self, path: &str) -> bool {
        let path = path.strip_suffix('/').unwrap_or(path);
        path == "/socket.io" || (self.echo && path == "/engine.io")
    }

    /// An error of the host itself, in the shape of the path's prefix.
    fn failure(&self, path: &str, failure: &Failure) -> Response<Body> {
        let body = failure.to_body(Shape::of_path(path), Timestamp(self.clock.now_ms())).to_string();
        let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = full(status, "application/json; charset=utf-8", Bytes::from(body));
        if let Some(seconds) = failure.retry_after {
            response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn unavailable(&self, path: &str) -> Response<Body> {
        let mut failure = Failure::new(ErrorCode::NodeUnavailable);
        failure.retry_after = Some(1);
        self.failure(path, &failure)
    }
}

/// Counts a request while the component works on it.
struct InHandlers<'a>(&'a HttpStats);

impl<'a> InHandlers<'a> {
    fn new(stats: &'a HttpStats) -> Self {
        stats.in_handlers.fetch_add(1, Ordering::Relaxed);
        Self(stats)
    }
}

impl Drop for InHandlers<'_> {
    fn drop(&mut self) {
        self.0.in_handlers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the query has this `name=value`.
fn has_pair(query: &str, wanted: &str) -> bool {
    query.split('&').any(|pair| pair == wanted)
}

fn head(request: &Request<Incoming>, address: &str) -> RequestHead {
    let header = |name| request.headers().get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned());
    RequestHead {
        method: request.method().as_str().to_owned(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        origin: header(ORIGIN),
        content_type: header(CONTENT_TYPE),
        address: address.to_owned(),
        upgrades: true,
    }
}

/// Why a body was not taken.
enum BodyError {
    TooLarge,
    TooSlow,
    Broken,
}

/// The whole body, if it has at most `limit` bytes and comes in time. One that is too large passes unread first: who is
/// cut off while sending never reads why.
async fn read_body(mut body: Incoming, limit: usize) -> Result<Bytes, BodyError> {
    use hyper::body::Body as _;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let read = async {
        if body.size_hint().lower() <= limit as u64 {
            match http_body_util::Limited::new(&mut body, limit).collect().await {
                Ok(collected) => return Ok(collected.to_bytes()),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {}
                Err(_) => return Err(BodyError::Broken),
            }
        }
        let_pass(body).await;
        Err(BodyError::TooLarge)
    };
    tokio::time::timeout(BODY_WAIT, read).await.unwrap_or(Err(BodyError::TooSlow))
}

/// Takes what is left of a refused body and throws it away.
async fn let_pass(body: Incoming) {
    use hyper::body::Body as _;
    if body.size_hint().lower() <= REFUSED_BODY_BYTES as u64 {
        let mut rest = http_body_util::Limited::new(body, REFUSED_BODY_BYTES);
        let _ = tokio::time::timeout(BODY_WAIT, async { while let Some(Ok(_)) = rest.frame().await {} }).await;
    }
}

pub(crate) fn full(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn text(status: StatusCode, words: &'static str) -> Response<Body> {
    full(status, "text/plain; charset=utf-8", Bytes::from_static(words.as_bytes()))
}
