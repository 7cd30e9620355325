//! Deliveries of this process that are not settled yet, so that none is attempted twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{DeliveryId, Lease, LeaseToken};

/// Deliveries with an attempt under way, or with a result that is not stored yet, with their newest lease token. Clones
/// share them.
///
/// A lease can expire before its result is stored, for example while the store is unavailable. When this process then
/// leases the delivery again, the new lease is for the result that it already has.
#[derive(Debug, Clone, Default)]
pub(super) struct UnsettledDeliveries {
    tokens: Arc<Mutex<HashMap<DeliveryId, LeaseToken>>>,
    /// Held while leases are taken from the store, until they are registered.
    claiming: Arc<tokio::sync::Mutex<()>>,
}

impl UnsettledDeliveries {
    /// Registers a lease. Returns false if the delivery is not settled yet: no attempt may be made, and the result takes
    /// the token.
    pub(super) fn begin(&self, lease: &Lease) -> bool {
        self.lock().insert(lease.delivery, lease.token.clone()).is_none()
    }

    /// Returns the newest lease token of a delivery.
    pub(super) fn token(&self, delivery: DeliveryId) -> Option<LeaseToken> {
        self.lock().get(&delivery).cloned()
    }

    /// Forgets a delivery whose result is stored or no longer wanted.
    pub(super) fn end(&self, delivery: DeliveryId) {
        self.lock().remove(&delivery);
    }

    /// Waits until all leases that were taken from the store are registered, and keeps others from being taken until
    /// the guard is dropped.
    pub(super) async fn claiming(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.claiming.lock().await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeliveryId, LeaseToken>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
