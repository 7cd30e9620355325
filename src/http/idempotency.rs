//! `Idempotency-Key`: a repeated POST is not executed again, but answered like the first.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Collected};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::extract::whole;
use super::problem::Problem;
use super::respond::with_body;
use crate::context::Context;
use crate::store::{BeginOutcome, IdempotencyLease, IdempotentRequest, StoredResponse};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Time without an answer after which the process that began the request counts as dead, and the request may begin again.
const DEAD_AFTER: Duration = Duration::from_mins(1);

/// Header of a repeated answer.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Answers repeated requests with the stored answer.
#[derive(Clone)]
pub struct Idempotency {
    /// Shared handles.
    pub context: Context,
}

impl Idempotency {
    /// Passes a request on, unless it is a POST with a key that was used before. `actor` owns the key.
    pub(super) async fn once(&self, actor: &str, request: Request, next: Next) -> Response {
        let key = match key(request.headers()) {
            Ok(Some(key)) if request.method() == Method::POST => key,
            Err(problem) if request.method() == Method::POST => return problem.into_response(),
            _ => return next.run(request).await,
        };
        // Boxed, so that requests without a key, which may wait for long, do not hold its state.
        match Box::pin(self.identified(actor, key, request, next)).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }

    async fn identified(
        &self,
        scope: &str,
        key: String,
        request: Request,
        next: Next,
    ) -> Result<Response, Problem> {
        let (head, body) = request.into_parts();
        let body = whole(body).await?;
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let fingerprint = fingerprint(&head.method, target, &body);
        let request = Request::from_parts(head, Body::from(body));
        let scope = scope.to_owned();
        let identified = IdempotentRequest { scope, key, fingerprint, dead_after: DEAD_AFTER };
        match self.context.store.begin(&identified, self.context.clock.now()).await? {
            BeginOutcome::First(ticket) => Ok(self.first(ticket, request, next).await),
            BeginOutcome::Answered(kept) => Ok(again(kept)),
            BeginOutcome::Running => Err(Problem::conflict(
                "a request with this Idempotency-Key is being done; ask again for its answer",
            )),
            BeginOutcome::Different => Err(Problem::unprocessable(
                "this Idempotency-Key belongs to a request with another method, path or body; choose a new one",
            )),
        }
    }

    /// Completes the request, also after its client has left, so that a repetition gets the answer.
    async fn first(&self, ticket: IdempotencyLease, request: Request, next: Next) -> Response {
        let (tell, told) = oneshot::channel();
        let this = self.clone();
        let hard = self.context.lifecycle.hard().clone();
        let running = ticket.clone();
        let work = async move {
            let response = this.kept(&running, next.run(request).await).await;
            // The client may have left.
            let _ = tell.send(response);
        };
        self.context.lifecycle.spawn(
            async move {
                hard.run_until_cancelled_owned(work).await;
            }
            .in_current_span(),
        );
        if let Ok(response) = told.await {
            return response;
        }
        // The handler panicked or was dropped: an internal error is not stored.
        self.forget(&ticket).await;
        Problem::internal().into_response()
    }

    /// Stores a final answer: one that the same request would get at any later time.
    async fn kept(&self, ticket: &IdempotencyLease, response: Response) -> Response {
        if !response.status().is_success() && response.status() != StatusCode::UNPROCESSABLE_ENTITY {
            self.forget(ticket).await;
            return response;
        }
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(Collected::to_bytes) else {
            self.forget(ticket).await;
            return Problem::internal().into_response();
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        self.keep(ticket, &StoredResponse { status: head.status.as_u16(), body: text }).await;
        Response::from_parts(head, Body::from(body))
    }

    /// Keeps an answer.
    pub(super) async fn keep(&self, ticket: &IdempotencyLease, answer: &StoredResponse) {
        if let Err(e) = self.context.store.finish(ticket, answer).await {
            tracing::warn!(error = %e, "failed to store an answer for its Idempotency-Key; a repetition of the request may be executed");
        }
    }

    /// Releases the key, so that the request may be made again.
    pub(super) async fn forget(&self, ticket: &IdempotencyLease) {
        if let Err(e) = self.context.store.forget(ticket).await {
            tracing::warn!(error = %e, "failed to release an Idempotency-Key; a repetition of the request is refused for a while");
        }
    }
}

/// Returns the key of a request, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut all = headers.get_all(&KEY).iter();
    let key = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(key), None) => key.as_bytes(),
        (Some(_), Some(_)) => &[],
    };
    let text = std::str::from_utf8(key)
        .ok()
        .filter(|text| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()));
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        Problem::bad_request("an Idempotency-Key is given once, and is 1 to 255 visible ASCII characters")
    })
}

fn fingerprint(method: &Method, target: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), b" ", target.as_bytes(), b"\n", body] {
        hash.update(part);
    }
    STANDARD.encode(hash.finalize())
}

fn again(kept: StoredResponse) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let is_problem = status.is_client_error();
    let content_type = if is_problem { "application/problem+json" } else { "application/json" };
    let mut response = with_body(status, content_type, kept.body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::{KEY, fingerprint, key};

    fn read(sent: &[&'static str]) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(KEY, value.parse().unwrap());
        }
        key(&headers).map_err(|problem| problem.status().as_u16())
    }

    #[rstest::rstest]
    #[case(&[], None)]
    #[case(&["a"], Some("a"))]
    #[case(&["8e03978e-40d5-43dd-bc93-6894a57f9324"], Some("8e03978e-40d5-43dd-bc93-6894a57f9324"))]
    fn keys(#[case] sent: &[&'static str], #[case] key: Option<&str>) {
        assert_eq!(read(sent), Ok(key.map(str::to_owned)));
    }

    #[rstest::rstest]
    fn what_is_no_key(#[values(&[""], &["two words"], &["tab\tbed"], &["a", "a"])] sent: &[&'static str]) {
        assert_eq!(read(sent), Err(400));
    }

    #[test]
    fn a_key_has_a_length() {
        for (length, fits) in [(255, true), (256, false)] {
            let headers = HeaderMap::from_iter([(KEY, "x".repeat(length).parse().unwrap())]);
            assert_eq!(key(&headers).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn every_part_makes_another_fingerprint() {
        let all = [
            fingerprint(&Method::POST, "/v1/a", b"{}"),
            fingerprint(&Method::PUT, "/v1/a", b"{}"),
            fingerprint(&Method::POST, "/v1/b", b"{}"),
            fingerprint(&Method::POST, "/v1/a?b", b"{}"),
            fingerprint(&Method::POST, "/v1/a", b"{ }"),
        ];
        assert!(all.iter().all(|text| text.len() == 44));
        assert_eq!(std::collections::BTreeSet::from(all).len(), 5);
    }
}
