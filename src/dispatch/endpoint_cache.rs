//! Cache of endpoints for the fast path.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::{Endpoint, EndpointId};

/// Maximum age of a cached endpoint. A change in this process ends it at once, a change in another one when its announcement
/// arrives.
const CACHE_TTL: Duration = Duration::from_secs(1);

/// Endpoint with the number of announced changes of endpoints at the time of its read.
#[derive(Debug, Clone)]
pub(super) struct CachedEndpoint {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) changes: u64,
}

/// Endpoints by their ids.
pub(super) type Endpoints = HashMap<EndpointId, CachedEndpoint>;

/// Cached endpoints.
#[derive(Default)]
pub(super) struct EndpointCache(HashMap<EndpointId, (CachedEndpoint, Instant)>);

impl EndpointCache {
    /// Drops outdated endpoints. Returns the ids that have to be read.
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

    /// Stores endpoints that were read after this number of changes.
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
