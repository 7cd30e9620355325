//! Failure state of an endpoint, and the rules for probes.

use std::time::Duration;

use jiff::Timestamp;

/// After so many failures in a row an endpoint's deliveries are held back.
pub const HELD_BACK_AFTER: u64 = 50;

/// Time between two probes of an endpoint that is held back.
pub const PROBE_EVERY: Duration = Duration::from_secs(30);

/// Returns the time before which a last failure is too long ago to belong to the same stretch of failures as one at `now`: the
/// pause between them is longer than half of the time after which an endpoint is disabled. `disable_by` is `now` less that time.
/// An endpoint that is seldom sent to is not disabled because of two failures far apart.
#[must_use]
pub fn stretch_ends(now: Timestamp, disable_by: Timestamp) -> Timestamp {
    let half = now.duration_since(disable_by) / 2;
    now.checked_sub(half).unwrap_or(Timestamp::MIN)
}

/// Failure state by the last attempts. One success makes it [`Health::GOOD`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Number of consecutive failures.
    pub failures: u64,
    /// Time of the first of them.
    pub failing_since: Option<Timestamp>,
    /// Before this nothing is sent, and then one delivery; there only while deliveries are held back.
    pub probe_at: Option<Timestamp>,
}

impl Health {
    /// No failure since the last success.
    pub const GOOD: Self = Self { failures: 0, failing_since: None, probe_at: None };

    /// Returns whether deliveries are held back and single ones are sent as probes.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.probe_at.is_some()
    }

    /// One word for people and programs: `good`, `failing` or `held_back`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.probe_at, self.failures) {
            (Some(_), _) => "held_back",
            (None, 0) => "good",
            (None, _) => "failing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(100, 90, 95)]
    #[case(100, 0, 50)]
    #[case(0, 0, 0)]
    fn a_stretch_ends_with_a_pause_of_half_the_time(#[case] now: i64, #[case] by: i64, #[case] ends: i64) {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(stretch_ends(at(now), at(by)), at(ends));
        assert!(stretch_ends(at(now), Timestamp::MIN) < at(0));
    }
}
