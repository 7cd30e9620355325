//! What stands before the internal door's routes.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::{Caller, Keys, scopes, this_machine};
use crate::domain::Scope;
use crate::http::problem::Problem;
use crate::http::routes::remotepc;

/// Lets a request to `/v1` in, or says why not.
pub(in crate::http) async fn admit_to_v1(
    State(keys): State<Arc<Keys>>,
    mut request: Request,
    next: Next,
) -> Response {
    let needed = needed(&request);
    match admit(&keys, request.headers(), needed).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// As upstream, down to the envelope: its clients know no other.
pub(in crate::http) async fn admit_to_remotepc(
    State(keys): State<Arc<Keys>>,
    mut request: Request,
    next: Next,
) -> Response {
    let needed = needed(&request);
    match admit(&keys, request.headers(), needed).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => in_upstreams_words(problem),
    }
}

/// While the door stands open it is for this machine alone, whatever is asked for but for its health.
pub(in crate::http) async fn guard_host(
    State(keys): State<Arc<Keys>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if matches!(path, "/livez" | "/readyz" | "/metrics") {
        return next.run(request).await;
    }
    let Err(foreign) = this_machine::check(request.headers()) else { return next.run(request).await };
    let problem = match keys.is_open().await {
        Ok(false) => return next.run(request).await,
        Ok(true) => foreign,
        Err(unknown) => unknown,
    };
    if path == "/admin/remotepc" || path.starts_with("/admin/remotepc/") {
        in_upstreams_words(problem)
    } else {
        problem.into_response()
    }
}

fn needed(request: &Request) -> Scope {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    scopes::required(request.method(), route)
}

async fn admit(keys: &Arc<Keys>, headers: &HeaderMap, needed: Scope) -> Result<Caller, Problem> {
    let caller = keys.admit(headers).await?;
    tracing::Span::current().record("caller", caller.id());
    caller.require(needed)?;
    Ok(caller)
}

fn in_upstreams_words(problem: Problem) -> Response {
    let word = match (problem.status(), problem.scope()) {
        (StatusCode::UNAUTHORIZED, _) => "NOT_AUTHORIZED".to_owned(),
        (_, Some(scope)) => format!("SCOPE_REQUIRED: {scope}"),
        (StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST, None) => "NOT_FROM_THIS_HOST".to_owned(),
        (StatusCode::SERVICE_UNAVAILABLE, None) => "UNAVAILABLE".to_owned(),
        _ => "INTERNAL_ERROR".to_owned(),
    };
    let mut response = remotepc::refusal(problem.status(), &word);
    for (name, value) in problem.into_response().headers() {
        if [header::WWW_AUTHENTICATE, header::RETRY_AFTER].contains(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}
