//! `/v1/consumers`: named cursors that the server keeps.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::reading::EventsState;
use crate::domain::{
    Consumer, ConsumerId, ConsumerName, Cursor, EventFilter, Invalid, Limit, Order, Seek, iso_millis,
};
use crate::http::auth::Caller;
use crate::http::extract::{Json, NoParams, Params, Path};
use crate::http::problem::Problem;
use crate::http::respond::{empty, json};
use crate::store::{ConsumerError, MAX_CONSUMERS};

type SharedEvents = State<Arc<EventsState>>;

/// Returns the id of a consumer. A key that is limited to a service has its own consumers.
fn id(caller: &Caller, name: ConsumerName) -> ConsumerId {
    ConsumerId { owner: caller.service().cloned(), name }
}

/// Consumer as it is shown.
#[derive(Serialize)]
struct ConsumerView {
    name: ConsumerName,
    cursor: Cursor,
    lag: u64,
    missed: bool,
    #[serde(with = "iso_millis")]
    created_at: Timestamp,
    #[serde(with = "iso_millis")]
    updated_at: Timestamp,
}

impl From<Consumer> for ConsumerView {
    fn from(consumer: Consumer) -> Self {
        let lag = consumer.lag();
        let missed = consumer.missed();
        let Consumer { name, place, created_at, updated_at, .. } = consumer;
        Self { name, cursor: place, lag, missed, created_at, updated_at }
    }
}

/// Page of consumers. Its cursor is the name of the last one.
#[derive(Serialize)]
struct Consumers {
    data: Vec<ConsumerView>,
    cursor: String,
    has_more: bool,
}

/// `GET /v1/consumers`
pub(in crate::http) async fn list(
    State(state): SharedEvents,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let After(after) = params.one("after")?.unwrap_or_default();
    let limit = params.one::<Limit>("limit")?.unwrap_or_default();
    params.finish()?;
    let (found, has_more) = state.context.store.consumers(caller.service(), after.as_ref(), limit).await?;
    let cursor = found.last().map(|consumer| consumer.name.to_string());
    let cursor = cursor.or_else(|| after.map(String::from)).unwrap_or_default();
    Ok(json(&Consumers { data: found.into_iter().map(ConsumerView::from).collect(), cursor, has_more }))
}

/// Cursor of a list of consumers; empty for an empty list.
#[derive(Default)]
struct After(Option<ConsumerName>);

impl std::str::FromStr for After {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|name| Self(Some(name))) }
    }
}

/// `GET /v1/consumers/{name}`
pub(in crate::http) async fn show(
    State(state): SharedEvents,
    caller: Caller,
    Path(name): Path<ConsumerName>,
    _: NoParams,
) -> Result<Response, Problem> {
    let id = id(&caller, name);
    let found = state.context.store.consumer(&id).await?;
    found.map(|consumer| json(&ConsumerView::from(consumer))).ok_or_else(|| missing(&id.name))
}

/// `DELETE /v1/consumers/{name}`
pub(in crate::http) async fn remove(
    State(state): SharedEvents,
    caller: Caller,
    Path(name): Path<ConsumerName>,
) -> Result<Response, Problem> {
    let id = id(&caller, name);
    if state.context.store.remove_consumer(&id).await? {
        Ok(empty(StatusCode::NO_CONTENT))
    } else {
        Err(missing(&id.name))
    }
}

/// `GET /v1/consumers/{name}/events`
pub(in crate::http) async fn events(
    State(state): SharedEvents,
    caller: Caller,
    Path(name): Path<ConsumerName>,
    mut params: Params,
) -> Result<Response, Problem> {
    let wait = params.wait()?;
    let mut filter = EventFilter {
        limit: params.one("limit")?.unwrap_or_default(),
        types: params.many("type")?,
        services: params.many("service")?,
        ..EventFilter::new(Order::Ascending { after: Cursor::default() })
    };
    params.finish()?;
    caller.narrow(&mut filter);
    let cursor = state
        .context
        .store
        .consumer_place(&id(&caller, name), state.context.clock.now())
        .await?
        .map_err(refused)?;
    filter.order = Order::Ascending { after: cursor };
    let page = state.page(filter, wait).await?;
    if !wait.is_zero() && !page.data.is_empty() {
        caller.still_good().await?;
    }
    Ok(json(&page))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Acknowledgement {
    cursor: Cursor,
}

/// `POST /v1/consumers/{name}/ack`
pub(in crate::http) async fn acknowledge(
    State(state): SharedEvents,
    caller: Caller,
    Path(name): Path<ConsumerName>,
    Json(Acknowledgement { cursor }): Json<Acknowledgement>,
) -> Result<Response, Problem> {
    moved(&state, id(&caller, name), Seek::Acknowledge(cursor)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Seeking {
    cursor: Option<Cursor>,
    since: Option<Timestamp>,
    to: Option<End>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Beginning,
    End,
}

/// `POST /v1/consumers/{name}/seek`
pub(in crate::http) async fn seek(
    State(state): SharedEvents,
    caller: Caller,
    Path(name): Path<ConsumerName>,
    Json(seeking): Json<Seeking>,
) -> Result<Response, Problem> {
    let to = match (seeking.cursor, seeking.since, seeking.to) {
        (Some(cursor), None, None) => Seek::To(cursor),
        (None, Some(time), None) => Seek::Since(time),
        (None, None, Some(End::Beginning)) => Seek::Beginning,
        (None, None, Some(End::End)) => Seek::End,
        _ => {
            return Err(Problem::unprocessable(
                "say one of `cursor`, `since`, and `to`, which is `beginning` or `end`",
            ));
        }
    };
    moved(&state, id(&caller, name), to).await
}

async fn moved(state: &EventsState, id: ConsumerId, to: Seek) -> Result<Response, Problem> {
    let moved = state.context.store.move_consumer(&id, to, state.context.clock.now()).await?;
    Ok(json(&ConsumerView::from(moved.map_err(refused)?)))
}

fn refused(unmoved: ConsumerError) -> Problem {
    match unmoved {
        ConsumerError::TooMany => Problem::conflict(format!(
            "there are {MAX_CONSUMERS} consumers already; remove one that is not used any more"
        )),
        ConsumerError::Beyond(newest) => {
            Problem::unprocessable(format!("the cursor is beyond the newest event, which is at {newest}"))
        }
    }
}

fn missing(name: &ConsumerName) -> Problem {
    Problem::not_found(format!("there is no consumer {name}; it comes to be when it first reads"))
}
