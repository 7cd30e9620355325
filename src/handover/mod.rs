//! From intake straight to dispatch: deliveries that were leased in the very commit that stored their events.
//!
//! Most deliveries are accepted at the first attempt. Leased by whoever stores them, they cost no claim and no second
//! commit before they are sent. It is a short cut and nothing more: what does not fit through is due like
//! everything else and comes by the store.

mod places;

use tokio::sync::mpsc;

use crate::domain::{EndpointId, Lease};

pub use places::{Grant, Place, Places, Want};

/// How many commits' leases may be on their way. When dispatch is that far behind, it has better things to do.
const QUEUE: usize = 64;

/// Intake's end.
#[derive(Debug, Clone)]
pub struct Giver {
    leases: mpsc::Sender<Vec<Lease>>,
    places: Places,
}

/// Dispatch's end.
#[derive(Debug)]
pub struct Taker(mpsc::Receiver<Vec<Lease>>);

/// Room for the leases of one commit.
#[derive(Debug)]
pub struct Room<'g>(mpsc::Permit<'g, Vec<Lease>>);

/// Both ends.
#[must_use]
pub fn handover(places: Places) -> (Giver, Taker) {
    let (leases, taken) = mpsc::channel(QUEUE);
    (Giver { leases, places }, Taker(taken))
}

impl Giver {
    /// Room for one commit's leases, if dispatch takes any now, and the endpoints that it takes none for.
    #[must_use]
    pub fn room(&self) -> Option<(Room<'_>, Vec<EndpointId>)> {
        let room = self.leases.try_reserve().ok()?;
        Some((Room(room), self.places.closed()))
    }
}

impl Room<'_> {
    /// Hands leases over.
    pub fn give(self, leases: Vec<Lease>) {
        self.0.send(leases);
    }
}

impl Taker {
    /// The next leases; `None` when there will be no more.
    pub async fn take(&mut self) -> Option<Vec<Lease>> {
        self.0.recv().await
    }

    /// Takes no more than what was promised room already.
    pub fn close(&mut self) {
        self.0.close();
    }
}
