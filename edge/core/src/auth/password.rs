//! Password rules and bcrypt. Hash strings carry their scheme and cost: `$2b$12$…`.

use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::DecodePaddingMode;
use subtle::ConstantTimeEq;
use wire::ErrorCode;

use crate::error::Failure;
use crate::limits::{PASSWORD_MAX_BYTES, PASSWORD_MIN_CHARS};
use crate::settings::Settings;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);
/// bcrypt keeps 23 of its 24 bytes.
const HASH_BYTES: usize = 23;
const SALT_BYTES: usize = 16;
/// Costs outside are not ours, and would hold a worker for minutes.
const COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// Rules for a new password, in the order register, change and reset report them. The text is never changed or cut.
///
/// # Errors
/// `INVALID_DATA` (field `password`), `PASSWORD_TOO_LONG`, and in production `PASSWORD_TOO_COMMON`.
pub fn check_new(password: &str, settings: &Settings) -> Result<(), Failure> {
    check_shape(password)?;
    let refused = |code: ErrorCode| Failure { field: Some("password".to_owned()), ..code.into() };
    if password.len() > PASSWORD_MAX_BYTES {
        return Err(refused(ErrorCode::PasswordTooLong));
    }
    if password.chars().count() < PASSWORD_MIN_CHARS {
        return Err(Failure::invalid("password", "At least 8 characters are expected"));
    }
    if !settings.development && is_common(password) {
        return Err(refused(ErrorCode::PasswordTooCommon));
    }
    Ok(())
}

/// What no password contains, old or new: NUL, where bcrypt would end it.
///
/// # Errors
/// `INVALID_DATA` (field `password`).
pub fn check_shape(password: &str) -> Result<(), Failure> {
    if password.contains('\0') {
        return Err(Failure::invalid("password", "NUL is not allowed"));
    }
    Ok(())
}

/// Whether the password is one of the commonest, without regard to case.
fn is_common(password: &str) -> bool {
    const LIST: &str = include_str!("common_passwords.txt");
    let lower = password.to_lowercase();
    !lower.starts_with('#') && LIST.lines().any(|line| line == lower)
}

/// The hash string of a password that [`check_new`] accepted.
#[must_use]
pub fn hash(password: &str, salt: [u8; SALT_BYTES], cost: u32) -> String {
    let cost = cost.clamp(*COSTS.start(), *COSTS.end());
    let hash = digest(password, salt, cost);
    format!("$2b${cost:02}${}{}", BASE64.encode(salt), BASE64.encode(hash))
}

/// Whether `password` belongs to the stored hash. Without an account (`None`), and for anything that can never match, the
/// same time passes as for a wrong password of cost `cost`.
#[must_use]
pub fn verify(password: &str, stored: Option<&str>, cost: u32) -> bool {
    let known = stored.and_then(parse);
    let real = known.is_some() && password.len() <= PASSWORD_MAX_BYTES;
    let (cost, salt, hash) = known.unwrap_or((cost.clamp(*COSTS.start(), *COSTS.end()), [0; SALT_BYTES], [0; HASH_BYTES]));
    let same: bool = digest(password, salt, cost).ct_eq(&hash).into();
    same && real
}

/// bcrypt of at most 72 bytes; longer input costs the same and means nothing.
fn digest(password: &str, salt: [u8; SALT_BYTES], cost: u32) -> [u8; HASH_BYTES] {
    let mut key = [0; PASSWORD_MAX_BYTES];
    let bytes = password.as_bytes();
    let length = bytes.len().min(PASSWORD_MAX_BYTES);
    key[..length].copy_from_slice(&bytes[..length]);
    // The terminating NUL counts, as far as there is room for it.
    let key = &key[..(length + 1).min(PASSWORD_MAX_BYTES)];
    let full = bcrypt::bcrypt(cost, salt, key);
    let mut kept = [0; HASH_BYTES];
    kept.copy_from_slice(&full[..HASH_BYTES]);
    kept
}

fn parse(stored: &str) -> Option<(u32, [u8; SALT_BYTES], [u8; HASH_BYTES])> {
    let mut parts = stored.strip_prefix('$')?.split('$');
    let (scheme, cost, rest) = (parts.next()?, parts.next()?, parts.next()?);
    if !["2a", "2b", "2y"].contains(&scheme) || cost.len() != 2 || parts.next().is_some() {
        return None;
    }
    let cost = cost.parse().ok().filter(|cost| COSTS.contains(cost))?;
    let (salt, hash) = rest.split_at_checked(22)?;
    Some((cost, BASE64.decode(salt).ok()?.try_into().ok()?, BASE64.decode(hash).ok()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 16] = [7; 16];

    #[test]
    fn known_hashes_verify() {
        // OpenBSD's and jBCrypt's published vectors.
        for (password, stored) in [
            ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
            ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
        ] {
            assert!(verify(password, Some(stored), 4), "{stored}");
            assert!(!verify("abd", Some(stored), 4));
        }
    }

    #[test]
    fn hashes_name_scheme_and_cost() {
        let stored = hash("correct horse", SALT, 4);
        assert!(stored.starts_with("$2b$04$") && stored.len() == 60);
        assert!(verify("correct horse", Some(&stored), 4));
        assert!(!verify("correct horsf", Some(&stored), 4));
    }

    #[test]
    fn exactly_72_bytes_count_and_73_never_match() {
        let longest = "é".repeat(36);
        let stored = hash(&longest, SALT, 4);
        assert!(verify(&longest, Some(&stored), 4));
        assert!(!verify(&format!("{longest}x"), Some(&stored), 4));
        assert!(!verify(&longest[..70], Some(&stored), 4));
    }

    #[test]
    fn nothing_matches_a_missing_or_foreign_hash() {
        for stored in [None, Some(""), Some("$argon2id$v=19$x"), Some("$2b$31$aaaa"), Some("$2b$04$é"), Some("$2b$04$a$b")] {
            assert!(!verify("", stored, 4));
            assert!(!verify("anything", stored, 4));
        }
    }

    #[test]
    fn new_passwords_obey_the_rules() {
        let production = Settings::default();
        let code = |password: &str| check_new(password, &production).map_err(|failure| failure.code);
        assert_eq!(code("7 chars"), Err(ErrorCode::InvalidData));
        assert_eq!(code("with\0nul in it"), Err(ErrorCode::InvalidData));
        assert_eq!(code(&"x".repeat(64)), Ok(()));
        assert_eq!(code(&"é".repeat(36)), Ok(()));
        assert_eq!(code(&"x".repeat(73)), Err(ErrorCode::PasswordTooLong));
        for common in ["password", "Password1", "12345678", "iloveyou", "Jennifer", "88888888", "qwertyuiop"] {
            assert_eq!(code(common), Err(ErrorCode::PasswordTooCommon), "{common}");
        }
        let development = Settings { development: true, ..Settings::default() };
        assert!(check_new("password", &development).is_ok());
    }

    #[test]
    fn the_list_holds_at_least_3000_passwords_of_8_characters() {
        let words = include_str!("common_passwords.txt").lines().filter(|line| !line.starts_with('#'));
        let (mut count, mut last) = (0, "");
        for word in words {
            assert!(word.chars().count() >= PASSWORD_MIN_CHARS && word == word.to_lowercase(), "{word}");
            assert!(last < word, "{last} before {word}");
            (count, last) = (count + 1, word);
        }
        assert!(count >= 3_000, "{count}");
    }
}
