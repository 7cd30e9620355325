//! `/admin/remotepc/*`: upstream's four operations under upstream's own rules, on the internal listener.
//!
//! Everything under this path, our own refusals too, speaks upstream's envelope: its clients know no other. Bodies
//! and addresses go through here and into no log, metric or error.

mod idempotency;
mod request;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{any, get, post};
use bytes::Bytes;

use crate::audited::{AuditedRemotePc, Failure, RequestActor, outcome};
use crate::domain::Clock;
use crate::http::idempotency::Idempotency;
use crate::http::respond::with_body;
use crate::remotepc::{Operation, UpstreamResponse, UserListCache, error_envelope};
use crate::store::IdempotencyLease;
use idempotency::{Admission, RemotePcIdempotency};
use request::{Read, RemotePcRequest};

/// State of these routes.
#[derive(Clone)]
pub struct RemotePcState {
    remotepc: AuditedRemotePc,
    once: RemotePcIdempotency,
    directory: Arc<UserListCache>,
    clock: Arc<dyn Clock>,
}

/// Parts of [`RemotePcState`].
pub struct RemotePcParts {
    /// Audited client of upstream.
    pub remotepc: AuditedRemotePc,
    /// Store of answers to requests with an `Idempotency-Key`.
    pub idempotency: Idempotency,
    /// Maximum time for a call.
    pub timeout: Duration,
    /// User list cache, dropped after additions and invitations.
    pub directory: Arc<UserListCache>,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
}

impl RemotePcState {
    /// The state for a gateway.
    #[must_use]
    pub fn new(parts: RemotePcParts) -> Self {
        let once = RemotePcIdempotency::new(parts.idempotency, parts.timeout);
        Self { remotepc: parts.remotepc, once, directory: parts.directory, clock: parts.clock }
    }

    /// Runs one operation and tells about it: one entry in the trail, one line, one count, one answer.
    async fn run(self, operation: Operation, actor: RequestActor, request: Request) -> Response {
        let started = self.clock.instant();
        let headers = request.headers().clone();
        let Read { whom, wanted } = RemotePcRequest::read(operation, request).await;
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(failure) => {
                let refused = self.remotepc.refuse(&actor, operation, &whom, failure).await;
                return self.tell(operation, started, Err(refused));
            }
        };
        let ticket = match self.once.turn(&headers, &actor.who, wanted.fingerprint()).await {
            Admission::Ours(ticket) => ticket,
            Admission::Answered(response) => {
                self.tell_outcome(operation, "replayed");
                return response;
            }
            Admission::Refused(response) => {
                self.tell_outcome(operation, "refused");
                return response;
            }
        };
        let this = self.clone();
        let kept = ticket.clone();
        let work = async move {
            let result = this.ask(operation, &actor, &whom, &wanted, kept.as_ref()).await;
            this.tell(operation, started, result)
        };
        if let Some(response) = self.remotepc.to_its_end(work).await {
            return response;
        }
        self.once.settle(ticket.as_ref(), None).await;
        refusal(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")
    }

    /// Asks upstream. What is kept of the answer is kept before the trail says that all is over.
    async fn ask(
        &self,
        operation: Operation,
        actor: &RequestActor,
        whom: &[String],
        wanted: &RemotePcRequest,
        ticket: Option<&IdempotencyLease>,
    ) -> Result<UpstreamResponse, Failure> {
        let call = async {
            let result = wanted.call(&self.remotepc.client).await;
            let answer = result.as_ref().ok().filter(|answer| wanted.is_kept(answer));
            self.once.settle(ticket, answer).await;
            result
        };
        let result = self.remotepc.ask(actor, operation, whom, call).await;
        if let Err(Failure::Unrecorded(_)) = result {
            self.once.settle(ticket, None).await;
        }
        // Also after a failure, whose effect is unknown.
        if wanted.changes_users() && !matches!(result, Err(Failure::Unrecorded(_))) {
            let directory = Arc::clone(&self.directory);
            self.remotepc.context.lifecycle.spawn(async move { directory.forget().await });
        }
        result
    }

    fn tell(
        &self,
        operation: Operation,
        started: Instant,
        result: Result<UpstreamResponse, Failure>,
    ) -> Response {
        let elapsed = self.clock.instant().saturating_duration_since(started);
        log(operation, &result, elapsed);
        match result {
            Ok(answer) => passed_on(&answer),
            Err(failure) => failed(&failure),
        }
    }

    fn tell_outcome(&self, operation: Operation, outcome: &'static str) {
        self.remotepc.context.metrics.remotepc(operation.as_str(), outcome);
        tracing::info!(
            operation = operation.as_str(),
            outcome,
            "a request to RemotePC was answered by its Idempotency-Key"
        );
    }
}

/// Everything below `/admin/remotepc` but the sign-in links. More exact routes win over those that are not found.
pub(crate) fn routes(state: RemotePcState) -> Router {
    Router::new()
        .route("/admin/remotepc/user/list", get(list).post(list).fallback(method_not_allowed))
        .route("/admin/remotepc/user/add", post(add).fallback(method_not_allowed))
        .route("/admin/remotepc/user/invite", post(invite).fallback(method_not_allowed))
        .route("/admin/remotepc/user/signin", post(sign_in).fallback(method_not_allowed))
        .with_state(state)
        .route("/admin/remotepc", any(not_found))
        .route("/admin/remotepc/", any(not_found))
        .route("/admin/remotepc/{*rest}", any(not_found))
}

/// An error of ours in upstream's envelope, for whatever stands before these routes (keys, hosts, limits).
#[must_use]
pub(crate) fn refusal(status: StatusCode, description: &str) -> Response {
    enveloped(status, error_envelope(status, &[description]))
}

async fn add(State(state): State<RemotePcState>, actor: RequestActor, request: Request) -> Response {
    state.run(Operation::Add, actor, request).await
}

async fn invite(State(state): State<RemotePcState>, actor: RequestActor, request: Request) -> Response {
    state.run(Operation::Invite, actor, request).await
}

async fn sign_in(State(state): State<RemotePcState>, actor: RequestActor, request: Request) -> Response {
    state.run(Operation::SignIn, actor, request).await
}

async fn list(State(state): State<RemotePcState>, actor: RequestActor, request: Request) -> Response {
    state.run(Operation::List, actor, request).await
}

/// axum adds `Allow`.
pub(crate) async fn method_not_allowed() -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED")
}

async fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "NOT_FOUND")
}

/// Nothing could be written down, so nothing was done.
pub(super) fn unavailable() -> Response {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

fn failed(failure: &Failure) -> Response {
    let (status, words) = failure.told();
    match failure {
        Failure::Unrecorded(e) => {
            tracing::error!(error = %e, "the store did not do what a request needed");
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

fn passed_on(answer: &UpstreamResponse) -> Response {
    let mut response = enveloped(answer.status(), answer.body().clone());
    if let Some(wait) = answer.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, wait.clone());
    }
    response
}

fn enveloped(status: StatusCode, body: Bytes) -> Response {
    with_body(status, "application/json", body)
}

fn log(operation: Operation, result: &Result<UpstreamResponse, Failure>, elapsed: Duration) {
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
