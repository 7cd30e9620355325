//! The recorder: turns concurrent callbacks into grouped commits.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::domain::{Clock, EndpointId, LeaseToken, NewEvent, RandomSource};
use crate::fast_path::LeaseSender;
use crate::lifecycle::Lifecycle;
use crate::notifier::Notifier;
use crate::store::{Appended, EventStore, InitialLease, Recorded, StoreError};
use crate::telemetry::Metrics;

/// How many callbacks may wait for the writer, unless somebody wants it otherwise. Beyond that they are told to come
/// back.
pub const QUEUE: usize = 4096;

/// How many callbacks one commit may hold.
const MAX_BATCH: usize = 512;

/// How many events one commit holds, unless a single callback brings more.
const MAX_EVENTS: usize = 2048;

/// How long a callback waits for its commit before it is told to come back. The commit may still happen: then the
/// callback that comes back is a duplicate.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes events and says when they are on disk.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Waiting>,
}

/// Why events were not recorded. The caller is asked to come back in each case.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// More wait than can be held.
    #[error("failed to record: too many callbacks wait for the store")]
    Full,
    /// The store did not take them.
    #[error("failed to record: {0}")]
    Store(Arc<StoreError>),
    /// The store did not answer in time.
    #[error("failed to record: the store did not answer in time")]
    Slow,
    /// remgate is stopping.
    #[error("failed to record: remgate is stopping")]
    Stopping,
}

/// One callback's events, and whoever waits for them.
#[derive(Debug)]
struct Waiting {
    events: Vec<NewEvent>,
    answer: oneshot::Sender<Result<Vec<Recorded>, RecordError>>,
}

impl Recorder {
    /// Starts the writer, with room for so many callbacks before it. It ends when the last recorder is gone.
    #[must_use]
    pub fn start(writer: Writer, lifecycle: &Lifecycle, room: usize) -> Self {
        let (queue, waiting) = mpsc::channel(room);
        // The queue closes when the last connection has ended.
        lifecycle.spawn_connection(writer.run(waiting));
        Self { queue }
    }

    /// Whether somebody is there to write what is recorded.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Stores events; ends when they are on disk. Says for each under which id it is known.
    pub async fn record(&self, events: Vec<NewEvent>) -> Result<Vec<Recorded>, RecordError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { events, answer }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => RecordError::Full,
            mpsc::error::TrySendError::Closed(_) => RecordError::Stopping,
        })?;
        match tokio::time::timeout(QUEUE_TIMEOUT, answered).await {
            Ok(answer) => answer.unwrap_or(Err(RecordError::Stopping)),
            Err(_) => Err(RecordError::Slow),
        }
    }
}

/// How many of those that wait fit into one commit; at least one.
fn fitting(group: &[Waiting]) -> usize {
    let mut events = 0;
    let fits = group.iter().take_while(|waiting| {
        events += waiting.events.len();
        events <= MAX_EVENTS
    });
    fits.count().max(1)
}

/// What the writer behind the queue works with.
pub struct Writer {
    /// Where events become durable.
    pub store: Arc<dyn EventStore>,
    /// Who is told of them.
    pub notifier: Notifier,
    /// The short cut to dispatch.
    pub fast_path: LeaseSender,
    /// How long what goes through it is leased.
    pub lease: Duration,
    /// When it is.
    pub clock: Arc<dyn Clock>,
    /// What makes leases unique.
    pub rng: RandomSource,
    /// What is counted.
    pub metrics: Metrics,
}

impl Writer {
    /// Takes all that wait, commits, answers, and takes again. There is no timer: while one commit runs the next
    /// group gathers.
    async fn run(self, mut queue: mpsc::Receiver<Waiting>) {
        let mut group = Vec::new();
        while queue.recv_many(&mut group, MAX_BATCH).await > 0 {
            // Also for those who no longer wait: RemAuth may hang up before it has heard us, and says a thing but once.
            while !group.is_empty() {
                let rest = group.split_off(fitting(&group));
                self.commit(&mut group).await;
                group = rest;
            }
        }
    }

    async fn commit(&self, group: &mut Vec<Waiting>) {
        let sizes: Vec<_> = group.iter().map(|waiting| waiting.events.len()).collect();
        let events: Vec<_> =
            group.iter_mut().flat_map(|waiting| std::mem::take(&mut waiting.events)).collect();
        let (begun, now) = (self.clock.instant(), self.clock.now());
        let (room, lease) =
            self.fast_path.reserve().map(|(room, full)| (room, self.first_lease(now, full))).unzip();
        let outcome = self.store.append(&events, now, lease.as_ref()).await;
        self.metrics.batch(group.len(), begun.elapsed());
        match outcome {
            Ok(mut appended) => {
                let leases = std::mem::take(&mut appended.leases);
                self.announce(&events, &appended, appended.deliveries > leases.len());
                if let Some(room) = room.filter(|_| !leases.is_empty()) {
                    room.send(leases);
                }
                let mut recorded = appended.events.into_iter();
                for (waiting, size) in group.drain(..).zip(sizes) {
                    // Whoever no longer listens lost nothing: the events are stored.
                    let _ = waiting.answer.send(Ok(recorded.by_ref().take(size).collect()));
                }
            }
            Err(e) => {
                tracing::error!(error = %e, callbacks = group.len(), "could not store callbacks; they were told to come back");
                let e = Arc::new(e);
                for waiting in group.drain(..) {
                    let _ = waiting.answer.send(Err(RecordError::Store(Arc::clone(&e))));
                }
            }
        }
    }

    fn first_lease(&self, now: Timestamp, full: Vec<EndpointId>) -> InitialLease {
        let until = now.checked_add(self.lease).unwrap_or(Timestamp::MAX);
        InitialLease { token: LeaseToken::new(now, &self.rng), until, except: full }
    }

    fn announce(&self, events: &[NewEvent], appended: &Appended, due: bool) {
        let (mut any_new, somebody_waits) = (false, self.notifier.is_anybody_waiting());
        for (event, recorded) in events.iter().zip(&appended.events) {
            if recorded.new {
                any_new = true;
                // Those first who wait for this one and nothing else.
                if let Some(name) = event.authentication().filter(|_| somebody_waits) {
                    self.notifier.authentication_over(&name);
                }
                self.metrics.event(event.event_type.as_str());
            }
        }
        if any_new {
            self.notifier.events_stored();
        }
        if appended.deliveries > 0 {
            self.metrics.deliveries("pending", appended.deliveries as u64);
        }
        if due {
            self.notifier.deliveries_due();
        }
    }
}

#[cfg(test)]
mod tests;
