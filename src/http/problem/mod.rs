//! Errors of the internal listener, as RFC 9457 problem documents.

mod conversions;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::respond::with_json;
use crate::domain::{Cursor, Scope};

/// Challenge of a 401.
pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="remgate""#);

/// Problem document (RFC 9457): programs tell errors apart by `type`, people read `title` and `detail`.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    scope: Option<Scope>,
    newest: Option<Cursor>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    code: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<Cursor>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), headers: Vec::new(), scope: None, newest: None }
    }

    /// 400: a parameter or a body cannot be parsed.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be understood", detail)
    }

    /// 401: no key, or an unknown one.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A key is needed", detail)
            .with(header::WWW_AUTHENTICATE, CHALLENGE)
    }

    /// 403: the caller may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This is not allowed", detail)
    }

    /// 403: the key does not have the scope.
    pub fn missing_scope(scope: Scope) -> Self {
        let challenge = format!(r#"Bearer realm="remgate", error="insufficient_scope", scope="{scope}""#);
        let problem = Self::new(
            StatusCode::FORBIDDEN,
            "missing-scope",
            "The key does not reach so far",
            format!("this needs a key with the scope `{scope}`"),
        );
        let challenge = HeaderValue::try_from(challenge).expect("scopes are plain ASCII");
        Self { scope: Some(scope), ..problem.with(header::WWW_AUTHENTICATE, challenge) }
    }

    /// 404: no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// 405: the path does not have this method.
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "The method is not allowed here",
            detail,
        )
    }

    /// 409: the present state does not allow the request.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The present state does not allow this", detail)
    }

    /// 409: another claim of the authentication has succeeded.
    pub fn already_claimed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "already-claimed", "It was claimed before", detail)
    }

    /// 410: the claim came too long after the authentication.
    pub fn claim_too_late(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "claim-too-late", "It is too late to claim it", detail)
    }

    /// 409 or 410: the authentication has expired.
    pub fn authentication_expired(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(status, "authentication-expired", "The authentication did not come in time", detail)
    }

    /// 409: the authentication has not completed.
    pub fn not_completed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "not-completed", "The authentication has not completed", detail)
    }

    /// 409: a reader's position is beyond the newest cursor that was ever given, for example after a restored backup.
    pub fn cursor_ahead(newest: Cursor) -> Self {
        let detail = format!(
            "the cursor is beyond {newest}, the newest that this store has ever given; it may have been restored from a backup, \
             or be another one: read again from a cursor that it knows; a consumer is moved there by `seek`"
        );
        let problem =
            Self::new(StatusCode::CONFLICT, "cursor-ahead", "The cursor is ahead of the store", detail);
        Self { newest: Some(newest), ..problem }
    }

    /// 403: the authentication has less trust than the claim requires.
    pub fn insufficient_trust(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "insufficient-trust",
            "The authentication has too little trust",
            detail,
        )
    }

    /// 400: the ticket is malformed.
    pub fn ticket_malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ticket-malformed", "This is no ticket", detail)
    }

    /// 410: the ticket has expired.
    pub fn ticket_expired(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "ticket-expired", "The ticket has run out", detail)
    }

    /// 429: too many concurrent requests.
    pub fn too_many(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many at once", detail)
            .with(header::RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// 408: the body did not arrive in time.
    pub fn request_timeout(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "The request did not arrive in time",
            detail,
        )
        .with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// 413: too large.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
    }

    /// 415: the content type of the body is not supported.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The body's type is not understood",
            detail,
        )
    }

    /// 422: the request is well-formed, but cannot be executed.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unprocessable",
            "The request asks for something impossible",
            detail,
        )
    }

    /// 414: request line too long.
    pub fn uri_too_long() -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            "uri-too-long",
            "The address is too long",
            super::layers::URI_LIMIT_TEXT,
        )
    }

    /// 431: the head of the request is too large.
    pub fn head_too_large() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head-too-large",
            "The request's header lines are too large",
            "a request may have 64 header lines and a head of 16 KiB",
        )
    }

    /// 421: the request was meant for another host.
    pub fn misdirected(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "The request is meant for another host",
            detail,
        )
    }

    /// 500: our own fault.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong here",
            "the log has more, under this answer's x-request-id",
        )
    }

    /// 503: not now.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now", detail)
            .with(header::RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// Returns the missing scope of [`missing_scope`](Self::missing_scope).
    #[must_use]
    pub(super) fn scope(&self) -> Option<Scope> {
        self.scope
    }

    /// 502, 503 or 504: another system failed.
    pub fn upstream(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(status, "upstream", "Another system did not do its part", detail)
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            kind: format!("urn:remgate:problem:{}", self.kind),
            code: self.kind.replace('-', "_"),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            newest: self.newest,
        };
        let mut response = with_json(self.status, "application/problem+json", &document);
        response.headers_mut().extend(self.headers);
        response
    }
}
