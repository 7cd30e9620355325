//! Wakes requests that wait on this replica for events that other replicas have stored.
//!
//! PostgreSQL announces that events were stored, not their content. One reader looks them up for all waiting
//! requests: ten thousand of them cost one query.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{AuthenticationName, Cursor, EventFilter, Order};
use crate::lifecycle::Lifecycle;
use crate::notifier::Notifier;
use crate::store::{Store, StoreError};

/// Follows what other replicas store.
pub struct Follower {
    /// Store of events.
    pub store: Arc<dyn Store>,
    /// Notifier of other replicas' events and of the waiting requests.
    pub notifier: Notifier,
    /// Lifecycle of the process.
    pub lifecycle: Lifecycle,
}

/// Maximum time between two looks: an announcement can be lost with its connection.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

impl Follower {
    /// Works until the soft stop.
    pub async fn run(self) {
        let mut others = self.notifier.watch_others();
        let mut waiting = self.notifier.watch_waiting();
        let mut place = None;
        loop {
            tokio::select! {
                () = others.woken() => {}
                // At once: all who wait when it begins to follow have to look again.
                () = waiting.woken() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = self.lifecycle.soft().cancelled() => return,
            }
            if !self.notifier.is_anybody_waiting() {
                // No change is missed: a request subscribes first and reads the store second.
                place = None;
                continue;
            }
            // What could not be read now is read the next time: the place is still the one before it.
            if let Err(e) = self.follow(&mut place).await {
                tracing::debug!(error = %e, "could not look what other replicas have stored");
            }
        }
    }

    async fn follow(&self, place: &mut Option<Cursor>) -> Result<(), StoreError> {
        let Some(mut after) = *place else {
            let newest = EventFilter::new(Order::Descending { before: None });
            *place =
                Some(self.store.events(&newest).await?.data.first().map_or(Cursor(0), |event| event.cursor));
            // They may have waited before the follower started.
            self.notifier.authentications_over();
            return Ok(());
        };
        loop {
            let page = self.store.events(&EventFilter::new(Order::Ascending { after })).await?;
            for event in page.data {
                if let Some((service, uaid)) = event.service.zip(event.uaid) {
                    self.notifier.authentication_over(&AuthenticationName { service, uaid });
                }
            }
            after = page.cursor;
            *place = Some(after);
            if !page.has_more {
                return Ok(());
            }
        }
    }
}
