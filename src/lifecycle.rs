//! Shutdown: a signal becomes a soft stop and then a hard one, and every task is tracked.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Time that connections have after the listeners were closed, when their requests could have ended before.
const CONNECTIONS_TIMEOUT: Duration = Duration::from_secs(1);

/// Time that connections have after they were told to drop what they do, and the writer of callbacks to end behind them.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Lifecycle of the process, given to every long-running task.
///
/// The stop has four steps. Soft: tasks begin nothing new and finish what they have; long-polls and streams end; the
/// listeners go on. Hard: tasks drop what they have. Closing: nothing but connections is left, so the listeners accept what
/// the system holds for them and close. Aborted: connections that still have not ended are dropped. Nothing is spawned but
/// through here, so that the end knows what it waits for.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    closing: CancellationToken,
    aborted: CancellationToken,
    tasks: TaskTracker,
    connections: TaskTracker,
}

impl Lifecycle {
    /// Returns the lifecycle of a process without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Token of the soft stop: tasks begin nothing new.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Token of the hard stop: tasks drop their work.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Token of the closing of the listeners.
    #[must_use]
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Token of the end of all connections.
    #[must_use]
    pub fn aborted(&self) -> &CancellationToken {
        &self.aborted
    }

    /// Runs a task that ends at the soft stop, or finishes its work after that.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Runs a listener, a connection, or what connections need until their end.
    pub fn spawn_connection(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.connections.spawn(task);
    }

    /// Returns a token that keeps the listeners open until it is dropped.
    pub fn request(&self) -> TaskTrackerToken {
        self.tasks.token()
    }

    /// Stops everything. Tasks have `grace` to finish, and a quarter as long again after they were told to drop their work. The
    /// listeners stay open meanwhile, and at least for `drain`. Returns whether everything had finished by itself.
    pub async fn stop(&self, grace: Duration, drain: Duration) -> bool {
        self.soft.cancel();
        self.tasks.close();
        let (finished, ()) = tokio::join!(self.stop_tasks(grace), tokio::time::sleep(drain));
        self.closing.cancel();
        self.connections.close();
        if tokio::time::timeout(CONNECTIONS_TIMEOUT, self.connections.wait()).await.is_ok() {
            return finished;
        }
        self.aborted.cancel();
        let _ = tokio::time::timeout(ABORT_TIMEOUT, self.connections.wait()).await;
        false
    }

    async fn stop_tasks(&self, grace: Duration) -> bool {
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return true;
        }
        self.hard.cancel();
        tokio::time::timeout(grace / 4, self.tasks.wait()).await.is_ok()
    }
}

/// Signals that stop the process: SIGTERM and SIGINT.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Subscribes to the signals.
    pub fn watch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and returns its name. Cancel safe: a signal that was not returned is returned by the next call.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Logs SIGHUP, SIGUSR1 and SIGUSR2 and ignores them, for as long as the runtime lives. Their default action would end the process, and a
/// terminal, an init script or log rotation may send them.
pub fn ignore_other_signals() -> std::io::Result<()> {
    let kinds = [
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::user_defined1(), "SIGUSR1"),
        (SignalKind::user_defined2(), "SIGUSR2"),
    ];
    for (kind, name) in kinds {
        let mut received = signal(kind)?;
        #[expect(clippy::disallowed_methods, reason = "it ends with the runtime, and nothing waits for it")]
        tokio::spawn(async move {
            while received.recv().await.is_some() {
                tracing::warn!(
                    "ignored {name}: the configuration is read at the start only; restart to change it"
                );
            }
        });
    }
    Ok(())
}

/// Survives SIGXFSZ: a file that may not grow further is then an error of the write, which the store reports, and not
/// the end of the process.
pub fn ignore_file_size_signal() -> std::io::Result<()> {
    // Registering a handler replaces the default action, which ends the process. The signal itself is not received.
    let xfsz = rustix::process::Signal::XFSZ.as_raw();
    signal(SignalKind::from_raw(xfsz)).map(drop)
}

/// Raises the soft limit of open files to the hard one: ten thousand waiting requests need ten thousand files. Returns the limit that is
/// then in force.
#[must_use]
pub fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_ok() { getrlimit(Resource::Nofile).current } else { before }
}
