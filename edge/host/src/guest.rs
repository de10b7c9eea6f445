//! The edge component: its engine, its instances, and what this host gives to them.
//!
//! One component serves both worlds: HTTP (`wasi:http`, in pools of reused instances) and objects (one live instance
//! per shard).

mod cache;
pub(crate) mod outbound;
mod services;
mod spin_sqlite;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use wasmtime::component::{Component, HasData, InstancePre, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::clock::Clock;

pub use bindings::exports::chatcall::objects::shard as wit;
pub use services::{Asked, Database, Done, OwnServices, Sent, Services};

#[allow(unreachable_pub, missing_debug_implementations, unused_qualifications, clippy::all)] // generated
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../wit", "wit"],
        world: "chatcall:host/edge",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "spin:sqlite/sqlite.connection": crate::guest::spin_sqlite::Opened,
        },
    });
}

pub use bindings::{Edge, EdgePre};

/// How often the epoch of running guests rises.
pub const TICK: Duration = Duration::from_millis(50);
/// Linear memory of an instance that serves HTTP.
const HTTP_MEMORY_BYTES: usize = 64 << 20;
/// Linear memory of a shard: all of its conversations and sockets.
const SHARD_MEMORY_BYTES: usize = 2 << 30;

/// The compiled component, ready to be instantiated.
#[derive(Clone)]
pub struct Guest {
    engine: Engine,
    pre: InstancePre<Ctx>,
    clock: Arc<Clock>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").finish_non_exhaustive()
    }
}

impl Guest {
    /// Compiles the component, or takes the machine code of an earlier start from `cache`.
    ///
    /// # Errors
    /// Bytes that are no component, or one that wants what this host does not have.
    pub fn load(component: &[u8], cache: &Path, clock: Arc<Clock>) -> anyhow::Result<Self> {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(anyhow::Error::from)?;
        let component: Component = cache::component(&engine, component, cache)?;
        let mut linker = Linker::<Ctx>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        Edge::add_to_linker::<_, SpinHost>(&mut linker, |ctx| ctx)?;
        let pre = linker.instantiate_pre(&component).map_err(anyhow::Error::from).context("the component wants something that this host does not have")?;
        let ticking = engine.weak();
        std::thread::Builder::new().name("ticks".into()).spawn(move || {
            while let Some(engine) = ticking.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
        Ok(Self { engine, pre, clock })
    }

    /// The component as a handler of HTTP requests.
    ///
    /// # Errors
    /// It exports no `wasi:http` handler.
    pub fn service(&self) -> anyhow::Result<ServicePre<Ctx>> {
        Ok(ServicePre::new(self.pre.clone())?)
    }

    /// The component as objects.
    ///
    /// # Errors
    /// It exports no objects' world.
    pub fn edge(&self) -> anyhow::Result<EdgePre<Ctx>> {
        Ok(EdgePre::new(self.pre.clone())?)
    }

    /// A store for an instance that serves HTTP. Its epoch deadline is for the caller to set.
    #[must_use]
    pub fn http_store(&self, services: Arc<dyn Services>) -> Store<Ctx> {
        self.store(Some(services), HTTP_MEMORY_BYTES)
    }

    /// A store for the instance of a shard, which gets nothing but time and a log.
    #[must_use]
    pub fn shard_store(&self) -> Store<Ctx> {
        self.store(None, SHARD_MEMORY_BYTES)
    }

    fn store(&self, services: Option<Arc<dyn Services>>, memory: usize) -> Store<Ctx> {
        let wasi = WasiCtx::builder().inherit_stderr().wall_clock(GuestClock(self.clock.clone())).build();
        let limits = StoreLimitsBuilder::new().memory_size(memory).instances(64).tables(64).memories(16).build();
        let hooks = Hooks { services: services.clone() };
        let ctx = Ctx { wasi, http: WasiHttpCtx::new(), table: ResourceTable::new(), limits, hooks, services, cpu: CpuGuard::default() };
        let mut store = Store::new(&self.engine, ctx);
        store.limiter(|ctx| &mut ctx.limits);
        store
    }
}

/// The state of one instance.
pub struct Ctx {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    limits: StoreLimits,
    hooks: Hooks,
    /// None in shards: objects import nothing.
    services: Option<Arc<dyn Services>>,
    /// Ticks in a row in which the guest was found running.
    pub cpu: CpuGuard,
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx").finish_non_exhaustive()
    }
}

impl Ctx {
    /// The view that the HTTP proxy wants as a plain function.
    pub fn http_view(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Tells a guest that computes for ever from one that is merely busy.
#[derive(Debug, Default, Clone, Copy)]
pub struct CpuGuard {
    last: Option<std::time::Instant>,
    ticks: u32,
}

impl CpuGuard {
    /// A new request was taken: the guest makes progress.
    pub fn progress(&mut self) {
        self.ticks = 0;
    }

    /// Called when the guest was running at a tick; how many ticks in a row that was.
    pub fn tick(&mut self) -> u32 {
        let now = std::time::Instant::now();
        let in_a_row = self.last.is_some_and(|last| now.duration_since(last) < TICK * 3);
        self.ticks = if in_a_row { self.ticks + 1 } else { 1 };
        self.last = Some(now);
        self.ticks
    }
}

impl WasiView for Ctx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Ctx {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http_view()
    }
}

/// Outgoing requests go to the services of the instance; a shard has none.
struct Hooks {
    services: Option<Arc<dyn Services>>,
}

impl WasiHttpHooks for Hooks {
    fn send_request(&mut self, request: http::Request<WasiBody>, options: Option<RequestOptions>, _: Done) -> Sent {
        match &self.services {
            Some(services) => services.send(request, options),
            None => Box::new(async { Err(Error::DestinationIpProhibited) }),
        }
    }
}

/// The implementations of Spin's interfaces, over [`Ctx`].
struct SpinHost;

impl HasData for SpinHost {
    type Data<'a> = &'a mut Ctx;
}

struct GuestClock(Arc<Clock>);

impl HostWallClock for GuestClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0.since_epoch()
    }
}

impl bindings::spin::variables::variables::Host for Ctx {}

impl<T: Send + 'static> bindings::spin::variables::variables::HostWithStore<T> for SpinHost {
    async fn get(
        accessor: &wasmtime::component::Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, bindings::spin::variables::variables::Error>> {
        let value = accessor.with(|mut store| store.get().services.as_ref().and_then(|services| services.variable(&name)));
        Ok(value.ok_or(bindings::spin::variables::variables::Error::Undefined(name)))
    }
}
