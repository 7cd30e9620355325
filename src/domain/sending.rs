//! How one endpoint wants to be sent to, where that is not as everybody else.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{AsymmetricKey, HumanDuration, Invalid};

/// What is set for one endpoint alone. What is not set is as the configuration's `[delivery]` says.
#[derive(Debug, Clone, Default)]
pub struct Sending {
    /// Further headers of each request.
    pub headers: Headers,
    /// The waits after attempt 1, 2, ...
    pub schedule: Option<Schedule>,
    /// How long a whole attempt may take.
    pub timeout: Option<AttemptTimeout>,
    /// How many attempts may be under way at once.
    pub max_in_flight: Option<MaxInFlight>,
    /// How many attempts may be begun in a time.
    pub rate_limit: Option<RateLimit>,
    /// What requests are signed with besides the secret, so that a receiver needs to know only the public half.
    pub signing_key: Option<AsymmetricKey>,
}

/// Headers of an endpoint's own. Their values are secrets: `Debug` shows names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

/// At most so many of them.
const MAX_HEADERS: usize = 32;

/// The longest value, in bytes.
const MAX_HEADER_VALUE: usize = 4096;

/// What the HTTP library, the signature or the format decides.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Headers {
    /// Headers by their names.
    pub fn new(given: impl IntoIterator<Item = (String, SecretString)>) -> Result<Self, Invalid> {
        let mut headers = BTreeMap::new();
        for (name, value) in given {
            let name = HeaderName::from_str(&name)
                .map_err(|_| Invalid::new(format_args!("`{name}` is not a header's name")))?;
            let shown = name.as_str();
            if RESERVED.contains(&shown) || shown.starts_with("webhook-") || shown.starts_with("remgate-") {
                return Err(Invalid::new(format_args!("the header `{shown}` is not for endpoints to set")));
            }
            let value = value.expose_secret();
            if value.len() > MAX_HEADER_VALUE || HeaderValue::from_str(value).is_err() {
                return Err(Invalid::new(format_args!(
                    "the value of the header `{shown}` is at most {MAX_HEADER_VALUE} visible ASCII characters"
                )));
            }
            if headers.insert(shown.to_owned(), value.to_owned()).is_some() {
                return Err(Invalid::new(format_args!("the header `{shown}` is given more than once")));
            }
        }
        if headers.len() > MAX_HEADERS {
            return Err(Invalid::new(format_args!("an endpoint has at most {MAX_HEADERS} headers")));
        }
        Ok(Self(headers))
    }

    /// Their names, lower case, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Names and values, for the request itself; the values are marked as secret.
    pub fn for_request(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.0.iter().filter_map(|(name, value)| {
            let (name, mut value) = (HeaderName::from_str(name).ok()?, HeaderValue::from_str(value).ok()?);
            value.set_sensitive(true);
            Some((name, value))
        })
    }

    /// As JSON, for the store.
    #[must_use]
    pub fn reveal(&self) -> SecretString {
        serde_json::to_string(&self.0).expect("texts become JSON").into()
    }

    /// From what [`Headers::reveal`] gave.
    pub fn from_revealed(text: &str) -> Result<Self, Invalid> {
        serde_json::from_str(text).map(Self).map_err(|_| Invalid::new("headers are a JSON object of texts"))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names().map(|name| (name, "***"))).finish()
    }
}

/// The waits after attempt 1, 2, ...: at most 100, each at most 365 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<HumanDuration>", into = "Vec<HumanDuration>")]
pub struct Schedule(Vec<HumanDuration>);

impl Schedule {
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
            return Err(Invalid::new(
                r#"a schedule is a list of at most 100 durations such as "5s" or "12h", each at most "365d""#,
            ));
        }
        Ok(Self(waits))
    }
}

impl From<Schedule> for Vec<HumanDuration> {
    fn from(schedule: Schedule) -> Self {
        schedule.0
    }
}

/// How long a whole attempt may take: longer than nothing and at most 10 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "HumanDuration", into = "HumanDuration")]
pub struct AttemptTimeout(Duration);

impl AttemptTimeout {
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
            return Err(Invalid::new(
                r#"a timeout is a duration such as "5s", longer than nothing and at most "10m""#,
            ));
        }
        Ok(Self(length))
    }
}

impl From<AttemptTimeout> for HumanDuration {
    fn from(timeout: AttemptTimeout) -> Self {
        Self(timeout.0)
    }
}

/// How many attempts may be under way at once: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct MaxInFlight(u32);

impl MaxInFlight {
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
            _ => Err(Invalid::new("a number of attempts at once is a whole number from 1 to 10000")),
        }
    }
}

impl From<MaxInFlight> for u32 {
    fn from(number: MaxInFlight) -> Self {
        number.0
    }
}

/// How many attempts may be begun in a time, written `"50/s"`, `"1000/m"` or `"10/h"`; at most 10,000 a second.
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
            Invalid::new(
                r#"a rate is a whole number a second, minute or hour, such as "50/s", "1000/m" or "10/h", at most "10000/s""#,
            )
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

    fn headers(name: &str, value: &str) -> Result<Headers, Invalid> {
        Headers::new([(name.to_owned(), value.into())])
    }

    #[test]
    fn headers_keep_their_values_to_themselves() {
        let headers = headers("X-Api-Key", "planted").unwrap();
        assert_eq!(format!("{headers:?}"), r#"{"x-api-key": "***"}"#);
        let (_, value) = headers.for_request().next().unwrap();
        assert!(value.is_sensitive());
        assert_eq!(Headers::from_revealed(headers.reveal().expose_secret()).unwrap(), headers);
    }

    #[rstest::rstest]
    #[case("host", "a")]
    #[case("Content-Type", "text/plain")]
    #[case("Webhook-Id", "a")]
    #[case("remgate-replay", "a")]
    #[case("a b", "c")]
    #[case("", "c")]
    #[case("x-a", "planted\r\nx-b: c")]
    fn headers_that_are_refused(#[case] name: &str, #[case] value: &str) {
        assert!(!headers(name, value).unwrap_err().to_string().contains("planted"));
    }
}
