//! Stores the results of attempts, many in one commit, so that a slow disk does not stall the next attempt.

use std::time::Duration;

use tokio::sync::mpsc;

use super::health::{AttemptOutcome, HealthTracker};
use crate::context::Context;
use crate::domain::{EndpointOutcome, HealthRules, Settlement};

/// Maximum number of results that wait to be written. Attempts wait behind them, so that memory is bounded while the
/// store is unavailable.
const QUEUE: usize = 1024;

/// Maximum number of results of one commit.
const MAX_BATCH: usize = 256;

/// Pause after results could not be written.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Starts the result writer and returns its queue. It ends when the last sender is dropped.
pub(super) fn start(context: Context, rules: HealthRules) -> mpsc::Sender<AttemptOutcome> {
    let (sender, results) = mpsc::channel(QUEUE);
    let lifecycle = context.lifecycle.clone();
    lifecycle.spawn(ResultWriter { context, rules }.run(results));
    sender
}

struct ResultWriter {
    context: Context,
    rules: HealthRules,
}

impl ResultWriter {
    async fn run(self, mut results: mpsc::Receiver<AttemptOutcome>) {
        let mut health = HealthTracker::default();
        let mut batch = Vec::new();
        while results.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let outcomes = health.observe(&batch);
            let settlements: Vec<_> = batch.drain(..).map(|result| result.settlement).collect();
            self.settle(&settlements, &outcomes).await;
        }
    }

    /// Tries until the results are stored. When remgate has to stop before that, the leases expire and the deliveries are
    /// attempted again: a receiver may then get an event twice, but never not at all.
    async fn settle(&self, settlements: &[Settlement], outcomes: &[EndpointOutcome]) {
        let Context { store, clock, lifecycle, .. } = &self.context;
        loop {
            match store.settle(settlements, outcomes, self.rules, clock.now()).await {
                Ok(settled) => {
                    if settled.lost > 0 {
                        tracing::warn!(
                            lost = settled.lost,
                            "some leases had expired before their result was stored; those deliveries are attempted again"
                        );
                    }
                    return self.context.announce(&settled.committed);
                }
                Err(e) => {
                    tracing::warn!(error = %e, results = settlements.len(), "failed to store the results of attempts; trying again");
                }
            }
            if lifecycle.hard().run_until_cancelled(tokio::time::sleep(RETRY_DELAY)).await.is_none() {
                return;
            }
        }
    }
}
