//! Endpoints as they were read a moment ago.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::{Endpoint, EndpointId};

/// How long what was read of an endpoint is used for what intake hands over. What is claimed later is always sent to the
/// endpoint as it is then.
const FRESH: Duration = Duration::from_secs(1);

/// Endpoints that were read a moment ago.
#[derive(Default)]
pub(super) struct Known(HashMap<EndpointId, Read>);

struct Read {
    endpoint: Arc<Endpoint>,
    read_at: Instant,
}

impl Known {
    /// Forgets what is no longer fresh; says which of these are then to be read.
    pub(super) fn missing<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a EndpointId>,
        now: Instant,
    ) -> Vec<EndpointId> {
        self.0.retain(|_, it| now.saturating_duration_since(it.read_at) < FRESH);
        ids.filter(|id| !self.0.contains_key(*id)).cloned().collect()
    }

    /// Keeps what was read.
    pub(super) fn keep(&mut self, endpoints: Vec<Endpoint>, now: Instant) {
        let read = |it: Endpoint| (it.id.clone(), Read { endpoint: Arc::new(it), read_at: now });
        self.0.extend(endpoints.into_iter().map(read));
    }

    /// What is known.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.values().map(|it| &it.endpoint)
    }
}
