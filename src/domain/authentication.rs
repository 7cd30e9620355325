//! Authentications that apps wait for, identified by service and uaid.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;
use super::{EventId, EventType, Invalid, RawJson, ServiceName, Trust, Uaid, iso_millis};

/// Identity of an authentication. The same uaid at another service is another authentication.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AuthenticationName {
    /// The service.
    pub service: ServiceName,
    /// RemAuth's id.
    pub uaid: Uaid,
}

text_enum! {
    /// Status of an authentication.
    AuthenticationStatus, "a status" {
        /// Expected, without a callback so far.
        Pending = "pending",
        /// The callback was stored.
        Completed = "completed",
        /// No callback came within the expectation's time.
        Expired = "expired",
    }
}

/// User who is expected to authenticate, as the app names them: 1 to 320 characters without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Subject(String);

impl Subject {
    /// Maximum length in characters: that of an e-mail address.
    pub const MAX: usize = 320;

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Subject {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if (1..=Self::MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            Ok(Self(text))
        } else {
            Err(Invalid::new(format_args!(
                "a subject has 1 to {} characters and no control characters",
                Self::MAX
            )))
        }
    }
}

/// Value that an app stores with an expectation and gets back with the event: any JSON of at most 4 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawJson")]
pub struct AppState(RawJson);

impl AppState {
    /// Maximum length in bytes, without white space.
    pub const MAX: usize = 4096;
}

impl TryFrom<RawJson> for AppState {
    type Error = Invalid;

    fn try_from(value: RawJson) -> Result<Self, Invalid> {
        if value.as_str().len() <= Self::MAX {
            Ok(Self(value))
        } else {
            Err(Invalid::new(format_args!("a state has at most {} bytes of JSON", Self::MAX)))
        }
    }
}

impl From<AppState> for RawJson {
    fn from(state: AppState) -> Self {
        state.0
    }
}

/// Time for which an authentication is expected, in seconds: 1 to 86400, by default 300.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct ExpiresIn(Duration);

impl ExpiresIn {
    /// As a duration.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Default for ExpiresIn {
    fn default() -> Self {
        Self(Duration::from_mins(5))
    }
}

impl TryFrom<u64> for ExpiresIn {
    type Error = Invalid;

    fn try_from(seconds: u64) -> Result<Self, Invalid> {
        if (1..=86_400).contains(&seconds) {
            Ok(Self(Duration::from_secs(seconds)))
        } else {
            Err(Invalid::new("`expires_in` is a whole number of seconds from 1 to 86400"))
        }
    }
}

/// Expectation of an authentication, as the app states it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectation {
    /// User who is to authenticate.
    pub subject: Option<Subject>,
    /// Value that the app gets back with the event.
    pub state: Option<AppState>,
    /// Time for which the authentication is expected.
    pub expires_in: ExpiresIn,
}

/// Match of an event with its expectation, fixed when the event is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectationMatch {
    /// True if the authentication was expected.
    pub expected: bool,
    /// User who was to authenticate.
    pub subject: Option<String>,
    /// Value of the app.
    pub state: Option<RawJson>,
    /// True if the expectation had expired before.
    pub late: bool,
}

/// Authentication as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authentication {
    /// RemAuth's id.
    pub uaid: Uaid,
    /// The service.
    pub service: ServiceName,
    /// Status.
    pub status: AuthenticationStatus,
    /// Type of the event that completed it.
    #[serde(rename = "type")]
    pub event_type: Option<EventType>,
    /// Trust of that event.
    pub trust: Option<Trust>,
    /// True if it is expected.
    pub expected: bool,
    /// User who is to authenticate.
    pub subject: Option<String>,
    /// Value of the app.
    pub state: Option<RawJson>,
    /// Time at which it was first expected.
    #[serde(with = "iso_millis::option")]
    pub expected_at: Option<Timestamp>,
    /// Until when.
    #[serde(with = "iso_millis::option")]
    pub expires_at: Option<Timestamp>,
    /// Time of the callback.
    #[serde(with = "iso_millis::option")]
    pub completed_at: Option<Timestamp>,
    /// Time of the claim.
    #[serde(with = "iso_millis::option")]
    pub claimed_at: Option<Timestamp>,
    /// True if the callback came after the expectation had expired.
    pub late: bool,
    /// Id of the event that completed it.
    pub event: Option<EventId>,
}

impl Authentication {
    /// Identity of the authentication.
    #[must_use]
    pub fn name(&self) -> AuthenticationName {
        AuthenticationName { service: self.service.clone(), uaid: self.uaid }
    }

    /// Returns whether the status is final.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.status != AuthenticationStatus::Pending
    }
}

impl FromStr for Subject {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case("j", true)]
    #[case(&"é".repeat(320), true)]
    #[case(&"é".repeat(321), false)]
    #[case("", false)]
    #[case("a\nb", false)]
    fn a_subject_is_short_and_printable(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<Subject>().is_ok(), good);
    }

    #[rstest]
    #[case(0, false)]
    #[case(1, true)]
    #[case(86_400, true)]
    #[case(86_401, false)]
    fn an_expectation_lasts_a_second_to_a_day(#[case] seconds: u64, #[case] good: bool) {
        assert_eq!(ExpiresIn::try_from(seconds).is_ok(), good);
    }

    #[test]
    fn a_state_is_any_json_of_at_most_4_kib() {
        let state = |value: Value| AppState::try_from(RawJson::parse(&value.to_string()).unwrap());
        assert!(state(json!({"deep": [1, null]})).is_ok());
        assert!(state(json!("a".repeat(4094))).is_ok());
        assert!(state(json!("a".repeat(4095))).is_err());
    }
}
