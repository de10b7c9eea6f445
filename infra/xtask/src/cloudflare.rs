//! The Worker: its bundle, and running it here on workerd, without an account and without network.

mod sysroot;
mod toolbox;

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Place, answer};
use crate::{npm, tools};
use toolbox::Toolbox;

/// The adapter's folder; its npm packages are the tools of this host.
pub(crate) const FOLDER: &str = "edge/cloudflare";
/// The description of the API.
const DOCUMENT: &str = "schema/openapi.json";
/// What wrangler.toml names as `main`, and the module that it imports.
const BUNDLE: [&str; 2] = ["index.js", "index_bg.wasm"];
/// Cargo's profile (`Cargo.toml`): small code.
const PROFILE: &str = "worker";
/// Start-up is bounded in CPU, and the size of the bundle decides about most of it.
const GZIP_BUDGET_BYTES: u64 = 600_000;
/// wrangler asks nobody and tells nobody anything but what it is told to do.
const QUIET: [(&str, &str); 6] = [
    ("DO_NOT_TRACK", "1"),
    ("WRANGLER_SEND_METRICS", "false"),
    ("WRANGLER_SEND_ERROR_REPORTS", "false"),
    ("WRANGLER_HIDE_BANNER", "true"),
    ("WRANGLER_NO_SKILLS_UPDATE_PROMPTS", "true"),
    ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
];

/// Builds the bundle unless the code, the tools and the result are those of the last time.
pub(crate) fn build(place: &Place) -> Result<()> {
    install(place)?;
    assets(place)?;
    let toolbox = Toolbox::prepare(place)?;
    place.step("worker: edge-cloudflare", || {
        let code = toolbox.cargo_build(place, PROFILE)?;
        let folder = place.root.join(FOLDER).join("build");
        let inputs = fingerprint([&code], &toolbox.versions)?;
        let stamp = folder.join(".stamp");
        let same = |stamp: String| bundle(&folder).is_ok_and(|bundle| stamp == format!("{inputs} {bundle}"));
        if !std::fs::read_to_string(&stamp).is_ok_and(same) {
            toolbox.worker_build(place, PROFILE)?;
            let text = format!("{inputs} {}", bundle(&folder)?);
            std::fs::write(&stamp, text).with_context(|| format!("writing {}", stamp.display()))?;
        }
        measure(place, &folder)
    })
}

/// Arguments of `cargo xtask cloudflare`: those of `edge/cloudflare/local/run.mjs`.
pub(crate) fn serve(place: &Place, args: &[String]) -> Result<ExitCode> {
    let mut command = with_tools(place, Command::new("node"));
    command.arg(place.root.join(FOLDER).join("local/run.mjs")).args(args);
    if !args.iter().any(|arg| arg == "--data" || arg.starts_with("--data=")) {
        command.arg("--data").arg(place.root.join("data/cloudflare"));
    }
    become_it(command)
}

/// wrangler in the version that these files were tried with, on a Node that it takes.
pub(crate) fn wrangler(place: &Place, args: &[String]) -> Result<ExitCode> {
    install(place)?;
    let mut command = with_tools(place, Command::new("wrangler"));
    command.args(args).current_dir(&place.root);
    for (name, value) in QUIET {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    become_it(command)
}

/// The packages of `edge/cloudflare`.
fn install(place: &Place) -> Result<()> {
    tools::check_node(place)?;
    npm::install(place, FOLDER)
}

/// Signals reach the program directly.
fn become_it(mut command: Command) -> Result<ExitCode> {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        Err(command.exec()).with_context(|| format!("starting {}", crate::process::name(&command)))
    }
    #[cfg(not(unix))]
    {
        let status = command.status().with_context(|| format!("starting {}", crate::process::name(&command)))?;
        Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
    }
}

/// The packages' programs come first on the path: their Node is one that wrangler takes.
fn with_tools(place: &Place, mut command: Command) -> Command {
    crate::process::clean(&mut command);
    let path = path_with(&[npm_programs(place)]);
    // A relative program is looked for on our own path, not on the one given to it.
    let program = npm_programs(place).join(command.get_program());
    if program.exists() {
        let mut found = Command::new(program);
        crate::process::clean(&mut found);
        found.env("PATH", path);
        return found;
    }
    command.env("PATH", path);
    command
}

fn npm_programs(place: &Place) -> PathBuf {
    place.root.join(FOLDER).join("node_modules/.bin")
}

fn path_with(first: &[PathBuf]) -> std::ffi::OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let all = first.iter().cloned().chain(std::env::split_paths(&rest));
    // A folder with the separator in its name cannot stand in PATH at all.
    std::env::join_paths(all).unwrap_or(rest)
}

/// Files of the built web client and the description of the API, which the platform serves itself. Pages stay with the Worker: their headers come from
/// the core.
fn assets(place: &Place) -> Result<()> {
    let (from, to) = (place.root.join("web/dist"), place.root.join(FOLDER).join("assets"));
    for entry in std::fs::read_dir(&to).with_context(|| format!("reading {}", to.display()))? {
        let path = entry?.path();
        if path.file_name() != Some(OsStr::new("_headers")) {
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }
                .with_context(|| format!("removing {}", path.display()))?;
        }
    }
    if from.is_dir() {
        copy(&from, &to)?;
    }
    let api = to.join("api");
    std::fs::create_dir_all(&api).with_context(|| format!("creating {}", api.display()))?;
    let document = place.root.join(DOCUMENT);
    std::fs::copy(&document, api.join("openapi.json")).with_context(|| format!("copying {}", document.display()))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else if path.extension() != Some(OsStr::new("html")) {
            std::fs::copy(&path, to.join(name)).with_context(|| format!("copying {}", path.display()))?;
        }
    }
    Ok(())
}

fn bundle(folder: &Path) -> Result<String> {
    fingerprint(&BUNDLE.map(|file| folder.join(file)), "")
}

fn fingerprint<'a>(files: impl IntoIterator<Item = &'a PathBuf>, more: &str) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    more.hash(&mut hasher);
    for path in files {
        std::fs::read(path).with_context(|| format!("reading {}", path.display()))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Says how large the bundle is, as it is and packed (what an upload is counted by).
fn measure(place: &Place, folder: &Path) -> Result<()> {
    const PACK: &str = "const [fs, zlib] = [require('fs'), require('zlib')]; \
                        console.log(process.argv.slice(1).map((file) => fs.readFileSync(file)) \
                        .map((bytes) => `${bytes.length} ${zlib.gzipSync(bytes, { level: 9 }).length}`).join(' '))";
    let mut node = place.command("node");
    node.args(["-e", PACK]).args(BUNDLE.map(|file| folder.join(file)));
    let sizes = answer(&mut node).context("asking node for the size of the bundle")?;
    let sizes: Vec<u64> = sizes.split(' ').filter_map(|size| size.parse().ok()).collect();
    let [script, script_packed, code, code_packed] = sizes[..] else { bail!("node measured {} files", sizes.len() / 2) };
    let packed = script_packed + code_packed;
    place.say(format_args!("bundle: {} KB, {} KB with gzip (WebAssembly {}, {})", kb(script + code), kb(packed), kb(code), kb(code_packed)));
    ensure!(packed <= GZIP_BUDGET_BYTES, "the bundle has {} KB with gzip; its budget is {} KB", kb(packed), kb(GZIP_BUDGET_BYTES));
    Ok(())
}

fn kb(bytes: u64) -> u64 {
    bytes.div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_not_served_past_the_worker() {
        let folder = std::env::temp_dir().join(format!("chatcall-assets-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        std::fs::create_dir_all(from.join("assets")).unwrap();
        for file in ["index.html", "sw.js", "assets/app.js"] {
            std::fs::write(from.join(file), file).unwrap();
        }
        copy(&from, &to).unwrap();
        let copied = ["index.html", "sw.js", "assets/app.js"].map(|file| to.join(file).exists());
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(copied, [false, true, true]);
    }
}
