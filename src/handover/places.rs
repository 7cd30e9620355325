//! How many attempts may be under way: to one endpoint, and altogether.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::EndpointId;

/// Counts the attempts under way. Each endpoint may always have one; those beyond come out of a shared stock. Clones
/// count together.
#[derive(Debug, Clone)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    counts: Mutex<Counts>,
    freed: Notify,
    stock: usize,
    per_endpoint: usize,
}

#[derive(Debug, Default)]
struct Counts {
    by_endpoint: HashMap<EndpointId, usize>,
    /// Whose turn it is to be served first.
    turn: usize,
}

impl Places {
    /// `stock` attempts altogether beyond one per endpoint, `per_endpoint` to one.
    #[must_use]
    pub fn new(stock: usize, per_endpoint: usize) -> Self {
        let counts = Mutex::default();
        Self(Arc::new(Shared { counts, freed: Notify::new(), stock, per_endpoint }))
    }

    /// Gives places to those who want some, one each in turn until nobody wants or can have more. Who got none is left
    /// out.
    #[must_use]
    pub fn grant(&self, wanting: &[(EndpointId, usize)]) -> Vec<Grant> {
        let mut counts = self.0.lock();
        counts.turn = counts.turn.wrapping_add(1);
        let mut granted = vec![0; wanting.len()];
        let mut left = self.0.stock.saturating_sub(counts.shared());
        loop {
            let mut any = false;
            for step in 0..wanting.len() {
                let index = counts.turn.wrapping_add(step) % wanting.len();
                let (endpoint, wanted) = &wanting[index];
                let count = counts.by_endpoint.get(endpoint).copied().unwrap_or_default();
                if granted[index] < *wanted && self.0.has_room(count, left) {
                    counts.by_endpoint.insert(endpoint.clone(), count + 1);
                    left -= usize::from(count > 0);
                    granted[index] += 1;
                    any = true;
                }
            }
            if !any {
                break;
            }
        }
        drop(counts);
        let grants = wanting.iter().zip(granted).filter(|(_, count)| *count > 0);
        grants.map(|((endpoint, _), count)| self.places(endpoint, count)).collect()
    }

    /// The endpoints that can have no further place now.
    #[must_use]
    pub fn full(&self) -> Vec<EndpointId> {
        let counts = self.0.lock();
        let left = self.0.stock.saturating_sub(counts.shared());
        let full = counts.by_endpoint.iter().filter(|(_, count)| !self.0.has_room(**count, left));
        full.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// Ends when a place has become free since the last call.
    pub async fn freed(&self) {
        self.0.freed.notified().await;
    }

    fn places(&self, endpoint: &EndpointId, count: usize) -> Grant {
        let place = || Place { shared: Arc::clone(&self.0), endpoint: endpoint.clone() };
        Grant { endpoint: endpoint.clone(), places: (0..count).map(|_| place()).collect() }
    }
}

impl Shared {
    /// Whether an endpoint with so many places can have another, when so many of the stock are left.
    fn has_room(&self, count: usize, left: usize) -> bool {
        count < self.per_endpoint && (count == 0 || left > 0)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// How many places of the shared stock are taken.
    fn shared(&self) -> usize {
        self.by_endpoint.values().map(|count| count.saturating_sub(1)).sum()
    }
}

/// Places for one endpoint.
#[derive(Debug)]
pub struct Grant {
    /// Which.
    pub endpoint: EndpointId,
    /// One for each attempt; dropped ones go back.
    pub places: Vec<Place>,
}

/// The right to have one attempt under way.
#[derive(Debug)]
pub struct Place {
    shared: Arc<Shared>,
    endpoint: EndpointId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.shared.lock();
        if let Some(count) = counts.by_endpoint.get_mut(&self.endpoint) {
            *count -= 1;
            if *count == 0 {
                counts.by_endpoint.remove(&self.endpoint);
            }
        }
        drop(counts);
        self.shared.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::Chance;

    /// Endpoints that want as much as they can get.
    fn endpoints(count: usize) -> Vec<(EndpointId, usize)> {
        let chance = Chance::seeded(1);
        (0..count).map(|_| (EndpointId::new(Timestamp::UNIX_EPOCH, &chance), usize::MAX)).collect()
    }

    fn sizes(grants: &[Grant]) -> Vec<usize> {
        grants.iter().map(|grant| grant.places.len()).collect()
    }

    #[test]
    fn each_may_have_one_however_full_it_is() {
        let places = Places::new(2, 16);
        let all = endpoints(5);
        let greedy = places.grant(&all[..1]);
        assert_eq!(sizes(&greedy), [3], "one of its own and the whole stock");
        let others = places.grant(&all[1..]);
        assert_eq!(sizes(&others), [1, 1, 1, 1]);
        assert!(places.grant(&all[..1]).is_empty());
        assert_eq!(places.full().len(), 5);
        drop(greedy);
        assert_eq!(places.full().len(), 0, "with stock left, those that have one may have more");
    }

    #[test]
    fn nobody_gets_more_than_it_wants() {
        let places = Places::new(100, 16);
        let mut all = endpoints(2);
        all[0].1 = 3;
        let grants = places.grant(&all);
        assert_eq!(sizes(&grants), [3, 16]);
        assert_eq!(places.full(), [all[1].0.clone()]);
    }

    #[test]
    fn the_stock_is_shared_in_turns() {
        let places = Places::new(6, 16);
        assert_eq!(sizes(&places.grant(&endpoints(3))), [3, 3, 3]);
    }

    #[test]
    fn one_endpoint_has_its_limit() {
        let places = Places::new(100, 4);
        let all = endpoints(1);
        let grants = places.grant(&all);
        assert_eq!(sizes(&grants), [4]);
        drop(grants);
        assert_eq!(sizes(&places.grant(&all)), [4], "dropped places are free again");
    }
}
