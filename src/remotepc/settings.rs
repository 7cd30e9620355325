//! Settings of the client.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::resolver::Resolve;

/// Settings of a client.
pub struct RemotePcSettings {
    /// Base URL of the API, without `/user/...`.
    pub base_url: Url,
    /// API key. Without it every call fails with [`CallError::NotConfigured`](super::CallError::NotConfigured).
    pub api_key: Option<SecretString>,
    /// Maximum time for a call, from waiting for a permit to the last byte of the answer.
    pub timeout: Duration,
    /// Maximum number of concurrent calls.
    pub max_in_flight: usize,
    /// `http://` or `socks5://`, where the proxy looks names up; may hold a password. The environment's is
    /// ignored.
    pub proxy: Option<SecretString>,
    /// Certificate authorities besides the machine's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Resolves the names of the API and of the proxy.
    pub resolver: Arc<dyn Resolve>,
}
