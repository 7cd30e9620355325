//! From the results of a batch to what they say about each endpoint.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::operational_events;
use crate::domain::{
    DisableRequest, Endpoint, EndpointId, EndpointOutcome, RandomSource, Settlement, Verdict,
};

/// End of a lease, with its endpoint.
#[derive(Debug)]
pub(super) struct AttemptOutcome {
    pub(super) settlement: Settlement,
    /// None when no attempt was made.
    pub(super) endpoint: Option<Arc<Endpoint>>,
}

/// Sums up what attempts say, so that each endpoint is written once a batch, and a good one not at all.
pub(super) struct HealthTracker {
    rng: RandomSource,
    disable_after: Duration,
    /// Endpoints that failed here since their last success: the store knows of failures, and has to hear of a success.
    troubled: HashSet<EndpointId>,
}

impl HealthTracker {
    pub(super) fn new(rng: RandomSource, disable_after: Duration) -> Self {
        Self { rng, disable_after, troubled: HashSet::new() }
    }

    /// Outcomes of a batch, sorted by endpoint, so that two processes lock the same rows in the same order.
    pub(super) fn observe(&mut self, batch: &[AttemptOutcome], now: Timestamp) -> Vec<EndpointOutcome> {
        let mut seen: BTreeMap<EndpointId, EndpointOutcome> = BTreeMap::new();
        for ended in batch {
            let (Some(endpoint), settlement) = (&ended.endpoint, &ended.settlement) else { continue };
            if settlement.report.as_ref().is_some_and(crate::domain::AttemptReport::accepted) {
                let in_trouble = self.troubled.remove(&endpoint.id) || endpoint.health.failures > 0;
                if in_trouble || seen.contains_key(&endpoint.id) {
                    let notice = operational_events::recovered(endpoint, now, &self.rng);
                    let outcome = seen.entry(endpoint.id.clone()).or_insert_with(|| nothing(endpoint, now));
                    (outcome.succeeded, outcome.failures) = (Some(notice), 0);
                }
            } else {
                self.troubled.insert(endpoint.id.clone());
                let outcome = seen.entry(endpoint.id.clone()).or_insert_with(|| nothing(endpoint, now));
                outcome.failures += 1;
                self.consequences(outcome, endpoint, settlement, now);
            }
        }
        seen.into_values().collect()
    }

    fn consequences(
        &self,
        outcome: &mut EndpointOutcome,
        endpoint: &Endpoint,
        settlement: &Settlement,
        now: Timestamp,
    ) {
        if matches!(settlement.verdict, Verdict::Gone(_)) && outcome.gone.is_none() {
            outcome.gone = Some(self.disabling(endpoint, "its receiver answered 410 Gone".to_owned(), now));
        }
        if outcome.given_up.is_none() {
            let by = now.checked_sub(self.disable_after).unwrap_or(Timestamp::MIN);
            let days = crate::domain::HumanDuration(self.disable_after);
            let reason = format!("nothing but failures for {days} (delivery.disable_after)");
            outcome.given_up = Some((by, self.disabling(endpoint, reason, now)));
        }
    }

    fn disabling(&self, endpoint: &Endpoint, reason: String, now: Timestamp) -> DisableRequest {
        let notice = operational_events::disabled(endpoint, &reason, now, &self.rng);
        DisableRequest { reason, notice }
    }
}

fn nothing(endpoint: &Endpoint, at: Timestamp) -> EndpointOutcome {
    EndpointOutcome {
        endpoint: endpoint.id.clone(),
        at,
        succeeded: None,
        failures: 0,
        gone: None,
        given_up: None,
    }
}
