//! The product under the seeds of CI.

#![allow(clippy::unwrap_used)]

use sim::batch::{self, System};
use sim::scenario::{Host, Scenario};

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn five_hundred_seeds_keep_every_promise() {
    let summary = batch::many(0..500, threads(), System::Product).unwrap();
    println!("{summary}");
    assert!(summary.failed.is_empty(), "{summary}");
    // A run in which nothing happens proves nothing.
    assert!(summary.acked > 50_000 && summary.delivered > 200_000 && summary.recovered > 500, "{summary}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    // The second is on a host whose objects sleep.
    for seed in [3, 14, 159] {
        let one = batch::one(Scenario::of(seed), System::Product, false).unwrap();
        let two = batch::one(Scenario::of(seed), System::Product, false).unwrap();
        assert_eq!(one.history, two.history, "seed {seed}");
    }
}

fn stay_fixed(host: Host, fixed: &[(u64, &str)]) {
    for (seed, what) in fixed {
        // People had nothing to do with each other when these were found, and there were few gateways.
        let gateways = Scenario::on(Host::Own, *seed).gateways;
        let scenario = Scenario { relations: false, gateways, ..Scenario::on(host, *seed) };
        let outcome = batch::one(scenario, System::Product, false).unwrap();
        assert!(outcome.good(), "again, {what}: {outcome}");
    }
}

/// Seeds that once failed, each with what was wrong then.
#[test]
fn seeds_of_fixed_bugs_stay_fixed() {
    let fixed = [
        (33, "a Room asked for the same alarm for ever while it read"),
        (6, "a Gateway tried for ever to save an attachment that could not be saved yet"),
        (17, "events were sent twice when a Gateway restarted between a send and its attachment"),
        (159, "an audience version of an earlier life of the Room beat the newer one"),
        (237, "an event that was committed but not delivered by a dying Room stayed unknown"),
        (30, "members whose gateway restarted were forgotten until the next round of questions"),
        (391, "a conversation was answered as made before it was in anybody's list"),
    ];
    stay_fixed(Host::Own, &fixed);
}

#[test]
fn seeds_of_fixed_bugs_of_sleeping_objects_stay_fixed() {
    let fixed = [
        (11, "a User that slept within the grace of a lost socket forgot the grace"),
        (79, "a User that could not load was taken to know that the sockets are gone"),
        (56, "a late batch was written behind a newer one, because a sleep forgot what was written"),
    ];
    stay_fixed(Host::Sleeping, &fixed);
}

#[test]
fn a_quiet_hour_holds_with_the_toy_gateway_too() {
    let scenario = Scenario { duration_ms: 600_000, scenes: false, ..Scenario::hour(7) };
    let outcome = batch::one(scenario, System::Toy, false).unwrap();
    assert!(outcome.good(), "{outcome}");
    assert!(outcome.verdict.counts.acked > 100, "{outcome}");
}
