//! Idempotency keys: requests under way, and their stored answers.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use super::backend::{Backend, statement, with_deadline};
use super::sql::{SqlStore, column};
use super::statements::idempotency::{
    BEGIN_REQUEST, BEGUN_REQUEST, FINISH_REQUEST, FORGET_OLD_REQUESTS, FORGET_REQUEST,
};

/// Time for which an answer is stored.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// Request with an idempotency key.
#[derive(Debug, Clone)]
pub struct IdempotentRequest {
    /// Owner of the key. Two callers may use the same key.
    pub scope: String,
    /// Idempotency key.
    pub key: String,
    /// Fingerprint of the request, made of the parts that matter and may be stored.
    pub fingerprint: String,
    /// Time without an answer after which the process that began the request counts as dead, and the request may begin again.
    pub dead_after: Duration,
}

/// Lease of an idempotency key: permission to make the request and to store its answer.
#[derive(Debug, Clone)]
pub struct IdempotencyLease {
    scope: String,
    key: String,
    begun: Timestamp,
}

/// Stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// Result of beginning a request.
#[derive(Debug)]
pub enum BeginOutcome {
    /// First request with the key.
    First(IdempotencyLease),
    /// Answered before.
    Answered(StoredResponse),
    /// Under way.
    Running,
    /// The key was used with another request.
    Different,
}

/// Idempotency keys. A key is stored for 24 hours.
///
/// A process that ends during a request leaves it without an answer. After a while the same request may begin again:
/// its progress is unknown.
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// Begins a request, unless its key is in use.
    async fn begin(&self, request: &IdempotentRequest, now: Timestamp) -> Result<BeginOutcome, StoreError>;

    /// Keeps the answer.
    async fn finish(&self, ticket: &IdempotencyLease, answer: &StoredResponse) -> Result<(), StoreError>;

    /// Releases the key without an answer, so that the request may be made again.
    async fn forget(&self, ticket: &IdempotencyLease) -> Result<(), StoreError>;
}

#[async_trait]
impl<B: Backend> IdempotencyStore for SqlStore<B> {
    async fn begin(&self, request: &IdempotentRequest, now: Timestamp) -> Result<BeginOutcome, StoreError> {
        let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::MIN).as_millisecond();
        let IdempotentRequest { scope, key, fingerprint, dead_after } = request.clone();
        let begun = with_deadline("begin a request", async {
            let mut tx = self.db.rest.begin().await?;
            let insert = statement!(
                B,
                BEGIN_REQUEST,
                scope.clone(),
                key.clone(),
                fingerprint.clone(),
                now.as_millisecond(),
                before(KEPT_FOR),
                before(dead_after),
            );
            if B::run(tx.connection(), insert).await? > 0 {
                tx.commit().await?;
                return Ok(BeginOutcome::First(IdempotencyLease { scope, key, begun: now }));
            }
            let rows = B::rows(tx.connection(), statement!(B, BEGUN_REQUEST, scope, key)).await?;
            tx.commit().await?;
            // The row was pruned just now; a repetition begins anew.
            rows.first().map_or(Ok(BeginOutcome::Running), |row| begun::<B>(row, &fingerprint))
        })
        .await?;
        if matches!(begun, BeginOutcome::First(_)) {
            self.forget_old(before(KEPT_FOR)).await;
        }
        Ok(begun)
    }

    async fn finish(&self, ticket: &IdempotencyLease, answer: &StoredResponse) -> Result<(), StoreError> {
        let IdempotencyLease { scope, key, begun } = ticket.clone();
        let begun = begun.as_millisecond();
        let status = i64::from(answer.status);
        let finish = statement!(B, FINISH_REQUEST, scope, key, begun, status, answer.body.clone());
        self.run_alone("keep an answer", finish).await
    }

    async fn forget(&self, ticket: &IdempotencyLease) -> Result<(), StoreError> {
        let IdempotencyLease { scope, key, begun } = ticket.clone();
        let forget = statement!(B, FORGET_REQUEST, scope, key, begun.as_millisecond());
        self.run_alone("forget a request", forget).await
    }
}

fn begun<B: Backend>(row: &B::Row, fingerprint: &str) -> Result<BeginOutcome, sqlx::Error> {
    let known: String = column::<B, _>(row, "fingerprint")?;
    if known != fingerprint {
        return Ok(BeginOutcome::Different);
    }
    let Some(status) = column::<B, Option<i64>>(row, "status")? else { return Ok(BeginOutcome::Running) };
    let body: Option<String> = column::<B, _>(row, "body")?;
    let status = u16::try_from(status).unwrap_or_default();
    Ok(BeginOutcome::Answered(StoredResponse { status, body: body.unwrap_or_default() }))
}

impl<B: Backend> SqlStore<B> {
    /// Prunes a few rows. Called whenever a request begins, which is as often as rows are added.
    async fn forget_old(&self, before: i64) {
        let forget = statement!(B, FORGET_OLD_REQUESTS, before);
        if let Err(e) = self.run_alone("forget old requests", forget).await {
            // The next request tries again.
            tracing::debug!(error = %e, "failed to prune idempotency keys; trying again later");
        }
    }
}
