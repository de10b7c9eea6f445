//! Secrets: from the environment, or generated at the first start into `secrets.json` of the data directory.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_core::settings::{Settings, SigningKey, secret, signing_key};
use serde::{Deserialize, Serialize};

use super::{Environment, Wrong, wrong};

#[derive(Serialize, Deserialize)]
struct Secrets {
    /// Ed25519 seed, base64url.
    signing_seed: String,
    refresh_secret: String,
}

/// Fills the keys of `settings`. In development a weak secret is only warned about (guarantees 7, N13).
///
/// # Errors
/// A weak or unreadable key, or a secrets file that cannot be read or written.
pub fn fill_secrets(settings: &mut Settings, env: &Environment, data: &Path) -> Result<(), Wrong> {
    let signing = signing_key(env).map_err(replaceable)?;
    let refresh = secret(env, "JWT_REFRESH_SECRET").map_err(replaceable)?;
    if let (Some(signing), Some(refresh)) = (&signing, &refresh) {
        settings.signing_key = Some(signing.clone());
        settings.refresh_secret.clone_from(refresh);
        return Ok(());
    }
    let kept = load_or_create(&data.join("secrets.json"))?;
    settings.signing_key = signing.or(Some(SigningKey::Ed25519(kept.signing_seed)));
    settings.refresh_secret = refresh.unwrap_or(kept.refresh_secret);
    Ok(())
}

/// Here the operator has another way out.
fn replaceable(sentence: String) -> Wrong {
    let secret = sentence.contains(" is refused: ");
    Wrong(if secret { format!("{sentence}, or unset it to have one generated") } else { sentence })
}

fn load_or_create(file: &Path) -> Result<Secrets, Wrong> {
    let name = file.display();
    match fs::read(file) {
        Ok(bytes) => {
            let mode = fs::metadata(file).map_or(0, |meta| meta.permissions().mode() & 0o077);
            if mode != 0 {
                return wrong(format!("{name} can be read by others: run chmod 600 on it"));
            }
            serde_json::from_slice(&bytes).map_err(|_| Wrong(format!("{name} is not a secrets file of chatcall")))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secrets = Secrets { signing_seed: random(), refresh_secret: random() };
            write(file, &secrets).map_err(|error| Wrong(format!("{name} cannot be written: {error}")))?;
            Ok(secrets)
        }
        Err(error) => wrong(format!("{name} cannot be read: {error}")),
    }
}

/// Complete or not at all: a key that was used once must be there at the next start.
fn write(file: &Path, secrets: &Secrets) -> std::io::Result<()> {
    let part = file.with_extension("part");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    out.write_all(serde_json::to_string_pretty(secrets)?.as_bytes())?;
    out.sync_all()?;
    fs::rename(&part, file)?;
    fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn random() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives entropy");
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn secrets_are_generated_once_and_private() {
        let dir = TempDir::new();
        let mut first = Settings::default();
        fill_secrets(&mut first, &Environment::default(), dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join("secrets.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut second = Settings::default();
        fill_secrets(&mut second, &Environment::default(), dir.path()).unwrap();
        assert_eq!(first, second);
        assert!(first.refresh_secret.len() >= 43 && matches!(first.signing_key, Some(SigningKey::Ed25519(_))));
    }

    #[test]
    fn a_weak_or_empty_jwt_secret_is_refused() {
        let dir = TempDir::new();
        for weak in ["", "secret", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            let env = Environment::of(&[("JWT_SECRET", weak)]);
            let wrong = fill_secrets(&mut Settings::default(), &env, dir.path()).unwrap_err();
            assert!(wrong.0.starts_with("JWT_SECRET is refused"), "{wrong}");
        }
    }

    #[test]
    fn development_only_warns_about_a_weak_secret() {
        let dir = TempDir::new();
        let mut settings = Settings { development: true, ..Settings::default() };
        let env = Environment::of(&[("JWT_SECRET", "short"), ("CHATCALL_ENV", "development")]);
        fill_secrets(&mut settings, &env, dir.path()).unwrap();
        assert_eq!(settings.signing_key, Some(SigningKey::Hs256("short".into())));
    }

    #[test]
    fn a_secrets_file_open_to_others_is_refused() {
        let dir = TempDir::new();
        fill_secrets(&mut Settings::default(), &Environment::default(), dir.path()).unwrap();
        let file = dir.path().join("secrets.json");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(fill_secrets(&mut Settings::default(), &Environment::default(), dir.path()).is_err());
    }
}
