//! How long to wait after a failure.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Doubles from `first` to `cap`; each wait is between half of that and all of it, so that the daemons of many nodes do
/// not come back to an API server at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    cap: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, next: first }
    }

    /// The next wait; at least what the server asked for (Retry-After), within reason.
    pub(super) fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let wait = self.next.mul_f64(0.5 + 0.5 * jitter());
        self.next = (self.next * 2).min(self.cap);
        asked.map_or(wait, |asked| wait.max(asked.min(self.cap)))
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Evenly distributed in `0.0..1.0`. A new `RandomState` has new keys: enough randomness for spreading load.
pub(super) fn jitter() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_cap_and_starts_over() {
        let (first, cap) = (Duration::from_millis(100), Duration::from_millis(350));
        let mut backoff = Backoff::new(first, cap);
        for expected in [100, 200, 350, 350] {
            let wait = backoff.wait(None).as_millis();
            assert!((expected / 2..=expected).contains(&wait), "{wait} ms, not {} to {expected}", expected / 2);
        }
        assert_eq!(backoff.wait(Some(Duration::from_secs(9))), cap);
        backoff.reset();
        assert!(backoff.wait(None) <= first);
    }
}
