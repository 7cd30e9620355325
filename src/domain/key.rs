//! API keys: what each may do, for which service, and until when.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::text_enum::text_enum;
use super::{EventFilter, Invalid, KeyId, RandomSource, ServiceName};

text_enum! {
    /// Scope of an API key.
    Scope, "a scope" {
        /// Read events.
        EventsRead = "events:read",
        /// Read authentications.
        AuthenticationsRead = "authentications:read",
        /// Expect, claim and read authentications.
        AuthenticationsWrite = "authentications:write",
        /// Read endpoints and deliveries.
        EndpointsRead = "endpoints:read",
        /// Change endpoints, retry and replay; read them.
        EndpointsWrite = "endpoints:write",
        /// List RemotePC's users.
        RemotePcRead = "remotepc:read",
        /// Add, invite and sign in RemotePC's users; list them.
        RemotePcWrite = "remotepc:write",
        /// Read the audit trail.
        AuditRead = "audit:read",
        /// Everything, keys included.
        Admin = "admin",
    }
}

impl Scope {
    /// Returns whether this scope includes `wanted`: a write scope includes the read scope.
    #[must_use]
    pub fn includes(self, wanted: Self) -> bool {
        let reads = match self {
            Self::AuthenticationsWrite => Self::AuthenticationsRead,
            Self::EndpointsWrite => Self::EndpointsRead,
            Self::RemotePcWrite => Self::RemotePcRead,
            other => other,
        };
        self == wanted || reads == wanted || self == Self::Admin
    }

    /// Returns whether a key of one service may have the scope: its resources belong to services.
    fn goes_with_a_service(self) -> bool {
        matches!(self, Self::EventsRead | Self::AuthenticationsRead | Self::AuthenticationsWrite)
    }
}

/// Scopes of a key, and the service that it is limited to, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    scopes: Vec<Scope>,
    service: Option<ServiceName>,
}

impl Grant {
    /// Builds a grant with each scope once. With a `service` only scopes whose resources belong to services are
    /// allowed.
    pub fn new(given: &[Scope], service: Option<ServiceName>) -> Result<Self, Invalid> {
        let mut scopes = Vec::new();
        for scope in given {
            if !scopes.contains(scope) {
                scopes.push(*scope);
            }
        }
        if scopes.is_empty() {
            return Err(Invalid::new("a key has at least one scope"));
        }
        if service.is_some() && !scopes.iter().all(|scope| scope.goes_with_a_service()) {
            let allowed: Vec<_> = Scope::ALL.iter().filter(|scope| scope.goes_with_a_service()).collect();
            let allowed: Vec<_> = allowed.into_iter().map(|scope| scope.as_str()).collect();
            return Err(Invalid::new(format_args!(
                "a key for one service has no other scopes than {}",
                allowed.join(", ")
            )));
        }
        Ok(Self { scopes, service })
    }

    /// All there is.
    #[must_use]
    pub fn everything() -> Self {
        Self { scopes: vec![Scope::Admin], service: None }
    }

    /// Returns the scopes as they were given.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Returns the service that the grant is limited to.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceName> {
        self.service.as_ref()
    }

    /// Returns whether the grant includes a scope.
    #[must_use]
    pub fn allows(&self, wanted: Scope) -> bool {
        self.scopes.iter().any(|scope| scope.includes(wanted))
    }

    /// Returns whether a resource of this service is visible. A resource without a service is visible without a limit
    /// only.
    #[must_use]
    pub fn sees(&self, service: Option<&ServiceName>) -> bool {
        self.service.is_none() || self.service.as_ref() == service
    }

    /// Restricts the filter to the key's service. A filter for another service matches nothing.
    pub fn narrow(&self, filter: &mut EventFilter) {
        let Some(own) = &self.service else { return };
        if !filter.services.is_empty() && !filter.services.contains(own) {
            // Matches no event, but the cursor of a page still moves.
            filter.until = Some(Timestamp::MIN);
        }
        filter.services = vec![own.clone()];
    }
}

/// Name of a key: 1 to 100 characters without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

impl KeyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyName {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let fits = (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if fits && !text.trim().is_empty() {
            Ok(Self(text))
        } else {
            Err(Invalid::new("a key's name is 1 to 100 characters, not all blank, and no control characters"))
        }
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

impl std::str::FromStr for KeyName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text.to_owned())
    }
}

/// Stored API key, without the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Name.
    pub name: KeyName,
    /// Scopes and service.
    pub grant: Grant,
    /// Time at which the key expires.
    pub expires_at: Option<Timestamp>,
    /// Time of its creation.
    pub created_at: Timestamp,
    /// Time of its last use, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Returns whether the key has expired.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        is_over(self.expires_at, now)
    }
}

fn is_over(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_some_and(|end| end <= now)
}

/// Prefix of every key, by which a leaked one can be recognised and searched for.
pub const KEY_PREFIX: &str = "rgk_";

/// Returns a new key of 256 random bits.
#[must_use]
pub fn new_key(rng: &RandomSource) -> SecretString {
    format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(rng.bytes::<32>())).into()
}

/// SHA-256 digest by which a key is recognised. One round of SHA-256 is enough for 256 random bits: there is nothing to guess that a
/// slow hash would protect.
#[derive(Clone)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// As it is stored.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// State of the stored admin keys, by which the internal listener requires a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminKeys {
    /// No admin key is stored.
    None,
    /// All stored admin keys have expired. The listener still requires a key.
    Expired,
    /// A stored admin key is valid.
    Valid,
}

impl AdminKeys {
    /// Returns the state for the times at which the admin keys expire.
    #[must_use]
    pub fn of(expiries: &[Option<Timestamp>], now: Timestamp) -> Self {
        if expiries.is_empty() {
            Self::None
        } else if expiries.iter().all(|end| is_over(*end, now)) {
            Self::Expired
        } else {
            Self::Valid
        }
    }
}

#[cfg(test)]
mod tests;
