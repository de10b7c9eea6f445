//! How many tests passed and failed, read from what the test runners print.

use std::fmt;
use std::ops::AddAssign;

/// Tests that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0 };
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1 };

    /// The count of a runner that has ended: one that failed, or that ran nothing, has at least one failure.
    pub(crate) fn ended(mut self, success: bool) -> Self {
        if (!success || self.passed == 0) && self.failed == 0 {
            self.failed = 1;
        }
        self
    }

    /// Adds what a line of libtest says: `test result: ok. 3 passed; 1 failed; 0 ignored; …`.
    pub(crate) fn libtest(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let Some((_, rest)) = rest.split_once(". ") else { return };
        for part in rest.split("; ") {
            match part.split_once(' ') {
                Some((n, "passed")) => self.passed += n.parse().unwrap_or(0),
                Some((n, "failed")) => self.failed += n.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    /// Adds what a line of Node's summary says: `# pass 3` (TAP) or `ℹ pass 3` (spec). Cancelled tests have failed.
    pub(crate) fn node(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) else { return };
        match rest.split_once(' ') {
            Some(("pass", n)) => self.passed += n.parse().unwrap_or(0),
            Some(("fail" | "cancelled", n)) => self.failed += n.parse().unwrap_or(0),
            _ => {}
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_summaries_add_up() {
        let mut count = Count::default();
        for line in [
            "running 4 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "test says_result: ok",
        ] {
            count.libtest(line);
        }
        assert_eq!(count, Count { passed: 13, failed: 2 });
    }

    #[test]
    fn node_summaries_add_up_in_both_reporters() {
        let mut count = Count::default();
        for line in ["# tests 6", "# pass 4", "# fail 1", "# cancelled 1", "# skipped 0", "    # pass 9", "ℹ pass 5", "ℹ fail 0"] {
            count.node(line);
        }
        assert_eq!(count, Count { passed: 9, failed: 2 });
    }

    #[test]
    fn a_crash_and_an_empty_suite_are_failures() {
        let some = Count { passed: 3, failed: 0 };
        assert_eq!(some.ended(true), some);
        assert_eq!(some.ended(false).failed, 1);
        assert_eq!(Count::default().ended(true).failed, 1);
        assert_eq!(Count { passed: 3, failed: 2 }.ended(false).failed, 2);
    }

    #[test]
    fn the_last_line_has_its_form() {
        assert_eq!(Count { passed: 13, failed: 2 }.to_string(), "13 passed, 2 failed");
    }
}
