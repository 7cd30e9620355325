//! Accepted connections: time limits for a silent client, and notice of a disconnect.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// Time limit for a request's head, from its first byte, and for the first byte of a new connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// TCP connection, shared by its HTTP connection and by requests that watch it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    idle_timeout: Duration,
    phase: Mutex<Phase>,
    /// Wakes the reader when the deadline has changed.
    reader: Mutex<Option<Waker>>,
}

/// Present state of a connection, with its deadline.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Waits for the first byte of a request until this time.
    Idle(Instant),
    /// Waits for the rest of a request's head until this time.
    Head(Instant),
    /// Serves a request, which has limits of its own.
    Busy,
}

impl Connection {
    /// Returns a new connection. `idle_timeout` is the time limit between two requests.
    pub(super) fn new(stream: TcpStream, idle_timeout: Duration) -> Arc<Self> {
        let phase = Mutex::new(Phase::Idle(now() + HEAD_TIMEOUT));
        Arc::new(Self { stream, idle_timeout, phase, reader: Mutex::default() })
    }

    /// Marks a request as being served, until the guard is dropped.
    pub(super) fn serve(self: &Arc<Self>) -> Serving {
        self.set(Phase::Busy);
        Serving(Arc::clone(self))
    }

    /// Ends when the other side has closed its half of the connection, or the connection has broken. Never ends while data
    /// waits to be read.
    pub(super) async fn closed(&self) {
        loop {
            if self.stream.ready(Interest::READABLE).await.is_err() {
                return;
            }
            match self.stream.peek(&mut [0]).await {
                Ok(0) | Err(_) => return,
                // A pipelined request: a disconnect behind it cannot be seen.
                Ok(_) => std::future::pending().await,
            }
        }
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Records that bytes have arrived.
    fn received(&self) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Idle(_) = *phase {
            *phase = Phase::Head(now() + HEAD_TIMEOUT);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match *self.phase.lock().unwrap_or_else(PoisonError::into_inner) {
            Phase::Idle(until) | Phase::Head(until) => Some(until),
            Phase::Busy => None,
        }
    }
}

/// Marks a connection as busy until it is dropped. Then the connection waits for the next request.
#[derive(Debug)]
pub(super) struct Serving(Arc<Connection>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.set(Phase::Idle(now() + self.0.idle_timeout));
        // hyper reads during a request, too, and then not again before something wakes it.
        let reader = self.0.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// Time of the runtime: connections are timed by it, whatever the clock of the gateway says.
#[expect(
    clippy::disallowed_methods,
    reason = "a connection's silence is measured, not decided by a test's clock"
)]
fn now() -> Instant {
    Instant::now()
}

/// Bytes of a connection.
pub(super) struct ConnectionIo {
    connection: Arc<Connection>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ConnectionIo {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, timer: None }
    }

    /// Waits for the deadline, if there is one.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        *self.connection.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        let Some(deadline) = self.connection.deadline() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request arrived in time")))
    }
}

impl AsyncRead for ConnectionIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.connection.stream.poll_read_ready(cx)?.is_pending() {
                return this.poll_timeout(cx);
            }
            // Into memory that is not initialized: zeros would make all pages of the buffer resident for each request that waits.
            match this.connection.stream.try_read_buf(buf) {
                Ok(_) => {
                    this.connection.received();
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl AsyncWrite for ConnectionIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.poll_write_with(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection.poll_write_with(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(&self.connection.stream, Shutdown::Write).map_err(io::Error::from))
    }
}

impl Connection {
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

/// Notifies a handler of the client's disconnect. hyper does not notice it itself while it answers clients that have closed their half of
/// the connection.
#[derive(Debug, Clone)]
pub(super) struct Disconnect(Arc<Connection>);

impl Disconnect {
    pub(super) fn of(connection: &Arc<Connection>) -> Self {
        Self(Arc::clone(connection))
    }

    /// Ends when the client has disconnected.
    pub(super) async fn happened(&self) {
        self.0.closed().await;
    }
}
