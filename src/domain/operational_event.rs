//! Events of remgate itself, for endpoints that name their types.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    AttemptReport, AuthenticationName, Endpoint, EventId, EventType, Health, Lease, NewEvent, RandomSource,
    Trust, iso_millis,
};

impl NewEvent {
    /// Event of remgate itself, without facts. `at` is the time of what it reports.
    #[must_use]
    pub fn operational(event_type: EventType, at: Timestamp, rng: &RandomSource) -> Self {
        Self {
            id: EventId::new(at, rng),
            event_type,
            service: None,
            uaid: None,
            trust: Trust::Own,
            source_ip: None,
            received_at: at,
            detail: None,
            about: None,
        }
    }

    /// Event about an authentication that was not completed in time.
    #[must_use]
    pub fn expired(name: AuthenticationName, at: Timestamp, rng: &RandomSource) -> Self {
        let AuthenticationName { service, uaid } = name;
        Self { service: Some(service), uaid: Some(uaid), ..Self::operational(EventType::Expired, at, rng) }
    }

    /// Event about an endpoint that a rule disabled.
    #[must_use]
    pub fn disabled(endpoint: &Endpoint, reason: &str, at: Timestamp, rng: &RandomSource) -> Self {
        about(EventType::EndpointDisabled, endpoint, json!({ "reason": reason }), at, rng)
    }

    /// Event about an endpoint whose deliveries are no longer held back. `before` is its state at the success that ended
    /// the hold.
    #[must_use]
    pub fn recovered(endpoint: &Endpoint, before: Health, at: Timestamp, rng: &RandomSource) -> Self {
        let since = before.failing_since.map(iso_millis::text);
        let facts = json!({ "failures": before.failures, "failing_since": since });
        about(EventType::EndpointRecovered, endpoint, facts, at, rng)
    }

    /// Event about a delivery that was given up after the attempt of `lease`. `None` for a delivery of such an event: endpoints
    /// that fail would cause events without end.
    #[must_use]
    pub fn exhausted(
        lease: &Lease,
        endpoint: &Endpoint,
        report: &AttemptReport,
        at: Timestamp,
        rng: &RandomSource,
    ) -> Option<Self> {
        let event = &lease.event;
        if event.event_type.is_about_delivery() {
            return None;
        }
        let facts = json!({
            "delivery": lease.delivery,
            "event": event.id,
            "event_type": event.event_type,
            "attempt_count": lease.attempt_count.saturating_add(1),
            "status": report.status,
            "error": report.error,
        });
        Some(about(EventType::DeliveryExhausted, endpoint, facts, at, rng))
    }
}

fn about(
    event_type: EventType,
    endpoint: &Endpoint,
    mut facts: Value,
    at: Timestamp,
    rng: &RandomSource,
) -> NewEvent {
    facts["endpoint"] = json!(endpoint.id);
    facts["endpoint_name"] = json!(endpoint.settings.name);
    let about = Some(endpoint.id.clone());
    NewEvent { detail: Some(facts), about, ..NewEvent::operational(event_type, at, rng) }
}
