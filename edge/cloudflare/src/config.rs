//! Settings from variables and secrets of the Worker (contract section 9).

use std::cell::OnceCell;
use std::rc::Rc;

use edge_core::object::Kind;
use edge_core::settings::{self, Settings, Variables};
use worker::{Env, Error, Result, console_error};

thread_local!(static DEPLOYMENT: OnceCell<std::result::Result<Rc<Settings>, String>> = const { OnceCell::new() });

/// Settings of this deployment once everything that it needs is bound, or one sentence on what is wrong. Looked at once in
/// the life of an isolate: what is bound does not change in it.
pub(crate) fn deployment(env: &Env) -> std::result::Result<Rc<Settings>, String> {
    let look = || {
        let found = bound(env).and_then(|()| read(&|name: &str| variable(env, name)));
        found.map(Rc::new).inspect_err(|why| console_error!("{why}"))
    };
    DEPLOYMENT.with(|deployment| deployment.get_or_init(look).clone())
}

/// Whether objects and the people database can be reached by name.
fn bound(env: &Env) -> std::result::Result<(), String> {
    for (kind, class) in [(Kind::Gateway, "Gateway"), (Kind::Room, "Room"), (Kind::User, "User")] {
        let name = binding(kind);
        env.durable_object(name).map_err(|_| format!("{name} is not bound: wrangler.toml binds it to the class {class}"))?;
    }
    let url = variable(env, "LIBSQL_URL").ok_or("LIBSQL_URL is not set: it names the libsql server of the people database")?;
    match ["libsql://", "https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) {
        true => Ok(()),
        false => Err("LIBSQL_URL takes libsql://…, https://… or http://…".to_owned()),
    }
}

/// A variable or secret, when it is set and not empty.
pub(crate) fn variable(env: &Env, name: &str) -> Option<String> {
    let found = env.secret(name).map(|secret| secret.to_string()).or_else(|_| env.var(name).map(|var| var.to_string()));
    found.ok().filter(|value| !value.is_empty() && value != "undefined")
}

/// Gateways of a deployment: each holds some thousand sockets.
const GATEWAYS: u64 = 8;

/// Settings of this deployment, for objects.
pub(crate) fn settings(env: &Env) -> Result<Rc<Settings>> {
    deployment(env).map_err(Error::RustError)
}

fn read(vars: &impl Variables) -> std::result::Result<Settings, String> {
    let mut settings = Settings::read(vars)?;
    settings.signing_key = settings::signing_key(vars)?;
    settings.refresh_secret = settings::secret(vars, "JWT_REFRESH_SECRET")?.unwrap_or_default();
    if settings.signing_key.is_none() {
        return Err("JWT_PRIVATE_KEY (or JWT_SECRET) is not set: put it as a secret".into());
    }
    if settings.refresh_secret.is_empty() {
        return Err("JWT_REFRESH_SECRET is not set: put it as a secret".into());
    }
    settings.gateways = vars.number("GATEWAYS", 1, 1_024)?.unwrap_or(GATEWAYS) as u32;
    settings.hibernate();
    Ok(settings)
}

/// A switch of tests and benches, which is off where people use it.
pub(crate) fn development_switch(env: &Env, name: &str) -> bool {
    let is = |name: &str, value: &str| variable(env, name).as_deref() == Some(value);
    is(name, "on") && is("CHATCALL_ENV", "development")
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
