//! Stores the results of attempts, many in one commit, so that a slow disk does not stall the next attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::health::{AttemptOutcome, HealthTracker};
use super::unsettled::UnsettledDeliveries;
use crate::context::Context;
use crate::domain::{EndpointId, EndpointOutcome, HealthRules, Settlement};
use crate::store::{Settled, SettlementOutcome};

/// Maximum number of results that wait to be written. Attempts wait behind them, so that memory is bounded while the
/// store is unavailable.
const QUEUE: usize = 1024;

/// Maximum number of results of one commit, and of results in it that are tried again.
const MAX_BATCH: usize = 256;

/// Maximum number of results whose rows are held by other transactions. No further results are taken beyond it.
const MAX_BUSY: usize = 4096;

/// Pause after results could not be written.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Pause before results are tried again whose rows were held by another transaction.
const BUSY_DELAY: Duration = Duration::from_millis(250);

/// Starts the result writer and returns its queue. It ends when the last sender is dropped.
pub(super) fn start(
    context: Context,
    rules: HealthRules,
    unsettled: UnsettledDeliveries,
) -> mpsc::Sender<AttemptOutcome> {
    let (sender, results) = mpsc::channel(QUEUE);
    let lifecycle = context.lifecycle.clone();
    let writer = ResultWriter { context, rules, unsettled, busy: BusyResults::default() };
    lifecycle.spawn(writer.run(results));
    sender
}

struct ResultWriter {
    context: Context,
    rules: HealthRules,
    unsettled: UnsettledDeliveries,
    busy: BusyResults,
}

/// Results that are tried again: their rows were held by another transaction, or their lease has been renewed.
#[derive(Default)]
struct BusyResults {
    settlements: Vec<Settlement>,
    outcomes: BTreeMap<EndpointId, EndpointOutcome>,
}

impl BusyResults {
    fn is_empty(&self) -> bool {
        self.settlements.is_empty() && self.outcomes.is_empty()
    }

    /// Takes the outcomes of all endpoints, with later ones added.
    fn take_outcomes(&mut self, later: Vec<EndpointOutcome>) -> Vec<EndpointOutcome> {
        for outcome in later {
            let known = self.outcomes.entry(outcome.endpoint.clone());
            known.and_modify(|earlier| earlier.add(&outcome)).or_insert(outcome);
        }
        std::mem::take(&mut self.outcomes).into_values().collect()
    }

    fn take_settlements(&mut self) -> Vec<Settlement> {
        self.settlements.drain(..self.settlements.len().min(MAX_BATCH)).collect()
    }
}

impl ResultWriter {
    /// Stores results until no more come and all are stored. Results that cannot be stored now do not hold up the others.
    async fn run(mut self, mut results: mpsc::Receiver<AttemptOutcome>) {
        let lifecycle = self.context.lifecycle.clone();
        let mut health = HealthTracker::default();
        let mut batch = Vec::new();
        let mut retry = tokio::time::interval(BUSY_DELAY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        while open || !self.busy.is_empty() {
            let has_room = self.busy.settlements.len() < MAX_BUSY;
            let mut settlements = tokio::select! {
                count = results.recv_many(&mut batch, MAX_BATCH), if open && has_room => {
                    open = count > 0;
                    Vec::new()
                }
                _ = retry.tick(), if !self.busy.is_empty() => self.busy.take_settlements(),
                () = lifecycle.hard().cancelled(), if !self.busy.is_empty() => return,
            };
            let outcomes = self.busy.take_outcomes(health.observe(&batch));
            settlements.extend(batch.drain(..).map(|result| result.settlement));
            self.settle(settlements, outcomes).await;
        }
    }

    /// Tries until the store answers. When remgate has to stop before that, the leases expire and the deliveries are
    /// attempted again: a receiver may then get an event twice, but never not at all.
    async fn settle(&mut self, mut settlements: Vec<Settlement>, outcomes: Vec<EndpointOutcome>) {
        if settlements.is_empty() && outcomes.is_empty() {
            return;
        }
        let Context { store, clock, lifecycle, .. } = self.context.clone();
        loop {
            for settlement in &mut settlements {
                if let Some(token) = self.unsettled.token(settlement.delivery) {
                    settlement.token = token;
                }
            }
            match store.settle(&settlements, &outcomes, self.rules, clock.now()).await {
                Ok(settled) => return self.finish(settlements, outcomes, settled).await,
                Err(e) => {
                    tracing::warn!(error = %e, results = settlements.len(), "failed to store the results of attempts; trying again");
                }
            }
            if lifecycle.hard().run_until_cancelled(tokio::time::sleep(RETRY_DELAY)).await.is_none() {
                return;
            }
        }
    }

    /// Announces what was stored, and keeps the rest for another try.
    async fn finish(
        &mut self,
        settlements: Vec<Settlement>,
        outcomes: Vec<EndpointOutcome>,
        settled: Settled,
    ) {
        // Another lease of the same delivery may be on its way to this process.
        let all_stored = settled.outcomes.iter().all(|outcome| *outcome == SettlementOutcome::Stored);
        let _claiming = if all_stored { None } else { Some(self.unsettled.claiming().await) };
        let mut lost = 0_usize;
        for (settlement, outcome) in settlements.into_iter().zip(settled.outcomes) {
            let delivery = settlement.delivery;
            match outcome {
                SettlementOutcome::Stored | SettlementOutcome::StoredLate => self.unsettled.end(delivery),
                SettlementOutcome::Busy => self.busy.settlements.push(settlement),
                SettlementOutcome::LeaseLost
                    if self.unsettled.token(delivery) != Some(settlement.token.clone()) =>
                {
                    self.busy.settlements.push(settlement);
                }
                SettlementOutcome::LeaseLost => {
                    lost += 1;
                    self.unsettled.end(delivery);
                }
            }
        }
        let busy = outcomes.into_iter().filter(|outcome| settled.busy_endpoints.contains(&outcome.endpoint));
        self.busy.outcomes.extend(busy.map(|outcome| (outcome.endpoint.clone(), outcome)));
        if lost > 0 {
            tracing::warn!(
                lost,
                "some leases had expired before their result was stored; those deliveries are attempted again"
            );
        }
        self.context.announce(&settled.committed);
    }
}
