//! Packages of a folder, installed exactly as its lock says and only when the lock has changed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result};

use crate::process::{Place, run};

/// `npm ci` in `folder` (below the root) unless its `node_modules` already come from this lock.
pub(crate) fn install(place: &Place, folder: &str) -> Result<()> {
    let folder = place.root.join(folder);
    let wanted = fingerprint(&folder)?;
    let stamp = folder.join("node_modules").join(".lock-stamp");
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    place.step("npm ci", || {
        run(place.command("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
        std::fs::write(&stamp, &wanted).with_context(|| format!("writing {}", stamp.display()))
    })
}

fn fingerprint(folder: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in ["package.json", "package-lock.json"] {
        let path = folder.join(file);
        std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}
