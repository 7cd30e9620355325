//! Configuration of the operator: layers, keys and rules become one valid [`Config`].
//!
//! Later layers win: the embedded `config/remgate.toml`, the defaults of a container image or package
//! (`REMGATE_DEFAULT__SECTION__KEY`), the operator's file, the environment, the flags. Only this module reads the
//! environment, in [`Sources::from_process`]. No error and no listing shows the value of a secret.
//!
//! A key has one row in `sections.rs` and its default in `config/remgate.toml`.

mod access;
mod build;
mod environment;
mod file;
mod key;
mod load;
mod mask;
mod merge;
mod origin;
mod problem;
mod reader;
mod rule;
mod rules;
mod sections;
mod show;
mod sources;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use access::{OpenListener, OpenListeners};
pub use load::{DEFAULTS, Loaded};
pub use problem::{ConfigError, ConfigProblem};
pub use sections::{
    AuthenticationsConfig, Config, DeliveryConfig, InternalConfig, ProvisioningConfig, PublicConfig,
    RemotePcConfig, RetentionConfig, ServiceConfig, TelemetryConfig,
};
pub use show::Effective;
pub use sources::Sources;
pub use types::{AllowedNetwork, Database, LogFormat};
