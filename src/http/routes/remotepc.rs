//! `/admin/remotepc/*`: upstream's four operations under upstream's own rules, on our door.
//!
//! Everything under this path, our own refusals too, speaks upstream's envelope: its clients know no other. Bodies
//! and addresses go through here and into no log, metric or error.

use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{any, get, post};
use bytes::Bytes;
use http_body_util::LengthLimitError;

use crate::domain::Clock;
use crate::http::respond::with_body;
use crate::remotepc::{
    AddUser, Answer, CallError, Client, InviteUsers, Operation, Refusal, SignIn, Word, error_envelope,
};
use crate::telemetry::Metrics;

/// What the internal door takes of a body.
const BODY_MAX: usize = 1024 * 1024;

/// What these routes need.
#[derive(Clone)]
pub struct RemotePcState {
    client: Arc<Client>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

impl RemotePcState {
    /// The state for a gateway's one client.
    #[must_use]
    pub fn new(client: Arc<Client>, metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        Self { client, metrics, clock }
    }

    /// Runs one operation and tells about it: one line, one count, one answer.
    async fn answer(
        &self,
        operation: Operation,
        run: impl Future<Output = Result<Answer, Failure>>,
    ) -> Response {
        let started = self.clock.instant();
        let result = run.await;
        let elapsed = self.clock.instant().saturating_duration_since(started);
        log(operation, &result, elapsed);
        self.metrics.remotepc(operation.as_str(), outcome(&result));
        match result {
            Ok(answer) => passed_on(&answer),
            Err(failure) => failure.into_response(),
        }
    }
}

/// What reads: the list.
pub(crate) fn read_routes(state: RemotePcState) -> Router {
    Router::new()
        .route("/admin/remotepc/user/list", get(list).post(list).fallback(method_not_allowed))
        .with_state(state)
}

/// What changes something or hands out a link.
pub(crate) fn write_routes(state: RemotePcState) -> Router {
    Router::new()
        .route("/admin/remotepc/user/add", post(add).fallback(method_not_allowed))
        .route("/admin/remotepc/user/invite", post(invite).fallback(method_not_allowed))
        .route("/admin/remotepc/user/signin", post(sign_in).fallback(method_not_allowed))
        .with_state(state)
}

/// Every other path here: not found, in upstream's envelope. More exact routes win over these.
pub(crate) fn unknown_routes() -> Router {
    Router::new()
        .route("/admin/remotepc", any(not_found))
        .route("/admin/remotepc/", any(not_found))
        .route("/admin/remotepc/{*rest}", any(not_found))
}

/// An error of ours in upstream's envelope, for whatever stands before these routes (keys, hosts, limits).
#[must_use]
pub(crate) fn refusal(status: StatusCode, description: &str) -> Response {
    enveloped(status, error_envelope(status, &[description]))
}

async fn add(State(state): State<RemotePcState>, request: Request) -> Response {
    let run = async {
        let user = AddUser::parse(json_body(request).await?)?;
        Ok(state.client.add(&user).await?)
    };
    state.answer(Operation::Add, run).await
}

async fn invite(State(state): State<RemotePcState>, request: Request) -> Response {
    let run = async {
        let users = InviteUsers::parse(json_body(request).await?)?;
        Ok(state.client.invite(&users).await?)
    };
    state.answer(Operation::Invite, run).await
}

async fn sign_in(State(state): State<RemotePcState>, request: Request) -> Response {
    let run = async {
        let user = SignIn::parse(json_body(request).await?)?;
        Ok(state.client.sign_in(&user).await?)
    };
    state.answer(Operation::SignIn, run).await
}

/// Upstream's list is a POST without a body; whatever a client sends along is ignored.
async fn list(State(state): State<RemotePcState>) -> Response {
    state.answer(Operation::List, async { Ok(state.client.list().await?) }).await
}

/// axum adds `Allow`.
pub(crate) async fn method_not_allowed() -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED")
}

async fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "NOT_FOUND")
}

/// Why there is no answer of upstream's.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the body is larger than {BODY_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refused) => {
                let words: Vec<_> = refused.words().iter().map(|word| word.as_str()).collect();
                enveloped(StatusCode::BAD_REQUEST, error_envelope(StatusCode::BAD_REQUEST, &words))
            }
            Self::TooLarge => refusal(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
            Self::Call(error) => refusal(error.status(), error.word()),
        }
    }
}

async fn json_body(request: Request) -> Result<Bytes, Failure> {
    let (head, body) = request.into_parts();
    if !may_be_json(&head.headers) {
        return Err(Refusal::from(Word::InvalidRequest).into());
    }
    to_bytes(body, BODY_MAX).await.map_err(|error| {
        if matches!(error.source(), Some(source) if source.is::<LengthLimitError>()) {
            Failure::TooLarge
        } else {
            Refusal::from(Word::InvalidRequest).into()
        }
    })
}

/// A body that says nothing about itself is taken for JSON; one that says it is something else is not.
fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return true };
    let essence = content_type.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json") || essence.to_ascii_lowercase().ends_with(b"+json")
}

fn passed_on(answer: &Answer) -> Response {
    let mut response = enveloped(answer.status(), answer.body().clone());
    if let Some(wait) = answer.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, wait.clone());
    }
    response
}

fn enveloped(status: StatusCode, body: Bytes) -> Response {
    with_body(status, "application/json", body)
}

fn outcome(result: &Result<Answer, Failure>) -> &'static str {
    match result {
        Ok(answer) if answer.is_success() => "ok",
        Ok(_) => "upstream_error",
        Err(Failure::Refused(_) | Failure::TooLarge) => "refused",
        Err(Failure::Call(error)) => error.outcome(),
    }
}

fn log(operation: Operation, result: &Result<Answer, Failure>, elapsed: Duration) {
    let upstream_status = match result {
        Ok(answer) => Some(answer.status()),
        Err(Failure::Call(error)) => error.upstream_status(),
        Err(_) => None,
    };
    tracing::info!(
        operation = operation.as_str(),
        outcome = outcome(result),
        upstream_status = upstream_status.map(|status| status.as_u16()),
        elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        reason = result.as_ref().err().map(tracing::field::display),
        "a request to RemotePC was answered"
    );
}
