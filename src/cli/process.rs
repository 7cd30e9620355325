//! Runtime of a subcommand, and the errors that decide its exit code.

use crate::lifecycle::StopSignals;

/// Wrong usage that the parser does not find.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// Runs a subcommand's work; `serve` has a runtime of its own. SIGTERM and SIGINT end it, also where it is the first process of
/// a container, for which signals have no default action.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    block_on_with_signals(async |signals| until_stopped(signals, work).await)
}

/// Runs work that handles signals itself.
pub(super) fn block_on_with_signals<T>(
    work: impl AsyncFnOnce(&mut StopSignals) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async { work(&mut StopSignals::watch()?).await });
    // A thread may be reading from a terminal, and cannot be told to stop.
    runtime.shutdown_background();
    outcome
}

/// Runs a subcommand that does not wait for the network, in a thread of its own, so that a signal ends it.
pub(super) fn block_on_thread(
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    block_on(async { tokio::task::spawn_blocking(work).await? })
}

/// Runs work until a signal, which drops it.
pub(super) async fn until_stopped<T>(
    signals: &mut StopSignals,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        done = work => done,
        signal = signals.next() => Err(Stopped(signal).into()),
    }
}

/// Error of a subcommand that a signal ended.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {0}")]
pub(super) struct Stopped(pub(super) &'static str);

impl Stopped {
    /// Returns the exit code of a command that a signal ended, as shells report it.
    pub(super) fn exit_code(&self) -> u8 {
        if self.0 == "SIGINT" { 130 } else { 143 }
    }
}
