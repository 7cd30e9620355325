//! Origin of a configured value.

use std::fmt;
use std::path::PathBuf;

/// Prefix of variables that win over the file.
pub(super) const PREFIX: &str = "REMGATE__";

/// Prefix of variables that lose to the file: the defaults of a container image or a package.
pub(super) const PACKAGED_PREFIX: &str = "REMGATE_DEFAULT__";

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
    /// The file named by a `KEY_file`, and the origin of that name.
    ValueFile { key: String, path: PathBuf, named_by: Box<Origin> },
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

    /// The same origin on another line, if that is known.
    pub(super) fn at(&self, line: Option<usize>) -> Self {
        match self {
            Self::File { path, .. } if line.is_some() => Self::File { path: path.clone(), line },
            other => other.clone(),
        }
    }

    /// Name of the layer, as `config show` prints it.
    pub(super) fn layer(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File { path, .. } => format!("file {}", path.display()),
            Self::Variable(name) if name.starts_with(PACKAGED_PREFIX) => format!("packaged default {name}"),
            Self::Variable(name) => format!("environment {name}"),
            Self::Flag(name) => format!("flag {name}"),
            Self::ValueFile { key, path, .. } => format!("{key} {}", path.display()),
        }
    }

    /// Line in the operator's file, by which problems are sorted; other origins come last.
    pub(super) fn line(&self) -> usize {
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
            Self::ValueFile { path, named_by, .. } => write!(f, "{} (named by {named_by})", path.display()),
        }
    }
}
