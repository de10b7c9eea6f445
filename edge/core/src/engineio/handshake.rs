//! The query of a request and the open packet.

use super::session::Config;

/// What the query string of a request says. The first of repeated keys counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Query<'a> {
    /// `EIO`: must be `4`.
    pub version: Option<&'a str>,
    pub transport: Option<&'a str>,
    /// Empty counts as absent.
    pub sid: Option<&'a str>,
    /// `dialect` (contract 1.3).
    pub dialect: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// Reads a raw query string without `?`. Values of interest need no percent-decoding.
    #[must_use]
    pub fn parse(raw: &'a str) -> Self {
        let mut query = Self::default();
        for pair in raw.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match key {
                "EIO" => &mut query.version,
                "transport" => &mut query.transport,
                "sid" => &mut query.sid,
                "dialect" => &mut query.dialect,
                _ => continue,
            };
            if slot.is_none() && !value.is_empty() {
                *slot = Some(value);
            }
        }
        query
    }
}

/// `0{"sid",…}` with exactly the five keys of the protocol. `upgrades` is empty on a websocket.
#[must_use]
pub fn open_packet(sid: &str, upgrades: bool, config: &Config) -> String {
    let upgrades = if upgrades { "\"websocket\"" } else { "" };
    format!(
        "0{{\"sid\":\"{sid}\",\"upgrades\":[{upgrades}],\"pingInterval\":{},\"pingTimeout\":{},\"maxPayload\":{}}}",
        config.ping_interval_ms, config.ping_timeout_ms, config.max_payload_bytes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_read_in_any_order_and_the_first_value_counts() {
        let query = Query::parse("t=abc&transport=polling&EIO=4&sid=0.x&b64=1&sid=0.y&dialect=chatcall&EIO=3");
        assert_eq!(query.version, Some("4"));
        assert_eq!(query.transport, Some("polling"));
        assert_eq!(query.sid, Some("0.x"));
        assert_eq!(query.dialect, Some("chatcall"));
        assert_eq!(Query::parse("").version, None);
        assert_eq!(Query::parse("sid=&EIO").sid, None);
    }

    #[test]
    fn the_open_packet_has_exactly_the_keys_of_the_protocol() {
        let config = Config {
            ping_interval_ms: 20_000,
            ping_timeout_ms: 15_000,
            grain_ms: 1_000,
            sweep_ms: 0,
            max_payload_bytes: 65_536,
            upgrades: true,
        };
        let text = r#"{"sid":"3.ab","upgrades":["websocket"],"pingInterval":20000,"pingTimeout":15000,"maxPayload":65536}"#;
        assert_eq!(open_packet("3.ab", true, &config), format!("0{text}"));
        assert!(open_packet("3.ab", false, &config).contains("\"upgrades\":[]"));
    }
}
