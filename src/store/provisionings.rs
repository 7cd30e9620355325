//! Invitation requests of the provisioning rule: their origin, lease and outcome.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

use super::backend::{Backend, Statement, bind, statement, within};
use super::events::{event, uaid};
use super::sql::{SqlStore, column, parsed, time, undecodable};
use super::statements::provisionings::{
    BEGIN_RULE, DROP_OFFERS, END_RULE, END_WISH, FORGET_WISHES, INVITATION, LEASE_WISH, MOVE_RULE, NEXT_WISH,
    OFFERS, RULE_PLACE,
};
use super::write_connection::Transaction;
use super::{Committed, StoreError};
use crate::domain::{
    AuthenticationName, Cursor, Event, InvitationRequest, LeaseToken, ProvisioningAttempt, ProvisioningEnd,
};

/// Name of the rule's cursor.
const RULE: &str = "provisioning";

/// Invitation requests. Each authentication has at most one, and one process at a time acts on it.
#[async_trait]
pub trait ProvisioningStore: Send + Sync {
    /// Returns the cursor up to which the rule has read events. At its first start that is the newest event: earlier
    /// ones do not concern the rule.
    async fn begin_provisioning(&self) -> Result<Cursor, StoreError>;

    /// Deletes the cursor of the rule, so that it begins anew at the newest event.
    async fn end_provisioning(&self) -> Result<(), StoreError>;

    /// Stores the invitation requests of the events up to a cursor. An existing one stays as it is.
    async fn invitation(
        &self,
        invitations: &[InvitationRequest],
        upto: Cursor,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Returns events that came before their expectation, as they would be if it had come first; at most 100.
    async fn provisioning_offers(&self) -> Result<Vec<Event>, StoreError>;

    /// Stores the requests of such events, and removes the events from the offers.
    async fn wish_offered(
        &self,
        invitations: &[InvitationRequest],
        events: &[Cursor],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Returns the time of the next due request; without `all` only of dry runs.
    async fn next_invitation(&self, all: bool) -> Result<Option<Timestamp>, StoreError>;

    /// Leases the request that has been due the longest.
    async fn claim_wish(
        &self,
        all: bool,
        token: &LeaseToken,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<ProvisioningAttempt>, StoreError>;

    /// Ends a lease and stores the event about the request, in one transaction. Returns `None` when the lease was lost; then
    /// nothing was stored.
    async fn end_wish(
        &self,
        name: &AuthenticationName,
        token: &LeaseToken,
        end: &ProvisioningEnd,
        now: Timestamp,
    ) -> Result<Option<Committed>, StoreError>;

    /// Deletes requests that ended before a time. Returns their number.
    async fn forget_wishes(&self, before: Timestamp) -> Result<u64, StoreError>;
}

#[async_trait]
impl<B: Backend> ProvisioningStore for SqlStore<B> {
    async fn begin_provisioning(&self) -> Result<Cursor, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "begin to provision", async {
            let mut tx = self.db.rest.begin().await?;
            B::run(tx.connection(), statement!(B, BEGIN_RULE, RULE.to_owned())).await?;
            let rows = B::rows(tx.connection(), statement!(B, RULE_PLACE, RULE.to_owned())).await?;
            tx.commit().await?;
            let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            column::<B, _>(row, "place").map(Cursor)
        })
        .await
    }

    async fn end_provisioning(&self) -> Result<(), StoreError> {
        self.run_alone("end to provision", statement!(B, END_RULE, RULE.to_owned())).await?;
        self.run_alone("drop early events", statement!(B, DROP_OFFERS)).await
    }

    async fn invitation(
        &self,
        invitations: &[InvitationRequest],
        upto: Cursor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        within(B::BACKGROUND_TIMEOUT, "store invitation requests", async {
            let mut tx = self.db.rest.begin().await?;
            insert_wishes(&mut tx, invitations, now).await?;
            B::run(tx.connection(), statement!(B, MOVE_RULE, RULE.to_owned(), upto.0)).await?;
            tx.commit().await
        })
        .await
    }

    async fn provisioning_offers(&self) -> Result<Vec<Event>, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "read early events", async {
            let rows = self.read(|| statement!(B, OFFERS)).await?;
            rows.iter().map(event::<B>).collect()
        })
        .await
    }

    async fn wish_offered(
        &self,
        invitations: &[InvitationRequest],
        events: &[Cursor],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let seqs: Vec<_> = events.iter().map(|cursor| cursor.0).collect();
        within(B::BACKGROUND_TIMEOUT, "store invitation requests of early events", async {
            let mut tx = self.db.rest.begin().await?;
            insert_wishes(&mut tx, invitations, now).await?;
            let take = statement!(B, B::DIALECT.provisionings.take_offers, json!(seqs).to_string());
            B::run(tx.connection(), take).await?;
            tx.commit().await
        })
        .await
    }

    async fn next_invitation(&self, all: bool) -> Result<Option<Timestamp>, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "read invitation requests", async {
            let rows = self.read_for_dispatch(|| statement!(B, NEXT_WISH, all)).await?;
            let next = rows.first().map_or(Ok(None), |row| column::<B, Option<i64>>(row, "next"))?;
            next.map(|millis| time("next", millis)).transpose()
        })
        .await
    }

    async fn claim_wish(
        &self,
        all: bool,
        token: &LeaseToken,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<ProvisioningAttempt>, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "lease an invitation request", async {
            let mut tx = self.db.rest.begin().await?;
            let claimable = statement!(B, B::DIALECT.provisionings.claimable, now.as_millisecond(), all);
            let rows = B::rows(tx.connection(), claimable).await?;
            let attempt = rows.first().map(attempt::<B>).transpose()?;
            if let Some(attempt) = &attempt {
                let lease = of::<B>(LEASE_WISH, &attempt.invitation.name);
                let lease = bind!(B, lease, until.as_millisecond(), token.to_string(), attempt.in_doubt);
                B::run(tx.connection(), lease).await?;
            }
            tx.commit().await?;
            Ok(attempt)
        })
        .await
    }

    async fn end_wish(
        &self,
        name: &AuthenticationName,
        token: &LeaseToken,
        end: &ProvisioningEnd,
        now: Timestamp,
    ) -> Result<Option<Committed>, StoreError> {
        let end_wish = bind!(B, of::<B>(END_WISH, name), token.to_string());
        let (end_wish, events) = match end {
            ProvisioningEnd::Settled { outcome, event } => {
                let at = Some(now.as_millisecond());
                let outcome = Some((*outcome).to_owned());
                (bind!(B, end_wish, None::<i64>, false, at, outcome), event.as_slice())
            }
            ProvisioningEnd::Again { at, in_doubt } => {
                let at = Some(at.as_millisecond());
                (bind!(B, end_wish, at, *in_doubt, None::<i64>, None::<String>), &[][..])
            }
        };
        within(B::BACKGROUND_TIMEOUT, "end an invitation request", async {
            let mut tx = self.db.rest.begin().await?;
            if B::run(tx.connection(), end_wish).await? == 0 {
                tx.commit().await?;
                return Ok(None);
            }
            let committed = self.append_own(&mut tx, events, now).await?;
            tx.commit().await?;
            Ok(Some(committed))
        })
        .await
    }

    async fn forget_wishes(&self, before: Timestamp) -> Result<u64, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "prune invitation requests", async {
            let mut writer = self.db.rest.autocommit().await?;
            let forget = statement!(B, FORGET_WISHES, before.as_millisecond());
            let forgotten = B::run(writer.connection(), forget).await?;
            writer.finish();
            Ok(forgotten)
        })
        .await
    }
}

/// Returns a statement whose first two parameters are the authentication.
fn of<B: Backend>(text: &'static str, name: &AuthenticationName) -> Statement<B> {
    statement!(B, text, name.uaid.as_bytes().to_vec(), name.service.to_string())
}

fn attempt<B: Backend>(row: &B::Row) -> Result<ProvisioningAttempt, sqlx::Error> {
    let number =
        |name: &'static str| u32::try_from(column::<B, i64>(row, name)?).map_err(|e| undecodable(name, e));
    Ok(ProvisioningAttempt {
        invitation: InvitationRequest {
            name: AuthenticationName {
                service: parsed("service", column::<B, String>(row, "service")?)?,
                uaid: uaid(column::<B, _>(row, "uaid")?)?,
            },
            event: parsed("event_id", column::<B, String>(row, "event_id")?)?,
            email: column::<B, _>(row, "email")?,
            computers: number("computers")?,
            dry_run: column::<B, _>(row, "dry_run")?,
        },
        number: number("attempt_count")?.saturating_add(1),
        in_doubt: column::<B, _>(row, "in_doubt")?,
    })
}

async fn insert_wishes<B: Backend>(
    tx: &mut Transaction<'_, B>,
    invitations: &[InvitationRequest],
    now: Timestamp,
) -> sqlx::Result<()> {
    for invitation in invitations {
        let InvitationRequest { event, email, computers, dry_run, .. } = invitation.clone();
        let event = event.to_string();
        let computers = i64::from(computers);
        let insert = of::<B>(INVITATION, &invitation.name);
        let insert = bind!(B, insert, event, email, computers, dry_run, now.as_millisecond());
        B::run(tx.connection(), insert).await?;
    }
    Ok(())
}
