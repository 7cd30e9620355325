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

const AUTHORITY: &[u8] = include_bytes!("tls/ca.pem");

/// Answers one request a connection, with `200 OK`.
fn https() -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let (heard, _keep) = mpsc::channel();
            if hear(&mut stream, &heard) {
                drop(stream.write_all(OK));
            }
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
    let guard = local().looking_up_by(Names::answering(&[&["127.0.0.1"]]));
    let settings = SenderSettings { connect_timeout, timeout: LONG, ca_file };
    Sender::new(settings, Arc::new(guard), Arc::new(SystemClock))
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
