//! Flags of every subcommand: the last layer of the configuration.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, Loaded, Sources};

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Read the configuration from this file
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Listen here for RemAuth [key: public.listen]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    public_listen: Option<String>,
    /// Listen here for our own apps [key: internal.listen]
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    internal_listen: Option<String>,
    /// Store events in this database [key: database.url]; other users of this machine can see a password in a flag
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Write logs as auto, pretty or json
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        help = "Write logs as auto, pretty or json [key: telemetry.log_format]"
    )]
    log_format: Option<String>,
}

impl Global {
    /// Returns whether a flag names the configuration file or the internal listener.
    pub(super) fn is_given(&self) -> bool {
        self.config.is_some() || self.internal_listen.is_some()
    }

    /// Loads the configuration of this process.
    pub(super) fn load(&self) -> Result<Loaded, ConfigError> {
        let flags = [
            ("public.listen", &self.public_listen),
            ("internal.listen", &self.internal_listen),
            ("database.url", &self.database_url),
            ("telemetry.log_format", &self.log_format),
        ];
        let given = flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        Config::load(&Sources::from_process(self.config.clone(), given.collect()))
    }
}
