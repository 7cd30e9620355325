//! Expires authentications that were not completed in time, and stores the event about it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{AuthenticationName, Clock, EventId, EventType, NewEvent, RandomSource, Trust};
use crate::lifecycle::Lifecycle;
use crate::notifier::Notifier;
use crate::store::{ExpiredBatch, Store, StoreError};
use crate::telemetry::Metrics;

/// Ends expectations, on every replica; each is ended by one of them.
pub struct Expiry {
    /// Store of authentications.
    pub store: Arc<dyn Store>,
    /// Notifier of the expired authentications.
    pub notifier: Notifier,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Source of randomness, for ids of events.
    pub rng: RandomSource,
    /// Metrics handle.
    pub metrics: Metrics,
    /// Lifecycle of the process.
    pub lifecycle: Lifecycle,
}

/// Maximum number that one transaction expires. Callbacks wait for the transaction.
const BATCH_SIZE: i64 = 200;

/// Maximum time between two looks: another replica may have ended before it expired its own.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Pause after the store could not be read.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Expiry {
    /// Works until the soft stop.
    pub async fn run(self) {
        let soft = self.lifecycle.soft().clone();
        let mut soonest = self.notifier.watch_soonest();
        while !soft.is_cancelled() {
            // Whatever is said after this is news; whatever was said before stands in the store.
            soonest.forget();
            let (pause, then) = match self.step().await {
                Ok(Some(then)) => (false, then),
                Ok(None) => continue,
                Err(e) => {
                    tracing::warn!(error = %e, "could not end expectations; will try again");
                    (true, Timestamp::MAX)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(RETRY_DELAY), if pause => {}
                () = self.clock.sleep_until(then), if !pause => {}
                () = soonest.sooner_than(then), if !pause => {}
                () = soft.cancelled() => {}
            }
        }
    }

    /// Ends some. Says when to look again, or nothing when there may be more at once.
    async fn step(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let later = now.checked_add(POLL_INTERVAL).unwrap_or(Timestamp::MAX);
        match self.store.next_expiry().await? {
            Some(next) if next <= now => {
                let make = |name| self.event(name, now);
                self.announce(&self.store.expire_due(BATCH_SIZE, &make, now).await?);
                Ok(None)
            }
            Some(next) => Ok(Some(next.min(later))),
            None => Ok(Some(later)),
        }
    }

    fn announce(&self, expire_due: &ExpiredBatch) {
        if expire_due.names.is_empty() {
            return;
        }
        for name in &expire_due.names {
            self.metrics.event(EventType::Expired.as_str());
            self.notifier.authentication_over(name);
        }
        self.notifier.events_stored();
        if expire_due.deliveries > 0 {
            self.metrics.deliveries("pending", expire_due.deliveries as u64);
            self.notifier.deliveries_due();
        }
    }

    fn event(&self, name: AuthenticationName, now: Timestamp) -> NewEvent {
        NewEvent {
            id: EventId::new(now, &self.rng),
            event_type: EventType::Expired,
            service: Some(name.service),
            uaid: Some(name.uaid),
            trust: Trust::Own,
            source_ip: None,
            received_at: now,
            detail: None,
            about: None,
        }
    }
}
