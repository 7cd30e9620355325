//! What an app waits for: says that an authentication is expected, waits for it, hands it out once, vouches for it.
//!
//! Whoever waits is woken by name, with no loop behind: in this process when the commit is done, for other replicas'
//! commits by the [`Follower`]. The [`Expiry`] ends what nobody completed.

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

/// What authentications are made of.
pub struct Parts {
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// Who says that one is over.
    pub notifier: Notifier,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What makes tokens unique.
    pub rng: RandomSource,
    /// What is counted.
    pub metrics: Metrics,
    /// When waiting ends early.
    pub lifecycle: Lifecycle,
    /// How long after its completion an authentication can be claimed.
    pub claim_within: Duration,
    /// Minimum trust that every claim needs.
    pub min_trust: Trust,
    /// Who vouches, in the words of an assertion's `iss`.
    pub issuer: String,
}

/// Everything that apps and browsers do with authentications.
pub struct Authentications {
    parts: Parts,
    assertions: AssertionKey,
    tickets: TicketKey,
    waiter_limit: WaiterLimit,
}

/// Why there are no keys to vouch with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The store did not give them.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds is none.
    #[error("the store holds no good key: {0}")]
    Bad(#[from] Invalid),
}

/// Why an authentication gets no ticket.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// Nobody expects it.
    #[error("nobody expects this authentication")]
    Unexpected,
    /// It is expected no longer.
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
    pub fn issue_assertion(&self, it: &Authentication) -> String {
        self.assertions.issue_assertion(it, &self.parts.issuer, self.parts.clock.now(), &self.parts.rng)
    }

    /// What everybody can check assertions with.
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

    /// Whether a ticket's time is over. It lives as long as its expectation, which may have been prolonged since.
    ///
    /// # Errors
    /// When the store has to be asked and cannot answer.
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

    /// A place for somebody who watches with this ticket.
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

/// Somebody who watches an authentication.
pub struct Watching {
    all: Arc<Authentications>,
    ticket: Ticket,
    watcher: AuthenticationSubscriber,
    _held: (WaiterPermit, crate::telemetry::WaiterGuard),
}

/// How long after its ticket a watcher still waits to be told that the time is over.
const LINGER: Duration = Duration::from_secs(10);

impl Watching {
    /// How the authentication stands now.
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
            // The expectation may have been prolonged, which wakes nobody.
            () = parts.clock.sleep_until(end) => match self.look().await {
                Ok(_) if self.ticket.until.checked_add(LINGER).unwrap_or(Timestamp::MAX) > end => Change::Perhaps,
                _ => Change::Never,
            },
            () = parts.lifecycle.soft().cancelled() => Change::Never,
            () = parts.clock.sleep(quiet) => Change::NotYet,
        }
    }
}

/// Whether it is worth looking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Something happened.
    Perhaps,
    /// Nothing has happened for long.
    NotYet,
    /// Nothing will: the ticket has run out, or remgate stops.
    Never,
}
