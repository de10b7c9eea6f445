//! `cargo xtask bench`: measurements that anybody can repeat. They print tables; nothing fails by being slow.

use anyhow::{Result, bail};

use crate::process::{Place, run as run_command};
use crate::{cloudflare, npm, product, tools};

/// Folder of the clients and of the scripts.
const FOLDER: &str = "tests";

/// `bench edge|search [--quick]`
pub(crate) fn run(place: &Place, args: &[String]) -> Result<()> {
    match args.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        Some(("edge", rest)) => edge(place, rest),
        Some(("search", rest)) => {
            tools::check_rust(place)?;
            let mut cargo = place.cargo();
            cargo.args(["run", "--release", "--quiet", "--locked", "--package", "handlers", "--bin", "bench-search", "--"]).args(rest);
            place.step("bench search", || run_command(&mut cargo))
        }
        Some((name, _)) => bail!("there is no bench `{name}`; there are `edge`, `search`"),
        None => bail!("which bench? There are `edge`, `search`"),
    }
}

fn edge(place: &Place, rest: &[String]) -> Result<()> {
    tools::check_node(place)?;
    npm::install(place, FOLDER)?;
    product::build(place)?;
    cloudflare::build(place)?;
    let mut node = place.command("node");
    node.arg(place.root.join(FOLDER).join("bench/edge.mjs")).args(rest).env("CHATCALL_BIN", product::binary(place));
    place.step("bench edge", || run_command(&mut node))
}
