//! Outcome of an attempt to invite a user: a pure function of upstream's answer and what was known before.

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

/// Outcome of an attempt.
#[derive(Debug)]
pub(super) enum InvitationOutcome {
    /// A dry run wrote its audit entry.
    Said,
    /// The user was invited.
    Invited(Facts),
    /// The user was invited before, or has an account.
    Exists(Facts),
    /// The user cannot be invited; another attempt would not help.
    Failed(Facts),
    /// The attempt failed for now.
    Again {
        /// True if upstream may have invited the user all the same.
        in_doubt: bool,
        /// Time of upstream's `Retry-After`.
        hint: Option<Duration>,
        /// Facts for the event if no attempt follows.
        facts: Facts,
    },
}

impl InvitationOutcome {
    /// Upstream's list has them.
    pub(super) fn listed() -> Self {
        Self::Invited(facts("result", "LISTED"))
    }

    /// Returns the outcome when the audit entry could not be written, so that nothing was sent.
    pub(super) fn unrecorded(e: &StoreError, in_doubt: bool) -> Self {
        tracing::warn!(error = %e, "failed to write the audit entry of an invitation; nothing was sent");
        Self::Again { in_doubt, hint: None, facts: facts("error", "UNAVAILABLE") }
    }

    /// Returns the outcome when upstream's list was not available: whether the invitation arrived is still unknown.
    pub(super) fn still_in_doubt(result: &Result<UpstreamResponse, Failure>, now: Timestamp) -> Self {
        match result {
            Err(Failure::Unrecorded(e)) => Self::unrecorded(e, true),
            Err(failure) => Self::Again { in_doubt: true, hint: None, facts: told(failure) },
            Ok(answer) => Self::Again { in_doubt: true, hint: hint(answer, now), facts: refused(answer) },
        }
    }
}

/// Returns the outcome of an invitation.
pub(super) fn judge(
    result: &Result<UpstreamResponse, Failure>,
    attempt: &ProvisioningAttempt,
    now: Timestamp,
) -> InvitationOutcome {
    match result {
        Ok(answer) if answer.is_success() => done(answer, attempt),
        Ok(answer) if answer.is_final() => InvitationOutcome::Failed(refused(answer)),
        Ok(answer) => {
            // Upstream may have invited the user before it failed with an error of its own.
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
    let result =
        results.iter().find(|result| named(result.username.as_str()) == wanted).or(match &results[..] {
            [only] => Some(only),
            _ => None,
        });
    let Some(result) = result else {
        // A success without a result: the list has to be read.
        return InvitationOutcome::Again {
            in_doubt: true,
            hint: None,
            facts: facts("error", "REMOTEPC_BAD_RESPONSE"),
        };
    };
    let facts = facts("result", sanitize_code(result.status.as_str()));
    match result.status {
        InviteStatus::Invited => InvitationOutcome::Invited(facts),
        // An earlier attempt of ours, whose answer was lost, has arrived.
        InviteStatus::AlreadyInvited if attempt.in_doubt => InvitationOutcome::Invited(facts),
        InviteStatus::AlreadyInvited | InviteStatus::Exists => InvitationOutcome::Exists(facts),
        InviteStatus::Other(_) => InvitationOutcome::Failed(facts),
    }
}

/// Returns whether upstream may have seen the request, with an unknown effect.
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
