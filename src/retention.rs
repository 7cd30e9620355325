//! Retention: deletes expired rows of the audit log and of invitation requests.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::Clock;
use crate::lifecycle::Lifecycle;
use crate::store::{Store, StoreError};

/// Forgets, on every replica; what one has forgotten is no work for the other.
pub struct Retention {
    /// Store of the rows.
    pub store: Arc<dyn Store>,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Retention period of the audit log.
    pub audit: Duration,
    /// Lifecycle of the process.
    pub lifecycle: Lifecycle,
}

/// Time between two runs.
const EVERY: Duration = Duration::from_hours(1);

/// Maximum number of rows that one transaction deletes. Other writers wait for it.
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
