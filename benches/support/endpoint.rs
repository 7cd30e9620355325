//! The endpoint that deliveries go to: it costs as little as it can, on a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::load::Uaid;
use super::{find, message_length, now};

/// Behaviour of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes it and never answers: as many deliveries hang as may be in flight, the others wait in the store.
    Hold,
    /// Answers 200 at once.
    Accept,
}

/// A running endpoint. Dropping it closes its connections.
pub(crate) struct Endpoint {
    /// Address.
    pub(crate) addr: SocketAddr,
    received: Arc<AtomicU64>,
    receipts: Receiver<(Uaid, Instant)>,
    stop: CancellationToken,
}

#[derive(Clone)]
struct EndpointServer {
    manner: Manner,
    received: Arc<AtomicU64>,
    receipts: Sender<(Uaid, Instant)>,
}

impl Endpoint {
    /// One that behaves in this manner, on a port of its own.
    pub(crate) fn start(manner: Manner) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let received = Arc::new(AtomicU64::new(0));
        let (sender, receipts) = mpsc::channel();
        let stop = CancellationToken::new();
        let server = EndpointServer { manner, received: Arc::clone(&received), receipts: sender };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let stopped = stop.clone();
        std::thread::spawn(move || {
            runtime.block_on(stopped.run_until_cancelled(server.accept(listener)));
        });
        Ok(Self { addr, received, receipts, stop })
    }

    /// Number of requests received.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Forgets what was received so far.
    pub(crate) fn forget(&self) {
        while self.receipts.try_recv().is_ok() {}
    }

    /// The next receipt.
    pub(crate) fn receipt(&self, bound: Duration) -> anyhow::Result<(Uaid, Instant)> {
        self.receipts.recv_timeout(bound).context("a delivery did not arrive")
    }

    /// Waits until nothing has come for `quiet`.
    pub(crate) fn drained(&self, quiet: Duration, bound: Duration) -> anyhow::Result<()> {
        let from = now();
        let mut seen = self.received();
        loop {
            std::thread::sleep(quiet);
            let next = self.received();
            if next == seen {
                return Ok(());
            }
            seen = next;
            ensure!(now() - from < bound, "deliveries still arrive after {bound:?}");
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl EndpointServer {
    async fn accept(self, listener: std::net::TcpListener) {
        let listener =
            TcpListener::from_std(listener).expect("a runtime is there and the listener does not block");
        let connections = TaskTracker::new();
        while let Ok((stream, _)) = listener.accept().await {
            let server = self.clone();
            connections.spawn(async move {
                // The gateway hangs up when it is stopped: that is no error here.
                let _ = server.serve(stream).await;
            });
        }
    }

    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::with_capacity(4096);
        while stream.read_buf(&mut buffer).await? > 0 {
            let Some(length) = message_length(&buffer) else { continue };
            let at = now();
            self.received.fetch_add(1, Ordering::Relaxed);
            if self.manner == Manner::Accept {
                if let Some(uaid) = uaid_in(&buffer[..length]) {
                    let _ = self.receipts.send((uaid, at));
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
            }
            buffer.drain(..length);
        }
        Ok(())
    }
}

fn uaid_in(request: &[u8]) -> Option<Uaid> {
    const KEY: &[u8] = b"\"uaid\":\"";
    let from = find(request, KEY)? + KEY.len();
    request.get(from..from + 32)?.try_into().ok()
}
