//! An endpoint as it is shown: without its secrets.

use std::collections::BTreeMap;

use serde::Serialize;

use super::state::SendingDefaults;
use crate::domain::{
    AttemptTimeout, Endpoint, EndpointId, EndpointName, EndpointUrl, EventType, Format, Health,
    HumanDuration, MaxInFlight, RateLimit, Schedule, ServiceName, iso_millis,
};

/// Endpoint as it is shown, with the defaults in effect. The URL is shown with its query, which may hold a secret of
/// the receiver: callers that may read endpoints see it.
#[derive(Serialize)]
pub(super) struct EndpointView<'a> {
    id: &'a EndpointId,
    name: &'a EndpointName,
    url: &'a EndpointUrl,
    types: &'a [EventType],
    services: &'a [ServiceName],
    format: Format,
    expected_only: bool,
    headers: BTreeMap<&'a str, &'static str>,
    schedule: Vec<HumanDuration>,
    timeout: HumanDuration,
    max_in_flight: usize,
    rate_limit: Option<RateLimit>,
    public_key: Option<String>,
    enabled: bool,
    disabled_reason: Option<&'a str>,
    declared: bool,
    health: HealthView,
    created_at: String,
}

#[derive(Serialize)]
struct HealthView {
    state: &'static str,
    failures: u64,
    failing_since: Option<String>,
    next_probe_at: Option<String>,
}

impl From<&Health> for HealthView {
    fn from(health: &Health) -> Self {
        Self {
            state: health.state(),
            failures: health.failures,
            failing_since: health.failing_since.map(iso_millis::text),
            next_probe_at: health.probe_at.map(iso_millis::text),
        }
    }
}

impl<'a> EndpointView<'a> {
    pub(super) fn new(endpoint: &'a Endpoint, defaults: &SendingDefaults) -> Self {
        let settings = &endpoint.settings;
        let sending = &endpoint.settings.sending;
        let schedule = sending.schedule.as_ref().map(Schedule::waits);
        let schedule = schedule.unwrap_or_else(|| defaults.schedule.clone());
        Self {
            id: &endpoint.id,
            name: &settings.name,
            url: &settings.url,
            types: &settings.types,
            services: &settings.services,
            format: settings.format,
            expected_only: settings.expected_only,
            headers: sending.headers.masked(),
            schedule: schedule.into_iter().map(HumanDuration).collect(),
            timeout: HumanDuration(sending.timeout.map_or(defaults.timeout, AttemptTimeout::get)),
            max_in_flight: sending.max_in_flight.map_or(defaults.max_in_flight, MaxInFlight::get),
            rate_limit: sending.rate_limit,
            public_key: sending.signing_key.as_ref().map(|key| key.public().to_string()),
            enabled: endpoint.enabled,
            disabled_reason: endpoint.disabled_reason.as_deref(),
            declared: endpoint.declared,
            health: (&endpoint.health).into(),
            created_at: iso_millis::text(endpoint.created_at),
        }
    }
}

/// New endpoint with its secret, which is shown only here and after a rotation.
pub(super) struct CreatedView<'a> {
    pub(super) view: EndpointView<'a>,
    pub(super) secret: &'a str,
}

impl Serialize for CreatedView<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let mut document = serde_json::to_value(&self.view).map_err(S::Error::custom)?;
        document["secret"] = self.secret.into();
        document.serialize(serializer)
    }
}
