//! Audit log.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use super::StoreError;
use super::backend::{Backend, statement, with_deadline, within};
use super::sql::{SqlStore, column, parsed, time, undecodable};
use super::statements::audit::{AUDIT_HEAD, FORGET_ENTRIES};
use crate::domain::{Actor, AuditEnd, AuditEntry, AuditFilter, Cursor, NewAuditEntry, Order, Page};

/// Audit log. An entry is begun before the action: if the process ends during the action, its outcome stays
/// `unknown`.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Begins entries, all or none. They are on disk when this returns.
    async fn begin_entries(&self, entries: &[NewAuditEntry]) -> Result<(), StoreError>;

    /// Completes entries with their outcomes.
    async fn end_entries(&self, ends: &[AuditEnd]) -> Result<(), StoreError>;

    /// Deletes at most `most` entries begun before a time, the oldest first. Returns their number.
    async fn forget_entries(&self, before: Timestamp, most: i64) -> Result<u64, StoreError>;

    /// Returns a page. A reader that follows its cursors sees every entry once and in the order in which they began.
    async fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditEntry>, StoreError>;
}

#[async_trait]
impl<B: Backend> AuditLog for SqlStore<B> {
    async fn begin_entries(&self, entries: &[NewAuditEntry]) -> Result<(), StoreError> {
        let rows = entries.iter().map(|entry| {
            let at = entry.at.as_millisecond();
            json!([entry.id, at, entry.who.id, entry.who.name, entry.action, entry.whom, entry.request_id])
        });
        let rows: Vec<_> = rows.collect();
        let record = statement!(B, B::DIALECT.audit.record, json!(rows).to_string());
        self.run_alone("write down what is to be done", record).await
    }

    async fn end_entries(&self, ends: &[AuditEnd]) -> Result<(), StoreError> {
        let rows = ends.iter().map(|end| {
            let detail = end.detail.as_ref().map(ToString::to_string);
            json!([end.id, end.outcome, detail, end.at.as_millisecond()])
        });
        let rows: Vec<_> = rows.collect();
        let end = statement!(B, B::DIALECT.audit.end, json!(rows).to_string());
        self.run_alone("write down what was done", end).await
    }

    async fn forget_entries(&self, before: Timestamp, most: i64) -> Result<u64, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "prune the audit log", async {
            let mut writer = self.db.rest.autocommit().await?;
            let forget = statement!(B, FORGET_ENTRIES, before.as_millisecond(), most);
            let forgotten = B::run(writer.connection(), forget).await?;
            writer.finish();
            Ok(forgotten)
        })
        .await
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditEntry>, StoreError> {
        with_deadline("read the audit log", self.audit_page(filter)).await
    }
}

impl<B: Backend> SqlStore<B> {
    async fn audit_page(&self, filter: &AuditFilter) -> Result<Page<AuditEntry>, sqlx::Error> {
        let texts = &B::DIALECT.audit;
        let (text, from) = match (filter.order, &filter.whom) {
            (Order::Ascending { after }, None) => (texts.entries_after, after.0),
            (Order::Ascending { after }, Some(_)) => (texts.entries_after_of_whom, after.0),
            (Order::Descending { before }, None) => (texts.entries_before, before.map_or(i64::MAX, |c| c.0)),
            (Order::Descending { before }, Some(_)) => {
                (texts.entries_before_of_whom, before.map_or(i64::MAX, |c| c.0))
            }
        };
        let limit = filter.limit.get();
        let query = |head: i64| {
            let query = statement!(
                B,
                text,
                from,
                head,
                json!(filter.actions).to_string(),
                json!(filter.outcomes).to_string(),
                filter.who.clone(),
                filter.since.map(Timestamp::as_millisecond),
                filter.until.map(Timestamp::as_millisecond),
                i64::try_from(limit + 1).unwrap_or(i64::MAX),
            );
            match &filter.whom {
                Some(whom) => B::bind(query, whom.clone()),
                None => query,
            }
        };
        let (head, rows) = self.read_page(|| statement!(B, AUDIT_HEAD), query).await?;
        let mut data = rows.iter().map(entry::<B>).collect::<Result<Vec<_>, _>>()?;
        let has_more = data.len() > limit;
        data.truncate(limit);
        let last = data.last().map(|entry| entry.cursor);
        let cursor = match filter.order {
            Order::Ascending { after } if !has_more => after.max(Cursor(head)),
            Order::Ascending { after } => last.unwrap_or(after),
            Order::Descending { before } => last.or(before).unwrap_or_default(),
        };
        Ok(Page { data, cursor, has_more })
    }
}

fn entry<B: Backend>(row: &B::Row) -> Result<AuditEntry, sqlx::Error> {
    let detail: Option<String> = column::<B, _>(row, "detail")?;
    let detail = detail.map(|text| serde_json::from_str(&text)).transpose();
    let finished: Option<i64> = column::<B, _>(row, "finished_at")?;
    Ok(AuditEntry {
        id: parsed("id", column::<B, String>(row, "id")?)?,
        cursor: Cursor(column::<B, _>(row, "seq")?),
        at: time("at", column::<B, _>(row, "at")?)?,
        who: Actor { id: column::<B, _>(row, "who_id")?, name: column::<B, _>(row, "who_name")? },
        action: column::<B, _>(row, "action")?,
        whom: column::<B, _>(row, "whom")?,
        outcome: column::<B, _>(row, "outcome")?,
        detail: detail.map_err(|e| undecodable("detail", e))?,
        finished_at: finished.map(|at| time("finished_at", at)).transpose()?,
        request_id: column::<B, _>(row, "request_id")?,
    })
}
