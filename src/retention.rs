//! Retention: deletes expired rows of the audit log and of invitation requests.

use std::time::Duration;

use crate::context::Context;
use crate::store::StoreError;

/// Deletes expired rows. Every replica does; a row is deleted by one of them.
pub struct Retention {
    /// Shared handles.
    pub context: Context,
    /// Retention period of the audit log.
    pub audit: Duration,
}

/// Time between two runs.
const INTERVAL: Duration = Duration::from_hours(1);

/// Maximum number of rows that one transaction deletes. Other writers wait for it.
const BATCH_SIZE: i64 = 1000;

impl Retention {
    /// Works until the soft stop.
    pub async fn run(self) {
        let Context { clock, lifecycle, .. } = &self.context;
        let soft = lifecycle.soft();
        while !soft.is_cancelled() {
            match self.prune().await {
                Ok(0) => {}
                Ok(entries) => {
                    tracing::info!(entries, "pruned the audit log (retention.audit)");
                }
                Err(e) => {
                    tracing::warn!(error = %e, "failed to prune the store; trying again");
                }
            }
            soft.run_until_cancelled(clock.sleep(INTERVAL)).await;
        }
    }

    /// Returns the number of audit entries that were deleted.
    async fn prune(&self) -> Result<u64, StoreError> {
        let Context { store, clock, lifecycle, .. } = &self.context;
        let Ok(before) = clock.now().checked_sub(self.audit) else { return Ok(0) };
        store.forget_wishes(before).await?;
        let mut pruned = 0;
        while !lifecycle.soft().is_cancelled() {
            let deleted = store.forget_entries(before, BATCH_SIZE).await?;
            pruned += deleted;
            if deleted == 0 {
                break;
            }
        }
        Ok(pruned)
    }
}
