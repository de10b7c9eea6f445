//! Rates of requests that no object counts (guarantees 3.3).

use std::net::IpAddr;

use super::Call;
use crate::auth::refresh::keyed;
use crate::error::Failure;
use crate::limits::Rate;
use crate::platform::Platform;
use crate::sql::{Value, people};

/// A bucket and its rate.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) key: String,
    pub(super) rate: Rate,
}

impl<P: Platform> Call<'_, P> {
    /// A bucket of `purpose` for `subject`, which is stored as a keyed hash only.
    pub(super) fn bucket(&self, purpose: &str, subject: &str, rate: Rate) -> Bucket {
        let hash = keyed(&self.platform.settings().refresh_secret, purpose, subject.as_bytes());
        Bucket { key: format!("{purpose}:{hash}"), rate }
    }

    /// Takes a token of each bucket, in order, until one has none.
    pub(super) async fn charge(&self, buckets: &[Bucket]) -> Result<(), Failure> {
        if !self.platform.settings().rate_limits {
            return Ok(());
        }
        let mut statements = Vec::with_capacity(buckets.len() + 1);
        let mut before = None;
        for bucket in buckets {
            statements.push(people::take(&bucket.key, bucket.rate, before, self.now));
            before = Some(bucket.key.as_str());
        }
        statements.push(people::sweep_rates(self.now));
        for (bucket, rows) in buckets.iter().zip(self.write(statements).await?) {
            if let Some([Value::Integer(0), Value::Real(tokens), ..]) = rows.first().map(Vec::as_slice) {
                return Err(refused(bucket.rate, *tokens));
            }
        }
        Ok(())
    }

    /// The address as it is counted: one customer of an IPv6 provider has at least 2^64 of them.
    pub(super) fn counted_address(&self) -> String {
        match self.request.address.parse() {
            Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(mapped) => mapped.to_string(),
                None => address.segments().iter().take(4).map(|part| format!("{part:x}:")).collect(),
            },
            Ok(IpAddr::V4(address)) => address.to_string(),
            Err(_) => self.request.address.clone(),
        }
    }
}

/// `RATE_LIMITED` until a bucket with `tokens` left has a whole one.
pub(super) fn refused(rate: Rate, tokens: f64) -> Failure {
    let missing = (1.0 - tokens).clamp(0.0, 1.0);
    let ms = missing * rate.window_ms as f64 / f64::from(rate.burst.max(1));
    Failure::rate_limited(ms.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_the_time_until_the_next_token() {
        let rate = Rate { burst: 5, window_ms: 900_000 };
        assert_eq!(refused(rate, 0.0).retry_after, Some(180));
        assert_eq!(refused(rate, 0.5).retry_after, Some(90));
        assert_eq!(refused(rate, 0.999_999).retry_after, Some(1));
    }
}
