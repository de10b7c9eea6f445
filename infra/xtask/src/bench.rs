//! `cargo xtask bench`: measurements that anybody can repeat. They print tables; nothing fails by being slow.

use anyhow::{Result, bail};

use crate::process::{Place, run as run_command};
use crate::{cloudflare, npm, product, tools};

/// Folder of the clients and of the scripts.
const FOLDER: &str = "tests";

/// `bench edge [--quick]`
pub(crate) fn run(place: &Place, args: &[String]) -> Result<()> {
    let Some((name, rest)) = args.split_first() else { bail!("which bench? There is `edge`") };
    if name != "edge" {
        bail!("there is no bench `{name}`; there is `edge`");
    }
    tools::check_node(place)?;
    npm::install(place, FOLDER)?;
    product::build(place)?;
    cloudflare::build(place)?;
    let mut node = place.command("node");
    node.arg(place.root.join(FOLDER).join("bench/edge.mjs")).args(rest).env("CHATCALL_BIN", product::binary(place));
    place.step("bench edge", || run_command(&mut node))
}
