//! Settings of an endpoint that differ from the configured defaults.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AsymmetricKey, Headers, HumanDuration, Invalid};

/// Settings of one endpoint. A field that is not set has the value of the configuration's `[delivery]`.
#[derive(Debug, Clone, Default)]
pub struct Sending {
    /// Additional headers of each request.
    pub headers: Headers,
    /// Waits after attempt 1, 2, ...
    pub schedule: Option<Schedule>,
    /// Maximum time for an attempt.
    pub timeout: Option<AttemptTimeout>,
    /// Maximum number of concurrent attempts.
    pub max_in_flight: Option<MaxInFlight>,
    /// Maximum rate of attempts.
    pub rate_limit: Option<RateLimit>,
    /// Key that requests are signed with besides the secret. Receivers need its public half only.
    pub signing_key: Option<AsymmetricKey>,
}

/// Waits after attempt 1, 2, ...: at most 100, each at most 365 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<HumanDuration>", into = "Vec<HumanDuration>")]
pub struct Schedule(Vec<HumanDuration>);

impl Schedule {
    /// Text about allowed values, as messages state it.
    pub const ALLOWED: &str = r#"a list of at most 100 durations such as "5s" or "12h", each at most "365d""#;

    /// The waits.
    #[must_use]
    pub fn waits(&self) -> Vec<Duration> {
        self.0.iter().map(|wait| wait.get()).collect()
    }
}

impl TryFrom<Vec<HumanDuration>> for Schedule {
    type Error = Invalid;

    fn try_from(waits: Vec<HumanDuration>) -> Result<Self, Invalid> {
        const LONGEST: Duration = Duration::from_hours(365 * 24);
        if waits.len() > 100 || waits.iter().any(|wait| wait.get() > LONGEST) {
            return Err(Invalid::new(format_args!("a schedule is {}", Self::ALLOWED)));
        }
        Ok(Self(waits))
    }
}

impl From<Schedule> for Vec<HumanDuration> {
    fn from(schedule: Schedule) -> Self {
        schedule.0
    }
}

/// Maximum time for an attempt: more than zero and at most 10 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "HumanDuration", into = "HumanDuration")]
pub struct AttemptTimeout(Duration);

impl AttemptTimeout {
    /// Text about allowed values, as messages state it.
    pub const ALLOWED: &str = r#"a duration such as "5s", longer than nothing and at most "10m""#;

    /// The time.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl TryFrom<HumanDuration> for AttemptTimeout {
    type Error = Invalid;

    fn try_from(timeout: HumanDuration) -> Result<Self, Invalid> {
        let length = timeout.get();
        if length.is_zero() || length > Duration::from_mins(10) {
            return Err(Invalid::new(format_args!("a timeout is {}", Self::ALLOWED)));
        }
        Ok(Self(length))
    }
}

impl From<AttemptTimeout> for HumanDuration {
    fn from(timeout: AttemptTimeout) -> Self {
        Self(timeout.0)
    }
}

/// Maximum number of concurrent attempts: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct MaxInFlight(u32);

impl MaxInFlight {
    /// Text about allowed values, as messages state it.
    pub const ALLOWED: &str = "a whole number from 1 to 10000";

    /// The number.
    #[must_use]
    pub fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl TryFrom<u32> for MaxInFlight {
    type Error = Invalid;

    fn try_from(number: u32) -> Result<Self, Invalid> {
        match number {
            1..=10_000 => Ok(Self(number)),
            _ => Err(Invalid::new(format_args!("a number of attempts at once is {}", Self::ALLOWED))),
        }
    }
}

impl From<MaxInFlight> for u32 {
    fn from(number: MaxInFlight) -> Self {
        number.0
    }
}

/// Maximum rate of attempts, written `"50/s"`, `"1000/m"` or `"10/h"`; at most 10,000 a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RateLimit {
    count: NonZeroU32,
    unit: RateUnit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RateUnit {
    Second,
    Minute,
    Hour,
}

impl RateLimit {
    /// Text about allowed values, as messages state it.
    pub const ALLOWED: &str = r#"such as "50/s", "1000/m" or "10/h", at most "10000/s""#;

    /// So many ...
    #[must_use]
    pub fn count(self) -> NonZeroU32 {
        self.count
    }

    /// ... in so long.
    #[must_use]
    pub fn period(self) -> Duration {
        match self.unit {
            RateUnit::Second => Duration::from_secs(1),
            RateUnit::Minute => Duration::from_mins(1),
            RateUnit::Hour => Duration::from_hours(1),
        }
    }
}

impl FromStr for RateLimit {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            let allowed = Self::ALLOWED;
            Invalid::new(format_args!("a rate is a whole number a second, minute or hour, {allowed}"))
        };
        let (count, unit) = text.split_once('/').ok_or_else(invalid)?;
        let unit = match unit {
            "s" => RateUnit::Second,
            "m" => RateUnit::Minute,
            "h" => RateUnit::Hour,
            _ => return Err(invalid()),
        };
        if !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let rate = Self { count: count.parse().map_err(|_| invalid())?, unit };
        if f64::from(rate.count.get()) / rate.period().as_secs_f64() > 10_000.0 {
            return Err(invalid());
        }
        Ok(rate)
    }
}

impl TryFrom<String> for RateLimit {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<RateLimit> for String {
    fn from(rate: RateLimit) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            RateUnit::Second => 's',
            RateUnit::Minute => 'm',
            RateUnit::Hour => 'h',
        };
        write!(f, "{}/{unit}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("50/s", 50, 1)]
    #[case("1000/m", 1000, 60)]
    #[case("1/h", 1, 3600)]
    #[case("10000/s", 10_000, 1)]
    fn rates(#[case] text: &str, #[case] count: u32, #[case] seconds: u64) {
        let rate: RateLimit = text.parse().unwrap();
        assert_eq!((rate.count().get(), rate.period().as_secs()), (count, seconds));
        assert_eq!(rate.to_string(), text);
    }

    #[rstest::rstest]
    fn what_is_no_rate(
        #[values("", "50", "50/", "/s", "0/s", "-1/s", "+1/s", "5/d", "1.5/s", "10001/s", "50 /s")]
        text: &str,
    ) {
        assert!(text.parse::<RateLimit>().is_err());
    }
}
