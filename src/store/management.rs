//! Endpoints that requests create, change and remove.

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::backend::{Backend, bind, statement, with_deadline, within};
use super::endpoints::{endpoint, settings};
use super::sql::SqlStore;
use super::statements::endpoints::{CREATE, LOCK_ENDPOINT, REMOVE, UPDATE_ENDPOINT};
use super::write_connection::Transaction;
use super::{Committed, StoreError};
use crate::domain::{
    EditRefusal, Endpoint, EndpointEdit, EndpointId, EndpointName, EndpointSettings, Health,
};

/// Reason why an endpoint was not changed.
#[derive(Debug)]
pub enum EditError {
    /// No endpoint has the id.
    Missing,
    /// Another has that name.
    NameTaken(EndpointName),
    /// The endpoint does not allow the change.
    Refused(EndpointName, EditRefusal),
}

/// An endpoint after a change.
#[derive(Debug)]
pub struct Edited {
    /// Endpoint.
    pub endpoint: Endpoint,
    /// Changes to announce.
    pub committed: Committed,
}

/// Endpoints that requests create, change and remove. Concurrent requests are done one after the other.
#[async_trait]
pub trait EndpointManagement: Send + Sync {
    /// Creates an endpoint.
    async fn create_endpoint(
        &self,
        id: &EndpointId,
        settings: &EndpointSettings,
        now: Timestamp,
    ) -> Result<Result<Endpoint, EditError>, StoreError>;

    /// Changes, enables, disables or removes an endpoint and returns it. A removal also cancels its open deliveries, in one
    /// transaction unless there are so many that other writers would have to wait; the endpoint is disabled meanwhile.
    async fn edit_endpoint(
        &self,
        id: &EndpointId,
        edit: &EndpointEdit,
        now: Timestamp,
    ) -> Result<Result<Edited, EditError>, StoreError>;
}

/// Reason of an endpoint that is disabled while its many deliveries are cancelled before its removal.
const GOING: &str = "it is being removed";

#[async_trait]
impl<B: Backend> EndpointManagement for SqlStore<B> {
    async fn create_endpoint(
        &self,
        id: &EndpointId,
        new: &EndpointSettings,
        now: Timestamp,
    ) -> Result<Result<Endpoint, EditError>, StoreError> {
        with_deadline("make an endpoint", async {
            let mut tx = self.db.rest.begin().await?;
            let insert = settings(statement!(B, CREATE, id.to_string()), new);
            let insert = bind!(B, insert, now.as_millisecond());
            if B::run(tx.connection(), insert).await? == 0 {
                tx.commit().await?;
                return Ok(Err(EditError::NameTaken(new.name.clone())));
            }
            let made = lock_endpoint(&mut tx, id).await?.ok_or(sqlx::Error::RowNotFound)?;
            tx.commit().await?;
            Ok(Ok(made))
        })
        .await
    }

    async fn edit_endpoint(
        &self,
        id: &EndpointId,
        edit: &EndpointEdit,
        now: Timestamp,
    ) -> Result<Result<Edited, EditError>, StoreError> {
        if matches!(edit, EndpointEdit::Remove) {
            return self.remove(id, now).await;
        }
        with_deadline("change an endpoint", async {
            let mut tx = self.db.rest.begin().await?;
            let endpoint = match permitted(&mut tx, id, edit).await? {
                Ok(endpoint) => endpoint,
                Err(unedited) => {
                    tx.commit().await?;
                    return Ok(Err(unedited));
                }
            };
            match update_endpoint(&mut tx, &endpoint).await {
                Ok(()) => {
                    tx.commit().await?;
                    let committed =
                        Committed { endpoints_changed: true, deliveries_due: true, ..Committed::default() };
                    Ok(Ok(Edited { endpoint, committed }))
                }
                Err(e) if is_taken(&e) => Ok(Err(EditError::NameTaken(endpoint.settings.name))),
                Err(e) => Err(e),
            }
        })
        .await
    }
}

impl<B: Backend> SqlStore<B> {
    async fn remove(&self, id: &EndpointId, now: Timestamp) -> Result<Result<Edited, EditError>, StoreError> {
        let mut committed = Committed { endpoints_changed: true, ..Committed::default() };
        let endpoint = loop {
            match within(B::BACKGROUND_TIMEOUT, "remove an endpoint", self.remove_some(id, now)).await? {
                Ok(RemovalStep { endpoint, cancelled, removed }) => {
                    committed.deliveries.cancelled += cancelled;
                    if removed {
                        break endpoint;
                    }
                }
                Err(unedited) => return Ok(Err(unedited)),
            }
        };
        // An append that read the endpoint and committed after its removal has left deliveries. If this fails, the next start
        // cancels them.
        let swept = within(B::BACKGROUND_TIMEOUT, "cancel what came late", async {
            let mut tx = self.db.rest.begin().await?;
            B::run(tx.connection(), statement!(B, B::DIALECT.endpoints.wait_for_appends)).await?;
            let cancelled = cancel(&mut tx, id, now).await?;
            tx.commit().await?;
            Ok(cancelled)
        });
        match swept.await {
            Ok(cancelled) => committed.deliveries.cancelled += cancelled,
            Err(e) => {
                tracing::warn!(error = %e, "failed to cancel late deliveries of an endpoint that was just removed");
            }
        }
        Ok(Ok(Edited { endpoint, committed }))
    }

    /// Cancels a part of the open deliveries, and removes the endpoint when none is left.
    async fn remove_some(
        &self,
        id: &EndpointId,
        now: Timestamp,
    ) -> sqlx::Result<Result<RemovalStep, EditError>> {
        let mut tx = self.db.rest.begin().await?;
        let mut endpoint = match permitted(&mut tx, id, &EndpointEdit::Remove).await? {
            Ok(endpoint) => endpoint,
            Err(unedited) => {
                tx.commit().await?;
                return Ok(Err(unedited));
            }
        };
        let cancelled = cancel(&mut tx, id, now).await?;
        let removed = B::run(tx.connection(), statement!(B, REMOVE, id.to_string())).await? > 0;
        if !removed && endpoint.enabled {
            endpoint.enabled = false;
            endpoint.disabled_reason = Some(GOING.to_owned());
            update_endpoint(&mut tx, &endpoint).await?;
        }
        tx.commit().await?;
        Ok(Ok(RemovalStep { endpoint, cancelled, removed }))
    }
}

/// One transaction of a removal.
struct RemovalStep {
    endpoint: Endpoint,
    cancelled: u64,
    removed: bool,
}

/// Reads an endpoint and locks its row until the transaction ends.
pub(super) async fn lock_endpoint<B: Backend>(
    tx: &mut Transaction<'_, B>,
    id: &EndpointId,
) -> sqlx::Result<Option<Endpoint>> {
    let rows = B::rows(tx.connection(), statement!(B, LOCK_ENDPOINT, id.to_string())).await?;
    rows.first().map(endpoint::<B>).transpose()
}

/// Returns the endpoint, locked and changed, if it exists and allows the change.
async fn permitted<B: Backend>(
    tx: &mut Transaction<'_, B>,
    id: &EndpointId,
    edit: &EndpointEdit,
) -> sqlx::Result<Result<Endpoint, EditError>> {
    let Some(mut endpoint) = lock_endpoint(tx, id).await? else { return Ok(Err(EditError::Missing)) };
    Ok(match endpoint.edit(edit) {
        Ok(()) => Ok(endpoint),
        Err(refusal) => Err(EditError::Refused(endpoint.settings.name, refusal)),
    })
}

/// Writes the whole row of a locked endpoint, but for its origin.
pub(super) async fn update_endpoint<B: Backend>(
    tx: &mut Transaction<'_, B>,
    endpoint: &Endpoint,
) -> sqlx::Result<()> {
    let Health { failures, failing_since, last_failure_at, probe_at } = endpoint.health;
    let update = settings(statement!(B, UPDATE_ENDPOINT, endpoint.id.to_string()), &endpoint.settings);
    let previous = endpoint.previous_secret.as_ref();
    let update = bind!(
        B,
        update,
        previous.map(|previous| previous.secret.reveal().expose_secret().to_owned()),
        previous.map(|previous| previous.until.as_millisecond()),
        i64::try_from(failures).unwrap_or(i64::MAX),
        failing_since.map(Timestamp::as_millisecond),
        last_failure_at.map(Timestamp::as_millisecond),
        probe_at.map(Timestamp::as_millisecond),
        endpoint.enabled,
        endpoint.disabled_reason.clone(),
    );
    B::run(tx.connection(), update).await.map(drop)
}

async fn cancel<B: Backend>(
    tx: &mut Transaction<'_, B>,
    id: &EndpointId,
    now: Timestamp,
) -> sqlx::Result<u64> {
    let cancel = statement!(B, B::DIALECT.endpoints.cancel_open, id.to_string(), now.as_millisecond());
    B::run(tx.connection(), cancel).await
}

/// Returns whether the name is taken. No other column has to be unique.
fn is_taken(e: &sqlx::Error) -> bool {
    matches!(e, sqlx::Error::Database(e) if e.is_unique_violation())
}
