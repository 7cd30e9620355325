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

use crate::domain::{
    AssertionKey, Authentication, AuthenticationName, BadTicket, Clock, Expectation, Invalid, RandomSource,
    Ticket, TicketKey, Trust,
};
use crate::lifecycle::Lifecycle;
use crate::notifier::{AuthenticationSubscriber, Notifier};
use crate::store::{ClaimTerms, Claimed, Expected, Store, StoreError};
use crate::telemetry::Metrics;

/// Dependencies of [`Authentications`].
pub struct Parts {
    /// Store of authentications.
    pub store: Arc<dyn Store>,
    /// Notifier of completed and expired authentications.
    pub notifier: Notifier,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Source of randomness, for ids of assertions.
    pub rng: RandomSource,
    /// Metrics handle.
    pub metrics: Metrics,
    /// Lifecycle of the process; waiting ends early at a stop.
    pub lifecycle: Lifecycle,
    /// Time after its completion within which an authentication can be claimed.
    pub claim_within: Duration,
    /// Minimum trust that every claim needs.
    pub min_trust: Trust,
    /// Issuer of assertions, their `iss`.
    pub issuer: String,
}

/// Everything that apps and browsers do with authentications.
pub struct Authentications {
    parts: Parts,
    assertions: AssertionKey,
    tickets: TicketKey,
    waiter_limit: WaiterLimit,
}

/// Reason why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The store did not give them.
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
    #[error("nobody expects this authentication")]
    Unexpected,
    /// The expectation has expired.
    #[error("the expectation's time is over")]
    Over,
    /// The store did not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authentications {
    /// Takes the keys that all replicas share out of the store, or puts new ones there.
    pub async fn open(parts: Parts) -> Result<Self, KeysError> {
        use secrecy::ExposeSecret;
        let assertion = parts.store.shared_secret("assertion", AssertionKey::generate(&parts.rng)).await?;
        let ticket = parts.store.shared_secret("ticket", TicketKey::generate(&parts.rng)).await?;
        let assertions = assertion.expose_secret().parse()?;
        Ok(Self { parts, assertions, tickets: TicketKey::new(ticket), waiter_limit: WaiterLimit::default() })
    }

    /// Says that an authentication is expected.
    pub async fn expect(
        &self,
        name: &AuthenticationName,
        expectation: &Expectation,
    ) -> Result<Expected, StoreError> {
        let expected = self.parts.store.expect(name, expectation, self.parts.clock.now()).await?;
        if let Some(until) = expected.authentication.expires_at {
            self.parts.notifier.schedule_expiry(until);
        }
        if let Some(deliveries) = expected.offered {
            // The provisioning rule reads them with the next events.
            self.parts.notifier.events_stored();
            self.parts.metrics.deliveries("pending", deliveries);
            self.parts.notifier.deliveries_due();
        }
        Ok(expected)
    }

    /// An authentication, as soon as it is over, at the latest after `wait` or when remgate stops: then as it is.
    pub async fn look(
        &self,
        name: &AuthenticationName,
        wait: Duration,
    ) -> Result<Option<Authentication>, StoreError> {
        if wait.is_zero() {
            return self.parts.store.authentication(name).await;
        }
        // The watcher comes before the look: what ends in between wakes it.
        let mut watcher = self.parts.notifier.watch_authentication(name);
        let mut found = self.parts.store.authentication(name).await?;
        if found.as_ref().is_some_and(Authentication::is_over) {
            return Ok(found);
        }
        let _counted = self.parts.metrics.waiter();
        let mut over = self.parts.clock.sleep(wait);
        loop {
            tokio::select! {
                () = watcher.woken() => {}
                () = &mut over => return Ok(found),
                () = self.parts.lifecycle.soft().cancelled() => return Ok(found),
            }
            found = self.parts.store.authentication(name).await?;
            if found.as_ref().is_some_and(Authentication::is_over) {
                return Ok(found);
            }
        }
    }

    /// Takes a completed authentication: of all who try one gets it.
    ///
    /// A claim may ask for more than the configuration does, never for less.
    pub async fn claim(
        &self,
        name: &AuthenticationName,
        min_trust: Option<Trust>,
        expected: bool,
    ) -> Result<Claimed, StoreError> {
        let terms = ClaimTerms {
            within: self.parts.claim_within,
            min_trust: self.parts.min_trust.stricter(min_trust.unwrap_or(Trust::None)),
            expected,
        };
        self.parts.store.claim_authentication(name, terms, self.parts.clock.now()).await
    }

    /// Vouches for an authentication that was claimed: a JSON Web Token.
    #[must_use]
    pub fn issue_assertion(&self, authentication: &Authentication) -> String {
        self.assertions.issue_assertion(
            authentication,
            &self.parts.issuer,
            self.parts.clock.now(),
            &self.parts.rng,
        )
    }

    /// Key set to verify assertions with.
    #[must_use]
    pub fn key_set(&self) -> Value {
        self.assertions.key_set()
    }

    /// A ticket for an authentication that is expected, and how long it is good.
    pub async fn ticket(&self, name: &AuthenticationName) -> Result<(String, Timestamp), TicketError> {
        let found = self.parts.store.authentication(name).await?;
        let until = found.and_then(|found| found.expires_at).ok_or(TicketError::Unexpected)?;
        let until = Ticket::end(until);
        if until <= self.parts.clock.now() {
            return Err(TicketError::Over);
        }
        Ok((self.tickets.seal(&Ticket { name: name.clone(), until }), until))
    }

    /// Reads a ticket, whether or not its time is over.
    ///
    /// # Errors
    /// When it is malformed, or was not made here.
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
        let now = self.parts.clock.now();
        if now < ticket.until {
            return Ok(false);
        }
        if let Some(found) = self.parts.store.authentication(&ticket.name).await? {
            ticket.prolong(&found);
        }
        Ok(now >= ticket.until)
    }

    /// Acquires a permit for one stream of a ticket.
    pub fn permit(&self, ticket: &str) -> Result<WaiterPermit, LimitExceeded> {
        self.waiter_limit.enter(ticket)
    }

    /// Watches one authentication.
    #[must_use]
    pub fn watch(self: &Arc<Self>, ticket: Ticket, place: WaiterPermit) -> Watching {
        let watcher = self.parts.notifier.watch_authentication(&ticket.name);
        let counted = self.parts.metrics.waiter();
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
        let found = self.all.parts.store.authentication(&self.ticket.name).await?;
        if let Some(found) = &found {
            self.ticket.prolong(found);
        }
        Ok(found)
    }

    /// Waits for a reason to look again, at most for so long.
    pub async fn changed(&mut self, quiet: Duration) -> Change {
        let parts = Arc::clone(&self.all);
        let parts = &parts.parts;
        let end = self.ticket.until.checked_add(LINGER).unwrap_or(Timestamp::MAX);
        tokio::select! {
            () = self.watcher.woken() => Change::Perhaps,
            // A prolonged expectation is not announced.
            () = parts.clock.sleep_until(end) => match self.look().await {
                Ok(_) if self.ticket.until.checked_add(LINGER).unwrap_or(Timestamp::MAX) > end => Change::Perhaps,
                _ => Change::Never,
            },
            () = parts.lifecycle.soft().cancelled() => Change::Never,
            () = parts.clock.sleep(quiet) => Change::NotYet,
        }
    }
}

/// Result of waiting for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Something happened.
    Perhaps,
    /// Nothing has happened for long.
    NotYet,
    /// Nothing will: the ticket has run out, or remgate stops.
    Never,
}
