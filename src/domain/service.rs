//! Names of RemAuth services.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Name of a service: 1 to 64 of `a-z A-Z 0-9 - _ .`, so that it needs no escapes in URLs, metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// Returns the service that `[callback]` configures.
    #[must_use]
    pub fn default_service() -> Self {
        Self("default".to_owned())
    }

    /// Text about allowed values, as messages state it.
    pub const ALLOWED: &str = NAME_RULE;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if is_name(&text) {
            Ok(Self(text))
        } else {
            Err(Invalid::new(format_args!("a service's name is {NAME_RULE}")))
        }
    }
}

pub(super) const NAME_RULE: &str = "1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_` and `.`";

pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

impl FromStr for ServiceName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text.to_owned())
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
