//! Many runs on several threads; each thread keeps its databases.

use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::product;
use crate::run::{Outcome, run};
use crate::scenario::{Host, Scenario};
use crate::world::Hooks;

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    Product,
    /// The toy gateway in front of the product's rooms and users.
    Toy,
}

impl System {
    /// Its objects.
    #[must_use]
    pub fn hooks(self) -> Hooks {
        match self {
            Self::Product => product::product(),
            Self::Toy => product::toy(),
        }
    }

    /// The run of this number.
    #[must_use]
    pub fn scenario(self, seed: u64) -> Scenario {
        match self {
            Self::Product => Scenario::of(seed),
            // Shards make the product's objects only, and it neither sleeps nor knows of memberships or people.
            Self::Toy => Scenario { shards: 0, churn: false, relations: false, scenes: false, ..Scenario::on(Host::Own, seed) },
        }
    }
}

/// One run.
pub fn one(scenario: Scenario, system: System, verbose: bool) -> Result<Outcome, String> {
    Ok(run(scenario, system.hooks(), product::stores()?, verbose)?.0)
}

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Summary {
    pub runs: u64,
    pub steps: u64,
    pub acked: u64,
    pub delivered: u64,
    pub recovered: u64,
    pub virtual_ms: u64,
    /// Seed and what was wrong.
    pub failed: Vec<(u64, String)>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (seed, what) in &self.failed {
            writeln!(f, "FAILED seed {seed}; replay: cargo run --release -p sim -- --seed {seed} [--host sleeping|own] --verbose\n{what}")?;
        }
        write!(
            f,
            "{} runs, {} failed: {} virtual hours, {} inputs, {} acknowledged sends, {} deliveries, {} recoveries",
            self.runs,
            self.failed.len(),
            self.virtual_ms / 3_600_000,
            self.steps,
            self.acked,
            self.delivered,
            self.recovered
        )
    }
}

/// Runs every seed.
pub fn many(seeds: Range<u64>, threads: usize, system: System) -> Result<Summary, String> {
    many_with(seeds, threads, &|| system.hooks(), &|seed| system.scenario(seed))
}

/// Runs every seed with objects and scenarios of the caller's.
pub fn many_with(
    seeds: Range<u64>,
    threads: usize,
    hooks: &(dyn Fn() -> Hooks + Sync),
    scenario: &(dyn Fn(u64) -> Scenario + Sync),
) -> Result<Summary, String> {
    let next = AtomicU64::new(seeds.start);
    let summary = Mutex::new(Summary::default());
    let worker = || -> Result<(), String> {
        let mut stores = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(());
            }
            let fresh = match stores.take() {
                Some(kept) => kept,
                None => product::stores()?,
            };
            let result = catch_unwind(AssertUnwindSafe(|| run(scenario(seed), hooks(), fresh, false)));
            let Ok(mut summary) = summary.lock() else { return Err("a thread died".to_owned()) };
            summary.runs += 1;
            match result {
                Ok(Ok((outcome, kept))) => {
                    stores = Some(kept);
                    summary.steps += outcome.steps;
                    summary.acked += outcome.verdict.counts.acked as u64;
                    summary.delivered += outcome.verdict.counts.delivered as u64;
                    summary.recovered += outcome.recovered;
                    summary.virtual_ms += outcome.virtual_ms;
                    if !outcome.good() {
                        summary.failed.push((seed, outcome.to_string()));
                    }
                }
                Ok(Err(error)) => summary.failed.push((seed, error)),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
                    summary.failed.push((seed, format!("panicked: {text}")));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a thread died".to_owned())))
    })?;
    let mut summary = summary.into_inner().map_err(|_| "a thread died".to_owned())?;
    summary.failed.sort();
    Ok(summary)
}
