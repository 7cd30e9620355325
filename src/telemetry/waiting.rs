//! Logs what a start waits for.

use std::time::Duration;

/// Time after which a wait is logged first.
const FIRST: Duration = Duration::from_secs(1);

/// Time between two lines about the same wait.
const INTERVAL: Duration = Duration::from_secs(10);

/// Runs a step of the start, and logs that it is still waiting for it when it takes long. `what` completes "waiting for".
pub async fn log_waiting<T>(what: &str, step: impl Future<Output = T>) -> T {
    let mut step = std::pin::pin!(step);
    let mut waited = Duration::ZERO;
    let mut pause = FIRST;
    loop {
        tokio::select! {
            done = &mut step => return done,
            () = tokio::time::sleep(pause) => {
                waited += pause;
                pause = INTERVAL;
                tracing::warn!(waited_s = waited.as_secs(), "the start is waiting for {what}");
            }
        }
    }
}
