//! Authentication of callers of the internal listener, and their scopes.
//!
//! Three checks in files of their own: that a request without a key comes from this machine if the listener is open
//! (`loopback_only.rs`), the identity of the caller (here), and the scope of the route (`scopes.rs`). One layer
//! around the whole listener (`layers.rs`) makes them, so that no route can be without. A route that no rule names
//! requires the scope `admin`.

mod caller;
mod layers;
mod loopback_only;
mod scopes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::problem::Problem;
use crate::domain::{ApiKey, Clock, KEY_PREFIX, KeyDigest, KeyId};
use crate::lifecycle::Lifecycle;
use crate::store::{PresentedKey, Store};

pub use caller::Caller;
pub(super) use layers::{auth_layer, is_upstreams};

/// Resolution of the time of a key's last use.
const NOTED_EVERY: Duration = Duration::from_mins(1);

/// Keys of the internal listener: the configured one and those in the store.
///
/// The store is read with every request without the configured key, so that a revoked key is refused at once on all replicas.
pub struct Keys {
    admin: Option<KeyDigest>,
    may_open: bool,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lifecycle: Lifecycle,
    noted: Mutex<HashMap<KeyId, Timestamp>>,
}

/// Parts of [`Keys`].
pub struct KeysParts<'a> {
    /// The configured admin key.
    pub admin: Option<&'a SecretString>,
    /// True if the listener may be open without an admin key, because only this machine can reach it.
    pub may_open: bool,
    /// Store of the other keys.
    pub store: Arc<dyn Store>,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Tracker of notes about the use of keys.
    pub lifecycle: Lifecycle,
}

/// Credentials of a request.
enum Presented {
    EmptyBody,
    Malformed,
    Key { digest: KeyDigest, looks_like_ours: bool },
}

impl Keys {
    /// With these keys.
    #[must_use]
    pub fn new(parts: KeysParts<'_>) -> Self {
        Self {
            admin: parts.admin.map(|key| KeyDigest::of(key.expose_secret())),
            may_open: parts.may_open,
            store: parts.store,
            clock: parts.clock,
            lifecycle: parts.lifecycle,
            noted: Mutex::default(),
        }
    }

    /// Returns the authenticated caller.
    pub async fn admit(self: &Arc<Self>, headers: &HeaderMap) -> Result<Caller, Problem> {
        let presented = Presented::by(headers);
        if let (Some(admin), Presented::Key { digest, .. }) = (&self.admin, &presented)
            && admin.matches(digest)
        {
            return Ok(Caller::admin_key());
        }
        let digest = match &presented {
            Presented::Key { digest, .. } => Some(digest),
            // No stored key could authenticate the request.
            refused if self.admin.is_some() || !self.may_open => return Err(refused.refusal()),
            _ => None,
        };
        let PresentedKey { locked, key } = self.store.presented_key(digest).await?;
        let open = self.admin.is_none() && self.may_open && !locked;
        match (key, digest) {
            (Some(key), Some(digest)) => self.known(key, digest),
            _ if open && !presented.looks_like_ours() => Ok(Caller::open(Arc::clone(self))),
            _ => Err(presented.refusal()),
        }
    }

    /// Returns whether the listener is open to this machine.
    async fn is_open(&self) -> Result<bool, Problem> {
        let may_be = self.admin.is_none() && self.may_open;
        Ok(may_be && !self.store.presented_key(None).await?.locked)
    }

    fn known(self: &Arc<Self>, key: ApiKey, digest: &KeyDigest) -> Result<Caller, Problem> {
        let now = self.clock.now();
        if key.is_expired(now) {
            return Err(Problem::unauthorized("this key has expired"));
        }
        self.note_use(&key, now);
        Ok(Caller::known(key, digest.clone(), Arc::clone(self)))
    }

    /// Checks again whether a key is valid.
    async fn still_good(&self, digest: &KeyDigest) -> Result<(), Problem> {
        match self.store.presented_key(Some(digest)).await?.key {
            Some(key) if !key.is_expired(self.clock.now()) => Ok(()),
            _ => Err(Problem::unauthorized("this key was revoked or has expired meanwhile")),
        }
    }

    /// Records the use of a key, at most once a minute, beside the request.
    fn note_use(&self, key: &ApiKey, now: Timestamp) {
        let Ok(lately) = now.checked_sub(NOTED_EVERY) else { return };
        if key.last_used_at.is_some_and(|used| used > lately) {
            return;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|_, at| *at > lately);
        if noted.insert(key.id.clone(), now).is_some() {
            return;
        }
        let store = Arc::clone(&self.store);
        let id = key.id.clone();
        self.lifecycle.spawn(async move {
            if let Err(e) = store.use_key(&id, now).await {
                tracing::debug!(key = %id, error = %e, "failed to record the use of a key");
            }
        });
    }
}

impl Presented {
    fn by(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Self::EmptyBody };
        match value.to_str().ok().and_then(bearer) {
            Some(key) => {
                Self::Key { digest: KeyDigest::of(key), looks_like_ours: key.starts_with(KEY_PREFIX) }
            }
            None => Self::Malformed,
        }
    }

    /// Returns whether the text has the form of an API key of remgate. An open listener ignores other credentials, such
    /// as the key of an upstream client.
    fn looks_like_ours(&self) -> bool {
        matches!(self, Self::Key { looks_like_ours: true, .. })
    }

    fn refusal(&self) -> Problem {
        Problem::unauthorized(match self {
            Self::EmptyBody => "send your key as `Authorization: Bearer <key>`",
            Self::Malformed => "the Authorization header is not of the form `Bearer <key>`",
            Self::Key { .. } => "this key is not known",
        })
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Grant, ManualClock, RandomSource, Scope};
    use crate::store::{self, Location};

    fn keys(store: &Arc<dyn Store>, admin: Option<&SecretString>, may_open: bool) -> Arc<Keys> {
        Arc::new(Keys::new(KeysParts {
            admin,
            may_open,
            store: Arc::clone(store),
            clock: Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH)),
            lifecycle: Lifecycle::new(),
        }))
    }

    #[tokio::test]
    async fn only_a_loopback_listener_without_any_admin_key_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            store::open(&Location::Sqlite(folder.path().join("db")), &RandomSource::seeded(1)).await.unwrap();
        let admin: SecretString = "of-the-configuration".into();
        for stored in [false, true] {
            if stored {
                let key = ApiKey {
                    id: KeyId::new(Timestamp::UNIX_EPOCH, &RandomSource::seeded(1)),
                    name: "stored".parse().unwrap(),
                    grant: Grant::new(&[Scope::Admin], None).unwrap(),
                    expires_at: None,
                    created_at: Timestamp::UNIX_EPOCH,
                    last_used_at: None,
                };
                store.add_key(&key, &KeyDigest::of("rgk_stored")).await.unwrap();
            }
            for (configured, may_open) in
                [(None, true), (None, false), (Some(&admin), true), (Some(&admin), false)]
            {
                let keys = keys(&store, configured, may_open);
                let open = may_open && configured.is_none() && !stored;
                for sent in [None, Some("Basic x"), Some("Bearer of-upstream"), Some("Bearer ")] {
                    let headers = sent.map(|sent| (header::AUTHORIZATION, sent.parse().unwrap()));
                    let admitted = keys.admit(&HeaderMap::from_iter(headers)).await.is_ok();
                    assert_eq!(admitted, open, "{stored} {configured:?} {may_open} {sent:?}");
                }
                assert_eq!(keys.is_open().await.unwrap(), open);
            }
        }
        store.close().await;
    }

    #[rstest::rstest]
    #[case("Bearer abc", Some("abc"))]
    #[case("bearer  abc ", Some("abc"))]
    #[case("Basic abc", None)]
    #[case("abc", None)]
    #[case("", None)]
    fn keys_are_sent_as_bearers(#[case] value: &str, #[case] key: Option<&str>) {
        assert_eq!(bearer(value), key);
    }
}
