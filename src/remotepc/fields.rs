//! Validation of a client's JSON. The client's own bytes are forwarded.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Fault of a request, as upstream's error code. Only the last one is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// Add: no `firstName`.
    FirstnameRequired,
    /// Add: no `lastName`.
    LastnameRequired,
    /// Add, invite: no `invitedUserEmailId`.
    EmailidRequired,
    /// Add, invite: `invitedUserEmailId` is no e-mail address.
    EnterValidEmail,
    /// Add, sign-in: no `password`.
    PasswordRequired,
    /// Sign-in: no `username`.
    UsernameRequired,
    /// No JSON, not of the documented shape, or a value of the wrong type.
    InvalidRequest,
}

impl ErrorCode {
    /// Returns the code as it is in the envelope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstnameRequired => "FIRSTNAME_REQUIRED",
            Self::LastnameRequired => "LASTNAME_REQUIRED",
            Self::EmailidRequired => "EMAILID_REQUIRED",
            Self::EnterValidEmail => "ENTER_VALID_EMAIL",
            Self::PasswordRequired => "PASSWORD_REQUIRED",
            Self::UsernameRequired => "USERNAME_REQUIRED",
            Self::InvalidRequest => "INVALID_REQUEST",
        }
    }
}

/// All faults of an invalid request, in the order of the document; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Vec<ErrorCode>);

impl Refusal {
    /// The faults.
    #[must_use]
    pub fn words(&self) -> &[ErrorCode] {
        &self.0
    }
}

impl From<ErrorCode> for Refusal {
    fn from(word: ErrorCode) -> Self {
        Self(vec![word])
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A list with many bad entries has many faults: the first few are enough.
        let words: Vec<_> = self.0.iter().take(8).map(|word| word.as_str()).collect();
        write!(f, "refused with {} fault(s): {}", self.0.len(), words.join(", "))
    }
}

impl std::error::Error for Refusal {}

/// Collects faults, so that a client gets all of them at once.
#[derive(Default)]
pub(super) struct Faults(Vec<ErrorCode>);

impl Faults {
    /// Returns the value. Records a fault, and returns the default of the type.
    pub(super) fn take<T: Default>(&mut self, value: Result<T, ErrorCode>) -> T {
        value.unwrap_or_else(|word| {
            self.0.push(word);
            T::default()
        })
    }

    /// Returns `value`, unless there were faults.
    pub(super) fn or<T>(self, value: T) -> Result<T, Refusal> {
        if self.0.is_empty() { Ok(value) } else { Err(Refusal(self.0)) }
    }
}

/// JSON object whose values keep their original text.
///
/// A repeated name is refused: the value that is validated might not be the one that upstream uses.
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// The object in `json`.
    pub(super) fn read(json: &'a [u8]) -> Result<Self, ErrorCode> {
        serde_json::from_slice(json).map_err(|_| ErrorCode::InvalidRequest)
    }

    /// Each field, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Returns a required text that is not blank.
    pub(super) fn required(&self, name: &str, missing: ErrorCode) -> Result<String, ErrorCode> {
        let text: Option<String> = self.optional(name)?;
        text.filter(|text| !text.trim().is_empty()).ok_or(missing)
    }

    /// Returns a required password that is not blank.
    pub(super) fn required_secret(&self, name: &str, missing: ErrorCode) -> Result<SecretString, ErrorCode> {
        self.required(name, missing).map(SecretString::from)
    }

    /// Returns an optional value; `null` counts as missing.
    pub(super) fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ErrorCode> {
        match self.0.get(name) {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| ErrorCode::InvalidRequest),
            None => Ok(None),
        }
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands there twice"));
            }
        }
        Ok(Fields(fields))
    }
}
