//! Settings from names and values (contract section 9): the same words and the same refusals on every host.

use super::{Registration, Settings, SigningKey};
use crate::auth::check_secret;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// DER of a PKCS#8 Ed25519 key up to its 32-byte seed (RFC 8410).
const PKCS8_ED25519: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Every variable that this module and [`super::Placement`] read. Hosts that cannot be asked at any moment fetch these first.
pub const NAMES: [&str; 20] = [
    "CHATCALL_ENV",
    "NODE_ENV",
    "RATE_LIMITS",
    "BCRYPT_COST",
    "MAX_TEXT_LENGTH",
    "REGISTRATION",
    "CONVERSATION_POLICY",
    "EX_MEMBER_HISTORY",
    "JWT_EXPIRES_IN",
    "JWT_REFRESH_EXPIRES_IN",
    "ALLOWED_ORIGINS",
    "CLIENT_URL",
    "JWT_PRIVATE_KEY",
    "JWT_SECRET",
    "JWT_REFRESH_SECRET",
    "ROOM_HOST_URL",
    "ROOM_HOST_KEY",
    "SOCKET_URL",
    "PEOPLE_DATABASE",
    "ADDRESS_HEADER",
];
/// Those of them that are checked for strength.
const SECRETS: [&str; 3] = ["JWT_SECRET", "JWT_REFRESH_SECRET", "ROOM_HOST_KEY"];

/// Where a host keeps its variables and secrets.
pub trait Variables {
    /// The value as it stands; `None` when it is not set.
    fn raw(&self, name: &str) -> Option<String>;

    /// The trimmed value, unless empty.
    fn get(&self, name: &str) -> Option<String> {
        self.raw(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// A whole number between two bounds.
    ///
    /// # Errors
    /// One sentence for the operator.
    fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.parse::<u64>() {
            Ok(n) if (least..=most).contains(&n) => Ok(Some(n)),
            _ => Err(format!("{name} is `{value}`: it takes a number from {least} to {most}")),
        }
    }

    /// One of some words.
    ///
    /// # Errors
    /// One sentence for the operator.
    fn word(&self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match words.iter().find(|word| **word == value) {
            Some(word) => Ok(Some(word)),
            None => Err(format!("{name} is `{value}`: it takes {}", words.join(" or "))),
        }
    }

    /// `90s`, `15m`, `12h`, `7d`, in milliseconds.
    ///
    /// # Errors
    /// One sentence for the operator.
    fn duration_ms(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let unit = match value.chars().last() {
            Some('s') => 1_000,
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            Some('d') => 86_400_000,
            _ => 0,
        };
        let number = value.get(..value.len().saturating_sub(1)).and_then(|digits| digits.parse::<u64>().ok());
        match number.and_then(|n| n.checked_mul(unit)) {
            Some(ms) if ms > 0 && ms <= 3_650 * 86_400_000 => Ok(Some(ms)),
            _ => Err(format!("{name} is `{value}`: it takes a time like 90s, 15m, 12h or 7d")),
        }
    }
}

impl<F: Fn(&str) -> Option<String>> Variables for F {
    fn raw(&self, name: &str) -> Option<String> {
        self(name)
    }
}

impl Settings {
    /// Policies and limits; keys are left out ([`signing_key`], [`secret`]).
    ///
    /// # Errors
    /// One sentence on the first setting that cannot be used.
    pub fn read(vars: &impl Variables) -> Result<Self, String> {
        let mut settings = Self { development: development(vars)?, ..Self::default() };
        settings.rate_limits = vars.word("RATE_LIMITS", &["on", "off"])? != Some("off");
        if !settings.rate_limits && !settings.development {
            return Err("RATE_LIMITS=off is for tests: it needs CHATCALL_ENV=development".into());
        }
        if let Some(cost) = vars.number("BCRYPT_COST", 4, 12)? {
            if !settings.development {
                return Err("BCRYPT_COST is for tests: it needs CHATCALL_ENV=development (the cost is 12)".into());
            }
            settings.bcrypt_cost = cost as u32;
        }
        if let Some(length) = vars.number("MAX_TEXT_LENGTH", 1, 10_000)? {
            settings.max_text_code_points = length as usize;
        }
        settings.registration = match vars.word("REGISTRATION", &["open", "invite", "closed"])? {
            Some("invite") => Registration::Invite,
            Some("closed") => Registration::Closed,
            _ => Registration::Open,
        };
        settings.conversation_contacts_only = vars.word("CONVERSATION_POLICY", &["anyone", "contacts"])? == Some("contacts");
        settings.ex_member_history = vars.word("EX_MEMBER_HISTORY", &["none", "until_left"])? == Some("until_left");
        if let Some(ms) = vars.duration_ms("JWT_EXPIRES_IN")? {
            settings.access_ttl_ms = ms;
        }
        if let Some(ms) = vars.duration_ms("JWT_REFRESH_EXPIRES_IN")? {
            settings.refresh_ttl_ms = ms;
        }
        settings.allowed_origins = origins(vars)?;
        Ok(settings)
    }
}

fn development(vars: &impl Variables) -> Result<bool, String> {
    match vars.get("CHATCALL_ENV").as_deref() {
        Some("development") => Ok(true),
        Some("production") => Ok(false),
        Some(other) => Err(format!("CHATCALL_ENV is `{other}`: it takes production or development")),
        // The alias has more values in the wild; only the one that relaxes checks is of interest.
        None => Ok(vars.get("NODE_ENV").as_deref() == Some("development")),
    }
}

fn origins(vars: &impl Variables) -> Result<Vec<String>, String> {
    let (name, list) = match (vars.get("ALLOWED_ORIGINS"), vars.get("CLIENT_URL")) {
        (Some(list), _) => ("ALLOWED_ORIGINS", list),
        (None, Some(list)) => ("CLIENT_URL", list),
        (None, None) => return Ok(Vec::new()),
    };
    list.split(',')
        .map(|origin| origin.trim().trim_end_matches('/'))
        .filter(|origin| !origin.is_empty())
        .map(|origin| match origin.split_once("://") {
            Some((scheme, host)) if !scheme.is_empty() && !host.is_empty() && !host.contains('/') => Ok(origin.to_owned()),
            _ => Err(format!("{name} has `{origin}`: an origin is scheme://host[:port], without path or wildcard")),
        })
        .collect()
}

/// The key of access tokens (V-06), when one is set.
///
/// # Errors
/// One sentence on a key that cannot be used or is weak.
pub fn signing_key(vars: &impl Variables) -> Result<Option<SigningKey>, String> {
    if let Some(text) = vars.get("JWT_PRIVATE_KEY") {
        let seed = ed25519_seed(&text)
            .ok_or("JWT_PRIVATE_KEY is no Ed25519 key: it takes PEM (PKCS#8) or 32 bytes in base64url")?;
        return Ok(Some(SigningKey::Ed25519(seed)));
    }
    Ok(secret(vars, "JWT_SECRET")?.map(SigningKey::Hs256))
}

/// A secret, checked. One that is set but empty is refused too: the operator meant to set one. Development accepts weak
/// ones ([`weak_secrets`] names them for the log).
///
/// # Errors
/// One sentence on a weak one.
pub fn secret(vars: &impl Variables, name: &str) -> Result<Option<String>, String> {
    let Some(secret) = vars.raw(name) else { return Ok(None) };
    match check_secret(&secret) {
        Err(why) if secret.is_empty() || !development(vars)? => {
            Err(format!("{name} is refused: {why}. Use 32 or more random bytes"))
        }
        _ => Ok(Some(secret)),
    }
}

/// One sentence for each secret that only development accepts.
#[must_use]
pub fn weak_secrets(vars: &impl Variables) -> Vec<String> {
    let weakness = |name: &str| check_secret(&vars.raw(name).filter(|secret| !secret.is_empty())?).err();
    let said = |name: &&str| weakness(name).map(|why| format!("{name} would be refused outside development: {why}"));
    SECRETS.iter().filter_map(said).collect()
}

/// The Ed25519 seed in `JWT_PRIVATE_KEY`: PEM of PKCS#8, or 32 bytes in base64url. `None` for anything else.
fn ed25519_seed(text: &str) -> Option<String> {
    let seed = if text.contains("-----BEGIN") {
        // Environment files often carry the line breaks as `\n`.
        let text = text.replace("\\n", "\n");
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let der = STANDARD.decode(body).ok()?;
        der.strip_prefix(&PKCS8_ED25519)?.get(..32)?.to_vec()
    } else {
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?
    };
    (seed.len() == 32).then(|| URL_SAFE_NO_PAD.encode(seed))
}

#[cfg(test)]
mod tests;
