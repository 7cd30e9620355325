//! Receivers that speak TLS. The certificates in `tls/` are for these tests alone and good until 2126.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::receiver::{OK, hear};
use super::{LONG, Names, local, send};
use crate::domain::{AttemptError, SystemClock};
use crate::egress::{EgressError, Sender, SenderSettings};

pub(super) const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");

/// A connection of either kind, for a receiver that behaves alike on both.
pub(super) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// TLS configuration of receivers in these tests; `alpn` as on the wire.
pub(super) fn server_config(alpn: &[&[u8]]) -> Arc<rustls::ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Answers one request a connection, with `200 OK`.
pub(super) fn https() -> SocketAddr {
    https_doing(|stream| drop(stream.write_all(OK)))
}

/// Does something with a connection after its first request, then closes it.
pub(super) fn https_doing(then: impl Fn(&mut dyn Stream) + Send + Sync + 'static) -> SocketAddr {
    over_tls(&[], move |stream| {
        let (heard, _keep) = mpsc::channel();
        if hear(stream, &heard) {
            then(stream);
        }
    })
}

/// Does something with each connection.
pub(super) fn over_tls(alpn: &[&[u8]], then: impl Fn(&mut dyn Stream) + Send + Sync + 'static) -> SocketAddr {
    let config = server_config(alpn);
    let then = Arc::new(then);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let then = then.clone();
            thread::spawn(move || then(&mut stream));
        }
    });
    addr
}

fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn sender(connect_timeout: Duration, ca_file: Option<PathBuf>) -> Result<Sender, EgressError> {
    let guard = local().resolving_by(Names::answering(&[&["127.0.0.1"]]));
    let settings = SenderSettings { connect_timeout, timeout: LONG, proxy: None, ca_file };
    Sender::new(settings, Arc::new(guard), Arc::new(SystemClock))
}

/// One that believes the receivers of these tests.
pub(super) fn believing(timeout: Duration) -> Sender {
    let ca = file(AUTHORITY);
    let ca_file = Some(ca.path().to_owned());
    let settings = SenderSettings { connect_timeout: LONG, timeout, proxy: None, ca_file };
    Sender::new(settings, Arc::new(local()), Arc::new(SystemClock)).unwrap()
}

#[tokio::test]
async fn an_authority_from_the_file_is_believed() {
    let port = https().port();
    let ca = file(AUTHORITY);
    let sender = sender(LONG, Some(ca.path().to_owned())).unwrap();
    for host in ["receiver.test", "127.0.0.1"] {
        let report = send(&sender, &format!("https://{host}:{port}/hook")).await;
        assert_eq!((report.status, report.error), (Some(200), None), "{}", report.response);
    }
    let report = send(&sender, &format!("https://impostor.test:{port}/hook")).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Tls)), "{}", report.response);
}

#[tokio::test]
async fn an_unknown_authority_is_not() {
    let report =
        send(&sender(LONG, None).unwrap(), &format!("https://receiver.test:{}/", https().port())).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Tls)));
    assert_eq!(report.response, "invalid peer certificate: UnknownIssuer");
}

#[tokio::test]
async fn a_receiver_without_tls_is_told_apart() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("https://{}/", plain.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"HTTP/1.1 400 What\r\n\r\n").unwrap();
        // Until the other side goes, or the system would send a reset instead.
        while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    });
    let report = send(&sender(LONG, None).unwrap(), &to).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Tls)), "{}", report.response);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_no_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("https://{}/", silent.local_addr().unwrap());
    let report = send(&sender(Duration::from_millis(200), None).unwrap(), &to).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Connect)), "{}", report.response);
    assert_eq!(report.response, "no connection in time");
}

#[rstest::rstest]
#[case(b"", "no certificate")]
#[case(b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "number 1 cannot be used")]
#[case(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "number 1 cannot be used")]
fn a_file_of_authorities_has_to_hold_some(#[case] content: &[u8], #[case] reason: &str) {
    let ca = file(content);
    let error = sender(LONG, Some(ca.path().to_owned())).unwrap_err().to_string();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn a_file_of_authorities_has_to_be_there() {
    let error = sender(LONG, Some(PathBuf::from("no-such-file.pem"))).unwrap_err();
    assert!(
        matches!(&error, EgressError::CaFile { .. }) && error.to_string().contains("no-such-file.pem"),
        "{error}"
    );
}
