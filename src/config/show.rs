//! The values in effect with the layer of each, without secrets.

use serde_json::{Value as Json, json};

use super::key::{ConfigKey, ValueKind};
use super::mask::masked;
use super::sections::SECTIONS;
use super::value::{Layer, Value};

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

/// Keys of `[delivery]` that are in effect for an endpoint without a setting of its own.
const INHERITED: [(&str, &str); 3] = [
    ("schedule", "delivery.schedule"),
    ("timeout", "delivery.timeout"),
    ("max_in_flight", "delivery.max_in_flight_per_endpoint"),
];

/// Every key in the order of the file.
pub(super) fn effective(merged: &Layer) -> Vec<Effective> {
    let mut all = Vec::new();
    for table in SECTIONS.iter().flat_map(|section| merged.tables(section.name)) {
        for key in table.section.values() {
            let found = table.values.get(&key.name);
            all.push(Effective {
                key: format!("{}.{}", table.path, key.name),
                value: shown(key, found.map(|found| &found.value)),
                layer: found.map_or_else(|| "default".to_owned(), |found| found.origin.layer()),
            });
        }
    }
    inherit(&mut all);
    all
}

/// Shows for endpoints the values in effect where they have no setting of their own.
fn inherit(all: &mut [Effective]) {
    let delivery: Vec<_> = all.iter().filter(|value| value.key.starts_with("delivery.")).cloned().collect();
    let is_unset = |value: &&mut Effective| value.key.starts_with("endpoint[") && value.layer == "default";
    for value in all.iter_mut().filter(is_unset) {
        let name = value.key.rsplit('.').next().unwrap_or_default();
        let Some((_, from)) = INHERITED.iter().find(|(own, _)| *own == name) else { continue };
        if let Some(found) = delivery.iter().find(|found| found.key == *from) {
            value.value = found.value.clone();
            value.layer = format!("{from}, {}", found.layer);
        }
    }
}

/// Value of a key as JSON, or the value that an unset key of this kind stands for.
fn shown(key: &ConfigKey, value: Option<&Value>) -> Json {
    match (key.kind, value) {
        (ValueKind::Switch, Some(Value::Single(text))) => json!(text == "true"),
        (ValueKind::Number, Some(Value::Single(text))) => json!(text.parse::<i64>().ok()),
        (_, Some(Value::Single(text))) => json!(masked(text, key.shown)),
        (_, Some(Value::List(list))) => {
            list.iter().map(|element| json!(masked(&element.text, key.shown))).collect()
        }
        (_, Some(Value::Table(texts))) => {
            texts.iter().map(|(name, text)| (name.clone(), json!(masked(text, key.shown)))).collect()
        }
        (_, Some(Value::Broken)) | (ValueKind::Number, None) => Json::Null,
        (ValueKind::Text, None) => json!(""),
        (ValueKind::List, None) => json!([]),
        (ValueKind::Switch, None) => json!(false),
        (ValueKind::Table, None) => json!({}),
    }
}
