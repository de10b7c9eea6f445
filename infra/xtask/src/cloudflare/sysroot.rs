//! A toolchain folder around Debian's Rust whose `rustc` has a standard library for `wasm32-unknown-unknown`.
//!
//! `worker-build` asks rustc for that library and takes no `-Z build-std`, so it is built once, from Debian's sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Place, answer, run};
use crate::wasm::{PURE_TARGET, debian_cargo};

const RUSTC: &str = "/usr/bin/rustc";
const LLD: &str = "/usr/lib/llvm-22/bin/lld";
/// Raised when a folder made by older code may not be used.
const FORM: u32 = 1;

/// The folder with `rustc` and `cargo`, built again when rustc or the place has changed.
pub(crate) fn prepare(place: &Place) -> Result<PathBuf> {
    let folder = place.target.join("wasm-debian-toolchain");
    let version = answer(Command::new(RUSTC).arg("-vV")).with_context(|| format!("asking {RUSTC} for its version"))?;
    let wanted = format!("{FORM}\n{}\n{version}\n", folder.display());
    let stamp = folder.join("stamp");
    if !std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        place.step(&format!("standard library for {PURE_TARGET}"), || {
            let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names its host")?;
            let library = compile(place)?;
            let _ = std::fs::remove_dir_all(&folder);
            lay_out(&folder, &library, host)?;
            std::fs::write(&stamp, &wanted).with_context(|| format!("writing {}", stamp.display()))
        })?;
    }
    Ok(folder.join("bin"))
}

/// Builds an empty crate and with it the library; the folder with the `.rlib` files. They carry bitcode for `lto = "fat"`.
fn compile(place: &Place) -> Result<PathBuf> {
    let work = place.target.join("wasm-debian-library");
    let _ = std::fs::remove_dir_all(&work);
    write(&work.join("src/lib.rs"), "")?;
    write(&work.join("Cargo.toml"), "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n")?;
    let mut cargo = debian_cargo(place);
    cargo.current_dir(&work).env("CARGO_TARGET_DIR", work.join("target"));
    cargo.env("RUSTFLAGS", "-Cembed-bitcode=yes").env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(cargo.args(["build", "--release", "--target", PURE_TARGET, "-Z", "build-std=std,panic_abort"]))?;
    Ok(work.join("target").join(PURE_TARGET).join("release/deps"))
}

#[cfg(unix)]
fn lay_out(folder: &Path, library: &Path, host: &str) -> Result<()> {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let rustlib = folder.join("lib/rustlib");
    let (std_folder, bin) = (rustlib.join(PURE_TARGET).join("lib"), folder.join("bin"));
    for folder in [&std_folder, &rustlib.join(host).join("bin"), &bin] {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    for entry in library.read_dir().with_context(|| format!("reading {}", library.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            std::fs::copy(&path, std_folder.join(&name)).with_context(|| format!("copying {name}"))?;
        }
    }
    // The host's half (build scripts, macros) is Debian's; rustc finds its linker by this name.
    symlink(format!("/usr/lib/rustlib/{host}/lib"), rustlib.join(host).join("lib"))?;
    symlink(LLD, rustlib.join(host).join("bin/rust-lld"))?;
    let here = folder.display();
    for (name, script) in [
        ("rustc", format!("#!/bin/sh\nexec {RUSTC} --sysroot \"{here}\" \"$@\"\n")),
        ("cargo", format!("#!/bin/sh\nRUSTC=\"{here}/bin/rustc\" exec /usr/bin/cargo \"$@\"\n")),
    ] {
        let path = bin.join(name);
        write(&path, &script)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn lay_out(_: &Path, _: &Path, _: &str) -> Result<()> {
    anyhow::bail!("Debian's Rust is found on Debian only")
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
