//! Rate limits of attempts, for endpoints that set one.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as Ticking, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::domain::{Clock, EndpointId, RateLimit};

/// Granularity of the limits: a rate above one attempt in this time admits several at once, because timers are no finer.
const GRAIN: Duration = Duration::from_millis(5);

type Limiter = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;

/// Rate limiters of the endpoints that have a limit. Attempts are spread evenly, also after an outage.
pub(super) struct RateLimiters {
    clock: Arc<dyn Clock>,
    by_endpoint: HashMap<EndpointId, (RateLimit, Limiter)>,
}

/// Adapter of `Clock` for the limiter.
struct Ticks(Arc<dyn Clock>);

impl Ticking for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.ticks()
    }
}

impl RateLimiters {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, by_endpoint: HashMap::new() }
    }

    /// Takes up to `wanted` attempts, which count as begun. Returns the time until the next one if none is allowed
    /// now.
    pub(super) fn take(
        &mut self,
        endpoint: &EndpointId,
        rate: Option<RateLimit>,
        wanted: usize,
    ) -> Result<usize, Duration> {
        let Some(rate) = rate else {
            self.by_endpoint.remove(endpoint);
            return Ok(wanted);
        };
        let limiter = self.limiter(endpoint, rate);
        let mut taken = 0;
        while taken < wanted {
            match limiter.check() {
                Ok(()) => taken += 1,
                Err(until) if taken == 0 => {
                    let now = limiter.clock().now();
                    return Err(until.earliest_possible().duration_since(now).into());
                }
                Err(_) => break,
            }
        }
        Ok(taken)
    }

    fn limiter(&mut self, endpoint: &EndpointId, rate: RateLimit) -> &Limiter {
        let known = self.by_endpoint.get(endpoint).is_some_and(|(known, _)| *known == rate);
        if !known {
            let limiter = RateLimiter::direct_with_clock(quota(rate), Ticks(Arc::clone(&self.clock)));
            self.by_endpoint.insert(endpoint.clone(), (rate, limiter));
        }
        &self.by_endpoint[endpoint].1
    }
}

fn quota(rate: RateLimit) -> Quota {
    let each = rate.period() / rate.count().get();
    let at_once = GRAIN.as_nanos() / each.as_nanos().max(1);
    let at_once = u32::try_from(at_once).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let quota =
        Quota::with_period(each).expect("a rate is at most 10,000 a second, so there is time between two");
    quota.allow_burst(at_once)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{ManualClock, RandomSource};

    /// Number of attempts that begin in a time with constant demand.
    fn begun(rate: &str, clock: &ManualClock, rate_limiters: &mut RateLimiters, during: Duration) -> usize {
        let endpoint = EndpointId::new(Timestamp::UNIX_EPOCH, &RandomSource::seeded(1));
        let mut begun = 0;
        let mut passed = Duration::ZERO;
        loop {
            match rate_limiters.take(&endpoint, Some(rate.parse().unwrap()), 1000) {
                Ok(count) => begun += count,
                Err(wait) => {
                    assert!(!wait.is_zero());
                    passed += wait.max(Duration::from_millis(1));
                    if passed >= during {
                        return begun;
                    }
                    clock.advance(wait.max(Duration::from_millis(1)));
                }
            }
        }
    }

    #[rstest::rstest]
    #[case("50/s", 1, 50)]
    #[case("1000/m", 60, 1000)]
    #[case("1/s", 10, 10)]
    #[case("10/h", 3600, 10)]
    #[case("10000/s", 1, 10_000)]
    fn a_rate_is_kept(#[case] rate: &str, #[case] seconds: u64, #[case] expected: usize) {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let mut rate_limiters = RateLimiters::new(Arc::new(clock.clone()));
        let count = begun(rate, &clock, &mut rate_limiters, Duration::from_secs(seconds));
        assert!(count <= expected + expected / 100 + 1, "{count} instead of {expected}");
        assert!(count >= expected - expected / 10, "{count} instead of {expected}");
    }

    #[test]
    fn attempts_are_spread_after_a_pause() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let mut rate_limiters = RateLimiters::new(Arc::new(clock.clone()));
        begun("50/s", &clock, &mut rate_limiters, Duration::from_secs(1));
        clock.advance(Duration::from_hours(1));
        let endpoint = EndpointId::new(Timestamp::UNIX_EPOCH, &RandomSource::seeded(1));
        assert_eq!(rate_limiters.take(&endpoint, Some("50/s".parse().unwrap()), 1000), Ok(1));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let mut rate_limiters = RateLimiters::new(Arc::new(clock.clone()));
        let endpoint = EndpointId::new(Timestamp::UNIX_EPOCH, &RandomSource::seeded(1));
        assert_eq!(rate_limiters.take(&endpoint, None, 1000), Ok(1000));
    }
}
