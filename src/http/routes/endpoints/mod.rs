//! `/v1/endpoints`: webhook endpoints. Endpoints of the configuration can be read here and changed only there.

mod fields;
mod test_send;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use crate::context::Context;
use crate::domain::{
    Cursor, EditRefusal, Endpoint, EndpointEdit, EndpointId, EndpointUrl, Limit, Page, ServiceName,
    SigningSecret,
};
use crate::egress::{Guard, Sender};
use crate::http::extract::{Json, NoParams, Params, Path};
use crate::http::problem::Problem;
use crate::http::respond::{empty, json, with_json};
use crate::store::{EditError, Edited};
use fields::Fields;
use view::{Made, View};

/// State of the routes about endpoints.
pub struct EndpointsState {
    /// Shared handles.
    pub context: Context,
    /// Egress guard, for early refusals.
    pub guard: Arc<Guard>,
    /// Sender of tests.
    pub sender: Arc<Sender>,
    /// The services that an endpoint may name.
    pub services: Vec<ServiceName>,
    /// Location of the declared endpoints, for people.
    pub declared_in: String,
    /// Settings of endpoints without their own.
    pub defaults: SendingDefaults,
}

/// Configured defaults of endpoints.
#[derive(Debug, Clone)]
pub struct SendingDefaults {
    /// The waits after attempt 1, 2, ...
    pub schedule: Vec<Duration>,
    /// For a whole attempt.
    pub timeout: Duration,
    /// Maximum number of concurrent attempts.
    pub max_in_flight: usize,
}

type Shared = State<Arc<EndpointsState>>;

/// Everything below `/v1/endpoints`.
pub(crate) fn routes(state: EndpointsState) -> Router {
    Router::new()
        .route("/v1/endpoints", get(list).post(create))
        .route("/v1/endpoints/{id}", get(show).patch(change).delete(remove))
        .route("/v1/endpoints/{id}/enable", post(enable))
        .route("/v1/endpoints/{id}/disable", post(disable))
        .route("/v1/endpoints/{id}/test", post(test_send::test))
        .route("/v1/endpoints/{id}/secret/rotate", post(rotate))
        .with_state(Arc::new(state))
}

/// Time for which the previous secret keeps signing after a rotation.
const OVERLAP: Duration = Duration::from_hours(24);

impl EndpointsState {
    async fn find(&self, id: &EndpointId) -> Result<Endpoint, Problem> {
        let found = self.context.store.endpoints_named(std::slice::from_ref(id)).await?;
        found.into_iter().next().ok_or_else(|| missing(id))
    }

    async fn edit(&self, id: &EndpointId, edit: EndpointEdit) -> Result<Endpoint, Problem> {
        let edited = self.context.store.edit_endpoint(id, &edit, self.context.clock.now()).await?;
        let Edited { endpoint, committed } = edited.map_err(|unedited| self.problem(id, unedited))?;
        // Before the answer: a confirmed change is in force for every attempt that begins later.
        self.context.announce(&committed);
        Ok(endpoint)
    }

    /// Says what the guard would say at the first attempt.
    async fn check(&self, url: &EndpointUrl) -> Result<(), Problem> {
        self.guard
            .check_resolves(url)
            .await
            .map_err(|refusal| Problem::unprocessable(format!("the url is refused: {refusal}")))
    }

    fn problem(&self, id: &EndpointId, unedited: EditError) -> Problem {
        let place = &self.declared_in;
        match unedited {
            EditError::Missing => missing(id),
            EditError::NameTaken(name) => {
                Problem::conflict(format!("there is an endpoint named `{name}`; names are unique"))
            }
            EditError::Refused(name, EditRefusal::Declared) => Problem::conflict(format!(
                "the endpoint `{name}` is declared in {place}; change it there and start again"
            )),
            EditError::Refused(name, EditRefusal::Undeclared) => Problem::conflict(format!(
                "the endpoint `{name}` was declared in the configuration and is not any more; it can be removed, or \
                 declared in {place} again"
            )),
            EditError::Refused(name, EditRefusal::Enabled) => Problem::conflict(format!(
                "the endpoint `{name}` is enabled; everything else about it is declared in {place}"
            )),
            EditError::Refused(_, EditRefusal::Invalid(why)) => Problem::unprocessable(why.to_string()),
        }
    }
}

fn missing(id: &EndpointId) -> Problem {
    Problem::not_found(format!("there is no endpoint {id}"))
}

/// `GET /v1/endpoints`
async fn list(State(state): Shared, mut params: Params) -> Result<Response, Problem> {
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
        .map(|endpoint| View::new(endpoint, &state.defaults))
        .collect();
    let cursor =
        if paged { Cursor(i64::try_from(passed + shown).unwrap_or(i64::MAX)) } else { Cursor::default() };
    Ok(json(&Page { data, cursor, has_more: passed + shown < endpoints.len() }))
}

/// `GET /v1/endpoints/{id}`
async fn show(State(state): Shared, Path(id): Path<EndpointId>, _: NoParams) -> Result<Response, Problem> {
    Ok(json(&View::new(&state.find(&id).await?, &state.defaults)))
}

/// `POST /v1/endpoints`
async fn create(State(state): Shared, Json(fields): Json<Fields>) -> Result<Response, Problem> {
    let settings = fields.settings(&state.services, &state.context.rng)?;
    state.check(&settings.url).await?;
    let now = state.context.clock.now();
    let id = EndpointId::new(now, &state.context.rng);
    let made = state.context.store.create_endpoint(&id, &settings, now).await?;
    let endpoint = made.map_err(|unedited| state.problem(&id, unedited))?;
    tracing::info!(endpoint = %endpoint.settings.name, id = %endpoint.id, "an endpoint was made by request");
    let secret = endpoint.settings.secret.reveal();
    let view = View::new(&endpoint, &state.defaults);
    let made = Made { view, secret: secret.expose_secret() };
    Ok(with_json(StatusCode::CREATED, "application/json", &made))
}

/// `PATCH /v1/endpoints/{id}`
async fn change(
    State(state): Shared,
    Path(id): Path<EndpointId>,
    Json(fields): Json<Fields>,
) -> Result<Response, Problem> {
    let change = fields.change(&state.services, &state.context.rng)?;
    if let Some(url) = &change.url {
        // First whether there is anything to change: looking a name up can take a while.
        let mut endpoint = state.find(&id).await?;
        let permitted = endpoint.edit(&EndpointEdit::FieldPatch(Box::default()));
        permitted.map_err(|why| state.problem(&id, EditError::Refused(endpoint.settings.name, why)))?;
        state.check(url).await?;
    }
    let endpoint = state.edit(&id, EndpointEdit::FieldPatch(Box::new(change))).await?;
    tracing::info!(endpoint = %endpoint.settings.name, %id, "an endpoint was changed by request");
    Ok(json(&View::new(&endpoint, &state.defaults)))
}

/// `DELETE /v1/endpoints/{id}`
async fn remove(State(state): Shared, Path(id): Path<EndpointId>) -> Result<Response, Problem> {
    let endpoint = state.edit(&id, EndpointEdit::Remove).await?;
    tracing::info!(
        endpoint = %endpoint.settings.name, %id,
        "an endpoint was removed by request, and what was open for it cancelled"
    );
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A body that says nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyBody {}

/// `POST /v1/endpoints/{id}/enable`
async fn enable(
    State(state): Shared,
    Path(id): Path<EndpointId>,
    Json(EmptyBody {}): Json<EmptyBody>,
) -> Result<Response, Problem> {
    let endpoint = state.edit(&id, EndpointEdit::Enable).await?;
    tracing::info!(endpoint = %endpoint.settings.name, %id, "an endpoint was enabled by request");
    Ok(json(&View::new(&endpoint, &state.defaults)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disabling {
    reason: Option<String>,
}

/// The longest reason, in characters.
const MAX_REASON: usize = 200;

/// `POST /v1/endpoints/{id}/disable`
async fn disable(
    State(state): Shared,
    Path(id): Path<EndpointId>,
    Json(Disabling { reason }): Json<Disabling>,
) -> Result<Response, Problem> {
    let fits =
        |text: &str| (1..=MAX_REASON).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if reason.as_deref().is_some_and(|text| !fits(text)) {
        return Err(Problem::unprocessable(format!("a reason is one line of 1 to {MAX_REASON} characters")));
    }
    let endpoint = state.edit(&id, EndpointEdit::Disable(reason)).await?;
    tracing::info!(endpoint = %endpoint.settings.name, %id, "an endpoint was disabled by request");
    Ok(json(&View::new(&endpoint, &state.defaults)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    secret: Option<SigningSecret>,
}

/// `POST /v1/endpoints/{id}/secret/rotate`
async fn rotate(
    State(state): Shared,
    Path(id): Path<EndpointId>,
    Json(Rotation { secret }): Json<Rotation>,
) -> Result<Response, Problem> {
    let secret = secret.unwrap_or_else(|| SigningSecret::generate(&state.context.rng));
    let until = state.context.clock.now().checked_add(OVERLAP).map_err(|_| Problem::internal())?;
    let endpoint = state.edit(&id, EndpointEdit::Rotate(secret, until)).await?;
    tracing::info!(
        endpoint = %endpoint.settings.name, %id,
        "an endpoint's secret was changed by request; the one before signs beside it for 24 hours"
    );
    Ok(json(&json!({"secret": endpoint.settings.secret.reveal().expose_secret()})))
}
