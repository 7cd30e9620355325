//! Writes down what attempts came to, many at once, so that one slow disk write does not stall the next attempt.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::driver::DriverParts;
use super::health::{AttemptOutcome, HealthTracker};
use crate::domain::{Clock, EndpointOutcome, Settlement, Verdict};
use crate::notifier::Notifier;
use crate::store::{Settled, Store};
use crate::telemetry::Metrics;

/// Maximum number of results that wait to be written. Attempts wait behind them, so that memory is bounded while the
/// store is unavailable.
const QUEUE: usize = 1024;

/// Maximum number of results of one commit.
const MAX_BATCH: usize = 256;

/// Pause after results could not be written.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Starts the settler; results go into the channel. It ends when the last sender is gone.
pub(super) fn start(parts: &DriverParts) -> mpsc::Sender<AttemptOutcome> {
    let (sender, mut results) = mpsc::channel(QUEUE);
    let result_writer = ResultWriter {
        store: Arc::clone(&parts.store),
        clock: Arc::clone(&parts.clock),
        notifier: parts.notifier.clone(),
        metrics: parts.metrics.clone(),
        hard: parts.lifecycle.hard().clone(),
    };
    let mut observer = HealthTracker::new(parts.rng.clone(), parts.disable_after);
    parts.lifecycle.spawn(async move {
        let mut batch = Vec::new();
        while results.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let seen = observer.observe(&batch, result_writer.clock.now());
            let settlements: Vec<_> = batch.drain(..).map(|ended| ended.settlement).collect();
            result_writer.settle(&settlements, &seen).await;
        }
    });
    sender
}

struct ResultWriter {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    notifier: Notifier,
    metrics: Metrics,
    hard: CancellationToken,
}

impl ResultWriter {
    /// Tries until it is written. When remgate is made to stop before that, the leases run out and the deliveries are
    /// attempted again: a receiver may then see an event twice, never not at all.
    async fn settle(&self, batch: &[Settlement], observed: &[EndpointOutcome]) {
        loop {
            match self.store.settle(batch, observed, self.clock.now()).await {
                Ok(settled) => {
                    if settled.lost > 0 {
                        tracing::warn!(
                            lost = settled.lost,
                            "some leases had run out before their result was written; those deliveries are attempted again"
                        );
                    }
                    self.announce(batch, &settled);
                    return;
                }
                Err(e) => {
                    tracing::warn!(error = %e, results = batch.len(), "could not write down results of attempts; trying again");
                }
            }
            if self.hard.run_until_cancelled(tokio::time::sleep(RETRY_DELAY)).await.is_none() {
                return;
            }
        }
    }

    fn announce(&self, batch: &[Settlement], settled: &Settled) {
        let count =
            |verdict: Verdict| batch.iter().filter(|settlement| settlement.verdict == verdict).count() as u64;
        let succeeded = count(Verdict::Succeeded);
        let exhausted = count(Verdict::Exhausted);
        if succeeded > 0 {
            self.metrics.deliveries("succeeded", succeeded);
        }
        if exhausted > 0 {
            self.metrics.deliveries("exhausted", exhausted);
        }
        if succeeded + exhausted < batch.len() as u64 {
            // Some are due again, perhaps sooner than anything that the driver sleeps for.
            self.notifier.deliveries_due();
        }
        self.report(settled);
    }

    /// Reports the effects of a batch besides the ends of leases.
    fn report(&self, settled: &Settled) {
        for endpoint in &settled.released {
            tracing::info!(%endpoint, "an endpoint answers again; its deliveries are no longer held back");
        }
        for endpoint in &settled.disabled {
            tracing::error!(%endpoint, "an endpoint was disabled by a rule; see its disabled_reason");
        }
        if !settled.disabled.is_empty() {
            self.notifier.endpoints_changed();
        }
        for event_type in &settled.announced {
            self.metrics.event(event_type.as_str());
        }
        if settled.owed > 0 {
            self.metrics.deliveries("pending", settled.owed as u64);
        }
        if !settled.announced.is_empty() {
            self.notifier.events_stored();
        }
        if settled.owed > 0 || !settled.released.is_empty() {
            self.notifier.deliveries_due();
        }
    }
}
