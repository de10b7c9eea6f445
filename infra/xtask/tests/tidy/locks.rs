//! Lock files say what is installed, never from whose mirror.

use crate::tree::{files, none};

const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

#[test]
fn cargo_lock_names_crates_io_only() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path.ends_with("Cargo.lock")) {
        let foreign = |line: &str| line.starts_with("source = ") && line != CRATES_IO;
        wrong.extend(file.lines().filter(|(_, line)| foreign(line)).map(|(n, line)| format!("{}:{n}: {line}", file.path)));
    }
    none("packages from elsewhere than crates.io", &wrong);
}

#[test]
fn npm_locks_record_no_address() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path.ends_with("package-lock.json")) {
        let address = |line: &str| line.contains("\"resolved\"") && !line.contains("\"resolved\": \"file:");
        wrong.extend(file.lines().filter(|(_, line)| address(line)).map(|(n, _)| format!("{}:{n}", file.path)));
    }
    none("set omit-lockfile-registry-resolved=true and write these locks anew", &wrong);
}

#[test]
fn settings_of_cargo_and_npm_name_no_registry() {
    let settings = |path: &str| path.ends_with(".npmrc") || path.starts_with(".cargo/") || path.ends_with("rust-toolchain.toml");
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| settings(&file.path)) {
        wrong.extend(file.lines().filter(|(_, line)| line.contains("://")).map(|(n, line)| format!("{}:{n}: {line}", file.path)));
    }
    none("a clone must work with everybody's registries", &wrong);
}
