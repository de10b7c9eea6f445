//! `worker-build` and what it calls. Every tool is put in its hand, so that it downloads nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{FOLDER, npm_programs, path_with, sysroot};
use crate::process::{Place, answer, run};
use crate::wasm::{PURE_TARGET, Toolchain};

const WORKER_BUILD: &str = "0.8.7";
const WORKER_BUILD_BIN: &str = "WORKER_BUILD_BIN";

/// Programs and folders of a build.
#[derive(Debug)]
pub(crate) struct Toolbox {
    toolchain: Toolchain,
    path: OsString,
    target: PathBuf,
    worker_build: PathBuf,
    /// Variables by which worker-build finds its tools.
    programs: Vec<(&'static str, PathBuf)>,
    /// Says of what the bundle was made, besides the code.
    pub(crate) versions: String,
}

impl Toolbox {
    /// Finds or installs everything. A tool that the environment names wins.
    pub(crate) fn prepare(place: &Place) -> Result<Self> {
        let toolchain = Toolchain::chosen()?;
        toolchain.prepare(place, PURE_TARGET)?;
        let npm = npm_programs(place);
        let (path, target) = match toolchain {
            Toolchain::Rustup => (path_with(&[npm.clone()]), "worker"),
            // Two toolchains in one folder would take each other's results for their own.
            Toolchain::Debian => (path_with(&[sysroot::prepare(place)?, npm.clone()]), "worker-debian"),
        };
        let bindgen = locked(place, "wasm-bindgen")?;
        let wasm_bindgen = match named("WASM_BINDGEN_BIN") {
            Some(program) => program,
            None => installed(place, "wasm-bindgen-cli", "wasm-bindgen", &bindgen, &[])?,
        };
        let worker_build = match named(WORKER_BUILD_BIN) {
            Some(program) => program,
            None => installed(place, "worker-build", "worker-build", WORKER_BUILD, &["--locked"])?,
        };
        let programs = vec![
            ("WASM_BINDGEN_BIN", wasm_bindgen),
            ("ESBUILD_BIN", named("ESBUILD_BIN").unwrap_or_else(|| npm.join("esbuild"))),
            ("WASM_OPT_BIN", named("WASM_OPT_BIN").unwrap_or_else(|| npm.join("wasm-opt"))),
        ];
        let lock = std::fs::read_to_string(place.root.join(FOLDER).join("package-lock.json")).unwrap_or_default();
        let manifest = std::fs::read_to_string(place.root.join(FOLDER).join("Cargo.toml")).unwrap_or_default();
        let versions = format!("{WORKER_BUILD} {worker_build:?} {programs:?} {lock} {manifest}");
        Ok(Self { toolchain, path, target: place.target.join(target), worker_build, programs, versions })
    }

    /// The adapter as WebAssembly; nothing happens when nothing has changed.
    pub(crate) fn cargo_build(&self, place: &Place, profile: &str) -> Result<PathBuf> {
        let mut cargo = match self.toolchain {
            Toolchain::Rustup => place.cargo(),
            Toolchain::Debian => place.command(place.target.join("wasm-debian-toolchain/bin/cargo")),
        };
        self.environment(&mut cargo);
        cargo.current_dir(place.root.join(FOLDER));
        run(cargo.args(["build", "--lib", "--target", PURE_TARGET, "--profile", profile, "--locked"]))?;
        Ok(self.target.join(PURE_TARGET).join(profile).join("edge_cloudflare.wasm"))
    }

    /// Bindings, wasm-opt and one script: `build/`. Builds with the same cargo command as [`Self::cargo_build`].
    pub(crate) fn worker_build(&self, place: &Place, profile: &str) -> Result<()> {
        let mut command = place.command(&self.worker_build);
        self.environment(&mut command);
        command.envs(self.programs.iter().map(|(name, program)| (name, program)));
        run(command.args(["--profile", profile, FOLDER, "--locked"]))
    }

    fn environment(&self, command: &mut Command) {
        command.env("PATH", &self.path).env("CARGO_TARGET_DIR", &self.target);
        // Flags and compilers of the environment would replace ours.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            command.env_remove(name);
        }
        if self.toolchain == Toolchain::Debian {
            for name in ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTC_WRAPPER", "RUSTDOC", "CARGO"] {
                command.env_remove(name);
            }
        }
    }
}

/// A program that the environment names.
fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `cargo install` into the target folder, unless that version is there.
fn installed(place: &Place, package: &str, program: &str, version: &str, more: &[&str]) -> Result<PathBuf> {
    let root = place.target.join("tools");
    let path = root.join("bin").join(format!("{program}{}", std::env::consts::EXE_SUFFIX));
    let found = answer(place.command(&path).arg("--version"));
    if found.is_some_and(|text| text.split_whitespace().any(|word| word == version)) {
        return Ok(path);
    }
    place.step(&format!("cargo install {package} {version}"), || {
        let mut cargo = place.cargo();
        cargo.args(["install", package, "--version", version, "--bin", program, "--force", "--root"]).arg(&root).args(more);
        // Tools for one build a day: compiled quickly, and what two of them share only once.
        cargo.env("CARGO_TARGET_DIR", place.target.join("tools-build"));
        cargo.envs([("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"), ("CARGO_PROFILE_RELEASE_LTO", "off")]);
        run(&mut cargo).with_context(|| format!("{package} {version} comes from crates.io and needs network once"))
    })?;
    Ok(path)
}

/// The version of a package in Cargo.lock.
fn locked(place: &Place, package: &str) -> Result<String> {
    let path = place.root.join("Cargo.lock");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    version_in(&text, package).with_context(|| format!("{} has no {package}", Path::new("Cargo.lock").display()))
}

fn version_in(lock: &str, package: &str) -> Option<String> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split_once('"').map(|(version, _)| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_package_is_read_from_the_lock() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.5\"\n\n[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(version_in(lock, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(version_in(lock, "bindgen"), None);
    }
}
