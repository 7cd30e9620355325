//! Authentications: expectations, their completion, and claims.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::backend::{Backend, Statement, statement, with_deadline, within};
use super::events::{document, uaid};
use super::sql::{SqlStore, column, parsed, time};
use super::statements::authentications::{
    AUTHENTICATION, CLAIM_AUTHENTICATION, EXPECT, EXPECT_AGAIN, EXPECT_CLAIMED, KEEP_SECRET, NEXT_EXPIRY,
    SECRET, TAKE_OFFER,
};
use super::write_connection::Transaction;
use super::{Committed, StoreError};
use crate::domain::{
    Authentication, AuthenticationName, AuthenticationStatus, Event, Expectation, NewEvent, RawJson, Trust,
};

/// Result of an expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The authentication now.
    pub authentication: Authentication,
    /// True if it was not expected before.
    pub new: bool,
    /// Changes to announce: the expiry, and deliveries of events that came before their expectation.
    pub committed: Committed,
}

/// Conditions of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimTerms {
    /// Maximum time since the completion.
    pub within: Duration,
    /// Minimum trust of the event that completed it.
    pub min_trust: Trust,
    /// True if the authentication must have been expected.
    pub expected: bool,
}

/// Expectation that was stored after its event.
#[derive(Debug, Clone)]
pub(super) struct EarlyExpectation {
    subject: Option<String>,
    state: Option<RawJson>,
}

impl EarlyExpectation {
    /// Returns the event as it would be if the expectation had come first.
    pub(super) fn applied_to(&self, event: Event) -> Event {
        let Self { subject, state } = self.clone();
        Event { expected: Some(true), subject, state, ..event }
    }
}

/// Result of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Claimed by this caller. No other claim succeeds.
    Won(Box<Authentication>),
    /// Claimed before.
    Taken,
    /// Completed too long ago.
    TooLate,
    /// Not completed.
    Pending,
    /// Expired.
    Expired,
    /// The event that completed it has less trust than is asked for, or it was not expected.
    InsufficientTrust,
    /// Neither expected nor seen.
    Unknown,
}

/// Result of expiring a batch.
#[derive(Debug, Clone)]
pub struct ExpiredBatch {
    /// True if nothing could be expired, because other transactions hold the rows.
    pub is_stuck: bool,
    /// Changes to announce.
    pub committed: Committed,
}

/// Authentications, and the secrets that sign assertions and tickets.
#[async_trait]
pub trait AuthenticationStore: Send + Sync {
    /// Stores an expectation. It replaces that of a pending authentication; a completed, expired or claimed one stays as
    /// it is.
    async fn expect(
        &self,
        name: &AuthenticationName,
        expectation: &Expectation,
        now: Timestamp,
    ) -> Result<Expected, StoreError>;

    /// Returns an authentication that is expected or has a callback.
    async fn authentication(&self, name: &AuthenticationName) -> Result<Option<Authentication>, StoreError>;

    /// Claims a completed authentication. Exactly one claim ever succeeds, on whatever replica.
    async fn claim_authentication(
        &self,
        name: &AuthenticationName,
        terms: ClaimTerms,
        now: Timestamp,
    ) -> Result<Claimed, StoreError>;

    /// Returns the time at which the next expectation expires.
    async fn next_expiry(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Expires at most `limit` expectations whose time is over and stores an event about each, in one transaction. An
    /// authentication with a callback does not expire, and none expires twice.
    async fn expire_due(&self, limit: i64, now: Timestamp) -> Result<ExpiredBatch, StoreError>;

    /// Returns the secret with this name; stores `made` if there is none.
    async fn shared_secret(&self, name: &'static str, made: SecretString)
    -> Result<SecretString, StoreError>;
}

#[async_trait]
impl<B: Backend> AuthenticationStore for SqlStore<B> {
    async fn expect(
        &self,
        name: &AuthenticationName,
        expectation: &Expectation,
        now: Timestamp,
    ) -> Result<Expected, StoreError> {
        let until = now.checked_add(expectation.expires_in.get()).unwrap_or(Timestamp::MAX).as_millisecond();
        let Expectation { subject, state, .. } = expectation.clone();
        let subject = subject.map(|subject| subject.as_str().to_owned());
        let state = state.map(|state| RawJson::from(state).as_str().to_owned());
        let said = |text: &'static str| {
            let (uaid, service) = bound(name);
            statement!(B, text, uaid, service, subject.clone(), state.clone())
        };
        let since = |text: &'static str| B::bind(B::bind(said(text), now.as_millisecond()), until);
        let (new, authentication) = with_deadline("expect an authentication", async {
            let mut tx = self.db.rest.begin().await?;
            let new = B::run(tx.connection(), since(EXPECT)).await? > 0
                || B::run(tx.connection(), since(EXPECT_CLAIMED)).await? > 0;
            if !new {
                B::run(tx.connection(), B::bind(said(EXPECT_AGAIN), until)).await?;
            }
            let authentication = find(&mut tx, name).await?.ok_or(sqlx::Error::RowNotFound)?;
            tx.commit().await?;
            Ok((new, authentication))
        })
        .await?;
        let offered = with_deadline("offer early events", self.offer_early_events(name, now)).await?;
        let mut committed = Committed::pending(offered.unwrap_or_default());
        // The provisioning rule reads early events together with new ones.
        committed.events_changed = offered.is_some();
        committed.next_expiry = authentication.expires_at;
        Ok(Expected { authentication, new, committed })
    }

    async fn authentication(&self, name: &AuthenticationName) -> Result<Option<Authentication>, StoreError> {
        with_deadline("read an authentication", async {
            let rows = self.read(|| query::<B>(name)).await?;
            rows.first().map_or(Ok(None), |row| authentication::<B>(row, name))
        })
        .await
    }

    async fn claim_authentication(
        &self,
        name: &AuthenticationName,
        terms: ClaimTerms,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        with_deadline("claim an authentication", async {
            let mut tx = self.db.rest.begin().await?;
            let Some(found) = find(&mut tx, name).await? else {
                tx.commit().await?;
                return Ok(Claimed::Unknown);
            };
            let refused = match found.status {
                _ if found.claimed_at.is_some() => Some(Claimed::Taken),
                AuthenticationStatus::Pending => Some(Claimed::Pending),
                AuthenticationStatus::Expired => Some(Claimed::Expired),
                AuthenticationStatus::Completed if is_stale(&found, terms.within, now) => {
                    Some(Claimed::TooLate)
                }
                AuthenticationStatus::Completed if !is_trusted(&found, terms) => {
                    Some(Claimed::InsufficientTrust)
                }
                AuthenticationStatus::Completed => None,
            };
            if let Some(refused) = refused {
                tx.commit().await?;
                return Ok(refused);
            }
            let (uaid, service) = bound(name);
            let claim = statement!(B, CLAIM_AUTHENTICATION, uaid, service, now.as_millisecond());
            let won = B::run(tx.connection(), claim).await? > 0;
            tx.commit().await?;
            Ok(if won {
                Claimed::Won(Box::new(Authentication { claimed_at: Some(now), ..found }))
            } else {
                Claimed::Taken
            })
        })
        .await
    }

    async fn next_expiry(&self) -> Result<Option<Timestamp>, StoreError> {
        within(B::BACKGROUND_TIMEOUT, "read the next expiry", async {
            let rows = self.read_for_dispatch(|| statement!(B, NEXT_EXPIRY)).await?;
            let next = rows.first().map_or(Ok(None), |row| column::<B, Option<i64>>(row, "next"))?;
            next.map(|millis| time("next", millis)).transpose()
        })
        .await
    }

    async fn expire_due(&self, limit: i64, now: Timestamp) -> Result<ExpiredBatch, StoreError> {
        let texts = &B::DIALECT.authentications;
        let until = |text: &'static str| statement!(B, text, now.as_millisecond(), limit);
        within(B::BACKGROUND_TIMEOUT, "expire authentications", async {
            let mut tx = self.db.rest.begin().await?;
            B::rows(tx.connection(), statement!(B, texts.pass_gate)).await?;
            // First those that expire. Otherwise closing the others would let more than `limit` expire at once.
            let rows = B::rows(tx.connection(), until(texts.run_out)).await?;
            let closed = B::run(tx.connection(), until(texts.close_watched)).await?;
            let events = rows.iter().map(|row| Ok(NewEvent::expired(name_of::<B>(row)?, now, &self.rng)));
            let events = events.collect::<Result<Vec<_>, sqlx::Error>>()?;
            let committed = self.append_own(&mut tx, &events, now).await?;
            tx.commit().await?;
            Ok(ExpiredBatch { is_stuck: rows.is_empty() && closed == 0, committed })
        })
        .await
    }

    async fn shared_secret(
        &self,
        name: &'static str,
        made: SecretString,
    ) -> Result<SecretString, StoreError> {
        with_deadline("read a secret", async {
            let mut tx = self.db.rest.begin().await?;
            let made = made.expose_secret().to_owned();
            B::run(tx.connection(), statement!(B, KEEP_SECRET, name.to_owned(), made)).await?;
            let rows = B::rows(tx.connection(), statement!(B, SECRET, name.to_owned())).await?;
            tx.commit().await?;
            let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            column::<B, String>(row, "value").map(SecretString::from)
        })
        .await
    }
}

fn bound(name: &AuthenticationName) -> (Vec<u8>, String) {
    (name.uaid.as_bytes().to_vec(), name.service.to_string())
}

fn query<B: Backend>(name: &AuthenticationName) -> Statement<B> {
    let (uaid, service) = bound(name);
    statement!(B, AUTHENTICATION, uaid, service)
}

async fn find<B: Backend>(
    tx: &mut Transaction<'_, B>,
    name: &AuthenticationName,
) -> Result<Option<Authentication>, sqlx::Error> {
    let rows = B::rows(tx.connection(), query::<B>(name)).await?;
    rows.first().map_or(Ok(None), |row| authentication::<B>(row, name))
}

/// Returns whether an authentication meets the terms of a claim about trust.
fn is_trusted(found: &Authentication, terms: ClaimTerms) -> bool {
    found.trust.is_some_and(|trust| trust.reaches(terms.min_trust)) && (found.expected || !terms.expected)
}

impl<B: Backend> SqlStore<B> {
    /// Offers the events of an authentication that were stored without its expectation. Returns the number of deliveries
    /// that this created; `None` when there are no such events, or they were offered before.
    async fn offer_early_events(
        &self,
        name: &AuthenticationName,
        now: Timestamp,
    ) -> sqlx::Result<Option<u64>> {
        let (uaid, service) = bound(name);
        let mut writer = self.db.rest.autocommit().await?;
        let unexpected =
            statement!(B, B::DIALECT.authentications.unexpected_events, uaid.clone(), service.clone());
        let rows = B::rows(writer.connection(), unexpected).await?;
        writer.finish();
        if rows.is_empty() {
            return Ok(None);
        }
        let seqs = rows.iter().map(|row| column::<B, i64>(row, "seq")).collect::<Result<Vec<_>, _>>()?;
        let list = || json!(seqs).to_string();
        let mut tx = self.db.rest.begin().await?;
        let take = statement!(B, TAKE_OFFER, uaid, service, now.as_millisecond());
        if B::run(tx.connection(), take).await? == 0 {
            tx.commit().await?;
            return Ok(None);
        }
        let texts = &B::DIALECT.authentications;
        let deliveries =
            B::run(tx.connection(), statement!(B, texts.offer, list(), now.as_millisecond())).await?;
        B::run(tx.connection(), statement!(B, texts.keep_offers, list())).await?;
        tx.commit().await?;
        Ok(Some(deliveries))
    }
}

/// Reads the expectations of events that came before theirs, by the events' cursors.
pub(super) async fn early_expectations<B: Backend>(
    tx: &mut Transaction<'_, B>,
    seqs: &[i64],
) -> sqlx::Result<HashMap<i64, EarlyExpectation>> {
    if seqs.is_empty() {
        return Ok(HashMap::new());
    }
    let query = statement!(B, B::DIALECT.authentications.early_expectations, json!(seqs).to_string());
    let rows = B::rows(tx.connection(), query).await?;
    let found = rows.iter().map(|row| {
        let expectation = EarlyExpectation {
            subject: column::<B, _>(row, "subject")?,
            state: document::<B, _>(row, "state")?,
        };
        Ok((column::<B, i64>(row, "seq")?, expectation))
    });
    found.collect()
}

fn is_stale(found: &Authentication, fresh: Duration, now: Timestamp) -> bool {
    let until = found.completed_at.and_then(|completed| completed.checked_add(fresh).ok());
    until.is_some_and(|until| until < now)
}

fn name_of<B: Backend>(row: &B::Row) -> Result<AuthenticationName, sqlx::Error> {
    Ok(AuthenticationName {
        service: parsed("service", column::<B, String>(row, "service")?)?,
        uaid: uaid(column::<B, _>(row, "uaid")?)?,
    })
}

/// Reads the row of [`AUTHENTICATION`]; `None` if it is neither expected nor has a callback.
fn authentication<B: Backend>(
    row: &B::Row,
    name: &AuthenticationName,
) -> Result<Option<Authentication>, sqlx::Error> {
    let moment = |name: &'static str| {
        column::<B, Option<i64>>(row, name)?.map(|millis| time(name, millis)).transpose()
    };
    let text = |name: &'static str| column::<B, Option<String>>(row, name);
    let event = text("event")?.map(|id| parsed("event", id)).transpose()?;
    let expected_at = moment("expected_at")?;
    let late = event.is_some() && column::<B, bool>(row, "late")?;
    let status = match (&event, moment("expired_at")?) {
        (None, None) if expected_at.is_none() => return Ok(None),
        // Final: a later event is stored and completes nothing.
        (_, Some(_)) => AuthenticationStatus::Expired,
        (Some(_), None) => AuthenticationStatus::Completed,
        (None, None) => AuthenticationStatus::Pending,
    };
    let completed = status == AuthenticationStatus::Completed;
    let trust: Option<Trust> = text("trust")?.map(|trust| parsed("trust", trust)).transpose()?;
    Ok(Some(Authentication {
        uaid: name.uaid,
        service: name.service.clone(),
        status,
        event_type: text("type")?.filter(|_| completed).map(|name| parsed("type", name)).transpose()?,
        trust: trust.filter(|_| completed),
        expected: expected_at.is_some(),
        subject: text("subject")?,
        state: document::<B, _>(row, "state")?,
        expected_at,
        expires_at: moment("expires_at")?,
        completed_at: moment("received_at")?.filter(|_| completed),
        claimed_at: moment("claimed_at")?,
        late,
        event: event.filter(|_| completed),
    }))
}
