//! The product: the component, the host that runs it, and starting both.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::process::{Place, run};
use crate::tools;
use crate::wasm::{COMPONENT_TARGET, Toolchain};

/// Where spin.toml and the host's build script look for the component, below the target folder.
const COMPONENT: &str = "wasm32-wasip2/edge/edge_component.wasm";

/// Checks the tools and builds component and host.
pub(crate) fn build(place: &Place) -> Result<()> {
    tools::check_build(place)?;
    tools::mention_node(place);
    component(place)?;
    place.step("host: chatcall", || {
        run(place.cargo().args(["build", "--release", "--package", "chatcall"]))
    })
}

/// Builds the component and puts it where everybody looks for it.
pub(crate) fn component(place: &Place) -> Result<()> {
    let toolchain = Toolchain::chosen()?;
    toolchain.prepare(place, COMPONENT_TARGET)?;
    place.step("component: edge-component", || {
        let folder = toolchain.build(place, "edge-component", COMPONENT_TARGET, "edge", &[])?;
        let (from, to) = (folder.join("edge_component.wasm"), place.target.join(COMPONENT));
        if from != to {
            copy_if_changed(&from, &to)?;
        }
        Ok(())
    })
}

/// The path of the host's binary.
pub(crate) fn binary(place: &Place) -> PathBuf {
    place.target.join("release").join(format!("chatcall{}", std::env::consts::EXE_SUFFIX))
}

/// A file that is the same keeps its time, so that nothing behind it is built again.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = std::fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    // Cargo may have linked this name to a file of its own: a new file, not new contents.
    let _ = std::fs::remove_file(to);
    std::fs::write(to, new).with_context(|| format!("writing {}", to.display()))
}

/// The arguments of `chatcall up`.
#[derive(Debug, PartialEq)]
pub(crate) struct Up {
    args: Vec<String>,
    has_data: bool,
}

impl Up {
    /// Passes everything on; a port that is none is refused now and not after the build.
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let named = |flag: &str, arg: &str| arg == flag || arg.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='));
        for (at, arg) in args.iter().enumerate().filter(|(_, arg)| named("--port", arg)) {
            let value = arg.strip_prefix("--port=").or(args.get(at + 1).map(String::as_str));
            if value.is_none_or(|value| value.parse::<u16>().is_err()) {
                bail!("--port wants a number from 0 to 65535");
            }
        }
        Ok(Self { args: args.to_vec(), has_data: args.iter().any(|arg| named("--data", arg)) })
    }

    /// Becomes the host: signals reach it directly. Returns only when it cannot be started.
    pub(crate) fn run(&self, place: &Place) -> Result<ExitCode> {
        let program = binary(place);
        let mut command = std::process::Command::new(&program);
        crate::process::clean(&mut command);
        command.arg("up").args(&self.args);
        if !self.has_data {
            command.args([OsString::from("--data"), place.root.join("data").into_os_string()]);
        }
        place.say("starting chatcall");
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            Err(command.exec()).with_context(|| format!("starting {}", program.display()))
        }
        #[cfg(not(unix))]
        {
            let status = command.status().with_context(|| format!("starting {}", program.display()))?;
            Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Up> {
        Up::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_passed_on_and_a_data_directory_is_noticed() {
        assert!(!parse("--port 4000 --roles edge,rooms").unwrap().has_data);
        assert!(parse("--data here").unwrap().has_data);
        assert!(parse("--data=here").unwrap().has_data);
        assert_eq!(parse("--port 4000").unwrap().args, ["--port", "4000"]);
    }

    #[test]
    fn a_bad_port_is_refused_before_the_build() {
        for line in ["--port", "--port x", "--port=70000", "--port 1 --port y"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
