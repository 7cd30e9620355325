//! How long lists are read: by cursor, a page at a time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventType, Invalid, ServiceName, Uaid};

/// Where a reader stands in the order of all events: it has seen this one and all before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(pub i64);

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits_only = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = if digits_only { text.parse().ok() } else { None };
        number
            .map(Self)
            .ok_or_else(|| Invalid::new("a cursor is the whole number that an earlier answer gave"))
    }
}

impl TryFrom<String> for Cursor {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many items a page may hold: 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    /// The number.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl FromStr for Limit {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = text.parse().ok().filter(|n| (1..=1000).contains(n));
        number.map(Self).ok_or_else(|| Invalid::new("a limit is a whole number from 1 to 1000"))
    }
}

/// Which way a list runs, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first, those after the cursor.
    Ascending {
        /// The reader has seen this one and all before it.
        after: Cursor,
    },
    /// Newest first, those before the cursor; from the newest when there is none.
    Descending {
        /// The reader has seen this one and all after it.
        before: Option<Cursor>,
    },
}

/// Which events a reader asks for. An empty list of types or services means all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Which way, and from where.
    pub order: Order,
    /// At most so many.
    pub limit: Limit,
    /// Only these types.
    pub types: Vec<EventType>,
    /// Only these services.
    pub services: Vec<ServiceName>,
    /// Only this authentication.
    pub uaid: Option<Uaid>,
    /// Only those received then or later.
    pub since: Option<Timestamp>,
    /// Only those received earlier than this.
    pub until: Option<Timestamp>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub data: Vec<T>,
    /// Where to go on; there on an empty page too.
    pub cursor: Cursor,
    /// Whether another page can be read at once.
    pub has_more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    fn limits_are_refused_rather_than_clamped(
        #[values("0", "1001", "-1", "ten", "", "1e2", "+5 ")] text: &str,
    ) {
        assert!(text.parse::<Limit>().is_err());
    }

    #[rstest::rstest]
    fn cursors_are_plain_numbers(#[values("-1", "+1", "", "0x1", "1.0", "9223372036854775808")] text: &str) {
        assert!(text.parse::<Cursor>().is_err());
    }
}
