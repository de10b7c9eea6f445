//! Strength of signing secrets (guarantees 7): for hosts, before they start.

const FEWEST_BYTES: usize = 32;
const FEWEST_DIFFERENT: usize = 12;
/// Words of documentation: whatever was ever printed in an example is refused by one of them.
const EXAMPLE_WORDS: [&str; 9] =
    ["secret", "changeme", "change-me", "password", "example", "default", "your_", "your-", "<"];

/// Whether a secret may sign in production. Development only warns.
///
/// # Errors
/// A sentence that says what is wrong, without the secret.
pub fn check_secret(secret: &str) -> Result<(), &'static str> {
    if secret.is_empty() {
        return Err("the secret is empty");
    }
    if secret.len() < FEWEST_BYTES {
        return Err("the secret is shorter than 32 bytes");
    }
    let mut seen = [false; 256];
    for byte in secret.bytes() {
        seen[usize::from(byte)] = true;
    }
    if seen.iter().filter(|seen| **seen).count() < FEWEST_DIFFERENT {
        return Err("the secret has fewer than 12 different bytes");
    }
    let lower = secret.to_ascii_lowercase();
    if EXAMPLE_WORDS.iter().any(|word| lower.contains(word)) {
        return Err("the secret contains a word of documentation, such as `secret`, `changeme` or `example`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_secret;

    #[test]
    fn weak_secrets_are_refused() {
        for weak in [
            "",
            "0123456789abcdefghijklmnopqrstu",
            "abababababababababababababababababab",
            "01234567890123456789012345678901234567890",
            "my-Super-SECRET-key-0123456789abcdefgh",
            "ChangeMe-0123456789abcdefghijklmnop",
            "change-me-0123456789abcdefghijklmnop",
            "your_key_0123456789abcdefghijklmnop",
            "<0123456789abcdefghijklmnopqrstuv>",
            "this-is-the-default-0123456789abcdef",
            "examples/0123456789abcdefghijklmnop",
        ] {
            assert!(check_secret(weak).is_err(), "{weak}");
        }
        let strong: String = ('0'..='9').chain('A'..='Z').collect();
        assert!(check_secret(&strong).is_ok());
    }
}
