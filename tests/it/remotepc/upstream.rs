//! Upstreams made by hand, for what no well-behaved server does.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::spawn;

/// A whole answer that says so.
pub(super) const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n{\"status\":\"OK\",\"code\":200,\"message\":\"SUCCESS\"}";

/// Listens, and does to each connection what it was told. Gives the address.
pub(super) async fn by_hand<F>(mut serve: impl FnMut(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(serve(stream));
        }
    });
    address
}

/// Answers each request with these bytes, then closes.
pub(super) async fn answering(bytes: &'static [u8]) -> String {
    by_hand(move |mut stream| async move {
        read_request(&mut stream).await;
        // The client may have had enough before all is written.
        let _ = stream.write_all(bytes).await;
    })
    .await
}

/// Like [`answering`], and tells of each request's bytes.
pub(super) async fn overheard(bytes: &'static [u8]) -> (String, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let address = by_hand(move |mut stream| {
        let tell = tell.clone();
        async move {
            tell.send(read_request(&mut stream).await).unwrap();
            let _ = stream.write_all(bytes).await;
        }
    })
    .await;
    (address, told)
}

/// A whole request: its head, and as much body as the head announces.
pub(super) async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= announced.map_or(0, |length| length.parse().unwrap()) {
                return String::from_utf8(bytes).unwrap();
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the request broke off");
    }
}

pub(super) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/remotepc/fixtures").join(name)
}

/// TLS as `localhost` and `127.0.0.1`, under the authority in `ca.pem`.
pub(super) fn tls(protocol: &[u8]) -> TlsAcceptor {
    super::install_provider();
    let certificate = CertificateDer::from_pem_file(fixture("leaf.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("leaf.key")).unwrap();
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
