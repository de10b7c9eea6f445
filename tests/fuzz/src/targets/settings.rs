//! What operators set.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edge_core::auth::check_secret;
use edge_core::settings::{NAMES, Placement, Settings, SigningKey, secret, signing_key, weak_secrets};

const SECRETS: [&str; 4] = ["JWT_PRIVATE_KEY", "JWT_SECRET", "JWT_REFRESH_SECRET", "ROOM_HOST_KEY"];

/// Lines of `NAME=value`: settings within their bounds, or a sentence that names the variable and tells no secret.
pub(super) fn variables(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let pairs: Vec<(&str, &str)> = text.split('\n').filter_map(|line| line.split_once('=')).collect();
    let vars = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let refused = |sentence: &str| {
        assert!(NAMES.iter().any(|name| sentence.contains(name)), "{sentence}");
        let elsewhere = |secret: &str| pairs.iter().any(|(name, value)| !SECRETS.contains(name) && value.contains(secret));
        for secret in SECRETS.iter().filter_map(|name| vars(name)).filter(|secret| secret.len() > 16 && !elsewhere(secret)) {
            assert!(!sentence.contains(&secret), "{sentence}");
        }
    };

    let settings = Settings::read(&vars);
    assert_eq!(settings, Settings::read(&vars));
    match &settings {
        Err(sentence) => refused(sentence),
        Ok(settings) => {
            const MOST_MS: u64 = 3_650 * 86_400_000;
            assert!((1..=10_000).contains(&settings.max_text_code_points));
            assert!((1..=MOST_MS).contains(&settings.access_ttl_ms) && (1..=MOST_MS).contains(&settings.refresh_ttl_ms));
            assert!(settings.development || (settings.rate_limits && settings.bcrypt_cost == 12));
            assert!((4..=12).contains(&settings.bcrypt_cost));
            for origin in &settings.allowed_origins {
                let (scheme, host) = origin.split_once("://").expect("an origin");
                assert!(!scheme.is_empty() && !host.is_empty() && !host.contains('/') && !origin.contains(','), "{origin}");
            }
            // As the host hands them to its components.
            let json = serde_json::to_string(settings).expect("settings have a JSON form");
            assert_eq!(serde_json::from_str::<Settings>(&json).as_ref().ok(), Some(settings));
        }
    }
    match signing_key(&vars) {
        Err(sentence) => refused(&sentence),
        Ok(Some(SigningKey::Ed25519(seed))) => assert_eq!(URL_SAFE_NO_PAD.decode(seed).expect("base64url").len(), 32),
        Ok(Some(SigningKey::Hs256(secret))) => assert!(check_secret(&secret).is_ok() || vars("JWT_SECRET") == Some(secret)),
        Ok(None) => {}
    }
    for name in ["JWT_REFRESH_SECRET", "ROOM_HOST_KEY"] {
        match secret(&vars, name) {
            Err(sentence) => refused(&sentence),
            Ok(secret) => assert_eq!(secret, vars(name)),
        }
    }
    weak_secrets(&vars).iter().for_each(|sentence| refused(sentence));
    match Placement::read(&vars) {
        Err(sentence) => refused(&sentence),
        Ok(placed) => {
            for url in placed.room_host.iter().map(|host| &host.url).chain(&placed.socket_url) {
                let authority = url.split_once("://").expect("a scheme").1;
                assert!(url.starts_with("http") && !authority.is_empty(), "{url}");
                assert!(!authority.contains(['/', '?', '#', '@', ' ']), "{url}");
            }
        }
    }
    settings.is_ok() && pairs.iter().any(|(name, _)| NAMES.contains(name))
}
