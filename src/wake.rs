//! "Something new, something due": wakes those who wait, in this process and, through PostgreSQL, in others.
//!
//! A wake-up carries no data. It says "look again"; the store alone says what there is. Whoever waits first takes a
//! [`Watcher`], then looks, then waits on it: so nothing that happens in between is missed.

use tokio::sync::watch;

/// Wakes readers of events and the driver of deliveries.
#[derive(Debug, Clone)]
pub struct Wake {
    events: watch::Sender<u64>,
    due: watch::Sender<u64>,
}

impl Wake {
    /// Nobody waits yet.
    #[must_use]
    pub fn new() -> Self {
        Self { events: watch::Sender::new(0), due: watch::Sender::new(0) }
    }

    /// There are new events.
    pub fn events_stored(&self) {
        bump(&self.events);
    }

    /// There may be something to deliver.
    pub fn deliveries_due(&self) {
        bump(&self.due);
    }

    /// Watches for new events from now on.
    #[must_use]
    pub fn watch_events(&self) -> Watcher {
        Watcher(self.events.subscribe())
    }

    /// Watches for deliveries from now on.
    #[must_use]
    pub fn watch_due(&self) -> Watcher {
        Watcher(self.due.subscribe())
    }
}

impl Default for Wake {
    fn default() -> Self {
        Self::new()
    }
}

fn bump(counter: &watch::Sender<u64>) {
    counter.send_modify(|count| *count = count.wrapping_add(1));
}

/// Sees every wake-up since it was made or last asked.
#[derive(Debug)]
pub struct Watcher(watch::Receiver<u64>);

impl Watcher {
    /// Ends at the next wake-up, or at once when one came since the last time.
    pub async fn woken(&mut self) {
        if self.0.changed().await.is_err() {
            // The sender is gone: the gateway is being dropped, and nothing will ever happen again.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::Wake;

    #[test]
    fn a_wake_up_between_looking_and_waiting_is_not_missed() {
        let wake = Wake::new();
        let mut watcher = wake.watch_events();
        assert!(watcher.woken().now_or_never().is_none(), "nothing has happened");
        wake.events_stored();
        wake.events_stored();
        assert!(watcher.woken().now_or_never().is_some());
        assert!(watcher.woken().now_or_never().is_none(), "two wake-ups at once are one");
        wake.deliveries_due();
        assert!(watcher.woken().now_or_never().is_none(), "deliveries are not events");
    }
}
