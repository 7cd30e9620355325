//! The layers one over the other: the later wins, key by key; a key and its `KEY_file` count as one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::origin::Origin;
use super::problem::ConfigProblem;
use super::schema::{self, ConfigKey, Section, ValueKind};
use super::value::{Element, Found, Layer, Table, Value};
use crate::domain::HumanDuration;

/// The most that a file named in a configuration may hold.
const MOST_BYTES: u64 = 1024 * 1024;

/// All layers as one, without twins: what their files hold has taken the place of the key.
pub(super) fn merge(layers: Vec<Layer>, dir: &Path, problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut merged = Layer::default();
    for layer in layers {
        for (name, table) in layer.sections {
            let over = settled(section(name), table, problems);
            let under = merged.table(name, &over.origin);
            under.values.extend(over.values);
        }
        for (name, tables) in layer.repeated {
            let tables = tables.into_iter().map(|table| settled(section(name), table, problems));
            merged.repeated.entry(name).or_default().extend(tables);
        }
    }
    give_way(&mut merged);
    for endpoint in merged.repeated.entry("endpoint").or_default() {
        let standard = || Found { value: Value::Text("standard".to_owned()), origin: Origin::Default };
        endpoint.values.entry("format".to_owned()).or_insert_with(standard);
    }
    let Layer { sections, repeated } = &mut merged;
    let single = sections.iter_mut().map(|(name, table)| (*name, table));
    let several =
        repeated.iter_mut().flat_map(|(name, tables)| tables.iter_mut().map(|table| (*name, table)));
    for (name, table) in single.chain(several) {
        read_twins(section(name), table, dir, problems);
    }
    merged
}

/// Lets the default of one of two keys that limit each other follow the other one, which was set: the connection is a part of the
/// attempt.
fn give_way(merged: &mut Layer) {
    let Some(delivery) = merged.sections.get_mut("delivery") else { return };
    let length = |table: &Table, name: &str| {
        let Found { value: Value::Text(text), origin } = table.values.get(name)? else { return None };
        Some((text.clone(), text.parse::<HumanDuration>().ok()?.get(), *origin == Origin::Default))
    };
    let pair = (length(delivery, "connect_timeout"), length(delivery, "timeout"));
    let (Some((connect_text, connect, connect_is_default)), Some((text, timeout, is_default))) = pair else {
        return;
    };
    let (name, text) = match (connect > timeout, connect_is_default, is_default) {
        (true, true, false) => ("connect_timeout", text),
        (true, false, true) => ("timeout", connect_text),
        _ => return,
    };
    delivery.insert(name, Value::Text(text), Origin::Default);
}

fn section(name: &str) -> &'static Section {
    schema::section(name).expect("layers hold only sections of the schema")
}

/// One layer's table with each twin under its key's name; the origin remembers which it was.
fn settled(section: &Section, mut table: Table, problems: &mut Vec<ConfigProblem>) -> Table {
    for key in section.keys.iter().filter(|key| key.twin) {
        let twin_name = key.twin_name();
        // An empty list says nothing more than an empty text does.
        if matches!(table.values.get(key.name), Some(Found { value: Value::List(list), .. }) if list.is_empty())
        {
            table.values.remove(key.name);
        }
        let Some(twin) = table.values.remove(&twin_name) else { continue };
        let path = format!("{}.{twin_name}", table.path);
        if table.values.contains_key(key.name) {
            let text = format!("`{}` and `{twin_name}` are both given; only one of them may be", key.name);
            problems.push(ConfigProblem::new(twin.origin, path, text));
            continue;
        }
        let found = match twin.value {
            Value::Text(file) => {
                let named_by = Box::new(twin.origin);
                let origin = Origin::Twin { key: path, path: file.clone().into(), named_by };
                Found { value: Value::Text(file), origin }
            }
            _ => Found { value: Value::Broken, origin: twin.origin },
        };
        table.values.insert(key.name.to_owned(), found);
    }
    table
}

fn read_twins(section: &Section, table: &mut Table, dir: &Path, problems: &mut Vec<ConfigProblem>) {
    for key in section.keys.iter().filter(|key| key.twin) {
        let Some(found) = table.values.get_mut(key.name) else { continue };
        let Origin::Twin { key: twin, path, named_by } = &found.origin else { continue };
        let held = read_text(&dir.join(path)).and_then(|text| held(key, &text));
        found.value = held.unwrap_or_else(|error| {
            let text = format!("the file {} {error}", path.display());
            problems.push(ConfigProblem::new((**named_by).clone(), twin, text));
            Value::Broken
        });
    }
}

/// Reads the value of a key from the text of its file, without the newline at its end.
fn held(key: &ConfigKey, text: &str) -> Result<Value, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let value = if key.kind == ValueKind::List {
        Value::List(lines.map(Element::new).collect())
    } else {
        let text = text.strip_suffix('\n').unwrap_or(text);
        Value::Text(text.strip_suffix('\r').unwrap_or(text).to_owned())
    };
    match &value {
        Value::Text(text) if text.is_empty() => Err("is empty".to_owned()),
        Value::List(list) if list.is_empty() => Err("is empty".to_owned()),
        _ => Ok(value),
    }
}

/// A file's text. The error completes "the file ...", and holds nothing of the text.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err("is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}
