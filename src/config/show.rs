//! The effective values with the layer each came from, without secrets.

use serde_json::{Value as Json, json};
use url::Url;

use super::schema::{Key, Kind, SECTIONS, Section, Shown};
use super::value::{Found, Layer, Table, Value};

/// Text in the place of a secret.
const MASK: &str = "***";

/// One key as it is in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// Its path, such as `delivery.timeout` or `endpoint[0].url`.
    pub key: String,
    /// Its value; secrets are masked.
    pub value: Json,
    /// Layer that set the value, such as `default`, `file remgate.toml` or `environment REMGATE__PUBLIC__LISTEN`.
    pub layer: String,
}

/// Every key in the order of the file.
pub(super) fn effective(merged: &Layer) -> Vec<Effective> {
    let mut all = Vec::new();
    for section in SECTIONS {
        if let Some(table) = merged.sections.get(section.name) {
            add(section, table, &mut all);
        }
        for table in merged.repeated.get(section.name).into_iter().flatten() {
            add(section, table, &mut all);
        }
    }
    inherit(&mut all);
    all
}

fn add(section: &Section, table: &Table, all: &mut Vec<Effective>) {
    for key in section.keys {
        let found = table.values.get(key.name);
        all.push(Effective {
            key: format!("{}.{}", table.path, key.name),
            value: found.map_or_else(|| nothing(key), |found| shown(key, found)),
            layer: found.map_or_else(|| "default".to_owned(), |found| found.origin.layer()),
        });
    }
}

/// Settings of deliveries that are in effect where an endpoint has none of its own.
const INHERITED: [(&str, &str); 3] = [
    ("schedule", "delivery.schedule"),
    ("timeout", "delivery.timeout"),
    ("max_in_flight", "delivery.max_in_flight_per_endpoint"),
];

/// Shows for endpoints what is in effect where they have no setting of their own.
fn inherit(all: &mut [Effective]) {
    let known: Vec<_> = all.iter().filter(|known| known.key.starts_with("delivery.")).cloned().collect();
    let is_unset = |value: &&mut Effective| value.key.starts_with("endpoint[") && value.layer == "default";
    for value in all.iter_mut().filter(is_unset) {
        let name = value.key.rsplit('.').next().unwrap_or_default();
        let Some((_, from)) = INHERITED.iter().find(|(own, _)| *own == name) else { continue };
        if let Some(found) = known.iter().find(|known| known.key == *from) {
            value.value = found.value.clone();
            value.layer = format!("{from}, {}", found.layer);
        }
    }
}

fn nothing(key: &Key) -> Json {
    match key.kind {
        Kind::Text => json!(""),
        Kind::List => json!([]),
        Kind::Switch => json!(false),
        Kind::Number => Json::Null,
        Kind::Table => json!({}),
    }
}

fn shown(key: &Key, found: &Found) -> Json {
    match &found.value {
        Value::Text(text) => json!(masked(text, key.shown)),
        Value::List(list) => list.iter().map(|element| json!(masked(&element.text, key.shown))).collect(),
        Value::Switch(switch) => json!(switch),
        Value::Number(number) => json!(number),
        Value::Table(texts) => {
            texts.iter().map(|(name, text)| (name.clone(), json!(masked(text, key.shown)))).collect()
        }
        Value::Broken => Json::Null,
    }
}

/// As much of a text as may be seen.
pub(super) fn masked(text: &str, shown: Shown) -> String {
    match shown {
        Shown::Plain => text.to_owned(),
        Shown::Secret => MASK.to_owned(),
        Shown::SecretUrl if text.starts_with("sqlite://") => text.to_owned(),
        Shown::Url | Shown::SecretUrl => Url::parse(text).map_or_else(
            // What cannot be taken apart may hold a secret anywhere, unless it has none of the places for one.
            |_| if text.contains(['@', '?', '#']) { MASK.to_owned() } else { text.to_owned() },
            |url| masked_url(url, shown).unwrap_or_else(|| MASK.to_owned()),
        ),
    }
}

/// A URL without its secrets; nothing when they cannot be told apart from the rest.
fn masked_url(mut url: Url, shown: Shown) -> Option<String> {
    let misplaced = |part: &str| part.contains('@');
    if misplaced(url.path()) || url.query().is_some_and(misplaced) || url.fragment().is_some() {
        return None;
    }
    if url.password().is_some() {
        url.set_password(Some(MASK)).ok()?;
    }
    // A database's user is no secret; elsewhere a token often stands in that place.
    if !url.username().is_empty() && !url.scheme().starts_with("postgres") {
        url.set_username(MASK).ok()?;
    }
    if url.query().is_some() {
        let query = match shown {
            Shown::SecretUrl => masked_options(&url),
            _ => MASK.to_owned(),
        };
        url.set_query(Some(&query));
    }
    Some(url.into())
}

/// A database's options without the passwords among them.
fn masked_options(url: &Url) -> String {
    let pairs = url.query_pairs().map(|(name, value)| {
        let hidden = name.to_ascii_lowercase().contains("password");
        format!("{name}={}", if hidden { MASK } else { &value })
    });
    pairs.collect::<Vec<_>>().join("&")
}
