//! Deliveries: what is due, leases, and how they end.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::authentications::{EarlyExpectation, early_expectations};
use super::backend::{Backend, statement, with_deadline};
use super::endpoints::endpoint;
use super::events::event;
use super::sql::{SqlStore, column, time};
use super::statements::deliveries::{
    DISABLE_BY_RULE, DUE, END_HOLD, PENDING, PROBE_ENDPOINT, RECORD_FAILURES, RESET_FAILURES,
};
use super::write_connection::Transaction;
use super::{Claim, DeliveryStore, Due, Settled, StoreError};
use crate::domain::{
    AttemptReport, DeliveryId, DeliveryState, DisableRequest, EndpointOutcome, Event, HELD_BACK_AFTER, Lease,
    NewEvent, PROBE_EVERY, Settlement, Verdict, stretch_ends,
};

#[async_trait]
impl<B: Backend> DeliveryStore for SqlStore<B> {
    async fn due(&self) -> Result<Vec<Due>, StoreError> {
        with_deadline("look for due deliveries", async {
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
        observed: &[EndpointOutcome],
        now: Timestamp,
    ) -> Result<Settled, StoreError> {
        let rows = Value::Array(settlements.iter().map(settlement_row).collect()).to_string();
        let telling =
            !observed.is_empty() || settlements.iter().any(|settlement| settlement.notice.is_some());
        with_deadline("settle deliveries", async {
            // What is told to others has to be on disk; that an attempt was made need not be.
            let begin = if telling { B::BEGIN } else { B::BEGIN_ASYNC_COMMIT };
            let mut tx = self.db.dispatch.begin(begin).await?;
            let mut settled = Settled::default();
            let mut notices = Vec::new();
            // Rows of endpoints are locked before rows of deliveries everywhere; appends come last.
            for outcome in observed {
                note::<B>(&mut tx, outcome, &mut settled, &mut notices).await?;
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
            let ours = settlements.iter().filter(|settlement| kept.contains(&settlement.delivery));
            notices.extend(ours.filter_map(|settlement| settlement.notice.clone()));
            if !notices.is_empty() {
                settled.owed = self.append_within(&mut tx, &notices, now).await?.deliveries;
            }
            tx.commit().await?;
            settled.announced = notices.iter().map(|notice| notice.event_type).collect();
            settled.kept = kept.len() as u64;
            settled.lost = (settlements.len() as u64).saturating_sub(settled.kept);
            Ok(settled)
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

/// Keeps what was observed of an endpoint, and does what follows from it.
async fn note<B: Backend>(
    tx: &mut Transaction<'_, B>,
    outcome: &EndpointOutcome,
    settled: &mut Settled,
    notices: &mut Vec<NewEvent>,
) -> Result<(), sqlx::Error> {
    let id = || outcome.endpoint.to_string();
    if let Some(notice) = &outcome.succeeded {
        if B::run(tx.connection(), statement!(B, END_HOLD, id())).await? > 0 {
            settled.released.push(outcome.endpoint.clone());
            notices.push(notice.clone());
        } else {
            B::run(tx.connection(), statement!(B, RESET_FAILURES, id())).await?;
        }
    }
    let mut disabling = outcome.gone.as_ref();
    if outcome.failures > 0 {
        let disable_by = outcome.given_up.as_ref().map_or(Timestamp::MIN, |(by, _)| *by);
        let probe_at = outcome.at.checked_add(PROBE_EVERY).unwrap_or(Timestamp::MAX);
        let blame = statement!(
            B,
            RECORD_FAILURES,
            id(),
            i64::try_from(outcome.failures).unwrap_or(i64::MAX),
            outcome.at.as_millisecond(),
            i64::try_from(HELD_BACK_AFTER).unwrap_or(i64::MAX),
            probe_at.as_millisecond(),
            stretch_ends(outcome.at, disable_by).as_millisecond(),
        );
        let rows = B::rows(tx.connection(), blame).await?;
        let since = rows.first().map(|row| column::<B, i64>(row, "failing_since")).transpose()?;
        let given_up = outcome.given_up.as_ref();
        let given_up = given_up.filter(|(by, _)| since.is_some_and(|since| since <= by.as_millisecond()));
        disabling = disabling.or(given_up.map(|(_, disabling)| disabling));
    }
    if let Some(DisableRequest { reason, notice }) = disabling {
        let disable = statement!(B, DISABLE_BY_RULE, id(), reason.clone());
        if B::run(tx.connection(), disable).await? > 0 {
            settled.disabled.push(outcome.endpoint.clone());
            notices.push(notice.clone());
        }
    }
    Ok(())
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
            token: claim.token.clone(),
            delivery: row.delivery,
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

/// The columns that `settle` and `record_attempts` read, in their order.
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
