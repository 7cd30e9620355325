//! Brings a schema up to date, and refuses one that is ahead of this program.

use std::collections::HashSet;

use sqlx::Connection;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::{StoreError, unopened};

/// The migrations of both engines, the same names in both.
pub(super) static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
pub(super) static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Returns whether every migration of a program has been applied.
pub(super) async fn is_current<C: Migrate + Connection>(
    mut conn: C,
    migrator: &Migrator,
) -> Result<bool, StoreError> {
    let table = &migrator.table_name;
    let applied = conn.list_applied_migrations(table).await.map_err(failed(migrator))?;
    let applied: HashSet<_> = applied.into_iter().map(|migration| migration.version).collect();
    let current = migrator.iter().all(|migration| applied.contains(&migration.version));
    let _ = conn.close().await;
    Ok(current)
}

/// Turns the failure of a migration into an error for operators.
pub(super) fn failed(migrator: &Migrator) -> impl Fn(MigrateError) -> StoreError {
    let known = migrator.iter().map(|m| m.version).max().unwrap_or_default();
    move |e| match e {
        MigrateError::VersionMissing(found) if found > known => StoreError::NewerSchema { found, known },
        MigrateError::VersionMismatch(version) => StoreError::Migration(format!(
            "migration {version} was applied with another text; this store was not made by a released remgate"
        )),
        other => StoreError::Migration(unopened::migration(&other)),
    }
}
