//! Expires authentications that were not completed in time.

use std::time::Duration;

use jiff::Timestamp;

use crate::context::Context;
use crate::store::StoreError;

/// Expires authentications. Every replica does; each authentication is expired by one of them.
pub struct Expiry(pub Context);

/// Maximum number that one transaction expires. Callbacks wait for the transaction.
const BATCH_SIZE: i64 = 200;

/// Maximum time between two looks: another replica may have ended before it expired its own.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Pause after the store could not be read, or while other transactions hold what is to expire.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Expiry {
    /// Works until the soft stop.
    pub async fn run(self) {
        let Context { notifier, clock, lifecycle, .. } = &self.0;
        let soft = lifecycle.soft();
        let mut soonest = notifier.watch_soonest();
        while !soft.is_cancelled() {
            // Expectations that were announced before this are in the store; later ones wake the wait below.
            soonest.forget();
            let (pause, then) = match self.step().await {
                Ok(Some(then)) => (false, then),
                Ok(None) => continue,
                Err(e) => {
                    tracing::warn!(error = %e, "failed to expire authentications; trying again");
                    (true, Timestamp::MAX)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(RETRY_DELAY), if pause => {}
                () = clock.sleep_until(then), if !pause => {}
                () = soonest.sooner_than(then), if !pause => {}
                () = soft.cancelled() => {}
            }
        }
    }

    /// Expires one batch. Returns the time of the next look, or `None` when more may be due.
    async fn step(&self) -> Result<Option<Timestamp>, StoreError> {
        let Context { store, clock, .. } = &self.0;
        let now = clock.now();
        let later = now.checked_add(POLL_INTERVAL).unwrap_or(Timestamp::MAX);
        match store.next_expiry().await? {
            Some(next) if next <= now => {
                let expired = store.expire_due(BATCH_SIZE, now).await?;
                self.0.announce(&expired.committed);
                Ok(expired.is_stuck.then(|| now.checked_add(RETRY_DELAY).unwrap_or(Timestamp::MAX)))
            }
            Some(next) => Ok(Some(next.min(later))),
            None => Ok(Some(later)),
        }
    }
}
