//! HTTP API on both listeners: routes, authentication of callers, problem documents.
//!
//! Every route of both listeners is mounted in this file. A handler extracts, makes one call, and responds. Nothing here
//! depends on how events are delivered: the store and the notifier are the only connection.

mod actor;
mod auth;
mod callback_auth;
mod client_addr;
mod connection;
mod count;
mod envelope;
mod extract;
mod forwarded;
mod idempotency;
mod layers;
mod listener;
mod peer;
mod problem;
mod respond;
mod routes;
mod sse;
mod write_timeout;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use http::{HeaderValue, Method, header};
use tower_http::cors::CorsLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

pub use auth::{Caller, Keys, KeysParts};
pub use callback_auth::{CallbackAuth, GateRule};
pub use client_addr::TrustedProxies;
pub use count::RequestCounter;
pub use idempotency::Idempotency;
pub use layers::RequestIds;
pub use listener::{DisconnectPolicy, Listening, serve};
pub use peer::Peer;
pub use routes::audit::AuditState;
pub use routes::authentications::AuthenticationsState;
pub use routes::callback::CallbackState;
pub use routes::deliveries::DeliveriesState;
pub use routes::endpoints::{EndpointsState, SendingDefaults};
pub use routes::health::HealthState;
pub use routes::keys::KeysState;
pub use routes::reading::{EventsState, Streams};
pub use routes::rejected_callbacks::RejectedCallbacksState;
pub use routes::remotepc::operations::RemotePcState;
pub use routes::remotepc::sessions::RemotePcSessionsState;
pub use routes::remotepc::users::RemotePcUsersState;

use crate::authentications::Authentications;
use auth::auth_layer;
use envelope::Envelope;
use layers::{Refusals, around, own_request_id, plain_request_id};
use problem::Problem;
use routes::endpoints::test_send;
use routes::remotepc::problem as remotepc_problem;
use routes::remotepc::{operations, sessions, users};
use routes::{
    audit, authentications, callback, consumers, deliveries, endpoints, events, health, keys,
    rejected_callbacks, stream, wait,
};

/// Time for which a browser caches a preflight answer.
const PREFLIGHT_LASTS: Duration = Duration::from_hours(1);

/// Maximum pause between two pieces of a body on the internal listener.
const BODY_PAUSE: Duration = Duration::from_secs(10);

/// Builds the public listener: RemAuth's callback, browsers that wait with a ticket, and nothing else.
pub fn public(
    callback: CallbackState,
    authentications: Arc<Authentications>,
    cors_origins: &[String],
    ids: RequestIds,
    count: RequestCounter,
) -> Router {
    let callbacks = Router::new()
        .route("/remauth_callback", any(callback::callback))
        .route("/remauth_callback/{token}", any(callback::callback))
        // Every other path may be a callback whose path was altered.
        .fallback(callback::callback)
        .with_state(Arc::new(callback));
    let router = Router::new()
        .merge(callbacks)
        .merge(key_set(Arc::clone(&authentications)))
        .merge(wait_tickets(authentications, cors_origins))
        .route("/livez", get(health::livez))
        .method_not_allowed_fallback(|| async { Envelope::wrong_method("GET, HEAD") });
    let refusals = Refusals {
        two_hosts: |_| Envelope::two_hosts().into_response(),
        uri_too_long: |_| Envelope::uri_too_long().into_response(),
        head_too_large: |_| Envelope::head_too_large().into_response(),
        panicked: || Envelope::internal().into_response(),
    };
    around(router, "public", refusals, ids, own_request_id, count)
}

/// Browsers that wait. A page of another origin may read the answer only if its origin is listed.
fn wait_tickets(authentications: Arc<Authentications>, cors_origins: &[String]) -> Router {
    let router = Router::new()
        .route("/wait/{ticket}", get(wait::wait))
        // Inside the CORS layer, which has to see preflight requests first.
        .method_not_allowed_fallback(|| async { Envelope::wrong_method("GET, HEAD") })
        .with_state(authentications);
    // The configuration has checked them.
    let origins: Vec<HeaderValue> = cors_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return router;
    }
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET])
        .allow_headers([header::CACHE_CONTROL, sse::LAST_EVENT_ID])
        .max_age(PREFLIGHT_LASTS);
    router.layer(cors)
}

fn key_set(authentications: Arc<Authentications>) -> Router {
    Router::new().route("/.well-known/jwks.json", get(authentications::key_set)).with_state(authentications)
}

/// States of the internal listener's routes.
pub struct InternalStates {
    /// API keys.
    pub keys: Keys,
    /// For `/v1/keys`.
    pub api_keys: KeysState,
    /// For `/v1/events` and `/v1/consumers`.
    pub events: EventsState,
    /// For `/v1/authentications`.
    pub authentications: AuthenticationsState,
    /// For `/v1/endpoints`.
    pub endpoints: EndpointsState,
    /// For `/v1/deliveries`, replaying and recovering.
    pub deliveries: DeliveriesState,
    /// For `/v1/audit`.
    pub audit: AuditState,
    /// For `/v1/rejected-callbacks`.
    pub rejected_callbacks: RejectedCallbacksState,
    /// For every POST below `/v1`.
    pub idempotency: Idempotency,
    /// For `/livez`, `/readyz`, `/metrics`.
    pub health: HealthState,
    /// For `/admin/remotepc`.
    pub remotepc: RemotePcState,
    /// For `/v1/remotepc/users`.
    pub remotepc_users: RemotePcUsersState,
    /// For `/v1/remotepc/sessions` and the links that it gives out.
    pub remotepc_sessions: RemotePcSessionsState,
}

/// Builds the internal listener, for apps and operators.
pub fn internal(states: InternalStates, ids: RequestIds, count: RequestCounter) -> Router {
    let assertions = Arc::clone(&states.authentications.authentications);
    let authentications = Arc::new(states.authentications);
    let sessions = Arc::new(states.remotepc_sessions);
    let events = Arc::new(states.events);
    let v1 = Router::new()
        .merge(event_routes(Arc::clone(&events)))
        .merge(consumer_routes(events))
        .merge(authentication_routes(Arc::clone(&authentications)))
        .merge(endpoint_routes(states.endpoints))
        .merge(delivery_routes(states.deliveries))
        .merge(rejected_callback_routes(states.rejected_callbacks))
        .merge(
            Router::new()
                .route("/v1/remotepc/users", get(users::list))
                .with_state(Arc::new(states.remotepc_users)),
        )
        .merge(Router::new().route("/v1/audit", get(audit::list)).with_state(Arc::new(states.audit)))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(states.idempotency, idempotent))
        // Outside the layer above, since it stores answers: keys, links and passwords must not be stored.
        .merge(key_routes(states.api_keys))
        .merge(
            Router::new()
                .route("/v1/remotepc/sessions", post(sessions::open))
                .with_state(Arc::clone(&sessions)),
        )
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        // Outside both layers: many requests wait here for long, and each carries every layer around it.
        .merge(
            Router::new()
                .route("/v1/authentications/{uaid}", get(authentications::show))
                .with_state(authentications),
        )
        .method_not_allowed_fallback(method_not_allowed);
    let admin = remotepc_routes(states.remotepc).layer(RequestBodyTimeoutLayer::new(BODY_PAUSE));
    let router = Router::new()
        .merge(v1)
        .merge(admin)
        .merge(sign_in_links(sessions))
        .merge(keyless_routes(states.health, assertions))
        .fallback(not_found)
        .layer(from_fn_with_state(Arc::new(states.keys), auth_layer));
    let refusals = Refusals {
        two_hosts: |request| {
            refusal_at(request, Problem::bad_request("there are two Host lines"), "INVALID_REQUEST")
        },
        uri_too_long: |request| refusal_at(request, Problem::uri_too_long(), "URI_TOO_LONG"),
        head_too_large: |request| refusal_at(request, Problem::head_too_large(), "HEADERS_TOO_LARGE"),
        panicked: || Problem::internal().into_response(),
    };
    around(router, "internal", refusals, ids, plain_request_id, count)
}

fn event_routes(state: Arc<EventsState>) -> Router {
    Router::new()
        .route("/v1/events", get(events::list))
        .route("/v1/events/stream", get(stream::stream))
        .route("/v1/events/{id}", get(events::show))
        .with_state(state)
}

fn consumer_routes(state: Arc<EventsState>) -> Router {
    Router::new()
        .route("/v1/consumers", get(consumers::list))
        .route("/v1/consumers/{name}", get(consumers::show).delete(consumers::remove))
        .route("/v1/consumers/{name}/events", get(consumers::events))
        .route("/v1/consumers/{name}/ack", post(consumers::acknowledge))
        .route("/v1/consumers/{name}/seek", post(consumers::seek))
        .with_state(state)
}

fn authentication_routes(state: Arc<AuthenticationsState>) -> Router {
    Router::new()
        .route("/v1/authentications/{uaid}", put(authentications::expect))
        .route("/v1/authentications/{uaid}/claim", post(authentications::claim))
        .route("/v1/authentications/{uaid}/ticket", post(authentications::ticket))
        .with_state(state)
}

fn endpoint_routes(state: EndpointsState) -> Router {
    Router::new()
        .route("/v1/endpoints", get(endpoints::list).post(endpoints::create))
        .route("/v1/endpoints/{id}", get(endpoints::show).patch(endpoints::change).delete(endpoints::remove))
        .route("/v1/endpoints/{id}/enable", post(endpoints::enable))
        .route("/v1/endpoints/{id}/disable", post(endpoints::disable))
        .route("/v1/endpoints/{id}/test", post(test_send::test))
        .route("/v1/endpoints/{id}/secret/rotate", post(endpoints::rotate))
        .with_state(Arc::new(state))
}

fn delivery_routes(state: DeliveriesState) -> Router {
    Router::new()
        .route("/v1/deliveries", get(deliveries::list))
        .route("/v1/deliveries/{id}", get(deliveries::show))
        .route("/v1/deliveries/{id}/retry", post(deliveries::retry))
        .route("/v1/deliveries/{id}/cancel", post(deliveries::cancel))
        .route("/v1/events/{id}/replay", post(deliveries::replay))
        .route("/v1/endpoints/{id}/recover", post(deliveries::recover))
        .with_state(Arc::new(state))
}

fn rejected_callback_routes(state: RejectedCallbacksState) -> Router {
    Router::new()
        .route("/v1/rejected-callbacks", get(rejected_callbacks::list))
        .route(
            "/v1/rejected-callbacks/{id}",
            get(rejected_callbacks::show).delete(rejected_callbacks::discard),
        )
        .route("/v1/rejected-callbacks/{id}/accept", post(rejected_callbacks::accept))
        .with_state(Arc::new(state))
}

fn key_routes(state: KeysState) -> Router {
    Router::new()
        .route("/v1/keys", get(keys::list).post(keys::add))
        .route("/v1/keys/{id}", get(keys::show).delete(keys::revoke))
        .with_state(Arc::new(state))
}

/// Upstream's own API. Its fallbacks answer in upstream's envelope.
fn remotepc_routes(state: RemotePcState) -> Router {
    let wrong_method = remotepc_problem::method_not_allowed;
    let not_found = remotepc_problem::not_found;
    Router::new()
        .route(
            "/admin/remotepc/user/list",
            get(operations::list).post(operations::list).fallback(wrong_method),
        )
        .route("/admin/remotepc/user/add", post(operations::add).fallback(wrong_method))
        .route("/admin/remotepc/user/invite", post(operations::invite).fallback(wrong_method))
        .route("/admin/remotepc/user/signin", post(operations::sign_in).fallback(wrong_method))
        .with_state(state)
        .route("/admin/remotepc", any(not_found))
        .route("/admin/remotepc/", any(not_found))
        .route("/admin/remotepc/{*rest}", any(not_found))
}

/// Sign-in links. The code in the path is the key, and a HEAD request must not use it up.
fn sign_in_links(state: Arc<RemotePcSessionsState>) -> Router {
    let wrong_method = remotepc_problem::method_not_allowed;
    let follow = get(sessions::follow).head(wrong_method).fallback(wrong_method);
    Router::new().route("/admin/remotepc/sessions/{code}", follow).with_state(state)
}

/// Routes that require no key.
fn keyless_routes(health: HealthState, authentications: Arc<Authentications>) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .with_state(Arc::new(health))
        .merge(key_set(authentications))
        .method_not_allowed_fallback(method_not_allowed)
}

/// Returns a refusal in the form of the path: upstream's envelope below `/admin/remotepc`, a problem document elsewhere.
fn refusal_at(request: &Request, problem: Problem, description: &str) -> Response {
    if auth::is_upstreams(request.uri().path()) {
        remotepc_problem::refusal(problem.status(), description)
    } else {
        problem.into_response()
    }
}

/// Answers repeated requests with an `Idempotency-Key`. Each caller has keys of its own.
async fn idempotent(
    State(idempotency): State<Idempotency>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    idempotency.once(caller.id(), request, next).await
}

async fn method_not_allowed(method: http::Method) -> Problem {
    Problem::method_not_allowed(format!("this cannot be asked for with {method}"))
}

/// Answer to a path without a route.
async fn not_found() -> Problem {
    Problem::not_found("the internal listener has no route at this path")
}
