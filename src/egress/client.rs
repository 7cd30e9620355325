//! The HTTP client of deliveries, configured once.
//!
//! It follows no redirect and ignores proxies of the environment, either of which would bypass the guard. It decompresses
//! nothing, so a small answer cannot become a large one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use secrecy::SecretString;

use super::Guard;
use super::connect::{Connector, ConnectorParts};
use super::error::EgressError;
use super::proxy::Proxy;

/// `User-Agent` of deliveries.
pub const USER_AGENT: &str = concat!("remgate/", env!("CARGO_PKG_VERSION"));

/// Sends requests, each over an idle connection or a new one.
pub(super) type DeliveryClient = legacy::Client<Connector, Full<Bytes>>;

/// Maximum number of idle connections to one receiver: the default number of concurrent attempts.
const IDLE_PER_HOST: usize = 16;

/// Time after which an idle connection is closed: shorter than on most servers, so that a request seldom uses a closed one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum size of the head of an HTTP/1 answer, and of data that is read ahead, in bytes.
const READ_AHEAD: usize = 64 * 1024;

/// Window of one HTTP/2 stream in bytes. At most 16 KiB of an answer are read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Window of an HTTP/2 connection in bytes, for all its streams.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Maximum size of the head of an HTTP/2 answer in bytes.
const MAX_HEAD: u32 = 32 * 1024;

/// Time after which a silent HTTP/2 connection in use gets a ping, and time for its answer.
const PING: Duration = Duration::from_secs(10);

/// Returns a client whose connections are all checked by the guard.
pub(super) fn build(
    guard: Arc<Guard>,
    connect_timeout: Duration,
    proxy: Option<&SecretString>,
    ca_file: Option<&Path>,
) -> Result<DeliveryClient, EgressError> {
    let proxy = proxy.map(Proxy::new).transpose()?;
    let tls = ConnectorParts::tls(tls(ca_file)?);
    let connector = Connector::new(ConnectorParts { guard, proxy, tls, timeout: connect_timeout });
    Ok(legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http1_max_buf_size(READ_AHEAD)
        // The status decides: a receiver with malformed header lines has received the event all the same.
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(MAX_HEAD)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        .build(connector))
}

/// Returns a TLS configuration with the machine's certificate authorities and those of a file.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, EgressError> {
    let mut roots = RootCertStore::empty();
    // A machine may have unusable certificates, which are left out.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        add_authorities(&mut roots, path)?;
    }
    if roots.is_empty() {
        return Err(EgressError::NoCertificateAuthorities);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions of TLS");
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Adds the authorities of a PEM file.
fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), EgressError> {
    let failed = |reason: String| EgressError::CaFile { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    let mut found = 0;
    for der in CertificateDer::pem_slice_iter(&pem) {
        found += 1;
        let unusable = || failed(format!("its certificate number {found} cannot be used"));
        roots.add(der.map_err(|_| unusable())?).map_err(|_| unusable())?;
    }
    if found == 0 { Err(failed("it holds no certificate in PEM form".to_owned())) } else { Ok(()) }
}
