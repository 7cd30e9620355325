//! Sign-in links: a sign-in at RemotePC behind a short address of ours that works once, so that the real link is
//! never pasted anywhere.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::problem::{refusal, unavailable};
use crate::audited::{ActionOutcome, AuditedRemotePc, Failure, RequestActor, end};
use crate::domain::{is_email_address, iso_millis};
use crate::http::extract::{Json, Path};
use crate::http::problem::Problem;
use crate::http::respond::{empty, with_body, with_json};
use crate::remotepc::{ErrorCode, Operation, SignIn, SignInLinks, UpstreamResponse};

/// State of these routes.
pub struct RemotePcSessionsState {
    /// Audited client of upstream.
    pub remotepc: AuditedRemotePc,
    /// Unused links.
    pub sessions: SignInLinks,
}

/// Body of a sign-in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionBody {
    username: String,
    password: SecretString,
}

#[derive(Serialize)]
struct Opened<'a> {
    url: &'a str,
    expires_at: String,
}

const OPEN: &str = "remotepc.session.open";
const USE: &str = "remotepc.session.use";

/// `POST /v1/remotepc/sessions`
pub(crate) async fn open(
    State(state): State<Arc<RemotePcSessionsState>>,
    actor: RequestActor,
    wanted: Result<Json<SessionBody>, Problem>,
) -> Result<Response, Problem> {
    let remotepc = state.remotepc.clone();
    let Json(wanted) = match wanted {
        Ok(wanted) => wanted,
        Err(problem) => {
            let malformed = Failure::Refused(ErrorCode::InvalidRequest.into());
            return Err(match remotepc.refuse_as(&actor, OPEN, Operation::SignIn, &[], malformed).await {
                Failure::Unrecorded(e) => e.into(),
                _ => problem,
            });
        }
    };
    let sign_in = match SignIn::new(&wanted.username, &wanted.password) {
        Ok(sign_in) => sign_in,
        Err(refusal) => {
            let whom = addresses(&wanted.username);
            return Err(remotepc
                .refuse_as(&actor, OPEN, Operation::SignIn, &whom, refusal.into())
                .await
                .into());
        }
    };
    let opened = remotepc.to_its_end(async move { state.open(&actor, &sign_in).await }).await;
    opened.ok_or_else(Problem::internal)?
}

impl RemotePcSessionsState {
    async fn open(&self, actor: &RequestActor, sign_in: &SignIn) -> Result<Response, Problem> {
        let entries = self.remotepc.trail.begin(actor, OPEN, &addresses(sign_in.username())).await?;
        let answer = self.remotepc.client.sign_in(sign_in).await.map_err(Failure::Call);
        let mut end = end(&answer);
        let opened = answer.map_err(Problem::from).and_then(|answer| {
            let link = link(&answer).inspect_err(|_| {
                if answer.is_success() {
                    end.outcome = "bad_response";
                }
            })?;
            self.put_away(link, sign_in.username()).inspect_err(|_| end.outcome = "crowded")
        });
        self.remotepc.context.metrics.remotepc("signin", end.outcome);
        tracing::info!(outcome = end.outcome, "requested a sign-in link");
        entries.end(&end).await;
        opened
    }

    /// Stores a link under a code, and returns its path.
    fn put_away(&self, link: SecretString, username: &str) -> Result<Response, Problem> {
        let ticket =
            self.sessions.put(link, username, self.remotepc.context.clock.now(), &self.remotepc.context.rng);
        let ticket = ticket.ok_or_else(|| Problem::unavailable("too many links wait to be followed"))?;
        let url = format!("/admin/remotepc/sessions/{}", ticket.code.expose_secret());
        let opened = Opened { url: &url, expires_at: iso_millis::text(ticket.until) };
        Ok(with_json(StatusCode::CREATED, "application/json", &opened))
    }
}

/// Returns a user name for the audit log. A text that is no address is left out: it may be a password in the wrong field.
fn addresses(username: &str) -> Vec<String> {
    if is_email_address(username) { vec![username.to_owned()] } else { Vec::new() }
}

/// Returns the link of an answer, if it can be followed.
fn link(answer: &UpstreamResponse) -> Result<SecretString, Problem> {
    if !answer.is_success() {
        let words = answer.error_words();
        let detail = format!("RemotePC refused: {}", words.join(", "));
        return Err(match answer.status() {
            StatusCode::BAD_REQUEST => Problem::unprocessable(detail),
            _ => Problem::upstream(StatusCode::BAD_GATEWAY, detail),
        });
    }
    let link = answer.redirect_link().ok().filter(|link| location(link).is_some());
    link.ok_or_else(|| {
        let detail = "REMOTEPC_BAD_RESPONSE: upstream's answer holds no link that can be followed";
        Problem::upstream(StatusCode::BAD_GATEWAY, detail.to_owned())
    })
}

/// `GET /admin/remotepc/sessions/{code}`: no key is needed, the code is one.
pub(crate) async fn follow(
    State(state): State<Arc<RemotePcSessionsState>>,
    actor: RequestActor,
    headers: HeaderMap,
    Path(code): Path<String>,
) -> Response {
    if is_prefetch(&headers) {
        return empty(StatusCode::NO_CONTENT);
    }
    // Unknown, used and expired codes look the same and are not audited: any client may send them.
    let not_found = || refusal(StatusCode::NOT_FOUND, "NOT_FOUND");
    let Some(waiting) = state.sessions.take(&code, state.remotepc.context.clock.now()) else {
        return not_found();
    };
    let actor = actor.with_a_link();
    let whom = addresses(&waiting.username);
    let entries = match state.remotepc.trail.begin(&actor, USE, &whom).await {
        Ok(entries) => entries,
        Err(e) => {
            tracing::error!(error = %e, "failed to use the store for a request");
            state.sessions.put_back(&code, waiting);
            return unavailable();
        }
    };
    let Some(location) = location(&waiting.link) else {
        entries.end(&ActionOutcome { outcome: "bad_response", detail: None }).await;
        return not_found();
    };
    entries.end(&ActionOutcome { outcome: "ok", detail: None }).await;
    let mut response = with_body(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Returns whether a browser loads the page in advance, before the user follows the link.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz"].into_iter().any(|name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains("prefetch"))
    })
}

/// Maximum length of a link in bytes.
const LINK_MAX: usize = 8 * 1024;

fn location(link: &SecretString) -> Option<HeaderValue> {
    if link.expose_secret().len() > LINK_MAX {
        return None;
    }
    let mut value = HeaderValue::from_str(link.expose_secret()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
