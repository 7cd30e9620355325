//! Ids: a prefix for the kind, then a unique part.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Invalid, RandomSource};

/// Defines an id of the form `prefix_` + the 32 hexadecimal digits of a version 7 UUID.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns a new id. Later ids sort later, to the millisecond.
            #[must_use]
            pub fn new(now: Timestamp, rng: &RandomSource) -> Self {
                Self(format!(concat!($prefix, "_{}"), uuid_v7(now, rng).simple()))
            }

            /// Returns the text with its prefix.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                match text.strip_prefix(concat!($prefix, "_")) {
                    Some(digits) if is_lower_hex(digits, 32) => Ok(Self(text)),
                    _ => Err(Invalid::new(concat!("such an id is `", $prefix, "_` and 32 hexadecimal digits"))),
                }
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

uuid_id! {
    /// Id of an event: `evt_...`. It is the `webhook-id` of deliveries, which must not contain a `.`.
    EventId, "evt"
}
uuid_id! {
    /// Names an endpoint: `ep_...`.
    EndpointId, "ep"
}
uuid_id! {
    /// Id of an API key: `key_...`. Not a secret; the key itself begins with `rgk_`.
    KeyId, "key"
}
uuid_id! {
    /// Lease token: `lease_...`. Each lease of a delivery has another one.
    LeaseToken, "lease"
}

uuid_id! {
    /// Id of an audit entry: `aud_...`.
    AuditId, "aud"
}

uuid_id! {
    /// Id of a rejected callback: `rej_...`.
    RejectedId, "rej"
}

/// Id of a delivery: `dlv_` and its number in the store.
///
/// A number is enough, since the id is used on the internal listener only. Ids of events are sent to receivers, so they are UUIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeliveryId(pub i64);

impl FromStr for DeliveryId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number = text.strip_prefix("dlv_").and_then(|digits| digits.parse().ok()).filter(|n| *n > 0);
        number.map(Self).ok_or_else(|| Invalid::new("such an id is `dlv_` and a number"))
    }
}

impl TryFrom<String> for DeliveryId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<DeliveryId> for String {
    fn from(id: DeliveryId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dlv_{}", self.0)
    }
}

fn uuid_v7(now: Timestamp, rng: &RandomSource) -> uuid::Uuid {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &rng.bytes()).into_uuid()
}

pub(super) fn is_lower_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn ids_sort_by_time_and_parse_back() {
        let rng = RandomSource::seeded(1);
        let early = EventId::new(Timestamp::from_second(1_000_000_000).unwrap(), &rng);
        let late = EventId::new(Timestamp::from_second(1_000_000_001).unwrap(), &rng);
        assert!(early < late);
        assert_eq!(early.to_string().parse::<EventId>().unwrap(), early);
        assert!(!early.as_str().contains('.'), "Standard Webhooks forbids a full stop in the id");
    }

    #[test]
    fn foreign_names_are_refused() {
        for text in [
            "",
            "evt_",
            "evt_xyz",
            "ep_0123456789abcdef0123456789abcdef",
            "EVT_0123456789abcdef0123456789abcdef",
        ] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
        for text in ["dlv_", "dlv_0", "dlv_-1", "dlv_x", "7"] {
            assert!(text.parse::<DeliveryId>().is_err(), "{text}");
        }
        assert_eq!("dlv_7".parse::<DeliveryId>().unwrap(), DeliveryId(7));
    }
}
