//! Actor of an operation and the id of its request, for the audit log.

use crate::domain::Actor;

/// API key, command or rule that requests an operation.
#[derive(Debug, Clone)]
pub struct RequestActor {
    /// By their key.
    pub who: Actor,
    /// The request's name in logs, if it was a request.
    pub request_id: Option<String>,
}

impl RequestActor {
    /// Actor without a key: the one-time link that it uses is a secret by itself.
    #[must_use]
    pub fn with_a_link(self) -> Self {
        Self { who: Actor::word("link"), ..self }
    }

    /// A rule of remgate's own, by its name.
    #[must_use]
    pub fn rule(name: &str) -> Self {
        Self { who: Actor::word(name), request_id: None }
    }
}
