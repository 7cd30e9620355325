//! Access rule before the listeners open, and API keys afterwards.

use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;

use super::components::Components;
use super::environment::{Environment, location};
use crate::config::Config;
use crate::domain::AdminKeys;
use crate::http::{Keys, KeysParts, KeysState};
use crate::store::{self, LastAdminKey, Store};

impl Components<'_> {
    pub(super) fn keys(&self) -> Keys {
        Keys::new(KeysParts {
            admin: self.config.internal.admin_key.as_ref(),
            may_open: self.config.internal.is_loopback(),
            store: Arc::clone(&self.context.store),
            clock: Arc::clone(&self.context.clock),
            lifecycle: self.context.lifecycle.clone(),
        })
    }

    pub(super) fn api_keys(&self) -> KeysState {
        KeysState {
            context: self.context.clone(),
            services: self.services(),
            last: match self.config.internal.admin_key {
                Some(_) => LastAdminKey::IsNotAll,
                None if self.config.internal.is_loopback() => LastAdminKey::Opens,
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

/// Checks the access rule: whether the listeners may be opened. The store is read, without a change, only when the decision depends on
/// an admin key in it.
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
