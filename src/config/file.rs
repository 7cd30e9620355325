//! The TOML file as a layer: the line of each value, checked names and kinds. The values are checked later.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::key::{ConfigKey, Section, Shown, ValueKind, near_miss};
use super::origin::Origin;
use super::problem::{ConfigProblem, quoted};
use super::sections::{self, SECTIONS};
use super::value::{Element, Layer, Table, Value};

/// Reads a file's text; without a path it is the built-in one.
pub(super) fn read(text: &str, path: Option<&Path>, problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut reading = Reading { text, path, problems, layer: Layer::default() };
    let (document, errors) = DeTable::parse_recoverable(text);
    match errors.iter().min_by_key(|error| error.span().map(|span| span.start)) {
        None => reading.document(document.get_ref()),
        // Its own `Display` prints the offending line, which may hold a secret; its message never does.
        Some(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let text = format!("not valid TOML at column {}: {}", reading.position(at).1, error.message());
            reading.report(&(at..at), "", text);
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
            let Some(section) = sections::find(name.get_ref()) else {
                self.report(&name.span(), name.get_ref().as_ref(), unknown_section(name.get_ref()));
                continue;
            };
            match value.get_ref() {
                DeValue::Array(items) if section.repeated => {
                    for (index, item) in items.iter().enumerate() {
                        let path = format!("{}[{index}]", section.name);
                        self.table(section, path, &item.span(), item.get_ref());
                    }
                }
                // A repeated section that is written as a single one.
                DeValue::Table(_) if section.repeated => {
                    self.no_table(section, section.name, &name.span(), value.get_ref());
                }
                other => self.table(section, section.name.to_owned(), &name.span(), other),
            }
        }
    }

    fn table(&mut self, section: &'static Section, path: String, span: &Range<usize>, from: &DeValue<'_>) {
        let DeValue::Table(from) = from else { return self.no_table(section, &path, span, from) };
        let mut table = Table::new(section, path, self.origin(span));
        for (name, value) in from {
            let path = format!("{}.{}", table.path, name.get_ref());
            match section.find(name.get_ref()) {
                Some(key) => {
                    let read = self.value(key, key.kind, value, &path);
                    table.insert(&key.name, read, self.origin(&value.span()));
                }
                None => self.report(&name.span(), path, unknown_key(section, name.get_ref())),
            }
        }
        self.layer.0.push(table);
    }

    fn no_table(&mut self, section: &Section, path: &str, span: &Range<usize>, found: &DeValue<'_>) {
        let found = kind_of(found, Shown::Secret);
        let text = format!("found {found}, allowed is a table written `{}`", section.header());
        self.report(span, path, text);
    }

    /// Reads a value of this kind: the key's own one, or that of a part of a list or table.
    fn value(&mut self, key: &ConfigKey, kind: ValueKind, value: &Spanned<DeValue<'_>>, path: &str) -> Value {
        match (kind, value.get_ref()) {
            (ValueKind::Text, DeValue::String(text)) => Value::Single(text.clone().into_owned()),
            (ValueKind::Switch, DeValue::Boolean(switch)) => Value::Single(switch.to_string()),
            (ValueKind::Number, DeValue::Integer(number)) => {
                // A number that does not fit is out of every range as well.
                let number = i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX);
                Value::Single(number.to_string())
            }
            (ValueKind::List, DeValue::Array(items)) => {
                self.list(key, items, path).map_or(Value::Broken, Value::List)
            }
            (ValueKind::Table, DeValue::Table(texts)) => {
                self.texts(key, texts, path).map_or(Value::Broken, Value::Table)
            }
            (_, other) => {
                let found = kind_of(other, key.shown);
                let kind = kind.name();
                let text = format!("found {found} where {kind} is expected; allowed is {}", key.allowed);
                self.report(&value.span(), path, text);
                Value::Broken
            }
        }
    }

    fn list(&mut self, key: &ConfigKey, items: &DeArray<'_>, path: &str) -> Option<Vec<Element>> {
        let elements = items.iter().enumerate().map(|(index, item)| {
            let text = self.single(key, item, &format!("{path}[{index}]"))?;
            Some(Element { text, line: Some(self.position(item.span().start).0) })
        });
        elements.collect()
    }

    fn texts(&mut self, key: &ConfigKey, table: &DeTable<'_>, path: &str) -> Option<Vec<(String, String)>> {
        let texts = table.iter().map(|(name, value)| {
            let text = self.single(key, value, &format!("{path}.{}", name.get_ref()))?;
            Some((name.get_ref().clone().into_owned(), text))
        });
        texts.collect()
    }

    fn single(&mut self, key: &ConfigKey, value: &Spanned<DeValue<'_>>, path: &str) -> Option<String> {
        match self.value(key, ValueKind::Text, value, path) {
            Value::Single(text) => Some(text),
            _ => None,
        }
    }

    fn report(&mut self, span: &Range<usize>, path: impl Into<String>, text: String) {
        self.problems.push(ConfigProblem::new(self.origin(span), path, text));
    }

    fn origin(&self, span: &Range<usize>) -> Origin {
        let line = Some(self.position(span.start).0);
        self.path.map_or(Origin::Default, |path| Origin::File { path: path.to_owned(), line })
    }

    /// The line and the column, both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        (before.matches('\n').count() + 1, column + 1)
    }
}

/// Kind of a value, with the value itself if it may be shown.
fn kind_of(value: &DeValue<'_>, shown: Shown) -> String {
    let (kind, value) = match value {
        DeValue::Integer(number) => ("a whole number", number.as_str()),
        DeValue::Float(number) => ("a number", number.as_str()),
        DeValue::Boolean(switch) => ("a switch", if *switch { "true" } else { "false" }),
        DeValue::String(_) => return "text".to_owned(),
        DeValue::Datetime(_) => return "a date or time".to_owned(),
        DeValue::Array(_) => return "a list".to_owned(),
        DeValue::Table(_) => return "a table".to_owned(),
    };
    if shown == Shown::Plain { format!("{kind} ({value})") } else { kind.to_owned() }
}

fn unknown_section(name: &str) -> String {
    if let Some(sections) = sections_with(name) {
        return format!("{} is no section; it is a key of {sections}", quoted(name));
    }
    let all: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
    match near_miss(name, all.iter().copied()) {
        Some(near) => format!("unknown section; did you mean `{near}`?"),
        None => format!("unknown section; allowed are {}", all.join(", ")),
    }
}

fn unknown_key(section: &Section, name: &str) -> String {
    if let Some(near) = near_miss(name, section.names()) {
        return format!("unknown key; did you mean `{near}`?");
    }
    if let Some(sections) = sections_with(name) {
        return format!("unknown key here; it is a key of {sections}");
    }
    format!("unknown key; allowed are {}", section.names().collect::<Vec<_>>().join(", "))
}

/// The sections that have a key of that name.
fn sections_with(key: &str) -> Option<String> {
    let sections = SECTIONS.iter().filter(|section| section.find(key).is_some());
    let headers: Vec<_> = sections.map(Section::header).collect();
    (!headers.is_empty()).then(|| headers.join(", "))
}
