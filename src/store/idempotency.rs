//! Requests that must not be done twice: who began one, and how it was answered.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use super::backend::{Backend, statement, with_deadline};
use super::sql::{SqlStore, column};
use super::statements::idempotency::{
    BEGIN_REQUEST, BEGUN_REQUEST, FINISH_REQUEST, FORGET_OLD_REQUESTS, FORGET_REQUEST,
};

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// A request that names itself, so that its repetition can be told.
#[derive(Debug, Clone)]
pub struct IdempotentRequest {
    /// Whose names these are: two callers may use the same.
    pub scope: String,
    /// The name that the caller gave it.
    pub key: String,
    /// What it asks for. Made by whoever knows which parts of it matter and which must not be kept.
    pub fingerprint: String,
    /// After so long without an answer the process that began is taken for dead, and the same request may begin again.
    pub dead_after: Duration,
}

/// The right to do what a request asks for, and to say how it was answered.
#[derive(Debug, Clone)]
pub struct IdempotencyLease {
    scope: String,
    key: String,
    begun: Timestamp,
}

/// An answer that is given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// Whether a request is to be done.
#[derive(Debug)]
pub enum BeginOutcome {
    /// It is the first of its name.
    First(IdempotencyLease),
    /// It was answered.
    Answered(StoredResponse),
    /// It is being done.
    Running,
    /// Its name belongs to another request.
    Different,
}

/// Requests that must not be done twice. A name is remembered for 24 hours.
///
/// Whoever begins and then dies leaves a request without an answer. After a while the same request may begin again: it
/// cannot be known how far it came.
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// Begins a request, unless there is one of that name.
    async fn begin(&self, request: &IdempotentRequest, now: Timestamp) -> Result<BeginOutcome, StoreError>;

    /// Keeps the answer.
    async fn finish(&self, ticket: &IdempotencyLease, answer: &StoredResponse) -> Result<(), StoreError>;

    /// Makes as if the request had never begun: its answer is none to be kept.
    async fn forget(&self, ticket: &IdempotencyLease) -> Result<(), StoreError>;
}

#[async_trait]
impl<B: Backend> IdempotencyStore for SqlStore<B> {
    async fn begin(&self, request: &IdempotentRequest, now: Timestamp) -> Result<BeginOutcome, StoreError> {
        let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::MIN).as_millisecond();
        let IdempotentRequest { scope, key, fingerprint, dead_after } = request.clone();
        let begun = with_deadline("begin a request", async {
            let mut tx = self.db.rest.begin(B::BEGIN).await?;
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
            // It was forgotten in this very moment: whoever asks again will begin it.
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
        let (begun, status) = (begun.as_millisecond(), i64::from(answer.status));
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
    /// A few at a time, whenever somebody begins: that is as often as they come to be.
    async fn forget_old(&self, before: i64) {
        let forget = statement!(B, FORGET_OLD_REQUESTS, before);
        if let Err(e) = self.run_alone("forget old requests", forget).await {
            // The next one that begins tries again.
            tracing::debug!(error = %e, "old requests stay for now");
        }
    }
}
