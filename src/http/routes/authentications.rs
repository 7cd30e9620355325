//! `/v1/authentications`: expectations, waiting, claims and tickets; the key set of assertions.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::authentications::{Authentications, TicketError};
use crate::domain::{
    AppState, Authentication, AuthenticationName, AuthenticationStatus, Expectation, ExpiresIn, MinTrust,
    ServiceName, Subject, Uaid, iso_millis,
};
use crate::http::auth::Caller;
use crate::http::extract::{EmptyBody, Json, Params, Path};
use crate::http::problem::Problem;
use crate::http::respond::{json, with_body, with_json};
use crate::store::Claimed;

/// State of these routes.
#[derive(Clone)]
pub struct AuthenticationsState {
    /// Authentications.
    pub authentications: Arc<Authentications>,
    /// All services, in the order of the configuration.
    pub services: Vec<ServiceName>,
    /// Configured public URL, as the prefix of `/wait/...`; empty if it is not set.
    pub public_url: String,
}

type SharedAuthentications = State<Arc<AuthenticationsState>>;

/// Caching of the key set: 5 minutes.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// `GET /.well-known/jwks.json`: the key set to verify assertions with.
pub(in crate::http) async fn key_set(State(authentications): State<Arc<Authentications>>) -> Response {
    let set = authentications.key_set().to_string();
    let mut response = with_body(StatusCode::OK, "application/jwk-set+json", set);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHEABLE);
    response
}

/// Body of `PUT`: the expectation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ExpectationBody {
    service: Option<ServiceName>,
    subject: Option<Subject>,
    state: Option<AppState>,
    expires_in: Option<ExpiresIn>,
}

/// `PUT /v1/authentications/{uaid}`
pub(in crate::http) async fn expect(
    State(state): SharedAuthentications,
    caller: Caller,
    Path(uaid): Path<String>,
    Json(said): Json<ExpectationBody>,
) -> Result<Response, Problem> {
    let uaid: Uaid = uaid.parse().map_err(|e| Problem::unprocessable(format!("{e}")))?;
    let ExpectationBody { service, subject, state: app_state, expires_in } = said;
    let service = state.service(service, &caller)?;
    if !caller.sees(Some(&service)) {
        return Err(Problem::forbidden("the key is for another service"));
    }
    let expectation = Expectation { subject, state: app_state, expires_in: expires_in.unwrap_or_default() };
    let expected = state.authentications.expect(&AuthenticationName { service, uaid }, &expectation).await?;
    if !expected.new && expected.authentication.status == AuthenticationStatus::Expired {
        return Err(Problem::authentication_expired(
            StatusCode::CONFLICT,
            "it was expected and did not come in time; begin another authentication",
        ));
    }
    let status = if expected.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(with_json(status, "application/json", &expected.authentication))
}

/// `GET /v1/authentications/{uaid}`
pub(in crate::http) async fn show(
    State(state): SharedAuthentications,
    caller: Caller,
    Path(uaid): Path<Uaid>,
    mut params: Params,
) -> Result<Response, Problem> {
    let wait = params.wait()?;
    let name = state.named(uaid, params, &caller)?;
    let found = state.authentications.look(&name, wait).await?;
    if !wait.is_zero() {
        caller.still_good().await?;
    }
    found.map(|found| json(&found)).ok_or_else(|| unknown(uaid))
}

#[derive(Serialize)]
struct ClaimedView {
    #[serde(flatten)]
    authentication: Box<Authentication>,
    assertion: String,
}

/// Conditions of a claim beyond the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ClaimBody {
    min_trust: Option<MinTrust>,
    #[serde(default)]
    expected: bool,
}

/// `POST /v1/authentications/{uaid}/claim`
pub(in crate::http) async fn claim(
    State(state): SharedAuthentications,
    caller: Caller,
    Path(uaid): Path<Uaid>,
    params: Params,
    Json(terms): Json<ClaimBody>,
) -> Result<Response, Problem> {
    let name = state.named(uaid, params, &caller)?;
    let min_trust = terms.min_trust.map(MinTrust::get);
    match state.authentications.claim(&name, min_trust, terms.expected).await? {
        Claimed::Won(authentication) => {
            let assertion = state.authentications.issue_assertion(&authentication);
            Ok(json(&ClaimedView { authentication, assertion }))
        }
        Claimed::Taken => Err(Problem::already_claimed("it has already been claimed")),
        Claimed::TooLate => Err(Problem::claim_too_late(
            "it was completed too long ago to be claimed (`authentications.claim_within`)",
        )),
        Claimed::Pending => Err(Problem::not_completed("it has not been completed; wait for it first")),
        Claimed::InsufficientTrust => Err(Problem::insufficient_trust(
            "its callback has less trust than the claim or `authentications.min_trust` asks for, or it was not expected",
        )),
        Claimed::Expired => {
            Err(Problem::authentication_expired(StatusCode::GONE, "it was expected and did not come in time"))
        }
        Claimed::Unknown => Err(unknown(uaid)),
    }
}

#[derive(Serialize)]
struct Issued {
    url: String,
    #[serde(with = "iso_millis")]
    expires_at: Timestamp,
}

/// `POST /v1/authentications/{uaid}/ticket`
pub(in crate::http) async fn ticket(
    State(state): SharedAuthentications,
    caller: Caller,
    Path(uaid): Path<Uaid>,
    params: Params,
    Json(EmptyBody {}): Json<EmptyBody>,
) -> Result<Response, Problem> {
    let name = state.named(uaid, params, &caller)?;
    let (ticket, expires_at) = state.authentications.ticket(&name).await.map_err(|e| match e {
        TicketError::Unexpected => unknown(uaid),
        TicketError::Over => {
            Problem::authentication_expired(StatusCode::GONE, "the time for which it is expected is over")
        }
        TicketError::Store(e) => e.into(),
    })?;
    let url = format!("{}/wait/{ticket}", state.public_url);
    Ok(with_json(StatusCode::CREATED, "application/json", &Issued { url, expires_at }))
}

impl AuthenticationsState {
    /// Returns the authentication of the path and `?service=`. For one of a service that the caller may not see the answer is that for
    /// an unknown one.
    fn named(&self, uaid: Uaid, mut params: Params, caller: &Caller) -> Result<AuthenticationName, Problem> {
        let service = params.one("service")?;
        params.finish()?;
        let service = self.service(service, caller)?;
        if caller.sees(Some(&service)) {
            Ok(AuthenticationName { service, uaid })
        } else {
            Err(unknown(uaid))
        }
    }

    /// Returns the service: the named one, else the key's own, `default`, or the only one.
    fn service(&self, named: Option<ServiceName>, caller: &Caller) -> Result<ServiceName, Problem> {
        if let Some(named) = named {
            return if self.services.contains(&named) {
                Ok(named)
            } else {
                Err(Problem::unprocessable("there is no service of that name"))
            };
        }
        let default = ServiceName::default_service();
        match (caller.service(), &self.services[..]) {
            (Some(own), _) => Ok(own.clone()),
            (None, services) if services.contains(&default) => Ok(default),
            (None, [only]) => Ok(only.clone()),
            (None, _) => {
                Err(Problem::unprocessable("there are several services; say which is meant with `service`"))
            }
        }
    }
}

fn unknown(uaid: Uaid) -> Problem {
    Problem::not_found(format!(
        "the authentication {uaid} is not expected here, and no callback has reported it"
    ))
}
