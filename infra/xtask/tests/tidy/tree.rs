//! The files of the checkout, without what is built, installed or stored there.

use std::path::{Path, PathBuf};

/// What is no source of ours, wherever it stands (`.git` is a file in a second work tree).
const SKIPPED: [&str; 7] = [".git", ".env", "node_modules", ".wrangler", ".spin", "dist", "test-results"];
/// Data of a running ChatCall, at the root only.
const DATA: &str = "data";

/// What `cargo xtask cloudflare-build` makes.
const BUNDLE: &str = "edge/cloudflare/build";

/// A text file of the checkout.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Lines with their number, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Lines of Rust that ship: no comments, and nothing behind the module of unit tests.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let end = self.text[..tests].lines().count();
        self.lines().take(end).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// The folder with the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("xtask lies two folders below the root").to_path_buf()
}

/// Every text file.
pub(crate) fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("folders of the checkout can be read").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().expect("the entry was just listed");
            if kind.is_dir() {
                let built = path.join("CACHEDIR.TAG").exists();
                let data = folder == root && name == DATA;
                let built = built || path.ends_with(BUNDLE);
                if !built && !data && !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if kind.is_file() && !SKIPPED.contains(&name.as_str()) && !name.ends_with(".log") {
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                let path = path.strip_prefix(&root).expect("the walk began there").to_string_lossy().replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.iter().any(|file| file.path == "Cargo.toml"), "the walk found nothing");
    found
}

/// Fails with one line per finding.
pub(crate) fn none<'a>(what: &str, findings: impl IntoIterator<Item = &'a String>) {
    let findings: Vec<&str> = findings.into_iter().map(String::as_str).collect();
    assert!(findings.is_empty(), "{what}:\n  {}\n", findings.join("\n  "));
}
