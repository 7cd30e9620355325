//! Readers whose place is kept for them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::service::{NAME_RULE, is_name};
use super::{Cursor, Invalid, RetainedRange, ServiceName};

/// A consumer's name: 1 to 64 of `a-z A-Z 0-9 - _ .`, so that it fits into a path as it is.
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
    /// The service whose key made it; none for a key that sees every service.
    pub owner: Option<ServiceName>,
    /// Name, chosen by the reader.
    pub name: ConsumerName,
}

/// A reader's place, kept for it, and how far behind it is.
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
    /// The events after its place, counted as far as [`EXACT_LAG_LIMIT`].
    pub counted: u64,
    /// Range of the stored events.
    pub kept: RetainedRange,
}

/// So many events behind are counted. More are estimated: counting costs as much as reading.
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
    /// Forward to this cursor. Where it has passed that already it stays.
    Acknowledge(Cursor),
    /// To this cursor, forward or back.
    To(Cursor),
    /// To before the first event that was received then or later.
    Since(Timestamp),
    /// To before the oldest event kept.
    Beginning,
    /// To after the newest event.
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
