//! State and queries of the routes that read events: lists, consumers and streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::context::Context;
use crate::domain::{Cursor, Event, EventFilter, Order, Page};
use crate::http::extract::Params;
use crate::http::problem::Problem;

/// Time after which a waiting request reads again without a notification: one of another replica can be lost with its
/// connection.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of streams that read from the store at once, so that other requests find it free.
const MAX_READING: usize = 2;

/// State of the routes that read events.
pub struct EventsState {
    /// Shared handles.
    pub context: Context,
    /// Limit of open streams.
    pub streams: Streams,
}

/// Limit of open streams, and of those that read at once.
#[derive(Debug)]
pub struct Streams {
    open: Arc<Semaphore>,
    reading: Semaphore,
}

impl Streams {
    /// Limit of `max_open` streams.
    #[must_use]
    pub fn new(max_open: usize) -> Self {
        Self { open: Arc::new(Semaphore::new(max_open)), reading: Semaphore::new(MAX_READING) }
    }

    /// Acquires a permit for one stream.
    pub(super) fn open(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.open).try_acquire_owned().map_err(|_| {
            Problem::unavailable("as many streams are open as there may be (internal.max_streams)")
        })
    }

    /// Waits for a permit to read one page.
    pub(super) async fn read(&self) -> SemaphorePermit<'_> {
        self.reading.acquire().await.expect("the semaphore is never closed")
    }
}

/// Reads the parameters that choose events, which lists and streams share. Consumers take less.
pub(super) fn filter(order: Order, params: &mut Params) -> Result<EventFilter, Problem> {
    Ok(EventFilter {
        types: params.many("type")?,
        services: params.many("service")?,
        uaid: params.one("uaid")?,
        trusts: params.many("trust")?,
        subject: params.one("subject")?,
        ..EventFilter::new(order)
    })
}

impl EventsState {
    /// Returns a page as soon as it has an event, at the latest when the time is over or remgate stops.
    pub(super) async fn page(&self, mut filter: EventFilter, wait: Duration) -> Result<Page<Event>, Problem> {
        let Context { store, notifier, clock, metrics, lifecycle, .. } = &self.context;
        // The subscription comes before the read: an event stored in between wakes it.
        let mut subscriber = notifier.watch_events();
        let mut page = store.events(&filter).await?;
        self.check_position(&filter, &page).await?;
        if wait.is_zero() || !page.data.is_empty() {
            return Ok(page);
        }
        let _counted = metrics.waiter();
        let mut over = clock.sleep(wait);
        loop {
            tokio::select! {
                () = subscriber.woken() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = &mut over => return Ok(page),
                () = lifecycle.soft().cancelled() => return Ok(page),
            }
            filter.order = Order::Ascending { after: page.cursor };
            page = store.events(&filter).await?;
            self.check_position(&filter, &page).await?;
            if !page.data.is_empty() {
                return Ok(page);
            }
        }
    }

    /// Refuses a cursor beyond the newest one that this store has ever given: events up to it would be missed.
    ///
    /// A store that has never held an event cannot miss one. There the request waits, and is refused when the first event is
    /// stored.
    async fn check_position(&self, filter: &EventFilter, page: &Page<Event>) -> Result<(), Problem> {
        let Order::Ascending { after } = filter.order else { return Ok(()) };
        // A page moves a position that is behind on to the newest cursor.
        if !page.data.is_empty() || page.cursor != after || after == Cursor::default() {
            return Ok(());
        }
        let given = self.context.store.kept().await?.given;
        if given > Cursor::default() && after > given {
            return Err(Problem::cursor_ahead(given));
        }
        Ok(())
    }
}
