//! Metrics in Prometheus' text format.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::logging::dropped_lines;
use http::StatusCode;
use metrics::{Counter, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// Metrics of one gateway. There is no global registry: two gateways in one process count separately.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    counters: Arc<CounterCache>,
}

const METADATA: Metadata<'static> = Metadata::new("remgate", Level::INFO, None);

const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Counters: name and description, which is the text of `# HELP`.
const COUNTERS: [(&str, &str); 8] = [
    ("remgate_callbacks_total", "Callbacks answered, by service, type and outcome"),
    (
        "remgate_callback_tokens_total",
        "Callbacks stored or seen before, by service and the digest of the token that was used",
    ),
    ("remgate_requests_total", "Requests answered, by listener, route and status"),
    ("remgate_events_total", "Events stored, by type"),
    ("remgate_log_lines_dropped_total", "Log lines dropped because stderr was not read"),
    ("remgate_deliveries_total", "Deliveries that reached a state, by state"),
    ("remgate_attempts_total", "Attempts made, by outcome"),
    ("remgate_remotepc_requests_total", "Requests under /admin/remotepc, by operation and outcome"),
];
const GAUGES: [(&str, &str); 2] = [
    ("remgate_deliveries_pending", "Deliveries that are not settled yet"),
    ("remgate_waiters", "Requests that wait for something to happen"),
];
const HISTOGRAMS: [(&str, &str, Option<Unit>); 3] = [
    ("remgate_intake_batch_size", "Callbacks that shared one commit", None),
    ("remgate_intake_commit_seconds", "How long one commit of callbacks took", Some(Unit::Seconds)),
    ("remgate_attempt_seconds", "How long one attempt took", Some(Unit::Seconds)),
];

impl Metrics {
    /// Returns an empty registry.
    #[must_use]
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZES))
            .expect("the lists of buckets are not empty")
            .build_recorder();
        for (name, help) in COUNTERS {
            recorder.describe_counter(name.into(), None, help.into());
        }
        for (name, help) in GAUGES {
            recorder.describe_gauge(name.into(), None, help.into());
        }
        for (name, help, unit) in HISTOGRAMS {
            recorder.describe_histogram(name.into(), unit, help.into());
        }
        let handle = recorder.handle();
        let metrics = Self { recorder: Arc::new(recorder), handle, counters: Arc::default() };
        for listener in ["public", "internal"] {
            let labels = [("listener", listener), ("route", "/livez"), ("status", "200")];
            metrics.count("remgate_requests_total", &labels, 0);
        }
        metrics
    }

    /// Counts an answered callback.
    pub fn callback(&self, service: &str, callback_type: &'static str, outcome: &'static str) {
        let labels = [("service", service), ("type", callback_type), ("outcome", outcome)];
        self.count("remgate_callbacks_total", &labels, 1);
    }

    /// Counts a callback that used a token; `token` is the beginning of its digest.
    pub fn callback_token(&self, service: &str, token: &str) {
        self.count("remgate_callback_tokens_total", &[("service", service), ("token", token)], 1);
    }

    /// Makes the series of a configured token, so that one that is never used shows as 0.
    pub fn declare_callback_token(&self, service: &str, token: &str) {
        self.count("remgate_callback_tokens_total", &[("service", service), ("token", token)], 0);
    }

    /// Counts an answered request. `route` is the path as it is declared, `other` where nothing is served.
    pub fn request(&self, listener: &'static str, route: &str, status: StatusCode) {
        let labels = [("listener", listener), ("route", route), ("status", status.as_str())];
        self.count("remgate_requests_total", &labels, 1);
    }

    /// Counts a stored event.
    pub fn event(&self, event_type: &'static str) {
        self.count("remgate_events_total", &[("type", event_type)], 1);
    }

    /// Records a commit: the number of its callbacks and its duration.
    pub fn batch(&self, size: usize, commit: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a batch has a few hundred callbacks at the most")]
        self.observe("remgate_intake_batch_size", size as f64);
        self.observe("remgate_intake_commit_seconds", commit.as_secs_f64());
    }

    /// Counts deliveries that reached a state.
    pub fn deliveries(&self, state: &'static str, count: u64) {
        self.count("remgate_deliveries_total", &[("state", state)], count);
    }

    /// Sets the number of open deliveries.
    pub fn deliveries_pending(&self, count: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for graphs")]
        self.gauge("remgate_deliveries_pending").set(count as f64);
    }

    /// Records an attempt: its outcome and duration.
    pub fn attempt(&self, outcome: &'static str, elapsed: Duration) {
        self.count("remgate_attempts_total", &[("outcome", outcome)], 1);
        self.observe("remgate_attempt_seconds", elapsed.as_secs_f64());
    }

    /// Counts a waiting request until the guard is dropped.
    #[must_use]
    pub fn waiter(&self) -> WaiterGuard {
        let gauge = self.gauge("remgate_waiters");
        gauge.increment(1.0);
        WaiterGuard(gauge)
    }

    /// Counts an answered request under `/admin/remotepc`.
    pub fn remotepc(&self, operation: &'static str, outcome: &'static str) {
        let labels = [("operation", operation), ("outcome", outcome)];
        self.count("remgate_remotepc_requests_total", &labels, 1);
    }

    /// Returns the text that Prometheus scrapes.
    #[must_use]
    pub fn render(&self) -> String {
        self.upkeep();
        self.handle.render()
    }

    /// Adds recorded observations to the histogram buckets. Must be called regularly, also when the metrics are not
    /// read: until then each observation is kept by itself.
    pub fn upkeep(&self) {
        let dropped = Key::from_static_name("remgate_log_lines_dropped_total");
        self.recorder.register_counter(&dropped, &METADATA).absolute(dropped_lines());
        self.handle.run_upkeep();
    }

    fn count(&self, name: &'static str, labels: &[LabelPair<'_>], by: u64) {
        self.counters.with(
            name,
            labels,
            |counter| counter.increment(by),
            |key| self.recorder.register_counter(key, &METADATA),
        );
    }

    fn gauge(&self, name: &'static str) -> metrics::Gauge {
        self.recorder.register_gauge(&Key::from_static_name(name), &METADATA)
    }

    fn observe(&self, name: &'static str, value: f64) {
        self.recorder.register_histogram(&Key::from_static_name(name), &METADATA).record(value);
    }
}

/// Name and value of a label.
type LabelPair<'l> = (&'static str, &'l str);

/// Handles of counters that were used before, so that a count needs no allocation.
#[derive(Default)]
struct CounterCache {
    hasher: RandomState,
    /// By the hash of name and labels. Different counters may have the same hash.
    counters: RwLock<HashMap<u64, Vec<(Key, Counter)>>>,
}

impl CounterCache {
    /// Uses the counter with this name and these labels, after `register` made it if it is new.
    fn with(
        &self,
        name: &'static str,
        labels: &[LabelPair<'_>],
        apply: impl Fn(&Counter),
        register: impl FnOnce(&Key) -> Counter,
    ) {
        let hash = self.hasher.hash_one((name, labels));
        let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
        let found = counters.get(&hash).into_iter().flatten().find(|(key, _)| is_key(key, name, labels));
        if let Some((_, counter)) = found {
            return apply(counter);
        }
        drop(counters);
        let labels = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned()));
        let key = Key::from_parts(name, labels.collect::<Vec<_>>());
        let counter = register(&key);
        apply(&counter);
        let mut counters = self.counters.write().unwrap_or_else(PoisonError::into_inner);
        counters.entry(hash).or_default().push((key, counter));
    }
}

fn is_key(key: &Key, name: &str, labels: &[LabelPair<'_>]) -> bool {
    key.name() == name && key.labels().map(|label| (label.key(), label.value())).eq(labels.iter().copied())
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics(..)")
    }
}

/// Counts one waiting request for as long as it lives.
pub struct WaiterGuard(metrics::Gauge);

impl Drop for WaiterGuard {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
