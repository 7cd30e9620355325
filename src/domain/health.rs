//! Failure state of an endpoint: a state machine that the outcomes of attempts drive.

use std::time::Duration;

use jiff::Timestamp;

use super::{EndpointId, HumanDuration};

/// Number of consecutive failures after which an endpoint's deliveries are held back.
pub const HELD_BACK_AFTER: u64 = 50;

/// Time between two probes of an endpoint that is held back.
pub const PROBE_EVERY: Duration = Duration::from_secs(30);

/// Failure state by the last attempts. One success makes it [`Health::GOOD`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Number of consecutive failures.
    pub failures: u64,
    /// Time of the first failure of the present stretch of failures.
    pub failing_since: Option<Timestamp>,
    /// Time of the last failure.
    pub last_failure_at: Option<Timestamp>,
    /// Time of the next probe, while deliveries are held back. Nothing is sent before it, and one delivery then.
    pub probe_at: Option<Timestamp>,
}

/// Attempts of one batch at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointOutcome {
    /// Endpoint.
    pub endpoint: EndpointId,
    /// True if an attempt succeeded.
    pub succeeded: bool,
    /// Number of failures after the last success.
    pub failures: u64,
    /// True if the receiver answered 410 Gone.
    pub gone: bool,
}

impl EndpointOutcome {
    /// Outcome without an attempt.
    #[must_use]
    pub fn none(endpoint: EndpointId) -> Self {
        Self { endpoint, succeeded: false, failures: 0, gone: false }
    }

    /// Adds the later outcome of the same endpoint.
    pub fn add(&mut self, later: &Self) {
        self.failures = if later.succeeded { later.failures } else { self.failures + later.failures };
        self.succeeded |= later.succeeded;
        self.gone |= later.gone;
    }
}

/// Rules about endpoints that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthRules {
    /// Duration of a stretch of failures after which the endpoint is disabled.
    pub disable_after: Duration,
}

/// Change of an endpoint's state that its operator is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthTransition {
    /// Deliveries are held back from now on, and single ones are sent as probes.
    HeldBack,
    /// A probe succeeded: deliveries are no longer held back.
    Recovered {
        /// State before the success.
        before: Health,
    },
    /// A rule disables the endpoint.
    Disabled {
        /// Reason, for people.
        reason: String,
    },
}

impl Health {
    /// No failure since the last success.
    pub const GOOD: Self = Self { failures: 0, failing_since: None, last_failure_at: None, probe_at: None };

    /// Returns the state after the outcomes of a batch, with what has changed, in order. The caller holds the
    /// endpoint's row and writes the whole state.
    ///
    /// Failures belong to one stretch while no pause between two of them is longer than half of
    /// [`disable_after`](HealthRules::disable_after): an endpoint that is seldom sent to is not disabled because of two
    /// failures far apart.
    #[must_use]
    pub fn record(
        self,
        outcome: &EndpointOutcome,
        now: Timestamp,
        rules: HealthRules,
    ) -> (Self, Vec<HealthTransition>) {
        let mut transitions = Vec::new();
        let mut health = self;
        if outcome.succeeded {
            if self.is_held_back() {
                transitions.push(HealthTransition::Recovered { before: self });
            }
            health = Self::GOOD;
        }
        if outcome.failures > 0 {
            let held_back = health.is_held_back();
            health = health.fail(outcome.failures, now, rules);
            if health.is_held_back() && !held_back {
                transitions.push(HealthTransition::HeldBack);
            }
        }
        let reason = if outcome.gone {
            Some("its receiver answered 410 Gone".to_owned())
        } else {
            (outcome.failures > 0).then(|| health.disable_reason(now, rules)).flatten()
        };
        transitions.extend(reason.map(|reason| HealthTransition::Disabled { reason }));
        (health, transitions)
    }

    fn fail(self, count: u64, now: Timestamp, rules: HealthRules) -> Self {
        let failures = self.failures.saturating_add(count);
        let pause = self.last_failure_at.map_or(Duration::ZERO, |last| elapsed(last, now));
        let same_stretch = pause <= rules.disable_after / 2;
        let probe_at = now.checked_add(PROBE_EVERY).unwrap_or(Timestamp::MAX);
        Self {
            failures,
            failing_since: self.failing_since.filter(|_| same_stretch).or(Some(now)),
            last_failure_at: Some(now),
            probe_at: self.probe_at.or((failures >= HELD_BACK_AFTER).then_some(probe_at)),
        }
    }

    fn disable_reason(self, now: Timestamp, rules: HealthRules) -> Option<String> {
        let long_enough = elapsed(self.failing_since?, now) >= rules.disable_after;
        let days = HumanDuration(rules.disable_after);
        long_enough.then(|| format!("nothing but failures for {days} (delivery.disable_after)"))
    }

    /// Returns whether deliveries are held back and single ones are sent as probes.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.probe_at.is_some()
    }

    /// Name of the state: `good`, `failing` or `held_back`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.probe_at, self.failures) {
            (Some(_), _) => "held_back",
            (None, 0) => "good",
            (None, _) => "failing",
        }
    }
}

/// Time from `then` to `now`; zero when the clock was put back meanwhile.
fn elapsed(then: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(then).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RandomSource;

    const RULES: HealthRules = HealthRules { disable_after: Duration::from_secs(100) };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn outcome(succeeded: bool, failures: u64, gone: bool) -> EndpointOutcome {
        let endpoint = EndpointId::new(Timestamp::UNIX_EPOCH, &RandomSource::seeded(1));
        EndpointOutcome { endpoint, succeeded, failures, gone }
    }

    fn failing(failures: u64, since: i64, last: i64) -> Health {
        Health { failures, failing_since: Some(at(since)), last_failure_at: Some(at(last)), probe_at: None }
    }

    fn disabled(transitions: &[HealthTransition]) -> bool {
        transitions.iter().any(|transition| matches!(transition, HealthTransition::Disabled { .. }))
    }

    #[test]
    fn a_success_makes_it_good() {
        assert_eq!(failing(49, 0, 9).record(&outcome(true, 0, false), at(10), RULES), (Health::GOOD, vec![]));
    }

    #[test]
    fn failures_after_a_success_begin_a_new_stretch() {
        let (health, transitions) = failing(49, 0, 9).record(&outcome(true, 2, false), at(10), RULES);
        assert_eq!(health, failing(2, 10, 10));
        assert_eq!(transitions, []);
    }

    #[rstest::rstest]
    #[case(48, 1, false)]
    #[case(49, 1, true)]
    #[case(0, 200, true)]
    fn the_fiftieth_failure_holds_deliveries_back(
        #[case] before: u64,
        #[case] more: u64,
        #[case] held: bool,
    ) {
        let (health, transitions) = failing(before, 0, 9).record(&outcome(false, more, false), at(10), RULES);
        assert_eq!(health.probe_at, held.then(|| at(40)));
        assert_eq!(transitions.contains(&HealthTransition::HeldBack), held);
    }

    #[test]
    fn a_probe_that_fails_keeps_the_time_of_the_next() {
        let before = Health { probe_at: Some(at(40)), ..failing(60, 0, 9) };
        let (health, transitions) = before.record(&outcome(false, 1, false), at(20), RULES);
        assert_eq!(health.probe_at, Some(at(40)));
        assert_eq!(transitions, []);
    }

    #[test]
    fn a_probe_that_succeeds_ends_the_hold() {
        let before = Health { probe_at: Some(at(40)), ..failing(60, 0, 9) };
        let (health, transitions) = before.record(&outcome(true, 0, false), at(40), RULES);
        assert_eq!(health, Health::GOOD);
        assert_eq!(transitions, [HealthTransition::Recovered { before }]);
    }

    /// A stretch ends with a pause of more than half of `disable_after`, 100 s.
    #[rstest::rstest]
    #[case(50, 100, true)]
    #[case(49, 100, false)]
    #[case(99, 99, false)]
    #[case(60, 90, false)]
    fn a_long_stretch_of_failures_disables(#[case] last: i64, #[case] now: i64, #[case] ends: bool) {
        let (health, transitions) = failing(3, 0, last).record(&outcome(false, 1, false), at(now), RULES);
        assert_eq!(disabled(&transitions), ends);
        assert_eq!(health.failing_since, Some(at(if now - last > 50 { now } else { 0 })));
    }

    #[test]
    fn a_clock_that_was_put_back_disables_nothing() {
        let (_, transitions) = failing(3, 500, 600).record(&outcome(false, 1, false), at(10), RULES);
        assert!(!disabled(&transitions));
    }

    #[rstest::rstest]
    #[case(outcome(false, 1, true))]
    #[case(outcome(true, 0, true))]
    fn gone_disables_at_once(#[case] outcome: EndpointOutcome) {
        let (_, transitions) = Health::GOOD.record(&outcome, at(10), RULES);
        assert!(disabled(&transitions));
    }
}
