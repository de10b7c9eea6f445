//! The two ways to build WASM: the workspace's own toolchain with a target from rustup, or Debian's Rust, which builds
//! the standard library from its sources (for machines that reach package registries only).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{Place, answer, name, run};

/// The component: Spin and our host run it.
pub(crate) const COMPONENT_TARGET: &str = "wasm32-wasip2";
/// No system interface at all: what links here imports nothing, or names it.
pub(crate) const PURE_TARGET: &str = "wasm32-unknown-unknown";

const VARIABLE: &str = "CHATCALL_WASM_TOOLCHAIN";
/// `wasi-libc` and the flag below because Debian's Rust has no self-contained libc; `lld-22` is [`Toolchain::link`]'s.
const DEBIAN_PACKAGES: [&str; 6] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22", "wasi-libc"];
const DEBIAN_LIBC: &str = "-L native=/usr/lib/wasm32-wasi";
const DEBIAN_LINKER: &str = "/usr/lib/llvm-22/bin/wasm-ld";
/// Random bytes come from outside; where a dependency would fetch them itself, it must not find a way.
const NO_RANDOMNESS: &str = "--cfg getrandom_backend=\"unsupported\"";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    Rustup,
    Debian,
}

impl Toolchain {
    /// What the environment asks for.
    pub(crate) fn chosen() -> Result<Self> {
        match std::env::var(VARIABLE).unwrap_or_default().as_str() {
            "" | "rustup" => Ok(Self::Rustup),
            "debian" => Ok(Self::Debian),
            other => bail!("{VARIABLE} is `{other}`; it may be `rustup` (the default) or `debian`"),
        }
    }

    /// Installs what is missing to build for `target`.
    pub(crate) fn prepare(self, place: &Place, target: &str) -> Result<()> {
        match self {
            Self::Rustup => rustup_target(place, target),
            Self::Debian => debian_packages(place),
        }
    }

    /// `cargo build` of one package for `target`; `extra` are further arguments. Returns the folder of its results.
    pub(crate) fn build(self, place: &Place, package: &str, target: &str, profile: &str, extra: &[&str]) -> Result<PathBuf> {
        let folder = match self {
            Self::Rustup => place.target.clone(),
            // Two toolchains in one folder would undo each other's build scripts.
            Self::Debian => place.target.join("wasm-debian"),
        };
        let mut command = match self {
            Self::Rustup => place.cargo(),
            Self::Debian => debian_cargo(place),
        };
        command.args(["build", "--package", package, "--profile", profile, "--target", target]);
        command.arg("--target-dir").arg(&folder).args(extra);
        if self == Self::Debian {
            command.args(["-Z", "build-std=std,panic_abort"]);
        }
        // Flags of the environment would replace ours.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
        command.env(variable, self.flags(target));
        run(&mut command)?;
        let profile_folder = if profile == "dev" { "debug" } else { profile };
        Ok(folder.join(target).join(profile_folder))
    }

    fn flags(self, target: &str) -> String {
        let pure = target == PURE_TARGET;
        let flags = match (self, pure) {
            (_, true) => NO_RANDOMNESS,
            (Self::Debian, false) => DEBIAN_LIBC,
            (Self::Rustup, false) => "",
        };
        flags.to_owned()
    }

    /// Links what `door` reaches in `archive`, and nothing else, into the module `to`. Whatever is defined nowhere becomes
    /// an import. rustc's own link would export, and so keep, every `#[no_mangle]` symbol of every dependency.
    pub(crate) fn link(self, place: &Place, archive: &Path, door: &str, to: &Path) -> Result<()> {
        let mut linker = match self {
            Self::Rustup => rustup_linker(place)?,
            Self::Debian => place.command(DEBIAN_LINKER),
        };
        linker.args(["--no-entry", "--gc-sections", "--allow-undefined", &format!("--export={door}")]);
        run(linker.arg(archive).arg("-o").arg(to))
    }
}

fn rustup_target(place: &Place, target: &str) -> Result<()> {
    let libdir = answer(place.command("rustc").args(["--print", "target-libdir", "--target", target]));
    if libdir.is_some_and(|folder| has_std(Path::new(&folder))) {
        return Ok(());
    }
    if answer(place.command("rustup").arg("--version")).is_none() {
        bail!(
            "this Rust has no standard library for {target}, and rustup is missing to add it: install Rust from \
             https://rustup.rs, or on Debian set {VARIABLE}=debian"
        );
    }
    place.step(&format!("rustup target add {target}"), || {
        run(place.command("rustup").args(["target", "add", target]))
            .with_context(|| format!("where rustup's server cannot be reached, set {VARIABLE}=debian (Debian only)"))
    })
}

/// The linker that rustup installs with every toolchain.
fn rustup_linker(place: &Place) -> Result<Command> {
    let ask = |what: &str| answer(place.command("rustc").args(["--print", what])).with_context(|| format!("asking rustc for its {what}"));
    let (sysroot, host) = (ask("sysroot")?, ask("host-tuple")?);
    let folder = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin");
    let mut linker = place.command(folder.join(format!("rust-lld{}", std::env::consts::EXE_SUFFIX)));
    linker.args(["-flavor", "wasm"]);
    Ok(linker)
}

fn has_std(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn debian_packages(place: &Place) -> Result<()> {
    let installed = |package: &&str| {
        let status = answer(place.command("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]));
        status.as_deref() == Some("installed")
    };
    let missing: Vec<&str> = DEBIAN_PACKAGES.into_iter().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let apt = |args: &[&str]| -> Command {
        let mut command = place.command("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
    install.args(&missing);
    let by_hand = format!("{VARIABLE}=debian needs these packages; as root: {}", name(&install));
    if answer(place.command("id").arg("-u")).as_deref() != Some("0") {
        bail!("{by_hand}");
    }
    place.step(&name(&install), || {
        run(&mut apt(&["update"])).and_then(|()| run(&mut install)).with_context(|| by_hand.clone())
    })
}

/// Debian's cargo and rustc, whatever else comes first on the path.
pub(crate) fn debian_cargo(place: &Place) -> Command {
    let mut command = place.command("/usr/bin/cargo");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(PathBuf::from("/usr/bin")).chain(std::env::split_paths(&path));
    // A part of PATH cannot contain the separator: it was split there.
    command.env("PATH", std::env::join_paths(path).unwrap_or_else(|_| "/usr/bin".into()));
    command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    for variable in ["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTDOC", "CARGO"] {
        command.env_remove(variable);
    }
    command
}
