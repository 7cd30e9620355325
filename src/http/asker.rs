//! Who asks, and by which request: what is written down about whoever does something.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::auth::Caller;
use crate::domain::Who;

/// Whoever asks for something.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    /// By their key.
    pub(super) who: Who,
    /// The request's name in logs.
    pub(super) request_id: Option<String>,
}

impl Asker {
    /// Somebody who needs no key, because what they have is one.
    pub(super) fn with_a_link(self) -> Self {
        Self { who: who("link"), ..self }
    }
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let request_id = parts.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        Ok(Self { who: caller(parts), request_id: request_id.map(str::to_owned) })
    }
}

/// Whose key it is. The one place that knows where that is told.
fn caller(parts: &Parts) -> Who {
    match parts.extensions.get::<Caller>() {
        Some(caller) => Who { id: caller.id().to_owned(), name: caller.name().to_owned() },
        None => who("open"),
    }
}

/// Somebody who is known by one word.
pub(super) fn who(word: &str) -> Who {
    Who { id: word.to_owned(), name: word.to_owned() }
}
