//! Rate limit of log lines that an outsider can cause.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Maximum number of lines a second.
const LINES_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("twenty is not zero");

/// Limits log lines to a number a second, and counts the suppressed ones.
#[derive(Debug, Clone)]
pub struct LogLimiter(Arc<State>);

#[derive(Debug)]
struct State {
    limiter: DefaultDirectRateLimiter,
    suppressed: AtomicU64,
}

impl LogLimiter {
    /// Returns a limiter.
    #[must_use]
    pub fn new() -> Self {
        let limiter = RateLimiter::direct(Quota::per_second(LINES_PER_SECOND));
        Self(Arc::new(State { limiter, suppressed: AtomicU64::new(0) }))
    }

    /// Returns the number of lines that were suppressed since the last one, if a line may be logged now.
    #[must_use]
    pub fn allow(&self) -> Option<u64> {
        if self.0.limiter.check().is_ok() {
            Some(self.0.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.0.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

impl Default for LogLimiter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_suppressed() {
        let limiter = LogLimiter::new();
        let allowed = (0..1_000).filter(|_| limiter.allow().is_some()).count();
        assert!((20..200).contains(&allowed), "{allowed}");
        assert!(limiter.0.suppressed.load(Ordering::Relaxed) > 0);
    }
}
