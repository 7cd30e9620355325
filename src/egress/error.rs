//! Errors of the delivery client.

use std::path::PathBuf;

/// Reason why the delivery client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The file of further certificate authorities cannot be used.
    #[error("failed to read certificate authorities from {}: {reason}", .path.display())]
    CaFile {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// Without any authority no certificate can be verified; then it is better not to start than to fail at each https
    /// endpoint.
    #[error(
        "no certificate authorities found on this machine; install them (Debian: the package ca-certificates) \
         or name a PEM file in delivery.ca_file"
    )]
    NoCertificateAuthorities,
    /// The proxy cannot be used. Its URL may hold a password, so nothing of it is said.
    #[error(
        "delivery.proxy is http://host:port or socks5://host:port, for socks5 with a name and a password of at \
         most 255 bytes each"
    )]
    Proxy,
}
