//! Consumers: named cursors that the server keeps.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::service::{NAME_RULE, is_name};
use super::{Cursor, Invalid, RetainedRange, ServiceName};

/// Name of a consumer: 1 to 64 of `a-z A-Z 0-9 - _ .`, so that it needs no escapes in a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConsumerName(String);

impl TryFrom<String> for ConsumerName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if is_name(&text) {
            Ok(Self(text))
        } else {
            Err(Invalid::new(format_args!("a consumer's name is {NAME_RULE}")))
        }
    }
}

impl FromStr for ConsumerName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text.to_owned())
    }
}

impl From<ConsumerName> for String {
    fn from(name: ConsumerName) -> Self {
        name.0
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identity of a consumer. Two owners may use the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerId {
    /// Service of the key that created the consumer; `None` for a key that sees every service.
    pub owner: Option<ServiceName>,
    /// Name, chosen by the reader.
    pub name: ConsumerName,
}

/// Consumer with its cursor and its lag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Name, chosen by the reader.
    pub name: ConsumerName,
    /// Cursor of the last acknowledged event. All earlier ones are acknowledged too.
    pub place: Cursor,
    /// Time of its first use.
    pub created_at: Timestamp,
    /// Time of its last change.
    pub updated_at: Timestamp,
    /// Number of events after the cursor, counted up to [`EXACT_LAG_LIMIT`].
    pub counted: u64,
    /// Range of the stored events.
    pub kept: RetainedRange,
}

/// Maximum lag that is counted exactly. A larger one is estimated, because counting costs as much as reading.
pub const EXACT_LAG_LIMIT: u64 = 1_000;

impl Consumer {
    /// Number of events after the cursor. Beyond [`EXACT_LAG_LIMIT`] the difference of the cursors, which is never
    /// too small, and too large where numbers were skipped.
    #[must_use]
    pub fn lag(&self) -> u64 {
        if self.counted <= EXACT_LAG_LIMIT {
            return self.counted;
        }
        let before = self.kept.oldest.map_or(0, |oldest| oldest.0 - 1).max(self.place.0);
        self.counted.max(u64::try_from(self.kept.newest.0 - before).unwrap_or_default())
    }

    /// Returns whether an event was pruned that the consumer had not acknowledged.
    #[must_use]
    pub fn missed(&self) -> bool {
        !self.kept.holds_all_after(self.place)
    }
}

/// Target of a seek.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// Forward to this cursor; no change if it is already behind the consumer's.
    Acknowledge(Cursor),
    /// This cursor, forward or back.
    To(Cursor),
    /// Before the first event received at or after this time.
    Since(Timestamp),
    /// Before the oldest stored event.
    Beginning,
    /// After the newest event.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    fn what_is_no_name(#[values("", "two words", "a/b", "ä", &"x".repeat(65), "a\n", "%41")] text: &str) {
        assert!(text.parse::<ConsumerName>().is_err());
    }

    #[rstest::rstest]
    #[case(0, 0, Some(1), 5, 0)]
    #[case(2, 3, Some(1), 5, 3)]
    #[case(2, 1_000, Some(1), 9_000, 1_000)]
    #[case(2, 1_001, Some(1), 9_000, 8_998)]
    // What was pruned is not behind: it is gone.
    #[case(2, 1_001, Some(5_000), 9_000, 4_001)]
    #[case(8_000, 1_001, Some(1), 9_001, 1_001)]
    fn lags(
        #[case] place: i64,
        #[case] counted: u64,
        #[case] oldest: Option<i64>,
        #[case] newest: i64,
        #[case] lag: u64,
    ) {
        let time = Timestamp::UNIX_EPOCH;
        let kept =
            RetainedRange { oldest: oldest.map(Cursor), newest: Cursor(newest), given: Cursor(newest) };
        let name = "a".parse().unwrap();
        let consumer =
            Consumer { name, place: Cursor(place), created_at: time, updated_at: time, counted, kept };
        assert_eq!(consumer.lag(), lag);
    }
}
