//! Steps of the system clock: when it is put back, times that were stored before are corrected.
//!
//! Retries, leases and expectations wait for a time of day. After a clock that ran ahead is put back, they would wait for as
//! long as it was ahead.

use std::time::Duration;

use jiff::Timestamp;

use crate::context::Context;
use crate::dispatch::lease_for;
use crate::domain::AttemptTimeout;
use crate::store::{Committed, StoreError};

/// Watches the clock.
pub struct ClockSteps {
    context: Context,
    timeout: Duration,
    /// Newest time that was seen.
    newest: Timestamp,
}

/// Interval of the checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Smaller steps are ignored. Time servers correct them without a step.
const TOLERANCE: Duration = Duration::from_secs(2);

impl ClockSteps {
    /// Corrects times that an earlier process has stored. `timeout` is the default maximum time for an attempt.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn new(context: Context, timeout: Duration) -> Result<Self, StoreError> {
        let newest = context.store.newest_time().await?.unwrap_or(Timestamp::MIN);
        let mut steps = Self { context, timeout, newest };
        steps.check().await?;
        Ok(steps)
    }

    /// Works until the soft stop.
    pub async fn run(mut self) {
        let Context { clock, lifecycle, .. } = self.context.clone();
        let soft = lifecycle.soft();
        while !soft.is_cancelled() {
            if let Err(e) = self.check().await {
                tracing::warn!(error = %e, "failed to correct times after the system clock was put back; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                // A clock that jumps ahead is seen at once.
                () = clock.sleep(INTERVAL) => {}
                () = soft.cancelled() => {}
            }
        }
    }

    /// Corrects stored times when the clock is behind the newest time that was seen.
    async fn check(&mut self) -> Result<(), StoreError> {
        let Context { store, clock, .. } = &self.context;
        let now = clock.now();
        if self.newest <= now.checked_add(TOLERANCE).unwrap_or(Timestamp::MAX) {
            self.newest = self.newest.max(now);
            return Ok(());
        }
        let endpoints = store.endpoints().await?;
        let timeouts = endpoints.iter().filter_map(|endpoint| endpoint.settings.sending.timeout);
        let longest = timeouts.map(AttemptTimeout::get).fold(self.timeout, Duration::max);
        store.correct_times(now, lease_for(longest)).await?;
        let behind_s = self.newest.duration_since(now).as_secs();
        tracing::warn!(behind_s, "the system clock was put back; corrected the times of what waits");
        let committed = Committed { deliveries_due: true, next_expiry: Some(now), ..Committed::default() };
        self.context.announce(&committed);
        self.newest = now;
        Ok(())
    }
}
