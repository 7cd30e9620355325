//! Time limit for writes: a client that takes nothing loses its connection, which holds a permit and buffered data.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::domain::Clock;

/// Connections on which no byte could be written for this long are closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connection that fails when the other side has taken no byte for [`WRITE_TIMEOUT`] while there was something to write.
pub(super) struct WriteTimeout<S> {
    inner: S,
    clock: Arc<dyn Clock>,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(inner: S, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, deadline: None }
    }

    fn judged(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if write.is_ready() {
            self.deadline = None;
            return write;
        }
        let clock = &self.clock;
        let deadline = self.deadline.get_or_insert_with(|| {
            let clock = Arc::clone(clock);
            Box::pin(async move { clock.sleep(WRITE_TIMEOUT).await })
        });
        if deadline.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.deadline = None;
        let text = format!("the other side took nothing for {WRITE_TIMEOUT:?}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judged(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judged(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::domain::ManualClock;

    #[tokio::test]
    async fn who_takes_a_little_is_waited_for_and_who_takes_nothing_is_not() {
        let clock = ManualClock::at(jiff::Timestamp::UNIX_EPOCH);
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut connection = WriteTimeout::new(ours, Arc::new(clock.clone()));
        let mut writing = Box::pin(connection.write_all(b"123456789"));
        let almost = WRITE_TIMEOUT.checked_sub(Duration::from_millis(1)).unwrap();
        for _ in 0..2 {
            assert!((&mut writing).now_or_never().is_none());
            clock.advance(almost);
            assert!((&mut writing).now_or_never().is_none());
            theirs.read_u8().await.unwrap();
        }
        assert!((&mut writing).now_or_never().is_none());
        clock.advance(almost);
        assert!((&mut writing).now_or_never().is_none());
        clock.advance(Duration::from_millis(1));
        let broken = writing.now_or_never().expect("it has waited long enough").unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn silence_breaks_nothing() {
        let clock = ManualClock::at(jiff::Timestamp::UNIX_EPOCH);
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut connection = WriteTimeout::new(ours, Arc::new(clock.clone()));
        connection.write_all(b"1234").await.unwrap();
        clock.advance(WRITE_TIMEOUT * 2);
        theirs.read_u32().await.unwrap();
        connection.write_all(b"5678").await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(connection);
        clock.advance(WRITE_TIMEOUT * 2);
        theirs.write_u8(7).await.unwrap();
        assert_eq!(reading.read_u8().await.unwrap(), 7);
        theirs.read_u32().await.unwrap();
        writing.write_all(b"9").await.unwrap();
    }
}
