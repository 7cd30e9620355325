//! The two doors: what can be asked for, by whom, and how refusals look.
//!
//! A handler extracts, makes one call, and responds. Nothing here knows how events are sent on: that meets us only in
//! the store and in the wake-ups.

mod asker;
mod auth;
mod client_addr;
mod desk;
mod door;
mod envelope;
mod extract;
mod gate;
mod idempotency;
mod layers;
mod problem;
mod respond;
mod routes;
mod trail;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::{StatusCode, header};
use tower_http::timeout::RequestBodyTimeoutLayer;

pub use auth::Keys;
pub use client_addr::TrustedProxies;
pub use desk::Desk;
pub use door::{HungUp, Peer, serve};
pub use gate::{Gate, GateRule};
pub use idempotency::Idempotency;
pub use layers::RequestIds;
pub use routes::audit::AuditState;
pub use routes::callback::CallbackState;
pub use routes::deliveries::DeliveriesState;
pub use routes::endpoints::{EndpointsState, SendingDefaults};
pub use routes::events::EventsState;
pub use routes::health::HealthState;
pub use routes::remotepc::{RemotePcParts, RemotePcState};
pub use routes::remotepc_sessions::RemotePcSessionsState;
pub use routes::remotepc_users::RemotePcUsersState;
pub use trail::Trail;

use envelope::Envelope;
use layers::{Refusals, around, own_request_id, plain_request_id};
use problem::Problem;
use routes::{
    audit, callback, deliveries, endpoints, events, health, remotepc, remotepc_sessions, remotepc_users,
};

/// How long a body on the internal door may pause.
const BODY_PAUSE: Duration = Duration::from_secs(10);

/// The door to the outside: RemAuth's callback, and nothing else.
pub fn public(callback: CallbackState, ids: RequestIds) -> Router {
    let callbacks = Router::new()
        .route("/remauth_callback", any(callback::callback))
        .route("/remauth_callback/{token}", any(callback::callback))
        .with_state(Arc::new(callback));
    let router = Router::new()
        .merge(callbacks)
        .route("/livez", get(health::livez))
        .fallback(|| async { Envelope::not_found() })
        .method_not_allowed_fallback(|| async { Envelope::wrong_method("GET, HEAD") });
    let refusals = Refusals {
        two_hosts: || Envelope::two_hosts().into_response(),
        uri_too_long: || Envelope::uri_too_long().into_response(),
        panicked: || Envelope::internal().into_response(),
    };
    around(router, "public", refusals, ids).layer(from_fn(own_request_id))
}

/// What the internal door's routes need.
pub struct InternalStates {
    /// Who may come in.
    pub keys: Keys,
    /// For `/v1/events`.
    pub events: EventsState,
    /// For `/v1/endpoints`.
    pub endpoints: EndpointsState,
    /// For `/v1/deliveries`, replaying and recovering.
    pub deliveries: DeliveriesState,
    /// For `/v1/audit`.
    pub audit: AuditState,
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

/// The door to our own apps and people.
pub fn internal(states: InternalStates, ids: RequestIds) -> Router {
    let keys = Arc::new(states.keys);
    let sessions = Arc::new(states.remotepc_sessions);
    let v1 = Router::new()
        .merge(
            Router::new()
                .route("/v1/events", get(events::list))
                .route("/v1/events/{id}", get(events::show))
                .with_state(Arc::new(states.events)),
        )
        .merge(endpoints::routes(states.endpoints))
        .merge(
            Router::new()
                .route("/v1/remotepc/users", get(remotepc_users::list))
                .with_state(Arc::new(states.remotepc_users)),
        )
        .merge(deliveries::routes(states.deliveries))
        .merge(Router::new().route("/v1/audit", get(audit::list)).with_state(Arc::new(states.audit)))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(states.idempotency, once))
        // Not under the layer above, which keeps answers: a link is kept nowhere, and no trace of a password.
        .merge(
            Router::new()
                .route("/v1/remotepc/sessions", post(remotepc_sessions::open))
                .method_not_allowed_fallback(method_not_allowed)
                .with_state(Arc::clone(&sessions)),
        )
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(from_fn_with_state(Arc::clone(&keys), admit_to_v1));
    let admin = Router::new()
        .merge(remotepc::read_routes(states.remotepc.clone()))
        .merge(remotepc::write_routes(states.remotepc))
        .merge(remotepc::unknown_routes())
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(from_fn_with_state(keys, admit_to_remotepc));
    let open = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(states.health));
    let router =
        Router::new().merge(v1).merge(admin).merge(desk_links(sessions)).merge(open).fallback(nothing_here);
    let refusals = Refusals {
        two_hosts: || Problem::bad_request("there are two Host lines").into_response(),
        uri_too_long: || Problem::uri_too_long().into_response(),
        panicked: || Problem::internal().into_response(),
    };
    around(router, "internal", refusals, ids).layer(from_fn(plain_request_id))
}

/// One-time links. The code in the path is the key, and a look with HEAD must not use it up.
fn desk_links(sessions: Arc<RemotePcSessionsState>) -> Router {
    let followed = get(remotepc_sessions::follow).head(remotepc::method_not_allowed);
    Router::new()
        .route("/admin/remotepc/sessions/{code}", followed.fallback(remotepc::method_not_allowed))
        .with_state(sessions)
}

/// Whoever comes in today has the one key, or needs none.
const ASKER: &str = "admin";

async fn once(State(idempotency): State<Idempotency>, request: Request, next: Next) -> Response {
    idempotency.once(ASKER, request, next).await
}

async fn admit_to_v1(State(keys): State<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    match keys.admit(request.headers()) {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// As upstream, down to the envelope: its clients know no other.
async fn admit_to_remotepc(State(keys): State<Arc<Keys>>, mut request: Request, next: Next) -> Response {
    match keys.admit(request.headers()) {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => {
            let mut response = remotepc::refusal(StatusCode::UNAUTHORIZED, "NOT_AUTHORIZED");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, problem::CHALLENGE);
            response
        }
        Err(problem) => remotepc::refusal(problem.status(), "NOT_FROM_THIS_HOST"),
    }
}

async fn method_not_allowed(method: http::Method) -> Problem {
    Problem::method_not_allowed(format!("this cannot be asked for with {method}"))
}

async fn nothing_here() -> Problem {
    Problem::not_found("the internal door serves nothing at this path")
}
