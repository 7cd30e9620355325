//! `POST /v1/endpoints/{id}/test`: one signed request at once, to see whether an endpoint answers.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::state::SharedEndpoints;
use crate::domain::{AttemptReport, Cursor, EndpointId, Event, EventId, EventType, Format, Trust};
use crate::http::extract::{EmptyBody, Json, Path};
use crate::http::problem::Problem;
use crate::http::respond;

/// Result of a test.
#[derive(Serialize)]
struct TestResult {
    status: Option<u16>,
    elapsed_ms: u64,
    error: Option<String>,
}

impl From<AttemptReport> for TestResult {
    fn from(report: AttemptReport) -> Self {
        Self {
            status: report.status,
            elapsed_ms: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
            error: report.error.map(|error| format!("{error}: {}", report.response)),
        }
    }
}

/// Nothing is stored: neither an event nor an attempt, and the endpoint's health stays as it is. A disabled endpoint can be
/// tested too, before it is enabled.
pub(in crate::http) async fn test(
    State(state): SharedEndpoints,
    Path(id): Path<EndpointId>,
    Json(EmptyBody {}): Json<EmptyBody>,
) -> Result<Response, Problem> {
    let endpoint = state.find(&id).await?;
    if endpoint.settings.format == Format::RemAuth {
        return Err(Problem::unprocessable(
            "RemAuth has no callback that says nothing, so an endpoint of the format `remauth` cannot be tested; \
             `remgate trigger` sends a callback that is delivered to it",
        ));
    }
    let now = state.context.clock.now();
    let event = Event {
        id: EventId::new(now, &state.context.rng),
        cursor: Cursor::default(),
        event_type: EventType::Test,
        service: None,
        uaid: None,
        trust: Trust::Own,
        source_ip: None,
        received_at: now,
        duplicates: 0,
        expected: None,
        subject: None,
        state: None,
        late: false,
        detail: Some(json!({"endpoint": endpoint.id, "name": endpoint.settings.name})),
    };
    let report = state.sender.send_event(&endpoint, &event, false, now).await;
    tracing::info!(
        endpoint = %endpoint.settings.name, %id, outcome = report.outcome(), status = report.status,
        "tested an endpoint"
    );
    Ok(respond::json(&TestResult::from(report)))
}
