//! Fast path from intake to dispatch: deliveries that were leased in the commit that stored their events.
//!
//! Most deliveries succeed at the first attempt. Leased with their events they need neither a claim nor a second
//! commit before they are sent. Deliveries that do not fit through are due like all others and are leased from the
//! store.

mod limiter;
mod store_only;

use tokio::sync::mpsc;

use crate::domain::{EndpointId, Lease};

pub use limiter::{ConcurrencyLimiter, EndpointPermits, Permit, PermitRequest};
pub use store_only::StoreOnlyEndpoints;

/// Maximum number of commits whose leases are on their way.
const QUEUE: usize = 64;

/// Sending end, for intake.
#[derive(Debug, Clone)]
pub struct LeaseSender {
    leases: mpsc::Sender<Vec<Lease>>,
    limiter: ConcurrencyLimiter,
    store_only: StoreOnlyEndpoints,
}

/// Receiving end, for dispatch.
#[derive(Debug)]
pub struct LeaseReceiver(mpsc::Receiver<Vec<Lease>>);

/// Reservation for the leases of one commit.
#[derive(Debug)]
pub struct Reservation<'g>(mpsc::Permit<'g, Vec<Lease>>);

/// Returns both ends.
#[must_use]
pub fn fast_path(
    limiter: ConcurrencyLimiter,
    store_only: StoreOnlyEndpoints,
) -> (LeaseSender, LeaseReceiver) {
    let (leases, received) = mpsc::channel(QUEUE);
    (LeaseSender { leases, limiter, store_only }, LeaseReceiver(received))
}

impl LeaseSender {
    /// Reserves a slot for one commit's leases. Returns it with the endpoints whose deliveries must not be leased, or `None`
    /// when the queue is full.
    #[must_use]
    pub fn reserve(&self) -> Option<(Reservation<'_>, Vec<EndpointId>)> {
        let reserve = self.leases.try_reserve().ok()?;
        Some((Reservation(reserve), self.store_only.union(self.limiter.full())))
    }
}

impl Reservation<'_> {
    /// Hands leases over.
    pub fn send(self, leases: Vec<Lease>) {
        self.0.send(leases);
    }
}

impl LeaseReceiver {
    /// The next leases; `None` when there will be no more.
    pub async fn recv(&mut self) -> Option<Vec<Lease>> {
        self.0.recv().await
    }

    /// Accepts no further reservations.
    pub fn close(&mut self) {
        self.0.close();
    }
}
