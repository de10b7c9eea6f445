//! Settings: command line first, then environment, then `.env`, then defaults (contract section 9).

mod environment;
mod mail;
mod secrets;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use edge_core::settings::{Settings, Variables as _, secret, weak_secrets};

pub use environment::Environment;
pub use mail::MailConfig;
pub use secrets::fill_secrets;

/// A setting that cannot be used: one sentence for the operator. The process ends with code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl From<String> for Wrong {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

/// A [`Wrong`] of this sentence.
pub(crate) fn wrong<T>(sentence: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(sentence.into()))
}

/// Options of `chatcall up`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UpArgs {
    /// Port for HTTP and sockets; 0 picks a free one [env: PORT] [default: 3001]
    #[arg(long, value_name = "P")]
    pub port: Option<u16>,
    /// Address to listen on [default: 0.0.0.0, all interfaces]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,
    /// Directory for the database, the generated secrets and caches; created when missing [default: data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// What this process does: `edge` (REST), `rooms` (sockets and conversations) [default: edge,rooms]
    #[arg(long, value_name = "LIST")]
    pub roles: Option<String>,
    /// Port of the protocol test application; only with CHATCALL_ENV=development
    #[arg(long, value_name = "Q")]
    pub conformance_port: Option<u16>,
    /// Loopback port of /health with statistics and /metrics; 0 turns it off [env: PRIVATE_PORT] [default: P+1]
    #[arg(long, value_name = "R")]
    pub private_port: Option<u16>,
    /// Edge component to run instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
}

/// Where statistics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivatePort {
    Off,
    /// The public port plus one; when taken, the host goes on without.
    Next,
    At(u16),
}

/// Everything `chatcall up` needs, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub bind: IpAddr,
    pub port: u16,
    pub private_port: PrivatePort,
    pub conformance_port: Option<u16>,
    pub data: PathBuf,
    pub database: PathBuf,
    /// Machine code of the component, kept between starts.
    pub cache: PathBuf,
    /// Serve REST through the component.
    pub edge: bool,
    /// Serve sockets.
    pub rooms: bool,
    /// Threads that run objects.
    pub shards: usize,
    /// Proxies in front whose `X-Forwarded-For` entries are believed.
    pub trusted_proxies: usize,
    pub component: Option<PathBuf>,
    /// Signs the requests of hosts without objects; without it they are refused.
    pub room_host_key: Option<String>,
    /// Who sends mail, and how links in it begin; without it nothing is sent.
    pub mail: Option<MailConfig>,
    /// What the core sees; keys are filled by [`fill_secrets`].
    pub settings: Settings,
    /// Told once at start.
    pub warnings: Vec<String>,
}

impl Config {
    /// Joins arguments and environment. Touches nothing outside.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn resolve(args: &UpArgs, env: &Environment, cores: usize) -> Result<Self, Wrong> {
        let (edge, rooms) = roles(args.roles.as_deref())?;
        let mut settings = Settings::read(env)?;
        let data = args.data.clone().unwrap_or_else(|| PathBuf::from("data"));
        let private_port = match args.private_port.map_or_else(|| env.number("PRIVATE_PORT", 0, 65_535), |port| Ok(Some(port.into())))? {
            None => PrivatePort::Next,
            Some(0) => PrivatePort::Off,
            Some(port) => PrivatePort::At(port as u16),
        };
        if args.conformance_port.is_some() && !settings.development {
            return wrong("--conformance-port is for tests: it needs CHATCALL_ENV=development");
        }
        let room_host_key = secret(env, "ROOM_HOST_KEY")?;
        let unreachable = (!edge && room_host_key.is_none())
            .then(|| "ROOM_HOST_KEY is not set: no host with REST can reach the conversations here".to_owned());
        let mail = MailConfig::read(env, &settings)?;
        let unprotected = mail.as_ref().and_then(MailConfig::warning);
        let shards = cores.clamp(1, 64);
        settings.gateways = env.number("GATEWAYS", 1, 1_024)?.map_or(shards as u32, |n| n as u32);
        settings.protocol_test = args.conformance_port.is_some();
        Ok(Self {
            bind: args.bind.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port: args.port.map_or_else(|| env.number("PORT", 0, 65_535).map(|port| port.map(|n| n as u16)), |port| Ok(Some(port)))?.unwrap_or(3001),
            private_port,
            conformance_port: args.conformance_port,
            database: database(env, &data)?,
            cache: env.get("CHATCALL_CACHE").map_or_else(|| data.join("cache"), PathBuf::from),
            data,
            edge,
            rooms,
            shards,
            trusted_proxies: env.number("TRUSTED_PROXIES", 0, 16)?.unwrap_or(0) as usize,
            component: args.component.clone(),
            room_host_key,
            mail,
            settings,
            warnings: ignored(env).into_iter().chain(no_media(args.roles.as_deref())).chain(unreachable).chain(unprotected).chain(weak_secrets(env)).collect(),
        })
    }
}

fn roles(list: Option<&str>) -> Result<(bool, bool), Wrong> {
    let Some(list) = list else { return Ok((true, true)) };
    let (mut edge, mut rooms) = (false, false);
    for role in list.split(',').map(str::trim) {
        match role {
            "edge" => edge = true,
            "rooms" => rooms = true,
            // Named in every deployment's command line; what it would do is said in a warning.
            "media" => {}
            other => return wrong(format!("unknown role `{other}` in --roles: there are edge, rooms and media")),
        }
    }
    if !rooms {
        return wrong("--roles without rooms needs a room host beside it, which this build cannot call: add rooms");
    }
    Ok((edge, rooms))
}

/// The role is accepted, and its absence is said: the command line stays the same when it comes.
fn no_media(list: Option<&str>) -> Option<String> {
    let named = list.is_some_and(|list| list.split(',').any(|role| role.trim() == "media"));
    named.then(|| "role `media` ignored: this build has no media node, so there are no calls".to_owned())
}

fn database(env: &Environment, data: &std::path::Path) -> Result<PathBuf, Wrong> {
    match env.get("LIBSQL_URL") {
        None => Ok(data.join("chatcall.db")),
        Some(url) => match url.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Ok(PathBuf::from(path.strip_prefix("//").unwrap_or(path))),
            _ => wrong(
                "LIBSQL_URL names a remote server, but this build stores in a local file only (LIBSQL_ACCEPT_RELAXED does not change that): unset it, or use file:PATH",
            ),
        },
    }
}

/// Warnings for settings of other products that this one does not read.
fn ignored(env: &Environment) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |names: Vec<&str>, why: &str| {
        if !names.is_empty() {
            warnings.push(format!("{} ignored: {why}", names.join(", ")));
        }
    };
    let set = |names: &[&'static str]| -> Vec<&'static str> { names.iter().copied().filter(|name| env.get(name).is_some()).collect() };
    warn(env.names_with_prefix("DB_"), "accounts and messages live in the libsql file of the data directory");
    warn(set(&["MONGODB_URI"]), "only the importer reads it");
    warn(set(&["REDIS_HOST", "REDIS_PORT"]), "Redis is only ever named by REDIS_URL");
    warn(set(&["REDIS_URL"]), "this build is one process and needs no bus");
    warn(set(&["CLOUDINARY_URL"]), "files go to a local directory or an S3 API");
    warn(set(&["LIBSQL_AUTH_TOKEN", "LIBSQL_ACCEPT_RELAXED"]), "the database is a local file");
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(args: UpArgs, env: &[(&str, &str)]) -> Result<Config, String> {
        Config::resolve(&args, &Environment::of(env), 2).map_err(|wrong| wrong.0)
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let config = resolve(UpArgs::default(), &[]).unwrap();
        assert_eq!((config.port, config.shards, config.settings.gateways), (3001, 2, 2));
        assert_eq!(config.private_port, PrivatePort::Next);
        assert!(!config.settings.development && config.settings.rate_limits && config.edge && config.rooms);
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn arguments_win_over_the_environment() {
        let args = UpArgs { port: Some(0), private_port: Some(0), ..UpArgs::default() };
        let config = resolve(args, &[("PORT", "4000"), ("PRIVATE_PORT", "4001")]).unwrap();
        assert_eq!((config.port, config.private_port), (0, PrivatePort::Off));
    }

    #[test]
    fn test_settings_are_refused_in_production() {
        for env in [("RATE_LIMITS", "off"), ("BCRYPT_COST", "4")] {
            assert!(resolve(UpArgs::default(), &[env]).unwrap_err().contains("CHATCALL_ENV=development"), "{env:?}");
            resolve(UpArgs::default(), &[env, ("CHATCALL_ENV", "development")]).unwrap();
        }
        let args = UpArgs { conformance_port: Some(1), ..UpArgs::default() };
        assert!(resolve(args.clone(), &[]).is_err());
        assert!(resolve(args, &[("NODE_ENV", "development")]).unwrap().settings.protocol_test);
    }

    #[test]
    fn wrong_settings_say_what_is_wrong() {
        let role = |list: &str| resolve(UpArgs { roles: Some(list.into()), ..UpArgs::default() }, &[]).unwrap_err();
        assert!(role("edge,romms").contains("`romms`"));
        assert!(role("media").contains("add rooms"));
        let all = UpArgs { roles: Some("edge,rooms,media".into()), ..UpArgs::default() };
        assert!(resolve(all, &[]).unwrap().warnings[0].contains("no media node"));
        for (name, value) in [
            ("PORT", "http"),
            ("PORT", "70000"),
            ("GATEWAYS", "0"),
            ("REGISTRATION", "maybe"),
            ("JWT_EXPIRES_IN", "soon"),
            ("LIBSQL_URL", "libsql://db.example"),
            ("ALLOWED_ORIGINS", "*"),
            ("CHATCALL_ENV", "test"),
            ("ROOM_HOST_KEY", ""),
            ("ROOM_HOST_KEY", "secret"),
        ] {
            let sentence = resolve(UpArgs::default(), &[(name, value)]).unwrap_err();
            assert!(sentence.contains(name), "{sentence}");
        }
    }

    #[test]
    fn a_room_host_wants_a_key() {
        let rooms = UpArgs { roles: Some("rooms".into()), ..UpArgs::default() };
        assert!(resolve(rooms.clone(), &[]).unwrap().warnings[0].contains("ROOM_HOST_KEY"));
        let key = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let config = resolve(rooms, &[("ROOM_HOST_KEY", key)]).unwrap();
        assert!(config.warnings.is_empty() && config.room_host_key.as_deref() == Some(key) && !config.edge);
    }

    #[test]
    fn settings_of_other_products_are_named_once() {
        let config = resolve(UpArgs::default(), &[("DB_HOST", "x"), ("DB_NAME", "y"), ("MONGODB_URI", "z")]).unwrap();
        assert_eq!(config.warnings.len(), 2);
        assert!(config.warnings[0].starts_with("DB_HOST, DB_NAME ignored"));
    }
}
