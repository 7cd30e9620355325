//! Descriptions of sections and keys, as the layers, `config show` and the messages need them.

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    List,
    Switch,
    Number,
    /// Texts by their names.
    Table,
}

impl ValueKind {
    /// Name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::List => "a list",
            Self::Switch => "true or false",
            Self::Number => "a whole number",
            Self::Table => "a table",
        }
    }
}

/// Part of a value that `config show` and errors may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// All of it.
    Plain,
    /// Nothing.
    Secret,
    /// All but the password and the query.
    Url,
    /// All but the password in `config show`; nothing in errors.
    SecretUrl,
}

impl Shown {
    /// Returns whether an error must not repeat the value.
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::SecretUrl)
    }
}

/// One key of a section.
#[derive(Debug)]
pub(super) struct ConfigKey {
    pub(super) name: String,
    pub(super) kind: ValueKind,
    pub(super) shown: Shown,
    /// Completes "allowed is ...".
    pub(super) allowed: String,
    /// Key whose value stands in the file that this one names.
    pub(super) value_of: Option<&'static str>,
}

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    /// Written `[[name]]`, any number of times.
    pub(super) repeated: bool,
    /// Keys in the order of the file, then their `_file` variants.
    pub(super) keys: Vec<ConfigKey>,
}

impl Section {
    /// The key of that name.
    pub(super) fn find(&self, name: &str) -> Option<&ConfigKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Keys other than the `_file` variants.
    pub(super) fn values(&self) -> impl Iterator<Item = &ConfigKey> {
        self.keys.iter().filter(|key| key.value_of.is_none())
    }

    /// The `_file` variants, with the name of the key whose value the file holds.
    pub(super) fn file_variants(&self) -> impl Iterator<Item = (&ConfigKey, &'static str)> {
        self.keys.iter().filter_map(|key| Some((key, key.value_of?)))
    }

    /// Every name that may stand in the section.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.name.as_str())
    }

    /// The line that begins the section in the file.
    pub(super) fn header(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }

    /// The environment variable of a key.
    pub(super) fn variable(&self, prefix: &str, key: &str) -> String {
        format!("{prefix}{}__{}", self.name.to_ascii_uppercase(), key.to_ascii_uppercase())
    }
}

/// The candidate that was probably meant.
pub(super) fn near_miss<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    // Longer words are never near, and a value pasted in the wrong place can be very long.
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
