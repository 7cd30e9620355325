//! Wakes those who wait here for what other replicas have stored.
//!
//! PostgreSQL announces that something was stored, not what. One reader for all who wait looks what it was, and wakes
//! those whom it concerns: ten thousand who wait cost one query.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{AuthenticationName, Cursor, EventFilter, Order};
use crate::lifecycle::Lifecycle;
use crate::notifier::Notifier;
use crate::store::{Store, StoreError};

/// Follows what other replicas store.
pub struct Follower {
    /// Where it is.
    pub store: Arc<dyn Store>,
    /// Who says that there is something, and who is told.
    pub notifier: Notifier,
    /// When to stop.
    pub lifecycle: Lifecycle,
}

/// How long it waits before it looks unasked: an announcement can be lost with its connection.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

impl Follower {
    /// Works until the soft stop.
    pub async fn run(self) {
        let (mut others, mut waiting) = (self.notifier.watch_others(), self.notifier.watch_waiting());
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
                // Nobody misses what happens now: whoever comes later looks first.
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
            *place = Some(self.store.events(&newest).await?.data.first().map_or(Cursor(0), |it| it.cursor));
            // They may have waited already while nobody followed.
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
