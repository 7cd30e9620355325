//! Layers before every route of the internal listener.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::scopes::{Access, access};
use super::{Caller, Keys, loopback_only};
use crate::http::problem::Problem;
use crate::http::routes::remotepc::problem::refusal;

/// Authenticates and authorizes a request. The layer is around the whole listener: no route can bypass it.
pub(in crate::http) async fn auth_layer(
    State(keys): State<Arc<Keys>>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let asked = access(request.method(), route);
    // Boxed, so that waiting requests do not hold its state.
    match Box::pin(authorize(&keys, request.headers(), asked)).await {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(problem) if is_upstreams(request.uri().path()) => in_upstreams_words(problem),
        Err(problem) => problem.into_response(),
    }
}

async fn authorize(keys: &Arc<Keys>, headers: &HeaderMap, asked: Access) -> Result<Option<Caller>, Problem> {
    if asked == Access::Public {
        return Ok(None);
    }
    // A listener without a required key serves this machine only.
    if let Err(foreign) = loopback_only::check(headers)
        && keys.is_open().await?
    {
        return Err(foreign);
    }
    let Access::Scope(scope) = asked else { return Ok(None) };
    let caller = keys.admit(headers).await?;
    tracing::Span::current().record("caller", caller.id());
    caller.require(scope)?;
    Ok(Some(caller))
}

/// Returns whether a path belongs to upstream's API, whose clients expect upstream's envelope.
pub(in crate::http) fn is_upstreams(path: &str) -> bool {
    path == "/admin/remotepc" || path.starts_with("/admin/remotepc/")
}

fn in_upstreams_words(problem: Problem) -> Response {
    let word = match (problem.status(), problem.scope()) {
        (StatusCode::UNAUTHORIZED, _) => "NOT_AUTHORIZED".to_owned(),
        (_, Some(scope)) => format!("SCOPE_REQUIRED: {scope}"),
        (StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST, None) => "NOT_FROM_THIS_HOST".to_owned(),
        (StatusCode::SERVICE_UNAVAILABLE, None) => "UNAVAILABLE".to_owned(),
        _ => "INTERNAL_ERROR".to_owned(),
    };
    let mut response = refusal(problem.status(), &word);
    for (name, value) in problem.into_response().headers() {
        if [header::WWW_AUTHENTICATE, header::RETRY_AFTER].contains(name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}
