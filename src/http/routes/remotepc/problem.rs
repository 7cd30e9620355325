//! Answers of remgate itself below `/admin/remotepc`, in upstream's envelope: its clients know no other.

use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use crate::audited::Failure;
use crate::http::respond::with_body;
use crate::remotepc::{UpstreamResponse, error_envelope};

/// Returns an error in upstream's envelope, also for the layers before these routes (keys, hosts, limits).
#[must_use]
pub(crate) fn refusal(status: StatusCode, description: &str) -> Response {
    enveloped(status, error_envelope(status, &[description]))
}

/// Answer to a method that a route does not have. axum adds `Allow`.
pub(crate) async fn method_not_allowed() -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED")
}

/// Answer to a path without a route.
pub(crate) async fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "NOT_FOUND")
}

/// Answer when the audit entry could not be written, so that nothing was done.
pub(super) fn unavailable() -> Response {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// Answer to a request that upstream did not answer.
pub(super) fn failed(failure: &Failure) -> Response {
    let (status, words) = failure.told();
    match failure {
        Failure::Unrecorded(e) => {
            tracing::error!(error = %e, "failed to use the store for a request");
            unavailable()
        }
        Failure::RequestTimeout => {
            let mut response = enveloped(status, error_envelope(status, &words));
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
        _ => enveloped(status, error_envelope(status, &words)),
    }
}

/// Answer of upstream, passed on.
pub(super) fn passed_on(answer: &UpstreamResponse) -> Response {
    let mut response = enveloped(answer.status(), answer.body().clone());
    if let Some(wait) = answer.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, wait.clone());
    }
    response
}

pub(super) fn enveloped(status: StatusCode, body: Bytes) -> Response {
    with_body(status, "application/json", body)
}
