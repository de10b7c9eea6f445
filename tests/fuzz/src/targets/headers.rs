//! Headers that are read before any handler: origins, and who a client is behind proxies.

use edge_core::http::cors::{listed_origin, origin_allowed};
use edge_core::settings::Settings;
use http::{HeaderMap, HeaderValue};

/// The host's file; it belongs to a crate that is much too large to build for this.
#[path = "../../../../edge/host/src/frontend/address.rs"]
mod address;

/// An origin and a host, one line each, `development` or not: allowed are this host, the listed ones and, in development,
/// this machine; named to a browser are the listed ones.
pub(super) fn origin(input: &[u8]) -> bool {
    const LISTED: [&str; 3] = ["https://chat.example.com", "capacitor://localhost", "null"];
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut lines = text.split('\n');
    let (origin, host) = (lines.next().unwrap_or_default(), lines.next());
    let development = lines.next() == Some("development");
    let allowed_origins = LISTED.map(str::to_owned).to_vec();
    let settings = Settings { allowed_origins, development, ..Settings::default() };
    let is_listed = origin != "null" && LISTED.contains(&origin);
    let listed = listed_origin(Some(origin), &settings);
    assert_eq!(listed.as_deref(), is_listed.then_some(origin));
    if !origin_allowed(Some(origin), host, &settings) {
        assert!(!is_listed);
        return false;
    }
    let authority = origin.split_once("://").map(|(_, authority)| authority).unwrap_or_default();
    let is_own = host.is_some_and(|host| !host.is_empty() && authority.eq_ignore_ascii_case(host));
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
        _ => (authority, "0"),
    };
    let is_here = ["localhost", "127.0.0.1", "[::1]"].contains(&name) && !port.is_empty();
    assert!(is_listed || is_own || (development && is_here), "{origin} at {host:?}");
    true
}

/// Lines of `X-Forwarded-For` as our own proxies leave them, behind a number of proxies: an address always, and nothing that a
/// client puts in front of it counts.
pub(super) fn client_address(input: &[u8]) -> bool {
    let Some((trusted, rest)) = input.split_first() else { return false };
    let trusted = usize::from(trusted % 4);
    let lines: Vec<&[u8]> = rest.split(|byte| *byte == b'\n').collect();
    let Some(address) = address_of(&lines, trusted) else { return false };
    assert_eq!(address.parse::<std::net::IpAddr>().map(|ip| ip.to_canonical().to_string()).ok(), Some(address.clone()));
    if trusted == 0 {
        assert_eq!(address, "10.0.0.9");
        return true;
    }
    let entries = lines.iter().map(|line| line.iter().filter(|byte| **byte == b',').count() + 1).sum::<usize>();
    if entries < trusted {
        return false;
    }
    for claim in [b"6.6.6.6".as_slice(), b"\xff", b"", b","] {
        let first = [claim, b", ", lines[0]].concat();
        let longer: Vec<&[u8]> = std::iter::once(first.as_slice()).chain(lines[1..].iter().copied()).collect();
        assert_eq!(address_of(&longer, trusted).as_ref(), Some(&address), "{:?}", String::from_utf8_lossy(claim));
        let before: Vec<&[u8]> = std::iter::once(claim).chain(lines.iter().copied()).collect();
        assert_eq!(address_of(&before, trusted).as_ref(), Some(&address), "{:?}", String::from_utf8_lossy(claim));
    }
    true
}

/// `None` for lines that no HTTP server lets through.
fn address_of(lines: &[&[u8]], trusted: usize) -> Option<String> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("x-forwarded-for", HeaderValue::from_bytes(line).ok()?);
    }
    let peer = "[::ffff:10.0.0.9]:4711".parse().expect("an address");
    Some(address::of_client(peer, &headers, trusted))
}
