//! Connection to a receiver: resolve, check the addresses, connect (through the proxy, if configured), TLS.
//!
//! No other code of this module opens a socket. The guard checks every address, in whatever notation it was written.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::connection::{ReceiverConnection, ThrottledRead, Transport};
use super::proxy::{Proxy, ProxyError};
use super::{Guard, GuardRefusal};
use crate::domain::AttemptError;

/// Reason why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The guard refused every address.
    #[error(transparent)]
    Refused(#[from] GuardRefusal),
    /// The name leads nowhere.
    #[error("dns error: {0}")]
    Dns(io::Error),
    /// No address accepted the connection.
    #[error("tcp connect error: {0}")]
    Tcp(io::Error),
    /// The proxy failed or refused.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("{0}")]
    Tls(io::Error),
    /// The whole connection attempt timed out.
    #[error("no connection in time")]
    Timeout,
}

impl ConnectError {
    pub(super) fn kind(&self) -> AttemptError {
        match self {
            Self::Refused(_) => AttemptError::Refused,
            Self::Dns(_) => AttemptError::Dns,
            Self::Tls(error)
                if error.get_ref().is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>) =>
            {
                AttemptError::Tls
            }
            Self::Tcp(_) | Self::Proxy(_) | Self::Tls(_) | Self::Timeout => AttemptError::Connect,
        }
    }
}

/// Time after which the next address is tried beside the first.
const HEAD_START: Duration = Duration::from_millis(250);

/// Maximum number of addresses of a name that are tried: its owner chooses them.
const MAX_ADDRESSES: usize = 16;

/// Opens connections for the HTTP client. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connector(Arc<ConnectorParts>);

/// Parts of a [`Connector`].
pub(super) struct ConnectorParts {
    pub(super) guard: Arc<Guard>,
    pub(super) proxy: Option<Proxy>,
    pub(super) tls: TlsConnector,
    /// Time limit for everything before the first byte of a request.
    pub(super) timeout: Duration,
}

impl Connector {
    pub(super) fn new(parts: ConnectorParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl ConnectorParts {
    /// TLS connector that offers HTTP/2 and HTTP/1.1.
    pub(super) fn tls(mut config: ClientConfig) -> TlsConnector {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(&self, uri: &Uri) -> Result<ReceiverConnection, ConnectError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = first_of(self.targets(host, port).await?, |address| self.reach(address)).await?;
        let stream = ThrottledRead::new(stream);
        if !secure {
            return Ok(ReceiverConnection::new(Transport::Plain(stream)));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ConnectError::Tls(io::Error::other(rustls::Error::UnsupportedNameType)))?;
        let stream = self.tls.connect(name, stream).await.map_err(ConnectError::Tls)?;
        Ok(ReceiverConnection::new(Transport::Tls(Box::new(stream))))
    }

    /// Returns the present addresses of a host that the guard admits.
    async fn targets(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            self.guard.check_target(ip, port)?;
            return Ok(vec![SocketAddr::new(ip.to_canonical(), port)]);
        }
        let found = self.look_up(host).await.map_err(ConnectError::Dns)?;
        let mut admitted = self.guard.admit(host, found, port)?;
        for address in &mut admitted {
            address.set_port(port);
        }
        Ok(admitted)
    }

    async fn look_up(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let found = self.guard.resolver().resolve(host).await?;
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(found)
    }

    async fn reach(&self, address: SocketAddr) -> Result<TcpStream, ConnectError> {
        let Some(proxy) = &self.proxy else { return connected(address).await.map_err(ConnectError::Tcp) };
        let (host, port) = proxy.place();
        let mut places = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => self.look_up(host).await.map_err(ProxyError::Away)?,
        };
        for place in &mut places {
            place.set_port(port);
        }
        let away = |place| async move { connected(place).await.map_err(|e| ProxyError::Away(e).into()) };
        let stream = first_of(places, away).await?;
        // Without scope ids, which have a meaning on this machine only.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Ok(proxy.tunnel(stream, address).await?)
    }
}

async fn connected(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request is written at once and waits for its answer: Nagle's algorithm would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Returns the first connection that succeeds. A silent address does not delay the ones after it.
async fn first_of<F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<TcpStream, ConnectError>
where
    F: Future<Output = Result<TcpStream, ConnectError>>,
{
    let mut waiting = in_turns(addresses);
    let mut under_way = FuturesUnordered::new();
    let mut why = ConnectError::Dns(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    loop {
        match waiting.pop_front() {
            Some(address) => under_way.push(connect(address)),
            None if under_way.is_empty() => return Err(why),
            None => {}
        }
        tokio::select! {
            Some(result) = under_way.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(error) => why = error,
            },
            () = sleep(HEAD_START), if !waiting.is_empty() => {}
        }
    }
}

/// Interleaves both address families, beginning with the one that the system prefers.
fn in_turns(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let longer = preferred.len().max(other.len());
    let turns = (0..longer).flat_map(|turn| [preferred.get(turn).copied(), other.get(turn).copied()]);
    turns.flatten().take(MAX_ADDRESSES).collect()
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ReceiverConnection>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self(parts) = self.clone();
        Box::pin(async move {
            let connected = timeout(parts.timeout, parts.connect(&uri)).await;
            connected.unwrap_or(Err(ConnectError::Timeout)).map(TokioIo::new)
        })
    }
}
