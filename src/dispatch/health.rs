//! Outcomes of a batch of attempts by endpoint.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::domain::{AttemptReport, Endpoint, EndpointId, EndpointOutcome, Settlement, Verdict};

/// End of a lease, with its endpoint.
#[derive(Debug)]
pub(super) struct AttemptOutcome {
    pub(super) settlement: Settlement,
    /// `None` when no attempt was made.
    pub(super) endpoint: Option<Arc<Endpoint>>,
}

/// Sums up attempts by endpoint, so that the row of a failing endpoint is written once a batch, and that of a good one not
/// at all.
#[derive(Default)]
pub(super) struct HealthTracker {
    /// Endpoints that failed here since their last success. The cached endpoint may be older than the failures.
    failing: HashSet<EndpointId>,
}

impl HealthTracker {
    /// Returns the outcomes that the store has to know, sorted by endpoint, so that two processes lock the same rows in the
    /// same order.
    pub(super) fn observe(&mut self, batch: &[AttemptOutcome]) -> Vec<EndpointOutcome> {
        let mut outcomes: BTreeMap<EndpointId, EndpointOutcome> = BTreeMap::new();
        for AttemptOutcome { settlement, endpoint } in batch {
            let Some(endpoint) = endpoint else { continue };
            let id = &endpoint.id;
            let accepted = settlement.report.as_ref().is_some_and(AttemptReport::accepted);
            if accepted {
                let failing = self.failing.remove(id) || endpoint.health.failures > 0;
                if !failing && !outcomes.contains_key(id) {
                    continue;
                }
            } else {
                self.failing.insert(id.clone());
            }
            let outcome = outcomes.entry(id.clone()).or_insert_with(|| EndpointOutcome::none(id.clone()));
            outcome.succeeded |= accepted;
            outcome.failures = if accepted { 0 } else { outcome.failures + 1 };
            outcome.gone |= matches!(settlement.verdict, Verdict::Gone(_));
        }
        outcomes.into_values().collect()
    }
}
