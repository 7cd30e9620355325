//! Access rule before the listeners open, and API keys afterwards.

use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;

use super::context::Context;
use super::{Environment, location};
use crate::config::Config;
use crate::domain::AdminKeys;
use crate::http::{Keys, KeysParts, KeysState};
use crate::store::{self, LastAdminKey, Store};

impl Context {
    pub(super) fn keys(&self, config: &Config) -> Keys {
        Keys::new(KeysParts {
            admin: config.internal.admin_key.as_ref(),
            may_open: config.internal.is_loopback(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.environment.clock),
            lifecycle: self.lifecycle.clone(),
        })
    }

    pub(super) fn api_keys(&self, config: &Config) -> KeysState {
        KeysState {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.environment.clock),
            rng: self.environment.rng.clone(),
            services: config.services.iter().map(|service| service.name.clone()).collect(),
            last: match config.internal.admin_key {
                Some(_) => LastAdminKey::IsNotAll,
                None if config.internal.is_loopback() => LastAdminKey::Opens,
                None => LastAdminKey::LocksOut,
            },
        }
    }
}

/// Returns the state of the stored admin keys, with a warning when all have expired and no key is configured.
pub(super) async fn stored_admin_keys(
    store: &dyn Store,
    config: &Config,
    now: Timestamp,
) -> anyhow::Result<AdminKeys> {
    let stored = store.admin_keys(now).await?;
    if stored == AdminKeys::Expired && config.internal.admin_key.is_none() {
        tracing::warn!(
            "every stored admin key has expired, and the internal listener still requires a key; set internal.admin_key to make another"
        );
    }
    Ok(stored)
}

/// Checks the access rule: whether the listeners may be opened. The store is looked at, and left as it is, only when everything hangs
/// on an admin key in it.
pub async fn check_access(config: &Config) -> anyhow::Result<()> {
    let Err(unlocked) = config.check_access(false) else { return Ok(()) };
    if config.check_access(true).is_err() {
        return Err(unlocked.into());
    }
    let stored = store::admin_keys(&location(&config.database), Environment::real().clock.now()).await;
    match stored
        .context("failed to look for an admin key in the store, where internal.admin_key is not set")?
    {
        AdminKeys::Valid => Ok(()),
        AdminKeys::None | AdminKeys::Expired => Err(unlocked.into()),
    }
}

/// Returns whether the store holds an admin key that is valid now. A store that cannot be read holds none.
pub async fn has_stored_admin_key(config: &Config) -> bool {
    let now = Environment::real().clock.now();
    matches!(store::admin_keys(&location(&config.database), now).await, Ok(AdminKeys::Valid))
}
