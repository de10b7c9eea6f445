//! Signatures of requests between our own parts (`ROOM_HOST_KEY`): HMAC-SHA256 over method, path, time and body.
//!
//! Both ends use this file: the HTTP component on a host without objects signs, the room host verifies.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use wire::Timestamp;

use crate::limits::INTERNAL_REQUEST_MS;

/// Milliseconds since the epoch when the request was signed, in decimal.
pub const TIME_HEADER: &str = "x-chatcall-time";
/// Lower-case hex of the HMAC.
pub const SIGNATURE_HEADER: &str = "x-chatcall-signature";

/// The signature of a request. `path` begins with `/` and has no query.
#[must_use]
pub fn sign(key: &[u8], method: &str, path: &str, body: &[u8], at: Timestamp) -> String {
    let tag = mac(key, method, path, body, at).finalize().into_bytes();
    tag.iter().fold(String::with_capacity(64), |mut hex, byte| {
        hex.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        hex.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        hex
    })
}

/// Whether `signature` is the one of this request and not older (or newer) than [`INTERNAL_REQUEST_MS`].
#[must_use]
pub fn verify(key: &[u8], method: &str, path: &str, body: &[u8], at: Timestamp, signature: &str, now: Timestamp) -> bool {
    if now.since(at).max(at.since(now)) > INTERNAL_REQUEST_MS || key.is_empty() {
        return false;
    }
    let digits: Option<Vec<u32>> = signature.chars().map(|digit| digit.to_digit(16)).collect();
    let Some(digits) = digits else { return false };
    let tag: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | *digit as u8)).collect();
    signature.len() == 64 && mac(key, method, path, body, at).verify_slice(&tag).is_ok()
}

fn mac(key: &[u8], method: &str, path: &str, body: &[u8], at: Timestamp) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in [method.as_bytes(), b"\n", path.as_bytes(), b"\n", at.0.to_string().as_bytes(), b"\n", body] {
        mac.update(part);
    }
    mac
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
        for bad in ["", "zz", &tag[1..], &format!("{tag}0"), &tag.replace('a', "é")] {
            assert!(!verify(key, "POST", "/room/x", b"{}", at, bad, at), "{bad}");
        }
    }
}
