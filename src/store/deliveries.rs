//! Deliveries: what is due, leases, and how they end.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::backend::{Backend, statement, within};
use super::endpoints::endpoint;
use super::events::event;
use super::sql::{SqlStore, column, time};
use super::statements::deliveries::{DUE, PENDING};
use super::{Claim, DeliveryStore, Due, Settled, StoreError};
use crate::domain::{AttemptReport, DeliveryId, DeliveryState, Event, Lease, Settlement, Verdict};

#[async_trait]
impl<B: Backend> DeliveryStore for SqlStore<B> {
    async fn due(&self) -> Result<Vec<Due>, StoreError> {
        within("look for due deliveries", async {
            let rows = self.look(|| statement!(B, DUE)).await?;
            let due = rows.iter().map(|row| {
                Ok(Due { endpoint: endpoint::<B>(row)?, at: time("due_at", column::<B, _>(row, "due_at")?)? })
            });
            due.collect()
        })
        .await
    }

    async fn claim(&self, claims: &[Claim], now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        within("lease deliveries", async {
            let mut tx = self.at.dispatch.begin(B::BEGIN_LAX).await?;
            let mut claimed = Vec::new();
            for claim in claims {
                let update = statement!(
                    B,
                    B::DIALECT.deliveries.claim,
                    claim.endpoint.to_string(),
                    now.as_millisecond(),
                    i64::from(claim.count),
                    claim.until.as_millisecond(),
                    claim.token.to_string(),
                );
                let rows = B::rows(tx.connection(), update).await?;
                let rows = rows.iter().map(claimed_row::<B>).map(|row| row.map(|row| (claim, row)));
                claimed.extend(rows.collect::<Result<Vec<_>, _>>()?);
            }
            let seqs: Vec<_> = claimed.iter().map(|(_, row)| row.event_seq).collect();
            let query = statement!(B, B::DIALECT.events.events_by_seq, json!(seqs).to_string());
            let events = B::rows(tx.connection(), query).await?;
            tx.commit().await?;
            let events = events.iter().map(|row| Ok((column::<B, i64>(row, "seq")?, event::<B>(row)?)));
            leases(claimed, &events.collect::<Result<_, sqlx::Error>>()?)
        })
        .await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Settled, StoreError> {
        let rows = Value::Array(settlements.iter().map(settlement_row).collect()).to_string();
        within("settle deliveries", async {
            let mut tx = self.at.dispatch.begin(B::BEGIN_LAX).await?;
            let kept =
                B::run(tx.connection(), statement!(B, B::DIALECT.deliveries.settle, rows.clone())).await?;
            B::run(tx.connection(), statement!(B, B::DIALECT.deliveries.record_attempts, rows)).await?;
            tx.commit().await?;
            Ok(Settled { kept, lost: (settlements.len() as u64).saturating_sub(kept) })
        })
        .await
    }

    async fn pending(&self) -> Result<i64, StoreError> {
        within("count open deliveries", async {
            let rows = self.read(|| statement!(B, PENDING)).await?;
            rows.first().map_or(Ok(0), |row| column::<B, _>(row, "open"))
        })
        .await
    }
}

struct ClaimedRow {
    delivery: DeliveryId,
    event_seq: i64,
    attempt_count: i64,
    replay: bool,
}

fn claimed_row<B: Backend>(row: &B::Row) -> Result<ClaimedRow, sqlx::Error> {
    Ok(ClaimedRow {
        delivery: DeliveryId(column::<B, _>(row, "seq")?),
        event_seq: column::<B, _>(row, "event_seq")?,
        attempt_count: column::<B, _>(row, "attempt_count")?,
        replay: column::<B, _>(row, "replay")?,
    })
}

fn leases(
    claimed: Vec<(&Claim, ClaimedRow)>,
    events: &HashMap<i64, Event>,
) -> Result<Vec<Lease>, sqlx::Error> {
    let leases = claimed.into_iter().map(|(claim, row)| {
        Ok(Lease {
            token: claim.token.clone(),
            delivery: row.delivery,
            endpoint: claim.endpoint.clone(),
            event: events.get(&row.event_seq).cloned().ok_or(sqlx::Error::RowNotFound)?,
            attempt_count: u32::try_from(row.attempt_count).unwrap_or(u32::MAX),
            replay: row.replay,
        })
    });
    leases.collect()
}

/// The columns that `settle` and `record_attempts` read, in their order.
fn settlement_row(it: &Settlement) -> Value {
    let (state, due, settled) = match it.verdict {
        Verdict::Succeeded => (DeliveryState::Succeeded, None, Some(it.at)),
        Verdict::Exhausted => (DeliveryState::Exhausted, None, Some(it.at)),
        Verdict::RetryAt(then) => (DeliveryState::Pending, Some(then), None),
        Verdict::Released => (DeliveryState::Pending, Some(it.at), None),
    };
    let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
    let (seen_at, status, error, elapsed, response) = match &it.report {
        Some(AttemptReport { at, status, error, elapsed, response, .. }) => {
            // PostgreSQL's text holds no NUL, and a receiver may send one.
            let response = response.replace('\0', "\u{fffd}");
            (Some(at.as_millisecond()), *status, *error, Some(elapsed.as_millis()), Some(response))
        }
        None => (None, None, None, None, None),
    };
    let elapsed = elapsed.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
    let counts = u8::from(it.report.is_some());
    let (due, settled) = (millis(due), millis(settled));
    json!([it.delivery.0, it.token, state, counts, due, settled, seen_at, status, error, elapsed, response])
}
