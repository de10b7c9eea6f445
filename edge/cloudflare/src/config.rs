//! Settings from variables and secrets of the Worker (contract section 9).

use edge_core::object::Kind;
use edge_core::settings::{self, Settings, Variables};
use worker::{Env, Error, Result};

/// A variable or secret, when it is set and not empty.
pub(crate) fn variable(env: &Env, name: &str) -> Option<String> {
    let found = env.secret(name).map(|secret| secret.to_string()).or_else(|_| env.var(name).map(|var| var.to_string()));
    found.ok().filter(|value| !value.is_empty() && value != "undefined")
}

/// Gateways of a deployment: each holds some thousand sockets.
const GATEWAYS: u64 = 8;

/// Settings of this deployment.
pub(crate) fn settings(env: &Env) -> Result<Settings> {
    read(&|name: &str| variable(env, name)).map_err(Error::RustError)
}

fn read(vars: &impl Variables) -> std::result::Result<Settings, String> {
    let mut settings = Settings::read(vars)?;
    settings.signing_key = settings::signing_key(vars)?;
    settings.refresh_secret = settings::secret(vars, "JWT_REFRESH_SECRET")?.unwrap_or_default();
    if settings.signing_key.is_none() || settings.refresh_secret.is_empty() {
        return Err("JWT_PRIVATE_KEY (or JWT_SECRET) and JWT_REFRESH_SECRET must be set as secrets".into());
    }
    settings.gateways = vars.number("GATEWAYS", 1, 1_024)?.unwrap_or(GATEWAYS) as u32;
    settings.hibernate();
    Ok(settings)
}

/// Whether objects write what they cost to the log.
pub(crate) fn is_metered(env: &Env) -> bool {
    let is = |name: &str, value: &str| variable(env, name).as_deref() == Some(value);
    is("METER", "on") && is("CHATCALL_ENV", "development")
}

/// Name of the binding of a kind of object.
pub(crate) fn binding(kind: Kind) -> &'static str {
    match kind {
        Kind::Gateway => "GATEWAY",
        Kind::Room => "ROOM",
        Kind::User => "USER",
        Kind::Call => "CALL",
        Kind::Directory => "DIRECTORY",
        Kind::Http => "HTTP",
    }
}
