//! `cargo xtask`: sets everything up and runs ChatCall, or tests it.
//!
//! Nothing of the product lives here. Each step asks first whether it is needed, so that a second run takes seconds.

mod bench;
mod cloudflare;
mod count;
mod npm;
mod process;
mod product;
mod suites;
mod tools;
mod wasm;
mod wasm_binary;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::process::Place;
use crate::product::Up;
use crate::suites::Suite;

const HELP: &str = "\
cargo xtask up [--port N] [--data DIR] [...]   set up, build and run ChatCall (http://127.0.0.1:3001, ./data);
                                               everything behind `up` goes to `chatcall up`
cargo xtask test [SUITE ...]                   set up and run every test, or these suites: rust wasm node spin
                                               cloudflare
cargo xtask build                              what `up` does, without running
cargo xtask cloudflare [--port N] [--data DIR] set up, build and run the Worker here, on workerd with a libsql server: no
                                               account, no network (http://127.0.0.1:8787, ./data/cloudflare)
cargo xtask cloudflare-build                   the Worker's bundle only, where wrangler.toml expects it
cargo xtask wrangler [...]                     wrangler in the version of edge/cloudflare/package.json
cargo xtask bench edge [--quick]               what the edge costs: size, start, CPU beside the own host, the bill
cargo xtask bench search [--quick]             how long searches take among a million messages
cargo xtask spin-build                         the WASI component only, where spin.toml expects it
cargo xtask help                               this text

CHATCALL_WASM_TOOLCHAIN=debian   build WASM with Debian's Rust and its sources instead of `rustup target add`
CARGO_TARGET_DIR=DIR             build somewhere else than in ./target
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let (command, rest) = args.split_first().map_or(("help", args), |(command, rest)| (command.as_str(), rest));
    let wants_help = rest.iter().any(|arg| arg == "--help" || arg == "-h");
    match command {
        "help" | "--help" | "-h" => print!("{HELP}"),
        "wrangler" if wants_help => return cloudflare::wrangler(&Place::find()?, rest),
        _ if wants_help => print!("{HELP}"),
        "up" => {
            let up = Up::parse(rest)?;
            let place = Place::find()?;
            product::build(&place)?;
            return up.run(&place);
        }
        "build" => {
            no_more(command, rest)?;
            product::build(&Place::find()?)?;
        }
        "spin-build" => {
            no_more(command, rest)?;
            let place = Place::find()?;
            tools::check_build(&place)?;
            product::component(&place)?;
        }
        "cloudflare" => {
            let place = Place::find()?;
            tools::check_rust(&place)?;
            cloudflare::build(&place)?;
            return cloudflare::serve(&place, rest);
        }
        "bench" => bench::run(&Place::find()?, rest)?,
        "cloudflare-build" => {
            no_more(command, rest)?;
            let place = Place::find()?;
            tools::check_rust(&place)?;
            cloudflare::build(&place)?;
        }
        "wrangler" => return cloudflare::wrangler(&Place::find()?, rest),
        "test" => return Ok(suites::run(&Place::find()?, &Suite::parse(rest)?)),
        other => bail!("there is no command `{other}`; see `cargo xtask help`"),
    }
    Ok(ExitCode::SUCCESS)
}

fn no_more(command: &str, rest: &[String]) -> Result<()> {
    match rest.first() {
        Some(extra) => bail!("`cargo xtask {command}` takes no argument `{extra}`"),
        None => Ok(()),
    }
}
