//! Deliveries: what is due, and leases.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use super::authentications::{EarlyExpectation, early_expectations};
use super::backend::{Backend, statement, with_deadline, within};
use super::endpoints::endpoint;
use super::events::event;
use super::sql::{SqlStore, column, time};
use super::statements::deliveries::{DUE, PENDING};
use super::{Claim, DeliveryStore, Due, Settled, StoreError};
use crate::domain::{DeliveryId, EndpointOutcome, Event, HealthRules, Lease, Settlement};

#[async_trait]
impl<B: Backend> DeliveryStore for SqlStore<B> {
    async fn due(&self) -> Result<Vec<Due>, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "read due deliveries", async {
            let rows = self.read_for_dispatch(|| statement!(B, DUE)).await?;
            let due = rows.iter().map(|row| {
                let endpoint = endpoint::<B>(row)?;
                let due_at = time("due_at", column::<B, _>(row, "due_at")?)?;
                Ok(Due { at: endpoint.health.probe_at.map_or(due_at, |probe| probe.max(due_at)), endpoint })
            });
            due.collect()
        })
        .await
    }

    async fn claim(&self, claims: &[Claim], now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "lease deliveries", async {
            let mut tx = self.db.dispatch.begin_async_commit().await?;
            let mut claimed = Vec::new();
            for claim in claims {
                if let Some(next) = claim.probe {
                    let probe = statement!(
                        B,
                        B::DIALECT.deliveries.probe_endpoint,
                        claim.endpoint.to_string(),
                        next.as_millisecond(),
                        now.as_millisecond(),
                    );
                    if B::run(tx.connection(), probe).await? == 0 {
                        continue;
                    }
                }
                let update = statement!(
                    B,
                    B::DIALECT.deliveries.claim,
                    claim.endpoint.to_string(),
                    now.as_millisecond(),
                    i64::from(claim.count),
                    claim.expires_at.as_millisecond(),
                    claim.token.to_string(),
                );
                let rows = B::rows(tx.connection(), update).await?;
                let rows = rows.iter().map(claimed_row::<B>).map(|row| row.map(|row| (claim, row)));
                claimed.extend(rows.collect::<Result<Vec<_>, _>>()?);
            }
            let seqs: Vec<_> = claimed.iter().map(|(_, row)| row.event_seq).collect();
            let query = statement!(B, B::DIALECT.events.events_by_seq, json!(seqs).to_string());
            let events = B::rows(tx.connection(), query).await?;
            let offered: Vec<_> =
                claimed.iter().filter(|(_, row)| row.offered).map(|(_, row)| row.event_seq).collect();
            let early = early_expectations(&mut tx, &offered).await?;
            tx.commit().await?;
            let events = events.iter().map(|row| Ok((column::<B, i64>(row, "seq")?, event::<B>(row)?)));
            leases(claimed, &events.collect::<Result<_, sqlx::Error>>()?, &early)
        })
        .await
    }

    async fn settle(
        &self,
        settlements: &[Settlement],
        outcomes: &[EndpointOutcome],
        rules: HealthRules,
        now: Timestamp,
    ) -> Result<Settled, StoreError> {
        within(
            B::BACKGROUND_TIMEOUT,
            "settle deliveries",
            self.store_results(settlements, outcomes, rules, now),
        )
        .await
    }

    async fn pending(&self) -> Result<i64, StoreError> {
        with_deadline("count open deliveries", async {
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
    attempts_before: i64,
    replay: bool,
    offered: bool,
}

fn claimed_row<B: Backend>(row: &B::Row) -> Result<ClaimedRow, sqlx::Error> {
    Ok(ClaimedRow {
        delivery: DeliveryId(column::<B, _>(row, "seq")?),
        event_seq: column::<B, _>(row, "event_seq")?,
        attempt_count: column::<B, _>(row, "attempt_count")?,
        attempts_before: column::<B, _>(row, "attempts_before")?,
        replay: column::<B, _>(row, "replay")?,
        offered: column::<B, _>(row, "offered")?,
    })
}

fn leases(
    claimed: Vec<(&Claim, ClaimedRow)>,
    events: &HashMap<i64, Event>,
    early: &HashMap<i64, EarlyExpectation>,
) -> Result<Vec<Lease>, sqlx::Error> {
    let leases = claimed.into_iter().map(|(claim, row)| {
        let event = events.get(&row.event_seq).cloned().ok_or(sqlx::Error::RowNotFound)?;
        let expectation = early.get(&row.event_seq).filter(|_| row.offered);
        let event = expectation.map_or(event.clone(), |expectation| expectation.applied_to(event));
        Ok(Lease {
            delivery: row.delivery,
            token: claim.token.clone(),
            expires_at: claim.expires_at,
            endpoint: claim.endpoint.clone(),
            event,
            attempt_count: u32::try_from(row.attempt_count).unwrap_or(u32::MAX),
            attempts_before: u32::try_from(row.attempts_before).unwrap_or(u32::MAX),
            replay: row.replay,
        })
    });
    leases.collect()
}
