//! What a run is made of, drawn from its number: how many of everything, how it is wired, and which faults.

use edge_core::settings::{Heartbeat, Settings, SigningKey};

use crate::rng::Rng;
use crate::store::GATEWAYS;

/// Probabilities and mean intervals of faults. 0 turns one off.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// Per output of a step: the object dies behind it.
    pub crash_between_outputs: f64,
    /// Mean time between crashes and evictions of one object, in milliseconds.
    pub crash_every_ms: u64,
    /// Mean time between crashes of the whole host.
    pub host_crash_every_ms: u64,
    /// Mean time between orderly restarts of the host.
    pub deploy_every_ms: u64,
    /// Per message between objects: it never arrives.
    pub drop_message: f64,
    /// It arrives twice, the second time up to 3 s later.
    pub duplicate_message: f64,
    /// It takes up to 3 s, so that later ones overtake it.
    pub delay_message: f64,
    /// Per commit: the medium refuses it.
    pub persist_fails: f64,
    /// Of those: it was durable all the same.
    pub fails_but_applied: f64,
    /// Per commit: the sync takes up to 2 s.
    pub slow_sync: f64,
    /// Per load: the medium refuses it.
    pub load_fails: f64,
    /// Per projection on a remote people database: applied up to 5 s later, or once more later.
    pub late_projection: f64,
    /// Per alarm: it comes twice, or up to 90 s late.
    pub odd_alarm: f64,
    /// Mean time between cuts of one client's connection.
    pub cut_every_ms: u64,
    /// Per ack on its way to a client: the connection is cut before it arrives.
    pub lost_ack: f64,
    /// Of all cuts: the server is not told (half-open).
    pub half_open: f64,
    /// Mean time between jumps of the wall clock by up to an hour.
    pub clock_jump_every_ms: u64,
    /// Per client: reads slowly (bytes per second are few).
    pub slow_reader: f64,
    /// Per answer to an HTTP request: it never arrives.
    pub lost_response: f64,
    /// Where the people database is apart: mean time between times in which it cannot be reached, or is slow.
    pub people_out_every_ms: u64,
}

impl Faults {
    /// No fault at all.
    pub const NONE: Self = Self {
        crash_between_outputs: 0.0,
        crash_every_ms: 0,
        host_crash_every_ms: 0,
        deploy_every_ms: 0,
        drop_message: 0.0,
        duplicate_message: 0.0,
        delay_message: 0.0,
        persist_fails: 0.0,
        fails_but_applied: 0.0,
        slow_sync: 0.0,
        load_fails: 0.0,
        late_projection: 0.0,
        odd_alarm: 0.0,
        cut_every_ms: 0,
        lost_ack: 0.0,
        half_open: 0.0,
        clock_jump_every_ms: 0,
        slow_reader: 0.0,
        lost_response: 0.0,
        people_out_every_ms: 0,
    };

    /// Each kind is on in about half of the runs, at rates over two decades.
    #[must_use]
    pub fn drawn(rng: &mut Rng) -> Self {
        let mut rate = |low: f64, high: f64| if rng.chance(0.55) { rng.log_between(low, high) } else { 0.0 };
        let mut faults = Self {
            crash_between_outputs: rate(0.0002, 0.01),
            drop_message: rate(0.001, 0.1),
            duplicate_message: rate(0.001, 0.2),
            delay_message: rate(0.002, 0.3),
            persist_fails: rate(0.0005, 0.03),
            fails_but_applied: rate(0.05, 0.5),
            slow_sync: rate(0.001, 0.1),
            load_fails: rate(0.001, 0.05),
            late_projection: rate(0.01, 0.5),
            odd_alarm: rate(0.005, 0.2),
            lost_ack: rate(0.001, 0.05),
            half_open: rate(0.05, 0.5),
            slow_reader: rate(0.02, 0.3),
            lost_response: rate(0.01, 0.2),
            ..Self::NONE
        };
        let mut every = |low: f64, high: f64| if rng.chance(0.55) { rng.log_between(low, high) as u64 } else { 0 };
        faults.crash_every_ms = every(1_000.0, 60_000.0);
        faults.host_crash_every_ms = every(20_000.0, 600_000.0);
        faults.deploy_every_ms = every(60_000.0, 600_000.0);
        faults.cut_every_ms = every(1_500.0, 60_000.0);
        faults.clock_jump_every_ms = every(20_000.0, 600_000.0);
        faults
    }
}

/// Which host the objects live on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Ours: objects stay in memory until they say that they are idle.
    Own,
    /// Objects sleep between events ([`crate::sleep`]).
    Sleeping,
}

impl Host {
    /// The host of the run of this number.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        if seed % 3 == 2 { Self::Sleeping } else { Self::Own }
    }
}

/// When a host that lets objects sleep does so. 0 turns one off.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sleep {
    /// Per event: the object at rest behind it.
    pub after_event: f64,
    /// Mean time between nights of one, some or all objects.
    pub every_ms: u64,
}

/// Where the people database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projections {
    /// Same file as the own storage: a projection behind a Persist is in its transaction.
    SameTransaction,
    /// Another server: each projection takes its own time, at least once.
    Remote,
    /// Another server, and rows that nobody waits for are gathered by the host for a while.
    Gathered,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub seed: u64,
    pub host: Host,
    pub sleep: Sleep,
    pub gateways: u32,
    pub users: usize,
    /// Devices of each user: 1..=this.
    pub devices: u64,
    pub conversations: usize,
    /// Of the clients: never resume.
    pub live_only: f64,
    /// Virtual time under load and faults.
    pub duration_ms: u64,
    /// Mean pause between two actions of a client.
    pub think_ms: u64,
    /// Longest one-way delay of a client's network.
    pub client_latency_ms: u64,
    /// Mean time of a sync, in microseconds.
    pub sync_us: u64,
    /// 0: each object alone. Else so many shards, each of which dies as a whole.
    pub shards: usize,
    pub projections: Projections,
    /// In groups somebody comes and goes.
    pub churn: bool,
    /// People block each other, hide, and try sessions of others.
    pub relations: bool,
    /// Presence, blocks, read marks and the search are looked at when everything is at rest.
    pub scenes: bool,
    /// Messages between objects go through JSON.
    pub json_messages: bool,
    pub attach_after_ms: u64,
    pub faults: Faults,
}

impl Scenario {
    /// The run of this number.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self::on(Host::of(seed), seed)
    }

    /// The run of this number on this host.
    #[must_use]
    pub fn on(host: Host, seed: u64) -> Self {
        // The stream of the scenario differs from that of the run.
        let mut rng = Rng::new(seed ^ 0x5ce0_a210_0000_0000);
        let rng = &mut rng;
        let own = Self {
            seed,
            host: Host::Own,
            sleep: Sleep::default(),
            gateways: rng.between(1, 3) as u32,
            users: rng.between(2, 6) as usize,
            devices: rng.between(1, 2),
            conversations: rng.between(1, 3) as usize,
            live_only: if rng.chance(0.4) { 0.25 } else { 0.0 },
            duration_ms: rng.between(60_000, 180_000),
            think_ms: rng.log_between(300.0, 3_000.0) as u64,
            client_latency_ms: rng.log_between(0.5, 200.0) as u64,
            sync_us: rng.log_between(50.0, 20_000.0) as u64,
            shards: if rng.chance(0.25) { rng.between(1, 3) as usize } else { 0 },
            projections: if rng.chance(0.5) { Projections::SameTransaction } else { Projections::Remote },
            churn: true,
            relations: true,
            scenes: true,
            json_messages: rng.chance(0.2),
            attach_after_ms: *rng.pick(&[0, 200, 1_000, 5_000]).unwrap_or(&0),
            faults: if rng.chance(0.03) { Faults::NONE } else { Faults::drawn(rng) },
        };
        if host == Host::Own { own } else { own.sleeping(rng) }
    }

    /// The same on a host whose objects sleep.
    fn sleeping(self, rng: &mut Rng) -> Self {
        let people_out_every_ms = if rng.chance(0.4) { rng.log_between(15_000.0, 120_000.0) as u64 } else { 0 };
        let faulty = self.faults != Faults::NONE;
        let sleep = Sleep {
            after_event: if rng.chance(0.8) { rng.log_between(0.005, 0.95) } else { 0.0 },
            every_ms: if rng.chance(0.8) { rng.log_between(300.0, 30_000.0) as u64 } else { 0 },
        };
        Self {
            host: Host::Sleeping,
            sleep,
            // Rooms put off what costs a delivery to each of many gateways.
            gateways: if rng.chance(0.3) { GATEWAYS as u32 } else { self.gateways },
            shards: 0,
            projections: Projections::Gathered,
            attach_after_ms: 0,
            faults: Faults {
                // Requests between objects are lost or answered, and never come twice; its clocks are kept by others.
                duplicate_message: 0.0,
                clock_jump_every_ms: 0,
                people_out_every_ms: if faulty { people_out_every_ms } else { 0 },
                ..self.faults
            },
            ..self
        }
    }

    /// A quiet run: an hour of 50 people in 5 conversations, without faults.
    #[must_use]
    pub fn hour(seed: u64) -> Self {
        Self {
            seed,
            host: Host::Own,
            sleep: Sleep::default(),
            gateways: 2,
            users: 50,
            devices: 1,
            conversations: 5,
            live_only: 0.0,
            duration_ms: 3_600_000,
            think_ms: 30_000,
            client_latency_ms: 30,
            sync_us: 500,
            shards: 0,
            projections: Projections::SameTransaction,
            churn: false,
            relations: false,
            scenes: true,
            json_messages: false,
            attach_after_ms: 1_000,
            faults: Faults::NONE,
        }
    }

    /// Settings of the deployment, with a signing key of this run.
    #[must_use]
    pub fn settings(&self, rng: &mut Rng) -> Settings {
        let secret: String = rng.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut settings = Settings {
            gateways: self.gateways,
            attach_after_ms: self.attach_after_ms,
            heartbeat: Heartbeat::default(),
            signing_key: Some(SigningKey::Hs256(secret.clone())),
            refresh_secret: secret,
            ..Settings::default()
        };
        if self.host == Host::Sleeping {
            settings.hibernate();
        }
        settings
    }
}
