//! The private key from the environment, in its two spellings.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// DER of a PKCS#8 Ed25519 key up to its 32-byte seed.
const PKCS8_ED25519: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The Ed25519 seed in `JWT_PRIVATE_KEY`: PEM of PKCS#8, or 32 bytes in base64url. `None` for anything else.
pub(super) fn ed25519_seed(text: &str) -> Option<String> {
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
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_from_pem_and_base64url() {
        let seed = [7; 32];
        let der = [PKCS8_ED25519.as_slice(), seed.as_slice()].concat();
        let pem = format!("-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----\\n", STANDARD.encode(der));
        let wanted = Some(URL_SAFE_NO_PAD.encode(seed));
        assert_eq!(ed25519_seed(&pem), wanted);
        assert_eq!(ed25519_seed(&URL_SAFE_NO_PAD.encode(seed)), wanted);
        assert_eq!(ed25519_seed("AAAA"), None);
        assert_eq!(ed25519_seed("not base64!"), None);
    }
}
