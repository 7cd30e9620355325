//! `/v1/endpoints`: webhook endpoints. Endpoints of the configuration can be read here and changed only there.

mod fields;
mod state;
pub(in crate::http) mod test_send;
mod view;

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use crate::domain::{Cursor, EndpointEdit, EndpointId, Limit, Page, SigningSecret};
use crate::http::extract::{EmptyBody, Json, NoParams, Params, Path};
use crate::http::problem::Problem;
use crate::http::respond::{empty, json, with_json};
use crate::store::EditError;
use fields::EndpointFields;
use state::SharedEndpoints;
pub use state::{EndpointsState, SendingDefaults};
use view::{CreatedView, EndpointView};

/// Time for which the previous secret keeps signing after a rotation.
const OVERLAP: Duration = Duration::from_hours(24);

/// `GET /v1/endpoints`
pub(in crate::http) async fn list(
    State(state): SharedEndpoints,
    mut params: Params,
) -> Result<Response, Problem> {
    // The cursor of this list is the number of endpoints that were shown before.
    let after = params.one::<Cursor>("after")?;
    let limit = params.one::<Limit>("limit")?;
    params.finish()?;
    let paged = after.is_some() || limit.is_some();
    let after = after.unwrap_or_default();
    let limit = limit.map_or(usize::MAX, Limit::get);
    let endpoints = state.context.store.endpoints().await?;
    let passed = usize::try_from(after.0).unwrap_or(usize::MAX).min(endpoints.len());
    let shown = limit.min(endpoints.len() - passed);
    let data = endpoints
        .iter()
        .skip(passed)
        .take(shown)
        .map(|endpoint| EndpointView::new(endpoint, &state.defaults))
        .collect();
    let cursor =
        if paged { Cursor(i64::try_from(passed + shown).unwrap_or(i64::MAX)) } else { Cursor::default() };
    Ok(json(&Page { data, cursor, has_more: passed + shown < endpoints.len() }))
}

/// `GET /v1/endpoints/{id}`
pub(in crate::http) async fn show(
    State(state): SharedEndpoints,
    Path(id): Path<EndpointId>,
    _: NoParams,
) -> Result<Response, Problem> {
    Ok(json(&EndpointView::new(&state.find(&id).await?, &state.defaults)))
}

/// `POST /v1/endpoints`
pub(in crate::http) async fn create(
    State(state): SharedEndpoints,
    Json(fields): Json<EndpointFields>,
) -> Result<Response, Problem> {
    let settings = fields.settings(&state.services, &state.context.rng)?;
    state.check(&settings.url).await?;
    let now = state.context.clock.now();
    let id = EndpointId::new(now, &state.context.rng);
    let made = state.context.store.create_endpoint(&id, &settings, now).await?;
    let endpoint = made.map_err(|unedited| state.problem(&id, unedited))?;
    tracing::info!(endpoint = %endpoint.settings.name, id = %endpoint.id, "created an endpoint");
    let secret = endpoint.settings.secret.reveal();
    let view = EndpointView::new(&endpoint, &state.defaults);
    let made = CreatedView { view, secret: secret.expose_secret() };
    Ok(with_json(StatusCode::CREATED, "application/json", &made))
}

/// `PATCH /v1/endpoints/{id}`
pub(in crate::http) async fn change(
    State(state): SharedEndpoints,
    Path(id): Path<EndpointId>,
    Json(fields): Json<EndpointFields>,
) -> Result<Response, Problem> {
    let change = fields.change(&state.services, &state.context.rng)?;
    if let Some(url) = &change.url {
        // Checked first, because resolving a name can take a while.
        let mut endpoint = state.find(&id).await?;
        let permitted = endpoint.edit(&EndpointEdit::FieldPatch(Box::default()));
        permitted.map_err(|why| state.problem(&id, EditError::Refused(endpoint.settings.name, why)))?;
        state.check(url).await?;
    }
    let endpoint = state.edit(&id, EndpointEdit::FieldPatch(Box::new(change))).await?;
    tracing::info!(endpoint = %endpoint.settings.name, %id, "changed an endpoint");
    Ok(json(&EndpointView::new(&endpoint, &state.defaults)))
}

/// `DELETE /v1/endpoints/{id}`
pub(in crate::http) async fn remove(
    State(state): SharedEndpoints,
    Path(id): Path<EndpointId>,
) -> Result<Response, Problem> {
    let endpoint = state.edit(&id, EndpointEdit::Remove).await?;
    tracing::info!(
        endpoint = %endpoint.settings.name, %id,
        "removed an endpoint and cancelled its open deliveries"
    );
    Ok(empty(StatusCode::NO_CONTENT))
}

/// `POST /v1/endpoints/{id}/enable`
pub(in crate::http) async fn enable(
    State(state): SharedEndpoints,
    Path(id): Path<EndpointId>,
    Json(EmptyBody {}): Json<EmptyBody>,
) -> Result<Response, Problem> {
    let endpoint = state.edit(&id, EndpointEdit::Enable).await?;
    tracing::info!(endpoint = %endpoint.settings.name, %id, "enabled an endpoint");
    Ok(json(&EndpointView::new(&endpoint, &state.defaults)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Disabling {
    reason: Option<String>,
}

/// Maximum length of a reason in characters.
const MAX_REASON: usize = 200;

/// `POST /v1/endpoints/{id}/disable`
pub(in crate::http) async fn disable(
    State(state): SharedEndpoints,
    Path(id): Path<EndpointId>,
    Json(Disabling { reason }): Json<Disabling>,
) -> Result<Response, Problem> {
    let fits =
        |text: &str| (1..=MAX_REASON).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if reason.as_deref().is_some_and(|text| !fits(text)) {
        return Err(Problem::unprocessable(format!("a reason is one line of 1 to {MAX_REASON} characters")));
    }
    let endpoint = state.edit(&id, EndpointEdit::Disable(reason)).await?;
    tracing::info!(endpoint = %endpoint.settings.name, %id, "disabled an endpoint");
    Ok(json(&EndpointView::new(&endpoint, &state.defaults)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Rotation {
    secret: Option<SigningSecret>,
}

/// `POST /v1/endpoints/{id}/secret/rotate`
pub(in crate::http) async fn rotate(
    State(state): SharedEndpoints,
    Path(id): Path<EndpointId>,
    Json(Rotation { secret }): Json<Rotation>,
) -> Result<Response, Problem> {
    let secret = secret.unwrap_or_else(|| SigningSecret::generate(&state.context.rng));
    let until = state.context.clock.now().checked_add(OVERLAP).map_err(|_| Problem::internal())?;
    let endpoint = state.edit(&id, EndpointEdit::Rotate(secret, until)).await?;
    tracing::info!(
        endpoint = %endpoint.settings.name, %id,
        "replaced an endpoint's secret; the previous one also signs for 24 hours"
    );
    Ok(json(&json!({"secret": endpoint.settings.secret.reveal().expose_secret()})))
}
