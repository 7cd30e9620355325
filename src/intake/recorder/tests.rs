//! The recorder before a store that can be held: grouping, a full queue, and an error that reaches everybody.

use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::domain::{Event, EventFilter, EventId, EventType, Page, RetainedRange, SystemClock, Trust, Uaid};
use crate::fast_path::{ConcurrencyLimiter, StoreOnlyEndpoints, fast_path};
use crate::store::{Appended, Committed};

/// Appends only as often as it is allowed to, and remembers how many at a time.
struct Held {
    commits: Semaphore,
    groups: Mutex<Vec<usize>>,
    broken: bool,
}

#[async_trait]
impl EventStore for Held {
    async fn append(
        &self,
        events: &[NewEvent],
        _: Timestamp,
        _: Option<&InitialLease>,
    ) -> Result<Appended, StoreError> {
        self.commits.acquire().await.expect("the semaphore is never closed").forget();
        self.groups.lock().expect("no test panics with it").push(events.len());
        if self.broken {
            return Err(StoreError::Corrupt("for this test".to_owned()));
        }
        let recorded = events.iter().map(|event| Recorded { id: event.id.clone(), new: true });
        Ok(Appended { events: recorded.collect(), leases: Vec::new(), committed: Committed::default() })
    }

    async fn events(&self, _: &EventFilter) -> Result<Page<Event>, StoreError> {
        unreachable!("a recorder only appends")
    }

    async fn kept(&self) -> Result<RetainedRange, StoreError> {
        unreachable!("a recorder only appends")
    }

    async fn event(&self, _: &EventId) -> Result<Option<Event>, StoreError> {
        unreachable!("a recorder only appends")
    }
}

fn recorder(capacity: usize, broken: bool) -> (Recorder, Arc<Held>) {
    let store = Arc::new(Held { commits: Semaphore::new(0), groups: Mutex::default(), broken });
    let (fast_path, _) = fast_path(ConcurrencyLimiter::new(1, 1), StoreOnlyEndpoints::default());
    let writer = Writer {
        store: Arc::clone(&store) as Arc<dyn EventStore>,
        notifier: Notifier::new(),
        fast_path,
        lease: Duration::from_secs(1),
        clock: Arc::new(SystemClock),
        rng: RandomSource::seeded(1),
        metrics: Metrics::new(),
    };
    (Recorder::start(writer, &Lifecycle::new(), capacity), store)
}

fn event(number: u8) -> NewEvent {
    let rng = RandomSource::seeded(u64::from(number));
    NewEvent {
        id: EventId::new(Timestamp::UNIX_EPOCH, &rng),
        event_type: EventType::Authenticated,
        service: Some("default".parse().unwrap()),
        uaid: Some(Uaid::from_bytes([number; 16])),
        trust: Trust::None,
        source_ip: None,
        received_at: Timestamp::UNIX_EPOCH,
        detail: None,
        about: None,
    }
}

#[tokio::test]
async fn nobody_is_answered_before_the_commit_and_the_rest_gather_meanwhile() {
    let (recorder, store) = recorder(8, false);
    let mut first = Box::pin(recorder.record(vec![event(1)]));
    assert!((&mut first).now_or_never().is_none());
    while recorder.queue.capacity() < 8 {
        // The writer has not taken the first yet.
        tokio::task::yield_now().await;
    }
    let rest = join_all((2..6).map(|n| recorder.record(vec![event(n)])));
    let mut rest = Box::pin(rest);
    assert!((&mut rest).now_or_never().is_none(), "no commit, no answer");
    store.commits.add_permits(2);
    assert!(first.await.is_ok());
    assert!(rest.await.iter().all(Result::is_ok));
    assert_eq!(*store.groups.lock().unwrap(), [1, 4]);
}

#[tokio::test]
async fn a_full_queue_says_so_at_once() {
    let (recorder, store) = recorder(2, false);
    let mut waiting = Vec::new();
    let refused = loop {
        let mut asked = Box::pin(recorder.record(vec![event(u8::try_from(waiting.len()).unwrap())]));
        match (&mut asked).now_or_never() {
            None => waiting.push(asked),
            Some(refused) => break refused,
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(refused, Err(RecordError::Full)), "{refused:?}");
    assert!(waiting.len() >= 2, "{}", waiting.len());
    store.commits.add_permits(waiting.len());
    assert!(join_all(waiting).await.iter().all(Result::is_ok), "those who waited are stored");
}

#[tokio::test]
async fn who_no_longer_waits_is_stored_all_the_same() {
    let (recorder, store) = recorder(8, false);
    let mut hung_up = Box::pin(recorder.record(vec![event(1)]));
    assert!((&mut hung_up).now_or_never().is_none());
    drop(hung_up);
    store.commits.add_permits(2);
    recorder.record(vec![event(2)]).await.unwrap();
    assert_eq!(store.groups.lock().unwrap().iter().sum::<usize>(), 2);
}

#[tokio::test]
async fn a_store_that_fails_is_told_to_everybody_in_the_group() {
    let (recorder, store) = recorder(8, true);
    store.commits.add_permits(8);
    let told = join_all((0..3).map(|n| recorder.record(vec![event(n)]))).await;
    assert!(told.iter().all(|result| matches!(result, Err(RecordError::Store(_)))), "{told:?}");
}
