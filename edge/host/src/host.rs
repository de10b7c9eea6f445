//! `chatcall up`: builds the parts, joins them, and takes them down in order.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::config::{Config, Environment, PrivatePort, UpArgs, Wrong, fill_secrets};
use crate::frontend::{self, Frontend, Handlers, HttpStats, Internal};
use crate::guest::{Guest, OwnServices};
use crate::mail::Mailer;
use crate::objects::{Event, GuestInstances, Objects, Shard, ShardParts};
use crate::private::{self, Private};
use crate::storage::{Opened, Options, Storage};

/// How long clients may take to read what was queued for them before the end.
const DRAIN: Duration = Duration::from_secs(2);
/// How long they may take to answer the close frame.
const GOODBYE: Duration = Duration::from_millis(700);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// A [`Wrong`] setting, or a part that cannot start.
pub fn up(args: &UpArgs, environment: &Environment, built_in: Option<&[u8]>) -> anyhow::Result<()> {
    // Everything that is written here is for this user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut config = Config::resolve(args, environment, cores)?;
    let _lock = data_directory(&config.data)?;
    fill_secrets(&mut config.settings, environment, &config.data)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let component = component(&config, built_in)?;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores).thread_name("io").enable_all().build()?;
    let outcome = runtime.block_on(run(config, component, cores));
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

/// Creates the directory when missing and claims it for this process.
fn data_directory(data: &Path) -> Result<fs::File, Wrong> {
    let unusable = |error: &std::io::Error| Wrong(format!("the data directory {} cannot be written: {error}", data.display()));
    fs::create_dir_all(data).map_err(|error| unusable(&error))?;
    let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(data.join("lock")).map_err(|error| unusable(&error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(Wrong(format!("the data directory {} is in use by another chatcall", data.display()))),
        Err(fs::TryLockError::Error(error)) => Err(unusable(&error)),
    }
}

/// Thousands of sockets need as many descriptors; the hard limit is the operator's.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.current.is_none() {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays");
        }
    }
}

fn component(config: &Config, built_in: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
    match (&config.component, built_in) {
        (Some(file), _) => fs::read(file).map_err(|error| Wrong(format!("--component {}: {error}", file.display())).into()),
        (None, Some(bytes)) => Ok(bytes.to_vec()),
        (None, None) => Err(Wrong(
            "this chatcall was built without the edge component: build it with `cargo build -p edge-component --profile edge --target wasm32-wasip2` and build chatcall again, or give --component FILE".into(),
        )
        .into()),
    }
}

/// The running parts.
struct Parts {
    storage: Storage,
    objects: Arc<Objects>,
    settings: Arc<edge_core::settings::Settings>,
    handlers: Handlers,
    internal: Internal,
    clock: Arc<Clock>,
    shards: Vec<std::thread::JoinHandle<()>>,
    writer: std::thread::JoinHandle<()>,
}

async fn run(config: Config, component: Vec<u8>, cores: usize) -> anyhow::Result<()> {
    // Ports before the database: a second start of the same command must not touch it.
    let public = bind(SocketAddr::new(config.bind, config.port))?;
    let echo = match config.conformance_port {
        Some(port) => Some(bind(SocketAddr::new(config.bind, port))?),
        None => None,
    };
    let port = public.local_addr()?.port();
    let private = bind_private(config.private_port, port)?;
    let mut signals = Signals::new()?;

    let Parts { storage, objects, settings, handlers, internal, clock, shards, writer } = {
        let config = config.clone();
        tokio::task::spawn_blocking(move || start(&config, &component, cores)).await??
    };

    let (stop, stopping) = watch::channel(false);
    let stats = Arc::new(HttpStats::default());
    let front = |echo: bool, handlers: Option<Handlers>, internal: Option<Internal>| {
        Arc::new(Frontend {
            objects: objects.clone(),
            handlers,
            rest: config.edge,
            internal,
            settings: settings.clone(),
            trusted_proxies: config.trusted_proxies,
            echo,
            clock: clock.clone(),
            stats: stats.clone(),
            posts: Default::default(),
        })
    };
    let mut servers = vec![tokio::spawn(frontend::serve(public, front(false, Some(handlers), Some(internal)), stopping.clone()))];
    if let Some(listener) = echo {
        servers.push(tokio::spawn(frontend::serve(listener, front(true, None, None), stopping.clone())));
    }
    if let Some(listener) = private {
        tracing::info!(address = %listener.local_addr()?, "statistics at /health and /metrics");
        let private = Private::new(objects.clone(), storage.clone(), stats.clone());
        servers.push(tokio::spawn(private::serve(listener, Arc::new(private), stopping.clone())));
    }
    let mail = match &config.mail {
        Some(mail) => {
            let mailer = Mailer::new(mail, port, &settings.refresh_secret, storage.clone(), clock.clone())?;
            Some(tokio::spawn(mailer.run(stopping.clone())))
        }
        None => None,
    };
    tracing::info!(port, shards = objects.shards(), gateways = settings.gateways, development = settings.development, "ready");
    println!("chatcall listening on http://127.0.0.1:{port}");

    signals.wait().await;
    tracing::info!("stopping");
    objects.set_draining();
    stop.send_replace(true);
    drain(&objects, &stats).await;
    for server in servers {
        let _ = server.await;
    }
    if let Some(mail) = mail {
        let _ = tokio::time::timeout(DRAIN, mail).await;
    }
    storage.stop();
    tokio::task::spawn_blocking(move || {
        for thread in shards.into_iter().chain([writer]) {
            let _ = thread.join();
        }
    })
    .await?;
    tracing::info!("stopped");
    Ok(())
}

fn start(config: &Config, component: &[u8], cores: usize) -> anyhow::Result<Parts> {
    let clock = Arc::new(Clock::default());
    let started = Instant::now();
    let guest = Guest::load(component, &config.cache, clock.clone())?;
    tracing::info!(ms = started.elapsed().as_millis() as u64, "component loaded");

    let settings = &config.settings;
    let (objects, ends) = Objects::new(config.shards, settings.gateways, settings.protocol_test);
    let options = Options { file: config.database.clone(), readers: cores.clamp(2, 8), shards: config.shards };
    let Opened { storage, first_epoch, writer } = Storage::open(&options, objects.sinks()).map_err(|error| Wrong(error.0))?;
    let epochs = Arc::new(AtomicU64::new(first_epoch + 1));
    let text = serde_json::to_string(settings)?;
    let runtime = tokio::runtime::Handle::current();
    let mut shards = Vec::new();
    for (index, inbox) in ends.into_iter().enumerate() {
        let instances = GuestInstances::new(guest.clone(), text.clone(), runtime.clone())?;
        let parts = ShardParts { index, objects: objects.clone(), storage: storage.clone(), clock: clock.clone(), epochs: epochs.clone() };
        shards.push(Shard::spawn(parts, instances, inbox)?);
    }
    wake_senders(&storage, &objects);
    let services = Arc::new(OwnServices::new(storage.clone(), objects.clone(), settings));
    let handlers = Handlers::new(&guest, &services, cores)?;
    let internal = Internal::new(config.room_host_key.clone(), services);
    Ok(Parts { storage, objects, settings: Arc::new(settings.clone()), handlers, internal, clock, shards, writer })
}

/// Messages that must survive a crash wait in the outboxes of users, who send them again when they start.
fn wake_senders(storage: &Storage, objects: &Arc<Objects>) {
    let objects = objects.clone();
    storage.load(vec![edge_core::sql::user::with_outbox()], move |found| {
        let rows = found.into_iter().flatten().flatten();
        for user in rows.filter_map(|row| row.first().and_then(|id| id.as_str()).map(|id| format!("user/{id}"))) {
            if objects.exists(&user) {
                objects.send(objects.shard_of(&user), Event::Wake { object: user.into() });
            }
        }
    });
}

fn bind(address: SocketAddr) -> Result<TcpListener, Wrong> {
    frontend::listen(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Wrong(format!("port {} is in use: choose another with --port, or stop what holds it", address.port())),
        _ => Wrong(format!("cannot listen on {address}: {error}")),
    })
}

fn bind_private(wanted: PrivatePort, public: u16) -> Result<Option<TcpListener>, Wrong> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match wanted {
        PrivatePort::Off => Ok(None),
        PrivatePort::At(port) => bind(at(port)).map(Some),
        PrivatePort::Next => match public.checked_add(1).map(|port| (port, frontend::listen(at(port)))) {
            Some((_, Ok(listener))) => Ok(Some(listener)),
            Some((port, Err(error))) => {
                tracing::warn!(port, %error, "no statistics: the port behind the public one is not free (--private-port chooses another)");
                Ok(None)
            }
            None => Ok(None),
        },
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate()).context("signals")?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt()).context("signals")? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells clients, lets queues and storage run empty, closes every socket.
async fn drain(objects: &Objects, http: &HttpStats) {
    let deadline = tokio::time::Instant::now() + DRAIN;
    let _ = tokio::time::timeout_at(deadline, ask(objects, Event::Draining)).await;
    while tokio::time::Instant::now() < deadline {
        match tokio::time::timeout_at(deadline, ask(objects, Event::Waiting)).await {
            Ok(waiting) if waiting.iter().any(|(bytes, jobs)| *bytes > 0 || *jobs > 0) => {}
            Ok(_) if http.in_handlers.load(Ordering::Relaxed) > 0 => {}
            _ => break,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = tokio::time::timeout(DRAIN, ask(objects, Event::Stop)).await;
    let goodbye = tokio::time::Instant::now() + GOODBYE;
    while objects.closing_sockets() > 0 && tokio::time::Instant::now() < goodbye {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks every shard and waits for all answers.
async fn ask<T>(objects: &Objects, question: impl Fn(oneshot::Sender<T>) -> Event) -> Vec<T> {
    let mut answers = Vec::new();
    for shard in 0..objects.shards() {
        let (answer, told) = oneshot::channel();
        objects.send(shard, question(answer));
        answers.push(told);
    }
    let mut all = Vec::new();
    for answer in answers {
        all.extend(answer.await);
    }
    all
}
