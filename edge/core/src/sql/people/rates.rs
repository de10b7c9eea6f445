//! Token buckets in the table `rate_limits`: they hold on every host, whatever instance answers.

use super::{Rate, Statement, Timestamp, Value, limits};

/// Takes one token of `key`, provided that `after` (another bucket, taken earlier in the batch) had one. Row, unless `after`
/// refused: `allowed, tokens`.
#[must_use]
pub fn take(key: &str, rate: Rate, after: Option<&str>, now: Timestamp) -> Statement {
    Statement::new(
        "INSERT INTO rate_limits (key, tokens, at, allowed) \
         SELECT ?1, ?2-1, ?4, 1 WHERE ?5 IS NULL OR (SELECT allowed FROM rate_limits WHERE key=?5)=1 \
         ON CONFLICT (key) DO UPDATE SET allowed=(min(?2, tokens+max(?4-at,0)*?3)>=1), \
         tokens=min(?2, tokens+max(?4-at,0)*?3)-(min(?2, tokens+max(?4-at,0)*?3)>=1), at=max(at,?4) \
         RETURNING allowed, tokens",
        vec![key.into(), burst(rate), per_ms(rate), now.into(), after.into()],
    )
}

/// Returns a token that was taken for something that turned out to be right.
#[must_use]
pub fn give_back(key: &str, rate: Rate) -> Statement {
    Statement::new("UPDATE rate_limits SET tokens=min(?2, tokens+1) WHERE key=?1", vec![key.into(), burst(rate)])
}

/// Forgets some buckets that are full again.
#[must_use]
pub fn sweep_rates(now: Timestamp) -> Statement {
    let before = Timestamp(now.0.saturating_sub(limits::RATE_FORGET_MS));
    Statement::new(
        "DELETE FROM rate_limits WHERE key IN (SELECT key FROM rate_limits WHERE at<?1 LIMIT ?2)",
        vec![before.into(), limits::SWEEP_ROWS.into()],
    )
}

/// Writes one row, unless that succeeded within [`limits::HEALTH_PROBE_MS`]: fails where nothing can be stored.
#[must_use]
pub fn probe(now: Timestamp) -> Statement {
    let before = Timestamp(now.0.saturating_sub(limits::HEALTH_PROBE_MS));
    Statement::new(
        "INSERT INTO rate_limits (key, tokens, at, allowed) SELECT 'health', 0, ?1, 1 WHERE NOT EXISTS \
         (SELECT 1 FROM rate_limits WHERE key='health' AND at BETWEEN ?2 AND ?1) ON CONFLICT (key) DO UPDATE SET at=?1",
        vec![now.into(), before.into()],
    )
}

fn burst(rate: Rate) -> Value {
    Value::Real(f64::from(rate.burst))
}

pub(super) fn per_ms(rate: Rate) -> Value {
    Value::Real(f64::from(rate.burst) / rate.window_ms as f64)
}
