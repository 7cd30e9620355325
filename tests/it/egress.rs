//! The way out: receivers that mean us ill, and an operator's proxy, before the real binary.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use crate::support::engine::both_engines;
use crate::support::receiver::Receiver;
use crate::support::service::{SECRET, Service, delivery, endpoint, uaid};

/// Behaviour of a receiver after a request.
#[derive(Clone, Copy)]
enum Ill {
    /// Says the first, then the second at full speed for as long as the other side reads.
    Flood(&'static str, &'static str),
    /// The same, a little at a time.
    Drip(&'static str, &'static str),
    /// Says it, then nothing.
    Hang(&'static str),
    /// Says it, then closes the connection.
    Leave(&'static str),
    /// Says it, which may not arrive, then breaks the connection.
    Reset(&'static str),
}

/// With the outcome that an attempt has.
const ILL: &[(Ill, &str)] = &[
    (Ill::Flood("HTTP/1.1 200 OK\r\n\r\n", "xxxxxxxxxxxxxxxx"), "accepted"),
    (Ill::Flood("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"), "accepted"),
    (Ill::Drip("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"), "accepted"),
    (Ill::Hang("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n"), "accepted"),
    (Ill::Leave("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"), "accepted"),
    (Ill::Flood("", "HTTP/1.1 100 Continue\r\n\r\n"), "protocol"),
    (Ill::Flood("HTTP/1.1 200 OK\r\n", "x-more: and more\r\n"), "protocol"),
    (Ill::Flood("HTTP/1.1 200 OK\r\nx: ", "yyyyyyyyyyyyyyyy"), "protocol"),
    (Ill::Flood("", "220 mail.example ESMTP\r\n"), "protocol"),
    (Ill::Reset(""), "protocol"),
    (Ill::Reset("HTTP/1.1 200 O"), "protocol"),
    (Ill::Hang("HTTP/1.1 200 OK\r\n"), "timeout"),
    (Ill::Drip("", "HTTP/1.1 100 Continue\r\n\r\n"), "timeout"),
    (Ill::Drip("HTTP/1.1 200 OK\r\nx: ", "y"), "timeout"),
];

impl Ill {
    async fn act(self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
        let mut heard = Vec::new();
        while !heard.ends_with(b"}}") {
            if stream.read_buf(&mut heard).await? == 0 {
                return Ok(());
            }
        }
        let (Self::Flood(first, _)
        | Self::Drip(first, _)
        | Self::Hang(first)
        | Self::Leave(first)
        | Self::Reset(first)) = self;
        stream.write_all(first.as_bytes()).await?;
        stream.flush().await?;
        match self {
            Self::Flood(_, again) => {
                let many = again.repeat(1024);
                loop {
                    stream.write_all(many.as_bytes()).await?;
                }
            }
            Self::Drip(_, again) => loop {
                stream.write_all(again.as_bytes()).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            },
            Self::Hang(_) => drop(stream.read_to_end(&mut heard).await?),
            Self::Leave(_) | Self::Reset(_) => {}
        }
        Ok(())
    }

    /// Behaviour with TLS or without.
    async fn listen(self, tls: bool) -> SocketAddr {
        let (listener, addr) = listener().await;
        let acceptor = TlsAcceptor::from(server_config());
        detach(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                detach(async move {
                    if matches!(self, Self::Reset(_)) {
                        let _ = stream.set_zero_linger();
                    }
                    if tls {
                        let Ok(mut stream) = acceptor.accept(stream).await else { return };
                        let _ = self.act(&mut stream).await;
                    } else {
                        let _ = self.act(&mut stream).await;
                    }
                });
            }
        });
        addr
    }
}

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/egress/tests/tls");

fn server_config() -> Arc<rustls::ServerConfig> {
    let certificate =
        CertificateDer::from_pem_file(Path::new(TLS).join("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(Path::new(TLS).join("server-key.pem")).expect("its key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("ring can do both").with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate], key).expect("they fit"))
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("its address");
    (listener, addr)
}

#[expect(clippy::disallowed_methods, reason = "the test's own runtime ends with the test")]
fn detach(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// A figure of the process, in KiB.
fn kib(service: &Service, figure: &str) -> u64 {
    let status = format!("/proc/{}/status", service.process.pid());
    let status = std::fs::read_to_string(status).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).expect("a figure");
    line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse().expect("a number")
}

/// More than 28 attempts may hold together, and less than a few would if somewhere nothing stopped them.
const ALLOWED_KIB: u64 = 32 * 1024;

both_engines! {
    async fn receivers_that_mean_ill_cost_their_attempt_and_no_more(engine: Engine) {
        let mut good = Receiver::start().await;
        let ca_file = format!("ca_file = \"{TLS}/ca.pem\"\nconnect_timeout = \"1s\"\ntimeout = \"1s\"");
        let mut config = delivery(&format!("schedule = []\n{ca_file}")) + &endpoint("good", &good.url("/"), "");
        for (n, (ill, _)) in ILL.iter().enumerate() {
            let (plain, secure) = (ill.listen(false).await, ill.listen(true).await);
            config += &endpoint(&format!("plain{n}"), &format!("http://{plain}/"), "");
            config += &endpoint(&format!("secure{n}"), &format!("https://{secure}/"), "");
        }
        let service = Service::start(&engine, &config).await;
        let outcomes = |outcome: &str| 2 * ILL.iter().filter(|(_, expected)| *expected == outcome).count() as u64;
        let mut before = 0;
        for round in 1..=4 {
            service.store(&uaid(round)).await;
            assert_eq!(good.next().await.json()["data"]["uaid"], uaid(round));
            for outcome in ["protocol", "timeout"] {
                let series = format!("remgate_attempts_total{{outcome=\"{outcome}\"}}");
                service.until_metric(&series, round * outcomes(outcome)).await;
            }
            let accepted = round * (outcomes("accepted") + 1);
            service.until_metric("remgate_attempts_total{outcome=\"accepted\"}", accepted).await;
            if round == 1 {
                before = kib(&service, "VmRSS");
            }
        }
        let grown = kib(&service, "VmHWM").saturating_sub(before);
        assert!(grown < ALLOWED_KIB, "{grown} KiB more than the {before} KiB before");
    }

    async fn a_proxy_is_asked_for_the_address_and_its_password_stays_here(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let (addr, mut asked) = proxy("HTTP/1.1 200 Go\r\n\r\n").await;
        let proxied = format!("proxy = \"http://us:PLANTED@{addr}\"");
        let config = delivery(&proxied) + &endpoint("crm", &receiver.url("/hook"), "");
        let service = Service::start(&engine, &config).await;
        let id = service.store(&uaid(1)).await;
        let got = receiver.next().await;
        got.verify(SECRET).unwrap();
        assert_eq!((got.header("webhook-id"), got.target.as_str()), (id.as_str(), "/hook"));
        let asked = asked.recv().await.expect("the proxy was asked");
        assert!(asked.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", receiver.addr())), "{asked}");
        assert!(asked.contains("proxy-authorization: Basic dXM6UExBTlRFRA==\r\n"), "{asked}");
        service.until_metric("remgate_attempts_total{outcome=\"accepted\"}", 1).await;
        let log = service.process.log();
        assert!(!log.contains("PLANTED") && !log.contains("dXM6") && !log.contains("no effect"), "{log}");
    }

    async fn a_proxy_that_refuses_is_a_failed_attempt(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let (addr, _asked) = proxy("HTTP/1.1 407 Who\r\n\r\n").await;
        let proxied = format!("schedule = []\nproxy = \"http://us:PLANTED@{addr}\"");
        let config = delivery(&proxied) + &endpoint("crm", &receiver.url("/"), "");
        let service = Service::start(&engine, &config).await;
        service.store(&uaid(1)).await;
        service.until_metric("remgate_attempts_total{outcome=\"connect\"}", 1).await;
        receiver.expect_none();
        service.process.line(|line| line.contains("delivery.proxy: the proxy refuses these credentials")).await;
        let log = service.process.log();
        assert!(!log.contains("PLANTED") && !log.contains("dXM6"), "{log}");
    }
}

/// A proxy that answers so, and then connects to where it was asked; with what it was asked.
async fn proxy(answer: &'static str) -> (SocketAddr, UnboundedReceiver<String>) {
    let (listener, addr) = listener().await;
    let (tell, asked) = unbounded_channel();
    detach(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            detach(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a request"));
                }
                let head = String::from_utf8(head).expect("text");
                let to = head.split(' ').nth(1).expect("a target").to_owned();
                let _ = tell.send(head);
                stream.write_all(answer.as_bytes()).await.expect("the receiver is connected");
                if answer.contains(" 200 ") {
                    let mut onward = TcpStream::connect(to).await.expect("the receiver listens");
                    let _ = copy_bidirectional(&mut stream, &mut onward).await;
                }
            });
        }
    });
    (addr, asked)
}
