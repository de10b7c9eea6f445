//! Rules that `edge-core` owns.

use edge_core::settings::Settings;

/// Whether a WebSocket upgrade with this `Origin` is served: none (a native app), the same host, or one that is listed.
pub(super) fn origin_allowed(origin: Option<&str>, host: Option<&str>, settings: &Settings) -> bool {
    let Some(origin) = origin else { return true };
    let same = origin.split_once("://").is_some_and(|(_, authority)| host == Some(authority));
    same || settings.allowed_origins.iter().any(|allowed| allowed == origin)
}

/// Whether the request hashes a password: a quarter of a second of CPU.
pub(super) fn hashes_password(method: &str, path: &str) -> bool {
    let paths = ["/api/auth/register", "/api/auth/login", "/api/auth/password", "/api/auth/reset"];
    method == "POST" && paths.contains(&path.trim_end_matches('/'))
}
