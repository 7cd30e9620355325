//! `/v1/events`: what polling apps read, and what else reads events.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::consumers;
use super::stream::{Streams, stream};
use crate::context::Context;
use crate::domain::{Cursor, Event, EventFilter, EventId, Limit, Order, Page};
use crate::http::auth::Caller;
use crate::http::extract::{NoParams, Params, Path};
use crate::http::problem::Problem;
use crate::http::respond::json;

/// Time after which a waiting request reads again without a notification: one of another replica can be lost with its
/// connection.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// State of the routes that read events.
pub struct EventsState {
    /// Shared handles.
    pub context: Context,
    /// Limit of open streams.
    pub streams: Streams,
}

/// Everything below `/v1/events` and `/v1/consumers`.
pub(crate) fn routes(state: EventsState) -> Router {
    let state = Arc::new(state);
    Router::new()
        .route("/v1/events", get(list))
        .route("/v1/events/stream", get(stream))
        .route("/v1/events/{id}", get(show))
        .with_state(Arc::clone(&state))
        .merge(consumers::routes(state))
}

/// `GET /v1/events`
async fn list(
    State(state): State<Arc<EventsState>>,
    caller: Caller,
    params: Params,
) -> Result<Response, Problem> {
    let (mut filter, wait) = parse(params)?;
    caller.narrow(&mut filter);
    let page = state.page(filter, wait).await?;
    if !wait.is_zero() && !page.data.is_empty() {
        caller.still_good().await?;
    }
    Ok(json(&page))
}

/// `GET /v1/events/{id}`
async fn show(
    State(state): State<Arc<EventsState>>,
    caller: Caller,
    Path(id): Path<EventId>,
    _: NoParams,
) -> Result<Response, Problem> {
    let event = state.context.store.event(&id).await?.filter(|event| caller.sees(event.service.as_ref()));
    event.map(|event| json(&event)).ok_or_else(|| Problem::not_found(format!("there is no event {id}")))
}

impl EventsState {
    /// A page, as soon as there is something to show, at the latest when the time is over or remgate stops.
    pub(super) async fn page(&self, mut filter: EventFilter, wait: Duration) -> Result<Page<Event>, Problem> {
        // The watcher comes before the look: an event stored in between wakes it.
        let mut watcher = self.context.notifier.watch_events();
        let mut page = self.context.store.events(&filter).await?;
        self.check_position(&filter, &page).await?;
        if wait.is_zero() || !page.data.is_empty() {
            return Ok(page);
        }
        let _counted = self.context.metrics.waiter();
        let mut over = self.context.clock.sleep(wait);
        loop {
            tokio::select! {
                () = watcher.woken() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = &mut over => return Ok(page),
                () = self.context.lifecycle.soft().cancelled() => return Ok(page),
            }
            filter.order = Order::Ascending { after: page.cursor };
            page = self.context.store.events(&filter).await?;
            self.check_position(&filter, &page).await?;
            if !page.data.is_empty() {
                return Ok(page);
            }
        }
    }
}

impl EventsState {
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

fn parse(mut params: Params) -> Result<(EventFilter, Duration), Problem> {
    let newest_first = params.newest_first()?;
    let after = params.one::<Cursor>("after")?;
    let before = params.one::<Cursor>("before")?;
    let wait = params.given_wait()?;
    let order = match (newest_first, after, before, &wait) {
        (false, _, None, _) => Order::Ascending { after: after.unwrap_or_default() },
        (true, None, _, None) => Order::Descending { before },
        (false, _, Some(_), _) => {
            return Err(Problem::bad_request("`before` goes with order=desc; pass `after` here"));
        }
        (true, _, _, _) => {
            return Err(Problem::bad_request(
                "order=desc goes without `after` and `wait`; it pages by `before`",
            ));
        }
    };
    let filter = EventFilter {
        order,
        limit: params.one::<Limit>("limit")?.unwrap_or_default(),
        types: params.many("type")?,
        services: params.many("service")?,
        uaid: params.one("uaid")?,
        since: params.time("since")?,
        until: params.time("until")?,
    };
    params.finish()?;
    Ok((filter, wait.unwrap_or_default()))
}
