//! One signed send: one HTTP try, and what it saw.
//!
//! It never tries twice and never fails: whatever a receiver does becomes a report, in bounded time and memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use jiff::Timestamp;
use reqwest::{Client, Request};
use tokio::time::timeout;

use super::answer::{Answer, Failure};
use super::body::{Rendered, render};
use super::client::{self, EgressError};
use super::guard::Guard;
use crate::domain::{AttemptReport, Clock, Endpoint, Event, EventId, Lease, SigningSecret, webhook_headers};

/// What is set up once for all sends.
#[derive(Debug, Clone)]
pub struct SenderSettings {
    /// For the connection alone: resolving, connecting, the TLS handshake.
    pub connect_timeout: Duration,
    /// For a whole attempt.
    pub timeout: Duration,
    /// Further certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Sends signed requests to receivers. Cheap to share behind an `Arc`, and of use only as one: it owns the connections.
pub struct Sender {
    client: Client,
    /// For URLs with a port of one of our doors; see [`Guard::forbid`].
    wary: Option<Client>,
    guard: Arc<Guard>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

/// How long the body of an answer is waited for. Its head has decided already, what follows is for people to read.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// Says that somebody asked for the event again.
const REPLAY: HeaderName = HeaderName::from_static("remgate-replay");

impl Sender {
    /// Makes the client. It fails when certificates could not be checked.
    pub fn new(
        settings: SenderSettings,
        guard: Arc<Guard>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EgressError> {
        let SenderSettings { connect_timeout, timeout, ca_file } = settings;
        let authorities = ca_file.as_deref().map(client::authorities).transpose()?.unwrap_or_default();
        let build = |own_port| client::build(guard.clone(), own_port, connect_timeout, authorities.clone());
        let client = build(false)?;
        let wary = guard.has_doors().then(|| build(true)).transpose()?;
        Ok(Self { client, wary, guard, clock, timeout })
    }

    /// Makes one attempt at a delivery. `at` is its time: that of its signature and of its report.
    pub async fn send(&self, endpoint: &Endpoint, lease: &Lease, at: Timestamp) -> AttemptReport {
        self.send_event(endpoint, &lease.event, lease.replay, at).await
    }

    /// Sends an event that need not be owed, such as a test.
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
    ) -> Result<Answer, Failure> {
        let rendered = render(to.settings.format, event, &to.settings.url)?;
        self.guard.check_url(&to.settings.url)?;
        let request = signed(rendered, &[&to.settings.secret], &event.id, replay, at);
        let client = match &self.wary {
            Some(wary) if self.guard.is_own_port(&to.settings.url) => wary,
            _ => &self.client,
        };
        let Ok(response) = timeout(self.timeout, client.execute(request)).await else {
            return Err(Failure::timeout(self.timeout));
        };
        let response = response?;
        let used = self.clock.instant().saturating_duration_since(started);
        let patience = BODY_PATIENCE.min(self.timeout.saturating_sub(used));
        Ok(Answer::read(response, patience, self.clock.now()).await)
    }
}

fn signed(
    rendered: Rendered,
    secrets: &[&SigningSecret],
    id: &EventId,
    replay: bool,
    at: Timestamp,
) -> Request {
    let Rendered { method, url, content_type, body } = rendered;
    let signature = webhook_headers(secrets, id, at, &body);
    let mut request = Request::new(method, url);
    let headers = request.headers_mut();
    for (name, value) in signature {
        let value = HeaderValue::try_from(value).expect("ids, numbers and base64 are visible ASCII");
        headers.insert(HeaderName::from_static(name), value);
    }
    if replay {
        headers.insert(REPLAY, HeaderValue::from_static("true"));
    }
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        *request.body_mut() = Some(body.into());
    }
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
