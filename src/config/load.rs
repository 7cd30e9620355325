//! Loading: finds the file, merges the layers, and returns the configuration with its warnings, or all problems.

use std::path::{Path, PathBuf};

use super::origin::{Origin, PACKAGED_PREFIX, PREFIX};
use super::problem::ConfigProblem;
use super::show::{Effective, effective};
use super::value::Layer;
use super::{Config, ConfigError, ServiceConfig, Sources, build, environment, file, merge};
use crate::domain::Format;
use crate::telemetry::check_filter;

/// The file of defaults: every key, its default, one comment each.
pub const DEFAULTS: &str = include_str!("../../config/remgate.toml");

/// A valid configuration, with its warnings and the origin of each value.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration itself.
    pub config: Config,
    /// The file that was read, as it was named.
    pub file: Option<PathBuf>,
    /// Settings that are allowed but doubtful.
    pub warnings: Vec<String>,
    /// Every key with its value, secrets masked, and the layer it came from.
    pub effective: Vec<Effective>,
    /// Value of `RUST_LOG`.
    pub log_filter: Option<String>,
    /// True if `NO_COLOR` is set.
    pub no_color: bool,
}

impl Config {
    /// Reads and checks all layers. The access rule is checked separately, by [`Config::check_access`].
    ///
    /// # Errors
    ///
    /// All problems that make the configuration unusable.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let mut problems = Vec::new();
        let defaults = file::read(DEFAULTS, None, &mut problems);
        let file = file_of(sources);
        let from_file = match &file {
            Some((path, Ok(text))) => file::read(text, Some(path), &mut problems),
            Some((_, Err(problem))) => {
                problems.push(problem.clone());
                Layer::default()
            }
            None => Layer::default(),
        };
        let layers = vec![
            defaults,
            environment::variables(&sources.env, PACKAGED_PREFIX, &mut problems),
            environment::database_url(&sources.env, &mut problems),
            from_file,
            environment::variables(&sources.env, PREFIX, &mut problems),
            environment::flags(&sources.flags, &mut problems),
        ];
        let merged = merge::merge(layers, &sources.current_dir, &mut problems);
        environment::check_unknown(&sources.env, &mut problems);
        let log_filter = sources.variable("RUST_LOG").map(ToOwned::to_owned);
        if let Some(Err(fault)) = log_filter.as_deref().map(check_filter) {
            problems.push(ConfigProblem::new(Origin::Variable("RUST_LOG".to_owned()), "", fault));
        }
        match build::build(&merged, &sources.current_dir, &mut problems) {
            Ok(config) if problems.is_empty() => Ok(Loaded {
                warnings: warnings(&config, sources, &merged),
                config,
                file: file.map(|(path, _)| path),
                effective: effective(&merged),
                log_filter,
                no_color: sources.variable("NO_COLOR").is_some(),
            }),
            _ => Err(ConfigError::new(problems)),
        }
    }
}

/// The file to read with its text, or the problem of reading it. Nothing if no file is named and none is found.
fn file_of(sources: &Sources) -> Option<(PathBuf, Result<String, ConfigProblem>)> {
    let read = |path: &Path, named_by: Option<Origin>| {
        let text = merge::read_text(&sources.current_dir.join(path)).map_err(|error| {
            let origin = named_by.unwrap_or_else(|| Origin::File { path: path.to_owned(), line: None });
            ConfigProblem::new(origin, "", format!("the file {} {error}", path.display()))
        });
        Some((path.to_owned(), text))
    };
    if let Some(path) = &sources.config_path {
        return read(path, Some(Origin::flag("config")));
    }
    if let Some(path) = sources.variable("REMGATE_CONFIG") {
        return read(Path::new(path), Some(Origin::Variable("REMGATE_CONFIG".to_owned())));
    }
    // A file that may exist but cannot be examined leads to a problem; it is not skipped.
    let found =
        sources.search.iter().find(|path| sources.current_dir.join(path).try_exists().unwrap_or(true))?;
    read(found, None)
}

/// Settings that are allowed but probably a mistake.
fn warnings(config: &Config, sources: &Sources, merged: &Layer) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.allow_unauthenticated && config.services.iter().any(ServiceConfig::is_locked) {
        warnings.push(
            "callback.allow_unauthenticated is true, but tokens or allow_from are set too, and they still hold"
                .to_owned(),
        );
    }
    if config.public.trusted_proxies.iter().any(|net| net.prefix_len() == 0) {
        warnings
            .push("public.trusted_proxies trusts every address: any client can claim any address".to_owned());
    }
    if config.public.url.as_ref().is_some_and(|url| url.scheme() == "http" && !is_local(url)) {
        warnings.push("public.url is http: the callback's token crosses the network unencrypted".to_owned());
    }
    for endpoint in config.endpoints.iter().filter(|endpoint| endpoint.format == Format::RemAuth) {
        let unsent = endpoint.types.iter().filter(|event_type| event_type.callback().is_none());
        warnings.extend(unsent.map(|event_type| {
            format!(
                "endpoint {}: {event_type} is never sent in the format remauth, which has no parameter for it",
                endpoint.name
            )
        }));
    }
    let without_effect = [("retention", "events"), ("telemetry", "otlp_endpoint")].into_iter();
    let without_effect = without_effect.filter(|(section, key)| {
        merged.found(section, key).is_some_and(|found| found.origin != Origin::Default)
    });
    warnings.extend(
        without_effect
            .map(|(section, key)| format!("{section}.{key} is set, but has no effect in this version")),
    );
    warnings.extend(unused_database_url(sources, merged));
    warnings
}

fn is_local(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn unused_database_url(sources: &Sources, merged: &Layer) -> Option<String> {
    sources.variable("DATABASE_URL")?;
    let origin = &merged.found("database", "url")?.origin;
    let used = *origin == Origin::Variable("DATABASE_URL".to_owned());
    (!used).then(|| format!("DATABASE_URL is not used: database.url is set by {}", origin.layer()))
}
