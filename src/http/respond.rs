//! Bodies of answers, with their type and `Cache-Control: no-store`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// An answer whose body is there already.
pub(super) fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer in JSON, or in a kind of it.
pub(super) fn with_json(status: StatusCode, content_type: &'static str, value: &impl Serialize) -> Response {
    with_body(status, content_type, serde_json::to_vec(value).expect("our own documents are JSON"))
}

/// 200 with a JSON document.
pub(super) fn json(value: &impl Serialize) -> Response {
    with_json(StatusCode::OK, "application/json", value)
}

/// An answer that is its status and nothing else.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
