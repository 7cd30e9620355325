//! "Something new, something due": wakes those who wait, in this process and, through PostgreSQL, in others.
//!
//! A wake-up carries no data. It says "look again"; the store alone says what there is. Whoever waits first takes a
//! [`Watcher`], then looks, then waits on it: so nothing that happens in between is missed.

mod named;

use jiff::Timestamp;
use tokio::sync::watch;

pub use named::NamedWatcher;

use crate::domain::AuthenticationName;

/// Wakes readers of events, the driver of deliveries, and those who wait for an authentication.
#[derive(Debug, Clone)]
pub struct Wake {
    events: watch::Sender<u64>,
    due: watch::Sender<u64>,
    others: watch::Sender<u64>,
    endpoints: watch::Sender<u64>,
    named: named::Named,
    waiting: watch::Sender<u64>,
    soonest: watch::Sender<Timestamp>,
}

impl Wake {
    /// Nobody waits yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            events: watch::Sender::new(0),
            due: watch::Sender::new(0),
            others: watch::Sender::new(0),
            endpoints: watch::Sender::new(0),
            named: named::Named::default(),
            waiting: watch::Sender::new(0),
            soonest: watch::Sender::new(Timestamp::MAX),
        }
    }

    /// There are new events.
    pub fn events_stored(&self) {
        bump(&self.events);
    }

    /// There may be something to deliver.
    pub fn deliveries_due(&self) {
        bump(&self.due);
    }

    /// Another process has stored something, or may have; nobody knows what.
    pub fn others_stored(&self) {
        self.events_stored();
        self.deliveries_due();
        bump(&self.others);
    }

    /// The settings of an endpoint have changed, or an endpoint was removed. Called before the change is confirmed.
    pub fn endpoints_changed(&self) {
        bump(&self.endpoints);
    }

    /// The number of changes of endpoints so far. Settings that were read before the number grew may be old.
    #[must_use]
    pub fn endpoint_changes(&self) -> u64 {
        *self.endpoints.borrow()
    }

    /// An authentication has come, or has run out.
    pub fn authentication_over(&self, name: &AuthenticationName) {
        self.named.wake(name);
    }

    /// Some authentications may be over; nobody knows which.
    pub fn authentications_over(&self) {
        self.named.wake_all();
    }

    /// Whether anybody waits for an authentication.
    #[must_use]
    pub fn is_anybody_waiting(&self) -> bool {
        !self.named.is_empty()
    }

    /// An expectation runs out then.
    pub fn runs_out(&self, then: Timestamp) {
        self.soonest.send_if_modified(|soonest| {
            let sooner = then < *soonest;
            *soonest = then.min(*soonest);
            sooner
        });
    }

    /// Watches for what other processes store from now on.
    #[must_use]
    pub fn watch_others(&self) -> Watcher {
        Watcher(self.others.subscribe())
    }

    /// Watches for the end of one authentication from now on.
    #[must_use]
    pub fn watch_authentication(&self, name: &AuthenticationName) -> NamedWatcher {
        let first = self.named.is_empty();
        let watcher = self.named.watch(name);
        if first {
            bump(&self.waiting);
        }
        watcher
    }

    /// Watches for somebody who waits for an authentication where nobody did before.
    #[must_use]
    pub fn watch_waiting(&self) -> Watcher {
        Watcher(self.waiting.subscribe())
    }

    /// Watches for expectations that run out sooner than those before.
    #[must_use]
    pub fn watch_soonest(&self) -> SoonestWatcher {
        SoonestWatcher { heard: self.soonest.subscribe(), said: self.soonest.clone() }
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

/// Sees when the time at which something runs out is brought forward.
#[derive(Debug)]
pub struct SoonestWatcher {
    heard: watch::Receiver<Timestamp>,
    said: watch::Sender<Timestamp>,
}

impl SoonestWatcher {
    /// Begins anew: the store is about to be asked, so that whatever is said from now on is news.
    pub fn forget(&mut self) {
        self.said.send_replace(Timestamp::MAX);
        self.heard.mark_unchanged();
    }

    /// Ends when something runs out before `then`.
    pub async fn sooner_than(&mut self, then: Timestamp) {
        // It holds a sender itself, so that there is always one.
        let _ = self.heard.wait_for(|soonest| *soonest < then).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::{Timestamp, Wake};

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

    #[test]
    fn only_what_runs_out_sooner_is_news() {
        let (wake, at) = (Wake::new(), |second| Timestamp::from_second(second).unwrap());
        let mut watcher = wake.watch_soonest();
        watcher.forget();
        wake.runs_out(at(20));
        assert!(watcher.sooner_than(at(10)).now_or_never().is_none());
        wake.runs_out(at(5));
        wake.runs_out(at(7));
        assert!(watcher.sooner_than(at(10)).now_or_never().is_some());
        watcher.forget();
        assert!(watcher.sooner_than(at(10)).now_or_never().is_none(), "that was taken into account");
    }
}
