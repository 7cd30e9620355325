//! A lock with two priorities: appends of callbacks come before everything else.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard, Notify};

/// Order in which a lock is given to those that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// Before all that wait with [`Normal`](Self::Normal) priority.
    Urgent,
    /// After those that are urgent, but for one turn between two of theirs.
    Normal,
}

/// Mutex that an urgent task gets before all others that wait. Between two turns of it one of the others gets the mutex.
#[derive(Debug)]
pub(super) struct PriorityMutex<T> {
    value: Mutex<T>,
    urgent: AtomicUsize,
    /// Number of urgent turns since the last normal one.
    urgent_turns: AtomicUsize,
    changed: Notify,
}

impl<T> PriorityMutex<T> {
    pub(super) fn new(value: T) -> Self {
        let zero = || AtomicUsize::new(0);
        Self { value: Mutex::new(value), urgent: zero(), urgent_turns: zero(), changed: Notify::new() }
    }

    /// Waits for the lock. Cancel safe.
    pub(super) async fn lock(&self, priority: Priority) -> MutexGuard<'_, T> {
        match priority {
            Priority::Urgent => self.lock_urgent().await,
            Priority::Normal => self.lock_normal().await,
        }
    }

    async fn lock_urgent(&self) -> MutexGuard<'_, T> {
        let _waiting = UrgentWaiter::new(self);
        let value = self.value.lock().await;
        self.urgent_turns.fetch_add(1, Ordering::SeqCst);
        value
    }

    async fn lock_normal(&self) -> MutexGuard<'_, T> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the state is read, so that no change is missed.
            changed.as_mut().enable();
            if self.is_normal_turn() {
                let value = self.value.lock().await;
                if self.is_normal_turn() {
                    self.urgent_turns.store(0, Ordering::SeqCst);
                    return value;
                }
                continue;
            }
            changed.await;
        }
    }

    fn is_normal_turn(&self) -> bool {
        self.urgent.load(Ordering::SeqCst) == 0 || self.urgent_turns.load(Ordering::SeqCst) > 0
    }
}

/// Counts an urgent task for as long as it waits.
struct UrgentWaiter<'m, T>(&'m PriorityMutex<T>);

impl<'m, T> UrgentWaiter<'m, T> {
    fn new(mutex: &'m PriorityMutex<T>) -> Self {
        mutex.urgent.fetch_add(1, Ordering::SeqCst);
        Self(mutex)
    }
}

impl<T> Drop for UrgentWaiter<'_, T> {
    fn drop(&mut self) {
        self.0.urgent.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use futures_util::FutureExt;
    use futures_util::future::{join, join_all};

    use super::*;

    #[tokio::test]
    async fn an_urgent_task_comes_first_and_one_other_between_two_of_its_turns() {
        let mutex = PriorityMutex::new(Vec::new());
        let held = mutex.lock(Priority::Normal).await;
        let others =
            join_all(["a", "b", "c"].map(async |name| mutex.lock(Priority::Normal).await.push(name)));
        let urgent = async {
            for name in ["1", "2", "3"] {
                let mut turns = mutex.lock(Priority::Urgent).await;
                turns.push(name);
                tokio::task::yield_now().await;
            }
        };
        let mut all = pin!(join(others, urgent));
        assert!(all.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "all of them wait");
        drop(held);
        all.await;
        let order = mutex.lock(Priority::Normal).await.join("");
        assert_eq!(order, "1a2b3c");
    }

    #[tokio::test]
    async fn a_task_that_gives_up_is_not_waited_for() {
        let mutex = PriorityMutex::new(());
        let held = mutex.lock(Priority::Normal).await;
        assert!(mutex.lock(Priority::Urgent).now_or_never().is_none());
        drop(held);
        assert!(mutex.lock(Priority::Normal).now_or_never().is_some());
    }
}
