//! Wakes requests that wait on this replica for events that other replicas have stored.
//!
//! PostgreSQL announces that events were stored, not their content. One reader looks them up for all waiting
//! requests: ten thousand of them cost one query.

use std::time::Duration;

use crate::context::Context;
use crate::domain::{AuthenticationName, Cursor, EventFilter, Order};
use crate::store::StoreError;

/// Follows what other replicas store.
pub struct Follower(pub Context);

/// Maximum time between two looks: an announcement can be lost with its connection.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

impl Follower {
    /// Works until the soft stop.
    pub async fn run(self) {
        let mut others = self.0.notifier.watch_others();
        let mut waiting = self.0.notifier.watch_waiting();
        let mut cursor = None;
        loop {
            tokio::select! {
                () = others.woken() => {}
                // At once: requests that wait when it begins to follow have to read again.
                () = waiting.woken() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = self.0.lifecycle.soft().cancelled() => return,
            }
            if !self.0.notifier.has_waiters() {
                // No change is missed: a request subscribes first and reads the store second.
                cursor = None;
                continue;
            }
            // The cursor is unchanged: the events are read at the next look.
            if let Err(e) = self.follow(&mut cursor).await {
                tracing::debug!(error = %e, "failed to read events of other replicas");
            }
        }
    }

    async fn follow(&self, cursor: &mut Option<Cursor>) -> Result<(), StoreError> {
        let Some(mut after) = *cursor else {
            let newest = EventFilter::new(Order::Descending { before: None });
            *cursor = Some(
                self.0.store.events(&newest).await?.data.first().map_or(Cursor(0), |event| event.cursor),
            );
            // Some may have waited before the follower started.
            self.0.notifier.authentications_over();
            return Ok(());
        };
        loop {
            let page = self.0.store.events(&EventFilter::new(Order::Ascending { after })).await?;
            for event in page.data {
                if let Some((service, uaid)) = event.service.zip(event.uaid) {
                    self.0.notifier.authentication_over(&AuthenticationName { service, uaid });
                }
            }
            after = page.cursor;
            *cursor = Some(after);
            if !page.has_more {
                return Ok(());
            }
        }
    }
}
