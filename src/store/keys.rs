//! API keys, recognised by their digest and looked up with every request.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use sqlx::Connection;

use super::backend::{Backend, statement, with_deadline};
use super::sql::{SqlStore, column, parsed, time, undecodable};
use super::statements::keys::{
    ADD_KEY, ADMIN_KEYS, HOLD_ADMIN_KEYS, KEY, KEYS, PRESENTED_KEY, REMOVE_KEY, USE_KEY,
};
use super::{KeyStore, LastAdminKey, PresentedKey, Removal, StoreError};
use crate::domain::{AdminKeys, ApiKey, Grant, KeyDigest, KeyId, Scope};

#[async_trait]
impl<B: Backend> KeyStore for SqlStore<B> {
    async fn add_key(&self, key: &ApiKey, digest: &KeyDigest) -> Result<(), StoreError> {
        with_deadline("store a key", async {
            let mut writer = self.db.rest.autocommit().await?;
            let insert = statement!(
                B,
                ADD_KEY,
                key.id.to_string(),
                String::from(key.name.clone()),
                digest.to_hex(),
                json!(key.grant.scopes()).to_string(),
                key.grant.scopes().contains(&Scope::Admin),
                key.grant.service().map(ToString::to_string),
                key.expires_at.map(Timestamp::as_millisecond),
                key.created_at.as_millisecond(),
            );
            B::run(writer.connection(), insert).await?;
            writer.finish();
            Ok(())
        })
        .await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        with_deadline("read keys", async {
            self.read(|| statement!(B, KEYS)).await?.iter().map(key::<B>).collect()
        })
        .await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        with_deadline("read a key", async {
            let rows = self.read(|| statement!(B, KEY, id.to_string())).await?;
            rows.first().map(key::<B>).transpose()
        })
        .await
    }

    async fn presented_key(&self, digest: Option<&KeyDigest>) -> Result<PresentedKey, StoreError> {
        // No digest is empty.
        let digest = digest.map(KeyDigest::to_hex).unwrap_or_default();
        with_deadline("look for a key", async {
            let rows = self.read(|| statement!(B, PRESENTED_KEY, digest.clone())).await?;
            let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            let found: Option<String> = column::<B, _>(row, "id")?;
            Ok(PresentedKey {
                locked: column::<B, _>(row, "locked")?,
                key: found.is_some().then(|| key::<B>(row)).transpose()?,
            })
        })
        .await
    }

    async fn admin_keys(&self, now: Timestamp) -> Result<AdminKeys, StoreError> {
        with_deadline("look for admin keys", async {
            let rows = self.read(|| statement!(B, ADMIN_KEYS)).await?;
            judged::<B>(&rows, None, now)
        })
        .await
    }

    async fn remove_key(
        &self,
        id: &KeyId,
        now: Timestamp,
        last: LastAdminKey,
    ) -> Result<Removal, StoreError> {
        with_deadline("remove a key", async {
            let mut tx = self.db.rest.begin().await?;
            B::run(tx.connection(), statement!(B, HOLD_ADMIN_KEYS)).await?;
            let admins = B::rows(tx.connection(), statement!(B, ADMIN_KEYS)).await?;
            let rest = judged::<B>(&admins, Some(id), now)?;
            let is_admin = ids::<B>(&admins)?.contains(id);
            let removal = if is_admin && !last.may_leave(rest) {
                Removal::LastAdminKey(rest)
            } else if B::run(tx.connection(), statement!(B, REMOVE_KEY, id.to_string())).await? == 0 {
                Removal::Unknown
            } else {
                Removal::Done { last_admin: is_admin && rest == AdminKeys::None }
            };
            tx.commit().await?;
            Ok(removal)
        })
        .await
    }

    async fn use_key(&self, id: &KeyId, now: Timestamp) -> Result<(), StoreError> {
        with_deadline("note that a key was used", async {
            let mut writer = self.db.rest.autocommit().await?;
            let update = statement!(B, USE_KEY, id.to_string(), now.as_millisecond());
            B::run(writer.connection(), update).await?;
            writer.finish();
            Ok(())
        })
        .await
    }
}

impl LastAdminKey {
    /// Returns whether a removal may leave these admin keys. An internal listener that no key opens any more is
    /// refused.
    fn may_leave(self, rest: AdminKeys) -> bool {
        match rest {
            AdminKeys::Valid => true,
            AdminKeys::Expired => self == Self::IsNotAll,
            AdminKeys::None => self != Self::LocksOut,
        }
    }
}

/// Reads the state of the admin keys on a connection to a store that may be older than this program. Changes nothing.
pub(super) async fn admin_keys_on<B: Backend>(
    mut conn: B::Connection,
    now: Timestamp,
) -> Result<AdminKeys, StoreError> {
    with_deadline("look for admin keys", async {
        let found = match B::rows(&mut conn, statement!(B, ADMIN_KEYS)).await {
            Ok(rows) => judged::<B>(&rows, None, now),
            Err(e) if lacks_table(&e) => Ok(AdminKeys::None),
            Err(e) => Err(e),
        };
        conn.close().await?;
        found
    })
    .await
}

fn lacks_table(e: &sqlx::Error) -> bool {
    let sqlx::Error::Database(e) = e else { return false };
    e.code().as_deref() == Some("42P01") || e.message().starts_with("no such table")
}

/// State of the admin keys by the rows of `ADMIN_KEYS`, without the key `without`.
fn judged<B: Backend>(
    rows: &[B::Row],
    without: Option<&KeyId>,
    now: Timestamp,
) -> Result<AdminKeys, sqlx::Error> {
    let mut expiries = Vec::new();
    for (row, id) in rows.iter().zip(ids::<B>(rows)?) {
        if Some(&id) != without {
            expiries.push(moment::<B>(row, "expires_at")?);
        }
    }
    Ok(AdminKeys::of(&expiries, now))
}

fn ids<B: Backend>(rows: &[B::Row]) -> Result<Vec<KeyId>, sqlx::Error> {
    rows.iter().map(|row| parsed("id", column::<B, _>(row, "id")?)).collect()
}

fn moment<B: Backend>(row: &B::Row, name: &'static str) -> Result<Option<Timestamp>, sqlx::Error> {
    column::<B, Option<i64>>(row, name)?.map(|millis| time(name, millis)).transpose()
}

/// Reads a row of `keys`.
fn key<B: Backend>(row: &B::Row) -> Result<ApiKey, sqlx::Error> {
    let text = |name: &'static str| column::<B, String>(row, name);
    let scopes: Vec<Scope> = serde_json::from_str(&text("scopes")?).map_err(|e| undecodable("scopes", e))?;
    let service = column::<B, Option<String>>(row, "service")?;
    let service = service.map(|name| parsed("service", name)).transpose()?;
    Ok(ApiKey {
        id: parsed("id", text("id")?)?,
        name: parsed("name", text("name")?)?,
        grant: Grant::new(&scopes, service).map_err(|e| undecodable("scopes", e))?,
        expires_at: moment::<B>(row, "expires_at")?,
        created_at: time("created_at", column::<B, _>(row, "created_at")?)?,
        last_used_at: moment::<B>(row, "last_used_at")?,
    })
}
