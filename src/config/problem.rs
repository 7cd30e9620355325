//! Problems of a configuration, with their origin. A problem never repeats the value of a secret key.

use std::fmt;

use super::key::ConfigKey;
use super::mask::masked;
use super::origin::Origin;

/// One fault of a configuration: its origin, the key, the value that was found and the values that are allowed.
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

    /// A value that breaks a rule. `fault` may be empty.
    pub(super) fn bad(
        origin: Origin,
        path: impl Into<String>,
        key: &ConfigKey,
        found: &str,
        fault: &str,
    ) -> Self {
        let found = if key.shown.is_secret() {
            "a value (not shown here)".to_owned()
        } else {
            quoted(&masked(found, key.shown))
        };
        let separator = if fault.is_empty() { "" } else { "; " };
        Self::new(origin, path, format!("found {found}, allowed is {}{separator}{fault}", key.allowed))
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
    const MAX_CHARACTERS: usize = 80;
    if text.chars().count() > MAX_CHARACTERS {
        format!("{:?} and more", text.chars().take(MAX_CHARACTERS).collect::<String>())
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
    /// Sorts the problems: those of the file in the order of its lines, then the others.
    pub(super) fn new(mut problems: Vec<ConfigProblem>) -> Self {
        problems.sort_by_key(|problem| problem.origin.line());
        Self { problems }
    }

    /// All problems.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

fn lines(problems: &[ConfigProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect::<Vec<_>>().concat()
}
