//! Which web origins may talk to us: exact matches only, never `null`, never a suffix (N17, N46).

use super::Request;
use crate::settings::Settings;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const HEADERS: &str = "authorization, content-type, x-auth-mode, x-client-id";
const EXPOSED: &str = "x-next-before, retry-after";
/// How long a browser may keep the answer to a preflight.
const MAX_AGE_SECONDS: &str = "600";

/// Whether a request with this `Origin` may act: none (not a browser, or the page itself), the same origin, or an allowed
/// one. `host` is the `Host` header. Also for WebSocket upgrades and cookie mode.
#[must_use]
pub fn origin_allowed(origin: Option<&str>, host: Option<&str>, settings: &Settings) -> bool {
    let Some(origin) = origin else { return true };
    is_same(origin, host) || is_listed(origin, settings)
}

/// Whether the origin is this very host. A proxy may have ended TLS, so the scheme is not compared.
fn is_same(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.zip(host).is_some_and(|(authority, host)| !host.is_empty() && authority.eq_ignore_ascii_case(host))
}

/// Whether the origin is another one that the deployment allows; in development every port of this machine is.
fn is_listed(origin: &str, settings: &Settings) -> bool {
    if origin == "null" {
        return false;
    }
    settings.allowed_origins.iter().any(|allowed| allowed == origin) || (settings.development && is_loopback(origin))
}

/// The origin to name to a browser in answers of Engine.IO: exactly an allowed one, in development too.
#[must_use]
pub fn listed_origin(origin: Option<&str>, settings: &Settings) -> Option<std::rc::Rc<str>> {
    let origin = origin?;
    settings.allowed_origins.iter().any(|allowed| allowed == origin && origin != "null").then(|| origin.into())
}

fn is_loopback(origin: &str) -> bool {
    let Some(authority) = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) else { return false };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
        authority.strip_prefix(name).is_some_and(|rest| match rest.strip_prefix(':') {
            Some(port) => !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()),
            None => rest.is_empty(),
        })
    })
}

/// Whether a browser asks for permission.
pub(super) fn is_preflight(request: &Request) -> bool {
    request.method == "OPTIONS"
        && request.header("origin").is_some()
        && request.header("access-control-request-method").is_some()
}

/// The headers that let a page of another allowed origin read the response; none for everybody else.
pub(super) fn headers(request: &Request, settings: &Settings) -> Vec<(&'static str, String)> {
    let mut headers = vec![("vary", "origin".to_owned())];
    let Some(origin) = request.header("origin").filter(|origin| is_listed(origin, settings)) else { return headers };
    headers.push(("access-control-allow-origin", origin.to_owned()));
    headers.push(("access-control-allow-credentials", "true".to_owned()));
    if is_preflight(request) {
        headers.push(("access-control-allow-methods", METHODS.to_owned()));
        headers.push(("access-control-allow-headers", HEADERS.to_owned()));
        headers.push(("access-control-max-age", MAX_AGE_SECONDS.to_owned()));
    } else {
        headers.push(("access-control-expose-headers", EXPOSED.to_owned()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(development: bool) -> Settings {
        let allowed_origins = vec!["https://chat.example.com".to_owned(), "capacitor://localhost".to_owned()];
        Settings { allowed_origins, development, ..Settings::default() }
    }

    #[test]
    fn only_exact_origins_are_allowed() {
        let settings = settings(false);
        let allowed = |origin: &str| origin_allowed(Some(origin), Some("api.example.com"), &settings);
        for good in ["https://chat.example.com", "capacitor://localhost", "https://api.example.com", "http://API.example.com"] {
            assert!(allowed(good), "{good}");
        }
        for bad in [
            "null",
            "",
            "https://evil.example",
            "https://chat.example.com.evil.example",
            "https://evilchat.example.com",
            "https://chat.example.com:8443",
            "http://chat.example.com",
            "https://api.example.com:1",
            "https://api.example.com.evil.example",
            "http://localhost:5173",
            "https://",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
        assert!(origin_allowed(None, Some("api.example.com"), &settings));
        assert!(!origin_allowed(Some("https://"), Some(""), &settings));
        assert!(!origin_allowed(Some("https://x"), None, &settings));
    }

    #[test]
    fn development_allows_this_machine_and_nothing_else() {
        let settings = settings(true);
        let allowed = |origin: &str| origin_allowed(Some(origin), Some("127.0.0.1:3001"), &settings);
        for good in ["http://localhost:5173", "http://127.0.0.1:3001", "https://[::1]:1", "http://localhost"] {
            assert!(allowed(good), "{good}");
        }
        for bad in ["null", "http://localhost.evil.example", "http://localhost:1.evil.example", "http://localhost:", "https://evil.example"] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    #[test]
    fn foreign_origins_get_no_header() {
        let request = |origin: &str| Request {
            method: "GET".to_owned(),
            headers: vec![("origin".to_owned(), origin.to_owned())],
            ..Request::default()
        };
        let named = |origin: &str| {
            headers(&request(origin), &settings(false)).into_iter().find(|(name, _)| *name == "access-control-allow-origin")
        };
        assert_eq!(named("https://chat.example.com").unwrap().1, "https://chat.example.com");
        assert!(named("https://evil.example").is_none() && named("null").is_none());
    }
}
