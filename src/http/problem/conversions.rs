//! Every conversion of an error into a problem document.

use http::StatusCode;

use super::Problem;
use crate::audited::Failure;
use crate::http::routes::remotepc::users::UsersError;
use crate::remotepc::{CallError, Refusal};
use crate::store::StoreError;

/// The store's error is logged. The client learns whether a repetition makes sense.
impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        tracing::error!(error = %e, "failed to use the store for a request");
        match e {
            StoreError::Unavailable { .. } => Self::unavailable("the store cannot be reached now"),
            StoreError::Corrupt(_)
            | StoreError::InUse { .. }
            | StoreError::Unopened { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::Migration(_) => Self::internal(),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::TooLarge => Self::too_large("a body may be 1 MiB long"),
            Failure::RequestTimeout => Self::request_timeout("the body did not arrive within 15 s"),
            Failure::Unrecorded(e) => e.into(),
            Failure::Call(e) => e.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let words: Vec<_> = refusal.words().iter().map(|word| word.as_str()).collect();
        Self::unprocessable(format!("RemotePC would refuse: {}", words.join(", ")))
    }
}

impl From<CallError> for Problem {
    fn from(e: CallError) -> Self {
        Self::upstream(e.status(), format!("{}: {e}", e.word()))
    }
}

impl From<UsersError> for Problem {
    fn from(e: UsersError) -> Self {
        tracing::warn!(error = %e, "failed to list RemotePC's users");
        match e {
            UsersError::Failure(failure) => failure.into(),
            UsersError::Unusable(e) => Self::upstream(StatusCode::BAD_GATEWAY, e.to_string()),
        }
    }
}
