//! Problems of a configuration, with their origin. A problem never repeats the value of a secret key.

use std::fmt;

use super::mask::masked;
use super::origin::Origin;
use super::schema::{ConfigKey, Shown, ValueKind};

/// One thing that is wrong: where, which key, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    origin: Origin,
    key: String,
    text: String,
}

impl ConfigProblem {
    pub(super) fn new(origin: Origin, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin, key: key.into(), text: text.into() }
    }

    /// A value that breaks a rule. `why` may be empty.
    pub(super) fn bad(
        origin: Origin,
        path: impl Into<String>,
        key: &ConfigKey,
        found: &str,
        why: &str,
    ) -> Self {
        let found = if key.shown.is_secret() {
            "a value (not shown here)".to_owned()
        } else {
            quoted(&masked(found, key.shown))
        };
        let why = if why.is_empty() { String::new() } else { format!("; {why}") };
        Self::new(origin, path, format!("found {found}, allowed is {}{why}", key.allowed))
    }

    /// A value of another kind. `found` is the kind, never the value.
    pub(super) fn wrong_kind(
        origin: Origin,
        path: impl Into<String>,
        found: &str,
        kind: ValueKind,
        allowed: &str,
    ) -> Self {
        let text = format!("found {found} where {} is expected; allowed is {allowed}", kind.name());
        Self::new(origin, path, text)
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key.escape_debug())?;
        }
        f.write_str(&self.text)
    }
}

/// Text between quotation marks, on one line and not too long.
pub(super) fn quoted(text: &str) -> String {
    const MAX_PROBLEMS: usize = 80;
    if text.chars().count() > MAX_PROBLEMS {
        format!("{:?} and more", text.chars().take(MAX_PROBLEMS).collect::<String>())
    } else {
        format!("{text:?}")
    }
}

/// All problems of a configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:{}", lines(.problems))]
pub struct ConfigError {
    problems: Vec<ConfigProblem>,
}

impl ConfigError {
    /// From all that was found; the file's problems in the order of its lines, then the others.
    pub(super) fn new(mut problems: Vec<ConfigProblem>) -> Self {
        problems.sort_by_key(|problem| problem.origin.line());
        Self { problems }
    }

    /// Each thing that is wrong.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

fn lines(problems: &[ConfigProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect::<Vec<_>>().concat()
}

/// Text about a value of the wrong kind: the value itself if keys of that kind may be shown.
pub(super) fn scalar(kind: &'static str, value: &str, shown: Shown) -> String {
    if shown == Shown::Plain { format!("{kind} ({value})") } else { kind.to_owned() }
}
