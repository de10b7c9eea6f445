//! REST: requests go to instances of the component, which are reused and serve several requests at once.
//!
//! Requests that hash a password have instances and threads of their own, few and of low priority: they compute for a
//! quarter of a second and must not delay anybody.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_core::error::Failure;
use edge_core::limits;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi_http::handler::{ExpirationError, HandlerState, Instance, Proxy, ProxyHandler, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wire::ErrorCode;

use super::{Body, BodyError, Frontend, read_body, text};
use crate::guest::{Ctx, Guest, OwnServices, TICK};

/// Only the host may set these.
const OWN_HEADERS: &str = "x-chatcall-";
const ADDRESS_HEADER: HeaderName = HeaderName::from_static("x-chatcall-address");

/// Requests in the component at once, hashing ones aside; more are turned away.
const REQUESTS: usize = 1_024;
/// Requests that hash at once, at most.
const HASHING: usize = 4;
/// Requests that wait for their turn to hash; more are turned away.
const HASHING_QUEUE: usize = 64;
/// Largest answer that is held in memory.
const ANSWER_BYTES: usize = 16 << 20;
/// An instance without work is kept this long.
const IDLE: Duration = Duration::from_secs(30);

/// Bounds of a pool of instances.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Requests that an instance serves in its life.
    reuse: usize,
    concurrent: usize,
    /// A request that waits longer is answered 503.
    answer: Duration,
    /// A guest that computes longer without a pause is stopped.
    cpu: Duration,
}

const PLAIN: Limits = Limits { reuse: 1_024, concurrent: 16, answer: Duration::from_secs(15), cpu: Duration::from_secs(5) };
const HASH: Limits = Limits { reuse: 128, concurrent: 1, answer: Duration::from_secs(30), cpu: Duration::from_secs(30) };

/// The two pools.
pub struct Handlers {
    plain: ProxyHandler<Pool>,
    plain_slots: Semaphore,
    hashing: ProxyHandler<Pool>,
    hashing_slots: Arc<Semaphore>,
    hashing_queue: Semaphore,
    /// Only ever taken at the end.
    hashing_runtime: Option<tokio::runtime::Runtime>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        if let Some(runtime) = self.hashing_runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Handlers {
    /// Pools of the component for a machine with `cores`.
    ///
    /// # Errors
    /// The component serves no HTTP.
    pub fn new(guest: &Guest, services: &Arc<OwnServices>, cores: usize) -> anyhow::Result<Self> {
        let pre = guest.service()?;
        let pool = |limits| ProxyHandler::new(Pool { guest: guest.clone(), pre: pre.clone(), services: services.clone(), limits });
        let at_once = cores.clamp(1, HASHING);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(at_once)
            .thread_name("hashing")
            .on_thread_start(|| {
                // Without the right to it they are threads like the others.
                let _ = rustix::process::nice(10);
            })
            .enable_all()
            .build()?;
        Ok(Self {
            plain: pool(PLAIN),
            plain_slots: Semaphore::new(REQUESTS),
            hashing: pool(HASH),
            hashing_slots: Arc::new(Semaphore::new(at_once)),
            hashing_queue: Semaphore::new(HASHING_QUEUE + at_once),
            hashing_runtime: Some(runtime),
        })
    }

    pub(super) async fn answer(&self, frontend: &Frontend, request: Request<Incoming>, address: &str) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let hashes = edge_core::http::hashes_password(request.method().as_str(), &path);
        let request = match self.prepare(frontend, request, &path, address).await {
            Ok(request) => request,
            Err(refusal) => return *refusal,
        };
        let outcome = if hashes { self.hash(request).await } else { self.run(request).await };
        match outcome {
            Ok(response) => response,
            Err(Refused::Busy) => frontend.unavailable(&path),
            Err(Refused::Failed(error)) if error.is::<ExpirationError>() => {
                tracing::warn!(path, "the component did not answer in time");
                frontend.unavailable(&path)
            }
            Err(Refused::Failed(error)) => {
                tracing::error!(path, error = ?error, "the component failed");
                frontend.failure(&path, &Failure::new(ErrorCode::InternalError))
            }
        }
    }

    /// The request as the component sees it: whole, with an absolute URI, and with nothing that only we may say.
    async fn prepare(
        &self,
        frontend: &Frontend,
        request: Request<Incoming>,
        path: &str,
        address: &str,
    ) -> Result<Request<Body>, Box<Response<Body>>> {
        let (mut head, body) = request.into_parts();
        let bad = |why| Box::new(text(StatusCode::BAD_REQUEST, why));
        head.uri = absolute(&head.uri, &head.headers).ok_or_else(|| bad("the Host header is missing or not one host"))?;
        if head.headers.contains_key(TRANSFER_ENCODING) && head.headers.contains_key(CONTENT_LENGTH) {
            return Err(bad("two lengths"));
        }
        let body = read_body(body, limits::HTTP_BODY_BYTES).await.map_err(|error| match error {
            BodyError::TooLarge => {
                let failure = Failure { limit: Some(limits::HTTP_BODY_BYTES as u64), ..Failure::new(ErrorCode::PayloadTooLarge) };
                Box::new(frontend.failure(path, &failure))
            }
            BodyError::TooSlow => Box::new(text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
            BodyError::Broken => bad("the body is not readable"),
        })?;
        let own: Vec<HeaderName> = head.headers.keys().filter(|name| name.as_str().starts_with(OWN_HEADERS)).cloned().collect();
        for name in own {
            head.headers.remove(name);
        }
        if let Ok(address) = HeaderValue::from_str(address) {
            head.headers.insert(ADDRESS_HEADER, address);
        }
        head.headers.remove(TRANSFER_ENCODING);
        Ok(Request::from_parts(head, Full::new(body).map_err(|never| match never {}).boxed_unsync()))
    }

    async fn run(&self, request: Request<Body>) -> Result<Response<Body>, Refused> {
        let _slot = self.plain_slots.try_acquire().map_err(|_| Refused::Busy)?;
        complete(self.plain.handle((), request).await?).await
    }

    async fn hash(&self, request: Request<Body>) -> Result<Response<Body>, Refused> {
        let _place = self.hashing_queue.try_acquire().map_err(|_| Refused::Busy)?;
        let turn = tokio::time::timeout(HASH.answer, self.hashing_slots.clone().acquire_owned()).await;
        let Ok(Ok(slot)) = turn else { return Err(Refused::Busy) };
        let Some(runtime) = &self.hashing_runtime else { return Err(Refused::Busy) };
        let handler = self.hashing.clone();
        let answer = runtime.spawn(async move {
            let response = complete(handler.handle((), request).await?).await;
            drop(slot);
            response
        });
        answer.await.unwrap_or(Err(Refused::Busy))
    }
}

/// Why there is no answer of the component.
enum Refused {
    Busy,
    Failed(wasmtime::Error),
}

impl From<wasmtime::Error> for Refused {
    fn from(error: wasmtime::Error) -> Self {
        Self::Failed(error)
    }
}

/// Without a length the answer would go out in two segments and as chunks.
async fn complete(response: Response<Body>) -> Result<Response<Body>, Refused> {
    if response.headers().contains_key(CONTENT_LENGTH) {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    match Limited::new(body, ANSWER_BYTES).collect().await {
        Ok(body) => Ok(Response::from_parts(head, Full::<Bytes>::new(body.to_bytes()).map_err(|never| match never {}).boxed_unsync())),
        Err(error) => Err(Refused::Failed(wasmtime::Error::msg(format!("the answer broke off: {error}")))),
    }
}

/// wasi:http wants scheme and authority.
fn absolute(uri: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let mut hosts = headers.get_all(HOST).iter();
    let host: Authority = hosts.next()?.to_str().ok()?.parse().ok()?;
    if hosts.next().is_some() {
        return None;
    }
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::builder().scheme(Scheme::HTTP).authority(host).path_and_query(path).build().ok()
}

/// Makes the instances of one pool.
struct Pool {
    guest: Guest,
    pre: ServicePre<Ctx>,
    services: Arc<OwnServices>,
    limits: Limits,
}

impl HandlerState for Pool {
    type StoreData = Ctx;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Ctx, Expiration, Worker>> {
        let mut store = self.guest.http_store(self.services.clone());
        let most = (self.limits.cpu.as_millis() / TICK.as_millis()) as u32;
        store.epoch_deadline_callback(move |mut context| {
            let ticks = context.data_mut().cpu.tick();
            Ok(if ticks > most { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        store.set_epoch_deadline(1);
        let service = self.pre.instantiate_async(&mut store).await?;
        Ok(Instance {
            store,
            proxy: Proxy::P3(service),
            view: Ctx::http_view,
            expiration: Expiration { sleep: Box::pin(tokio::time::sleep(Duration::ZERO)), answer: self.limits.answer },
            state: Worker { limits: self.limits, services: self.services.clone() },
        })
    }
}

/// When an instance is dropped.
struct Expiration {
    sleep: Pin<Box<tokio::time::Sleep>>,
    answer: Duration,
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        let limit = match status {
            WorkerStatus::Idle => IDLE,
            WorkerStatus::Requests | WorkerStatus::PostReturn => self.answer + Duration::from_secs(1),
        };
        self.sleep.as_mut().reset((start + limit).into());
        self.sleep.as_mut().poll(context)
    }
}

struct Worker {
    limits: Limits,
    services: Arc<OwnServices>,
}

impl WorkerState for Worker {
    type StoreData = Ctx;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= self.limits.reuse {
            ShouldAccept::Never
        } else if concurrent >= self.limits.concurrent {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        mut store: StoreContextMut<'_, Ctx>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        store.data_mut().cpu.progress();
        Box::pin(tokio::time::sleep(self.limits.answer))
    }

    fn drop(&self, _: Store<Ctx>, result: wasmtime::Result<()>) {
        if let Err(error) = result
            && !self.services.objects.draining()
        {
            tracing::error!(error = ?error, "an instance of the component stopped");
        }
    }
}
