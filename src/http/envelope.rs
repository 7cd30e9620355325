//! RemAuth's envelope, the form of every answer of the public listener.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::respond::with_json;

/// `{"code","msg","data"}`: codes are texts, as RemAuth writes them.
#[derive(Debug, Serialize)]
pub(super) struct Envelope {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    allowed: Option<&'static str>,
    code: String,
    msg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<serde_json::Value>,
}

impl Envelope {
    /// 200, with the id of the event, or a list of ids.
    pub(super) fn stored(mut ids: Vec<String>) -> Self {
        let data = if ids.len() == 1 { ids.remove(0).into() } else { ids.into() };
        Self { data: Some(data), ..Self::plain(StatusCode::OK, "OK") }
    }

    /// 400 with RemAuth's code 601: which parameter is missing or malformed.
    pub(super) fn invalid_parameter(name: &str) -> Self {
        let msg = "Invalid parameter. See data for details";
        Self { code: "601".to_owned(), data: Some(name.into()), ..Self::plain(StatusCode::BAD_REQUEST, msg) }
    }

    /// 400: two `Host` lines.
    pub(super) fn two_hosts() -> Self {
        Self::plain(StatusCode::BAD_REQUEST, "There are two Host lines")
    }

    /// 403: a wrong, missing or revoked token, or an address that is not allowed. The answer does not tell them apart.
    pub(super) fn forbidden() -> Self {
        Self::plain(StatusCode::FORBIDDEN, "Forbidden access")
    }

    /// 404: no other path exists.
    pub(super) fn not_found() -> Self {
        Self::plain(StatusCode::NOT_FOUND, "Unknown endpoint")
    }

    /// 405: the method is not one of `allowed`.
    pub(super) fn wrong_method(allowed: &'static str) -> Self {
        Self { allowed: Some(allowed), ..Self::plain(StatusCode::METHOD_NOT_ALLOWED, "Wrong HTTP method") }
    }

    /// 408: the body did not arrive in time.
    pub(super) fn body_too_slow() -> Self {
        Self::plain(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time")
    }

    /// 413: the body is too large.
    pub(super) fn body_too_large() -> Self {
        Self::plain(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large")
    }

    /// 414: the address is too long.
    pub(super) fn uri_too_long() -> Self {
        Self::plain(StatusCode::URI_TOO_LONG, "The address is too long")
    }

    /// 431: the head of the request is too large.
    pub(super) fn head_too_large() -> Self {
        Self::plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's header lines are too large")
    }

    /// 500: our own fault.
    pub(super) fn internal() -> Self {
        Self::plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal error")
    }

    /// 503: the callback was not stored.
    pub(super) fn unavailable() -> Self {
        Self::plain(StatusCode::SERVICE_UNAVAILABLE, "Not stored, please try again later")
    }

    /// 503: too many requests of this kind.
    pub(super) fn too_many() -> Self {
        Self::plain(StatusCode::SERVICE_UNAVAILABLE, "Too many wait, please try again later")
    }

    fn plain(status: StatusCode, msg: &'static str) -> Self {
        Self { status, allowed: None, code: status.as_u16().to_string(), msg, data: None }
    }
}

impl IntoResponse for Envelope {
    fn into_response(self) -> Response {
        let mut response = with_json(self.status, "application/json", &self);
        let headers = response.headers_mut();
        if let Some(allowed) = self.allowed {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
