//! Limits of concurrent attempts: to one endpoint, and altogether.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::EndpointId;

/// Limits the attempts under way. Each endpoint may always have one; further ones take permits that all endpoints share.
/// Clones share their counts.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    counts: Mutex<Counts>,
    freed: Notify,
    total_capacity: usize,
    per_endpoint: usize,
}

#[derive(Debug, Default)]
struct Counts {
    by_endpoint: HashMap<EndpointId, Taken>,
    /// Index of the endpoint that is served first.
    next_index: usize,
}

/// Number of permits of an endpoint, and its limit.
#[derive(Debug, Clone, Copy)]
struct Taken {
    count: usize,
    limit: usize,
}

/// Request for permits of one endpoint.
#[derive(Debug, Clone)]
pub struct PermitRequest {
    /// Endpoint.
    pub endpoint: EndpointId,
    /// Maximum number of permits.
    pub count: usize,
    /// Limit of the endpoint, if it has its own.
    pub limit: Option<usize>,
}

impl ConcurrencyLimiter {
    /// `total_capacity` attempts altogether beyond one per endpoint, `per_endpoint` to one.
    #[must_use]
    pub fn new(total_capacity: usize, per_endpoint: usize) -> Self {
        let counts = Mutex::default();
        Self(Arc::new(Shared { counts, freed: Notify::new(), total_capacity, per_endpoint }))
    }

    /// Acquires permits for several endpoints, one for each in turn, until all requests are met or no permit is left.
    /// Endpoints without a permit are left out.
    #[must_use]
    pub fn acquire(&self, wanting: &[PermitRequest]) -> Vec<EndpointPermits> {
        let mut counts = self.0.lock();
        counts.next_index = counts.next_index.wrapping_add(1);
        let mut granted = vec![0; wanting.len()];
        let mut left = self.0.total_capacity.saturating_sub(counts.shared());
        loop {
            let mut any = false;
            for step in 0..wanting.len() {
                let index = counts.next_index.wrapping_add(step) % wanting.len();
                let want = &wanting[index];
                let limit = want.limit.unwrap_or(self.0.per_endpoint);
                let count = counts.by_endpoint.get(&want.endpoint).map_or(0, |taken| taken.count);
                if granted[index] < want.count && has_capacity(Taken { count, limit }, left) {
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
        grants.map(|(want, count)| self.permits(&want.endpoint, count)).collect()
    }

    /// Number of permits that an endpoint could acquire now.
    #[must_use]
    pub fn available(&self, endpoint: &EndpointId, limit: Option<usize>) -> usize {
        let counts = self.0.lock();
        let left = self.0.total_capacity.saturating_sub(counts.shared());
        let count = counts.by_endpoint.get(endpoint).map_or(0, |taken| taken.count);
        let of_its_own = limit.unwrap_or(self.0.per_endpoint).saturating_sub(count);
        of_its_own.min(left + usize::from(count == 0))
    }

    /// The endpoints for which no permit is free.
    #[must_use]
    pub fn full(&self) -> Vec<EndpointId> {
        let counts = self.0.lock();
        let left = self.0.total_capacity.saturating_sub(counts.shared());
        let full = counts.by_endpoint.iter().filter(|(_, taken)| !has_capacity(**taken, left));
        full.map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// Ends when a permit has become free since the last call.
    pub async fn freed(&self) {
        self.0.freed.notified().await;
    }

    fn permits(&self, endpoint: &EndpointId, count: usize) -> EndpointPermits {
        let permit = || Permit { shared: Arc::clone(&self.0), endpoint: endpoint.clone() };
        EndpointPermits { endpoint: endpoint.clone(), permits: (0..count).map(|_| permit()).collect() }
    }
}

/// Returns whether an endpoint can acquire another permit when this many shared permits are left.
fn has_capacity(taken: Taken, left: usize) -> bool {
    taken.count < taken.limit && (taken.count == 0 || left > 0)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Number of shared permits in use.
    fn shared(&self) -> usize {
        self.by_endpoint.values().map(|taken| taken.count.saturating_sub(1)).sum()
    }
}

/// Permits for attempts at one endpoint.
#[derive(Debug)]
pub struct EndpointPermits {
    /// Endpoint.
    pub endpoint: EndpointId,
    /// One for each attempt. A dropped permit is free again.
    pub permits: Vec<Permit>,
}

/// Permit for one attempt under way.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    endpoint: EndpointId,
}

impl Drop for Permit {
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
    use crate::domain::RandomSource;

    /// Requests without a bound.
    fn endpoints(count: usize) -> Vec<PermitRequest> {
        let rng = RandomSource::seeded(1);
        let id = || EndpointId::new(Timestamp::UNIX_EPOCH, &rng);
        (0..count).map(|_| PermitRequest { endpoint: id(), count: usize::MAX, limit: None }).collect()
    }

    fn sizes(grants: &[EndpointPermits]) -> Vec<usize> {
        grants.iter().map(|grant| grant.permits.len()).collect()
    }

    #[test]
    fn each_endpoint_may_always_have_one() {
        let permits = ConcurrencyLimiter::new(2, 16);
        let all = endpoints(5);
        let greedy = permits.acquire(&all[..1]);
        assert_eq!(sizes(&greedy), [3], "one of its own and all shared permits");
        let others = permits.acquire(&all[1..]);
        assert_eq!(sizes(&others), [1, 1, 1, 1]);
        assert!(permits.acquire(&all[..1]).is_empty());
        assert_eq!(permits.full().len(), 5);
        drop(greedy);
        assert_eq!(permits.full().len(), 0, "while shared permits are left, no endpoint is full");
    }

    #[test]
    fn no_endpoint_gets_more_than_it_requested() {
        let permits = ConcurrencyLimiter::new(100, 16);
        let mut all = endpoints(2);
        all[0].count = 3;
        let grants = permits.acquire(&all);
        assert_eq!(sizes(&grants), [3, 16]);
        assert_eq!(permits.full(), [all[1].endpoint.clone()]);
    }

    #[test]
    fn permits_are_shared_in_turns() {
        let permits = ConcurrencyLimiter::new(6, 16);
        assert_eq!(sizes(&permits.acquire(&endpoints(3))), [3, 3, 3]);
    }

    #[test]
    fn one_endpoint_has_its_limit() {
        let permits = ConcurrencyLimiter::new(100, 4);
        let all = endpoints(1);
        let grants = permits.acquire(&all);
        assert_eq!(sizes(&grants), [4]);
        drop(grants);
        assert_eq!(sizes(&permits.acquire(&all)), [4], "dropped permits are free again");
    }

    #[test]
    fn an_endpoint_may_have_a_limit_of_its_own() {
        let permits = ConcurrencyLimiter::new(100, 16);
        let mut all = endpoints(2);
        all[0].limit = Some(2);
        all[1].limit = Some(40);
        let grants = permits.acquire(&all);
        assert_eq!(sizes(&grants), [2, 40]);
        assert_eq!(permits.full().len(), 2);
    }
}
