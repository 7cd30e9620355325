//! Connections through a proxy, which is asked for an address that the guard admitted, never for a name.
//!
//! The proxy forwards bytes; TLS goes through it to the receiver. Its answers are bounded in size, and the time limit of the
//! connection includes it. No credentials appear in an error. Written by hand: hyper-util's
//! `Tunnel` reports a refusal without its status, which operators need.

use std::io;
use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::{Host, Url};

use super::error::EgressError;

/// An operator's proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    kind: ProxyKind,
}

#[derive(Debug)]
enum ProxyKind {
    /// `CONNECT`, with the value of `Proxy-Authorization`.
    Http { authorization: Option<SecretString> },
    /// RFC 1928, with the message of RFC 1929 that carries name and password.
    Socks5 { login: Option<SecretBox<[u8]>> },
}

/// Failure at the proxy, on the way to a receiver.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("delivery.proxy: there is no connection to the proxy: {0}")]
    Away(io::Error),
    #[error("delivery.proxy: the connection to the proxy broke: {0}")]
    Broke(#[from] io::Error),
    #[error("delivery.proxy: the proxy refuses these credentials, or requires some")]
    Credentials,
    #[error("delivery.proxy: the proxy did not connect: status {0}")]
    Status(u16),
    #[error("delivery.proxy: the proxy did not connect: {0}")]
    Socks(&'static str),
    #[error("delivery.proxy: the answer is not that of a proxy of this kind")]
    Garbage,
}

/// Maximum size of a proxy's answer to `CONNECT` in bytes.
const MAX_HEAD: usize = 8 * 1024;

impl Proxy {
    /// Reads the URL of `delivery.proxy`.
    pub(super) fn new(url: &SecretString) -> Result<Self, EgressError> {
        let url = Url::parse(url.expose_secret()).map_err(|_| EgressError::Proxy)?;
        let port = match (url.scheme(), url.port()) {
            ("http" | "socks5", Some(port)) => port,
            ("http", None) => 80,
            ("socks5", None) => 1080,
            _ => return Err(EgressError::Proxy),
        };
        let host = match url.host().ok_or(EgressError::Proxy)? {
            Host::Domain("") => return Err(EgressError::Proxy),
            // The URL library parses no addresses in URLs of this scheme.
            Host::Domain(name) => Host::parse(name).unwrap_or_else(|_| Host::Domain(name.to_owned())),
            Host::Ipv4(ip) => Host::Ipv4(ip),
            Host::Ipv6(ip) => Host::Ipv6(ip),
        };
        let host = host.to_string().trim_matches(['[', ']']).to_owned();
        let login = Login::of(&url);
        let kind = if url.scheme() == "http" {
            ProxyKind::Http { authorization: login.map(|login| login.basic()) }
        } else {
            ProxyKind::Socks5 { login: login.map(|login| login.rfc_1929()).transpose()? }
        };
        Ok(Self { host, port, kind })
    }

    /// Returns host and port of the proxy. The guard does not check them: the operator chose them.
    pub(super) fn place(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Asks the proxy at the other end of `stream` for a connection to an address.
    pub(super) async fn tunnel(
        &self,
        mut stream: TcpStream,
        to: SocketAddr,
    ) -> Result<TcpStream, ProxyError> {
        match &self.kind {
            ProxyKind::Http { authorization } => connect(&mut stream, to, authorization.as_ref()).await?,
            ProxyKind::Socks5 { login } => socks5(&mut stream, to, login.as_ref()).await?,
        }
        Ok(stream)
    }
}

struct Login {
    name: Vec<u8>,
    password: Vec<u8>,
}

impl Login {
    fn of(url: &Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let decoded = |text: &str| percent_decode_str(text).collect();
        Some(Self { name: decoded(url.username()), password: decoded(url.password().unwrap_or_default()) })
    }

    fn basic(&self) -> SecretString {
        format!("Basic {}", STANDARD.encode([&self.name[..], b":", &self.password].concat())).into()
    }

    fn rfc_1929(&self) -> Result<SecretBox<[u8]>, EgressError> {
        let length = |part: &[u8]| u8::try_from(part.len()).map_err(|_| EgressError::Proxy);
        let name = length(&self.name)?;
        let password = length(&self.password)?;
        let message = [&[1, name], &self.name[..], &[password], &self.password].concat();
        Ok(SecretBox::new(message.into_boxed_slice()))
    }
}

async fn connect(
    stream: &mut TcpStream,
    to: SocketAddr,
    authorization: Option<&SecretString>,
) -> Result<(), ProxyError> {
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n");
    if let Some(authorization) = authorization {
        request.extend(["proxy-authorization: ", authorization.expose_secret(), "\r\n"]);
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    match status(&head(stream).await?).ok_or(ProxyError::Garbage)? {
        200..=299 => Ok(()),
        407 => Err(ProxyError::Credentials),
        other => Err(ProxyError::Status(other)),
    }
}

/// Reads the head of the proxy's answer. A receiver waits for the first byte of the client, so nothing may follow the head.
async fn head(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyError> {
    let mut head = Vec::with_capacity(1024);
    while head.len() < MAX_HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(ProxyError::Broke(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let refused = status(&head).is_some_and(|status| !(200..=299).contains(&status));
            return if refused || end + 4 == head.len() { Ok(head) } else { Err(ProxyError::Garbage) };
        }
    }
    Err(ProxyError::Garbage)
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    let status = std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()?;
    (100..=599).contains(&status).then_some(status)
}

const SOCKS: u8 = 5;
const NO_LOGIN: u8 = 0;
const WITH_LOGIN: u8 = 2;

async fn socks5(
    stream: &mut TcpStream,
    to: SocketAddr,
    login: Option<&SecretBox<[u8]>>,
) -> Result<(), ProxyError> {
    let offer: &[u8] =
        if login.is_some() { &[SOCKS, 2, NO_LOGIN, WITH_LOGIN] } else { &[SOCKS, 1, NO_LOGIN] };
    stream.write_all(offer).await?;
    match (read::<2>(stream).await?, login) {
        ([SOCKS, NO_LOGIN], _) => {}
        ([SOCKS, WITH_LOGIN], Some(login)) => {
            stream.write_all(login.expose_secret()).await?;
            match read::<2>(stream).await? {
                [1, 0] => {}
                [1, _] => return Err(ProxyError::Credentials),
                _ => return Err(ProxyError::Garbage),
            }
        }
        ([SOCKS, 0xff], _) => return Err(ProxyError::Credentials),
        _ => return Err(ProxyError::Garbage),
    }
    stream.write_all(&wanted(to)).await?;
    let [SOCKS, reply, 0, kind] = read::<4>(stream).await? else { return Err(ProxyError::Garbage) };
    if reply != 0 {
        return Err(ProxyError::Socks(meaning(reply)));
    }
    // The address that the proxy connects from is not used.
    match kind {
        1 => drop(read::<{ 4 + 2 }>(stream).await?),
        4 => drop(read::<{ 16 + 2 }>(stream).await?),
        3 => {
            let [length] = read::<1>(stream).await?;
            stream.read_exact(&mut vec![0; usize::from(length) + 2]).await?;
        }
        _ => return Err(ProxyError::Garbage),
    }
    Ok(())
}

/// Returns the SOCKS request for an address. Its form for names is not used.
fn wanted(to: SocketAddr) -> Vec<u8> {
    let mut message = vec![SOCKS, 1, 0];
    match to.ip() {
        IpAddr::V4(ip) => {
            message.push(1);
            message.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            message.push(4);
            message.extend(ip.octets());
        }
    }
    message.extend(to.port().to_be_bytes());
    message
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn meaning(reply: u8) -> &'static str {
    match reply {
        1 => "it failed",
        2 => "its rules forbid it",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "it took too long",
        7 => "it knows no CONNECT",
        8 => "it knows no such addresses",
        _ => "it gave no known reason",
    }
}
