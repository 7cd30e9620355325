//! Who asks, and by which request: what is written down about whoever does something.

use crate::domain::Actor;

/// Whoever asks for something.
#[derive(Debug, Clone)]
pub struct RequestActor {
    /// By their key.
    pub who: Actor,
    /// The request's name in logs, if it was a request.
    pub request_id: Option<String>,
}

impl RequestActor {
    /// Somebody who needs no key, because what they have is one.
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
