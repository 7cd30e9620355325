//! The environment and the command-line flags as layers, from a snapshot of them.

use super::key::{ConfigKey, Section, ValueKind, near_miss};
use super::origin::{Origin, PACKAGED_PREFIX, PREFIX};
use super::problem::ConfigProblem;
use super::sections::{self, SECTIONS};
use super::value::{Layer, Value};

/// Variable that names the file.
const FILE_VARIABLE: &str = "REMGATE_CONFIG";

/// Layer of `DATABASE_URL`: stronger than the defaults, weaker than all other layers.
pub(super) fn database_url(env: &[(String, String)], problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut layer = Layer::default();
    let variable = env.iter().rfind(|(name, _)| name == "DATABASE_URL");
    if let (Some((name, value)), Some(key)) = (variable, find("database", "url")) {
        set(&mut layer, key, Origin::Variable(name.clone()), value, problems);
    }
    layer
}

/// Layer of the variables `{prefix}SECTION__KEY`.
pub(super) fn variables(env: &[(String, String)], prefix: &str, problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in env.iter().filter(|(name, _)| name.to_ascii_uppercase().starts_with(prefix)) {
        let origin = Origin::Variable(name.clone());
        let parts = name.strip_prefix(prefix).and_then(|rest| rest.split_once("__"));
        let key = parts
            .filter(|_| *name == name.to_ascii_uppercase())
            .and_then(|(section, key)| find(&section.to_ascii_lowercase(), &key.to_ascii_lowercase()));
        match key {
            Some(key) => set(&mut layer, key, origin, value, problems),
            None => problems.push(ConfigProblem::new(origin, "", unknown(name, prefix))),
        }
    }
    layer
}

/// Layer of the command-line flags, by the path of their key.
pub(super) fn flags(flags: &[(String, String)], problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut layer = Layer::default();
    for (path, value) in flags {
        let key = path.split_once('.').and_then(|(section, key)| find(section, key));
        match key.filter(|(_, key)| key.value_of.is_none()) {
            Some(key) => set(&mut layer, key, Origin::flag(path), value, problems),
            None => problems.push(ConfigProblem::new(Origin::flag(path), path, "unknown key")),
        }
    }
    layer
}

/// The key of a section that is not repeated; only those can be set outside the file.
fn find(section: &str, key: &str) -> Option<(&'static Section, &'static ConfigKey)> {
    let section = sections::find(section).filter(|section| !section.repeated)?;
    Some((section, section.find(key)?))
}

/// Sets a key to a text, as a value of the key's kind.
fn set(
    layer: &mut Layer,
    (section, key): (&'static Section, &'static ConfigKey),
    origin: Origin,
    text: &str,
    problems: &mut Vec<ConfigProblem>,
) {
    let value = match key.kind {
        // Not set.
        _ if text.is_empty() => return,
        ValueKind::Text => Some(Value::Single(text.to_owned())),
        ValueKind::Switch => text.parse::<bool>().ok().map(|switch| Value::Single(switch.to_string())),
        ValueKind::Number => text.parse::<i64>().ok().map(|number| Value::Single(number.to_string())),
        ValueKind::List => Some(Value::list(text.split(','))),
        // Only repeated sections have one.
        ValueKind::Table => None,
    };
    if let Some(value) = value {
        layer.table(section, section.name, &origin).insert(&key.name, value, origin);
    } else {
        let path = format!("{}.{}", section.name, key.name);
        problems.push(ConfigProblem::bad(origin, path, key, text, ""));
    }
}

/// Reports variables that begin like remgate's and mean nothing: they are misspelt. Those that Kubernetes sets for a service
/// whose name begins with `remgate` are ignored.
pub(super) fn check_unknown(env: &[(String, String)], problems: &mut Vec<ConfigProblem>) {
    let mut all = all_variables(PREFIX);
    all.push(FILE_VARIABLE.to_owned());
    let squeezed = |name: &str| name.replace("__", "_").to_ascii_uppercase();
    for (name, _) in env {
        let upper = name.to_ascii_uppercase();
        let is_known = [PREFIX, PACKAGED_PREFIX].iter().any(|prefix| upper.starts_with(prefix))
            || upper == FILE_VARIABLE;
        if !upper.starts_with("REMGATE_") || is_known || is_of_kubernetes(name) {
            continue;
        }
        let same = all.iter().find(|variable| squeezed(variable) == squeezed(name));
        let near = same.map(String::as_str).or_else(|| near_miss(name, all.iter().map(String::as_str)));
        let text = match near {
            Some(near) => format!("unknown variable; did you mean {near}?"),
            None => format!(
                "unknown variable; allowed are {PREFIX}SECTION__KEY with a section and a key of the file, and {FILE_VARIABLE}"
            ),
        };
        problems.push(ConfigProblem::new(Origin::Variable(name.clone()), "", text));
    }
}

/// Returns whether Kubernetes sets a variable of that name: `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT`,
/// `NAME_SERVICE_PORT_HTTP`, `NAME_PORT`, `NAME_PORT_8080_TCP`, `NAME_PORT_8080_TCP_ADDR` and so on.
fn is_of_kubernetes(name: &str) -> bool {
    let service =
        name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_");
    let port = name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| {
            let mut parts = rest.split('_');
            let number =
                parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
            number && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
        });
    service || port
}

fn all_variables(prefix: &str) -> Vec<String> {
    let single = SECTIONS.iter().filter(|section| !section.repeated);
    single.flat_map(|section| section.names().map(|name| section.variable(prefix, name))).collect()
}

fn unknown(variable: &str, prefix: &str) -> String {
    let rest = variable.get(prefix.len()..).unwrap_or_default();
    if ["SERVICE__", "ENDPOINT__"].iter().any(|start| rest.to_ascii_uppercase().starts_with(start)) {
        return "unknown variable; services and endpoints stand in the file only (a secret there can be a \
            tokens_file, secret_file or signing_key_file)"
            .to_owned();
    }
    // The prefix is left out, since it would make every variable look near.
    let all = all_variables("");
    match near_miss(rest, all.iter().map(String::as_str)) {
        Some(near) => format!("unknown variable; did you mean {prefix}{near}?"),
        None => {
            format!("unknown variable; allowed is {prefix}SECTION__KEY with a section and a key of the file")
        }
    }
}
