//! `/livez`, `/readyz`, `/metrics`: health and metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::context::Context;
use crate::http::respond::with_body;
use crate::intake::Recorder;
use crate::telemetry::millis;

/// Maximum time for a check of the store.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum time for which a callback may wait for the store while remgate is ready.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// State of the health routes.
pub struct HealthState {
    /// Shared handles.
    pub context: Context,
    /// Recorder of callbacks, which must run.
    pub recorder: Recorder,
}

/// `GET /livez`: the process runs and answers.
pub(crate) async fn livez() -> Response {
    plain(StatusCode::OK, "ok\n")
}

/// `GET /readyz`: a callback would be stored now.
pub(crate) async fn readyz(State(state): State<Arc<HealthState>>) -> Response {
    if state.context.lifecycle.soft().is_cancelled() {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if !state.recorder.is_running() {
        tracing::error!("not ready: the writer of callbacks has ended; restart remgate");
        return plain(StatusCode::SERVICE_UNAVAILABLE, "callbacks cannot be recorded\n");
    }
    let waited = state.recorder.longest_wait();
    if waited > MAX_WAIT {
        tracing::warn!(waited_ms = millis(waited), "not ready: callbacks wait for the store");
        return plain(StatusCode::SERVICE_UNAVAILABLE, "callbacks wait for the store\n");
    }
    match tokio::time::timeout(CHECK_TIMEOUT, state.context.store.probe(state.context.clock.now())).await {
        Ok(Ok(())) => plain(StatusCode::OK, "ready\n"),
        Ok(Err(e)) => {
            tracing::warn!(error = %e, "not ready");
            plain(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be written\n")
        }
        Err(_) => {
            tracing::warn!("not ready: the store did not answer in time");
            plain(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}

/// `GET /metrics`: Prometheus' text format. Open deliveries are counted at each request.
pub(crate) async fn metrics(State(state): State<Arc<HealthState>>) -> Response {
    if let Ok(Ok(pending)) = tokio::time::timeout(CHECK_TIMEOUT, state.context.store.pending()).await {
        state.context.metrics.deliveries_pending(pending);
    }
    with_body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", state.context.metrics.render())
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    with_body(status, "text/plain; charset=utf-8", text)
}
