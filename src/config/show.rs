//! The effective values with the layer each came from, without secrets.

use serde_json::{Value as Json, json};

use super::mask::masked;
use super::schema::{ConfigKey, SECTIONS, Section, ValueKind};
use super::value::{Found, Layer, Table, Value};

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

fn nothing(key: &ConfigKey) -> Json {
    match key.kind {
        ValueKind::Text => json!(""),
        ValueKind::List => json!([]),
        ValueKind::Switch => json!(false),
        ValueKind::Number => Json::Null,
        ValueKind::Table => json!({}),
    }
}

fn shown(key: &ConfigKey, found: &Found) -> Json {
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
