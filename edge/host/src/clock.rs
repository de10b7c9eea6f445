//! The host's time: milliseconds since the epoch that never go back and never jump.
//!
//! Objects measure leases and timeouts with it, so a step of the wall clock must not reach them at once. It runs on
//! the monotonic clock and leans towards the wall clock by at most a quarter of the time that passes.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
struct State {
    at: Instant,
    ms: f64,
}

/// A clock that follows the wall clock smoothly.
#[derive(Debug)]
pub struct Clock {
    state: Mutex<State>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { state: Mutex::new(State { at: Instant::now(), ms: wall_ms() }) }
    }
}

impl Clock {
    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.read(Instant::now(), wall_ms()) as u64
    }

    /// The time since the Unix epoch, finer than milliseconds.
    #[must_use]
    pub fn since_epoch(&self) -> Duration {
        Duration::from_secs_f64(self.read(Instant::now(), wall_ms()) / 1000.0)
    }

    fn read(&self, at: Instant, wall: f64) -> f64 {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let passed = at.saturating_duration_since(state.at).as_secs_f64() * 1000.0;
        let error = wall - (state.ms + passed);
        let lean = passed / 4.0;
        state.ms += passed + error.clamp(-lean, lean);
        state.at = state.at.max(at);
        state.ms
    }
}

fn wall_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_the_wall_clock_arrive_slowly_and_never_backwards() {
        let start = Instant::now();
        let clock = Clock { state: Mutex::new(State { at: start, ms: 1_000_000.0 }) };
        let second = |n: u64| start + Duration::from_secs(n);
        assert_eq!(clock.read(second(1), 1_001_000.0), 1_001_000.0);
        // One hour ahead: at most a quarter more than what passed.
        assert_eq!(clock.read(second(2), 4_602_000.0), 1_002_250.0);
        // Back again, below what was already said: slower, but never back.
        assert_eq!(clock.read(second(3), 1_003_000.0), 1_003_000.0);
        assert_eq!(clock.read(second(4), 700_000.0), 1_003_750.0);
        assert_eq!(clock.read(second(4), 0.0), 1_003_750.0);
    }
}
