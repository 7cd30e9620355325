//! In-process notifications of new events and due deliveries, also for commits of other processes through PostgreSQL.
//!
//! A notification carries no data: it says that the store has to be read again. A subscriber takes a [`Subscriber`]
//! first, reads the store second and then waits, so that no change in between is missed.

mod authentications;

use jiff::Timestamp;
use tokio::sync::watch;

pub use authentications::AuthenticationSubscriber;

use crate::domain::AuthenticationName;

/// Wakes readers of events, the driver of deliveries, and requests that wait for an authentication.
#[derive(Debug, Clone)]
pub struct Notifier {
    events: watch::Sender<u64>,
    due: watch::Sender<u64>,
    others: watch::Sender<u64>,
    endpoints: watch::Sender<u64>,
    authentications: authentications::AuthenticationNotifier,
    waiting: watch::Sender<u64>,
    next_expiry: watch::Sender<Timestamp>,
}

impl Notifier {
    /// Notifier without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            events: watch::Sender::new(0),
            due: watch::Sender::new(0),
            others: watch::Sender::new(0),
            endpoints: watch::Sender::new(0),
            authentications: authentications::AuthenticationNotifier::default(),
            waiting: watch::Sender::new(0),
            next_expiry: watch::Sender::new(Timestamp::MAX),
        }
    }

    /// Announces new events.
    pub fn events_stored(&self) {
        bump(&self.events);
    }

    /// Announces that deliveries may be due.
    pub fn deliveries_due(&self) {
        bump(&self.due);
    }

    /// Announces that another process has stored data, or may have.
    pub fn others_stored(&self) {
        self.events_stored();
        self.deliveries_due();
        bump(&self.others);
    }

    /// Announces changed or removed endpoints. Called before the change is confirmed.
    pub fn endpoints_changed(&self) {
        bump(&self.endpoints);
    }

    /// Returns the number of announced changes of endpoints. Settings that were read before it grew may be old.
    #[must_use]
    pub fn endpoint_changes(&self) -> u64 {
        *self.endpoints.borrow()
    }

    /// Announces that an authentication has completed or expired.
    pub fn authentication_over(&self, name: &AuthenticationName) {
        self.authentications.wake(name);
    }

    /// Announces that authentications may have completed or expired.
    pub fn authentications_over(&self) {
        self.authentications.wake_all();
    }

    /// Returns whether a request waits for an authentication.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        !self.authentications.is_empty()
    }

    /// Announces the expiry of an expectation.
    pub fn schedule_expiry(&self, then: Timestamp) {
        self.next_expiry.send_if_modified(|next_expiry| {
            let sooner = then < *next_expiry;
            *next_expiry = then.min(*next_expiry);
            sooner
        });
    }

    /// Subscribes to commits of other processes.
    #[must_use]
    pub fn watch_others(&self) -> Subscriber {
        Subscriber(self.others.subscribe())
    }

    /// Subscribes to the end of one authentication.
    #[must_use]
    pub fn watch_authentication(&self, name: &AuthenticationName) -> AuthenticationSubscriber {
        let first = self.authentications.is_empty();
        let watcher = self.authentications.watch(name);
        if first {
            bump(&self.waiting);
        }
        watcher
    }

    /// Subscribes to the first request that waits for an authentication.
    #[must_use]
    pub fn watch_waiting(&self) -> Subscriber {
        Subscriber(self.waiting.subscribe())
    }

    /// Subscribes to expectations that expire sooner than all others.
    #[must_use]
    pub fn watch_soonest(&self) -> ExpirySubscriber {
        ExpirySubscriber { heard: self.next_expiry.subscribe(), said: self.next_expiry.clone() }
    }

    /// Subscribes to new events.
    #[must_use]
    pub fn watch_events(&self) -> Subscriber {
        Subscriber(self.events.subscribe())
    }

    /// Subscribes to due deliveries.
    #[must_use]
    pub fn watch_due(&self) -> Subscriber {
        Subscriber(self.due.subscribe())
    }
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

fn bump(counter: &watch::Sender<u64>) {
    counter.send_modify(|count| *count = count.wrapping_add(1));
}

/// Subscription: every wake-up since it was made or last awaited counts.
#[derive(Debug)]
pub struct Subscriber(watch::Receiver<u64>);

impl Subscriber {
    /// Waits for a wake-up; ends at once when one came since the last call.
    pub async fn woken(&mut self) {
        if self.0.changed().await.is_err() {
            // The sender was dropped with the gateway: no wake-up will come.
            std::future::pending::<()>().await;
        }
    }
}

/// Subscription to the next expiry.
#[derive(Debug)]
pub struct ExpirySubscriber {
    heard: watch::Receiver<Timestamp>,
    said: watch::Sender<Timestamp>,
}

impl ExpirySubscriber {
    /// Resets the next expiry. Called before the store is read, so that later announcements are noticed.
    pub fn forget(&mut self) {
        self.said.send_replace(Timestamp::MAX);
        self.heard.mark_unchanged();
    }

    /// Waits until an expectation is announced that expires before `then`.
    pub async fn sooner_than(&mut self, then: Timestamp) {
        // The subscription holds a sender, so the channel never closes.
        let _ = self.heard.wait_for(|next_expiry| *next_expiry < then).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::{Notifier, Timestamp};

    #[test]
    fn a_wake_up_between_looking_and_waiting_is_not_missed() {
        let notifier = Notifier::new();
        let mut watcher = notifier.watch_events();
        assert!(watcher.woken().now_or_never().is_none(), "nothing has happened");
        notifier.events_stored();
        notifier.events_stored();
        assert!(watcher.woken().now_or_never().is_some());
        assert!(watcher.woken().now_or_never().is_none(), "two wake-ups at once are one");
        notifier.deliveries_due();
        assert!(watcher.woken().now_or_never().is_none(), "deliveries are not events");
    }

    #[test]
    fn only_what_runs_out_sooner_is_news() {
        let notifier = Notifier::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut watcher = notifier.watch_soonest();
        watcher.forget();
        notifier.schedule_expiry(at(20));
        assert!(watcher.sooner_than(at(10)).now_or_never().is_none());
        notifier.schedule_expiry(at(5));
        notifier.schedule_expiry(at(7));
        assert!(watcher.sooner_than(at(10)).now_or_never().is_some());
        watcher.forget();
        assert!(watcher.sooner_than(at(10)).now_or_never().is_none(), "that was taken into account");
    }
}
