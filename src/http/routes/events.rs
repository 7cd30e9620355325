//! `/v1/events`: stored events, for apps that poll.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::reading::{self, EventsState};
use crate::domain::{EventFilter, EventId, Order};
use crate::http::auth::Caller;
use crate::http::extract::{NoParams, Paging, Params, Path};
use crate::http::problem::Problem;
use crate::http::respond::json;

/// `GET /v1/events`
pub(in crate::http) async fn list(
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
pub(in crate::http) async fn show(
    State(state): State<Arc<EventsState>>,
    caller: Caller,
    Path(id): Path<EventId>,
    _: NoParams,
) -> Result<Response, Problem> {
    let event = state.context.store.event(&id).await?.filter(|event| caller.sees(event.service.as_ref()));
    event.map(|event| json(&event)).ok_or_else(|| Problem::not_found(format!("there is no event {id}")))
}

fn parse(mut params: Params) -> Result<(EventFilter, Duration), Problem> {
    let wait = params.given_wait()?;
    let paging = Paging::read(&mut params)?;
    if wait.is_some() && matches!(paging.order, Order::Descending { .. }) {
        return Err(Problem::bad_request("order=desc goes without `after` and `wait`; it pages by `before`"));
    }
    let filter = EventFilter {
        limit: paging.limit,
        since: params.time("since")?,
        until: params.time("until")?,
        ..reading::filter(paging.order, &mut params)?
    };
    params.finish()?;
    Ok((filter, wait.unwrap_or_default()))
}
