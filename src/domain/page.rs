//! Pages of long lists, by cursor.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Position of a reader in the order of all events: this event and all earlier ones are read.
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

/// Maximum number of items on a page: 1 to 1000.
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

/// Direction and start of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first, those after the cursor.
    Ascending {
        /// Cursor before the page.
        after: Cursor,
    },
    /// Newest first, those before the cursor; from the newest when there is none.
    Descending {
        /// Cursor after the page.
        before: Option<Cursor>,
    },
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub data: Vec<T>,
    /// Cursor to continue from, also on an empty page.
    pub cursor: Cursor,
    /// True if another page is available at once.
    pub has_more: bool,
}

/// Range of the events that a store still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedRange {
    /// The oldest event.
    pub oldest: Option<Cursor>,
    /// The newest event; [`Cursor::default`] when there is none.
    pub newest: Cursor,
    /// The highest cursor that was ever given to an event. Pruning leaves it alone, and an event that is not visible
    /// yet may have it.
    pub given: Cursor,
}

/// Status of a cursor in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorStatus {
    /// Every event after the cursor is stored.
    Good,
    /// Events after it may have been pruned.
    Pruned,
    /// Never given by this store: it is of another store, or this one was restored to an earlier time.
    Foreign,
}

impl RetainedRange {
    /// Status of a cursor. Numbers may be missing between events, so a cursor before the oldest event counts as
    /// pruned, even if no event was between the two. [`Cursor::default`] is always valid.
    #[must_use]
    pub fn standing(&self, place: Cursor) -> CursorStatus {
        if place.0 == 0 {
            CursorStatus::Good
        } else if place > self.given.max(self.newest) {
            CursorStatus::Foreign
        } else if self.holds_all_after(place) {
            CursorStatus::Good
        } else {
            CursorStatus::Pruned
        }
    }

    /// Returns whether no event after this cursor can have been pruned, as far as the numbers tell.
    #[must_use]
    pub fn holds_all_after(&self, place: Cursor) -> bool {
        match self.oldest {
            _ if place.0 == 0 => true,
            Some(oldest) => oldest.0 - 1 <= place.0,
            None => self.given <= place,
        }
    }

    /// Returns the cursor before the oldest stored event.
    #[must_use]
    pub fn before_oldest(&self) -> Cursor {
        Cursor(self.oldest.map_or(0, |oldest| oldest.0 - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    // Nothing was ever stored.
    #[case(None, 0, 0, 0, CursorStatus::Good)]
    #[case(None, 0, 0, 1, CursorStatus::Foreign)]
    // All events were pruned. A reader at the newest cursor has missed none.
    #[case(None, 0, 9, 0, CursorStatus::Good)]
    #[case(None, 0, 9, 8, CursorStatus::Pruned)]
    #[case(None, 0, 9, 9, CursorStatus::Good)]
    #[case(None, 0, 9, 10, CursorStatus::Foreign)]
    // Something is kept.
    #[case(Some(5), 9, 9, 0, CursorStatus::Good)]
    #[case(Some(5), 9, 9, 3, CursorStatus::Pruned)]
    #[case(Some(5), 9, 9, 4, CursorStatus::Good)]
    #[case(Some(5), 9, 9, 9, CursorStatus::Good)]
    #[case(Some(5), 9, 9, 10, CursorStatus::Foreign)]
    // A number that was given and is not to be seen, or never will be.
    #[case(Some(5), 9, 12, 12, CursorStatus::Good)]
    #[case(Some(5), 9, 12, 13, CursorStatus::Foreign)]
    fn standings(
        #[case] oldest: Option<i64>,
        #[case] newest: i64,
        #[case] given: i64,
        #[case] place: i64,
        #[case] standing: CursorStatus,
    ) {
        let kept = RetainedRange { oldest: oldest.map(Cursor), newest: Cursor(newest), given: Cursor(given) };
        assert_eq!(kept.standing(Cursor(place)), standing);
    }

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
