//! Merge of the layers: the later one wins, key by key; a key and its `KEY_file` count as one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::key::{ConfigKey, ValueKind};
use super::origin::Origin;
use super::problem::ConfigProblem;
use super::value::{Found, Layer, Table, Value};
use crate::domain::HumanDuration;

/// Maximum size of a file that a configuration names.
const MAX_BYTES: u64 = 1024 * 1024;

/// Merges the layers, in the order of their strength. Each `KEY_file` is replaced by the content of the file.
pub(super) fn merge(layers: Vec<Layer>, dir: &Path, problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut merged = Layer::default();
    for mut table in layers.into_iter().flat_map(|layer| layer.0) {
        unify(&mut table, problems);
        merged.table(table.section, &table.path, &table.origin).values.extend(table.values);
    }
    relate_timeouts(&mut merged);
    for table in merged.0.iter_mut().filter(|table| table.section.name == "endpoint") {
        for (name, default) in [("format", "standard"), ("expected_only", "false")] {
            let found = || Found { value: Value::Single(default.to_owned()), origin: Origin::Default };
            table.values.entry(name.to_owned()).or_insert_with(found);
        }
    }
    merged.0.iter_mut().for_each(|table| read_value_files(table, dir, problems));
    merged
}

/// Adapts the default of one of two timeouts to the other one, which was set: the connection is a part of the attempt.
fn relate_timeouts(merged: &mut Layer) {
    let length = |name| {
        let Found { value: Value::Single(text), origin } = merged.found("delivery", name)? else {
            return None;
        };
        Some((text.clone(), text.parse::<HumanDuration>().ok()?, *origin == Origin::Default))
    };
    let (Some(connect), Some(whole)) = (length("connect_timeout"), length("timeout")) else { return };
    let (name, text) = match (connect.2, whole.2) {
        _ if connect.1 <= whole.1 => return,
        (true, false) => ("connect_timeout", whole.0),
        (false, true) => ("timeout", connect.0),
        _ => return,
    };
    if let Some(delivery) = merged.0.iter_mut().find(|table| table.path == "delivery") {
        delivery.insert(name, Value::Single(text), Origin::Default);
    }
}

/// Moves each `KEY_file` of one layer to its key. The origin tells that the value is still to be read.
fn unify(table: &mut Table, problems: &mut Vec<ConfigProblem>) {
    for (variant, name) in table.section.file_variants() {
        let is_set = match table.values.get(name) {
            Some(Found { value: Value::List(list), .. }) if list.is_empty() => {
                // Like an empty text, an empty list is not set.
                table.values.remove(name);
                false
            }
            found => found.is_some(),
        };
        let Some(Found { value, origin }) = table.values.remove(&variant.name) else { continue };
        let path = format!("{}.{}", table.path, variant.name);
        if is_set {
            let text = format!("`{name}` and `{}` are both given; only one of them may be", variant.name);
            problems.push(ConfigProblem::new(origin, path, text));
            continue;
        }
        let origin = match &value {
            Value::Single(file) => {
                Origin::ValueFile { key: path, path: file.into(), named_by: Box::new(origin) }
            }
            _ => origin,
        };
        table.values.insert(name.to_owned(), Found { value, origin });
    }
}

fn read_value_files(table: &mut Table, dir: &Path, problems: &mut Vec<ConfigProblem>) {
    for key in table.section.values() {
        let Some(found) = table.values.get_mut(&key.name) else { continue };
        let Origin::ValueFile { key: variant, path, named_by } = &found.origin else { continue };
        let content = read_text(&dir.join(path)).and_then(|text| value_of(key, &text));
        found.value = content.unwrap_or_else(|error| {
            let text = format!("the file {} {error}", path.display());
            problems.push(ConfigProblem::new((**named_by).clone(), variant, text));
            Value::Broken
        });
    }
}

/// Value of a key from the text of its file, without the newline at its end.
fn value_of(key: &ConfigKey, text: &str) -> Result<Value, String> {
    let value = if key.kind == ValueKind::List {
        Value::list(text.lines())
    } else {
        let text = text.strip_suffix('\n').unwrap_or(text);
        Value::Single(text.strip_suffix('\r').unwrap_or(text).to_owned())
    };
    match &value {
        Value::Single(text) if text.is_empty() => Err("is empty".to_owned()),
        Value::List(list) if list.is_empty() => Err("is empty".to_owned()),
        _ => Ok(value),
    }
}

/// Returns the text of a file. The error completes "the file ..." and holds nothing of the text.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}
