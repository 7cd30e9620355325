//! `/v1/deliveries`, replay of an event, recovery of an endpoint.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::domain::{
    Attempt, Cursor, Delivery, DeliveryFilter, DeliveryId, DeliveryState, EndpointId, EventId, Invalid,
    parse_time,
};
use crate::http::extract::{EmptyBody, Json, NoParams, Paging, Params, Path};
use crate::http::problem::Problem;
use crate::http::respond::{json, with_json};
use crate::store::{Stretch, Window};

/// State of these routes.
pub struct DeliveriesState {
    /// Shared handles.
    pub context: Context,
}

type SharedDeliveries = State<Arc<DeliveriesState>>;

/// Maximum number of events in one transaction of a recovery. Callbacks wait for the transaction.
const STRETCH: i64 = 1000;

/// Maximum number of endpoints of one replay.
const MAX_NAMED: usize = 1000;

/// `GET /v1/deliveries`
pub(in crate::http) async fn list(
    State(state): SharedDeliveries,
    params: Params,
) -> Result<Response, Problem> {
    let page = state.context.store.deliveries(&parse(params)?, state.context.clock.now()).await?;
    Ok(json(&page))
}

fn parse(mut params: Params) -> Result<DeliveryFilter, Problem> {
    let Paging { order, limit } = Paging::read(&mut params)?;
    let filter = DeliveryFilter {
        order,
        limit,
        endpoint: params.one("endpoint")?,
        event: params.one("event")?,
        state: params.one("state")?,
    };
    params.finish()?;
    Ok(filter)
}

#[derive(Serialize)]
struct WithAttempts {
    #[serde(flatten)]
    delivery: Delivery,
    attempts: Vec<Attempt>,
}

/// `GET /v1/deliveries/{id}`
pub(in crate::http) async fn show(
    State(state): SharedDeliveries,
    Path(id): Path<DeliveryId>,
    _: NoParams,
) -> Result<Response, Problem> {
    let found = state.context.store.delivery(id, state.context.clock.now()).await?;
    let (delivery, attempts) = found.ok_or_else(|| missing(id))?;
    Ok(json(&WithAttempts { delivery, attempts }))
}

/// `POST /v1/deliveries/{id}/retry`
pub(in crate::http) async fn retry(
    State(state): SharedDeliveries,
    Path(id): Path<DeliveryId>,
    Json(EmptyBody {}): Json<EmptyBody>,
) -> Result<Response, Problem> {
    let committed = state.context.store.retry(id, state.context.clock.now()).await?;
    let delivery = state.find(id).await?;
    match (committed, delivery.state) {
        (Some(committed), _) => state.context.announce(&committed),
        // An attempt is under way, as requested.
        (None, DeliveryState::Sending) => {}
        (None, DeliveryState::Succeeded) => {
            return Err(Problem::conflict(format!("{id} has succeeded; replay its event to send it again")));
        }
        (None, _) => return Err(Problem::conflict(format!("the endpoint of {id} is gone"))),
    }
    Ok(with_json(StatusCode::ACCEPTED, "application/json", &delivery))
}

/// `POST /v1/deliveries/{id}/cancel`
pub(in crate::http) async fn cancel(
    State(state): SharedDeliveries,
    Path(id): Path<DeliveryId>,
    Json(EmptyBody {}): Json<EmptyBody>,
) -> Result<Response, Problem> {
    let committed = state.context.store.cancel(id, state.context.clock.now()).await?;
    let delivery = state.find(id).await?;
    let Some(committed) = committed else {
        return Err(Problem::conflict(format!("{id} is over already: it is {}", delivery.state)));
    };
    state.context.announce(&committed);
    Ok(json(&delivery))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ReplayBody {
    endpoints: Option<Vec<EndpointId>>,
}

/// `POST /v1/events/{id}/replay`
pub(in crate::http) async fn replay(
    State(state): SharedDeliveries,
    Path(id): Path<EventId>,
    Json(asked): Json<ReplayBody>,
) -> Result<Response, Problem> {
    if state.context.store.event(&id).await?.is_none() {
        return Err(Problem::not_found(format!("there is no event {id}")));
    }
    if let Some(named) = &asked.endpoints {
        state.check(&id, named).await?;
    }
    let replayed =
        state.context.store.replay(&id, asked.endpoints.as_deref(), state.context.clock.now()).await?;
    state.context.announce(&replayed.committed);
    Ok(with_json(StatusCode::ACCEPTED, "application/json", &json!({"deliveries": replayed.deliveries})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RecoveryBody {
    since: Moment,
    until: Option<Moment>,
    #[serde(default)]
    dry_run: bool,
}

/// Time, with an error text that does not repeat the value.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Moment(Timestamp);

impl TryFrom<String> for Moment {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        parse_time(&text).map(Self)
    }
}

/// `POST /v1/endpoints/{id}/recover`
pub(in crate::http) async fn recover(
    State(state): SharedDeliveries,
    Path(id): Path<EndpointId>,
    Json(asked): Json<RecoveryBody>,
) -> Result<Response, Problem> {
    if state.context.store.endpoints_named(std::slice::from_ref(&id)).await?.is_empty() {
        return Err(Problem::not_found(format!("there is no endpoint {id}")));
    }
    let until = asked.until.map_or_else(|| state.context.clock.now(), |until| until.0);
    let since = asked.since.0;
    if since >= until {
        return Err(Problem::unprocessable(
            "`since` is to be earlier than `until`, which is now unless it is given",
        ));
    }
    let count = state.recover(&id, Window { since, until }, asked.dry_run).await?;
    Ok(json(&json!({"count": count, "dry_run": asked.dry_run})))
}

impl DeliveriesState {
    async fn find(&self, id: DeliveryId) -> Result<Delivery, Problem> {
        let found = self.context.store.delivery(id, self.context.clock.now()).await?;
        found.map(|(delivery, _)| delivery).ok_or_else(|| missing(id))
    }

    /// Refuses endpoints that cannot be sent an event.
    async fn check(&self, event: &EventId, named: &[EndpointId]) -> Result<(), Problem> {
        if named.is_empty() || named.len() > MAX_NAMED {
            return Err(Problem::unprocessable(format!(
                "`endpoints` names 1 to {MAX_NAMED} endpoints; leave it out for all that want the event"
            )));
        }
        let known = self.context.store.endpoints_named(named).await?;
        if let Some(unknown) = named.iter().find(|id| known.iter().all(|endpoint| endpoint.id != **id)) {
            return Err(Problem::unprocessable(format!("there is no endpoint {unknown}")));
        }
        if let Some(disabled) = known.iter().find(|endpoint| !endpoint.enabled) {
            return Err(Problem::conflict(format!(
                "the endpoint {} is disabled; enable it first",
                disabled.id
            )));
        }
        match self.context.store.cannot_have(event, named).await?.first() {
            None => Ok(()),
            Some(id) => Err(Problem::unprocessable(format!(
                "the endpoint {id} cannot be sent this event: it is about that endpoint, or RemAuth has no parameter for it"
            ))),
        }
    }

    /// Recovers all events of a window in small transactions.
    async fn recover(&self, endpoint: &EndpointId, window: Window, dry_run: bool) -> Result<u64, Problem> {
        let Stretch { mut after, last: newest } = self.context.store.events_within(window).await?;
        let mut count = 0;
        while after < newest {
            let last = Cursor(after.0.saturating_add(STRETCH)).min(newest);
            let stretch = Stretch { after, last };
            count += if dry_run {
                self.context.store.count_lost(endpoint, window, stretch).await?
            } else {
                let committed =
                    self.context.store.recover(endpoint, window, stretch, self.context.clock.now()).await?;
                self.context.announce(&committed);
                committed.deliveries.pending
            };
            after = last;
        }
        Ok(count)
    }
}

fn missing(id: DeliveryId) -> Problem {
    Problem::not_found(format!("there is no delivery {id}"))
}
