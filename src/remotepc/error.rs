//! Errors of calls and of the client.

use std::path::PathBuf;

use http::StatusCode;

/// Reason why there is no answer to pass on.
///
/// The texts contain nothing of request and answer, so they may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No API key is configured; nothing was sent.
    #[error("no api key is configured")]
    NotConfigured,
    /// The connection failed: upstream has not received the request.
    #[error("upstream was not reached: {0}")]
    NotConnected(String),
    /// No permit was free in time; nothing was sent.
    #[error("too many calls to upstream are under way (remotepc.max_in_flight)")]
    Crowded,
    /// The connection ended before an answer began. Whether upstream acted is then unknown.
    #[error("upstream was not reached: {0}")]
    Unreachable(String),
    /// The deadline of the call passed. Whether upstream acted is unknown.
    #[error("upstream did not answer in time")]
    Timeout,
    /// The answer is not upstream's envelope. Whether upstream acted is unknown.
    #[error("upstream's answer cannot be used: {reason}")]
    BadResponse {
        /// Status of the answer, if it had one.
        status: Option<StatusCode>,
        /// Reason.
        reason: BadResponse,
    },
    /// Upstream rejects the API key, which the caller cannot change.
    #[error("upstream rejected our api key")]
    KeyRejected {
        /// Status of the answer: 401, or another one around an envelope with the code 401.
        status: StatusCode,
    },
}

/// Reason why an answer cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// The bytes are not HTTP.
    #[error("not http")]
    NotHttp,
    /// A redirect, which is not followed: neither key nor password may be sent to another server.
    #[error("a redirect")]
    Redirect,
    /// The body exceeds the maximum size.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// Maximum size in bytes.
        limit: usize,
    },
    /// The body ended too early.
    #[error("the body broke off")]
    Truncated,
    /// HTTP, but not from the reseller API: a page of a proxy, of an outage, or of another server.
    #[error("not upstream's envelope")]
    NoEnvelope,
}

impl CallError {
    /// Returns the status for the caller.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotConfigured => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout | Self::Crowded => StatusCode::GATEWAY_TIMEOUT,
            Self::NotConnected(_)
            | Self::Unreachable(_)
            | Self::BadResponse { .. }
            | Self::KeyRejected { .. } => StatusCode::BAD_GATEWAY,
        }
    }

    /// Returns the description for the caller.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotConfigured => "REMOTEPC_NOT_CONFIGURED",
            Self::NotConnected(_) | Self::Unreachable(_) => "REMOTEPC_UNREACHABLE",
            Self::Timeout | Self::Crowded => "REMOTEPC_TIMEOUT",
            Self::BadResponse { .. } => "REMOTEPC_BAD_RESPONSE",
            Self::KeyRejected { .. } => "REMOTEPC_KEY_REJECTED",
        }
    }

    /// Returns the label of logs and metrics.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::NotConnected(_) | Self::Unreachable(_) => "unreachable",
            Self::Timeout => "timeout",
            Self::Crowded => "crowded",
            Self::BadResponse { .. } => "bad_response",
            Self::KeyRejected { .. } => "key_rejected",
        }
    }

    /// Returns the status of upstream's answer, if there was one.
    #[must_use]
    pub fn upstream_status(&self) -> Option<StatusCode> {
        match self {
            Self::BadResponse { status, .. } => *status,
            Self::KeyRejected { status } => Some(*status),
            Self::NotConfigured
            | Self::NotConnected(_)
            | Self::Crowded
            | Self::Unreachable(_)
            | Self::Timeout => None,
        }
    }

    /// Classifies an error of the HTTP client. `status` is upstream's, if its head had arrived.
    pub(super) fn from_http(error: reqwest::Error, status: Option<StatusCode>) -> Self {
        let error = error.without_url();
        if error.is_timeout() {
            Self::Timeout
        } else if status.is_some() {
            Self::BadResponse { status, reason: BadResponse::Truncated }
        } else if is_not_http(&error) {
            Self::BadResponse { status, reason: BadResponse::NotHttp }
        } else if error.is_connect() {
            Self::NotConnected(chain(&error))
        } else {
            Self::Unreachable(chain(&error))
        }
    }
}

fn is_not_http(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse))
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |cause| cause.source())
}

/// Returns an error with all its causes: the outermost only says that sending failed.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

/// Reason why the client cannot be built.
///
/// The texts name the configuration key and no secret.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The root of the API is not a usable URL.
    #[error("remotepc.base_url {0}")]
    BaseUrl(&'static str),
    /// The key holds line breaks or other characters that no header carries.
    #[error("remotepc.api_key holds characters that cannot be sent in a header")]
    ApiKey,
    /// The proxy is not a usable URL.
    #[error("remotepc.proxy is no url that begins with http:// or socks5:// and names a host")]
    Proxy,
    /// The file with further authorities cannot be read.
    #[error("remotepc.ca_file {path}: {source}", path = path.display())]
    CaFile {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file with further authorities holds none.
    #[error("remotepc.ca_file {path}: there is no certificate in PEM form in it", path = .0.display())]
    NoCertificate(PathBuf),
    /// The client cannot be built. Usually the machine has no certificate authorities.
    #[error(
        "the client for remotepc cannot be made: {0}; a machine without certificate authorities needs its \
         ca-certificates package, or remotepc.ca_file"
    )]
    Build(String),
}
