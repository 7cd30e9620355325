//! From the sources to the configuration: finds the file, lays the layers, tells what is wrong or doubtful.

use std::path::{Path, PathBuf};

use super::origin::{Origin, PACKAGED_PREFIX};
use super::problem::ConfigProblem;
use super::show::{Effective, effective};
use super::value::Layer;
use super::{Config, ConfigError, Sources, build, environment, file, merge};
use crate::domain::Format;
use crate::telemetry::check_filter;

/// The file of defaults: every key, its default, one comment each.
pub const DEFAULTS: &str = include_str!("../../config/remgate.toml");

/// A valid configuration, and what is to be said about it.
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
    /// Reads, layers and checks. The access rule is checked separately, by [`Config::check_access`].
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let mut problems = Vec::new();
        let defaults = file::read(DEFAULTS, None, &mut problems);
        let (path, from_file) = match named_file(sources) {
            Some((path, text)) => {
                let layer = match text {
                    Ok(text) => file::read(&text, Some(&path), &mut problems),
                    Err(problem) => {
                        problems.push(problem);
                        Layer::default()
                    }
                };
                (Some(path), layer)
            }
            None => (None, Layer::default()),
        };
        let layers = vec![
            defaults,
            environment::variables(&sources.env, PACKAGED_PREFIX, &mut problems),
            environment::database_url(&sources.env),
            from_file,
            environment::variables(&sources.env, environment::PREFIX, &mut problems),
            environment::flags(&sources.flags, &mut problems),
        ];
        let merged = merge::merge(layers, &sources.current_dir, &mut problems);
        environment::check_unknown(&sources.env, &mut problems);
        let log_filter = sources.variable("RUST_LOG").map(ToOwned::to_owned);
        if let Some(Err(why)) = log_filter.as_deref().map(check_filter) {
            problems.push(ConfigProblem::new(Origin::Variable("RUST_LOG".to_owned()), "", why));
        }
        match build::build(&merged, &sources.current_dir, &mut problems) {
            Ok(config) if problems.is_empty() => {
                let mut warnings = config.doubts();
                warnings.extend(without_effect(&merged));
                warnings.extend(unused_database_url(sources, &merged));
                let no_color = sources.variable("NO_COLOR").is_some();
                Ok(Loaded {
                    config,
                    file: path,
                    warnings,
                    effective: effective(&merged),
                    log_filter,
                    no_color,
                })
            }
            _ => Err(ConfigError::new(problems)),
        }
    }

    /// Settings that are allowed but probably a mistake.
    fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let any_locked = self.services.iter().any(super::ServiceConfig::is_locked);
        if self.allow_unauthenticated && any_locked {
            doubts.push(
                "callback.allow_unauthenticated is true, but tokens or allow_from are set too, and they still hold"
                    .to_owned(),
            );
        }
        if self.public.trusted_proxies.iter().any(|net| net.prefix_len() == 0) {
            doubts.push(
                "public.trusted_proxies believes everybody: any client can claim any address".to_owned(),
            );
        }
        if self.public.url.as_ref().is_some_and(|url| url.scheme() == "http" && !is_local(url)) {
            doubts.push("public.url is http: whoever is on the way can read the callback's token".to_owned());
        }
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.format == Format::RemAuth) {
            for kind in endpoint.types.iter().filter(|kind| kind.callback().is_none()) {
                doubts.push(format!(
                    "endpoint {}: {kind} is never sent in the format remauth, which has no parameter for it",
                    endpoint.name
                ));
            }
        }
        doubts
    }
}

/// Warns of keys that were set and have no effect in this version.
fn without_effect(merged: &Layer) -> Vec<String> {
    let is_set = |(section, key): &(&str, &str)| {
        let found = merged.sections.get(section).and_then(|table| table.values.get(*key));
        found.is_some_and(|found| found.origin != Origin::Default)
    };
    let keys = [("retention", "events"), ("telemetry", "otlp_endpoint")].into_iter().filter(is_set);
    keys.map(|(section, key)| format!("{section}.{key} is set, but has no effect in this version")).collect()
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
    let origin = &merged.sections.get("database")?.values.get("url")?.origin;
    let used = *origin == Origin::Variable("DATABASE_URL".to_owned());
    (!used).then(|| format!("DATABASE_URL is not used: database.url is set by {}", origin.layer()))
}

/// The file to read with its text, or why it cannot be read. None is named and none is found: nothing.
fn named_file(sources: &Sources) -> Option<(PathBuf, Result<String, ConfigProblem>)> {
    let read = |path: &Path, named_by: Option<Origin>| {
        merge::read_text(&sources.current_dir.join(path)).map_err(|error| {
            let origin = named_by.unwrap_or_else(|| Origin::File { path: path.to_owned(), line: None });
            ConfigProblem::new(origin, "", format!("the file {} {error}", path.display()))
        })
    };
    if let Some(path) = &sources.config_path {
        return Some((path.clone(), read(path, Some(Origin::flag("config")))));
    }
    if let Some(path) = sources.variable("REMGATE_CONFIG") {
        let path = PathBuf::from(path);
        let text = read(&path, Some(Origin::Variable("REMGATE_CONFIG".to_owned())));
        return Some((path, text));
    }
    // One that may be there but cannot be looked at is an error later, not a reason to go on without it.
    let found =
        sources.search.iter().find(|path| sources.current_dir.join(path).try_exists().unwrap_or(true))?;
    Some((found.clone(), read(found, None)))
}
