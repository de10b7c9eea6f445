//! `chatcall`: one binary, started with `chatcall up`.

use std::path::Path;
use std::process::ExitCode;

use chatcall::config::{Environment, UpArgs, Wrong};
use chatcall::host;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// The component that was built in.
const COMPONENT: Option<&[u8]> = built_in();

const fn built_in() -> Option<&'static [u8]> {
    const BYTES: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/component.rs"));
    BYTES
}

const SETTINGS: &str = "\
Settings come from options, then the environment, then a `.env` file in the current directory:
  PORT, PRIVATE_PORT           ports, as the options
  CHATCALL_ENV                 production (default) or development; NODE_ENV=development means the same
  ALLOWED_ORIGINS, CLIENT_URL  other origins that browsers may come from, separated by commas
  JWT_SECRET, JWT_PRIVATE_KEY, JWT_REFRESH_SECRET
                               keys; generated at the first start when unset
  JWT_EXPIRES_IN, JWT_REFRESH_EXPIRES_IN
                               life of tokens: 15m and 7d
  LIBSQL_URL                   file:PATH of the database [default: DIR/chatcall.db]
  REGISTRATION                 open, invite or closed
  CONVERSATION_POLICY          anyone or contacts
  EX_MEMBER_HISTORY            none or until_left
  MAX_TEXT_LENGTH              longest message in characters: 2000
  TRUSTED_PROXIES              proxies in front whose X-Forwarded-For is believed: 0
  ROOM_HOST_KEY                takes requests of another host (Spin) that are signed with this key
  GATEWAYS                     gateways that share the sockets: one per core
  RATE_LIMITS=off, BCRYPT_COST=4..12
                               for tests, with CHATCALL_ENV=development only
  CHATCALL_CACHE               where the compiled component is kept [default: DIR/cache]
  RUST_LOG                     what is logged: info
";

#[derive(Debug, Parser)]
#[command(name = "chatcall", version, about = "Chat server: REST, sockets and storage in one process")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    #[command(after_help = SETTINGS)]
    Up(UpArgs),
}

fn main() -> ExitCode {
    let Cli { command: Command::Up(args) } = Cli::parse();
    log_to_stderr();
    match up(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chatcall: {error:#}");
            ExitCode::from(if error.is::<Wrong>() { 2 } else { 1 })
        }
    }
}

fn up(args: &UpArgs) -> anyhow::Result<()> {
    let environment = Environment::read(Path::new(".env"))?;
    host::up(args, &environment, COMPONENT)
}

fn log_to_stderr() {
    use std::io::IsTerminal as _;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.compact().init();
    } else {
        log.json().flatten_event(true).with_current_span(false).init();
    }
}
