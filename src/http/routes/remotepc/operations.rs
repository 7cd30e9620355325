//! `/admin/remotepc/user/*`: upstream's four operations under upstream's own rules, on the internal listener. Bodies and
//! addresses pass through and appear in no log, metric or error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::idempotency::{IdempotencyOutcome, RemotePcIdempotency};
use super::problem::{failed, passed_on, refusal};
use super::request::{Read, RemotePcRequest};
use crate::audited::{AuditedRemotePc, Failure, RequestActor, outcome};
use crate::http::idempotency::Idempotency;
use crate::remotepc::{Operation, UpstreamResponse, UserListCache};
use crate::store::IdempotencyLease;

/// State of these routes.
#[derive(Clone)]
pub struct RemotePcState {
    remotepc: AuditedRemotePc,
    once: RemotePcIdempotency,
    directory: Arc<UserListCache>,
}

impl RemotePcState {
    /// Returns the state of a gateway. `directory` is dropped after additions and invitations; `timeout` is the maximum
    /// time of a call.
    #[must_use]
    pub fn new(remotepc: AuditedRemotePc, directory: Arc<UserListCache>, timeout: Duration) -> Self {
        let idempotency = Idempotency { context: remotepc.context.clone() };
        Self { once: RemotePcIdempotency::new(idempotency, timeout), remotepc, directory }
    }

    /// Runs one operation: one audit entry, one log line, one count, one answer.
    async fn run(self, operation: Operation, actor: RequestActor, request: Request) -> Response {
        let started = self.remotepc.context.clock.instant();
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
            IdempotencyOutcome::Ours(ticket) => ticket,
            IdempotencyOutcome::Answered(response) => {
                self.tell_outcome(operation, "replayed");
                return response;
            }
            IdempotencyOutcome::Refused(response) => {
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

    /// Calls upstream. The answer is stored under its key before the audit entry is completed.
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
        let elapsed = self.remotepc.context.clock.instant().saturating_duration_since(started);
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
            "answered a request to RemotePC by its Idempotency-Key"
        );
    }
}

/// `/admin/remotepc/user/add`
pub(crate) async fn add(
    State(state): State<RemotePcState>,
    actor: RequestActor,
    request: Request,
) -> Response {
    state.run(Operation::Add, actor, request).await
}

/// `/admin/remotepc/user/invite`
pub(crate) async fn invite(
    State(state): State<RemotePcState>,
    actor: RequestActor,
    request: Request,
) -> Response {
    state.run(Operation::Invite, actor, request).await
}

/// `/admin/remotepc/user/signin`
pub(crate) async fn sign_in(
    State(state): State<RemotePcState>,
    actor: RequestActor,
    request: Request,
) -> Response {
    state.run(Operation::SignIn, actor, request).await
}

/// `/admin/remotepc/user/list`
pub(crate) async fn list(
    State(state): State<RemotePcState>,
    actor: RequestActor,
    request: Request,
) -> Response {
    state.run(Operation::List, actor, request).await
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
        "answered a request to RemotePC"
    );
}
