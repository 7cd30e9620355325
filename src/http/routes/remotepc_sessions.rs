//! One-time desk links: a sign-in at RemotePC behind a short address of ours, so that the link that signs somebody in
//! is never pasted anywhere.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::remotepc::refusal;
use crate::domain::{Chance, Clock, iso_millis};
use crate::http::extract::{Json, Path};
use crate::http::problem::Problem;
use crate::http::respond::{with_body, with_json};
use crate::remotepc::{Answer, Client, Refusal, Sessions, SignIn};
use crate::telemetry::Metrics;

/// What these routes need.
pub struct RemotePcSessionsState {
    /// Who signs in.
    pub client: Arc<Client>,
    /// Where links wait.
    pub sessions: Sessions,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What makes codes.
    pub chance: Chance,
    /// What is counted.
    pub metrics: Metrics,
}

/// Who wants to sign in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    username: String,
    password: SecretString,
}

#[derive(Serialize)]
struct Opened<'a> {
    url: &'a str,
    expires_at: String,
}

/// `POST /v1/remotepc/sessions`
pub(crate) async fn open(
    State(state): State<Arc<RemotePcSessionsState>>,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Problem> {
    let sign_in = SignIn::new(&wanted.username, &wanted.password)?;
    let answer = state.client.sign_in(&sign_in).await;
    let outcome = match &answer {
        Ok(answer) if answer.is_success() => "ok",
        Ok(_) => "upstream_error",
        Err(e) => e.outcome(),
    };
    state.metrics.remotepc("signin", outcome);
    tracing::info!(outcome, "a one-time link to RemotePC was asked for");
    let link = link(&answer?)?;
    let ticket = state.sessions.put(link, state.clock.now(), &state.chance);
    let ticket = ticket.ok_or_else(|| Problem::unavailable("too many links wait to be followed"))?;
    let url = format!("/admin/remotepc/sessions/{}", ticket.code.expose_secret());
    let opened = Opened { url: &url, expires_at: iso_millis::text(ticket.until) };
    Ok(with_json(StatusCode::CREATED, "application/json", &opened))
}

/// The link of an answer that holds one.
fn link(answer: &Answer) -> Result<SecretString, Problem> {
    if !answer.is_success() {
        let words = answer.error_words();
        let detail = format!("RemotePC refused: {}", words.join(", "));
        return Err(match answer.status() {
            StatusCode::BAD_REQUEST => Problem::unprocessable(detail),
            _ => Problem::upstream(StatusCode::BAD_GATEWAY, detail),
        });
    }
    let link = answer.redirect_link();
    link.map_err(|e| Problem::upstream(StatusCode::BAD_GATEWAY, format!("REMOTEPC_BAD_RESPONSE: {e}")))
}

/// `GET /admin/remotepc/sessions/{code}`: no key is needed, the code is one.
pub(crate) async fn follow(
    State(state): State<Arc<RemotePcSessionsState>>,
    Path(code): Path<String>,
) -> Response {
    let link = state.sessions.take(&code, state.clock.now());
    let location = link.and_then(|link| {
        let mut value = HeaderValue::from_str(link.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    let Some(location) = location else {
        // Unknown, used and too late look the same.
        return refusal(StatusCode::NOT_FOUND, "NOT_FOUND");
    };
    let mut response = with_body(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let words: Vec<_> = refusal.words().iter().map(|word| word.as_str()).collect();
        Self::unprocessable(format!("RemotePC would refuse: {}", words.join(", ")))
    }
}
