//! Limits of a connection to a receiver, below the HTTP library: read rate, and size of an answer.
//!
//! The library reads as long as bytes arrive. A receiver that floods it with interim answers, pings or session
//! tickets would keep it busy without a pause in which a timeout is noticed. So reads have a rate, and an HTTP/1
//! answer has a maximum size.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use hyper_util::client::legacy::connect::{Connected, Connection};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::client::TlsStream;

/// Bytes of one portion that may be read at once.
const PORTION: usize = 256 * 1024;

/// Minimum time from the first byte of a portion to the next portion: 4 MiB a second.
const PORTION_TIME: Duration = Duration::from_millis(64);

/// Maximum number of bytes of one HTTP/1 answer: interim answers, head, the stored part of the body, and what the
/// HTTP library reads ahead.
const MAX_EXCHANGE: usize = 128 * 1024;

/// Stream with a limited read rate.
pub(super) struct ThrottledRead<S> {
    inner: S,
    left: usize,
    portion_time: Pin<Box<Sleep>>,
}

impl<S> ThrottledRead<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, left: PORTION, portion_time: Box::pin(sleep(PORTION_TIME)) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ThrottledRead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            ready!(self.portion_time.as_mut().poll(cx));
            self.left = PORTION;
            self.portion_time.set(sleep(PORTION_TIME));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ThrottledRead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
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

/// With TLS or without.
pub(super) enum Transport {
    Plain(ThrottledRead<TcpStream>),
    Tls(Box<TlsStream<ThrottledRead<TcpStream>>>),
}

impl Transport {
    /// True if both sides agreed on HTTP/2.
    fn is_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

/// Calls a method of the present stream.
macro_rules! on_the_wire {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match &mut $self.wire {
            Transport::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Transport::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

/// A connection, ready for requests.
pub(super) struct ReceiverConnection {
    wire: Transport,
    /// Over HTTP/1: bytes received since the last request was sent.
    exchange: Option<Exchange>,
}

#[derive(Default)]
struct Exchange {
    read: usize,
    seen: StatusSniffer,
}

/// Status at the beginning of an HTTP/1 answer, as far as it was seen here. Used when the HTTP library rejects the rest of the
/// head.
#[derive(Debug, Clone, Default)]
pub(super) struct StatusSniffer(Arc<AtomicU16>);

/// Beside a status: the end of the head was seen, too.
const WHOLE: u16 = 1 << 15;

impl StatusSniffer {
    /// Returns the status; `None` without one, or after interim answers only.
    pub(super) fn status(&self) -> Option<StatusCode> {
        let status = StatusCode::from_u16(self.0.load(Ordering::Relaxed) & !WHOLE).ok()?;
        (!status.is_informational()).then_some(status)
    }

    /// Returns whether the head is complete.
    pub(super) fn is_whole(&self) -> bool {
        self.0.load(Ordering::Relaxed) & WHOLE != 0
    }

    fn look_at(&self, beginning: &[u8]) {
        let digits = match beginning {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', digits @ ..] => digits.get(..3),
            _ => None,
        };
        let status = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let whole = if memmem::find(beginning, b"\r\n\r\n").is_some() { WHOLE } else { 0 };
        self.0.store(status.unwrap_or(0_u16) | whole, Ordering::Relaxed);
    }
}

impl ReceiverConnection {
    pub(super) fn new(wire: Transport) -> Self {
        let exchange = (!wire.is_h2()).then(Exchange::default);
        Self { wire, exchange }
    }
}

impl Connection for ReceiverConnection {
    fn connected(&self) -> Connected {
        match &self.exchange {
            Some(exchange) => Connected::new().extra(exchange.seen.clone()),
            None => Connected::new().negotiated_h2(),
        }
    }
}

/// Error of an answer beyond the maximum size.
#[derive(Debug, thiserror::Error)]
#[error("the answer's head does not end within {} KiB", MAX_EXCHANGE / 1024)]
struct ResponseTooLarge;

impl AsyncRead for ReceiverConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(on_the_wire!(self, poll_read(cx, buf)))?;
        if let Some(exchange) = &mut self.exchange {
            let came = &buf.filled()[before..];
            if exchange.read == 0 {
                exchange.seen.look_at(came);
            }
            exchange.read += came.len();
            if exchange.read > MAX_EXCHANGE {
                return Poll::Ready(Err(io::Error::other(ResponseTooLarge)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl ReceiverConnection {
    /// Records that bytes were sent: they begin a new exchange, because HTTP/1 sends nothing in response to the
    /// receiver.
    fn sent(&mut self, result: &Poll<io::Result<usize>>) {
        if let (Poll::Ready(Ok(1..)), Some(exchange)) = (result, &mut self.exchange) {
            exchange.read = 0;
        }
    }
}

impl AsyncWrite for ReceiverConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = on_the_wire!(self, poll_write(cx, buf));
        self.sent(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = on_the_wire!(self, poll_write_vectored(cx, bufs));
        self.sent(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_the_wire!(self, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_the_wire!(self, poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::domain::{Clock, SystemClock};

    #[tokio::test]
    async fn what_floods_is_read_no_faster_than_agreed() {
        let started = SystemClock.instant();
        let mut stream = ThrottledRead::new(tokio::io::repeat(0));
        let mut read = 0;
        while read < 8 * PORTION {
            read += stream.read(&mut [0; 16 * 1024]).await.unwrap();
        }
        assert!(SystemClock.instant() - started >= PORTION_TIME * 7);
    }

    #[rstest::rstest]
    #[case("HTTP/1.1 200 OK\r\n\r\n", Some(200), true)]
    #[case("HTTP/1.0 503 Busy\r\nx: y\r\n", Some(503), false)]
    #[case("HTTP/1.1 100 Continue\r\n\r\n", None, true)]
    #[case("HTTP/1.1 20", None, false)]
    #[case("HTTP/2.0 200 OK", None, false)]
    #[case("HTTP/1.1 +20 OK", None, false)]
    #[case("", None, false)]
    fn what_is_seen_of_an_answer(#[case] beginning: &str, #[case] status: Option<u16>, #[case] whole: bool) {
        let seen = StatusSniffer::default();
        seen.look_at(beginning.as_bytes());
        assert_eq!((seen.status().map(|status| status.as_u16()), seen.is_whole()), (status, whole));
    }
}
