//! The private port: `/health` with statistics, and `/metrics` in Prometheus' text format.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::frontend::{Body, HttpStats, full, stopped, text};
use crate::objects::Objects;
use crate::storage::Storage;

const PAGE_BYTES: usize = 4096;

/// What the private port shows.
#[derive(Debug)]
pub struct Private {
    objects: Arc<Objects>,
    storage: Storage,
    http: Arc<HttpStats>,
    started: Instant,
    /// Messages stored at the seconds of the last minute.
    minute: Mutex<Vec<(Instant, u64)>>,
}

impl Private {
    /// Counts from now on.
    #[must_use]
    pub fn new(objects: Arc<Objects>, storage: Storage, http: Arc<HttpStats>) -> Self {
        Self { objects, storage, http, started: Instant::now(), minute: Mutex::default() }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        }
        match request.uri().path() {
            "/health" => {
                let status = if self.storage.stats().read_only() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                full(status, "application/json; charset=utf-8", Bytes::from(self.health()))
            }
            "/metrics" => full(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Bytes::from(self.metrics())),
            _ => text(StatusCode::NOT_FOUND, "not found"),
        }
    }

    fn health(&self) -> String {
        let stats = &self.objects.stats;
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        serde_json::json!({
            "status": if self.storage.stats().read_only() { "storage_read_only" } else { "ok" },
            "uptime": self.started.elapsed().as_secs(),
            "connections": self.objects.sockets(),
            "users": count(&stats.users),
            "rooms": count(&stats.rooms),
            "calls": count(&stats.calls),
            "messagesPerMinute": self.messages_per_minute(),
            "memoryBytes": memory_bytes(),
        })
        .to_string()
    }

    /// Samples are taken once a second by [`serve`].
    fn sample(&self) {
        let now = Instant::now();
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        minute.retain(|(at, _)| now.duration_since(*at) <= Duration::from_secs(60));
        minute.push((now, self.storage.stats().messages.load(Ordering::Relaxed)));
    }

    fn messages_per_minute(&self) -> u64 {
        let minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let before = minute.first().map_or(0, |(_, messages)| *messages);
        self.storage.stats().messages.load(Ordering::Relaxed).saturating_sub(before)
    }

    fn metrics(&self) -> String {
        let mut page = String::with_capacity(PAGE_BYTES);
        let objects = &self.objects.stats;
        let storage = self.storage.stats();
        let gauge = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as u64;
        let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed);

        line(&mut page, "chatcall_uptime_seconds", "gauge", "Seconds since the start.", self.started.elapsed().as_secs());
        line(&mut page, "chatcall_memory_bytes", "gauge", "Resident memory.", memory_bytes());
        line(&mut page, "chatcall_sockets", "gauge", "Open WebSockets.", self.objects.sockets() as u64);
        head(&mut page, "chatcall_objects", "gauge", "Objects in memory.");
        for (kind, counter) in
            [("gateway", &objects.gateways), ("room", &objects.rooms), ("user", &objects.users), ("call", &objects.calls)]
        {
            let _ = writeln!(page, "chatcall_objects{{kind=\"{kind}\"}} {}", gauge(counter));
        }
        head(&mut page, "chatcall_shard_events_waiting", "gauge", "Events waiting at a shard.");
        for (shard, depth) in self.objects.depths().into_iter().enumerate() {
            let _ = writeln!(page, "chatcall_shard_events_waiting{{shard=\"{shard}\"}} {depth}");
        }
        head(&mut page, "chatcall_http_requests_total", "counter", "Answers by class of status.");
        for (class, counter) in self.http.statuses.iter().enumerate().skip(1) {
            let _ = writeln!(page, "chatcall_http_requests_total{{status=\"{class}xx\"}} {}", total(counter));
        }
        line(&mut page, "chatcall_http_requests", "gauge", "Requests in the component.", gauge(&self.http.in_handlers));
        line(&mut page, "chatcall_storage_read_only", "gauge", "1 while storage takes no writes.", u64::from(storage.read_only()));
        for (name, help, counter) in [
            ("chatcall_connections_total", "TCP connections accepted.", &self.http.connections),
            ("chatcall_steps_total", "Batches given to guests.", &objects.steps),
            ("chatcall_inputs_total", "Events given to objects.", &objects.inputs),
            ("chatcall_step_microseconds_total", "Time in guests.", &objects.step_micros),
            ("chatcall_frames_received_total", "WebSocket messages received.", &objects.frames_in),
            ("chatcall_frames_sent_total", "WebSocket messages queued for sockets.", &objects.frames_out),
            ("chatcall_traps_total", "Guest instances of shards that stopped.", &objects.traps),
            ("chatcall_failed_lives_total", "Objects restarted because storage refused them.", &objects.failed_lives),
            ("chatcall_lost_calls_total", "Calls between objects without answer in time.", &objects.lost_calls),
            ("chatcall_slow_consumers_total", "Sockets closed because they read too slowly.", &objects.slow_consumers),
            ("chatcall_storage_rounds_total", "Transactions, one sync each.", &storage.rounds),
            ("chatcall_storage_jobs_total", "Writes that became durable.", &storage.jobs),
            ("chatcall_storage_failed_jobs_total", "Writes that were refused.", &storage.failed_jobs),
            ("chatcall_storage_loads_total", "Reads of objects.", &storage.loads),
            ("chatcall_messages_total", "Messages stored.", &storage.messages),
        ] {
            line(&mut page, name, "counter", help, total(counter));
        }
        page
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(page: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    head(page, name, kind, help);
    let _ = writeln!(page, "{name} {value}");
}

/// Resident memory of this process; 0 where the system does not say.
fn memory_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Serves until `stop` turns true.
pub async fn serve(listener: TcpListener, private: Arc<Private>, mut stop: watch::Receiver<bool>) {
    let stopping = stop.clone();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let private = private.clone();
                let service = hyper::service::service_fn(move |request| {
                    let answer = private.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut stop = stopping.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
                        () = stopped(&mut stop) => {}
                    }
                });
            }
            _ = second.tick() => private.sample(),
            () = stopped(&mut stop) => return,
        }
    }
}
