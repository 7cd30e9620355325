//! The whole store: opening it, and reading one without changing it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::audit::AuditLog;
use super::authentications::AuthenticationStore;
use super::consumers::ConsumerStore;
use super::error::StoreError;
use super::idempotency::IdempotencyStore;
use super::management::EndpointManagement;
use super::provisionings::ProvisioningStore;
use super::redelivery::Redelivery;
use super::rejected::RejectedStore;
use super::sql::SqlStore;
use super::traits::{DeliveryStore, EndpointStore, EventStore, KeyStore, Upkeep};
use super::{keys, migrations, postgres, sqlite};
use crate::domain::{AdminKeys, PostgresUrl, RandomSource};

/// The whole store.
pub trait Store:
    EventStore
    + ConsumerStore
    + EndpointStore
    + EndpointManagement
    + DeliveryStore
    + Redelivery
    + AuthenticationStore
    + ProvisioningStore
    + IdempotencyStore
    + KeyStore
    + AuditLog
    + RejectedStore
    + Upkeep
{
}

impl<T> Store for T where
    T: EventStore
        + ConsumerStore
        + EndpointStore
        + EndpointManagement
        + DeliveryStore
        + Redelivery
        + AuthenticationStore
        + ProvisioningStore
        + IdempotencyStore
        + KeyStore
        + AuditLog
        + RejectedStore
        + Upkeep
{
}

/// Location of a store.
#[derive(Debug, Clone)]
pub enum Location {
    /// File, created if it is missing.
    Sqlite(PathBuf),
    /// One server or several.
    Postgres(PostgresUrl),
}

/// Opens a store and brings its schema up to date. `rng` makes the ids of events that the store adds by itself, and a name of
/// this process, by which it recognises its own announcements.
///
/// # Errors
///
/// The database cannot be reached or written, or its schema is newer than this program.
pub async fn open(location: &Location, rng: &RandomSource) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match location {
        Location::Sqlite(path) => Arc::new(SqlStore::<sqlx::Sqlite>::open(path, rng).await?),
        Location::Postgres(url) => Arc::new(SqlStore::<sqlx::Postgres>::open(url, rng).await?),
    })
}

/// Returns whether the schema of a store is that of this program. Changes nothing.
pub async fn is_current(location: &Location) -> Result<bool, StoreError> {
    match location {
        Location::Sqlite(path) => match sqlite::connect_read_only(path).await? {
            Some(conn) => migrations::is_current(conn, &migrations::SQLITE).await,
            None => Ok(false),
        },
        Location::Postgres(url) => {
            migrations::is_current(postgres::connect_read_only(url).await?, &migrations::POSTGRES).await
        }
    }
}

/// Returns the state of the admin keys in a store. Creates no file and migrates nothing; a store that does not exist holds
/// none.
pub async fn admin_keys(location: &Location, now: Timestamp) -> Result<AdminKeys, StoreError> {
    match location {
        Location::Sqlite(path) => match sqlite::connect_read_only(path).await? {
            Some(conn) => keys::admin_keys_on::<sqlx::Sqlite>(conn, now).await,
            None => Ok(AdminKeys::None),
        },
        Location::Postgres(url) => {
            keys::admin_keys_on::<sqlx::Postgres>(postgres::connect_read_only(url).await?, now).await
        }
    }
}
