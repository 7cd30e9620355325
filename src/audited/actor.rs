//! Actor of an operation and the id of its request, for the audit log.

use crate::domain::Actor;

/// API key, command or rule that requests an operation.
#[derive(Debug, Clone)]
pub struct RequestActor {
    /// By their key.
    pub who: Actor,
    /// Id of the request, if a request asked for the operation.
    pub request_id: Option<String>,
}

impl RequestActor {
    /// Returns the actor of a sign-in link, which needs no key.
    #[must_use]
    pub fn with_a_link(self) -> Self {
        Self { who: Actor::word("link"), ..self }
    }

    /// Returns the actor of a rule of remgate.
    #[must_use]
    pub fn rule(name: &str) -> Self {
        Self { who: Actor::word(name), request_id: None }
    }
}
