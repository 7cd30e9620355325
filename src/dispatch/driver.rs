//! The driver: leases what is due, attempts it, and decides what follows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::settler;
use crate::domain::{
    AttemptReport, Chance, Clock, Endpoint, EndpointId, Lease, LeaseToken, Retry, RetryPolicy, Settlement,
    Verdict,
};
use crate::egress::Sender;
use crate::handover::{Grant, Place, Places, Taker};
use crate::lifecycle::Lifecycle;
use crate::store::{Claim, Store, StoreError};
use crate::telemetry::Metrics;
use crate::wake::Wake;

/// What a driver is made of.
pub struct DriverParts {
    /// Where deliveries are.
    pub store: Arc<dyn Store>,
    /// What makes attempts.
    pub sender: Arc<Sender>,
    /// Who says that something is due.
    pub wake: Wake,
    /// How many attempts may be under way.
    pub places: Places,
    /// When to try again.
    pub policy: RetryPolicy,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What makes leases unique and retries spread.
    pub chance: Chance,
    /// What is counted.
    pub metrics: Metrics,
    /// When to stop.
    pub lifecycle: Lifecycle,
}

/// How much longer than an attempt its lease lasts: the result has to be written within it.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// How long to lease what may take so long.
#[must_use]
pub fn lease_for(timeout: Duration) -> Duration {
    timeout + LEASE_MARGIN
}

/// How long to wait before looking again when the store could not be asked.
const AGAIN: Duration = Duration::from_secs(1);

/// How long to wait before looking again for what another replica is claiming.
const CLAIMED_ELSEWHERE: Duration = Duration::from_millis(10);

/// How long the driver sleeps at most: a wake-up from another replica can be lost with its connection.
const SAFETY_POLL: Duration = Duration::from_secs(5);

/// How long what was read of an endpoint is used for what intake hands over. What is claimed later is always sent to the
/// endpoint as it is then.
const FRESH: Duration = Duration::from_secs(1);

/// Endpoints that were read a moment ago.
type Known = HashMap<EndpointId, Read>;

struct Read {
    endpoint: Arc<Endpoint>,
    read_at: Instant,
}

/// Drives deliveries.
#[derive(Clone)]
pub struct Driver {
    parts: Arc<DriverParts>,
    results: mpsc::Sender<Settlement>,
}

/// What one look at the store led to.
enum Step {
    /// So many attempts were begun; there may be more.
    Began(usize),
    /// Nothing can be begun now.
    Wait {
        /// Whether something is due that has no place, so that a freed place is worth another look.
        full: bool,
        /// When something else becomes due.
        until: Option<Timestamp>,
    },
}

impl Driver {
    /// A driver, with its settler running.
    #[must_use]
    pub fn new(parts: DriverParts) -> Self {
        let results = settler::start(
            Arc::clone(&parts.store),
            parts.wake.clone(),
            parts.metrics.clone(),
            &parts.lifecycle,
        );
        Self { parts: Arc::new(parts), results }
    }

    /// Drives until the soft stop. Attempts under way go on without it; what was handed over and not begun is given
    /// back.
    pub async fn run(self, mut handed: Taker) {
        self.drive(&mut handed).await;
        handed.close();
        while let Some(leases) = handed.take().await {
            for lease in leases {
                self.release(lease).await;
            }
        }
    }

    /// The stop is looked at between steps only: a step that was broken off could leave leases that nobody attempts and
    /// nobody gives back.
    async fn drive(&self, handed: &mut Taker) {
        let soft = self.parts.lifecycle.soft();
        // The watcher comes before the look: what becomes due in between wakes it.
        let mut watcher = self.parts.wake.watch_due();
        let mut known = Known::new();
        while !soft.is_cancelled() {
            let (wait, full) = match self.step().await {
                // Due, with a place, and yet not ours: another replica is about to commit its claim.
                Ok(Step::Began(0)) => (CLAIMED_ELSEWHERE, false),
                Ok(Step::Began(_)) => (Duration::ZERO, false),
                Ok(Step::Wait { full, until }) => {
                    (until.map_or(SAFETY_POLL, |then| self.time_until(then).min(SAFETY_POLL)), full)
                }
                Err(e) => {
                    tracing::warn!(error = %e, "could not look for due deliveries; trying again");
                    (AGAIN, false)
                }
            };
            let mut sleep = self.parts.clock.sleep(wait);
            loop {
                tokio::select! {
                    // What was handed over comes first, so that a backlog does not keep it waiting.
                    biased;
                    () = soft.cancelled() => break,
                    Some(leases) = handed.take() => self.begin_handed(leases, &mut known).await,
                    () = watcher.woken() => break,
                    () = self.parts.places.freed(), if full => break,
                    () = &mut sleep => break,
                }
            }
        }
    }

    /// Looks once, and begins the attempts that are due and have a place.
    async fn step(&self) -> Result<Step, StoreError> {
        let due = self.parts.store.due().await?;
        let now = self.parts.clock.now();
        let (ready, later): (Vec<_>, Vec<_>) = due.into_iter().partition(|it| it.at <= now);
        let wanting: Vec<_> = ready.iter().map(|it| (it.endpoint.id.clone(), usize::MAX)).collect();
        let grants = self.parts.places.grant(&wanting);
        if grants.is_empty() {
            return Ok(Step::Wait { full: !ready.is_empty(), until: later.iter().map(|it| it.at).min() });
        }
        let leases = self.claim(&grants, now).await?;
        let begun = leases.len();
        let endpoints = ready.into_iter().map(|it| (it.endpoint.id.clone(), Arc::new(it.endpoint)));
        self.begin(leases, grants, endpoints.collect()).await;
        Ok(Step::Began(begun))
    }

    async fn claim(&self, grants: &[Grant], now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        let until = now.checked_add(lease_for(self.parts.timeout)).unwrap_or(Timestamp::MAX);
        let claims = grants.iter().map(|grant| Claim {
            endpoint: grant.endpoint.clone(),
            count: u32::try_from(grant.places.len()).unwrap_or(u32::MAX),
            until,
            token: LeaseToken::new(now, &self.parts.chance),
        });
        self.parts.store.claim(&claims.collect::<Vec<_>>(), now).await
    }

    /// Begins what intake leased, as far as there are places; the rest becomes due.
    async fn begin_handed(&self, leases: Vec<Lease>, known: &mut Known) {
        let mut wanted: HashMap<EndpointId, usize> = HashMap::new();
        for lease in &leases {
            *wanted.entry(lease.endpoint.clone()).or_default() += 1;
        }
        let wanting: Vec<_> = wanted.into_iter().collect();
        let grants = self.parts.places.grant(&wanting);
        self.learn(wanting.iter().map(|(endpoint, _)| endpoint), known).await;
        let endpoints = known.iter().filter(|(_, it)| it.endpoint.enabled);
        self.begin(
            leases,
            grants,
            endpoints.map(|(id, it)| (id.clone(), Arc::clone(&it.endpoint))).collect(),
        )
        .await;
    }

    /// Makes sure that what is known of these endpoints is as fresh as it has to be.
    async fn learn(&self, ids: impl Iterator<Item = &EndpointId>, known: &mut Known) {
        let now = self.parts.clock.instant();
        known.retain(|_, it| now.saturating_duration_since(it.read_at) < FRESH);
        let unknown: Vec<_> = ids.filter(|id| !known.contains_key(*id)).cloned().collect();
        if unknown.is_empty() {
            return;
        }
        match self.parts.store.endpoints_named(&unknown).await {
            Ok(read) => {
                known.extend(
                    read.into_iter().map(|it| (it.id.clone(), Read { endpoint: Arc::new(it), read_at: now })),
                );
            }
            Err(e) => {
                tracing::warn!(error = %e, "could not read the endpoints of new deliveries; they stay due");
            }
        }
    }

    /// Begins attempts. A lease without a place or an endpoint is given back.
    async fn begin(
        &self,
        leases: Vec<Lease>,
        grants: Vec<Grant>,
        endpoints: HashMap<EndpointId, Arc<Endpoint>>,
    ) {
        let mut places: HashMap<_, _> =
            grants.into_iter().map(|grant| (grant.endpoint, grant.places)).collect();
        for lease in leases {
            let endpoint = endpoints.get(&lease.endpoint);
            match (endpoint, places.get_mut(&lease.endpoint).and_then(Vec::pop)) {
                (Some(endpoint), Some(place)) => {
                    self.parts.lifecycle.spawn(self.clone().attempt(lease, Arc::clone(endpoint), place));
                }
                _ => self.release(lease).await,
            }
        }
    }

    async fn attempt(self, lease: Lease, endpoint: Arc<Endpoint>, place: Place) {
        let at = self.parts.clock.now();
        let sending = self.parts.sender.send(&endpoint, &lease, at);
        let Some(report) = self.parts.lifecycle.hard().run_until_cancelled(sending).await else {
            return self.release(lease).await;
        };
        drop(place);
        let verdict = self.verdict(&lease, &report);
        self.note(&lease, &endpoint, &report, verdict);
        self.settle(lease, verdict, Some(report)).await;
    }

    /// Gives a lease back: the delivery is due at once, and nothing was attempted.
    async fn release(&self, lease: Lease) {
        self.settle(lease, Verdict::Released, None).await;
    }

    async fn settle(&self, lease: Lease, verdict: Verdict, report: Option<AttemptReport>) {
        let at = self.parts.clock.now();
        let settlement = Settlement { delivery: lease.delivery, token: lease.token, verdict, at, report };
        // The settler outlives its senders; if it is gone all the same, the lease runs out.
        let _ = self.results.send(settlement).await;
    }

    fn verdict(&self, lease: &Lease, report: &AttemptReport) -> Verdict {
        if report.accepted() {
            return Verdict::Succeeded;
        }
        let attempts = lease.attempt_count.saturating_add(1);
        let (now, chance) = (self.parts.clock.now(), self.parts.chance.fraction());
        match self.parts.policy.next(attempts, now, report.retry_after, chance) {
            Retry::At(then) => Verdict::RetryAt(then),
            Retry::Never => Verdict::Exhausted,
        }
    }

    fn note(&self, lease: &Lease, endpoint: &Endpoint, report: &AttemptReport, verdict: Verdict) {
        self.parts.metrics.attempt(report.outcome(), report.elapsed);
        let (delivery, event, endpoint) = (lease.delivery, &lease.event.id, &endpoint.settings.name);
        let (attempt, outcome, status) = (lease.attempt_count + 1, report.outcome(), report.status);
        let elapsed_ms = report.elapsed.as_secs_f64() * 1e3;
        let error = report.error.map(|_| report.response.as_str());
        match verdict {
            Verdict::RetryAt(then) => tracing::warn!(
                %delivery, %event, %endpoint, attempt, outcome, status, error, elapsed_ms, next_attempt_at = %then,
                "attempt failed; trying again later"
            ),
            Verdict::Exhausted => tracing::error!(
                %delivery, %event, %endpoint, attempt, outcome, status, error, elapsed_ms,
                "attempt failed, and it was the last: the delivery is exhausted"
            ),
            Verdict::Succeeded => tracing::info!(
                %delivery, %event, %endpoint, attempt, outcome, status, elapsed_ms, "delivery accepted"
            ),
            // What was not attempted to its end says nothing about the receiver.
            Verdict::Released => {}
        }
    }

    fn time_until(&self, then: Timestamp) -> Duration {
        Duration::try_from(then.duration_since(self.parts.clock.now())).unwrap_or_default()
    }
}
