//! Notifications about single authentications.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::AuthenticationName;

/// Waiting requests by authentication.
#[derive(Debug, Clone, Default)]
pub(super) struct AuthenticationNotifier(Arc<Mutex<HashMap<AuthenticationName, Signal>>>);

#[derive(Debug)]
struct Signal {
    sender: watch::Sender<()>,
    waiting: usize,
}

impl AuthenticationNotifier {
    pub(super) fn watch(&self, name: &AuthenticationName) -> AuthenticationSubscriber {
        let mut signals = self.signals();
        let signal = signals
            .entry(name.clone())
            .or_insert_with(|| Signal { sender: watch::Sender::new(()), waiting: 0 });
        signal.waiting += 1;
        AuthenticationSubscriber { receiver: signal.sender.subscribe(), name: name.clone(), of: self.clone() }
    }

    pub(super) fn wake(&self, name: &AuthenticationName) {
        if let Some(signal) = self.signals().get(name) {
            signal.sender.send_replace(());
        }
    }

    pub(super) fn wake_all(&self) {
        for signal in self.signals().values() {
            signal.sender.send_replace(());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.signals().is_empty()
    }

    fn signals(&self) -> MutexGuard<'_, HashMap<AuthenticationName, Signal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subscription to one authentication: every wake-up since it was made or last awaited counts.
#[derive(Debug)]
pub struct AuthenticationSubscriber {
    receiver: watch::Receiver<()>,
    name: AuthenticationName,
    of: AuthenticationNotifier,
}

impl AuthenticationSubscriber {
    /// Waits for a wake-up; ends at once when one came since the last call.
    pub async fn woken(&mut self) {
        // The signal exists as long as a request waits on it.
        let _ = self.receiver.changed().await;
    }
}

impl Drop for AuthenticationSubscriber {
    fn drop(&mut self) {
        let mut signals = self.of.signals();
        if let Some(signal) = signals.get_mut(&self.name) {
            signal.waiting -= 1;
            if signal.waiting == 0 {
                signals.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn name(digit: char) -> AuthenticationName {
        let uaid = digit.to_string().repeat(32).parse().unwrap();
        AuthenticationName { service: "portal".parse().unwrap(), uaid }
    }

    #[test]
    fn only_those_who_wait_for_this_one_are_woken() {
        let named = AuthenticationNotifier::default();
        let (mut one, mut same, mut other) =
            (named.watch(&name('a')), named.watch(&name('a')), named.watch(&name('b')));
        named.wake(&name('a'));
        assert!(one.woken().now_or_never().is_some() && same.woken().now_or_never().is_some());
        assert!(other.woken().now_or_never().is_none());
        assert!(one.woken().now_or_never().is_none(), "once");
        named.wake_all();
        assert!(one.woken().now_or_never().is_some() && other.woken().now_or_never().is_some());
    }

    #[test]
    fn nothing_is_kept_for_those_who_have_gone() {
        let named = AuthenticationNotifier::default();
        let one = named.watch(&name('a'));
        let same = named.watch(&name('a'));
        drop(one);
        assert!(!named.is_empty());
        drop(same);
        assert!(named.is_empty());
        named.wake(&name('a'));
        assert!(named.is_empty(), "a wake-up without a waiter leaves nothing behind");
    }
}
