//! Audit log: actions with their actor, object and outcome.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AuditId, Cursor, Invalid, Limit, Order, iso_millis};

/// Actor of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Unique id, such as that of a key.
    pub id: String,
    /// Name for people; not unique.
    pub name: String,
}

impl Actor {
    /// Returns an actor whose id and name are the same.
    #[must_use]
    pub fn word(word: &str) -> Self {
        Self { id: word.to_owned(), name: word.to_owned() }
    }
}

/// Entry of an action that is about to begin.
#[derive(Debug, Clone)]
pub struct NewAuditEntry {
    /// Its name.
    pub id: AuditId,
    /// Begin of the action.
    pub at: Timestamp,
    /// Actor.
    pub who: Actor,
    /// Action, such as `remotepc.invite`.
    pub action: &'static str,
    /// User or object of the action; see [`named`].
    pub whom: Option<String>,
    /// Id of the request that caused the action.
    pub request_id: Option<String>,
}

/// Outcome of an action.
#[derive(Debug, Clone)]
pub struct AuditEnd {
    /// Of which entry.
    pub id: AuditId,
    /// End of the action.
    pub at: Timestamp,
    /// Outcome, such as `ok`.
    pub outcome: &'static str,
    /// Facts about the outcome: a JSON object without passwords, keys and links.
    pub detail: Option<Value>,
}

/// Entry as it is shown. While the action is under way, and after a process that ended during it, the `outcome` is `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Its name.
    pub id: AuditId,
    /// Position in the order of all entries.
    pub cursor: Cursor,
    /// Begin of the action.
    #[serde(with = "iso_millis")]
    pub at: Timestamp,
    /// Actor.
    pub who: Actor,
    /// Action.
    pub action: String,
    /// User or object of the action.
    pub whom: Option<String>,
    /// Outcome.
    pub outcome: String,
    /// The facts.
    pub detail: Option<Value>,
    /// End of the action.
    #[serde(with = "iso_millis::option")]
    pub finished_at: Option<Timestamp>,
    /// Id of the request that caused the action.
    pub request_id: Option<String>,
}

/// Filter of audit entries. An empty list admits all.
#[derive(Debug, Clone)]
pub struct AuditFilter {
    /// Direction and start.
    pub order: Order,
    /// At most so many.
    pub limit: Limit,
    /// Only these actions.
    pub actions: Vec<AuditAction>,
    /// Only these outcomes.
    pub outcomes: Vec<AuditOutcome>,
    /// Only entries of the actor with this id or name.
    pub who: Option<String>,
    /// Only entries about this user or object; see [`named`].
    pub whom: Option<String>,
    /// Only entries begun at or after this time.
    pub since: Option<Timestamp>,
    /// Only entries begun before this time.
    pub until: Option<Timestamp>,
}

/// Every action that has audit entries.
pub const AUDIT_ACTIONS: &[&str] = &[
    "remotepc.add",
    "remotepc.invite",
    "remotepc.signin",
    "remotepc.list",
    "remotepc.session.open",
    "remotepc.session.use",
];

/// Every outcome that an audit entry can have.
pub const AUDIT_OUTCOMES: &[&str] = &[
    "ok",
    "refused",
    "upstream_error",
    "unreachable",
    "timeout",
    "crowded",
    "bad_response",
    "key_rejected",
    "not_configured",
    "dry_run",
    "unknown",
];

/// An action to filter by: one of [`AUDIT_ACTIONS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditAction(&'static str);

/// An outcome to filter by: one of [`AUDIT_OUTCOMES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditOutcome(&'static str);

impl FromStr for AuditAction {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        listed(text, "an action", AUDIT_ACTIONS).map(Self)
    }
}

impl FromStr for AuditOutcome {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        listed(text, "an outcome", AUDIT_OUTCOMES).map(Self)
    }
}

fn listed(text: &str, name: &str, all: &[&'static str]) -> Result<&'static str, Invalid> {
    let found = all.iter().find(|known| **known == text).copied();
    found.ok_or_else(|| Invalid::new(format_args!("{name} is one of {}", all.join(", "))))
}

/// Maximum length of a user's name in characters.
const NAME_MAX: usize = 320;

/// Returns an error code of upstream, or `OTHER` for a text that does not look like one: it could hold a password.
#[must_use]
pub fn sanitize_code(text: &str) -> &str {
    let plain = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    if plain || text == "Forbidden" { text } else { "OTHER" }
}

/// Normalizes a user's name for the audit log: lower case, so that it is found in any spelling, without control
/// characters, which not every engine can store, and cut to a maximum length.
#[must_use]
pub fn named(name: &str) -> String {
    name.trim().to_lowercase().chars().filter(|c| !c.is_control()).take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(" Jane@Example.COM ", "jane@example.com")]
    #[case("ÄNNE@EXAMPLE.COM", "änne@example.com")]
    #[case("a\u{0}b\n", "ab")]
    fn names_are_found_however_they_are_written(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(named(name), expected);
        assert_eq!(named(&"x".repeat(1000)).len(), NAME_MAX);
    }

    #[rstest::rstest]
    #[case("EMAIL_EXISTS", "EMAIL_EXISTS")]
    #[case("Forbidden", "Forbidden")]
    #[case("no such user: Pass-Word1", "OTHER")]
    #[case("https://login.example/x", "OTHER")]
    #[case("", "OTHER")]
    fn only_words_are_repeated(#[case] text: &str, #[case] kept: &str) {
        assert_eq!(sanitize_code(text), kept);
    }

    #[rstest::rstest]
    #[case("remotepc.session.open", true, false)]
    #[case("key_rejected", false, true)]
    #[case("nonsense", false, false)]
    #[case("Remotepc.add", false, false)]
    #[case("", false, false)]
    fn filters_know_every_action_and_outcome(
        #[case] text: &str,
        #[case] action: bool,
        #[case] outcome: bool,
    ) {
        assert_eq!(text.parse::<AuditAction>().is_ok(), action);
        assert_eq!(text.parse::<AuditOutcome>().is_ok(), outcome);
    }
}
