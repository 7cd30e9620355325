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
