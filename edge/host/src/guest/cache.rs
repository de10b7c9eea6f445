//! Machine code of the component, kept between starts.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The compiled component. The cache directory belongs to this user alone, and only files found that way are read back:
/// machine code of somebody else must never be run.
pub(super) fn component(engine: &Engine, bytes: &[u8], cache: &Path) -> anyhow::Result<Component> {
    let file = match private_directory(cache) {
        Ok(()) => Some(cache.join(format!("{}.cwasm", key(engine, bytes)))),
        Err(error) => {
            tracing::warn!(%error, "the component is compiled anew at each start");
            None
        }
    };
    if let Some(component) = file.as_deref().and_then(|file| read(engine, file)) {
        return Ok(component);
    }
    let component = Component::from_binary(engine, bytes).map_err(anyhow::Error::from).context("the component cannot be compiled")?;
    if let Some(file) = file
        && let Err(error) = write(&component, &file, cache)
    {
        tracing::warn!(%error, "the compiled component cannot be kept");
    }
    Ok(component)
}

/// Content, and everything that decides whether the machine code fits.
fn key(engine: &Engine, bytes: &[u8]) -> String {
    let mut compatibility = StdHasher(Sha256::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut compatibility);
    compatibility.0.update(bytes);
    compatibility.0.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Feeds what derives [`std::hash::Hash`] to SHA-256.
struct StdHasher(Sha256);

impl std::hash::Hasher for StdHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

fn private_directory(cache: &Path) -> anyhow::Result<()> {
    if !cache.exists() {
        fs::DirBuilder::new().mode(0o700).create(cache)?;
    }
    private(cache)
}

/// Owned by this user, and closed to everybody else.
fn private(path: &Path) -> anyhow::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    anyhow::ensure!(!meta.file_type().is_symlink(), "{} is a link", path.display());
    anyhow::ensure!(meta.mode() & 0o077 == 0, "{} is open to others", path.display());
    anyhow::ensure!(meta.uid() == rustix::process::geteuid().as_raw(), "{} belongs to somebody else", path.display());
    Ok(())
}

#[allow(unsafe_code)]
fn read(engine: &Engine, file: &Path) -> Option<Component> {
    if !file.exists() {
        return None;
    }
    private(file).map_err(|error| tracing::warn!(%error, "cached machine code is ignored")).ok()?;
    // SAFETY: `write` below made this file, in a directory that only this user can write to, and both were just
    // checked; its name carries the engine's compatibility hash, which wasmtime checks once more.
    let loaded = unsafe { Component::deserialize_file(engine, file) };
    loaded.map_err(|error| tracing::warn!(%error, "cached machine code is ignored")).ok()
}

fn write(component: &Component, file: &Path, cache: &Path) -> anyhow::Result<()> {
    // Only one component is in use: earlier ones would pile up with every build.
    for old in fs::read_dir(cache)?.filter_map(|entry| Some(entry.ok()?.path())) {
        if old.extension().is_some_and(|extension| extension == "cwasm" || extension == "part") {
            fs::remove_file(old)?;
        }
    }
    let part: PathBuf = file.with_extension("part");
    let code = component.serialize()?;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?.write_all(&code)?;
    fs::rename(part, file)?;
    Ok(())
}
