//! Values of the layers before their validation.
//!
//! Values may be secrets: nothing here can be printed.

use std::collections::BTreeMap;

use super::origin::Origin;

/// A value of the kind that its key wants.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    List(Vec<Element>),
    Switch(bool),
    Number(i64),
    /// Texts by their names.
    Table(Vec<(String, String)>),
    /// Something of another kind, or a file that could not be read; the problem has been told.
    Broken,
}

/// One text of a list, with its line in the file.
#[derive(Clone)]
pub(super) struct Element {
    pub(super) text: String,
    pub(super) line: Option<usize>,
}

impl Element {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), line: None }
    }
}

/// A value and who said it.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// A section, or one of several of the same name, in one layer or in all of them together.
pub(super) struct Table {
    /// `delivery` or `endpoint[0]`.
    pub(super) path: String,
    pub(super) origin: Origin,
    pub(super) values: BTreeMap<String, Found>,
}

impl Table {
    pub(super) fn new(path: impl Into<String>, origin: Origin) -> Self {
        Self { path: path.into(), origin, values: BTreeMap::new() }
    }

    /// Keeps a value; an empty text says nothing and is not kept.
    pub(super) fn insert(&mut self, name: &str, value: Value, origin: Origin) {
        if !matches!(&value, Value::Text(text) if text.is_empty()) {
            self.values.insert(name.to_owned(), Found { value, origin });
        }
    }
}

/// Everything that one layer says, or all of them together.
#[derive(Default)]
pub(super) struct Layer {
    pub(super) sections: BTreeMap<&'static str, Table>,
    pub(super) repeated: BTreeMap<&'static str, Vec<Table>>,
}

impl Layer {
    /// The section's table; it is made if there is none.
    pub(super) fn table(&mut self, section: &'static str, origin: &Origin) -> &mut Table {
        self.sections.entry(section).or_insert_with(|| Table::new(section, origin.clone()))
    }
}
