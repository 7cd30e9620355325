//! Endpoints whose deliveries do not take the fast path.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::EndpointId;

/// Endpoints whose deliveries are leased from the store alone, because more than a free permit decides about them: they
/// are held back, have a rate limit, or attempts may outlast the lease that intake takes. Clones share one set.
#[derive(Debug, Clone, Default)]
pub struct StoreOnlyEndpoints(Arc<Mutex<HashSet<EndpointId>>>);

impl StoreOnlyEndpoints {
    /// Adds an endpoint, or removes it.
    pub fn set(&self, endpoint: &EndpointId, store_only: bool) {
        let mut endpoints = self.lock();
        if !store_only {
            endpoints.remove(endpoint);
        } else if !endpoints.contains(endpoint) {
            endpoints.insert(endpoint.clone());
        }
    }

    /// Adds the endpoints to `others`, each once.
    #[must_use]
    pub fn union(&self, mut others: Vec<EndpointId>) -> Vec<EndpointId> {
        let endpoints = self.lock();
        others.retain(|endpoint| !endpoints.contains(endpoint));
        others.extend(endpoints.iter().cloned());
        others
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<EndpointId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::RandomSource;

    #[test]
    fn an_endpoint_is_in_the_union_once_until_it_is_removed() {
        let endpoint = EndpointId::new(Timestamp::UNIX_EPOCH, &RandomSource::seeded(1));
        let store_only = StoreOnlyEndpoints::default();
        store_only.clone().set(&endpoint, true);
        let expected = std::slice::from_ref(&endpoint);
        assert_eq!(store_only.union(expected.to_vec()), expected);
        assert_eq!(store_only.union(Vec::new()), expected);
        store_only.set(&endpoint, false);
        assert!(store_only.union(Vec::new()).is_empty());
    }
}
