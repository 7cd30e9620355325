//! Ends what nobody completed in time, and says so.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{AuthenticationName, Chance, Clock, EventId, EventType, NewEvent, Trust};
use crate::lifecycle::Lifecycle;
use crate::store::{RunOut, Store, StoreError};
use crate::telemetry::Metrics;
use crate::wake::Wake;

/// Ends expectations, on every replica; each is ended by one of them.
pub struct Expiry {
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// Who is told.
    pub wake: Wake,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What names the events.
    pub chance: Chance,
    /// What is counted.
    pub metrics: Metrics,
    /// When to stop.
    pub lifecycle: Lifecycle,
}

/// How many one transaction ends. Callbacks wait for it.
const AT_ONCE: i64 = 200;

/// How long it sleeps at most: another replica may have died with what it knew.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long to wait when the store could not be asked.
const AGAIN: Duration = Duration::from_secs(1);

impl Expiry {
    /// Works until the soft stop.
    pub async fn run(self) {
        let soft = self.lifecycle.soft().clone();
        let mut soonest = self.wake.watch_soonest();
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
                () = tokio::time::sleep(AGAIN), if pause => {}
                () = self.clock.sleep_until(then), if !pause => {}
                () = soonest.sooner_than(then), if !pause => {}
                () = soft.cancelled() => {}
            }
        }
    }

    /// Ends some. Says when to look again, or nothing when there may be more at once.
    async fn step(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let later = now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        match self.store.next_expiry().await? {
            Some(next) if next <= now => {
                let make = |name| self.event(name, now);
                self.announce(&self.store.run_out(AT_ONCE, &make, now).await?);
                Ok(None)
            }
            Some(next) => Ok(Some(next.min(later))),
            None => Ok(Some(later)),
        }
    }

    fn announce(&self, run_out: &RunOut) {
        if run_out.names.is_empty() {
            return;
        }
        for name in &run_out.names {
            self.metrics.event(EventType::Expired.as_str());
            self.wake.authentication_over(name);
        }
        self.wake.events_stored();
        if run_out.deliveries > 0 {
            self.metrics.deliveries("pending", run_out.deliveries as u64);
            self.wake.deliveries_due();
        }
    }

    fn event(&self, name: AuthenticationName, now: Timestamp) -> NewEvent {
        NewEvent {
            id: EventId::new(now, &self.chance),
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
