//! `Idempotency-Key` on additions and invitations: a repeated request gets the stored answer, without a second call.
//!
//! No trace of a password is stored: it is not part of the fingerprint, and an answer that repeats it is not stored.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::problem::{enveloped, refusal, unavailable};
use crate::domain::Actor;
use crate::http::idempotency::{Idempotency, REPLAYED, key};
use crate::remotepc::UpstreamResponse;
use crate::store::{BeginOutcome, IdempotencyLease, IdempotentRequest, StoredResponse};

/// Idempotency keys of operations at RemotePC.
#[derive(Clone)]
pub(super) struct RemotePcIdempotency {
    idempotency: Idempotency,
    dead_after: Duration,
}

/// Result of the check of an `Idempotency-Key`.
pub(super) enum IdempotencyOutcome {
    /// The request is to be made; with a lease if it has a key.
    Ours(Option<IdempotencyLease>),
    /// The request was answered before with this answer.
    Answered(Response),
    /// The request is refused.
    Refused(Response),
}

impl RemotePcIdempotency {
    /// `timeout` is the maximum time of a call.
    pub(super) fn new(idempotency: Idempotency, timeout: Duration) -> Self {
        // A process that has not answered by then has ended. Includes time for writes to the store.
        Self { idempotency, dead_after: timeout + Duration::from_mins(1) }
    }

    /// Begins a request under its key. Requests without a fingerprint may be repeated.
    pub(super) async fn turn(
        &self,
        headers: &HeaderMap,
        who: &Actor,
        fingerprint: Option<String>,
    ) -> IdempotencyOutcome {
        let Some(fingerprint) = fingerprint else { return IdempotencyOutcome::Ours(None) };
        let key = match key(headers) {
            Ok(Some(key)) => key,
            Ok(None) => return IdempotencyOutcome::Ours(None),
            Err(_) => {
                return IdempotencyOutcome::Refused(refusal(
                    StatusCode::BAD_REQUEST,
                    "INVALID_IDEMPOTENCY_KEY",
                ));
            }
        };
        let scope = format!("remotepc:{}", who.id);
        let identified = IdempotentRequest { scope, key, fingerprint, dead_after: self.dead_after };
        let begun =
            self.idempotency.context.store.begin(&identified, self.idempotency.context.clock.now()).await;
        match begun {
            Ok(BeginOutcome::First(ticket)) => IdempotencyOutcome::Ours(Some(ticket)),
            Ok(BeginOutcome::Answered(kept)) => IdempotencyOutcome::Answered(again(kept)),
            Ok(BeginOutcome::Running) => {
                IdempotencyOutcome::Refused(refusal(StatusCode::CONFLICT, "IDEMPOTENCY_KEY_IN_USE"))
            }
            Ok(BeginOutcome::Different) => IdempotencyOutcome::Refused(refusal(
                StatusCode::UNPROCESSABLE_ENTITY,
                "IDEMPOTENCY_KEY_REUSED",
            )),
            Err(e) => {
                tracing::error!(error = %e, "failed to use the store for a request");
                IdempotencyOutcome::Refused(unavailable())
            }
        }
    }

    /// Stores an answer, or releases the key without one.
    pub(super) async fn settle(&self, ticket: Option<&IdempotencyLease>, answer: Option<&UpstreamResponse>) {
        let Some(ticket) = ticket else { return };
        let Some(answer) = answer else {
            return self.idempotency.forget(ticket).await;
        };
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        self.idempotency.keep(ticket, &StoredResponse { status: answer.status().as_u16(), body }).await;
    }
}

fn again(kept: StoredResponse) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = enveloped(status, kept.body.into());
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
