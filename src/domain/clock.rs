//! Sources of time. Tests use one that they move.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

/// Source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, truncated to whole milliseconds: what is stored and what is shown are then the same.
    fn now(&self) -> Timestamp;

    /// A point on the monotonic clock, for measuring how long something took.
    fn instant(&self) -> Instant;

    /// Monotonic time since an arbitrary start. Unaffected by changes of the wall clock; for rate limits.
    fn ticks(&self) -> Duration;

    /// Ends when the wall clock has advanced by `wait`.
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Ends when the wall clock shows `then`, if it runs evenly until then.
    fn sleep_until(&self, then: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.sleep(Duration::try_from(then.duration_since(self.now())).unwrap_or_default())
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        truncated(Timestamp::now())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn ticks(&self) -> Duration {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        let begun = *BEGUN.get_or_init(|| self.instant());
        self.instant().saturating_duration_since(begun)
    }

    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// Clock that a test moves. Durations measured by [`Clock::instant`] are real.
#[derive(Debug, Clone)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// Returns a clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(watch::Sender::new(truncated(now)))
    }

    /// Moves the clock forward and wakes all sleepers whose time has come.
    ///
    /// # Panics
    ///
    /// When the time would pass the year 9999.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.checked_add(by).expect("tests stay in this millennium"));
    }

    /// Puts the clock back. Sleepers wait for their time as before.
    ///
    /// # Panics
    ///
    /// When the time would be before the year -9999.
    pub fn put_back(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.checked_sub(by).expect("tests stay in this millennium"));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn ticks(&self) -> Duration {
        self.now().duration_since(Timestamp::UNIX_EPOCH).unsigned_abs()
    }

    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.sleep_until(self.now().checked_add(wait).unwrap_or(Timestamp::MAX))
    }

    /// Not computed as a duration: a test may move the clock between the call of `now` and the beginning of the sleep.
    fn sleep_until(&self, then: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut shown = self.0.subscribe();
        Box::pin(async move {
            // The sender lives as long as `self`, so this cannot end before its time.
            let _ = shown.wait_for(|now| *now >= then).await;
        })
    }
}

fn truncated(now: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
