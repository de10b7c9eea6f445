//! Runs the simulator from the command line: one seed with everything it says, or many on all cores.

use std::process::ExitCode;
use std::time::Instant;

use sim::batch::{self, System};
use sim::scenario::{Host, Scenario};

const USAGE: &str = "sim --seed N [--verbose] [--history FILE]   one run
sim --seeds A..B [--threads T]              many runs, stops at nothing, prints those that fail
sim --hour [--seed N]                       a quiet hour of 50 clients in 5 conversations, timed
  --host own|sleeping                       on this host, not the one that the number draws
  --toy                                     the toy gateway instead of the product's";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<bool, String> {
    let flag = |name: &str| args.iter().any(|arg| arg == name);
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).map(String::as_str);
    let number = |name: &str, text: &str| text.parse::<u64>().map_err(|_| format!("{name} needs a number, not {text:?}"));
    let system = if flag("--toy") { System::Toy } else { System::Product };
    let host = match value("--host") {
        None => None,
        Some("own") => Some(Host::Own),
        Some("sleeping") => Some(Host::Sleeping),
        Some(other) => return Err(format!("--host is own or sleeping, not {other:?}")),
    };
    let scenario = |seed| match host {
        Some(host) if system == System::Product => Scenario::on(host, seed),
        _ => system.scenario(seed),
    };
    let seed = value("--seed").map(|text| number("--seed", text)).transpose()?;
    if flag("--hour") {
        let began = Instant::now();
        let outcome = batch::one(Scenario::hour(seed.unwrap_or(1)), system, flag("--verbose"))?;
        println!("{outcome}");
        println!("{:.1} s for {} virtual s", began.elapsed().as_secs_f64(), outcome.virtual_ms / 1000);
        return Ok(outcome.good());
    }
    if let Some(range) = value("--seeds") {
        let (from, to) = range.split_once("..").ok_or("--seeds needs A..B")?;
        let seeds = number("--seeds", from)?..number("--seeds", to)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = value("--threads").map_or(Ok(cores as u64), |text| number("--threads", text))?;
        let began = Instant::now();
        let summary = batch::many_with(seeds, threads as usize, &|| system.hooks(), &scenario)?;
        println!("{summary}");
        println!("{:.1} s", began.elapsed().as_secs_f64());
        return Ok(summary.failed.is_empty());
    }
    let seed = seed.ok_or("say --seed or --seeds")?;
    let outcome = batch::one(scenario(seed), system, flag("--verbose"))?;
    if let Some(path) = value("--history") {
        std::fs::write(path, sim::history::to_json_lines(&outcome.history)).map_err(|error| format!("{path}: {error}"))?;
    }
    println!("{:#?}", outcome.scenario);
    println!("{outcome}");
    Ok(outcome.good())
}
