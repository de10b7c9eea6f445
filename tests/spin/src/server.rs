//! The HTTP trigger: requests go to reused instances, as Spin 4 does by default for `wasi:http` 0.3.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use chatcall::guest::{Ctx, Guest, Services};
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi_http::handler::{HandlerState, Instance, Proxy, ProxyHandler, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{Error, WasiBody};

/// `--max-instance-reuse-count`, `--max-instance-concurrent-reuse-count`, `--idle-instance-timeout` of Spin.
const REUSE: usize = 128;
const CONCURRENT: usize = 16;
const IDLE: Duration = Duration::from_secs(1);
/// Spin has no limit; a test that hangs must end.
const ANSWER: Duration = Duration::from_secs(120);

/// Serves for ever.
///
/// # Errors
/// The component serves no HTTP, or the listener broke.
pub async fn serve(listener: TcpListener, guest: Guest, services: Arc<dyn Services>) -> Result<()> {
    let pre = guest.service()?;
    let handler = ProxyHandler::new(Instances { guest, pre, services });
    loop {
        let (stream, peer) = listener.accept().await.context("accepting")?;
        let handler = handler.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let handler = handler.clone();
                async move { Ok::<_, Infallible>(answer(&handler, request, peer).await) }
            });
            // Errors are the client's.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(handler: &ProxyHandler<Instances>, request: Request<Incoming>, peer: SocketAddr) -> Response<WasiBody> {
    let empty = |status| {
        let mut response = Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = status;
        response
    };
    let Some(request) = prepare(request, peer) else { return empty(StatusCode::BAD_REQUEST) };
    match handler.handle((), request).await {
        Ok(response) => response,
        Err(error) => {
            eprintln!("spin: {error:?}");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// The request with an absolute URI and the headers that Spin sets, whatever the client said.
fn prepare(request: Request<Incoming>, peer: SocketAddr) -> Option<Request<WasiBody>> {
    let (mut head, body) = request.into_parts();
    let host = head.headers.get(HOST).map_or(Ok("localhost"), |host| host.to_str()).ok()?;
    let host: Authority = host.parse().ok()?;
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let told = [
        ("spin-path-info", head.uri.path().to_owned()),
        ("spin-full-url", format!("http://{host}{path}")),
        ("spin-matched-route", "/...".to_owned()),
        ("spin-base-path", "/".to_owned()),
        ("spin-raw-component-route", "/...".to_owned()),
        ("spin-component-route", "/".to_owned()),
        ("spin-client-addr", peer.to_string()),
    ];
    for (name, value) in told {
        head.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?);
    }
    head.uri = Uri::builder().scheme(Scheme::HTTP).authority(host).path_and_query(path).build().ok()?;
    Some(Request::from_parts(head, body.map_err(Error::Hyper).boxed_unsync()))
}

struct Instances {
    guest: Guest,
    pre: ServicePre<Ctx>,
    services: Arc<dyn Services>,
}

impl HandlerState for Instances {
    type StoreData = Ctx;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Ctx, Expiration, Worker>> {
        let mut store = self.guest.http_store(self.services.clone());
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        store.set_epoch_deadline(1);
        let service = self.pre.instantiate_async(&mut store).await?;
        let expiration = Expiration(Box::pin(tokio::time::sleep(Duration::ZERO)));
        Ok(Instance { store, proxy: Proxy::P3(service), view: Ctx::http_view, expiration, state: Worker })
    }
}

struct Expiration(Pin<Box<tokio::time::Sleep>>);

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        let limit = match status {
            WorkerStatus::Idle => IDLE,
            WorkerStatus::Requests | WorkerStatus::PostReturn => ANSWER,
        };
        self.0.as_mut().reset((start + limit).into());
        self.0.as_mut().poll(context)
    }
}

struct Worker;

impl WorkerState for Worker {
    type StoreData = Ctx;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= REUSE {
            ShouldAccept::Never
        } else if concurrent >= CONCURRENT {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(&self, _: StoreContextMut<'_, Ctx>, (): (), _: GuestTaskId) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        Box::pin(tokio::time::sleep(ANSWER))
    }

    fn drop(&self, _: Store<Ctx>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            eprintln!("spin: an instance stopped: {error:?}");
        }
    }
}
