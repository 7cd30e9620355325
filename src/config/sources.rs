//! Sources of a configuration. No other module reads the process's environment.

use std::fmt;
use std::path::PathBuf;

/// All inputs of a configuration. A test can set each of them.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file that `--config` names.
    pub config_path: Option<PathBuf>,
    /// Files to look for when none is named. The first that exists is read.
    pub search: Vec<PathBuf>,
    /// The environment, names and values.
    pub env: Vec<(String, String)>,
    /// Command-line flags: the path of the key, such as `public.listen`, and the value.
    pub flags: Vec<(String, String)>,
    /// Folder to which relative paths refer.
    pub current_dir: PathBuf,
}

impl Sources {
    /// Sources of this process.
    #[must_use]
    pub fn from_process(config_path: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let ours = |name: &str| {
            matches!(name, "DATABASE_URL" | "RUST_LOG" | "NO_COLOR")
                || name.to_ascii_uppercase().starts_with("REMGATE_")
        };
        let env = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, _)| ours(name))
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        Self {
            config_path,
            search: vec![PathBuf::from("remgate.toml"), PathBuf::from("/etc/remgate/remgate.toml")],
            env: env.collect(),
            flags,
            current_dir: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// The value of a variable; an empty one is not set.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        let flags: Vec<_> = self.flags.iter().map(|(key, _)| key).collect();
        f.debug_struct("Sources")
            .field("config_path", &self.config_path)
            .field("search", &self.search)
            .field("env", &env)
            .field("flags", &flags)
            .field("current_dir", &self.current_dir)
            .finish()
    }
}
