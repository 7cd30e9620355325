//! `/v1/rejected-callbacks`: callbacks of authenticated senders that could not be understood.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::domain::{
    CallbackType, Cursor, Event, EventId, EventType, ListedRejected, NewEvent, Page, RejectedCallback,
    RejectedFilter, RejectedId, Uaid, iso_millis,
};
use crate::http::auth::Caller;
use crate::http::extract::{Json, NoParams, Paging, Params, Path};
use crate::http::problem::Problem;
use crate::http::respond::{empty, json};

/// State of these routes.
pub struct RejectedCallbacksState {
    /// Shared handles.
    pub context: Context,
}

/// Rejected callback as it is shown.
#[derive(Serialize)]
struct RejectedView {
    id: RejectedId,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<Cursor>,
    received_at: String,
    service: String,
    trust: String,
    source_ip: Option<String>,
    reason: String,
    request: String,
}

impl RejectedView {
    fn of(rejected: RejectedCallback, cursor: Option<Cursor>) -> Self {
        Self {
            id: rejected.id,
            cursor,
            received_at: iso_millis::text(rejected.received_at),
            service: rejected.service.to_string(),
            trust: rejected.trust.to_string(),
            source_ip: rejected.source_ip.map(|address| address.to_string()),
            reason: rejected.reason,
            request: rejected.request,
        }
    }
}

/// The event that a rejected callback meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Meant {
    r#type: EventType,
    uaid: Uaid,
}

/// `GET /v1/rejected-callbacks`
pub(in crate::http) async fn list(
    State(state): State<Arc<RejectedCallbacksState>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let Paging { order, limit } = Paging::read(&mut params)?;
    let services = params.many("service")?;
    params.finish()?;
    let Some(services) = caller.narrowed(services) else {
        return Ok(json(&Page::<RejectedView> {
            data: Vec::new(),
            cursor: Cursor::default(),
            has_more: false,
        }));
    };
    let filter = RejectedFilter { order, limit, services };
    let page = state.context.store.rejected_callbacks(&filter).await?;
    let view = |(cursor, rejected): ListedRejected| RejectedView::of(rejected, Some(cursor));
    let data: Vec<_> = page.data.into_iter().map(view).collect();
    Ok(json(&Page { data, cursor: page.cursor, has_more: page.has_more }))
}

/// `GET /v1/rejected-callbacks/{id}`
pub(in crate::http) async fn show(
    State(state): State<Arc<RejectedCallbacksState>>,
    caller: Caller,
    Path(id): Path<RejectedId>,
    _: NoParams,
) -> Result<Response, Problem> {
    Ok(json(&RejectedView::of(state.find(&caller, &id).await?, None)))
}

/// `DELETE /v1/rejected-callbacks/{id}`
pub(in crate::http) async fn discard(
    State(state): State<Arc<RejectedCallbacksState>>,
    caller: Caller,
    Path(id): Path<RejectedId>,
) -> Result<Response, Problem> {
    let rejected = state.find(&caller, &id).await?;
    if !state.context.store.remove_rejected(&rejected.id).await? {
        return Err(unknown(&id));
    }
    tracing::info!(rejected = %id, actor = caller.id(), "discarded a rejected callback");
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `POST /v1/rejected-callbacks/{id}/accept`: stores the event that it meant, as the callback would have, and deletes it. Of
/// several requests at the same moment one is answered 200; the others find nothing.
pub(in crate::http) async fn accept(
    State(state): State<Arc<RejectedCallbacksState>>,
    caller: Caller,
    Path(id): Path<RejectedId>,
    Json(meant): Json<Meant>,
) -> Result<Response, Problem> {
    let Some(callback) = meant.r#type.callback() else {
        return Err(Problem::unprocessable(
            "`type` is one of remauth.authenticated, remauth.registricated and remauth.subscribed",
        ));
    };
    let rejected = state.find(&caller, &id).await?;
    let event = state.store_event(&rejected, callback, meant.uaid).await?;
    tracing::info!(rejected = %id, event = %event.id, actor = caller.id(), "accepted a rejected callback");
    Ok(json(&event))
}

impl RejectedCallbacksState {
    async fn find(&self, caller: &Caller, id: &RejectedId) -> Result<RejectedCallback, Problem> {
        let found = self.context.store.rejected_callback(id).await?;
        found.filter(|rejected| caller.sees(Some(&rejected.service))).ok_or_else(|| unknown(id))
    }

    async fn store_event(
        &self,
        rejected: &RejectedCallback,
        callback: CallbackType,
        uaid: Uaid,
    ) -> Result<Event, Problem> {
        let now = self.context.clock.now();
        let event = NewEvent {
            id: EventId::new(now, &self.context.rng),
            event_type: EventType::from(callback),
            service: Some(rejected.service.clone()),
            uaid: Some(uaid),
            trust: rejected.trust,
            source_ip: rejected.source_ip,
            received_at: now,
            detail: None,
            about: None,
        };
        let appended = self.context.store.accept_rejected(&rejected.id, &event, now).await?;
        let appended = appended.ok_or_else(|| unknown(&rejected.id))?;
        let recorded = appended.events.first().ok_or_else(Problem::internal)?;
        let outcome = if recorded.new { "stored" } else { "duplicate" };
        self.context.metrics.callback(rejected.service.as_str(), callback.as_str(), outcome);
        self.context.announce(&appended.committed);
        self.context.store.event(&recorded.id).await?.ok_or_else(Problem::internal)
    }
}

fn unknown(id: &RejectedId) -> Problem {
    Problem::not_found(format!("there is no rejected callback {id}"))
}
