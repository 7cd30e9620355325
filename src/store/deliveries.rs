//! Deliveries: what is due, leases, and how they end.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::authentications::{EarlyExpectation, early_expectations};
use super::backend::{Backend, statement, with_deadline};
use super::endpoints::endpoint;
use super::events::event;
use super::management::{lock_endpoint, update_endpoint};
use super::sql::{SqlStore, column, time};
use super::statements::deliveries::{DUE, PENDING, PROBE_ENDPOINT};
use super::write_connection::Transaction;
use super::{Claim, Committed, DeliveryStore, Due, Settled, StoreError};
use crate::domain::{
    AttemptReport, DeliveryId, DeliveryState, EndpointOutcome, Event, HealthRules, HealthTransition, Lease,
    NewEvent, Settlement, Verdict,
};

#[async_trait]
impl<B: Backend> DeliveryStore for SqlStore<B> {
    async fn due(&self) -> Result<Vec<Due>, StoreError> {
        with_deadline("read due deliveries", async {
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
        with_deadline("lease deliveries", async {
            let mut tx = self.db.dispatch.begin(B::BEGIN_ASYNC_COMMIT).await?;
            let mut claimed = Vec::new();
            for claim in claims {
                if let Some(next) = claim.probe {
                    let probe = statement!(
                        B,
                        PROBE_ENDPOINT,
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
        let rows = Value::Array(settlements.iter().map(settlement_row).collect()).to_string();
        let has_events = settlements.iter().any(|settlement| settlement.event.is_some());
        with_deadline("settle deliveries", async {
            // Events have to be on disk before they are read; the result of an attempt need not be.
            let durable = has_events || !outcomes.is_empty();
            let begin = if durable { B::BEGIN } else { B::BEGIN_ASYNC_COMMIT };
            let mut tx = self.db.dispatch.begin(begin).await?;
            let mut committed = Committed::default();
            let mut events = Vec::new();
            // Rows of endpoints are locked before rows of deliveries everywhere; appends come last.
            for outcome in outcomes {
                events.extend(self.record_health(&mut tx, outcome, rules, now, &mut committed).await?);
            }
            let kept =
                B::rows(tx.connection(), statement!(B, B::DIALECT.deliveries.settle, rows.clone())).await?;
            let kept = kept.iter().map(|row| column::<B, _>(row, "seq").map(DeliveryId));
            let kept = kept.collect::<Result<HashSet<_>, _>>()?;
            if kept.len() < settlements.len() {
                let rows = lost_rows(settlements, &kept);
                B::run(tx.connection(), statement!(B, B::DIALECT.deliveries.count_attempts, rows)).await?;
            }
            B::run(tx.connection(), statement!(B, B::DIALECT.deliveries.record_attempts, rows)).await?;
            for settlement in settlements.iter().filter(|settlement| kept.contains(&settlement.delivery)) {
                count(settlement.verdict, &mut committed);
                events.extend(settlement.event.clone());
            }
            committed.add(self.append_own(&mut tx, &events, now).await?);
            tx.commit().await?;
            Ok(Settled { lost: settlements.len() - kept.len(), committed })
        })
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

impl<B: Backend> SqlStore<B> {
    /// Records outcomes in the row of their endpoint. Returns the events about what has changed.
    async fn record_health(
        &self,
        tx: &mut Transaction<'_, B>,
        outcome: &EndpointOutcome,
        rules: HealthRules,
        now: Timestamp,
        committed: &mut Committed,
    ) -> Result<Vec<NewEvent>, sqlx::Error> {
        let Some(mut endpoint) = lock_endpoint(tx, &outcome.endpoint).await? else { return Ok(Vec::new()) };
        let (health, transitions) = endpoint.health.record(outcome, now, rules);
        if health == endpoint.health && transitions.is_empty() {
            return Ok(Vec::new());
        }
        endpoint.health = health;
        let mut events = Vec::new();
        for transition in transitions {
            let id = endpoint.id.clone();
            match transition {
                HealthTransition::HeldBack => committed.held_back.push(id),
                HealthTransition::Recovered { before } => {
                    committed.recovered.push(id);
                    events.push(NewEvent::recovered(&endpoint, before, now, &self.rng));
                }
                HealthTransition::Disabled { reason } if endpoint.enabled => {
                    committed.disabled.push(id);
                    events.push(NewEvent::disabled(&endpoint, &reason, now, &self.rng));
                    endpoint.enabled = false;
                    endpoint.disabled_reason = Some(reason);
                }
                HealthTransition::Disabled { .. } => {}
            }
        }
        update_endpoint(tx, &endpoint).await?;
        Ok(events)
    }
}

/// Counts the consequence of an attempt.
fn count(verdict: Verdict, committed: &mut Committed) {
    match verdict {
        Verdict::Succeeded => committed.deliveries.succeeded += 1,
        Verdict::Exhausted => committed.deliveries.exhausted += 1,
        // It may be due sooner than any delivery that dispatch waits for.
        Verdict::RetryAt(_) | Verdict::Gone(_) | Verdict::Released => committed.deliveries_due = true,
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

/// Settlements whose lease was lost, as JSON.
fn lost_rows(settlements: &[Settlement], kept: &HashSet<DeliveryId>) -> String {
    let lost = settlements.iter().filter(|settlement| !kept.contains(&settlement.delivery));
    Value::Array(lost.map(settlement_row).collect()).to_string()
}

/// Columns that `settle` and `record_attempts` read, in their order.
fn settlement_row(settlement: &Settlement) -> Value {
    let (state, due, settled) = match settlement.verdict {
        Verdict::Succeeded => (DeliveryState::Succeeded, None, Some(settlement.at)),
        Verdict::Exhausted => (DeliveryState::Exhausted, None, Some(settlement.at)),
        Verdict::RetryAt(then) | Verdict::Gone(then) => (DeliveryState::Pending, Some(then), None),
        Verdict::Released => (DeliveryState::Pending, Some(settlement.at), None),
    };
    let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
    let (seen_at, status, error, elapsed, response) = match &settlement.report {
        Some(AttemptReport { at, status, error, elapsed, response, .. }) => {
            // PostgreSQL's text holds no NUL, and a receiver may send one.
            let response = response.replace('\0', "\u{fffd}");
            (Some(at.as_millisecond()), *status, *error, Some(elapsed.as_millis()), Some(response))
        }
        None => (None, None, None, None, None),
    };
    let elapsed = elapsed.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
    let counts = u8::from(settlement.report.is_some());
    let due = millis(due);
    let settled = millis(settled);
    json!([
        settlement.delivery.0,
        settlement.token,
        state,
        counts,
        due,
        settled,
        seen_at,
        status,
        error,
        elapsed,
        response
    ])
}
