//! Authentications of apps: expectations, waiting, claims and assertions.
//!
//! A waiting request is woken by the name of its authentication: after the commit in this process, and by the
//! [`Follower`] after commits of other replicas. The [`Expiry`] ends authentications that were not completed in time.

mod expiry;
mod follower;
mod waiter_limit;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

pub use expiry::Expiry;
pub use follower::Follower;
pub use waiter_limit::{LimitExceeded, WaiterLimit, WaiterPermit};

use crate::context::Context;
use crate::domain::{
    AssertionKey, Authentication, AuthenticationName, BadTicket, Expectation, Invalid, Ticket, TicketKey,
    Trust,
};
use crate::notifier::AuthenticationSubscriber;
use crate::store::{ClaimTerms, Claimed, Expected, StoreError};

/// Settings of [`Authentications`].
pub struct AuthenticationSettings {
    /// Time after its completion within which an authentication can be claimed.
    pub claim_within: Duration,
    /// Minimum trust that every claim needs.
    pub min_trust: Trust,
    /// Issuer of assertions, their `iss`.
    pub issuer: String,
}

/// Operations of apps and browsers on authentications.
pub struct Authentications {
    context: Context,
    settings: AuthenticationSettings,
    assertions: AssertionKey,
    tickets: TicketKey,
    waiter_limit: WaiterLimit,
}

/// Reason why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The keys cannot be read from the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored key cannot be read.
    #[error("the store holds no good key: {0}")]
    Bad(#[from] Invalid),
}

/// Reason why an authentication gets no ticket.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// The authentication is not expected.
    #[error("the authentication is not expected")]
    Unexpected,
    /// The expectation has expired.
    #[error("the expectation has expired")]
    Over,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authentications {
    /// Reads the keys that all replicas share from the store, or stores new ones.
    pub async fn open(context: Context, settings: AuthenticationSettings) -> Result<Self, KeysError> {
        use secrecy::ExposeSecret;
        let Context { store, rng, .. } = &context;
        let assertion = store.shared_secret("assertion", AssertionKey::generate(rng)).await?;
        let ticket = store.shared_secret("ticket", TicketKey::generate(rng)).await?;
        let assertions = assertion.expose_secret().parse()?;
        let tickets = TicketKey::new(ticket);
        Ok(Self { context, settings, assertions, tickets, waiter_limit: WaiterLimit::default() })
    }

    /// Stores an expectation.
    pub async fn expect(
        &self,
        name: &AuthenticationName,
        expectation: &Expectation,
    ) -> Result<Expected, StoreError> {
        let expected = self.context.store.expect(name, expectation, self.context.clock.now()).await?;
        self.context.announce(&expected.committed);
        Ok(expected)
    }

    /// Returns an authentication as soon as its status is final, at the latest after `wait` or when remgate stops.
    pub async fn look(
        &self,
        name: &AuthenticationName,
        wait: Duration,
    ) -> Result<Option<Authentication>, StoreError> {
        if wait.is_zero() {
            return self.context.store.authentication(name).await;
        }
        // The subscription comes before the read: a change in between wakes it.
        let mut watcher = self.context.notifier.watch_authentication(name);
        let mut found = self.context.store.authentication(name).await?;
        if found.as_ref().is_some_and(Authentication::is_over) {
            return Ok(found);
        }
        let _counted = self.context.metrics.waiter();
        let mut over = self.context.clock.sleep(wait);
        loop {
            tokio::select! {
                () = watcher.woken() => {}
                () = &mut over => return Ok(found),
                () = self.context.lifecycle.soft().cancelled() => return Ok(found),
            }
            found = self.context.store.authentication(name).await?;
            if found.as_ref().is_some_and(Authentication::is_over) {
                return Ok(found);
            }
        }
    }

    /// Claims a completed authentication. Exactly one claim succeeds.
    ///
    /// A claim may require more trust than the configuration, never less.
    pub async fn claim(
        &self,
        name: &AuthenticationName,
        min_trust: Option<Trust>,
        expected: bool,
    ) -> Result<Claimed, StoreError> {
        let terms = ClaimTerms {
            within: self.settings.claim_within,
            min_trust: self.settings.min_trust.stricter(min_trust.unwrap_or(Trust::None)),
            expected,
        };
        self.context.store.claim_authentication(name, terms, self.context.clock.now()).await
    }

    /// Returns an assertion about a claimed authentication: a JSON Web Token.
    #[must_use]
    pub fn issue_assertion(&self, authentication: &Authentication) -> String {
        self.assertions.issue_assertion(
            authentication,
            &self.settings.issuer,
            self.context.clock.now(),
            &self.context.rng,
        )
    }

    /// Returns the key set for verifying assertions.
    #[must_use]
    pub fn key_set(&self) -> Value {
        self.assertions.key_set()
    }

    /// Returns a wait ticket for an expected authentication, with its expiry.
    pub async fn ticket(&self, name: &AuthenticationName) -> Result<(String, Timestamp), TicketError> {
        let found = self.context.store.authentication(name).await?;
        let until = found.and_then(|found| found.expires_at).ok_or(TicketError::Unexpected)?;
        let until = Ticket::end(until);
        if until <= self.context.clock.now() {
            return Err(TicketError::Over);
        }
        Ok((self.tickets.seal(&Ticket { name: name.clone(), until }), until))
    }

    /// Parses a ticket, whether or not it has expired.
    ///
    /// # Errors
    /// The ticket is malformed, or was not made by this service.
    pub fn admit(&self, ticket: &str) -> Result<Ticket, BadTicket> {
        self.tickets.open(ticket)
    }

    /// Returns whether a ticket has expired. A ticket lives as long as its expectation, which may have been prolonged
    /// since.
    ///
    /// # Errors
    ///
    /// The store has to be read and is not available.
    pub async fn has_run_out(&self, ticket: &mut Ticket) -> Result<bool, StoreError> {
        let now = self.context.clock.now();
        if now < ticket.until {
            return Ok(false);
        }
        if let Some(found) = self.context.store.authentication(&ticket.name).await? {
            ticket.prolong(&found);
        }
        Ok(now >= ticket.until)
    }

    /// Acquires a permit for one stream of a ticket.
    pub fn permit(&self, ticket: &str) -> Result<WaiterPermit, LimitExceeded> {
        self.waiter_limit.enter(ticket)
    }

    /// Subscribes to an authentication.
    #[must_use]
    pub fn watch(self: &Arc<Self>, ticket: Ticket, place: WaiterPermit) -> Watching {
        let watcher = self.context.notifier.watch_authentication(&ticket.name);
        let counted = self.context.metrics.waiter();
        Watching { all: Arc::clone(self), ticket, watcher, _held: (place, counted) }
    }
}

/// Subscription of a stream to an authentication.
pub struct Watching {
    all: Arc<Authentications>,
    ticket: Ticket,
    watcher: AuthenticationSubscriber,
    _held: (WaiterPermit, crate::telemetry::WaiterGuard),
}

/// Time after the end of its ticket for which a stream waits for the expiry to be stored.
const LINGER: Duration = Duration::from_secs(10);

impl Watching {
    /// Reads the current state of the authentication.
    pub async fn look(&mut self) -> Result<Option<Authentication>, StoreError> {
        let found = self.all.context.store.authentication(&self.ticket.name).await?;
        if let Some(found) = &found {
            self.ticket.prolong(found);
        }
        Ok(found)
    }

    /// Waits for a change, at most for `quiet`.
    pub async fn changed(&mut self, quiet: Duration) -> Change {
        let all = Arc::clone(&self.all);
        let Context { clock, lifecycle, .. } = &all.context;
        let end = self.ticket.until.checked_add(LINGER).unwrap_or(Timestamp::MAX);
        tokio::select! {
            () = self.watcher.woken() => Change::Perhaps,
            // A prolonged expectation is not announced.
            () = clock.sleep_until(end) => match self.look().await {
                Ok(_) if self.ticket.until.checked_add(LINGER).unwrap_or(Timestamp::MAX) > end => Change::Perhaps,
                _ => Change::Never,
            },
            () = lifecycle.soft().cancelled() => Change::Never,
            () = clock.sleep(quiet) => Change::NotYet,
        }
    }
}

/// Result of waiting for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Something happened.
    Perhaps,
    /// No change for the given time.
    NotYet,
    /// No change will come: the ticket has expired, or remgate stops.
    Never,
}
