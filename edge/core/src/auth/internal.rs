//! Signatures of requests between our own parts (`ROOM_HOST_KEY`): HMAC-SHA256 over method, path, time and body.
//!
//! Both ends use this file: the HTTP component on a host without objects signs, the room host verifies.

use hmac::Mac;
use wire::Timestamp;

use super::encoding::{from_hex, hmac, to_hex};
use crate::limits::INTERNAL_REQUEST_MS;

/// Milliseconds since the epoch when the request was signed, in decimal.
pub const TIME_HEADER: &str = "x-chatcall-time";
/// Lower-case hex of the HMAC.
pub const SIGNATURE_HEADER: &str = "x-chatcall-signature";

/// The signature of a request. `path` begins with `/` and has no query.
#[must_use]
pub fn sign(key: &[u8], method: &str, path: &str, body: &[u8], at: Timestamp) -> String {
    to_hex(&mac(key, method, path, body, at).finalize().into_bytes())
}

/// Whether `signature` is the one of this request and not older (or newer) than [`INTERNAL_REQUEST_MS`]. An empty key
/// verifies nothing.
#[must_use]
pub fn verify(key: &[u8], method: &str, path: &str, body: &[u8], at: Timestamp, signature: &str, now: Timestamp) -> bool {
    if key.is_empty() || now.since(at).max(at.since(now)) > INTERNAL_REQUEST_MS {
        return false;
    }
    from_hex(signature).is_some_and(|tag| mac(key, method, path, body, at).verify_slice(&tag).is_ok())
}

fn mac(key: &[u8], method: &str, path: &str, body: &[u8], at: Timestamp) -> impl Mac {
    let time = at.0.to_string();
    hmac(key, &[method.as_bytes(), b"\n", path.as_bytes(), b"\n", time.as_bytes(), b"\n", body])
}

#[cfg(test)]
mod tests {
    use super::{sign, verify};
    use wire::Timestamp;

    #[test]
    fn only_the_signed_request_in_its_time_is_accepted() {
        let (key, at) = (b"0123456789abcdef0123456789abcdef", Timestamp(1_772_357_400_000));
        let tag = sign(key, "POST", "/room/x", b"{}", at);
        assert!(verify(key, "POST", "/room/x", b"{}", at, &tag, at.plus_ms(29_000)));
        assert!(!verify(key, "POST", "/room/x", b"{}", at, &tag, at.plus_ms(31_000)));
        assert!(!verify(key, "POST", "/room/y", b"{}", at, &tag, at));
        assert!(!verify(key, "GET", "/room/x", b"{}", at, &tag, at));
        assert!(!verify(key, "POST", "/room/x", b"{ }", at, &tag, at));
        assert!(!verify(b"other", "POST", "/room/x", b"{}", at, &tag, at));
        assert!(!verify(key, "POST", "/room/x", b"{}", at.plus_ms(1), &tag, at));
        for bad in ["", "zz", &tag[1..], &tag[2..], &format!("{tag}00"), "é"] {
            assert!(!verify(key, "POST", "/room/x", b"{}", at, bad, at), "{bad}");
        }
    }
}
