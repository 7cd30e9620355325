//! One attempt, from its lease to its result.

use std::sync::Arc;

use super::driver::Driver;
use super::endpoint_cache::CachedEndpoint;
use super::health::AttemptOutcome;
use crate::domain::{AttemptReport, Endpoint, Lease, NewEvent, Retry, RetryPolicy, Settlement, Verdict};
use crate::fast_path::Permit;
use crate::telemetry::millis;

/// Status of a receiver that wants no further deliveries.
const GONE: u16 = 410;

/// Returns whether a permit and a lease for one version of an endpoint are valid for another.
fn has_same_limits(one: &Endpoint, other: &Endpoint) -> bool {
    let limits = |endpoint: &Endpoint| {
        let sending = &endpoint.settings.sending;
        (sending.max_in_flight, sending.rate_limit, sending.timeout, endpoint.health.is_held_back())
    };
    limits(one) == limits(other)
}

impl Driver {
    pub(super) async fn attempt(self, lease: Lease, known: CachedEndpoint, permit: Permit) {
        let Some(endpoint) = self.in_force(known).await else {
            return self.release(lease).await;
        };
        let at = self.context.clock.now();
        if at >= lease.expires_at {
            // Another worker may have the lease by now; the result would be ignored.
            return self.release(lease).await;
        }
        let sending = self.parts.sender.send(&endpoint, &lease, at);
        let Some(report) = self.context.lifecycle.hard().run_until_cancelled(sending).await else {
            return self.release(lease).await;
        };
        drop(permit);
        let verdict = self.verdict(&lease, &endpoint, &report);
        self.note(&lease, &endpoint, &report, verdict);
        let at = self.context.clock.now();
        let event = match verdict {
            Verdict::Exhausted => NewEvent::exhausted(&lease, &endpoint, &report, at, &self.context.rng),
            _ => None,
        };
        let settlement = Settlement {
            delivery: lease.delivery,
            token: lease.token,
            verdict,
            at,
            report: Some(report),
            event,
        };
        self.end(AttemptOutcome { settlement, endpoint: Some(endpoint) }).await;
    }

    /// Returns the present version of the endpoint, however long the attempt has waited. `None` when the lease must be released: the
    /// endpoint is disabled or removed, or its limits have changed.
    async fn in_force(&self, known: CachedEndpoint) -> Option<Arc<Endpoint>> {
        let CachedEndpoint { mut endpoint, mut changes } = known;
        loop {
            let announced = self.context.notifier.endpoint_changes();
            if announced == changes {
                return Some(endpoint);
            }
            let read = self.context.store.endpoints_named(std::slice::from_ref(&endpoint.id)).await.ok()?;
            let now = read.into_iter().next().filter(|now| now.enabled && has_same_limits(now, &endpoint))?;
            (endpoint, changes) = (Arc::new(now), announced);
        }
    }

    /// Releases a lease without an attempt: the delivery is due at once.
    pub(super) async fn release(&self, lease: Lease) {
        let at = self.context.clock.now();
        let verdict = Verdict::Released;
        let settlement = Settlement {
            delivery: lease.delivery,
            token: lease.token,
            verdict,
            at,
            report: None,
            event: None,
        };
        self.end(AttemptOutcome { settlement, endpoint: None }).await;
    }

    async fn end(&self, ended: AttemptOutcome) {
        // The result writer outlives its senders; if it is gone all the same, the lease expires.
        let _ = self.results.send(ended).await;
    }

    fn verdict(&self, lease: &Lease, endpoint: &Endpoint, report: &AttemptReport) -> Verdict {
        if report.accepted() {
            return Verdict::Succeeded;
        }
        let own = endpoint.settings.sending.schedule.as_ref().map(|own| RetryPolicy::new(own.waits()));
        let policy = own.as_ref().unwrap_or(&self.parts.policy);
        let attempts = lease.attempt_count.saturating_sub(lease.attempts_before).saturating_add(1);
        let now = self.context.clock.now();
        let rng = self.context.rng.fraction();
        match policy.next(attempts, now, report.retry_after, rng) {
            Retry::At(then) if report.status == Some(GONE) => Verdict::Gone(then),
            Retry::Never if report.status == Some(GONE) => Verdict::Gone(now),
            Retry::At(then) => Verdict::RetryAt(then),
            Retry::Never => Verdict::Exhausted,
        }
    }

    fn note(&self, lease: &Lease, endpoint: &Endpoint, report: &AttemptReport, verdict: Verdict) {
        self.context.metrics.attempt(report.outcome(), report.elapsed);
        let delivery = lease.delivery;
        let event = &lease.event.id;
        let endpoint = &endpoint.settings.name;
        let attempt = lease.attempt_count + 1;
        let outcome = report.outcome();
        let status = report.status;
        let elapsed_ms = millis(report.elapsed);
        let error = report.error.map(|_| report.response.as_str());
        match verdict {
            Verdict::RetryAt(then) => tracing::warn!(
                %delivery, %event, %endpoint, attempt, outcome, status, error, elapsed_ms, next_attempt_at = %then,
                "attempt failed; trying again later"
            ),
            Verdict::Gone(_) => tracing::warn!(
                %delivery, %event, %endpoint, attempt, outcome, status, elapsed_ms,
                "the receiver answered 410 Gone; its endpoint is disabled and the delivery waits"
            ),
            Verdict::Exhausted => tracing::error!(
                %delivery, %event, %endpoint, attempt, outcome, status, error, elapsed_ms,
                "the last attempt failed; the delivery is exhausted"
            ),
            Verdict::Succeeded => tracing::info!(
                %delivery, %event, %endpoint, attempt, outcome, status, elapsed_ms, "delivery accepted"
            ),
            // An attempt that was not completed says nothing about the receiver.
            Verdict::Released => {}
        }
    }
}
