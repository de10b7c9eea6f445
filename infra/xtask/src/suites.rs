//! `cargo xtask test`: every suite, each to its end, and one line that sums them up.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::count::Count;
use crate::process::{Beside, Place, run as run_command, stream};
use crate::wasm::{PURE_TARGET, Toolchain};
use crate::wasm_binary::Border;
use crate::{cloudflare, npm, product, tools};

/// Folder of the suites that run on Node.
const NODE_TESTS: &str = "tests";
/// The archive with all of edge-core for a target without any system, and the one symbol that reaches everything of it.
const PURITY: &str = "purity";
const PURITY_DOOR: &str = "purity_reach_everything";

/// A group of tests that can be run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    /// All of the workspace: units, simulation, host, tidiness.
    Rust,
    /// Nothing that the doors of edge-core reach is an import.
    Wasm,
    /// Conformance, protocol and process tests with real clients against the built binary.
    Node,
    /// The same cases through the component as Spin runs it, with a room host beside it.
    Spin,
    /// Conformance with the Worker on workerd, and what only that host has.
    Cloudflare,
}

impl Suite {
    const ALL: [Self; 5] = [Self::Rust, Self::Wasm, Self::Node, Self::Spin, Self::Cloudflare];

    /// The suites named, or all.
    pub(crate) fn parse(names: &[String]) -> Result<Vec<Self>> {
        if names.is_empty() {
            return Ok(Self::ALL.to_vec());
        }
        let find = |name: &String| match Self::ALL.into_iter().find(|suite| suite.name() == name) {
            Some(suite) => Ok(suite),
            None => bail!("there is no suite `{name}`; there are {}", Self::ALL.map(Self::name).join(", ")),
        };
        names.iter().map(find).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Wasm => "wasm",
            Self::Node => "node",
            Self::Spin => "spin",
            Self::Cloudflare => "cloudflare",
        }
    }

    fn run(self, place: &Place) -> Result<Count> {
        match self {
            Self::Rust => rust(place),
            Self::Wasm => wasm(place),
            Self::Node => node(place),
            Self::Spin => spin(place),
            Self::Cloudflare => cloudflare(place),
        }
    }
}

/// Runs the suites one after the other; a failing one does not stop the next. Clients that are idle for minutes are
/// beside them all the time. The last line of standard output is `N passed, N failed`.
pub(crate) fn run(place: &Place, suites: &[Suite]) -> ExitCode {
    let mut total = Count::default();
    if let Err(error) = set_up(place, suites) {
        eprintln!("error: {error:#}");
        total += Count::FAILED;
    } else {
        let idle = suites.contains(&Suite::Cloudflare).then(|| place.step("idle clients: start", || idle(place)));
        for suite in suites {
            total += counted(place, &format!("suite {}", suite.name()), || suite.run(place));
        }
        if let Some(idle) = idle {
            total += counted(place, "idle clients", || {
                let mut count = Count::default();
                let success = idle?.collect(|line| count.node(line))?;
                Ok(count.ended(success))
            });
        }
    }
    println!("{total}");
    if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn counted(place: &Place, name: &str, work: impl FnOnce() -> Result<Count>) -> Count {
    match place.step(name, work) {
        Ok(count) => {
            place.say(format_args!("{name}: {count}"));
            count
        }
        Err(error) => {
            eprintln!("error: {name}: {error:#}");
            Count::FAILED
        }
    }
}

fn set_up(place: &Place, suites: &[Suite]) -> Result<()> {
    tools::check_build(place)?;
    if suites.iter().any(|suite| matches!(suite, Suite::Node | Suite::Spin | Suite::Cloudflare)) {
        tools::check_node(place)?;
        npm::install(place, NODE_TESTS)?;
    }
    if suites.iter().any(|suite| *suite != Suite::Wasm) {
        product::component(place)?;
    }
    Ok(())
}

fn rust(place: &Place) -> Result<Count> {
    let mut count = Count::default();
    let mut command = place.cargo();
    command.args(["test", "--release", "--workspace", "--no-fail-fast", "--locked"]);
    let success = stream(&mut command, |line| count.libtest(line))?;
    Ok(count.ended(success))
}

fn wasm(place: &Place) -> Result<Count> {
    let toolchain = Toolchain::chosen()?;
    toolchain.prepare(place, PURE_TARGET)?;
    let folder = toolchain.build(place, PURITY, PURE_TARGET, "dev", &["--locked"])?;
    let path = folder.join(format!("{PURITY}.wasm"));
    toolchain.link(place, &folder.join(format!("lib{PURITY}.a")), PURITY_DOOR, &path)?;
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let border = Border::read(&bytes)?;
    let linked = border.exports.iter().any(|name| name == PURITY_DOOR);
    ensure!(linked, "{} exports no `{PURITY_DOOR}`: nothing was linked", path.display());
    if border.imports.is_empty() {
        println!("test edge_core_as_wasm_imports_nothing ... ok ({} KiB)", bytes.len() / 1024);
        return Ok(Count::PASSED);
    }
    println!("test edge_core_as_wasm_imports_nothing ... FAILED: {}", border.imports.join(", "));
    Ok(Count::FAILED)
}

/// Every program that tests start: the host, what judges histories, the stand-in for Spin. Always the same packages
/// together, because another choice would have other features, and build everything again.
fn binaries(place: &Place) -> Result<()> {
    run_command(place.cargo().args(["build", "--release", "--package", "chatcall", "--package", "sim", "--package", "spin-stand-in", "--bins", "--locked"]))
}

fn node(place: &Place) -> Result<Count> {
    binaries(place)?;
    let mut count = Count::default();
    let mut command: Command = place.command("npm");
    command.args(["test", "--prefix", NODE_TESTS]).env("CHATCALL_BIN", product::binary(place));
    let success = stream(&mut command, |line| count.node(line))?;
    Ok(count.ended(success))
}

fn spin(place: &Place) -> Result<Count> {
    binaries(place)?;
    let mut count = Count::default();
    let mut command: Command = place.command("npm");
    command.args(["run", "spin", "--prefix", NODE_TESTS]).env("HOST", "spin").env("CHATCALL_BIN", product::binary(place));
    let success = stream(&mut command, |line| count.node(line))?;
    Ok(count.ended(success))
}

/// Stock clients that do nothing for ten minutes, on our own host and on workerd.
fn idle(place: &Place) -> Result<Beside> {
    cloudflare::build(place)?;
    binaries(place)?;
    let mut command = place.command("npm");
    command.args(["run", "idle", "--prefix", NODE_TESTS]).env("CHATCALL_BIN", product::binary(place));
    Beside::start(&mut command)
}

fn cloudflare(place: &Place) -> Result<Count> {
    cloudflare::build(place)?;
    binaries(place)?;
    let mut count = Count::default();
    for script in ["conformance", "workerd"] {
        let mut part = Count::default();
        let mut command = place.command("npm");
        command.args(["run", script, "--prefix", NODE_TESTS]).env("HOST", "workerd").env("CHATCALL_BIN", product::binary(place));
        let success = stream(&mut command, |line| part.node(line))?;
        count += part.ended(success);
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_chosen_by_name() {
        let parse = |names: &[&str]| Suite::parse(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&[]).unwrap(), Suite::ALL);
        assert_eq!(parse(&["wasm"]).unwrap(), [Suite::Wasm]);
        assert!(parse(&["web"]).is_err());
    }
}
