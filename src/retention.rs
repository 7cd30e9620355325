//! Forgets what is kept no longer: the audit trail, and whom the provisioning rule has invited.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::Clock;
use crate::lifecycle::Lifecycle;
use crate::store::{Store, StoreError};

/// Forgets, on every replica; what one has forgotten is no work for the other.
pub struct Retention {
    /// Where it is kept.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How long the audit trail is kept.
    pub audit: Duration,
    /// When to stop.
    pub lifecycle: Lifecycle,
}

/// How often there is a look.
const EVERY: Duration = Duration::from_hours(1);

/// How much one transaction forgets: others who write wait for it.
const BATCH_SIZE: i64 = 1000;

impl Retention {
    /// Works until the soft stop.
    pub async fn run(self) {
        let soft = self.lifecycle.soft().clone();
        while !soft.is_cancelled() {
            match self.forget().await {
                Ok(0) => {}
                Ok(entries) => {
                    tracing::info!(entries, "forgot the oldest entries of the audit trail (retention.audit)");
                }
                Err(e) => {
                    tracing::warn!(error = %e, "could not forget what is kept no longer; will try again");
                }
            }
            soft.run_until_cancelled(self.clock.sleep(EVERY)).await;
        }
    }

    /// Says how many entries are gone.
    async fn forget(&self) -> Result<u64, StoreError> {
        let Ok(before) = self.clock.now().checked_sub(self.audit) else { return Ok(0) };
        self.store.forget_wishes(before).await?;
        let mut forgotten = 0;
        while !self.lifecycle.soft().is_cancelled() {
            let gone = self.store.forget_entries(before, BATCH_SIZE).await?;
            forgotten += gone;
            if gone == 0 {
                break;
            }
        }
        Ok(forgotten)
    }
}
