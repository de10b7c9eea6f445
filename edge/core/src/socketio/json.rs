//! A look at JSON before it is parsed: how deep it nests, and whether its escapes are Unicode.

use std::borrow::Cow;

use super::ParseError;

/// Text whose nesting is within bounds.
pub(super) struct Checked<'a> {
    /// The text; lone surrogates, which no Rust string can hold, are replaced.
    pub(super) text: Cow<'a, str>,
    /// Whether there was one.
    pub(super) lone_surrogate: bool,
}

/// Counts brackets outside strings; `max_depth` levels are allowed. Malformed text is left to the parser.
pub(super) fn check(text: &str, max_depth: usize) -> Result<Checked<'_>, ParseError> {
    let bytes = text.as_bytes();
    let (mut depth, mut in_string, mut at) = (0usize, false, 0usize);
    let mut lone: Vec<usize> = Vec::new();
    while let Some(byte) = bytes.get(at) {
        match (in_string, byte) {
            (true, b'\\') => {
                if bytes.get(at + 1) == Some(&b'u') {
                    match unit(bytes, at) {
                        Some(0xd800..=0xdbff) if matches!(unit(bytes, at + 6), Some(0xdc00..=0xdfff)) => at += 12,
                        Some(0xd800..=0xdfff) => {
                            lone.push(at);
                            at += 6;
                        }
                        _ => at += 2,
                    }
                } else {
                    at += 2;
                }
                continue;
            }
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > max_depth {
                    return Err(ParseError);
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    if lone.is_empty() {
        return Ok(Checked { text: Cow::Borrowed(text), lone_surrogate: false });
    }
    let mut fixed = bytes.to_vec();
    for start in lone {
        if let Some(escape) = fixed.get_mut(start..start + 6) {
            escape.copy_from_slice(b"\\ufffd");
        }
    }
    let text = String::from_utf8(fixed).map_err(|_| ParseError)?;
    Ok(Checked { text: Cow::Owned(text), lone_surrogate: true })
}

/// The code unit of the `\uXXXX` at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at.checked_add(6)?)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0u16, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_strings_only() {
        assert!(check(r#"["[[[[[[", {"a": "]\"[["}]"#, 2).is_ok());
        assert!(check("[[[]]]", 2).is_err());
        assert!(check(&format!("{}{}", "[".repeat(32), "]".repeat(32)), 32).is_ok());
        assert!(check(&"[".repeat(10_000), 32).is_err());
        assert!(check("]]]][", 1).is_ok(), "balance is the parser's");
    }

    #[test]
    fn lone_surrogates_are_found_and_pairs_are_not() {
        let pair = check(r#"["\ud83d\ude00"]"#, 32).expect("fine");
        assert!(!pair.lone_surrogate);
        for text in [r#"["\ud800"]"#, r#"["a\udc00b"]"#, r#"["\ud83d\ud83d\ude00"]"#, r#"["\uD83Dx"]"#] {
            let checked = check(text, 32).expect("fine");
            assert!(checked.lone_surrogate, "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(&checked.text).is_ok(), "{text}");
        }
        assert!(!check(r#"["\\ud800"]"#, 32).expect("fine").lone_surrogate, "an escaped backslash");
        assert!(!check(r#"["\ud8"#, 32).expect("fine").lone_surrogate, "cut off: the parser's");
    }
}
