//! Where we are, how other programs are started, and how progress is shown.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

/// The checkout and its build folder.
#[derive(Debug)]
pub(crate) struct Place {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, absolute.
    pub(crate) target: PathBuf,
    started: Instant,
}

impl Place {
    /// Derives both from how cargo started us, so that a checkout may be moved together with its build folder.
    pub(crate) fn find() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.ancestors().nth(2).context("xtask lies two folders below the root")?.to_path_buf();
        // <target>/debug/xtask, whatever configuration chose <target>.
        let exe = std::env::current_exe().context("finding our own path")?;
        let target = exe.ancestors().nth(2).context("cargo puts xtask into a profile's folder")?.to_path_buf();
        Ok(Self { root, target, started: Instant::now() })
    }

    /// A command that runs in the root, without what `cargo run` added to our environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target).stdin(Stdio::null());
        clean(&mut command);
        command
    }

    /// The cargo that built us (the workspace's toolchain).
    pub(crate) fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// Runs `work` as a step: a line when it begins, a line with its duration when it is done.
    pub(crate) fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.say(name);
        let began = Instant::now();
        let result = work();
        let took = began.elapsed().as_secs_f64();
        match &result {
            Ok(_) => self.say(format_args!("{name}: done in {took:.1} s")),
            Err(_) => self.say(format_args!("{name}: failed after {took:.1} s")),
        }
        result
    }

    /// A progress line with the seconds since the start.
    pub(crate) fn say(&self, line: impl Display) {
        eprintln!("[{:7.1} s] {line}", self.started.elapsed().as_secs_f64());
    }
}

/// Takes back what `cargo run` sets for the program it runs. Cargo's own settings (`CARGO_HOME`, `CARGO_NET_*` ...) stay.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let added = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_MANIFEST_LINKS", "LD_LIBRARY_PATH"].contains(&name)
        });
        if added {
            command.env_remove(&name);
        }
    }
}

/// Runs a command to its end; it writes where we write.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {}", name(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", name(command));
    }
    Ok(())
}

/// Runs a command and passes its standard output on line by line; `line` sees each. Whether it succeeded.
pub(crate) fn stream(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {}", name(command)))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut out = std::io::stdout().lock();
    for bytes in BufReader::new(stdout).split(b'\n') {
        let bytes = bytes.context("reading output")?;
        out.write_all(&bytes)?;
        out.write_all(b"\n")?;
        out.flush()?;
        line(&String::from_utf8_lossy(&bytes));
    }
    let status = child.wait().with_context(|| format!("waiting for {}", name(command)))?;
    Ok(status.success())
}

/// A command that runs beside others; what it writes to standard output is kept until it is collected.
#[derive(Debug)]
pub(crate) struct Beside {
    name: String,
    child: Child,
    output: JoinHandle<std::io::Result<String>>,
}

impl Beside {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = name(command);
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {name}"))?;
        let mut stdout = child.stdout.take().context("stdout is piped")?;
        let output = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        });
        Ok(Self { name, child, output })
    }

    /// Waits for its end and passes its output on; `line` sees each. Whether it succeeded.
    pub(crate) fn collect(mut self, line: impl FnMut(&str)) -> Result<bool> {
        let output = self.output.join().map_err(|_| anyhow!("nobody read what {} wrote", self.name))?.context("reading output")?;
        print!("{output}");
        output.lines().for_each(line);
        let status = self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(status.success())
    }
}

/// Standard output of a short command, or `None` when it cannot be started or fails.
pub(crate) fn answer(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The command as one would type it, for messages.
pub(crate) fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_beside_others_is_collected_with_its_output_and_its_end() {
        let run = |script: &str| {
            let mut lines = Vec::new();
            let beside = Beside::start(Command::new("sh").args(["-c", script])).unwrap();
            let success = beside.collect(|line| lines.push(line.to_owned())).unwrap();
            (success, lines)
        };
        assert_eq!(run("echo '# pass 2'; echo '# fail 0'"), (true, vec!["# pass 2".to_owned(), "# fail 0".to_owned()]));
        assert_eq!(run("echo '# pass 2'; kill -9 $$"), (false, vec!["# pass 2".to_owned()]));
    }
}
