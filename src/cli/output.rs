//! Output on stdout and stderr.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

/// Writes one line and flushes it.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes a remark to stderr, beside the data on stdout.
pub(super) fn remark(text: &str) {
    // A closed stderr cannot be reported.
    let _ = writeln!(io::stderr(), "remgate: {text}");
}

/// Returns the fields of an object. A number beyond the supported types becomes its text.
pub(super) fn fields(object: &RawValue) -> serde_json::Result<Map<String, Json>> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object.get())?;
    let value = |text: &RawValue| serde_json::from_str(text.get()).unwrap_or_else(|_| text.get().into());
    Ok(fields.into_iter().map(|(name, text)| (name, value(text))).collect())
}

/// Returns a field as text on one line, without control characters, which could control the terminal.
pub(super) fn field(value: &Json) -> String {
    let text = match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

const COLUMNS: [(&str, &str, usize); 5] = [
    ("received_at", "RECEIVED", 24),
    ("type", "TYPE", 24),
    ("service", "SERVICE", 12),
    ("uaid", "UAID", 32),
    ("trust", "TRUST", 7),
];

/// Returns the heads of the columns of [`event_row`].
pub(super) fn event_heads() -> String {
    row(&COLUMNS.map(|(_, head, _)| head.to_owned()), "ID")
}

/// Returns an event as one line of a table.
pub(super) fn event_row(event: &Json) -> String {
    row(&COLUMNS.map(|(name, _, _)| field(&event[name])), &field(&event["id"]))
}

fn row(cells: &[String; COLUMNS.len()], last: &str) -> String {
    let cells = cells.iter().zip(COLUMNS).map(|(cell, (_, _, width))| format!("{cell:<width$}  "));
    cells.collect::<String>() + last
}
