//! Renewal of all connections: those that were made before the last one are not used again.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::domain::{Clock, SystemClock};

/// Time of the last renewal. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Renewals(watch::Sender<Instant>);

impl Renewals {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(SystemClock.instant()))
    }

    /// Marks all present connections as outdated.
    pub(super) fn renew(&self) {
        self.0.send_replace(SystemClock.instant());
    }

    /// Returns whether a connection of this age was made before the last renewal.
    pub(super) fn is_outdated(&self, age: Duration) -> bool {
        SystemClock.instant().saturating_duration_since(*self.0.borrow()) <= age
    }

    /// Ends at the next renewal.
    pub(super) async fn next(&self) {
        let mut renewed = self.0.subscribe();
        if renewed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
