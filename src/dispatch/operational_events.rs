//! Events of remgate itself about deliveries and endpoints, for endpoints that name their types.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::{
    AttemptReport, Endpoint, EventId, EventType, Lease, NewEvent, RandomSource, Trust, iso_millis,
};

/// A rule disabled an endpoint.
pub(super) fn disabled(endpoint: &Endpoint, reason: &str, at: Timestamp, rng: &RandomSource) -> NewEvent {
    notice(EventType::EndpointDisabled, endpoint, json!({ "reason": reason }), at, rng)
}

/// An endpoint whose deliveries were held back answered again.
pub(super) fn recovered(endpoint: &Endpoint, at: Timestamp, rng: &RandomSource) -> NewEvent {
    let since = endpoint.health.failing_since.map(iso_millis::text);
    let facts = json!({ "failures": endpoint.health.failures, "failing_since": since });
    notice(EventType::EndpointRecovered, endpoint, facts, at, rng)
}

/// A delivery was given up. Nothing is said when what was to be delivered was such a notice itself: endpoints that fail
/// would make each other notices without end.
pub(super) fn exhausted(
    lease: &Lease,
    endpoint: &Endpoint,
    report: &AttemptReport,
    at: Timestamp,
    rng: &RandomSource,
) -> Option<NewEvent> {
    let told = &lease.event;
    if told.event_type.is_about_delivery() {
        return None;
    }
    let facts = json!({
        "delivery": lease.delivery,
        "event": told.id,
        "event_type": told.event_type,
        "attempt_count": lease.attempt_count.saturating_add(1),
        "status": report.status,
        "error": report.error,
    });
    Some(notice(EventType::DeliveryExhausted, endpoint, facts, at, rng))
}

fn notice(
    event_type: EventType,
    endpoint: &Endpoint,
    mut facts: Value,
    at: Timestamp,
    rng: &RandomSource,
) -> NewEvent {
    facts["endpoint"] = json!(endpoint.id);
    facts["endpoint_name"] = json!(endpoint.settings.name);
    NewEvent {
        id: EventId::new(at, rng),
        event_type,
        service: None,
        uaid: None,
        trust: Trust::Own,
        source_ip: None,
        received_at: at,
        detail: Some(facts),
        about: Some(endpoint.id.clone()),
    }
}
