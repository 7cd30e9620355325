//! Events: stored callbacks, and events of remgate's own.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AuthenticationName, Cursor, EndpointId, EventId, ExpectationMatch, Invalid, RawJson, ServiceName, Uaid,
};

/// Defines an enum whose variants have one fixed text each, for the wire and for the store. Those that are `unread` can be
/// said and never be asked for: no text becomes one of them.
macro_rules! text_enum {
    (
        $(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }
        $(unread { $($(#[$udoc:meta])* $unread:ident = $utext:literal,)+ })?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ $($($(#[$udoc])* $unread,)+)? }

        impl $name {
            /// Every one that can be asked for.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its text on the wire and in the store.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ $($(Self::$unread => $utext,)+)? }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    $crate::domain::Invalid::new(format_args!(concat!($what, " is one of {}"), all.join(", ")))
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::domain::Invalid;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for &'static str {
            fn from(value: $name) -> Self {
                value.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use text_enum;

text_enum! {
    /// The three parameters of RemAuth's callback. `registricated` is RemAuth's own spelling.
    CallbackType, "a callback's parameter" {
        /// A user authenticated.
        Authenticated = "authenticated",
        /// A user authenticated for the first time.
        Registricated = "registricated",
        /// A user subscribed to an existing system.
        Subscribed = "subscribed",
    }
}

text_enum! {
    /// Type of an event.
    EventType, "an event's type" {
        /// A user authenticated.
        Authenticated = "remauth.authenticated",
        /// A user authenticated for the first time.
        Registricated = "remauth.registricated",
        /// A user subscribed to an existing system.
        Subscribed = "remauth.subscribed",
        /// An expected authentication did not come in time.
        Expired = "remauth.expired",
        /// An endpoint was disabled by a rule.
        EndpointDisabled = "remgate.endpoint.disabled",
        /// A failing endpoint answered again.
        EndpointRecovered = "remgate.endpoint.recovered",
        /// A delivery was given up.
        DeliveryExhausted = "remgate.delivery.exhausted",
        /// The provisioning rule invited a user.
        UserInvited = "remotepc.user.invited",
        /// The provisioning rule found the user there already.
        UserExists = "remotepc.user.exists",
        /// The provisioning rule could not invite a user.
        UserFailed = "remotepc.user.failed",
    }
    unread {
        /// Test of an endpoint. Never stored, and not available as a filter.
        Test = "remgate.test",
    }
}

impl EventType {
    /// Returns whether an endpoint without a list of types gets it.
    #[must_use]
    pub fn is_remauth(self) -> bool {
        self.as_str().starts_with("remauth.")
    }

    /// Returns whether it is about endpoints and deliveries themselves.
    #[must_use]
    pub fn is_about_delivery(self) -> bool {
        matches!(self, Self::EndpointDisabled | Self::EndpointRecovered | Self::DeliveryExhausted)
    }

    /// The parameter that RemAuth would send for it, if it would send one.
    #[must_use]
    pub fn callback(self) -> Option<CallbackType> {
        match self {
            Self::Authenticated => Some(CallbackType::Authenticated),
            Self::Registricated => Some(CallbackType::Registricated),
            Self::Subscribed => Some(CallbackType::Subscribed),
            _ => None,
        }
    }
}

impl From<CallbackType> for EventType {
    fn from(callback: CallbackType) -> Self {
        match callback {
            CallbackType::Authenticated => Self::Authenticated,
            CallbackType::Registricated => Self::Registricated,
            CallbackType::Subscribed => Self::Subscribed,
        }
    }
}

text_enum! {
    /// Trust in the origin of an event: RemAuth does not sign its callbacks.
    Trust, "an event's trust" {
        /// The caller knew the service's secret token.
        Token = "token",
        /// The caller's address was on the service's list.
        Address = "address",
        /// Any client may have sent it.
        None = "none",
        /// remgate itself said it.
        Own = "self",
    }
}

/// Parses an RFC 3339 time. Times beyond the largest that can be represented, such as `9999-12-31T23:59:59Z`, are that one.
///
/// # Errors
/// When the text is no such time.
pub fn parse_time(text: &str) -> Result<Timestamp, Invalid> {
    let too_late = || {
        let beyond = text.starts_with("9999-12-3") && text.parse::<jiff::civil::DateTime>().is_err();
        let civil = text.trim_end_matches(['Z', 'z']).parse::<jiff::civil::DateTime>();
        (beyond && civil.is_ok()).then_some(Timestamp::MAX)
    };
    let parsed = text.parse().ok().or_else(too_late);
    parsed.ok_or_else(|| Invalid::new("a time is such as 2026-11-22T21:04:05Z"))
}

impl Trust {
    /// Returns whether the trust is at least `minimum`.
    #[must_use]
    pub fn reaches(self, minimum: Self) -> bool {
        let rank = |trust| match trust {
            Self::None => 0,
            Self::Address => 1,
            Self::Token | Self::Own => 2,
        };
        rank(self) >= rank(minimum)
    }

    /// The stricter of two minimums.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        if self.reaches(other) { self } else { other }
    }
}

/// Minimum trust that a claim asks for: `token`, `address` or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinTrust {
    /// The callback had a token.
    Token,
    /// The callback came from a listed address, or had a token.
    Address,
    /// Any callback.
    None,
}

impl MinTrust {
    /// As a trust to compare with.
    #[must_use]
    pub fn get(self) -> Trust {
        match self {
            Self::Token => Trust::Token,
            Self::Address => Trust::Address,
            Self::None => Trust::None,
        }
    }
}

/// An event that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The id it gets if it has not been seen before.
    pub id: EventId,
    /// Type.
    pub event_type: EventType,
    /// The service it is about.
    pub service: Option<ServiceName>,
    /// The authentication it is about.
    pub uaid: Option<Uaid>,
    /// Trust.
    pub trust: Trust,
    /// Address of the sender.
    pub source_ip: Option<IpAddr>,
    /// Time of the request.
    pub received_at: Timestamp,
    /// The facts of an event that remgate itself made: an object.
    pub detail: Option<Value>,
    /// The endpoint that it is about, which is never told of it.
    pub about: Option<EndpointId>,
}

impl NewEvent {
    /// The authentication that it is about, if it is about one.
    #[must_use]
    pub fn authentication(&self) -> Option<AuthenticationName> {
        let (service, uaid) = self.service.clone().zip(self.uaid)?;
        Some(AuthenticationName { service, uaid })
    }

    /// Event as it is stored at `cursor`, with the match of its expectation.
    #[must_use]
    pub fn stored_at(&self, cursor: Cursor, met: ExpectationMatch) -> Event {
        Event {
            id: self.id.clone(),
            cursor,
            event_type: self.event_type,
            service: self.service.clone(),
            uaid: self.uaid,
            trust: self.trust,
            source_ip: self.source_ip,
            received_at: self.received_at,
            duplicates: 0,
            expected: self.uaid.map(|_| met.expected),
            subject: met.subject,
            state: met.state,
            late: met.late,
            detail: self.detail.clone(),
        }
    }
}

/// An event as it is stored and shown to polling apps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// Its place in the order of all events.
    pub cursor: Cursor,
    /// Type.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The service it is about.
    pub service: Option<ServiceName>,
    /// The authentication it is about.
    pub uaid: Option<Uaid>,
    /// Trust.
    pub trust: Trust,
    /// Address of the sender.
    pub source_ip: Option<IpAddr>,
    /// Time of the request.
    #[serde(with = "iso_millis")]
    pub received_at: Timestamp,
    /// Number of repetitions.
    pub duplicates: i64,
    /// True if its authentication was expected; `None` for an event without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<bool>,
    /// User who was to authenticate, as the app named them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Value of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RawJson>,
    /// True if it came after the expectation had expired.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// The facts of an event that remgate itself made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// Timestamps as `2026-11-22T21:04:05.123Z`: always UTC, always milliseconds.
pub mod iso_millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// The text of a time.
    #[must_use]
    pub fn text(time: Timestamp) -> String {
        format!("{time:.3}")
    }

    /// Writes a time.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.3}"))
    }

    /// The same for a time that may be missing.
    pub mod option {
        use jiff::Timestamp;
        use serde::Serializer;

        /// Writes a time, or null.
        pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }
    }

    /// Reads a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_always_show_milliseconds() {
        let whole: Timestamp = "2026-11-22T21:04:05Z".parse().unwrap();
        assert_eq!(iso_millis::text(whole), "2026-11-22T21:04:05.000Z");
    }

    #[test]
    fn each_callback_has_its_event_type_and_back() {
        for callback in CallbackType::ALL {
            let event = EventType::from(*callback);
            assert_eq!(event.callback(), Some(*callback));
            assert_eq!(event.as_str(), format!("remauth.{callback}"));
        }
        assert_eq!(EventType::Expired.callback(), None);
    }

    #[test]
    fn a_test_can_be_said_and_not_be_asked_for() {
        assert_eq!(EventType::Test.as_str(), "remgate.test");
        assert!("remgate.test".parse::<EventType>().is_err());
        assert!(!EventType::ALL.contains(&EventType::Test) && !EventType::Test.is_remauth());
    }
}
