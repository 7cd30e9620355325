//! Handles that every component gets.

use std::sync::Arc;

use crate::domain::{Clock, RandomSource};
use crate::lifecycle::Lifecycle;
use crate::notifier::Notifier;
use crate::store::{Committed, Store};
use crate::telemetry::Metrics;

/// Handles that every component gets. Clones share everything.
#[derive(Clone)]
pub struct Context {
    /// Everything at rest.
    pub store: Arc<dyn Store>,
    /// In-process notifications.
    pub notifier: Notifier,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Source of randomness.
    pub rng: RandomSource,
    /// Prometheus metrics.
    pub metrics: Metrics,
    /// Lifecycle of the process.
    pub lifecycle: Lifecycle,
}

impl Context {
    /// Announces a commit; see [`announce`].
    pub fn announce(&self, committed: &Committed) {
        announce(committed, &self.notifier, &self.metrics);
    }
}

/// Counts the changes of a commit and wakes all that wait for them. Called once for each commit, before the request that
/// caused it is answered.
pub fn announce(committed: &Committed, notifier: &Notifier, metrics: &Metrics) {
    // Requests that wait for one authentication come first: a user waits behind them.
    let waiting = notifier.has_waiters();
    for event in &committed.events {
        if let Some(name) = event.authentication.as_ref().filter(|_| waiting) {
            notifier.authentication_over(name);
        }
        metrics.event(event.event_type.as_str());
    }
    if committed.events_changed || !committed.events.is_empty() {
        notifier.events_stored();
    }
    if let Some(expiry) = committed.next_expiry {
        notifier.schedule_expiry(expiry);
    }
    if committed.endpoints_changed || !committed.disabled.is_empty() {
        notifier.endpoints_changed();
    }
    if committed.deliveries_due || !committed.recovered.is_empty() {
        notifier.deliveries_due();
    }
    count_deliveries(committed, metrics);
    log_health(committed);
}

fn count_deliveries(committed: &Committed, metrics: &Metrics) {
    let counts = committed.deliveries;
    for (state, count) in [
        ("pending", counts.pending),
        ("succeeded", counts.succeeded),
        ("exhausted", counts.exhausted),
        ("cancelled", counts.cancelled),
    ] {
        if count > 0 {
            metrics.deliveries(state, count);
        }
    }
}

fn log_health(committed: &Committed) {
    for endpoint in &committed.held_back {
        tracing::warn!(%endpoint, "an endpoint keeps failing; its deliveries are held back and single ones are sent as probes");
    }
    for endpoint in &committed.recovered {
        tracing::info!(%endpoint, "an endpoint answers again; its deliveries are no longer held back");
    }
    for endpoint in &committed.disabled {
        tracing::error!(%endpoint, "an endpoint was disabled by a rule; see its disabled_reason");
    }
}
