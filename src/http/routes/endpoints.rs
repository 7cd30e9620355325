//! `/v1/endpoints`: who gets events. Those that the configuration declares can be read here, and changed only there.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use crate::domain::{
    Cursor, Endpoint, EndpointId, EndpointName, EndpointUrl, EventType, Format, Page, ServiceName, iso_millis,
};
use crate::http::extract::Path;
use crate::http::problem::Problem;
use crate::http::respond::json;
use crate::store::Store;

/// What the routes about endpoints need.
pub struct EndpointsState {
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// Where the declared ones stand, for people.
    pub declared_in: String,
    /// How many attempts at once an endpoint gets.
    pub max_in_flight: usize,
}

/// An endpoint as it is shown: without its secret.
#[derive(Serialize)]
struct View {
    id: EndpointId,
    name: EndpointName,
    url: EndpointUrl,
    types: Vec<EventType>,
    services: Vec<ServiceName>,
    format: Format,
    expected_only: bool,
    headers: std::collections::BTreeMap<String, String>,
    enabled: bool,
    disabled_reason: Option<String>,
    max_in_flight: usize,
    declared: bool,
    created_at: String,
}

impl EndpointsState {
    fn view(&self, endpoint: Endpoint) -> View {
        let settings = endpoint.settings;
        View {
            id: endpoint.id,
            name: settings.name,
            url: settings.url,
            types: settings.types,
            services: settings.services,
            format: settings.format,
            expected_only: settings.expected_only,
            headers: std::collections::BTreeMap::new(),
            enabled: endpoint.enabled,
            disabled_reason: endpoint.disabled_reason,
            max_in_flight: self.max_in_flight,
            declared: endpoint.declared,
            created_at: iso_millis::text(endpoint.created_at),
        }
    }

    async fn find(&self, id: &EndpointId) -> Result<Endpoint, Problem> {
        let found = self.store.endpoints_named(std::slice::from_ref(id)).await?;
        found.into_iter().next().ok_or_else(|| Problem::not_found(format!("there is no endpoint {id}")))
    }
}

/// `GET /v1/endpoints`
pub(crate) async fn list(State(state): State<Arc<EndpointsState>>) -> Result<Response, Problem> {
    let data: Vec<_> = state.store.endpoints().await?.into_iter().map(|it| state.view(it)).collect();
    Ok(json(&Page { data, cursor: Cursor::default(), has_more: false }))
}

/// `GET /v1/endpoints/{id}`
pub(crate) async fn show(
    State(state): State<Arc<EndpointsState>>,
    Path(id): Path<EndpointId>,
) -> Result<Response, Problem> {
    Ok(json(&state.view(state.find(&id).await?)))
}

/// `PATCH` and `DELETE /v1/endpoints/{id}`
pub(crate) async fn change(State(state): State<Arc<EndpointsState>>, Path(id): Path<EndpointId>) -> Problem {
    match state.find(&id).await {
        Ok(endpoint) if endpoint.declared => Problem::conflict(format!(
            "the endpoint `{}` is declared in {}; change it there and start again",
            endpoint.settings.name, state.declared_in
        )),
        Ok(endpoint) => Problem::conflict(format!(
            "the endpoint `{}` was declared in the configuration and is not any more; declare it in {} to use it again",
            endpoint.settings.name, state.declared_in
        )),
        Err(problem) => problem,
    }
}
