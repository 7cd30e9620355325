//! An address that stays while what is behind it changes: what a proxy in front of replicas is to a client.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Passes connections on. Dropping it cuts them.
pub(crate) struct Junction {
    addr: SocketAddr,
    target: watch::Sender<SocketAddr>,
    freeze: watch::Sender<u64>,
    stop: CancellationToken,
}

impl Junction {
    /// On a port of its own, to this address.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let addr = listener.local_addr().expect("it is bound");
        let (target, stop) = (watch::Sender::new(target), CancellationToken::new());
        let freeze = watch::Sender::new(0);
        let freezes = freeze.clone();
        let (leads, stopped) = (target.subscribe(), stop.clone());
        detach(stop.clone(), async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let there = *leads.borrow();
                let mut frozen = freezes.subscribe();
                detach(stopped.clone(), async move {
                    // Without a listener there, the connection ends.
                    if let Ok(mut far) = TcpStream::connect(there).await {
                        tokio::select! {
                            _ = copy_bidirectional(&mut near, &mut far) => {}
                            _ = frozen.changed() => std::future::pending().await,
                        }
                    }
                });
            }
        });
        Self { addr, target, freeze, stop }
    }

    /// Passes new connections on to another address; those that there are stay where they are.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }

    /// Lets the connections that there are stay open and say nothing more, as when their other side lost its power.
    pub(crate) fn freeze(&self) {
        self.freeze.send_modify(|count| *count += 1);
    }

    /// A PostgreSQL URL that leads here.
    pub(crate) fn postgres_url(&self, user: &str, path: &str) -> String {
        format!("postgres://{user}{}{path}", self.addr)
    }

    /// Returns the URL of `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

impl Drop for Junction {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[expect(clippy::disallowed_methods, reason = "it ends with the junction, or with the test's own runtime")]
fn detach(stop: CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(stop.run_until_cancelled_owned(task)));
}
