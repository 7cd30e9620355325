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

/// Everything that apps and browsers do with authentications.
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
    pub async fn open(context: Context, settings: AuthenticationSettings) -> Result<Self, KeysError> {
        use secrecy::ExposeSecret;
        let Context { store, rng, .. } = &context;
        let assertion = store.shared_secret("assertion", AssertionKey::generate(rng)).await?;
        let ticket = store.shared_secret("ticket", TicketKey::generate(rng)).await?;
        let assertions = assertion.expose_secret().parse()?;
        let tickets = TicketKey::new(ticket);
        Ok(Self { context, settings, assertions, tickets, waiter_limit: WaiterLimit::default() })
    }

    /// Says that an authentication is expected.
    pub async fn expect(
        &self,
        name: &AuthenticationName,
        expectation: &Expectation,
    ) -> Result<Expected, StoreError> {
        let expected = self.context.store.expect(name, expectation, self.context.clock.now()).await?;
        self.context.announce(&expected.committed);
        Ok(expected)
    }

    /// An authentication, as soon as it is over, at the latest after `wait` or when remgate stops: then as it is.
    pub async fn look(
        &self,
        name: &AuthenticationName,
        wait: Duration,
    ) -> Result<Option<Authentication>, StoreError> {
        if wait.is_zero() {
            return self.context.store.authentication(name).await;
        }
        // The watcher comes before the look: what ends in between wakes it.
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
            within: self.settings.claim_within,
            min_trust: self.settings.min_trust.stricter(min_trust.unwrap_or(Trust::None)),
            expected,
        };
        self.context.store.claim_authentication(name, terms, self.context.clock.now()).await
    }

    /// Vouches for an authentication that was claimed: a JSON Web Token.
    #[must_use]
    pub fn issue_assertion(&self, authentication: &Authentication) -> String {
        self.assertions.issue_assertion(
            authentication,
            &self.settings.issuer,
            self.context.clock.now(),
            &self.context.rng,
        )
    }

    /// Key set to verify assertions with.
    #[must_use]
    pub fn key_set(&self) -> Value {
        self.assertions.key_set()
    }

    /// A ticket for an authentication that is expected, and how long it is good.
    pub async fn ticket(&self, name: &AuthenticationName) -> Result<(String, Timestamp), TicketError> {
        let found = self.context.store.authentication(name).await?;
        let until = found.and_then(|found| found.expires_at).ok_or(TicketError::Unexpected)?;
        let until = Ticket::end(until);
        if until <= self.context.clock.now() {
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

    /// Watches one authentication.
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

    /// Waits for a reason to look again, at most for so long.
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
    /// Nothing has happened for long.
    NotYet,
    /// Nothing will: the ticket has run out, or remgate stops.
    Never,
}
