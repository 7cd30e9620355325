//! Results of attempts: the rows of the deliveries and of their endpoints are locked, decided on, and written whole.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::backend::{Backend, statement};
use super::endpoints::endpoint;
use super::management::update_endpoint;
use super::sql::{SqlStore, column, parsed};
use super::write_connection::Transaction;
use super::{Committed, Settled, SettlementOutcome};
use crate::domain::{
    AttemptError, AttemptReport, DeliveryId, DeliveryState, Endpoint, EndpointId, EndpointOutcome,
    HealthRules, HealthTransition, LeaseToken, NewEvent, Settlement, Verdict,
};

impl<B: Backend> SqlStore<B> {
    /// Stores results of attempts and the health of their endpoints in one transaction.
    pub(super) async fn store_results(
        &self,
        settlements: &[Settlement],
        outcomes: &[EndpointOutcome],
        rules: HealthRules,
        now: Timestamp,
    ) -> Result<Settled, sqlx::Error> {
        // Events have to be on disk before they are read; the result of an attempt need not be.
        let durable = !outcomes.is_empty() || settlements.iter().any(|settlement| settlement.event.is_some());
        if !durable && are_distinct(settlements) {
            match self.store_leased(settlements).await {
                Err(error) if B::is_lock_timeout(&error) => {}
                stored => return stored,
            }
        }
        let dispatch = &self.db.dispatch;
        let mut tx = if durable { dispatch.begin().await? } else { dispatch.begin_async_commit().await? };
        let mut settled = Settled::default();
        let mut events = Vec::new();
        for outcome in outcomes {
            match lock_free_endpoint(&mut tx, &outcome.endpoint).await? {
                LockedRow::Locked(endpoint) => {
                    let recorded = self.record_health(&mut tx, endpoint, outcome, rules, now);
                    events.extend(recorded.await?.announced_by(&mut settled.committed));
                }
                LockedRow::Busy => settled.busy_endpoints.push(outcome.endpoint.clone()),
                LockedRow::Missing => {}
            }
        }
        let mut rows = lock_deliveries(&mut tx, settlements).await?;
        let mut changes = DeliveryChanges::default();
        for settlement in settlements {
            let outcome = rows.settle_into(settlement, &mut changes);
            if outcome.is_stored() {
                count(settlement.verdict, &mut settled.committed);
                events.extend(settlement.event.clone());
            }
            settled.outcomes.push(outcome);
        }
        changes.write(&mut tx).await?;
        // Appends come last: on PostgreSQL they hold a lock that every other append needs.
        settled.committed.add(self.append_own(&mut tx, &events, now).await?);
        tx.commit().await?;
        Ok(settled)
    }

    /// Stores results without events, most of which still have their lease, without locking their rows first: on PostgreSQL
    /// each lock is a write.
    ///
    /// # Errors
    /// Among others, a lock timeout when another transaction holds one of the rows.
    async fn store_leased(&self, settlements: &[Settlement]) -> Result<Settled, sqlx::Error> {
        let mut tx = self.db.dispatch.begin_async_commit().await?;
        let rows: Vec<_> = settlements.iter().map(SettledRow::from).collect();
        let settle = statement!(B, B::DIALECT.deliveries.settle_leased, json!(rows).to_string());
        let stored = B::rows(tx.connection(), settle).await?;
        let stored = stored.iter().map(|row| column::<B, _>(row, "seq").map(DeliveryId));
        let stored = stored.collect::<Result<HashSet<_>, _>>()?;
        let (leased, lost): (Vec<_>, Vec<_>) =
            settlements.iter().cloned().partition(|settlement| stored.contains(&settlement.delivery));
        let mut changes = DeliveryChanges::default();
        changes.attempts.extend(leased.iter().filter_map(AttemptRow::of));
        let mut settled = Settled::default();
        let mut rows =
            if lost.is_empty() { DeliveryRows::default() } else { lock_deliveries(&mut tx, &lost).await? };
        for settlement in settlements {
            let outcome = if stored.contains(&settlement.delivery) {
                SettlementOutcome::Stored
            } else {
                rows.settle_into(settlement, &mut changes)
            };
            if outcome.is_stored() {
                count(settlement.verdict, &mut settled.committed);
            }
            settled.outcomes.push(outcome);
        }
        changes.write(&mut tx).await?;
        tx.commit().await?;
        Ok(settled)
    }

    /// Records outcomes in the locked row of their endpoint.
    async fn record_health(
        &self,
        tx: &mut Transaction<'_, B>,
        mut endpoint: Endpoint,
        outcome: &EndpointOutcome,
        rules: HealthRules,
        now: Timestamp,
    ) -> Result<HealthChange, sqlx::Error> {
        let mut change = HealthChange::default();
        let (health, transitions) = endpoint.health.record(outcome, now, rules);
        if health == endpoint.health && transitions.is_empty() {
            return Ok(change);
        }
        endpoint.health = health;
        for transition in transitions {
            let id = endpoint.id.clone();
            match transition {
                HealthTransition::HeldBack => change.held_back.push(id),
                HealthTransition::Recovered { before } => {
                    change.recovered.push(id);
                    change.events.push(NewEvent::recovered(&endpoint, before, now, &self.rng));
                }
                HealthTransition::Disabled { reason } if endpoint.enabled => {
                    change.disabled.push(id);
                    change.events.push(NewEvent::disabled(&endpoint, &reason, now, &self.rng));
                    endpoint.enabled = false;
                    endpoint.disabled_reason = Some(reason);
                }
                HealthTransition::Disabled { .. } => {}
            }
        }
        update_endpoint(tx, &endpoint).await?;
        Ok(change)
    }
}

/// Row that was to be locked without waiting.
enum LockedRow<T> {
    Locked(T),
    /// Another transaction holds it.
    Busy,
    Missing,
}

/// Consequences of a change of an endpoint's health.
#[derive(Default)]
struct HealthChange {
    held_back: Vec<EndpointId>,
    recovered: Vec<EndpointId>,
    disabled: Vec<EndpointId>,
    events: Vec<NewEvent>,
}

impl HealthChange {
    /// Adds the changes to those that are announced, and returns the events, which are not stored yet.
    fn announced_by(self, committed: &mut Committed) -> Vec<NewEvent> {
        committed.held_back.extend(self.held_back);
        committed.recovered.extend(self.recovered);
        committed.disabled.extend(self.disabled);
        self.events
    }
}

async fn lock_free_endpoint<B: Backend>(
    tx: &mut Transaction<'_, B>,
    id: &EndpointId,
) -> sqlx::Result<LockedRow<Endpoint>> {
    let lock = statement!(B, B::DIALECT.endpoints.lock_free_endpoint, id.to_string());
    if let Some(row) = B::rows(tx.connection(), lock).await?.first() {
        return Ok(LockedRow::Locked(endpoint::<B>(row)?));
    }
    let existing = statement!(B, B::DIALECT.endpoints.endpoints_named, json!([id]).to_string());
    let exists = !B::rows(tx.connection(), existing).await?.is_empty();
    Ok(if exists { LockedRow::Busy } else { LockedRow::Missing })
}

async fn lock_deliveries<B: Backend>(
    tx: &mut Transaction<'_, B>,
    settlements: &[Settlement],
) -> sqlx::Result<DeliveryRows> {
    let mut wanted: HashSet<_> = settlements.iter().map(|settlement| settlement.delivery).collect();
    let list = |ids: &HashSet<DeliveryId>| json!(ids.iter().map(|id| id.0).collect::<Vec<_>>()).to_string();
    let lock = statement!(B, B::DIALECT.deliveries.lock_deliveries, list(&wanted));
    let mut rows = DeliveryRows::default();
    for row in B::rows(tx.connection(), lock).await? {
        let id = DeliveryId(column::<B, _>(&row, "seq")?);
        let token = column::<B, Option<String>>(&row, "lease_token")?;
        let token = token.map(|token| parsed("lease_token", token)).transpose()?;
        let open = column::<B, bool>(&row, "open")?;
        rows.locked.insert(id, if open { DeliveryRow::Open { token } } else { DeliveryRow::Closed });
        wanted.remove(&id);
    }
    if !wanted.is_empty() {
        let existing = statement!(B, B::DIALECT.deliveries.existing_deliveries, list(&wanted));
        for row in B::rows(tx.connection(), existing).await? {
            rows.busy.insert(DeliveryId(column::<B, _>(&row, "seq")?));
        }
    }
    Ok(rows)
}

/// State of a locked delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DeliveryRow {
    /// Neither succeeded nor given up.
    Open {
        /// Lease token, if the delivery is leased.
        token: Option<LeaseToken>,
    },
    Closed,
}

/// Deliveries of a batch of results. Those that are in neither set do not exist any more.
#[derive(Debug, Default)]
struct DeliveryRows {
    locked: HashMap<DeliveryId, DeliveryRow>,
    /// Held by another transaction.
    busy: HashSet<DeliveryId>,
}

impl DeliveryRows {
    /// Decides on a result, and adds the rows to write.
    fn settle_into(&mut self, settlement: &Settlement, changes: &mut DeliveryChanges) -> SettlementOutcome {
        let outcome = self.settle(settlement);
        if self.locked.contains_key(&settlement.delivery) {
            changes.add(settlement, outcome);
        }
        outcome
    }

    /// Decides on a result and changes the state of its delivery. A result belongs to one lease: that of its token.
    fn settle(&mut self, settlement: &Settlement) -> SettlementOutcome {
        if self.busy.contains(&settlement.delivery) {
            return SettlementOutcome::Busy;
        }
        let Some(row) = self.locked.get_mut(&settlement.delivery) else {
            return SettlementOutcome::LeaseLost;
        };
        let DeliveryRow::Open { token } = row else { return SettlementOutcome::LeaseLost };
        let outcome = if token.as_ref() == Some(&settlement.token) {
            SettlementOutcome::Stored
        } else if settlement.verdict == Verdict::Succeeded {
            SettlementOutcome::StoredLate
        } else {
            return SettlementOutcome::LeaseLost;
        };
        *row = match settlement.verdict {
            Verdict::Succeeded | Verdict::Exhausted => DeliveryRow::Closed,
            Verdict::RetryAt(_) | Verdict::Gone(_) | Verdict::Released => DeliveryRow::Open { token: None },
        };
        outcome
    }
}

/// Rows to write for a batch of results.
#[derive(Debug, Default)]
struct DeliveryChanges {
    settled: BTreeMap<DeliveryId, SettledRow>,
    /// Attempts of lost leases.
    counted: BTreeMap<DeliveryId, CountedRow>,
    attempts: Vec<AttemptRow>,
}

#[derive(Debug, Serialize)]
struct SettledRow {
    seq: i64,
    token: String,
    state: DeliveryState,
    attempts: u32,
    due_at: Option<i64>,
    settled_at: Option<i64>,
}

#[derive(Debug, Serialize)]
struct CountedRow {
    seq: i64,
    attempts: u32,
}

#[derive(Debug, Serialize)]
struct AttemptRow {
    delivery: i64,
    at: i64,
    status: Option<u16>,
    error: Option<&'static str>,
    elapsed_ms: u64,
    response: String,
}

impl DeliveryChanges {
    fn add(&mut self, settlement: &Settlement, outcome: SettlementOutcome) {
        let id = settlement.delivery;
        match outcome {
            SettlementOutcome::Busy => return,
            SettlementOutcome::Stored | SettlementOutcome::StoredLate => {
                let earlier = self.settled.get(&id).map_or(0, |row| row.attempts);
                let row = SettledRow::from(settlement);
                self.settled.insert(id, SettledRow { attempts: row.attempts + earlier, ..row });
            }
            SettlementOutcome::LeaseLost => {
                let row = self.counted.entry(id).or_insert(CountedRow { seq: id.0, attempts: 0 });
                row.attempts += u32::from(settlement.report.is_some());
            }
        }
        self.attempts.extend(AttemptRow::of(settlement));
    }

    async fn write<B: Backend>(&self, tx: &mut Transaction<'_, B>) -> sqlx::Result<()> {
        let settled: Vec<_> = self.settled.values().collect();
        let counted: Vec<_> = self.counted.values().collect();
        let texts = &B::DIALECT.deliveries;
        for (text, rows) in [
            (texts.settle, json!(settled)),
            (texts.count_attempts, json!(counted)),
            (texts.record_attempts, json!(self.attempts)),
        ] {
            if rows.as_array().is_some_and(|rows| !rows.is_empty()) {
                B::run(tx.connection(), statement!(B, text, rows.to_string())).await?;
            }
        }
        Ok(())
    }
}

impl From<&Settlement> for SettledRow {
    fn from(settlement: &Settlement) -> Self {
        let (state, due, settled) = match settlement.verdict {
            Verdict::Succeeded => (DeliveryState::Succeeded, None, Some(settlement.at)),
            Verdict::Exhausted => (DeliveryState::Exhausted, None, Some(settlement.at)),
            Verdict::RetryAt(then) | Verdict::Gone(then) => (DeliveryState::Pending, Some(then), None),
            Verdict::Released => (DeliveryState::Pending, Some(settlement.at), None),
        };
        Self {
            seq: settlement.delivery.0,
            token: settlement.token.to_string(),
            state,
            attempts: u32::from(settlement.report.is_some()),
            due_at: due.map(Timestamp::as_millisecond),
            settled_at: settled.map(Timestamp::as_millisecond),
        }
    }
}

impl AttemptRow {
    /// Returns the row of an attempt, if one was made.
    fn of(settlement: &Settlement) -> Option<Self> {
        let AttemptReport { at, status, error, elapsed, response, .. } = settlement.report.as_ref()?;
        Some(Self {
            delivery: settlement.delivery.0,
            at: at.as_millisecond(),
            status: *status,
            error: error.map(AttemptError::as_str),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            // PostgreSQL's text holds no NUL, and a receiver may send one.
            response: response.replace('\0', "\u{fffd}"),
        })
    }
}

fn are_distinct(settlements: &[Settlement]) -> bool {
    let mut seen = HashSet::with_capacity(settlements.len());
    settlements.iter().all(|settlement| seen.insert(settlement.delivery))
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::domain::RandomSource;

    const DELIVERY: DeliveryId = DeliveryId(1);
    const LATER: Timestamp = Timestamp::UNIX_EPOCH;

    fn token(seed: u64) -> LeaseToken {
        LeaseToken::new(Timestamp::UNIX_EPOCH, &RandomSource::seeded(seed))
    }

    fn settlement(seed: u64, verdict: Verdict) -> Settlement {
        let at = Timestamp::UNIX_EPOCH;
        Settlement { delivery: DELIVERY, token: token(seed), verdict, at, report: None, event: None }
    }

    fn open(token: Option<LeaseToken>) -> DeliveryRows {
        let locked = HashMap::from([(DELIVERY, DeliveryRow::Open { token })]);
        DeliveryRows { locked, busy: HashSet::new() }
    }

    #[rstest]
    #[case::held(Some(1), Verdict::Exhausted, SettlementOutcome::Stored)]
    #[case::leased_again(Some(2), Verdict::Exhausted, SettlementOutcome::LeaseLost)]
    #[case::leased_again_and_accepted(Some(2), Verdict::Succeeded, SettlementOutcome::StoredLate)]
    #[case::expired(None, Verdict::RetryAt(LATER), SettlementOutcome::LeaseLost)]
    #[case::expired_and_accepted(None, Verdict::Succeeded, SettlementOutcome::StoredLate)]
    fn a_result_belongs_to_its_lease(
        #[case] holder: Option<u64>,
        #[case] verdict: Verdict,
        #[case] outcome: SettlementOutcome,
    ) {
        assert_eq!(open(holder.map(token)).settle(&settlement(1, verdict)), outcome);
    }

    #[test]
    fn a_closed_delivery_does_not_change() {
        let locked = HashMap::from([(DELIVERY, DeliveryRow::Closed)]);
        let mut rows = DeliveryRows { locked, busy: HashSet::new() };
        assert_eq!(rows.settle(&settlement(1, Verdict::Succeeded)), SettlementOutcome::LeaseLost);
    }

    #[test]
    fn a_row_that_is_held_by_others_is_busy() {
        let mut rows = DeliveryRows { locked: HashMap::new(), busy: HashSet::from([DELIVERY]) };
        assert_eq!(rows.settle(&settlement(1, Verdict::Succeeded)), SettlementOutcome::Busy);
    }

    #[test]
    fn of_two_results_of_one_delivery_each_is_for_its_own_lease() {
        let mut rows = open(Some(token(2)));
        let outcomes = [(1, Verdict::Exhausted), (2, Verdict::Exhausted), (2, Verdict::Succeeded)]
            .map(|(seed, verdict)| rows.settle(&settlement(seed, verdict)));
        let lost = SettlementOutcome::LeaseLost;
        assert_eq!(outcomes, [lost, SettlementOutcome::Stored, lost]);
    }
}
