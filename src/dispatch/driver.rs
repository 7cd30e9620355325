//! Driver: leases due deliveries within the limits of each endpoint, and begins attempts.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::endpoint_cache::{CachedEndpoint, EndpointCache, Endpoints};
use super::health::AttemptOutcome;
use super::rate_limit::RateLimiters;
use super::result_writer;
use super::unsettled::UnsettledDeliveries;
use crate::context::Context;
use crate::domain::{
    AttemptTimeout, Endpoint, EndpointId, HealthRules, Lease, LeaseToken, MaxInFlight, PROBE_EVERY,
    RetryPolicy,
};
use crate::egress::Sender;
use crate::fast_path::{
    ConcurrencyLimiter, EndpointPermits, LeaseReceiver, PermitRequest, StoreOnlyEndpoints,
};
use crate::store::{Claim, Due, StoreError};

/// Settings and parts of a driver.
pub struct DriverParts {
    /// Sender of attempts.
    pub sender: Arc<Sender>,
    /// Limiter of concurrent attempts.
    pub limiter: ConcurrencyLimiter,
    /// Endpoints whose deliveries do not take the fast path.
    pub store_only: StoreOnlyEndpoints,
    /// Default retry policy.
    pub policy: RetryPolicy,
    /// Default maximum time for an attempt.
    pub timeout: Duration,
    /// Rules about endpoints that fail.
    pub health: HealthRules,
}

/// Time of a lease in addition to the attempt's timeout, for writing the result.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Duration of a lease for an attempt with this timeout.
#[must_use]
pub fn lease_for(timeout: Duration) -> Duration {
    timeout + LEASE_MARGIN
}

/// Pause after the store could not be read.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Half of the pause after another replica leased the due deliveries. It doubles while nothing can be leased.
const CLAIMED_ELSEWHERE: Duration = Duration::from_millis(5);

/// Maximum number of times that the pause doubles, to a third of a second.
const MAX_DOUBLINGS: u32 = 6;

/// Maximum time between two reads: a notification of another replica can be lost with its connection.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Drives deliveries.
#[derive(Clone)]
pub struct Driver {
    pub(super) context: Context,
    pub(super) parts: Arc<DriverParts>,
    pub(super) results: mpsc::Sender<AttemptOutcome>,
    unsettled: UnsettledDeliveries,
}

/// Result of one step.
enum Step {
    /// Attempts were begun; more deliveries may be due.
    Began(usize),
    /// Nothing can be begun now.
    Wait {
        /// True if a due delivery has no permit, so that a released permit is a reason to look again.
        full: bool,
        /// Time at which the next delivery is due.
        until: Option<Timestamp>,
    },
}

/// Pause of the driver without a notification.
type Pause<'c> = Pin<Box<dyn Future<Output = ()> + Send + 'c>>;

/// Due deliveries of one read.
#[derive(Default)]
struct Look {
    /// Requests for permits.
    wanting: Vec<PermitRequest>,
    /// Their endpoints.
    endpoints: Endpoints,
    /// True if an endpoint with due deliveries has no free permit.
    full: bool,
    /// Time of the next due delivery of the other endpoints.
    until: Option<Timestamp>,
}

impl Look {
    fn wake_at(&mut self, then: Timestamp) {
        self.until = Some(self.until.map_or(then, |until| until.min(then)));
    }
}

impl Driver {
    /// Returns a driver with a running result writer.
    #[must_use]
    pub fn new(context: Context, parts: DriverParts) -> Self {
        let unsettled = UnsettledDeliveries::default();
        let results = result_writer::start(context.clone(), parts.health, unsettled.clone());
        Self { context, parts: Arc::new(parts), results, unsettled }
    }

    /// Works until the soft stop. Attempts under way go on; leases of the fast path that were not begun are released.
    pub async fn run(self, mut fast_leases: LeaseReceiver) {
        self.drive(&mut fast_leases).await;
        fast_leases.close();
        while let Some(leases) = fast_leases.recv().await {
            for lease in self.register(leases) {
                self.release(lease).await;
            }
        }
    }

    /// Registers leases, and returns those for which nothing is under way yet.
    fn register(&self, mut leases: Vec<Lease>) -> Vec<Lease> {
        leases.retain(|lease| self.unsettled.begin(lease));
        leases
    }

    /// Runs the loop. The stop is checked between steps only: a dropped step could leave leases without an attempt.
    async fn drive(&self, fast_leases: &mut LeaseReceiver) {
        let soft = self.context.lifecycle.soft();
        // The subscription comes before the read: a delivery that becomes due in between wakes it.
        let mut watcher = self.context.notifier.watch_due();
        let mut cache = EndpointCache::default();
        let mut rate_limiters = RateLimiters::new(Arc::clone(&self.context.clock));
        let mut empty_claims = 0;
        while !soft.is_cancelled() {
            let (mut pause, full): (Pause<'_>, _) = match self.step(&mut rate_limiters).await {
                // Due and with permits, but not leased: another replica is about to commit its claim, or a transaction
                // holds the rows for longer.
                Ok(Step::Began(0)) => {
                    empty_claims += 1;
                    let pause = CLAIMED_ELSEWHERE.saturating_mul(1 << MAX_DOUBLINGS.min(empty_claims));
                    (Box::pin(tokio::time::sleep(pause)), false)
                }
                Ok(Step::Began(_)) => {
                    empty_claims = 0;
                    (Box::pin(std::future::ready(())), false)
                }
                Ok(Step::Wait { full, until }) => {
                    let safety =
                        self.context.clock.now().checked_add(POLL_INTERVAL).unwrap_or(Timestamp::MAX);
                    let until = until.map_or(safety, |until| until.min(safety));
                    (self.context.clock.sleep_until(until), full)
                }
                Err(e) => {
                    tracing::warn!(error = %e, "failed to read due deliveries; trying again");
                    (Box::pin(tokio::time::sleep(RETRY_DELAY)), false)
                }
            };
            loop {
                tokio::select! {
                    // The fast path comes first, so that a backlog does not delay it.
                    biased;
                    () = soft.cancelled() => break,
                    Some(leases) = fast_leases.recv() => self.begin_handed(leases, &mut cache).await,
                    () = watcher.woken() => break,
                    () = self.parts.limiter.freed(), if full => break,
                    () = &mut pause => break,
                }
            }
        }
    }

    /// Reads due deliveries once, and begins the attempts that get a permit.
    async fn step(&self, rate_limiters: &mut RateLimiters) -> Result<Step, StoreError> {
        let changes = self.context.notifier.endpoint_changes();
        let due = self.context.store.due().await?;
        let now = self.context.clock.now();
        let look = self.sort(due, changes, rate_limiters, now);
        let grants = self.parts.limiter.acquire(&look.wanting);
        if grants.is_empty() {
            return Ok(Step::Wait { full: look.full || !look.wanting.is_empty(), until: look.until });
        }
        let leases = self.claim(&grants, &look.endpoints, now).await?;
        let begun = leases.len();
        self.begin(leases, grants, &look.endpoints).await;
        Ok(Step::Began(begun))
    }

    /// Requests for permits, and the time of the next due delivery of the other endpoints.
    fn sort(&self, due: Vec<Due>, changes: u64, rate_limiters: &mut RateLimiters, now: Timestamp) -> Look {
        let mut look = Look::default();
        for Due { endpoint, at } in due {
            self.parts.store_only.set(&endpoint.id, self.is_store_only(&endpoint));
            if at > now {
                look.wake_at(at);
                continue;
            }
            let sending = &endpoint.settings.sending;
            let limit = sending.max_in_flight.map(MaxInFlight::get);
            let wanted = if endpoint.health.is_held_back() { 1 } else { usize::MAX };
            // The rate limit is asked only for deliveries with a permit: an admitted attempt counts as begun.
            let available = self.parts.limiter.available(&endpoint.id, limit).min(wanted);
            if available == 0 {
                look.full = true;
                continue;
            }
            match rate_limiters.take(&endpoint.id, sending.rate_limit, available) {
                Ok(count) => {
                    look.wanting.push(PermitRequest { endpoint: endpoint.id.clone(), count, limit });
                    let endpoint = CachedEndpoint { endpoint: Arc::new(endpoint), changes };
                    look.endpoints.insert(endpoint.endpoint.id.clone(), endpoint);
                }
                Err(wait) => look.wake_at(now.checked_add(wait).unwrap_or(Timestamp::MAX)),
            }
        }
        look
    }

    /// Returns whether deliveries of an endpoint have to be leased from the store: it is held back or has a rate limit, or its attempts may
    /// outlast a lease of the fast path.
    pub(super) fn is_store_only(&self, endpoint: &Endpoint) -> bool {
        let sending = &endpoint.settings.sending;
        endpoint.health.is_held_back()
            || sending.rate_limit.is_some()
            || sending.timeout.is_some_and(|timeout| timeout.get() > self.parts.timeout)
    }

    async fn claim(
        &self,
        grants: &[EndpointPermits],
        endpoints: &Endpoints,
        now: Timestamp,
    ) -> Result<Vec<Lease>, StoreError> {
        let after = |wait| now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let claims = grants.iter().filter_map(|grant| {
            let endpoint = &endpoints.get(&grant.endpoint)?.endpoint;
            let timeout = endpoint.settings.sending.timeout.map_or(self.parts.timeout, AttemptTimeout::get);
            Some(Claim {
                endpoint: grant.endpoint.clone(),
                count: u32::try_from(grant.permits.len()).unwrap_or(u32::MAX),
                token: LeaseToken::new(now, &self.context.rng),
                expires_at: after(lease_for(timeout)),
                probe: endpoint.health.is_held_back().then(|| after(PROBE_EVERY)),
            })
        });
        let _claiming = self.unsettled.claiming().await;
        let leases = self.context.store.claim(&claims.collect::<Vec<_>>(), now).await?;
        Ok(self.register(leases))
    }

    /// Begins attempts for leases of the fast path, as far as there are permits. The other leases are released.
    async fn begin_handed(&self, leases: Vec<Lease>, cache: &mut EndpointCache) {
        let leases = self.register(leases);
        self.learn(leases.iter().map(|lease| &lease.endpoint), cache).await;
        let usable = |known: &&CachedEndpoint| known.endpoint.enabled && !self.is_store_only(&known.endpoint);
        let endpoints = cache.endpoints().filter(usable);
        let endpoints: Endpoints =
            endpoints.map(|known| (known.endpoint.id.clone(), known.clone())).collect();
        let mut wanted: HashMap<&EndpointId, usize> = HashMap::new();
        for lease in leases.iter().filter(|lease| endpoints.contains_key(&lease.endpoint)) {
            *wanted.entry(&lease.endpoint).or_default() += 1;
        }
        let wanting = wanted.into_iter().map(|(endpoint, count)| {
            let limit = endpoints[endpoint].endpoint.settings.sending.max_in_flight.map(MaxInFlight::get);
            PermitRequest { endpoint: endpoint.clone(), count, limit }
        });
        let grants = self.parts.limiter.acquire(&wanting.collect::<Vec<_>>());
        self.begin(leases, grants, &endpoints).await;
    }

    /// Reads the endpoints that are missing in the cache or too old.
    async fn learn(&self, ids: impl Iterator<Item = &EndpointId>, cache: &mut EndpointCache) {
        let now = self.context.clock.instant();
        let changes = self.context.notifier.endpoint_changes();
        let unknown = cache.missing(ids, changes, now);
        if unknown.is_empty() {
            return;
        }
        match self.context.store.endpoints_named(&unknown).await {
            Ok(read) => {
                for endpoint in &read {
                    self.parts.store_only.set(&endpoint.id, self.is_store_only(endpoint));
                }
                cache.keep(read, changes, now);
            }
            Err(e) => {
                tracing::warn!(error = %e, "failed to read the endpoints of new deliveries; they stay due");
            }
        }
    }

    /// Begins attempts. A lease without a permit or an endpoint is released.
    async fn begin(&self, leases: Vec<Lease>, grants: Vec<EndpointPermits>, endpoints: &Endpoints) {
        let mut permits: HashMap<_, _> =
            grants.into_iter().map(|grant| (grant.endpoint, grant.permits)).collect();
        for lease in leases {
            let endpoint = endpoints.get(&lease.endpoint);
            match (endpoint, permits.get_mut(&lease.endpoint).and_then(Vec::pop)) {
                (Some(endpoint), Some(permit)) => {
                    self.context.lifecycle.spawn(self.clone().attempt(lease, endpoint.clone(), permit));
                }
                _ => self.release(lease).await,
            }
        }
    }
}
