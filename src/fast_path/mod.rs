//! From intake straight to dispatch: deliveries that were leased in the very commit that stored their events.
//!
//! Most deliveries are accepted at the first attempt. Leased by whoever stores them, they cost no claim and no second
//! commit before they are sent. It is a short cut and nothing more: what does not fit through is due like
//! everything else and comes by the store.

mod limiter;

use tokio::sync::mpsc;

use crate::domain::{EndpointId, Lease};

pub use limiter::{ConcurrencyLimiter, EndpointPermits, Permit, PermitRequest};

/// How many commits' leases may be on their way. When dispatch is that far behind, it has better things to do.
const QUEUE: usize = 64;

/// Intake's end.
#[derive(Debug, Clone)]
pub struct LeaseSender {
    leases: mpsc::Sender<Vec<Lease>>,
    limiter: ConcurrencyLimiter,
}

/// Dispatch's end.
#[derive(Debug)]
pub struct LeaseReceiver(mpsc::Receiver<Vec<Lease>>);

/// Room for the leases of one commit.
#[derive(Debug)]
pub struct Reservation<'g>(mpsc::Permit<'g, Vec<Lease>>);

/// Both ends.
#[must_use]
pub fn fast_path(limiter: ConcurrencyLimiter) -> (LeaseSender, LeaseReceiver) {
    let (leases, taken) = mpsc::channel(QUEUE);
    (LeaseSender { leases, limiter }, LeaseReceiver(taken))
}

impl LeaseSender {
    /// Room for one commit's leases, if dispatch takes any now, and the endpoints that it takes none for.
    #[must_use]
    pub fn reserve(&self) -> Option<(Reservation<'_>, Vec<EndpointId>)> {
        let reserve = self.leases.try_reserve().ok()?;
        Some((Reservation(reserve), self.limiter.closed()))
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

    /// Takes no more than what was promised room already.
    pub fn close(&mut self) {
        self.0.close();
    }
}
