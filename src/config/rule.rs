//! Rule for a single value: the text about allowed values, the part that may be shown, and the function that parses one.

use std::path::Path;

use super::key::{ConfigKey, Shown, ValueKind, near_miss};

/// Result of a rule: the value, or the fault, in addition to the text about allowed values. The fault may be empty.
pub(super) type RuleResult<T> = Result<T, String>;

/// Facts that rules may need besides the value.
pub(super) struct RuleContext<'a> {
    /// Folder to which relative paths refer.
    pub(super) dir: &'a Path,
    /// Names of the configured services; none if those cannot be used themselves. Any name is accepted then.
    pub(super) services: Option<Vec<String>>,
}

/// Rule for a single value.
pub(super) struct Rule<T> {
    pub(super) kind: ValueKind,
    shown: Shown,
    has_file_variant: bool,
    pub(super) max_elements: usize,
    check: Check<T>,
}

enum Check<T> {
    Parse { allowed: &'static str, parse: Parse<T> },
    OneOf(fn() -> Vec<(&'static str, T)>),
}

type Parse<T> = fn(&str, &RuleContext<'_>) -> RuleResult<T>;

impl<T> Rule<T> {
    const fn new(kind: ValueKind, check: Check<T>) -> Self {
        Self { kind, shown: Shown::Plain, has_file_variant: false, max_elements: usize::MAX, check }
    }

    /// A text. `allowed` completes "allowed is ...".
    pub(super) const fn text(allowed: &'static str, parse: Parse<T>) -> Self {
        Self::new(ValueKind::Text, Check::Parse { allowed, parse })
    }

    /// A text that is never shown, and may also stand in a file named by `KEY_file`.
    pub(super) const fn secret(allowed: &'static str, parse: Parse<T>) -> Self {
        Self::text(allowed, parse).shown(Shown::Secret).or_file()
    }

    /// A value of another kind.
    pub(super) const fn of_kind(kind: ValueKind, allowed: &'static str, parse: Parse<T>) -> Self {
        Self::new(kind, Check::Parse { allowed, parse })
    }

    /// One of these names.
    pub(super) const fn one_of(values: fn() -> Vec<(&'static str, T)>) -> Self {
        Self::new(ValueKind::Text, Check::OneOf(values))
    }

    /// The same rule for a value of which only a part may be shown.
    pub(super) const fn shown(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    /// The same rule for a value that may also stand in a file named by `KEY_file`.
    pub(super) const fn or_file(self) -> Self {
        Self { has_file_variant: true, ..self }
    }

    /// The same rule for a list of at most so many values.
    pub(super) const fn max_elements(self, max_elements: usize) -> Self {
        Self { max_elements, ..self }
    }

    pub(super) fn parse(&self, text: &str, context: &RuleContext<'_>) -> RuleResult<T> {
        match self.check {
            Check::Parse { parse, .. } => parse(text, context),
            Check::OneOf(values) => one_of(text, values()),
        }
    }

    /// Descriptions of a key with this rule, whose whole value is of the given kind, and of its `_file` variant.
    pub(super) fn keys(&self, name: &'static str, kind: ValueKind) -> impl Iterator<Item = ConfigKey> {
        let allowed = match self.check {
            Check::Parse { allowed, .. } => allowed.to_owned(),
            Check::OneOf(values) => alternatives(values().iter().map(|(name, _)| *name)),
        };
        let file_variant = self.has_file_variant.then(|| ConfigKey {
            name: format!("{name}_file"),
            kind: ValueKind::Text,
            shown: Shown::Plain,
            allowed: "the path of a file that holds the value".to_owned(),
            value_of: Some(name),
        });
        let key = ConfigKey { name: name.to_owned(), kind, shown: self.shown, allowed, value_of: None };
        std::iter::once(key).chain(file_variant)
    }
}

/// Returns the value of that name. The error names a near miss.
pub(super) fn one_of<T>(text: &str, values: Vec<(&'static str, T)>) -> RuleResult<T> {
    let near = near_miss(text, values.iter().map(|(name, _)| *name));
    let near = near.map_or_else(String::new, |near| format!("did you mean {near:?}?"));
    values.into_iter().find(|(name, _)| *name == text).map(|(_, value)| value).ok_or(near)
}

/// Names as `"a", "b" or "c"`.
fn alternatives(names: impl Iterator<Item = &'static str>) -> String {
    let quoted: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}
