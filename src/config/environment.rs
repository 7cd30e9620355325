//! The environment and the command-line flags as layers. Works on a snapshot; reads nothing itself.

use super::origin::{Origin, PACKAGED_PREFIX};
use super::problem::ConfigProblem;
use super::schema::{self, ConfigKey, SECTIONS, Section, ValueKind};
use super::value::{Element, Layer, Value};

/// Prefix of variables that win over the file.
pub(super) const PREFIX: &str = "REMGATE__";

/// Layer of `DATABASE_URL`: stronger than the defaults, weaker than all other layers.
pub(super) fn database_url(env: &[(String, String)]) -> Layer {
    let mut layer = Layer::default();
    if let Some((name, value)) = env.iter().rfind(|(name, _)| name == "DATABASE_URL") {
        let origin = Origin::Variable(name.clone());
        layer.table("database", &origin).insert("url", Value::Text(value.clone()), origin);
    }
    layer
}

/// The layer of the variables `{prefix}SECTION__KEY`.
pub(super) fn variables(env: &[(String, String)], prefix: &str, problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in env {
        if !name.to_ascii_uppercase().starts_with(prefix) {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        let Some((section, key, key_name)) = known(name, prefix) else {
            problems.push(ConfigProblem::new(origin, "", unknown(name, prefix)));
            continue;
        };
        let is_twin = key_name != key.name;
        let path = format!("{}.{key_name}", section.name);
        let read = if is_twin { Some(Value::Text(value.clone())) } else { parsed(key, value) };
        match read {
            Some(read) => layer.table(section.name, &origin).insert(&key_name, read, origin),
            None => problems.push(ConfigProblem::bad(origin, path, key, value, "")),
        }
    }
    layer
}

/// Layer of the command-line flags, by the path of their key.
pub(super) fn flags(flags: &[(String, String)], problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut layer = Layer::default();
    for (path, value) in flags {
        let origin = Origin::flag(path);
        let found = path.split_once('.').and_then(|(section, key)| {
            let section = schema::section(section).filter(|section| !section.repeated)?;
            Some((section, section.find(key).filter(|(_, is_twin)| !is_twin)?.0))
        });
        match found.map(|(section, key)| (section, key, parsed(key, value))) {
            Some((section, key, Some(read))) => {
                layer.table(section.name, &origin).insert(key.name, read, origin);
            }
            Some((_, key, None)) => problems.push(ConfigProblem::bad(origin, path, key, value, "")),
            None => problems.push(ConfigProblem::new(origin, path, "unknown key")),
        }
    }
    layer
}

/// Variables that are no keys of the configuration.
const OTHERS: [&str; 1] = ["REMGATE_CONFIG"];

/// Refuses variables that begin like ours and mean nothing: they are misspelt. Those that Kubernetes sets for a service whose
/// name begins with `remgate` are left alone.
pub(super) fn check_unknown(env: &[(String, String)], problems: &mut Vec<ConfigProblem>) {
    let ours =
        |name: &str| name.starts_with(PREFIX) || name.starts_with(PACKAGED_PREFIX) || OTHERS.contains(&name);
    let mut all = all_variables(PREFIX);
    all.extend(OTHERS.map(str::to_owned));
    let squeezed = |name: &str| name.replace("__", "_").to_ascii_uppercase();
    for (name, _) in env {
        let looks_like_ours = name.to_ascii_uppercase().starts_with("REMGATE_");
        if !looks_like_ours || ours(&name.to_ascii_uppercase()) || is_of_kubernetes(name) {
            continue;
        }
        let same = all.iter().find(|variable| squeezed(variable) == squeezed(name));
        let near =
            same.map(String::as_str).or_else(|| schema::near_miss(name, all.iter().map(String::as_str)));
        let text = match near {
            Some(near) => format!("unknown variable; did you mean {near}?"),
            None => format!(
                "unknown variable; allowed are {PREFIX}SECTION__KEY with a section and a key of the file, and REMGATE_CONFIG"
            ),
        };
        problems.push(ConfigProblem::new(Origin::Variable(name.clone()), "", text));
    }
}

/// `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT`, `NAME_SERVICE_PORT_HTTP`, `NAME_PORT`, `NAME_PORT_8080_TCP`,
/// `NAME_PORT_8080_TCP_ADDR` and so on.
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

/// A text as a value of the key's kind; nothing when it is none.
fn parsed(key: &ConfigKey, text: &str) -> Option<Value> {
    if text.is_empty() {
        return Some(Value::Text(String::new()));
    }
    match key.kind {
        ValueKind::Text => Some(Value::Text(text.to_owned())),
        ValueKind::Switch => text.parse().ok().map(Value::Switch),
        ValueKind::Number => text.parse().ok().map(Value::Number),
        // Only sections that stand in the file have one.
        ValueKind::Table => None,
        ValueKind::List => {
            let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
            Some(Value::List(elements.map(Element::new).collect()))
        }
    }
}

fn known(variable: &str, prefix: &str) -> Option<(&'static Section, &'static ConfigKey, String)> {
    let single = SECTIONS.iter().filter(|section| !section.repeated);
    single.flat_map(|section| section.names().into_iter().map(move |name| (section, name))).find_map(
        |(section, name)| {
            (schema::variable(prefix, section.name, &name) == variable)
                .then(|| (section, section.key(&name), name))
        },
    )
}

fn all_variables(prefix: &str) -> Vec<String> {
    let single = SECTIONS.iter().filter(|section| !section.repeated);
    single
        .flat_map(|section| {
            section.names().into_iter().map(|name| schema::variable(prefix, section.name, &name))
        })
        .collect()
}

fn unknown(variable: &str, prefix: &str) -> String {
    let all = all_variables(prefix);
    let rest = variable.get(prefix.len()..).unwrap_or_default();
    if ["SERVICE__", "ENDPOINT__"].iter().any(|start| rest.to_ascii_uppercase().starts_with(start)) {
        return "unknown variable; services and endpoints stand in the file only (a secret there can be a \
            tokens_file, secret_file or signing_key_file)"
            .to_owned();
    }
    // The common beginning would make everything look near.
    let rests = all.iter().filter_map(|variable| variable.get(prefix.len()..));
    match schema::near_miss(rest, rests) {
        Some(near) => format!("unknown variable; did you mean {prefix}{near}?"),
        None => {
            format!("unknown variable; allowed is {prefix}SECTION__KEY with a section and a key of the file")
        }
    }
}
