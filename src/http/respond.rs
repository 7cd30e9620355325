//! Bodies of answers, with their type and `Cache-Control: no-store`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// Returns an answer with a complete body.
pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Returns an answer in JSON, or in a media type based on it.
pub(super) fn with_json(status: StatusCode, content_type: &'static str, value: &impl Serialize) -> Response {
    with_body(status, content_type, serde_json::to_vec(value).expect("our own documents are JSON"))
}

/// Returns 200 with a JSON document.
pub(super) fn json(value: &impl Serialize) -> Response {
    with_json(StatusCode::OK, "application/json", value)
}

/// Returns an answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
