//! Values of the layers before their validation.
//!
//! Values may be secrets, so nothing here implements `Debug` or `Display`.

use std::collections::BTreeMap;

use super::key::Section;
use super::origin::Origin;

/// A value of the kind that its key asks for.
pub(super) enum Value {
    /// Text of a single value: a text, a switch or a number.
    Single(String),
    List(Vec<Element>),
    /// Texts by their names.
    Table(Vec<(String, String)>),
    /// A value of another kind, or a file that could not be read; the problem has been reported.
    Broken,
}

/// One text of a list, with its line in the file.
pub(super) struct Element {
    pub(super) text: String,
    pub(super) line: Option<usize>,
}

impl Value {
    /// List of texts that stand on no line of the operator's file.
    pub(super) fn list<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let texts = texts.map(str::trim).filter(|text| !text.is_empty());
        Self::List(texts.map(|text| Element { text: text.to_owned(), line: None }).collect())
    }
}

/// A value and its origin.
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// A section, or one of several of the same name, in one layer or in all of them together.
pub(super) struct Table {
    pub(super) section: &'static Section,
    /// `delivery` or `endpoint[0]`.
    pub(super) path: String,
    pub(super) origin: Origin,
    pub(super) values: BTreeMap<String, Found>,
}

impl Table {
    pub(super) fn new(section: &'static Section, path: impl Into<String>, origin: Origin) -> Self {
        Self { section, path: path.into(), origin, values: BTreeMap::new() }
    }

    /// Sets a value. An empty text means "not set" and is ignored.
    pub(super) fn insert(&mut self, name: &str, value: Value, origin: Origin) {
        if !matches!(&value, Value::Single(text) if text.is_empty()) {
            self.values.insert(name.to_owned(), Found { value, origin });
        }
    }
}

/// All values of one layer, or of all of them together. A path occurs once.
#[derive(Default)]
pub(super) struct Layer(pub(super) Vec<Table>);

impl Layer {
    /// The section's table; an empty one is added if there is none.
    pub(super) fn table(&mut self, section: &'static Section, path: &str, origin: &Origin) -> &mut Table {
        let index = self.0.iter().position(|table| table.path == path).unwrap_or_else(|| {
            self.0.push(Table::new(section, path, origin.clone()));
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    /// All tables of a section.
    pub(super) fn tables(&self, section: &str) -> impl Iterator<Item = &Table> {
        self.0.iter().filter(move |table| table.section.name == section)
    }

    /// The value of a key.
    pub(super) fn found(&self, path: &str, key: &str) -> Option<&Found> {
        self.0.iter().find(|table| table.path == path)?.values.get(key)
    }
}
