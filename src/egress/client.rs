//! The HTTP client of deliveries, configured once.
//!
//! It follows no redirect and believes no proxy of the environment, either of which would lead around the guard; it
//! unpacks nothing, or a small answer could become a large one.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, redirect};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Guard;
use super::resolver::GuardedResolver;

/// What receivers are told about who calls.
pub const USER_AGENT: &str = concat!("remgate/", env!("CARGO_PKG_VERSION"));

/// Why the delivery client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The file of further certificate authorities cannot be used.
    #[error("failed to read certificate authorities from {}: {reason}", .path.display())]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Without any authority no certificate can be checked, and the client does not start even for plain http.
    #[error(
        "no certificate authorities found on this machine; install them (Debian: the package ca-certificates) \
         or name a PEM file in delivery.ca_file"
    )]
    NoCertificateAuthorities,
    /// Something else.
    #[error("failed to make the delivery client: {0}")]
    Client(String),
}

/// Idle connections kept for one receiver: as many as it gets requests at once by default.
const IDLE_PER_HOST: usize = 16;

/// Shorter than most servers keep an idle connection, so that the first request after a pause seldom meets a closed one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// How much of one HTTP/2 answer may wait unread. At most 16 KiB are wanted.
const STREAM_WINDOW: u32 = 64 * 1024;

/// How much of all HTTP/2 answers on one connection may wait unread.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The most that the head of an HTTP/2 answer may hold.
const MAX_HEAD: u32 = 32 * 1024;

/// How long an HTTP/2 connection in use may be silent before it is asked whether it lives, and then may stay silent.
const PING: Duration = Duration::from_secs(10);

/// The authorities that stand in a PEM file.
pub(super) fn authorities(path: &Path) -> Result<Vec<Certificate>, EgressError> {
    let failed = |reason: String| EgressError::CaFile { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    let mut found = Vec::new();
    for (number, der) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
        let unusable = || failed(format!("its certificate number {number} cannot be used"));
        let der = der.map_err(|_| unusable())?;
        RootCertStore::empty().add(der.clone()).map_err(|_| unusable())?;
        found.push(Certificate::from_der(&der).map_err(|_| unusable())?);
    }
    if found.is_empty() { Err(failed("it holds no certificate in PEM form".to_owned())) } else { Ok(found) }
}

/// A client whose every connection to a name is judged by the guard.
///
/// `own_port`: it is for URLs with a port that one of our doors has.
pub(super) fn build(
    guard: Arc<Guard>,
    own_port: bool,
    connect_timeout: Duration,
    authorities: Vec<Certificate>,
) -> Result<Client, EgressError> {
    // Fails when another room has done it already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "this is where the configured client is made")]
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .dns_resolver(GuardedResolver { guard, own_port })
        .connect_timeout(connect_timeout)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(MAX_HEAD)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        .tls_certs_merge(authorities)
        .build()
        .map_err(|e| failure(&e))
}

fn failure(error: &reqwest::Error) -> EgressError {
    let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    // The library gives this case no type of its own.
    if reason.contains("No CA certificates") {
        EgressError::NoCertificateAuthorities
    } else {
        EgressError::Client(reason)
    }
}
