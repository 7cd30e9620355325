//! Endpoints: downstream URLs that receive events.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::service::{NAME_RULE, is_name};
use super::text_enum::text_enum;
use super::{EndpointId, EventType, Health, Invalid, Sending, ServiceName, SigningSecret};

text_enum! {
    /// Format of an event in a request.
    Format, "a format" {
        /// Standard Webhooks 1.0.0.
        Standard = "standard",
        /// CloudEvents 1.0, structured JSON.
        CloudEvents = "cloudevents",
        /// RemAuth's own GET request.
        RemAuth = "remauth",
    }
}

/// Name of an endpoint: 1 to 64 of `a-z A-Z 0-9 - _ .`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointName(String);

impl EndpointName {
    /// Text about allowed values, as messages state it.
    pub const ALLOWED: &str = NAME_RULE;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EndpointName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if is_name(&text) {
            Ok(Self(text))
        } else {
            Err(Invalid::new(format_args!("an endpoint's name is {NAME_RULE}")))
        }
    }
}

impl FromStr for EndpointName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text.to_owned())
    }
}

impl From<EndpointName> for String {
    fn from(name: EndpointName) -> Self {
        name.0
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// URL of an endpoint: absolute, `http` or `https`, with a host and without user information or fragment.
///
/// The query may hold a secret of the receiver: `Display` leaves it out, [`EndpointUrl::as_url`] has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointUrl(Url);

impl EndpointUrl {
    /// Returns the whole URL, for the request.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for EndpointUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let url =
            Url::parse(text).map_err(|e| Invalid::new(format_args!("an endpoint's url is absolute: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Invalid::new("an endpoint's url begins with http:// or https://"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Invalid::new("an endpoint's url names a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Invalid::new("an endpoint's url holds no user information; use a header instead"));
        }
        if url.fragment().is_some() {
            return Err(Invalid::new("an endpoint's url has no fragment"));
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for EndpointUrl {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<EndpointUrl> for String {
    fn from(url: EndpointUrl) -> Self {
        url.0.into()
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        shown.set_query(None);
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Settings of an endpoint, by request or in the configuration.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    /// Its name for people; unique.
    pub name: EndpointName,
    /// URL.
    pub url: EndpointUrl,
    /// Secret that requests are signed with.
    pub secret: SigningSecret,
    /// Event types to deliver; empty means all of `remauth.*`.
    pub types: Vec<EventType>,
    /// Services whose events are delivered; empty means all.
    pub services: Vec<ServiceName>,
    /// Format of events.
    pub format: Format,
    /// True if only events of expected authentications are delivered.
    pub expected_only: bool,
    /// Limits, headers and schedule of its own.
    pub sending: Sending,
}

/// Secret before the last rotation. It also signs for a while.
#[derive(Debug, Clone)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: SigningSecret,
    /// Until when.
    pub until: Timestamp,
}

/// Endpoint with its settings and state.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its name for programs.
    pub id: EndpointId,
    /// Settings.
    pub settings: EndpointSettings,
    /// Previous secret, which also signs until receivers know the new one.
    pub previous_secret: Option<PreviousSecret>,
    /// Failure state.
    pub health: Health,
    /// True if events are delivered.
    pub enabled: bool,
    /// Reason why it is disabled.
    pub disabled_reason: Option<String>,
    /// True if it is declared in the configuration, where alone it can be changed.
    pub declared: bool,
    /// True if it was declared in the configuration before. It can be removed, and nothing else.
    pub undeclared: bool,
    /// Time of its creation.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    fn urls_that_cannot_be_called_are_refused(
        #[values(
            "",
            "/hook",
            "ftp://a/",
            "http://",
            "https://u:p@a/",
            "https://u@a/",
            "https://a/#f",
            "file:///etc/passwd"
        )]
        text: &str,
    ) {
        assert!(text.parse::<EndpointUrl>().is_err());
    }

    #[test]
    fn a_query_is_used_but_not_shown() {
        let url: EndpointUrl = "https://a.example/hook?key=hidden".parse().unwrap();
        assert_eq!(url.to_string(), "https://a.example/hook");
        assert_eq!(format!("{url:?}"), "https://a.example/hook");
        assert_eq!(String::from(url), "https://a.example/hook?key=hidden");
    }
}
