//! Reads one table key by key; whatever is wrong is noted, and reading goes on.

use std::ops::RangeInclusive;

use super::problem::ConfigProblem;
use super::rules::{self, Ruled};
use super::schema::{ConfigKey, Section};
use super::value::{Found, Table, Value};
use crate::domain::{HumanDuration, Schedule};

/// Nothing can be made of a value; the problem has been noted.
pub(super) struct Bad;

pub(super) struct TableReader<'a> {
    pub(super) section: &'static Section,
    pub(super) table: &'a Table,
    pub(super) problems: &'a mut Vec<ConfigProblem>,
}

impl TableReader<'_> {
    /// A text that must be there, by default or otherwise.
    pub(super) fn required<T>(&mut self, name: &str, rule: impl FnOnce(&str) -> Ruled<T>) -> Result<T, Bad> {
        if let Some(value) = self.optional(name, rule)? {
            return Ok(value);
        }
        let allowed = self.section.key(name).allowed;
        let path = self.path(name);
        let text = format!("is missing, allowed is {allowed}");
        self.problems.push(ConfigProblem::new(self.table.origin.clone(), path, text));
        Err(Bad)
    }

    /// A text that may be there.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        rule: impl FnOnce(&str) -> Ruled<T>,
    ) -> Result<Option<T>, Bad> {
        let Some(found) = self.table.values.get(name) else { return Ok(None) };
        match &found.value {
            Value::Text(text) => match rule(text) {
                Ok(value) => Ok(Some(value)),
                Err(why) => self.bad(self.section.key(name), found, self.path(name), text, &why),
            },
            _ => Err(Bad),
        }
    }

    /// A list, which may be empty.
    pub(super) fn list<T>(&mut self, name: &str, rule: impl Fn(&str) -> Ruled<T>) -> Result<Vec<T>, Bad> {
        let Some(found) = self.table.values.get(name) else { return Ok(Vec::new()) };
        let Value::List(elements) = &found.value else { return Err(Bad) };
        let mut values = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            match rule(&element.text) {
                Ok(value) => values.push(value),
                Err(why) => {
                    let path = format!("{}[{index}]", self.path(name));
                    let at = found.origin.at(element.line);
                    let key = self.section.key(name);
                    self.problems.push(ConfigProblem::bad(at, path, key, &element.text, &why));
                }
            }
        }
        if values.len() == elements.len() { Ok(values) } else { Err(Bad) }
    }

    /// The waits between attempts; there may be none.
    pub(super) fn schedule(&mut self) -> Result<Schedule, Bad> {
        let waits = self.list("schedule", rules::wait)?;
        let waits: Vec<_> = waits.into_iter().map(HumanDuration).collect();
        Schedule::try_from(waits).map_err(|_| {
            self.note("schedule", "it has more than 100 waits");
            Bad
        })
    }

    /// A switch, which is off unless it is there.
    pub(super) fn switch(&mut self, name: &str) -> Result<bool, Bad> {
        match self.table.values.get(name).map(|found| &found.value) {
            None => Ok(false),
            Some(Value::Switch(switch)) => Ok(*switch),
            Some(_) => Err(Bad),
        }
    }

    /// A whole number that must be there.
    pub(super) fn number(&mut self, name: &str, range: &RangeInclusive<i64>) -> Result<usize, Bad> {
        let Some(found) = self.table.values.get(name) else { return Err(Bad) };
        let Value::Number(number) = found.value else { return Err(Bad) };
        match usize::try_from(number) {
            Ok(size) if range.contains(&number) => Ok(size),
            _ => self.bad(self.section.key(name), found, self.path(name), &number.to_string(), ""),
        }
    }

    /// A whole number that may be there.
    pub(super) fn optional_number(
        &mut self,
        name: &str,
        range: &RangeInclusive<i64>,
    ) -> Result<Option<usize>, Bad> {
        if self.table.values.contains_key(name) { self.number(name, range).map(Some) } else { Ok(None) }
    }

    /// Texts by their names; there may be none.
    pub(super) fn texts(&mut self, name: &str) -> Result<&[(String, String)], Bad> {
        match self.table.values.get(name).map(|found| &found.value) {
            None => Ok(&[]),
            Some(Value::Table(texts)) => Ok(texts),
            Some(_) => Err(Bad),
        }
    }

    /// Notes a problem with a value that is there, or with the whole table.
    pub(super) fn note(&mut self, name: &str, text: impl Into<String>) {
        let origin = self.table.values.get(name).map_or(&self.table.origin, |found| &found.origin);
        self.problems.push(ConfigProblem::new(origin.clone(), self.path(name), text));
    }

    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.table.path)
    }

    fn bad<T>(
        &mut self,
        key: &ConfigKey,
        found: &Found,
        path: String,
        text: &str,
        why: &str,
    ) -> Result<T, Bad> {
        self.problems.push(ConfigProblem::bad(found.origin.clone(), path, key, text, why));
        Err(Bad)
    }
}
