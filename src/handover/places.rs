//! How many attempts may be under way: to one endpoint, and altogether.

use std::collections::{HashMap, HashSet};
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
    by_endpoint: HashMap<EndpointId, Taken>,
    /// What is due for these is only ever claimed from the store, since more than a free place decides there.
    by_store: HashSet<EndpointId>,
    /// Whose turn it is to be served first.
    turn: usize,
}

/// How many places an endpoint has, of how many at the most.
#[derive(Debug, Clone, Copy)]
struct Taken {
    count: usize,
    limit: usize,
}

/// Somebody who wants places.
#[derive(Debug, Clone)]
pub struct Want {
    /// For which endpoint.
    pub endpoint: EndpointId,
    /// At most so many.
    pub count: usize,
    /// How many it may have at once, where that is its own.
    pub limit: Option<usize>,
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
    pub fn grant(&self, wanting: &[Want]) -> Vec<Grant> {
        let mut counts = self.0.lock();
        counts.turn = counts.turn.wrapping_add(1);
        let mut granted = vec![0; wanting.len()];
        let mut left = self.0.stock.saturating_sub(counts.shared());
        loop {
            let mut any = false;
            for step in 0..wanting.len() {
                let index = counts.turn.wrapping_add(step) % wanting.len();
                let want = &wanting[index];
                let limit = want.limit.unwrap_or(self.0.per_endpoint);
                let count = counts.by_endpoint.get(&want.endpoint).map_or(0, |taken| taken.count);
                if granted[index] < want.count && has_room(Taken { count, limit }, left) {
                    counts.by_endpoint.insert(want.endpoint.clone(), Taken { count: count + 1, limit });
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
        grants.map(|(want, count)| self.places(&want.endpoint, count)).collect()
    }

    /// How many places an endpoint could have now, if nobody else wanted any.
    #[must_use]
    pub fn room(&self, endpoint: &EndpointId, limit: Option<usize>) -> usize {
        let counts = self.0.lock();
        let left = self.0.stock.saturating_sub(counts.shared());
        let count = counts.by_endpoint.get(endpoint).map_or(0, |taken| taken.count);
        let of_its_own = limit.unwrap_or(self.0.per_endpoint).saturating_sub(count);
        of_its_own.min(left + usize::from(count == 0))
    }

    /// The endpoints that can have no further place now, and those for which the store alone decides.
    #[must_use]
    pub fn closed(&self) -> Vec<EndpointId> {
        let counts = self.0.lock();
        let left = self.0.stock.saturating_sub(counts.shared());
        let full = counts.by_endpoint.iter().filter(|(_, taken)| !has_room(**taken, left));
        let full = full.map(|(endpoint, _)| endpoint).filter(|endpoint| !counts.by_store.contains(*endpoint));
        full.chain(&counts.by_store).cloned().collect()
    }

    /// Says whether what is due for an endpoint goes by the store alone.
    pub fn by_store(&self, endpoint: &EndpointId, alone: bool) {
        let mut counts = self.0.lock();
        if !alone {
            counts.by_store.remove(endpoint);
        } else if !counts.by_store.contains(endpoint) {
            counts.by_store.insert(endpoint.clone());
        }
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

/// Whether an endpoint with so many places can have another, when so many of the stock are left.
fn has_room(taken: Taken, left: usize) -> bool {
    taken.count < taken.limit && (taken.count == 0 || left > 0)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// How many places of the shared stock are taken.
    fn shared(&self) -> usize {
        self.by_endpoint.values().map(|taken| taken.count.saturating_sub(1)).sum()
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
        if let Some(taken) = counts.by_endpoint.get_mut(&self.endpoint) {
            taken.count -= 1;
            if taken.count == 0 {
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
    fn endpoints(count: usize) -> Vec<Want> {
        let chance = Chance::seeded(1);
        let id = || EndpointId::new(Timestamp::UNIX_EPOCH, &chance);
        (0..count).map(|_| Want { endpoint: id(), count: usize::MAX, limit: None }).collect()
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
        assert_eq!(places.closed().len(), 5);
        drop(greedy);
        assert_eq!(places.closed().len(), 0, "with stock left, those that have one may have more");
    }

    #[test]
    fn nobody_gets_more_than_it_wants() {
        let places = Places::new(100, 16);
        let mut all = endpoints(2);
        all[0].count = 3;
        let grants = places.grant(&all);
        assert_eq!(sizes(&grants), [3, 16]);
        assert_eq!(places.closed(), [all[1].endpoint.clone()]);
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

    #[test]
    fn an_endpoint_may_have_a_limit_of_its_own() {
        let places = Places::new(100, 16);
        let mut all = endpoints(2);
        (all[0].limit, all[1].limit) = (Some(2), Some(40));
        let grants = places.grant(&all);
        assert_eq!(sizes(&grants), [2, 40]);
        assert_eq!(places.closed().len(), 2);
    }

    #[test]
    fn some_are_left_to_the_store() {
        let places = Places::new(100, 1);
        let all = endpoints(1);
        places.by_store(&all[0].endpoint, true);
        let grants = places.grant(&all);
        assert_eq!(sizes(&grants), [1], "which takes places like all others");
        assert_eq!(places.closed(), [all[0].endpoint.clone()], "named once");
        places.by_store(&all[0].endpoint, false);
        drop(grants);
        assert!(places.closed().is_empty());
    }
}
