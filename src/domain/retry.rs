//! Retry schedule, as a pure function.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// Next step after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Another attempt at this time.
    At(Timestamp),
    /// No further attempt.
    Never,
}

/// Waits after attempt 1, 2, ... One attempt follows the last wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    schedule: Vec<Duration>,
}

/// Maximum jitter as a part of a wait. Jitter makes waits longer, never shorter.
const MAX_JITTER: f64 = 0.2;

/// Maximum wait that a receiver can ask for by `Retry-After`.
const MAX_HINT: Duration = Duration::from_hours(24);

/// Reads a `Retry-After` (RFC 9110): seconds or a date, zero for a date in the past; `None` if it cannot be read.
#[must_use]
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let hint = text.trim();
    if !hint.is_empty() && hint.bytes().all(|b| b.is_ascii_digit()) {
        // A number beyond `u64`: longer than any schedule.
        return Some(Duration::from_secs(hint.parse::<u32>().unwrap_or(u32::MAX).into()));
    }
    let then = httpdate::parse_http_date(hint).ok()?;
    Some(then.duration_since(SystemTime::from(now)).unwrap_or_default())
}

impl RetryPolicy {
    /// Returns a policy with these waits.
    #[must_use]
    pub fn new(schedule: Vec<Duration>) -> Self {
        Self { schedule }
    }

    /// Returns the next step after attempt number `attempts` (from 1) failed at `now`.
    ///
    /// `hint` is the receiver's `Retry-After`; the longer of both waits counts. `rng` in `0.0..1.0` decides the
    /// jitter.
    #[must_use]
    pub fn next(&self, attempts: u32, now: Timestamp, hint: Option<Duration>, rng: f64) -> Retry {
        let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(wait) = self.schedule.get(index) else { return Retry::Never };
        let wait = hint.map_or(*wait, |hint| hint.min(MAX_HINT).max(*wait));
        let wait = wait + wait.mul_f64(MAX_JITTER * rng.clamp(0.0, 1.0));
        Retry::At(now.checked_add(wait).unwrap_or(Timestamp::MAX))
    }

    /// Minimum time for which a delivery is tried: the sum of all waits, without jitter.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        self.schedule.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(seconds: &[u64]) -> RetryPolicy {
        RetryPolicy::new(seconds.iter().copied().map(Duration::from_secs).collect())
    }

    fn wait(retry: Retry) -> Duration {
        match retry {
            Retry::At(then) => then.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs(),
            Retry::Never => panic!("no attempt follows"),
        }
    }

    #[rstest::rstest]
    #[case(1, None, 0.0, 1_000)]
    #[case(1, None, 1.0, 1_200)]
    #[case(2, None, 0.5, 5_500)]
    #[case(1, Some(60), 0.0, 60_000)]
    #[case(2, Some(1), 0.0, 5_000)]
    #[case(1, Some(100 * 3600), 0.0, 86_400_000)]
    fn waits(#[case] attempts: u32, #[case] hint: Option<u64>, #[case] rng: f64, #[case] millis: u64) {
        let next = policy(&[1, 5]).next(attempts, Timestamp::UNIX_EPOCH, hint.map(Duration::from_secs), rng);
        assert_eq!(wait(next), Duration::from_millis(millis));
    }

    #[rstest::rstest]
    #[case(" 120 ", Some(120))]
    #[case("99999999999", Some(u64::from(u32::MAX)))]
    #[case("Thu, 01 Jan 1970 00:01:00 GMT", Some(60))]
    #[case("Wed, 31 Dec 1969 23:59:59 GMT", None)]
    #[case("-1", None)]
    #[case("", None)]
    #[case("soon", None)]
    fn hints(#[case] text: &str, #[case] seconds: Option<u64>) {
        let hint = retry_after(text, Timestamp::UNIX_EPOCH);
        assert_eq!(hint, seconds.map(Duration::from_secs));
    }

    #[test]
    fn a_date_that_has_passed_is_no_time_at_all() {
        let now = Timestamp::from_second(120).unwrap();
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now), Some(Duration::ZERO));
    }

    #[test]
    fn the_attempt_after_the_last_wait_is_the_last() {
        assert_eq!(policy(&[1, 5]).next(3, Timestamp::UNIX_EPOCH, None, 0.0), Retry::Never);
        assert_eq!(policy(&[]).next(1, Timestamp::UNIX_EPOCH, None, 0.0), Retry::Never);
    }

    proptest! {
        #[test]
        fn never_early_and_never_more_than_a_fifth_late(
            schedule in prop::collection::vec(0_u64..100_000, 1..20), rng in 0.0..1.0_f64, attempt in 0_usize..20,
        ) {
            prop_assume!(attempt < schedule.len());
            let planned = Duration::from_secs(schedule[attempt]);
            let attempts = u32::try_from(attempt).unwrap() + 1;
            let waited = wait(policy(&schedule).next(attempts, Timestamp::UNIX_EPOCH, None, rng));
            prop_assert!(waited >= planned && waited <= planned.mul_f64(1.2) + Duration::from_nanos(2));
        }

        /// Walked to its end, a schedule lasts as long as its horizon says, and at most a fifth longer.
        #[test]
        fn the_horizon_is_what_it_comes_to(
            schedule in prop::collection::vec(0_u64..100_000, 0..20), rng in 0.0..1.0_f64,
        ) {
            let policy = policy(&schedule);
            let mut waited = Duration::ZERO;
            for attempts in 1.. {
                match policy.next(attempts, Timestamp::UNIX_EPOCH, None, rng) {
                    Retry::At(then) => waited += wait(Retry::At(then)),
                    Retry::Never => {
                        prop_assert_eq!(usize::try_from(attempts).unwrap(), schedule.len() + 1);
                        break;
                    }
                }
            }
            let horizon = policy.horizon();
            prop_assert!(waited >= horizon && waited <= horizon.mul_f64(1.2) + Duration::from_micros(1));
        }

        /// A longer schedule gives longer waits, and a hint never makes one shorter.
        #[test]
        fn longer_waits_follow_from_longer_ones(
            mut schedule in prop::collection::vec(0_u64..100_000, 2..20), rng in 0.0..1.0_f64, hint in 0_u64..200_000,
        ) {
            schedule.sort_unstable();
            let policy = policy(&schedule);
            let next = |attempts, hint: Option<u64>| {
                wait(policy.next(attempts, Timestamp::UNIX_EPOCH, hint.map(Duration::from_secs), rng))
            };
            let count = u32::try_from(schedule.len()).unwrap();
            for attempts in 1..count {
                prop_assert!(next(attempts, None) <= next(attempts + 1, None));
            }
            for attempts in 1..=count {
                let hinted = next(attempts, Some(hint));
                prop_assert!(hinted >= next(attempts, None));
                prop_assert!(hinted >= Duration::from_secs(hint).min(MAX_HINT));
                prop_assert!(hinted <= MAX_HINT.max(next(attempts, None)).mul_f64(1.2) + Duration::from_nanos(2));
            }
        }
    }
}
