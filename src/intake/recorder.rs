//! Recorder: turns concurrent callbacks into grouped commits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::context::{Context, announce};
use crate::domain::{Clock, EndpointId, LeaseToken, NewEvent, RandomSource};
use crate::fast_path::LeaseSender;
use crate::lifecycle::Lifecycle;
use crate::notifier::Notifier;
use crate::store::{EventStore, InitialLease, Recorded, StoreError};
use crate::telemetry::Metrics;

/// Default maximum number of callbacks that wait for the writer. Further ones are refused.
pub const QUEUE: usize = 4096;

/// Maximum number of callbacks of one commit.
const MAX_BATCH: usize = 512;

/// Maximum number of events of one commit, unless a single callback brings more.
const MAX_EVENTS: usize = 2048;

/// Maximum time that a callback waits for its commit before it is refused. The commit may still happen: the repeated
/// callback is then a duplicate.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(3500);

/// Stores events, and returns when they are on disk.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<QueuedCallback>,
    clock: Arc<dyn Clock>,
    oldest: OldestCallback,
}

/// Arrival of the oldest callback that is being stored. Clones share it.
#[derive(Debug, Clone, Default)]
struct OldestCallback(Arc<Mutex<Option<Instant>>>);

impl OldestCallback {
    fn set(&self, queued_at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = queued_at;
    }

    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reason why events were not recorded. The sender may repeat the callback in each case.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// The queue is full.
    #[error("failed to record: too many callbacks wait for the store")]
    Full,
    /// The store failed.
    #[error("failed to record: {0}")]
    Store(Arc<StoreError>),
    /// The store did not answer in time.
    #[error("failed to record: the store did not answer in time")]
    Slow,
    /// remgate is stopping.
    #[error("failed to record: remgate is stopping")]
    Stopping,
}

/// Events of one callback, with the channel for their result.
#[derive(Debug)]
struct QueuedCallback {
    events: Vec<NewEvent>,
    queued_at: Instant,
    answer: oneshot::Sender<Result<Vec<Recorded>, RecordError>>,
}

impl Recorder {
    /// Starts the writer with a queue of `capacity` callbacks. It ends when the last recorder is dropped.
    #[must_use]
    pub fn start(writer: Writer, lifecycle: &Lifecycle, capacity: usize) -> Self {
        let (queue, waiting) = mpsc::channel(capacity);
        let clock = Arc::clone(&writer.clock);
        let oldest = OldestCallback::default();
        // The queue closes when the last connection has ended.
        lifecycle.spawn_connection(writer.run(waiting, oldest.clone()));
        Self { queue, clock, oldest }
    }

    /// Returns whether the writer runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Returns how long the oldest callback has waited for the store.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        let now = self.clock.instant();
        self.oldest.get().map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest))
    }

    /// Stores events, and returns their ids when they are on disk.
    pub async fn record(&self, events: Vec<NewEvent>) -> Result<Vec<Recorded>, RecordError> {
        let (answer, answered) = oneshot::channel();
        let queued_at = self.clock.instant();
        self.queue.try_send(QueuedCallback { events, queued_at, answer }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => RecordError::Full,
            mpsc::error::TrySendError::Closed(_) => RecordError::Stopping,
        })?;
        match tokio::time::timeout(QUEUE_TIMEOUT, answered).await {
            Ok(answer) => answer.unwrap_or(Err(RecordError::Stopping)),
            Err(_) => Err(RecordError::Slow),
        }
    }
}

/// Number of waiting callbacks that fit into one commit; at least one.
fn fitting(group: &[QueuedCallback]) -> usize {
    let mut events = 0;
    let fits = group.iter().take_while(|waiting| {
        events += waiting.events.len();
        events <= MAX_EVENTS
    });
    fits.count().max(1)
}

/// Writer behind the queue.
pub struct Writer {
    store: Arc<dyn EventStore>,
    notifier: Notifier,
    fast_path: LeaseSender,
    lease: Duration,
    clock: Arc<dyn Clock>,
    rng: RandomSource,
    metrics: Metrics,
}

impl Writer {
    /// Writer that leases deliveries for `lease` and sends them to dispatch over the fast path.
    #[must_use]
    pub fn new(context: &Context, fast_path: LeaseSender, lease: Duration) -> Self {
        Self {
            store: Arc::clone(&context.store) as Arc<dyn EventStore>,
            notifier: context.notifier.clone(),
            fast_path,
            lease,
            clock: Arc::clone(&context.clock),
            rng: context.rng.clone(),
            metrics: context.metrics.clone(),
        }
    }

    /// Takes all waiting callbacks, commits, answers, and takes again. There is no timer: while one commit runs, the next
    /// group gathers.
    async fn run(self, mut queue: mpsc::Receiver<QueuedCallback>, oldest: OldestCallback) {
        let mut group = Vec::new();
        while queue.recv_many(&mut group, MAX_BATCH).await > 0 {
            // Also callbacks whose client has left: RemAuth may disconnect early, and sends a callback only once.
            while !group.is_empty() {
                let rest = group.split_off(fitting(&group));
                oldest.set(group.first().map(|waiting| waiting.queued_at));
                self.commit(&mut group).await;
                group = rest;
            }
            oldest.set(None);
        }
    }

    async fn commit(&self, group: &mut Vec<QueuedCallback>) {
        let sizes: Vec<_> = group.iter().map(|waiting| waiting.events.len()).collect();
        let events: Vec<_> =
            group.iter_mut().flat_map(|waiting| std::mem::take(&mut waiting.events)).collect();
        let begun = self.clock.instant();
        let now = self.clock.now();
        let (capacity, lease) =
            self.fast_path.reserve().map(|(capacity, full)| (capacity, self.first_lease(now, full))).unzip();
        let outcome = self.store.append(&events, now, lease.as_ref()).await;
        self.metrics.batch(group.len(), begun.elapsed());
        match outcome {
            Ok(mut appended) => {
                let leases = std::mem::take(&mut appended.leases);
                announce(&appended.committed, &self.notifier, &self.metrics);
                if let Some(capacity) = capacity.filter(|_| !leases.is_empty()) {
                    capacity.send(leases);
                }
                let mut recorded = appended.events.into_iter();
                for (waiting, size) in group.drain(..).zip(sizes) {
                    // A request that no longer waits loses nothing: its events are stored.
                    let _ = waiting.answer.send(Ok(recorded.by_ref().take(size).collect()));
                }
            }
            Err(e) => {
                tracing::error!(error = %e, callbacks = group.len(), "failed to store callbacks; answered 503");
                let e = Arc::new(e);
                for waiting in group.drain(..) {
                    let _ = waiting.answer.send(Err(RecordError::Store(Arc::clone(&e))));
                }
            }
        }
    }

    fn first_lease(&self, now: Timestamp, full: Vec<EndpointId>) -> InitialLease {
        let expires_at = now.checked_add(self.lease).unwrap_or(Timestamp::MAX);
        InitialLease { token: LeaseToken::new(now, &self.rng), expires_at, except: full }
    }
}

#[cfg(test)]
mod tests;
