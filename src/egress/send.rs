//! One attempt: a signed HTTP request and its report.
//!
//! A request that a receiver may have begun to process is never repeated. Sending never fails: whatever a receiver does becomes
//! a report, in bounded time and memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::timeout;

use super::answer::{ReceivedResponse, SendFailure, was_not_begun};
use super::body::{Rendered, render};
use super::client::{self, DeliveryClient};
use super::error::EgressError;
use super::guard::Guard;
use crate::domain::{AttemptReport, AttemptTimeout, Clock, Endpoint, Event, EventId, Lease, webhook_headers};

/// Settings of all attempts.
#[derive(Debug, Clone)]
pub struct SenderSettings {
    /// Maximum time for a connection: resolution, connect, proxy, TLS handshake.
    pub connect_timeout: Duration,
    /// Maximum time for an attempt at an endpoint without its own timeout.
    pub timeout: Duration,
    /// `http://` or `socks5://`; may hold a password.
    pub proxy: Option<SecretString>,
    /// Further certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Sends signed requests to receivers. Owns the idle connections, so there is one of it.
pub struct Sender {
    client: DeliveryClient,
    guard: Arc<Guard>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

/// Maximum time for the body of an answer. The head decides the outcome; the body is for people.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Header of a delivery that was requested again.
const REPLAY: HeaderName = HeaderName::from_static("remgate-replay");

impl Sender {
    /// Builds the client.
    pub fn new(
        settings: SenderSettings,
        guard: Arc<Guard>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EgressError> {
        let SenderSettings { connect_timeout, timeout, proxy, ca_file } = settings;
        let client = client::build(Arc::clone(&guard), connect_timeout, proxy.as_ref(), ca_file.as_deref())?;
        Ok(Self { client, guard, clock, timeout })
    }

    /// Makes one attempt at a delivery. `at` is its time: that of its signature and of its report.
    pub async fn send(&self, endpoint: &Endpoint, lease: &Lease, at: Timestamp) -> AttemptReport {
        self.send_event(endpoint, &lease.event, lease.replay, at).await
    }

    /// Sends an event without a delivery, such as a test.
    pub async fn send_event(
        &self,
        to: &Endpoint,
        event: &Event,
        replay: bool,
        at: Timestamp,
    ) -> AttemptReport {
        let started = self.clock.instant();
        let seen = self.attempt(to, event, replay, at, started).await;
        let elapsed = self.clock.instant().saturating_duration_since(started);
        let (status, error, response, retry_after) = match seen {
            Ok(answer) => (Some(answer.status.as_u16()), None, answer.text, answer.retry_after),
            Err(failure) => (None, Some(failure.error), failure.text, None),
        };
        AttemptReport { at, status, error, elapsed, response, retry_after }
    }

    async fn attempt(
        &self,
        to: &Endpoint,
        event: &Event,
        replay: bool,
        at: Timestamp,
        started: Instant,
    ) -> Result<ReceivedResponse, SendFailure> {
        let limit = to.settings.sending.timeout.map_or(self.timeout, AttemptTimeout::get);
        let rendered = render(to.settings.format, event, &to.settings.url)?;
        let uri = Uri::try_from(rendered.url.as_str()).map_err(|_| SendFailure::unwritable())?;
        let request = || signed(&rendered, &uri, to, &event.id, replay, at);
        let response = match timeout(limit, self.response(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return ReceivedResponse::from_invalid_head(&error).ok_or_else(|| error.into()),
            Err(_) => return Err(SendFailure::timeout(limit)),
        };
        let used = self.clock.instant().saturating_duration_since(started);
        let left = BODY_TIMEOUT.min(limit.saturating_sub(used));
        Ok(ReceivedResponse::read(response, left, self.clock.now()).await)
    }

    /// Returns the head of an answer. A request that the receiver says it has not processed is sent once more over
    /// another connection: HTTP/2 servers close connections in use that way.
    async fn response(
        &self,
        request: impl Fn() -> Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, legacy::Error> {
        match self.client.request(request()).await {
            Err(error) if was_not_begun(&error) => self.client.request(request()).await,
            seen => seen,
        }
    }
}

/// Returns the request. The headers of remgate come first, and those of the endpoint cannot replace them.
fn signed(
    rendered: &Rendered,
    uri: &Uri,
    to: &Endpoint,
    id: &EventId,
    replay: bool,
    at: Timestamp,
) -> Request<Full<Bytes>> {
    let Rendered { method, url: _, content_type, body } = rendered;
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    let settings = &to.settings;
    let previous = to.previous_secret.as_ref().filter(|previous| at < previous.until);
    let secrets = [Some(&settings.secret), previous.map(|previous| &previous.secret)];
    let secrets = secrets.into_iter().flatten();
    for (name, value) in webhook_headers(secrets, settings.sending.signing_key.as_ref(), id, at, body) {
        let value = HeaderValue::try_from(value).expect("ids, numbers and base64 are visible ASCII");
        headers.insert(HeaderName::from_static(name), value);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(client::USER_AGENT));
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if replay {
        headers.insert(REPLAY, HeaderValue::from_static("true"));
    }
    for (name, value) in settings.sending.headers.for_request() {
        headers.entry(name).or_insert(value);
    }
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    request
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("guard", &self.guard)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
