//! Endpoints as they were read a moment ago.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::{Endpoint, EndpointId};

/// The longest time for which a read endpoint is used for deliveries that intake hands over. A change in this process ends it at
/// once, a change in another as soon as its announcement arrives.
const CACHE_TTL: Duration = Duration::from_secs(1);

/// An endpoint, and the number of changes of endpoints that had been announced when it was read.
#[derive(Debug, Clone)]
pub(super) struct CachedEndpoint {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) changes: u64,
}

/// Endpoints by their ids.
pub(super) type Endpoints = HashMap<EndpointId, CachedEndpoint>;

/// Endpoints that were read a moment ago.
#[derive(Default)]
pub(super) struct EndpointCache(HashMap<EndpointId, (CachedEndpoint, Instant)>);

impl EndpointCache {
    /// Forgets endpoints that are no longer fresh; returns those of `ids` that have to be read.
    pub(super) fn missing<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a EndpointId>,
        changes: u64,
        now: Instant,
    ) -> Vec<EndpointId> {
        self.0.retain(|_, (known, read_at)| {
            known.changes == changes && now.saturating_duration_since(*read_at) < CACHE_TTL
        });
        let mut missing: Vec<_> = ids.filter(|id| !self.0.contains_key(*id)).cloned().collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Keeps endpoints that were read after so many changes.
    pub(super) fn keep(&mut self, endpoints: Vec<Endpoint>, changes: u64, now: Instant) {
        let read = |endpoint: Endpoint| {
            let id = endpoint.id.clone();
            (id, (CachedEndpoint { endpoint: Arc::new(endpoint), changes }, now))
        };
        self.0.extend(endpoints.into_iter().map(read));
    }

    /// All endpoints in it.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &CachedEndpoint> {
        self.0.values().map(|(known, _)| known)
    }
}
