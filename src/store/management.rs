//! Endpoints that requests make, change and remove.

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::StoreError;
use super::backend::{Backend, bind, statement, with_deadline};
use super::endpoints::{endpoint, settings};
use super::sql::SqlStore;
use super::statements::endpoints::{CREATE, LOCK_ENDPOINT, REMOVE, UPDATE_ENDPOINT};
use super::write_connection::Transaction;
use crate::domain::{
    EditRefusal, Endpoint, EndpointEdit, EndpointId, EndpointName, EndpointSettings, Health,
};

/// Why an endpoint is as it was.
#[derive(Debug)]
pub enum EditError {
    /// There is none of that id.
    Missing,
    /// Another has that name.
    NameTaken(EndpointName),
    /// It does not allow this.
    Refused(EndpointName, EditRefusal),
}

/// Endpoints that requests make, change and remove. Two requests at once are done one after the other.
#[async_trait]
pub trait EndpointManagement: Send + Sync {
    /// Makes an endpoint.
    async fn create_endpoint(
        &self,
        id: &EndpointId,
        settings: &EndpointSettings,
        now: Timestamp,
    ) -> Result<Result<Endpoint, EditError>, StoreError>;

    /// Does something to an endpoint; gives it as it is then. Removing also cancels what is open for it: all of it in one
    /// transaction, unless there is so much that others would have to wait; then the endpoint is disabled while it lasts.
    async fn edit_endpoint(
        &self,
        id: &EndpointId,
        edit: &EndpointEdit,
        now: Timestamp,
    ) -> Result<Result<Endpoint, EditError>, StoreError>;
}

/// Why an endpoint is disabled that has much to cancel before it goes.
const GOING: &str = "it is being removed";

#[async_trait]
impl<B: Backend> EndpointManagement for SqlStore<B> {
    async fn create_endpoint(
        &self,
        id: &EndpointId,
        it: &EndpointSettings,
        now: Timestamp,
    ) -> Result<Result<Endpoint, EditError>, StoreError> {
        with_deadline("make an endpoint", async {
            let mut tx = self.db.rest.begin(B::BEGIN).await?;
            let insert = settings(statement!(B, CREATE, id.to_string()), it);
            let insert = bind!(B, insert, now.as_millisecond());
            if B::run(tx.connection(), insert).await? == 0 {
                tx.commit().await?;
                return Ok(Err(EditError::NameTaken(it.name.clone())));
            }
            let made = hold(&mut tx, id).await?.ok_or(sqlx::Error::RowNotFound)?;
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
    ) -> Result<Result<Endpoint, EditError>, StoreError> {
        if matches!(edit, EndpointEdit::Remove) {
            return self.remove(id, now).await;
        }
        with_deadline("change an endpoint", async {
            let mut tx = self.db.rest.begin(B::BEGIN).await?;
            let it = match permitted(&mut tx, id, edit).await? {
                Ok(it) => it,
                Err(unedited) => {
                    tx.commit().await?;
                    return Ok(Err(unedited));
                }
            };
            match rewrite(&mut tx, &it).await {
                Ok(()) => tx.commit().await.map(|()| Ok(it)),
                Err(e) if is_taken(&e) => Ok(Err(EditError::NameTaken(it.settings.name))),
                Err(e) => Err(e),
            }
        })
        .await
    }
}

impl<B: Backend> SqlStore<B> {
    async fn remove(
        &self,
        id: &EndpointId,
        now: Timestamp,
    ) -> Result<Result<Endpoint, EditError>, StoreError> {
        let removed = loop {
            match with_deadline("remove an endpoint", self.remove_some(id, now)).await? {
                Ok((it, true)) => break it,
                Ok((_, false)) => {}
                Err(unedited) => return Ok(Err(unedited)),
            }
        };
        // An append that saw the endpoint and committed after it was gone has left something behind. Should this fail,
        // the next start does the same.
        let swept = with_deadline("cancel what came late", async {
            let mut tx = self.db.rest.begin(B::BEGIN).await?;
            B::run(tx.connection(), statement!(B, B::DIALECT.endpoints.wait_for_appends)).await?;
            cancel(&mut tx, id, now).await?;
            tx.commit().await
        });
        if let Err(e) = swept.await {
            tracing::warn!(error = %e, "could not look for deliveries to an endpoint that was just removed");
        }
        Ok(Ok(removed))
    }

    /// Cancels a good deal, and removes the endpoint when that was all.
    async fn remove_some(
        &self,
        id: &EndpointId,
        now: Timestamp,
    ) -> sqlx::Result<Result<(Endpoint, bool), EditError>> {
        let mut tx = self.db.rest.begin(B::BEGIN).await?;
        let mut it = match permitted(&mut tx, id, &EndpointEdit::Remove).await? {
            Ok(it) => it,
            Err(unedited) => {
                tx.commit().await?;
                return Ok(Err(unedited));
            }
        };
        cancel(&mut tx, id, now).await?;
        let removed = B::run(tx.connection(), statement!(B, REMOVE, id.to_string())).await? > 0;
        if !removed && it.enabled {
            (it.enabled, it.disabled_reason) = (false, Some(GOING.to_owned()));
            rewrite(&mut tx, &it).await?;
        }
        tx.commit().await?;
        Ok(Ok((it, removed)))
    }
}

async fn hold<B: Backend>(tx: &mut Transaction<'_, B>, id: &EndpointId) -> sqlx::Result<Option<Endpoint>> {
    let rows = B::rows(tx.connection(), statement!(B, LOCK_ENDPOINT, id.to_string())).await?;
    rows.first().map(endpoint::<B>).transpose()
}

/// The endpoint, held and edited, if it is there and allows it.
async fn permitted<B: Backend>(
    tx: &mut Transaction<'_, B>,
    id: &EndpointId,
    edit: &EndpointEdit,
) -> sqlx::Result<Result<Endpoint, EditError>> {
    let Some(mut it) = hold(tx, id).await? else { return Ok(Err(EditError::Missing)) };
    Ok(match it.edit(edit) {
        Ok(()) => Ok(it),
        Err(refusal) => Err(EditError::Refused(it.settings.name, refusal)),
    })
}

async fn rewrite<B: Backend>(tx: &mut Transaction<'_, B>, it: &Endpoint) -> sqlx::Result<()> {
    let Health { failures, failing_since, probe_at } = it.health;
    let update = settings(statement!(B, UPDATE_ENDPOINT, it.id.to_string()), &it.settings);
    let previous = it.previous_secret.as_ref();
    let update = bind!(
        B,
        update,
        previous.map(|it| it.secret.reveal().expose_secret().to_owned()),
        previous.map(|it| it.until.as_millisecond()),
        i64::try_from(failures).unwrap_or(i64::MAX),
        failing_since.map(Timestamp::as_millisecond),
        probe_at.map(Timestamp::as_millisecond),
        it.enabled,
        it.disabled_reason.clone(),
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

/// Whether a name was taken, which is the only thing that has to be unique here.
fn is_taken(e: &sqlx::Error) -> bool {
    matches!(e, sqlx::Error::Database(e) if e.is_unique_violation())
}
