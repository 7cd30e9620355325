//! Authenticated caller: identity, scopes and visible services.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::Keys;
use crate::domain::{ApiKey, EventFilter, Grant, KeyDigest, KeyId, KeyName, Scope, ServiceName};
use crate::http::problem::Problem;

/// Authenticated caller of the internal listener. Each request has one, by a key or by an open listener; a handler
/// takes it as a parameter.
#[derive(Clone)]
pub struct Caller {
    who: Identity,
    grant: Grant,
    proof: Proof,
}

/// Permission of the caller, as long as it is valid.
#[derive(Clone)]
enum Proof {
    /// Key of the configuration, which does not change.
    Configured,
    /// The listener accepts requests without a key: no admin key exists.
    OpenListener(Arc<Keys>),
    /// A stored key.
    Stored(KeyDigest, Arc<Keys>),
}

#[derive(Debug, Clone)]
enum Identity {
    /// Caller with the configured key.
    AdminKey,
    /// Caller on this machine, without a key.
    Anonymous,
    /// Caller with a stored key.
    Key { id: KeyId, name: KeyName },
}

impl Caller {
    pub(super) fn admin_key() -> Self {
        Self { who: Identity::AdminKey, grant: Grant::everything(), proof: Proof::Configured }
    }

    pub(super) fn open(keys: Arc<Keys>) -> Self {
        Self { who: Identity::Anonymous, grant: Grant::everything(), proof: Proof::OpenListener(keys) }
    }

    pub(super) fn known(key: ApiKey, digest: KeyDigest, keys: Arc<Keys>) -> Self {
        Self {
            who: Identity::Key { id: key.id, name: key.name },
            grant: key.grant,
            proof: Proof::Stored(digest, keys),
        }
    }

    /// Unique id in logs and records: `key_...`, `admin_key` for the configured key, `open` without a key.
    #[must_use]
    pub fn id(&self) -> &str {
        match &self.who {
            Identity::AdminKey => "admin_key",
            Identity::Anonymous => "open",
            Identity::Key { id, .. } => id.as_str(),
        }
    }

    /// Returns the name of the key, or the id for callers without a stored key. Not unique.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.who {
            Identity::Key { name, .. } => name.as_str(),
            _ => self.id(),
        }
    }

    /// Scopes and service.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        self.grant.scopes()
    }

    /// Returns the service that the caller is limited to.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceName> {
        self.grant.service()
    }

    /// Fails when the caller does not have a scope.
    pub(super) fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.grant.allows(scope) { Ok(()) } else { Err(Problem::missing_scope(scope)) }
    }

    /// Returns whether a resource of this service is visible. A resource without a service is visible to callers
    /// without a service limit.
    pub(in crate::http) fn sees(&self, service: Option<&ServiceName>) -> bool {
        self.grant.sees(service)
    }

    /// Restricts a filter to the events that the caller may see.
    pub(in crate::http) fn narrow(&self, filter: &mut EventFilter) {
        self.grant.narrow(filter);
    }

    /// Restricts a list of services to the key's service; empty means all. Returns nothing when none of them is visible.
    pub(in crate::http) fn narrowed(&self, services: Vec<ServiceName>) -> Option<Vec<ServiceName>> {
        let Some(own) = self.grant.service() else { return Some(services) };
        (services.is_empty() || services.contains(own)).then(|| vec![own.clone()])
    }

    /// Checks that the caller would still be authenticated. Called before a long-held request is answered.
    pub(in crate::http) async fn still_good(&self) -> Result<(), Problem> {
        match &self.proof {
            Proof::Configured => Ok(()),
            Proof::OpenListener(keys) if keys.is_open().await? => Ok(()),
            Proof::OpenListener(_) => {
                Err(Problem::unauthorized("the internal listener requires a key now; send one"))
            }
            Proof::Stored(digest, keys) => keys.still_good(digest).await,
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("who", &self.who).field("grant", &self.grant).finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    /// A route outside the authentication layers is a fault of ours, and admits no request.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::internal)
    }
}
