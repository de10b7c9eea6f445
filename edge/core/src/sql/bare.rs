//! Migrations as they are carried: without what only readers of the file need.

/// Length of [`strip`]'s answer.
#[must_use]
pub const fn bare_len(script: &str) -> usize {
    walk(script.as_bytes(), &mut [])
}

/// The script without comments from `--` on and without indentation. `--` inside of a text is taken for one.
#[must_use]
pub const fn strip<const N: usize>(script: &str) -> [u8; N] {
    let mut out = [0; N];
    walk(script.as_bytes(), &mut out);
    out
}

/// Writes what stays as far as there is room; answers how much that is.
const fn walk(script: &[u8], out: &mut [u8]) -> usize {
    let (mut at, mut len, mut fresh) = (0, 0, true);
    while at < script.len() {
        let byte = script[at];
        if byte == b'-' && at + 1 < script.len() && script[at + 1] == b'-' {
            while at < script.len() && script[at] != b'\n' {
                at += 1;
            }
            continue;
        }
        if !(fresh && (byte == b' ' || byte == b'\n')) {
            if len < out.len() {
                out[len] = byte;
            }
            len += 1;
        }
        fresh = byte == b'\n' || (fresh && byte == b' ');
        at += 1;
    }
    len
}

/// A file of migrations, by its path from the file that names it.
#[macro_export]
macro_rules! migration {
    ($path:expr) => {{
        const FILE: &str = include_str!($path);
        const BARE: [u8; $crate::sql::bare::bare_len(FILE)] = $crate::sql::bare::strip(FILE);
        const TEXT: &str = match core::str::from_utf8(&BARE) {
            Ok(text) => text,
            Err(_) => FILE,
        };
        TEXT
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_indentation_go_and_nothing_else() {
        const FILE: &str = "-- Head.\n\nCREATE TABLE t (\n    a TEXT,  -- first\n    b - c\n) STRICT;\n-- end";
        let bare: [u8; bare_len(FILE)] = strip(FILE);
        assert_eq!(std::str::from_utf8(&bare).unwrap(), "CREATE TABLE t (\na TEXT,  \nb - c\n) STRICT;\n");
    }
}
