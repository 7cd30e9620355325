//! HTTP API on both listeners: routes, authentication of callers, problem documents.
//!
//! A handler extracts, makes one call, and responds. Nothing here knows how events are delivered: the store and the
//! notifier are the only connection.

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
mod problem;
mod reject;
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
use axum::routing::{any, get, post};
use http::{HeaderValue, Method, header};
use tower_http::cors::CorsLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

pub use auth::{Caller, Keys, KeysParts};
pub use callback_auth::{CallbackAuth, GateRule};
pub use client_addr::TrustedProxies;
pub use count::Count;
pub use idempotency::Idempotency;
pub use layers::RequestIds;
pub use listener::{DisconnectPolicy, Listening, Peer, serve};
pub use routes::audit::AuditState;
pub use routes::authentications::AuthenticationsState;
pub use routes::callback::CallbackState;
pub use routes::deliveries::DeliveriesState;
pub use routes::endpoints::{EndpointsState, SendingDefaults};
pub use routes::events::EventsState;
pub use routes::health::HealthState;
pub use routes::keys::KeysState;
pub use routes::rejected_callbacks::RejectedCallbacksState;
pub use routes::remotepc::{RemotePcParts, RemotePcState};
pub use routes::remotepc_sessions::RemotePcSessionsState;
pub use routes::remotepc_users::RemotePcUsersState;
pub use routes::stream::Streams;

use crate::authentications::Authentications;
use auth::guard;
use envelope::Envelope;
use layers::{Refusals, around, own_request_id, plain_request_id};
use problem::Problem;
use routes::{
    audit, authentications, callback, deliveries, endpoints, events, health, keys, rejected_callbacks,
    remotepc, remotepc_sessions, remotepc_users, wait,
};

/// Time for which a browser caches a preflight answer.
const PREFLIGHT_LASTS: Duration = Duration::from_hours(1);

/// Maximum pause between two pieces of a body on the internal listener.
const BODY_PAUSE: Duration = Duration::from_secs(10);

/// The public listener: RemAuth's callback, browsers that wait with a ticket, and nothing else.
pub fn public(
    callback: CallbackState,
    authentications: Arc<Authentications>,
    cors_origins: &[String],
    ids: RequestIds,
    count: Count,
) -> Router {
    let callbacks = Router::new()
        .route("/remauth_callback", any(callback::callback))
        .route("/remauth_callback/{token}", any(callback::callback))
        // Everything else may be a callback whose path was mangled.
        .fallback(callback::callback)
        .with_state(Arc::new(callback));
    let router = Router::new()
        .merge(callbacks)
        .merge(authentications::key_set(Arc::clone(&authentications)))
        .merge(waiting(authentications, cors_origins))
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

/// Browsers that wait. A page of another origin may read it only if that origin is listed.
fn waiting(authentications: Arc<Authentications>, cors_origins: &[String]) -> Router {
    let router = Router::new()
        .route("/wait/{ticket}", get(wait::wait))
        // Here, so that a preflight meets the layer below before it.
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

/// The internal listener, for apps and operators.
pub fn internal(states: InternalStates, ids: RequestIds, count: Count) -> Router {
    let sessions = Arc::new(states.remotepc_sessions);
    let key_set = authentications::key_set(Arc::clone(&states.authentications.authentications));
    let expected = Arc::new(states.authentications);
    let v1 = Router::new()
        .merge(events::routes(states.events))
        .merge(authentications::routes(Arc::clone(&expected)))
        .merge(endpoints::routes(states.endpoints))
        .merge(
            Router::new()
                .route("/v1/remotepc/users", get(remotepc_users::list))
                .with_state(Arc::new(states.remotepc_users)),
        )
        .merge(deliveries::routes(states.deliveries))
        .merge(Router::new().route("/v1/audit", get(audit::list)).with_state(Arc::new(states.audit)))
        .merge(rejected_callbacks::routes(states.rejected_callbacks))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(states.idempotency, once))
        // Not under the layer above, which is about POST alone.
        .merge(authentications::waiting(expected))
        // Nor these, since it keeps answers: a key or a link is kept nowhere, and no trace of a password.
        .merge(keys::routes(states.api_keys))
        .merge(
            Router::new()
                .route("/v1/remotepc/sessions", post(remotepc_sessions::open))
                .with_state(Arc::clone(&sessions)),
        )
        .method_not_allowed_fallback(method_not_allowed)
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE));
    let admin = remotepc::routes(states.remotepc).layer(RequestBodyTimeoutLayer::new(BODY_PAUSE));
    let router = Router::new()
        .merge(v1)
        .merge(admin)
        .merge(desk_links(sessions))
        .merge(open(states.health, key_set))
        .fallback(nothing_here);
    let router = router.layer(from_fn_with_state(Arc::new(states.keys), guard));
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

/// A refusal in the words of the path: upstream's envelope below `/admin/remotepc`, a problem document elsewhere.
fn refusal_at(request: &Request, problem: Problem, description: &str) -> Response {
    if auth::is_upstreams(request.uri().path()) {
        remotepc::refusal(problem.status(), description)
    } else {
        problem.into_response()
    }
}

/// Routes that require no key.
fn open(health: HealthState, key_set: Router) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .with_state(Arc::new(health))
        .merge(key_set)
        .method_not_allowed_fallback(method_not_allowed)
}

/// One-time links. The code in the path is the key, and a look with HEAD must not use it up.
fn desk_links(sessions: Arc<RemotePcSessionsState>) -> Router {
    let followed = get(remotepc_sessions::follow).head(remotepc::method_not_allowed);
    Router::new()
        .route("/admin/remotepc/sessions/{code}", followed.fallback(remotepc::method_not_allowed))
        .with_state(sessions)
}

/// Two callers may give their requests the same names.
async fn once(
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

async fn nothing_here() -> Problem {
    Problem::not_found("the internal listener has no route at this path")
}
