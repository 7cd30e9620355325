//! How an endpoint has been answering of late, and when a dead one is only probed.

use std::time::Duration;

use jiff::Timestamp;

/// After so many failures in a row an endpoint's deliveries are held back.
pub const HELD_BACK_AFTER: u64 = 50;

/// How often one delivery goes out all the same, to see whether the endpoint is back.
pub const PROBE_EVERY: Duration = Duration::from_secs(30);

/// What the last attempts say about an endpoint. One success makes it [`Health::GOOD`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// How many attempts in a row have failed.
    pub failures: u64,
    /// When the first of them was made.
    pub failing_since: Option<Timestamp>,
    /// Before this nothing is sent, and then one delivery; there only while deliveries are held back.
    pub probe_at: Option<Timestamp>,
}

impl Health {
    /// No failure since the last success.
    pub const GOOD: Self = Self { failures: 0, failing_since: None, probe_at: None };

    /// Whether deliveries are held back, and one is sent now and then as a probe.
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
