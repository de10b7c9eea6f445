//! The tools a machine must have, each with the fix when it is missing.

use anyhow::{Result, bail};

use crate::process::{Place, answer};

/// Oldest Node that the tests' packages support.
const NODE_FLOOR: u32 = 20;

/// What building and running needs: Rust and a C compiler.
pub(crate) fn check_build(place: &Place) -> Result<()> {
    let mut missing = rust(place);
    if answer(place.command("cc").arg("--version")).is_none() {
        missing.push("cc (a C compiler, for the embedded database) is missing: apt-get install build-essential".to_owned());
    }
    refuse(&missing)
}

/// What building a Worker needs of the host: Rust only.
pub(crate) fn check_rust(place: &Place) -> Result<()> {
    refuse(&rust(place))
}

/// What the tests need on top: Node and npm.
pub(crate) fn check_node(place: &Place) -> Result<()> {
    refuse(&node(place))
}

/// Node is not needed to run, so that its absence is only mentioned.
pub(crate) fn mention_node(place: &Place) {
    for line in node(place) {
        place.say(format_args!("note: {line} (only `cargo xtask test` needs it)"));
    }
}

fn rust(place: &Place) -> Vec<String> {
    let floor = env!("CARGO_PKG_RUST_VERSION");
    let fix = "https://rustup.rs, or `rustup update stable`";
    match answer(place.command("rustc").arg("--version")) {
        None => vec![format!("rustc is missing: install Rust {floor} or newer from {fix}")],
        Some(text) if !at_least(&text, floor) => vec![format!("{text} is too old: Rust {floor} or newer, from {fix}")],
        Some(_) => Vec::new(),
    }
}

fn node(place: &Place) -> Vec<String> {
    let fix = format!("install Node.js {NODE_FLOOR} or newer with npm (https://nodejs.org or `apt-get install nodejs npm`)");
    let mut missing = Vec::new();
    match answer(place.command("node").arg("--version")) {
        None => missing.push(format!("node is missing: {fix}")),
        Some(text) if !at_least(&text, &NODE_FLOOR.to_string()) => missing.push(format!("node {text} is too old: {fix}")),
        Some(_) => {}
    }
    if answer(place.command("npm").arg("--version")).is_none() {
        missing.push(format!("npm is missing: {fix}"));
    }
    missing
}

fn refuse(missing: &[String]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{}", missing.join("\n       "));
}

/// Whether the first version in `text` (`rustc 1.95.0 (…)`, `v20.1.0`) is `floor` or newer.
fn at_least(text: &str, floor: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).filter_map(|part| part.parse().ok()).collect()
    };
    let floor = numbers(floor);
    numbers(text).into_iter().take(floor.len()).collect::<Vec<_>>() >= floor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(at_least("rustc 1.95.0 (59807616e 2026-04-14)", "1.95"));
        assert!(at_least("rustc 1.100.0", "1.95"));
        assert!(at_least("rustc 2.0.0", "1.95"));
        assert!(!at_least("rustc 1.94.9", "1.95"));
        assert!(at_least("v20.20.2", "20"));
        assert!(!at_least("v18.20.4", "20"));
        assert!(!at_least("", "20"));
    }
}
