//! Listener of the simulators: accepts connections and closes them when the process is told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};

use crate::lifecycle::Lifecycle;

/// Maximum time for the head of a request.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum length of a body in bytes.
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// Time that requests under way have when the process is told to stop.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Pause after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Listens; port 0 takes a free one.
pub(super) async fn listen(at: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(at).await.with_context(|| format!("failed to listen on {at}"))
}

/// Accepts connections until the soft stop, which also ends those that are being served.
pub(super) async fn accept<F>(
    listener: TcpListener,
    lifecycle: Lifecycle,
    serve: impl Fn(TcpStream) -> F + Send,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let stop = lifecycle.soft().clone();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let served = serve(stream);
        let soft = stop.clone();
        lifecycle.spawn(async move {
            soft.run_until_cancelled(served).await;
        });
    }
}
