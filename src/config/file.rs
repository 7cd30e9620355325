//! The TOML file as a layer. Knows where each value stands; judges only kinds and names, not values.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::origin::Origin;
use super::problem::{ConfigProblem, quoted, scalar};
use super::schema::{self, ConfigKey, Section, Shown, TWIN_ALLOWED, ValueKind};
use super::value::{Element, Layer, Table, Value};

/// Reads a file's text; without a path it is the built-in one.
pub(super) fn read(text: &str, path: Option<&Path>, problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut reading = Reading { text, path, problems, layer: Layer::default() };
    let (document, errors) = DeTable::parse_recoverable(text);
    let first = errors.iter().min_by_key(|error| error.span().map(|span| span.start));
    match first {
        None => reading.document(document.get_ref()),
        // Its own `Display` prints the offending line, which may hold a secret; its message never does.
        Some(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let (_, column) = reading.place(at);
            let text = format!("not valid TOML at column {column}: {}", error.message());
            let origin = reading.origin(&(at..at));
            reading.problems.push(ConfigProblem::new(origin, "", text));
        }
    }
    reading.layer
}

struct Reading<'a> {
    text: &'a str,
    path: Option<&'a Path>,
    problems: &'a mut Vec<ConfigProblem>,
    layer: Layer,
}

impl Reading<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let origin = self.origin(&name.span());
            let Some(section) = schema::section(name.get_ref()) else {
                self.problems.push(ConfigProblem::new(
                    origin,
                    name.get_ref().as_ref(),
                    unknown_section(name.get_ref()),
                ));
                continue;
            };
            match value.get_ref() {
                DeValue::Table(table) if !section.repeated => {
                    let read = self.table(section, section.name.to_owned(), origin, table);
                    self.layer.sections.insert(section.name, read);
                }
                DeValue::Array(array) if section.repeated => self.repeated(section, array),
                other => {
                    let brackets = if section.repeated { "[[" } else { "[" };
                    let closing = if section.repeated { "]]" } else { "]" };
                    let text = format!(
                        "found {}, allowed is a table written `{brackets}{}{closing}`",
                        kind_of(other, Shown::Secret),
                        section.name
                    );
                    self.problems.push(ConfigProblem::new(origin, section.name, text));
                }
            }
        }
    }

    fn repeated(&mut self, section: &'static Section, array: &DeArray<'_>) {
        for (index, item) in array.iter().enumerate() {
            let path = format!("{}[{index}]", section.name);
            let origin = self.origin(&item.span());
            if let DeValue::Table(table) = item.get_ref() {
                let read = self.table(section, path, origin, table);
                self.layer.repeated.entry(section.name).or_default().push(read);
            } else {
                let found = kind_of(item.get_ref(), Shown::Secret);
                let text = format!("found {found}, allowed is a table written `[[{}]]`", section.name);
                self.problems.push(ConfigProblem::new(origin, path, text));
            }
        }
    }

    fn table(
        &mut self,
        section: &'static Section,
        path: String,
        origin: Origin,
        from: &DeTable<'_>,
    ) -> Table {
        let mut table = Table::new(path, origin);
        for (name, value) in from {
            let key_path = format!("{}.{}", table.path, name.get_ref());
            let Some((key, is_twin)) = section.find(name.get_ref()) else {
                let origin = self.origin(&name.span());
                self.problems.push(ConfigProblem::new(
                    origin,
                    key_path,
                    unknown_key(section, name.get_ref()),
                ));
                continue;
            };
            let origin = self.origin(&value.span());
            let read = if is_twin {
                self.text(value, &key_path, TWIN_ALLOWED, Shown::Plain)
            } else {
                self.value(key, value, &key_path)
            };
            table.insert(name.get_ref(), read, origin);
        }
        table
    }

    fn value(&mut self, key: &ConfigKey, value: &Spanned<DeValue<'_>>, path: &str) -> Value {
        match (key.kind, value.get_ref()) {
            (ValueKind::Text, _) => self.text(value, path, key.allowed, key.shown),
            (ValueKind::List, DeValue::Array(array)) => self.list(key, array, path),
            (ValueKind::Switch, DeValue::Boolean(switch)) => Value::Switch(*switch),
            (ValueKind::Number, DeValue::Integer(number)) => {
                // One that does not fit is out of every range as well.
                Value::Number(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
            }
            (ValueKind::Table, DeValue::Table(table)) => self.texts(key, table, path),
            (kind, other) => self.wrong_kind(other, &value.span(), path, kind, key.allowed, key.shown),
        }
    }

    fn text(&mut self, value: &Spanned<DeValue<'_>>, path: &str, allowed: &str, shown: Shown) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            other => self.wrong_kind(other, &value.span(), path, ValueKind::Text, allowed, shown),
        }
    }

    fn list(&mut self, key: &ConfigKey, array: &DeArray<'_>, path: &str) -> Value {
        let mut elements = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Value::Text(text) = self.text(item, &path, key.allowed, key.shown) else {
                return Value::Broken;
            };
            elements.push(Element { text, line: Some(self.place(item.span().start).0) });
        }
        Value::List(elements)
    }

    fn texts(&mut self, key: &ConfigKey, table: &DeTable<'_>, path: &str) -> Value {
        let mut texts = Vec::new();
        for (name, value) in table {
            let path = format!("{path}.{}", name.get_ref());
            let Value::Text(text) = self.text(value, &path, key.allowed, key.shown) else {
                return Value::Broken;
            };
            texts.push((name.get_ref().clone().into_owned(), text));
        }
        Value::Table(texts)
    }

    fn wrong_kind(
        &mut self,
        found: &DeValue<'_>,
        span: &Range<usize>,
        path: &str,
        kind: ValueKind,
        allowed: &str,
        shown: Shown,
    ) -> Value {
        let origin = self.origin(span);
        self.problems.push(ConfigProblem::wrong_kind(origin, path, &kind_of(found, shown), kind, allowed));
        Value::Broken
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        let line = Some(self.place(span.start).0);
        self.path.map_or(Origin::Default, |path| Origin::File { path: path.to_owned(), line })
    }

    /// The line and the column, both from 1.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        (before.matches('\n').count() + 1, column + 1)
    }
}

fn kind_of(value: &DeValue<'_>, shown: Shown) -> String {
    match value {
        DeValue::String(_) => "text".to_owned(),
        DeValue::Integer(number) => scalar("a whole number", number.as_str(), shown),
        DeValue::Float(number) => scalar("a number", number.as_str(), shown),
        DeValue::Boolean(switch) => scalar("a switch", if *switch { "true" } else { "false" }, shown),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn unknown_section(name: &str) -> String {
    let homes = homes_of(name);
    if !homes.is_empty() {
        return format!("{} is no section; it is a key of {homes}", quoted(name));
    }
    let all: Vec<_> = schema::SECTIONS.iter().map(|section| section.name).collect();
    match schema::near_miss(name, all.iter().copied()) {
        Some(near) => format!("unknown section; did you mean `{near}`?"),
        None => format!("unknown section; allowed are {}", all.join(", ")),
    }
}

fn unknown_key(section: &Section, name: &str) -> String {
    let names = section.names();
    if let Some(near) = schema::near_miss(name, names.iter().map(String::as_str)) {
        return format!("unknown key; did you mean `{near}`?");
    }
    let homes = homes_of(name);
    if !homes.is_empty() {
        return format!("unknown key here; it is a key of {homes}");
    }
    format!("unknown key; allowed are {}", names.join(", "))
}

/// The sections that do have such a key.
fn homes_of(name: &str) -> String {
    let homes = schema::SECTIONS.iter().filter(|section| section.find(name).is_some());
    let homes: Vec<_> = homes
        .map(|home| if home.repeated { format!("[[{}]]", home.name) } else { format!("[{}]", home.name) })
        .collect();
    homes.join(", ")
}
