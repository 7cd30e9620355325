//! Problems of a configuration, with their origin. A problem never repeats the value of a secret key.

use std::fmt;
use std::path::PathBuf;

use super::environment::PACKAGED_PREFIX;

use super::schema::{Key, Kind, Shown};
use super::show::masked;

/// Layer of a value, and the place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The built-in file of defaults.
    Default,
    /// The operator's file, with the line if it is known.
    File { path: PathBuf, line: Option<usize> },
    /// An environment variable.
    Variable(String),
    /// A command-line flag.
    Flag(String),
    /// The file that a `KEY_file` names, and who named it.
    Twin { key: String, path: PathBuf, named_by: Box<Origin> },
}

impl Origin {
    /// The flag that sets a key.
    pub(super) fn flag(key: &str) -> Self {
        let flag = match key {
            "telemetry.log_format" => "log-format".to_owned(),
            other => other.replace(['.', '_'], "-"),
        };
        Self::Flag(format!("--{flag}"))
    }

    /// The same place, but on that line.
    pub(super) fn at(&self, line: Option<usize>) -> Self {
        match self {
            Self::File { path, .. } if line.is_some() => Self::File { path: path.clone(), line },
            other => other.clone(),
        }
    }

    /// The layer's name, as `config show` prints it.
    pub(super) fn layer(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File { path, .. } => format!("file {}", path.display()),
            Self::Variable(name) if name.starts_with(PACKAGED_PREFIX) => format!("packaged default {name}"),
            Self::Variable(name) => format!("environment {name}"),
            Self::Flag(name) => format!("flag {name}"),
            Self::Twin { key, path, .. } => format!("{key} {}", path.display()),
        }
    }

    fn line(&self) -> usize {
        match self {
            Self::File { line, .. } => line.unwrap_or(0),
            _ => usize::MAX,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {}", name.escape_debug()),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Twin { path, named_by, .. } => write!(f, "{} (named by {named_by})", path.display()),
        }
    }
}

/// One thing that is wrong: where, which key, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    origin: Origin,
    key: String,
    text: String,
}

impl Problem {
    pub(super) fn new(origin: Origin, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin, key: key.into(), text: text.into() }
    }

    /// A value that breaks a rule. `why` may be empty.
    pub(super) fn bad(origin: Origin, path: impl Into<String>, key: &Key, found: &str, why: &str) -> Self {
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
        kind: Kind,
        allowed: &str,
    ) -> Self {
        let text = format!("found {found} where {} is expected; allowed is {allowed}", kind.name());
        Self::new(origin, path, text)
    }
}

impl fmt::Display for Problem {
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
    problems: Vec<Problem>,
}

impl ConfigError {
    /// From all that was found; the file's problems in the order of its lines, then the others.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.origin.line());
        Self { problems }
    }

    /// Each thing that is wrong.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect::<Vec<_>>().concat()
}

/// Text about a value of the wrong kind: the value itself if keys of that kind may be shown.
pub(super) fn scalar(kind: &'static str, value: &str, shown: Shown) -> String {
    if shown == Shown::Plain { format!("{kind} ({value})") } else { kind.to_owned() }
}
