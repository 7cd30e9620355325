//! Reading of typed values. The type of a field tells whether its value is required, optional or a list. [`section!`] makes a
//! section of one row for each key. A wrong value is reported, and reading goes on.

use std::time::Duration;

use secrecy::SecretString;

use super::key::{ConfigKey, Section, ValueKind};
use super::origin::Origin;
use super::problem::ConfigProblem;
use super::rule::{Rule, RuleContext};
use super::value::{Found, Table, Value};
use crate::domain::{Headers, HumanDuration, Invalid, Schedule};

/// Evidence that a value cannot be used and that its problem has been reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

/// Reader of one table.
pub(super) struct TableReader<'a> {
    pub(super) table: &'a Table,
    pub(super) context: &'a RuleContext<'a>,
    pub(super) problems: &'a mut Vec<ConfigProblem>,
}

impl<'a> TableReader<'a> {
    fn found(&self, name: &str) -> Option<&'a Found> {
        self.table.values.get(name)
    }

    fn key(&self, name: &str) -> &'static ConfigKey {
        self.table.section.find(name).expect("rows ask only for keys of their section")
    }

    fn parse<T>(
        &mut self,
        rule: &Rule<T>,
        name: &str,
        part: &str,
        origin: Origin,
        text: &str,
    ) -> Result<T, Reported> {
        rule.parse(text, self.context).map_err(|fault| {
            let path = format!("{}.{name}{part}", self.table.path);
            self.problems.push(ConfigProblem::bad(origin, path, self.key(name), text, &fault));
            Reported
        })
    }

    /// Reports a problem with a value that is there, or with the whole table.
    fn report(&mut self, name: &str, text: impl Into<String>) -> Reported {
        let origin = self.found(name).map_or(&self.table.origin, |found| &found.origin);
        self.problems.push(ConfigProblem::new(origin.clone(), format!("{}.{name}", self.table.path), text));
        Reported
    }
}

/// Type of a field whose single values have the type `T`.
pub(super) trait Field<T>: Sized {
    /// Kind of the whole value, from the kind of a single one.
    fn kind(single: ValueKind) -> ValueKind {
        single
    }

    /// Descriptions of the key, and of its `_file` variant.
    fn keys(rule: &Rule<T>, name: &'static str) -> impl Iterator<Item = ConfigKey> {
        rule.keys(name, Self::kind(rule.kind))
    }

    /// Reads the value of a key.
    fn read(rule: &Rule<T>, name: &str, reader: &mut TableReader<'_>) -> Result<Self, Reported>;
}

impl<T> Field<T> for T {
    fn read(rule: &Rule<T>, name: &str, reader: &mut TableReader<'_>) -> Result<Self, Reported> {
        let value: Option<T> = Field::read(rule, name, reader)?;
        value.ok_or_else(|| {
            reader.report(name, format!("is missing, allowed is {}", reader.key(name).allowed))
        })
    }
}

impl<T> Field<T> for Option<T> {
    fn read(rule: &Rule<T>, name: &str, reader: &mut TableReader<'_>) -> Result<Self, Reported> {
        let Some(found) = reader.found(name) else { return Ok(None) };
        let Value::Single(text) = &found.value else { return Err(Reported) };
        reader.parse(rule, name, "", found.origin.clone(), text).map(Some)
    }
}

impl<T> Field<T> for Vec<T> {
    fn kind(_: ValueKind) -> ValueKind {
        ValueKind::List
    }

    fn read(rule: &Rule<T>, name: &str, reader: &mut TableReader<'_>) -> Result<Self, Reported> {
        let Some(found) = reader.found(name) else { return Ok(Vec::new()) };
        let Value::List(elements) = &found.value else { return Err(Reported) };
        let values = elements.iter().enumerate().map(|(index, element)| {
            reader.parse(rule, name, &format!("[{index}]"), found.origin.at(element.line), &element.text)
        });
        let values: Self = values.collect::<Vec<_>>().into_iter().collect::<Result<_, _>>()?;
        if values.len() > rule.max_elements {
            return Err(reader.report(name, format!("it has more than {} waits", rule.max_elements)));
        }
        Ok(values)
    }
}

/// A field that may be wrong while the others of its section are used.
impl<T> Field<T> for Result<T, Reported> {
    fn read(rule: &Rule<T>, name: &str, reader: &mut TableReader<'_>) -> Result<Self, Reported> {
        Ok(Field::read(rule, name, reader))
    }
}

impl Field<Duration> for Option<Schedule> {
    fn kind(_: ValueKind) -> ValueKind {
        ValueKind::List
    }

    /// An empty list is a schedule of one attempt; only a missing one is none.
    fn read(rule: &Rule<Duration>, name: &str, reader: &mut TableReader<'_>) -> Result<Self, Reported> {
        if reader.found(name).is_none() {
            return Ok(None);
        }
        let waits: Vec<Duration> = Field::read(rule, name, reader)?;
        let waits: Vec<_> = waits.into_iter().map(HumanDuration).collect();
        waits.try_into().map(Some).map_err(|fault: Invalid| reader.report(name, fault.to_string()))
    }
}

impl Field<SecretString> for Headers {
    fn kind(_: ValueKind) -> ValueKind {
        ValueKind::Table
    }

    fn read(_: &Rule<SecretString>, name: &str, reader: &mut TableReader<'_>) -> Result<Self, Reported> {
        let Some(found) = reader.found(name) else { return Ok(Self::default()) };
        let Value::Table(texts) = &found.value else { return Err(Reported) };
        // The fault names the header and never repeats its value.
        Self::new(texts.iter().map(|(name, text)| (name.clone(), text.as_str().into())))
            .map_err(|fault| reader.report(name, fault.to_string()))
    }
}

/// Type that is read from the keys of one table.
pub(super) trait TableKeys: Sized {
    /// Descriptions of the keys.
    fn keys() -> Vec<ConfigKey>;

    /// Reads every key.
    fn read(reader: &mut TableReader<'_>) -> Result<Self, Reported>;

    /// Description of the section `[name]` with these keys.
    fn section(name: &'static str) -> Section {
        let mut keys = Self::keys();
        keys.sort_by_key(|key| key.value_of.is_some());
        Section { name, repeated: false, keys }
    }

    /// Description of the section `[[name]]` with these keys.
    fn repeated(name: &'static str) -> Section {
        Section { repeated: true, ..Self::section(name) }
    }
}

/// Implements [`TableKeys`]: one row `key: type = rule` for each key, then fields whose keys stand in the same table.
macro_rules! keys {
    ($Name:ident { $($key:ident: $type:ty = $rule:expr,)+ $(..$group:ident: $Group:ident,)* }) => {
        impl TableKeys for $Name {
            fn keys() -> Vec<ConfigKey> {
                let mut keys = Vec::new();
                $(keys.extend(<$type as Field<_>>::keys(&$rule, stringify!($key)));)+
                $(keys.extend(<$Group as TableKeys>::keys());)*
                keys
            }

            fn read(reader: &mut TableReader<'_>) -> Result<Self, Reported> {
                $(let $key = <$type as Field<_>>::read(&$rule, stringify!($key), reader);)+
                $(let $group = <$Group as TableKeys>::read(reader);)*
                Ok(Self { $($key: $key?,)+ $($group: $group?,)* })
            }
        }
    };
}

/// Defines the type of a section, and implements [`TableKeys`] for the type.
macro_rules! section {
    (
        $(#[$doc:meta])* $vis:vis struct $Name:ident {
            $($(#[$field_doc:meta])* $field_vis:vis $key:ident: $type:ty = $rule:expr,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        $vis struct $Name { $($(#[$field_doc])* $field_vis $key: $type,)+ }
        keys!($Name { $($key: $type = $rule,)+ });
    };
}

pub(super) use {keys, section};
