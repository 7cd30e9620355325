//! Events, endpoints, deliveries, keys and upkeep: the traits of the store, with the types of their methods. The other
//! traits stand beside their implementation.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::committed::Committed;
use super::error::StoreError;
use crate::domain::{
    AdminKeys, ApiKey, Endpoint, EndpointId, EndpointOutcome, EndpointSettings, Event, EventFilter, EventId,
    HealthRules, KeyDigest, KeyId, Lease, LeaseToken, NewEvent, Page, RetainedRange, Settlement,
};
use crate::notifier::Notifier;

/// Lease of the deliveries that a commit creates.
#[derive(Debug, Clone)]
pub struct InitialLease {
    /// Lease token.
    pub token: LeaseToken,
    /// Lease expiry.
    pub expires_at: Timestamp,
    /// Endpoints whose deliveries are not leased.
    pub except: Vec<EndpointId>,
}

/// Result of an append.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The id of each event that was given, in order.
    pub events: Vec<Recorded>,
    /// Deliveries that were leased in the same commit.
    pub leases: Vec<Lease>,
    /// Changes to announce.
    pub committed: Committed,
}

/// Id of an event that was given to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Identifier, given by the first such event.
    pub id: EventId,
    /// True if it had not been seen before.
    pub new: bool,
}

/// Events: append, and read in order without gaps.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Stores events with their deliveries to enabled endpoints, in one transaction that is on disk when this returns. A repeated
    /// event (same service, type and uaid) is counted and gets no deliveries. With a `lease` the deliveries are leased from the
    /// start instead of due.
    async fn append(
        &self,
        events: &[NewEvent],
        now: Timestamp,
        lease: Option<&InitialLease>,
    ) -> Result<Appended, StoreError>;

    /// Returns a page. A reader that follows its cursors sees every event once and in order.
    async fn events(&self, filter: &EventFilter) -> Result<Page<Event>, StoreError>;

    /// Returns the range of the stored events.
    async fn kept(&self) -> Result<RetainedRange, StoreError>;

    /// Returns an event, if it exists.
    async fn event(&self, id: &EventId) -> Result<Option<Event>, StoreError>;
}

/// Endpoint as the configuration declares it, recognised by its name.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// Id for a new name.
    pub id: EndpointId,
    /// Settings in the configuration.
    pub settings: EndpointSettings,
}

/// Endpoints.
#[async_trait]
pub trait EndpointStore: Send + Sync {
    /// Stores the declared endpoints, and disables those that are no longer declared.
    async fn declare(&self, declared: &[Declaration], now: Timestamp) -> Result<(), StoreError>;

    /// All endpoints, by name.
    async fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError>;

    /// Returns the endpoints with these ids that exist.
    async fn endpoints_named(&self, ids: &[EndpointId]) -> Result<Vec<Endpoint>, StoreError>;
}

/// Enabled endpoint with open deliveries, and the time from which the first may be sent, with regard to probes.
#[derive(Debug, Clone)]
pub struct Due {
    /// Endpoint.
    pub endpoint: Endpoint,
    /// Time of the next due delivery.
    pub at: Timestamp,
}

/// Request to lease deliveries of one endpoint.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Endpoint.
    pub endpoint: EndpointId,
    /// Maximum number of deliveries.
    pub count: u32,
    /// Lease token.
    pub token: LeaseToken,
    /// Lease expiry.
    pub expires_at: Timestamp,
    /// Time of the next probe, for an endpoint whose deliveries are held back. Of several processes one leases the probe.
    pub probe: Option<Timestamp>,
}

/// Effect of one settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettlementOutcome {
    /// Stored under its lease.
    Stored,
    /// The lease was lost, but the receiver accepted a delivery that is still open: it is stored as succeeded.
    StoredLate,
    /// The lease was lost: the attempt was counted, and nothing else was changed.
    LeaseLost,
    /// Another transaction holds the row of the delivery. Nothing was stored.
    Busy,
}

impl SettlementOutcome {
    /// Returns whether the result was stored.
    #[must_use]
    pub fn is_stored(self) -> bool {
        matches!(self, Self::Stored | Self::StoredLate)
    }
}

/// Effects of a batch of results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Effect of each settlement, in order.
    pub outcomes: Vec<SettlementOutcome>,
    /// Endpoints whose row is held by another transaction, so that their outcome was not recorded.
    pub busy_endpoints: Vec<EndpointId>,
    /// Changes to announce.
    pub committed: Committed,
}

/// Deliveries: what is due, leases, and results.
#[async_trait]
pub trait DeliveryStore: Send + Sync {
    /// Returns the enabled endpoints that have open deliveries.
    async fn due(&self) -> Result<Vec<Due>, StoreError>;

    /// Leases deliveries due at `now`, the longest due first. Skips those that another replica is leasing.
    async fn claim(&self, claims: &[Claim], now: Timestamp) -> Result<Vec<Lease>, StoreError>;

    /// Stores the results of attempts, the health of their endpoints, and the events about both, in one transaction.
    ///
    /// Never waits for a row that another transaction holds: what concerns such a row is reported as busy, and the rest is
    /// stored.
    async fn settle(
        &self,
        settlements: &[Settlement],
        outcomes: &[EndpointOutcome],
        rules: HealthRules,
        now: Timestamp,
    ) -> Result<Settled, StoreError>;

    /// Number of open deliveries.
    async fn pending(&self) -> Result<i64, StoreError>;
}

/// Stored key that a request presents.
#[derive(Debug, Clone)]
pub struct PresentedKey {
    /// True if there are admin keys, valid or expired: then a key is required.
    pub locked: bool,
    /// The key, if it exists. It may have expired.
    pub key: Option<ApiKey>,
}

/// Effect of removing the last stored admin key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastAdminKey {
    /// Another admin key is in the configuration.
    IsNotAll,
    /// Without it the listener is open to this machine.
    Opens,
    /// No admin key is left, and the listener still requires one.
    LocksOut,
}

/// Result of removing a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Removed.
    Done {
        /// True if it was the last admin key in the store.
        last_admin: bool,
    },
    /// No key has the id.
    Unknown,
    /// Not removed: only admin keys in this state would be left, and no caller could authenticate.
    LastAdminKey(AdminKeys),
}

/// API keys.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a new key, which is recognised by its digest.
    async fn add_key(&self, key: &ApiKey, digest: &KeyDigest) -> Result<(), StoreError>;

    /// Returns all keys, the oldest first.
    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError>;

    /// Returns a key, if it exists.
    async fn key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError>;

    /// Returns the stored key of a request, or the state of the admin keys for a request without one.
    async fn presented_key(&self, digest: Option<&KeyDigest>) -> Result<PresentedKey, StoreError>;

    /// Returns whether there are admin keys.
    async fn admin_keys(&self, now: Timestamp) -> Result<AdminKeys, StoreError>;

    /// Removes a key, unless no caller could authenticate any more.
    async fn remove_key(&self, id: &KeyId, now: Timestamp, last: LastAdminKey)
    -> Result<Removal, StoreError>;

    /// Records the use of a key.
    async fn use_key(&self, id: &KeyId, now: Timestamp) -> Result<(), StoreError>;
}

/// The store's own well-being.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Proves that the store can be written, by writing.
    async fn probe(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Returns the newest time that was stored with an event, an attempt or a probe.
    async fn newest_time(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Corrects times that were stored by a clock that ran ahead of `now`: leases end after `longest_lease` at most, and the
    /// rest waits from `now` on for as long as it was meant to wait. Correcting twice is the same as correcting once.
    async fn correct_times(&self, now: Timestamp, longest_lease: Duration) -> Result<(), StoreError>;

    /// Releases the leases of an earlier process, where no other process can hold any. Returns their number.
    async fn take_over(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Notifies the [`Notifier`] of commits of other replicas, until cancelled.
    async fn listen(&self, notifier: &Notifier, stop: &CancellationToken);

    /// Closes all connections. The store must not be used afterwards.
    async fn close(&self);
}
