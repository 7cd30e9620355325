//! Rejected callbacks.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use super::backend::{Backend, statement, with_deadline};
use super::sql::{SqlStore, column, parsed, time, undecodable};
use super::statements::rejected::{KEEP_REJECTED, PRUNE_REJECTED, REJECTED, REMOVE_REJECTED};
use super::{Appended, StoreError};
use crate::domain::{
    Cursor, ListedRejected, NewEvent, Order, Page, RejectedCallback, RejectedFilter, RejectedId,
};

/// Maximum number of rejected callbacks that are kept; the oldest are deleted first.
pub const MAX_REJECTED: i64 = 1_000;

/// Rejected callbacks, at most [`MAX_REJECTED`].
#[async_trait]
pub trait RejectedStore: Send + Sync {
    /// Stores a rejected callback, and deletes the oldest beyond the maximum.
    async fn keep_rejected(&self, rejected: &RejectedCallback) -> Result<(), StoreError>;

    /// Returns a page.
    async fn rejected_callbacks(&self, filter: &RejectedFilter) -> Result<Page<ListedRejected>, StoreError>;

    /// Returns a rejected callback, if it exists.
    async fn rejected_callback(&self, id: &RejectedId) -> Result<Option<RejectedCallback>, StoreError>;

    /// Stores the event of a rejected callback and deletes the callback, in one transaction. Returns `None` when it does not exist: of
    /// several concurrent calls one finds it.
    async fn accept_rejected(
        &self,
        id: &RejectedId,
        event: &NewEvent,
        now: Timestamp,
    ) -> Result<Option<Appended>, StoreError>;

    /// Deletes a rejected callback. Returns whether it existed.
    async fn remove_rejected(&self, id: &RejectedId) -> Result<bool, StoreError>;
}

#[async_trait]
impl<B: Backend> RejectedStore for SqlStore<B> {
    async fn keep_rejected(&self, rejected: &RejectedCallback) -> Result<(), StoreError> {
        with_deadline("store a rejected callback", async {
            let mut tx = self.db.rest.begin().await?;
            let keep = statement!(
                B,
                KEEP_REJECTED,
                rejected.id.to_string(),
                rejected.service.to_string(),
                rejected.trust.to_string(),
                rejected.source_ip.map(|address| address.to_string()),
                rejected.received_at.as_millisecond(),
                rejected.reason.clone(),
                rejected.request.clone(),
            );
            B::run(tx.connection(), keep).await?;
            B::run(tx.connection(), statement!(B, PRUNE_REJECTED, MAX_REJECTED)).await?;
            tx.commit().await
        })
        .await
    }

    async fn rejected_callbacks(&self, filter: &RejectedFilter) -> Result<Page<ListedRejected>, StoreError> {
        let texts = &B::DIALECT.rejected;
        let (text, from) = match filter.order {
            Order::Ascending { after } => (texts.rejected_after, after.0),
            Order::Descending { before } => {
                (texts.rejected_before, before.map_or(i64::MAX, |before| before.0))
            }
        };
        let limit = filter.limit.get();
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        with_deadline("read rejected callbacks", async {
            let rows =
                self.read(|| statement!(B, text, from, json!(filter.services).to_string(), most)).await?;
            let mut data = rows.iter().map(rejected::<B>).collect::<Result<Vec<_>, _>>()?;
            let has_more = data.len() > limit;
            data.truncate(limit);
            let last = data.last().map(|(cursor, _)| *cursor);
            let cursor = match filter.order {
                Order::Ascending { after } => last.unwrap_or(after),
                Order::Descending { before } => last.or(before).unwrap_or_default(),
            };
            Ok(Page { data, cursor, has_more })
        })
        .await
    }

    async fn rejected_callback(&self, id: &RejectedId) -> Result<Option<RejectedCallback>, StoreError> {
        with_deadline("read a rejected callback", async {
            let rows = self.read(|| statement!(B, REJECTED, id.to_string())).await?;
            Ok(rows.first().map(rejected::<B>).transpose()?.map(|(_, rejected)| rejected))
        })
        .await
    }

    async fn accept_rejected(
        &self,
        id: &RejectedId,
        event: &NewEvent,
        now: Timestamp,
    ) -> Result<Option<Appended>, StoreError> {
        with_deadline("accept a rejected callback", async {
            let mut tx = self.db.rest.begin().await?;
            // The row's lock makes a second call on PostgreSQL wait for the end of this one.
            let removed = B::run(tx.connection(), statement!(B, REMOVE_REJECTED, id.to_string())).await?;
            let appended = if removed > 0 {
                Some(self.append_within(&mut tx, std::slice::from_ref(event), now).await?)
            } else {
                None
            };
            tx.commit().await?;
            Ok(appended)
        })
        .await
    }

    async fn remove_rejected(&self, id: &RejectedId) -> Result<bool, StoreError> {
        with_deadline("delete a rejected callback", async {
            let mut writer = self.db.rest.autocommit().await?;
            let removed = B::run(writer.connection(), statement!(B, REMOVE_REJECTED, id.to_string())).await?;
            writer.finish();
            Ok(removed > 0)
        })
        .await
    }
}

fn rejected<B: Backend>(row: &B::Row) -> Result<ListedRejected, sqlx::Error> {
    let source_ip: Option<String> = column::<B, _>(row, "source_ip")?;
    let source_ip =
        source_ip.map(|text| text.parse()).transpose().map_err(|e| undecodable("source_ip", e))?;
    let rejected = RejectedCallback {
        id: parsed("id", column::<B, String>(row, "id")?)?,
        service: parsed("service", column::<B, String>(row, "service")?)?,
        trust: parsed("trust", column::<B, String>(row, "trust")?)?,
        source_ip,
        received_at: time("received_at", column::<B, _>(row, "received_at")?)?,
        reason: column::<B, _>(row, "reason")?,
        request: column::<B, _>(row, "request")?,
    };
    Ok((Cursor(column::<B, _>(row, "seq")?), rejected))
}
