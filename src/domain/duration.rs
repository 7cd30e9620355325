//! Durations as text.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Duration, written `"200ms"`, `"5s"`, `"5m"`, `"12h"`, `"30d"`, or several of these: `"1h 30m"`.
///
/// A day has 24 hours here. Nothing longer than a day has a unit, since months and years have no fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HumanDuration(pub Duration);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl HumanDuration {
    /// The length itself.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for HumanDuration {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid::new(
                r#"a duration is a whole number and a unit, such as "200ms", "5s", "5m", "12h" or "30d""#,
            )
        };
        let span: jiff::Span = text.parse().map_err(|_| invalid())?;
        let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| invalid())?;
        let millis = u64::try_from(length.as_millis()).map_err(|_| invalid())?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl TryFrom<String> for HumanDuration {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<HumanDuration> for String {
    fn from(duration: HumanDuration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        let mut first = true;
        for (unit, factor) in UNITS {
            let count = left / factor;
            left %= factor;
            if count > 0 {
                let space = if first { "" } else { " " };
                write!(f, "{space}{count}{unit}")?;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rstest::rstest]
    #[case("200ms", 200)]
    #[case("5s", 5_000)]
    #[case("5m", 300_000)]
    #[case("12h", 43_200_000)]
    #[case("30d", 2_592_000_000)]
    #[case("1h 30m", 5_400_000)]
    #[case("1h30m", 5_400_000)]
    fn written_as_people_write(#[case] text: &str, #[case] millis: u64) {
        assert_eq!(text.parse::<HumanDuration>().unwrap().get(), Duration::from_millis(millis));
    }

    #[rstest::rstest]
    fn what_has_no_unit_or_no_number_is_refused(
        #[values("", "5", "s", "-5s", "5y", "99999999999999999999s")] text: &str,
    ) {
        assert!(text.parse::<HumanDuration>().is_err());
    }

    proptest! {
        #[test]
        fn shown_and_read_again_is_the_same(millis in 0..10_000_000_000_u64) {
            let duration = HumanDuration(Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse::<HumanDuration>().unwrap(), duration);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,20}") {
            let _ = text.parse::<HumanDuration>();
        }
    }
}
