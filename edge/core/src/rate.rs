//! Token buckets (`guarantees.md` 3.3). Time is an argument.

use wire::Timestamp;

/// Up to `capacity` tokens, `capacity` of them refilled in `period_ms`.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    capacity: u32,
    period_ms: u64,
    /// Tokens times `period_ms`, so that refills lose nothing to rounding.
    level: u64,
    at: Timestamp,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(capacity: u32, period_ms: u64, now: Timestamp) -> Self {
        Self { capacity, period_ms, level: u64::from(capacity) * period_ms, at: now }
    }

    /// Takes one token, or says how many milliseconds until there is one.
    ///
    /// # Errors
    /// The wait in milliseconds.
    pub fn take(&mut self, now: Timestamp) -> Result<(), u64> {
        self.refill(now);
        if self.level >= self.period_ms {
            self.level -= self.period_ms;
            return Ok(());
        }
        Err((self.period_ms - self.level).div_ceil(u64::from(self.capacity.max(1))).max(1))
    }

    /// Whether nothing was taken lately: the bucket may be forgotten.
    #[must_use]
    pub fn is_full(&mut self, now: Timestamp) -> bool {
        self.refill(now);
        self.level == u64::from(self.capacity) * self.period_ms
    }

    fn refill(&mut self, now: Timestamp) {
        let gained = now.since(self.at).saturating_mul(u64::from(self.capacity));
        self.level = self.level.saturating_add(gained).min(u64::from(self.capacity) * self.period_ms);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_evenly_and_never_overflows() {
        let mut bucket = Bucket::new(100, 60_000, Timestamp(0));
        for _ in 0..100 {
            assert_eq!(bucket.take(Timestamp(0)), Ok(()));
        }
        assert_eq!(bucket.take(Timestamp(0)), Err(600));
        assert_eq!(bucket.take(Timestamp(600)), Ok(()));
        assert!(bucket.is_full(Timestamp(10_000_000)));
        assert_eq!(bucket.take(Timestamp(0)), Ok(()), "a clock that goes back takes nothing away");
    }
}
