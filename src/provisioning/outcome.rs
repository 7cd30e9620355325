//! What an attempt to invite somebody came to: pure, from what upstream answered and what was known before.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::UpstreamResponse;
use crate::audited::Failure;
use crate::domain::{ProvisioningAttempt, named, retry_after, sanitize_code};
use crate::remotepc::{CallError, InviteStatus};
use crate::store::StoreError;

/// Facts for an event: never a key, a password or a link.
type Facts = Map<String, Value>;

/// What an attempt came to.
#[derive(Debug)]
pub(super) enum InvitationOutcome {
    /// It was only to be said.
    Said,
    /// They are invited, by us as far as anybody can tell.
    Invited(Facts),
    /// They were invited before, or have an account.
    Exists(Facts),
    /// They cannot be invited; trying again would not help.
    Failed(Facts),
    /// It did not work out now.
    Again {
        /// Whether upstream may have invited them all the same.
        in_doubt: bool,
        /// How long upstream wants to be left alone.
        hint: Option<Duration>,
        /// What to say when no attempt follows.
        facts: Facts,
    },
}

impl InvitationOutcome {
    /// Upstream's list has them.
    pub(super) fn listed() -> Self {
        Self::Invited(facts("result", "LISTED"))
    }

    /// Nothing was done, because it could not be written down.
    pub(super) fn unrecorded(e: &StoreError, in_doubt: bool) -> Self {
        tracing::warn!(error = %e, "an invitation could not be written down, so it was not made");
        Self::Again { in_doubt, hint: None, facts: facts("error", "UNAVAILABLE") }
    }

    /// Upstream's list could not be had, so nobody knows more than before.
    pub(super) fn still_in_doubt(result: &Result<UpstreamResponse, Failure>, now: Timestamp) -> Self {
        match result {
            Err(Failure::Unrecorded(e)) => Self::unrecorded(e, true),
            Err(failure) => Self::Again { in_doubt: true, hint: None, facts: told(failure) },
            Ok(answer) => Self::Again { in_doubt: true, hint: hint(answer, now), facts: refused(answer) },
        }
    }
}

/// What an invitation came to.
pub(super) fn judge(
    result: &Result<UpstreamResponse, Failure>,
    attempt: &ProvisioningAttempt,
    now: Timestamp,
) -> InvitationOutcome {
    match result {
        Ok(answer) if answer.is_success() => done(answer, attempt),
        Ok(answer) if answer.is_final() => InvitationOutcome::Failed(refused(answer)),
        Ok(answer) => {
            // Who answers with an error of their own may have done it before they failed.
            let in_doubt = attempt.in_doubt || answer.status().is_server_error() || answer.code() >= 500;
            InvitationOutcome::Again { in_doubt, hint: hint(answer, now), facts: refused(answer) }
        }
        Err(Failure::Unrecorded(e)) => InvitationOutcome::unrecorded(e, attempt.in_doubt),
        Err(failure @ Failure::Call(error)) => InvitationOutcome::Again {
            in_doubt: attempt.in_doubt || may_have_arrived(error),
            hint: None,
            facts: told(failure),
        },
        Err(failure) => InvitationOutcome::Failed(told(failure)),
    }
}

fn done(answer: &UpstreamResponse, attempt: &ProvisioningAttempt) -> InvitationOutcome {
    let results = answer.invite_results().unwrap_or_default();
    let wanted = named(&attempt.invitation.email);
    let result = results.iter().find(|it| named(it.username.as_str()) == wanted).or(match &results[..] {
        [only] => Some(only),
        _ => None,
    });
    let Some(result) = result else {
        // It says that all is well and not what it did: the list will tell.
        return InvitationOutcome::Again {
            in_doubt: true,
            hint: None,
            facts: facts("error", "REMOTEPC_BAD_RESPONSE"),
        };
    };
    let facts = facts("result", sanitize_code(result.status.as_str()));
    match result.status {
        InviteStatus::Invited => InvitationOutcome::Invited(facts),
        // An attempt of ours that nobody knew the end of has arrived.
        InviteStatus::AlreadyInvited if attempt.in_doubt => InvitationOutcome::Invited(facts),
        InviteStatus::AlreadyInvited | InviteStatus::Exists => InvitationOutcome::Exists(facts),
        InviteStatus::Other(_) => InvitationOutcome::Failed(facts),
    }
}

/// Whether upstream may have seen the request, and nobody knows what it did with it.
fn may_have_arrived(error: &CallError) -> bool {
    match error {
        CallError::NotConfigured
        | CallError::NotConnected(_)
        | CallError::Crowded
        | CallError::KeyRejected { .. } => false,
        CallError::Unreachable(_) | CallError::Timeout | CallError::BadResponse { .. } => true,
    }
}

fn hint(answer: &UpstreamResponse, now: Timestamp) -> Option<Duration> {
    retry_after(answer.retry_after()?.to_str().ok()?, now)
}

fn facts(name: &str, fact: impl Into<Value>) -> Facts {
    Facts::from_iter([(name.to_owned(), fact.into())])
}

fn refused(answer: &UpstreamResponse) -> Facts {
    let mut facts = facts("errors", json!(answer.error_words()));
    facts.insert("status".to_owned(), answer.status().as_u16().into());
    facts
}

fn told(failure: &Failure) -> Facts {
    facts("error", failure.told().1.into_iter().next().unwrap_or("UNAVAILABLE"))
}
