//! Extractor of the actor of a request.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::auth::Caller;
use crate::audited::RequestActor;
use crate::domain::Actor;

impl<S: Sync> FromRequestParts<S> for RequestActor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let request_id = parts.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        Ok(Self { who: caller(parts), request_id: request_id.map(str::to_owned) })
    }
}

/// Actor of the request: id and name of the caller's key, and the request id.
fn caller(parts: &Parts) -> Actor {
    match parts.extensions.get::<Caller>() {
        Some(caller) => Actor { id: caller.id().to_owned(), name: caller.name().to_owned() },
        None => Actor::word("open"),
    }
}
