//! The client's address: the peer's, or what our own proxies say about it. Never what an outsider claims.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

const FORWARDED: &str = "x-forwarded-for";

/// The address `trusted` proxies away. Each of them appends the peer it saw, so entries count from the right.
pub(super) fn of_client(peer: SocketAddr, headers: &HeaderMap, trusted: usize) -> String {
    let direct = peer.ip().to_canonical();
    if trusted == 0 {
        return direct.to_string();
    }
    // Bytes that are no text count as entries too: whoever sends them moves nobody else's entry.
    let entries = headers.get_all(FORWARDED).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let entries: Vec<&[u8]> = entries.collect();
    let claimed = entries.len().checked_sub(trusted).and_then(|at| entries.get(at)).or_else(|| entries.first());
    let claimed = claimed.and_then(|entry| std::str::from_utf8(entry).ok());
    claimed.and_then(|entry| parse(entry.trim())).unwrap_or(direct).to_string()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn parse(entry: &str) -> Option<IpAddr> {
    let plain = entry.parse::<IpAddr>().ok();
    plain.or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip())).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn address(lines: &[&str], trusted: usize) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        of_client("[::ffff:10.0.0.9]:4711".parse().unwrap(), &headers, trusted)
    }

    #[test]
    fn a_forged_header_is_ignored_without_proxies() {
        assert_eq!(address(&["1.2.3.4"], 0), "10.0.0.9");
    }

    #[test]
    fn only_the_entries_of_our_own_proxies_count() {
        assert_eq!(address(&["6.6.6.6, 192.0.2.7"], 1), "192.0.2.7");
        assert_eq!(address(&["6.6.6.6, 192.0.2.7", "10.0.0.1"], 2), "192.0.2.7");
        assert_eq!(address(&["192.0.2.7"], 2), "192.0.2.7");
        assert_eq!(address(&["[2001:db8::1]:99"], 1), "2001:db8::1");
    }

    #[test]
    fn what_is_no_text_moves_no_entry() {
        assert_eq!(address(&["6.6.6.6", "é, 192.0.2.7"], 1), "192.0.2.7");
        assert_eq!(address(&["é", "192.0.2.7"], 1), "192.0.2.7");
        assert_eq!(address(&["192.0.2.7, é"], 1), "10.0.0.9");
    }

    #[test]
    fn what_is_no_address_falls_back_to_the_peer() {
        assert_eq!(address(&["unknown"], 1), "10.0.0.9");
        assert_eq!(address(&[], 1), "10.0.0.9");
    }
}
