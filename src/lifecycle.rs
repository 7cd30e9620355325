//! How the house comes to rest: signals become a soft stop, then a hard one, and every task is counted.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Handed to everything that runs for long.
///
/// The soft stop says "begin nothing new, finish what you have"; the hard stop says "drop what you have". Nothing is
/// spawned but through here, so that the end knows what it waits for.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
}

impl Lifecycle {
    /// Nothing runs yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when nothing new is to be begun.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when what still runs is to be dropped.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Runs a task that the end waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Comes to rest: asks softly, after `grace` asks hard, and ends when every task has ended, or after half as long
    /// again. Says whether every task had.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.soft.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_ok() {
            return true;
        }
        self.hard.cancel();
        tokio::time::timeout(grace / 2, self.tracker.wait()).await.is_ok()
    }
}

/// The wishes to stop: SIGTERM and SIGINT.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Watches them from now on. Fails when the process may not.
    pub fn watch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The first that came since.
    pub async fn first(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Survives SIGXFSZ: a file that may not grow further is then an error of the write, which the store reports, and not
/// the end of the process.
pub fn ignore_file_size_signal() -> std::io::Result<()> {
    // Registering a handler is what keeps the default action, death, from happening; nobody needs to receive it.
    let xfsz = rustix::process::Signal::XFSZ.as_raw();
    signal(SignalKind::from_raw(xfsz)).map(drop)
}

/// Raises the soft limit of open files to the hard one: ten thousand waiting requests are ten thousand files.
/// Says what it is now; when the system refuses, what it was.
#[must_use]
pub fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_ok() { getrlimit(Resource::Nofile).current } else { before }
}
