//! HTTP client of a running remgate. Its errors say what to do.
//!
//! No redirects, no ambient proxies, every call with a timeout. Errors hold no URL of a callback, which is a secret.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::options::Global;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time for an ordinary request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum time for a request that waits for another system: as long as the longest attempt or call to upstream.
pub(super) const LONG_TIMEOUT: Duration = Duration::from_mins(11);

#[derive(Debug, Args)]
pub(super) struct ServerOptions {
    /// Use the internal listener at this URL instead of the configured one; the configured key is not sent to it
    #[arg(long, value_name = "URL", value_parser = base_url)]
    server: Option<Url>,
    /// Take the key from this file, not from the configuration
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl ServerOptions {
    /// Returns whether `--server` names the listener.
    pub(super) fn is_named(&self) -> bool {
        self.server.is_some()
    }
}

/// HTTP client of an internal listener.
pub(super) struct ApiClient {
    http: reqwest::Client,
    base: Url,
    key: Option<SecretString>,
}

/// Reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("failed to reach {base}: {cause}; is remgate running there? `remgate serve` starts it")]
    Unreachable { base: Url, cause: String },
    #[error("no whole answer from {base}: {cause}")]
    Broken { base: Url, cause: String },
    #[error("{base} answered {status}: {detail}{}", hint(*status))]
    Refused { base: Url, status: StatusCode, detail: String },
    #[error("{base} did not answer like the internal listener of a remgate ({cause})")]
    Foreign { base: Url, cause: String },
}

impl ApiError {
    /// Returns whether the same call may succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Foreign { .. } => false,
        }
    }

    /// Returns whether the refusal concerns this one resource alone, so that the next one can be asked for.
    pub(super) fn is_about_one(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if matches!(status.as_u16(), 404 | 409 | 410 | 422))
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "; the key comes from internal.admin_key, or from --key-file",
        StatusCode::FORBIDDEN => "; another key can be given with --key-file",
        _ => "",
    }
}

impl ApiClient {
    /// Client of the listener that the flags name, or else of the configured one.
    pub(super) fn internal(server: &ServerOptions, global: &Global) -> anyhow::Result<Self> {
        let mut key = None;
        let base = if let Some(base) = &server.server {
            base.clone()
        } else {
            let config = global.load()?.config;
            key = config.internal.admin_key;
            listener_url(config.internal.listen).context("internal.listen")?
        };
        if let Some(path) = &server.key_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            key = Some(text.trim().into());
        }
        Ok(Self { http: http_client(&base)?, base, key })
    }

    /// Returns a client of the internal listener at this address, without a key.
    pub(super) fn at(address: SocketAddr) -> anyhow::Result<Self> {
        let base = listener_url(address)?;
        Ok(Self { http: http_client(&base)?, base, key: None })
    }

    /// Asks for JSON.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        timeout: Duration,
    ) -> Result<T, ApiError> {
        let body = self.answer(self.http.get(at(&self.base, path, query)).timeout(timeout)).await?;
        self.read(&body)
    }

    /// Sends a JSON body and returns the JSON answer.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, ApiError> {
        let request = self.http.request(method, at(&self.base, path, &[])).json(body).timeout(timeout);
        let body = self.answer(request).await?;
        // An answer without content is `null`.
        self.read(if body.is_empty() { b"null" } else { &body })
    }

    /// Returns an answer that is not JSON.
    pub(super) async fn text(
        &self,
        path: &str,
        query: &[(&str, String)],
        timeout: Duration,
    ) -> Result<bytes::Bytes, ApiError> {
        self.answer(self.http.get(at(&self.base, path, query)).timeout(timeout)).await
    }

    /// Posts to a route whose every answer is JSON, also refusals, with an `Idempotency-Key` if there is one.
    pub(super) async fn exchange(
        &self,
        path: &str,
        body: &impl Serialize,
        idempotency_key: Option<&str>,
        timeout: Duration,
    ) -> Result<(StatusCode, serde_json::Value), ApiError> {
        let mut request = self.http.post(at(&self.base, path, &[])).json(body).timeout(timeout);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let response = request.send().await.map_err(|error| no_answer(&self.base, error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| no_answer(&self.base, error))?;
        Ok((status, self.read(&body)?))
    }

    /// Returns the absolute URL of a path on the server.
    pub(super) fn absolute(&self, path: &str) -> Url {
        at(&self.base, path, &[])
    }

    /// Returns the body of a successful answer.
    async fn answer(&self, mut request: RequestBuilder) -> Result<bytes::Bytes, ApiError> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let response = request.send().await.map_err(|error| no_answer(&self.base, error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| no_answer(&self.base, error))?;
        if status.is_success() {
            return Ok(body);
        }
        Err(ApiError::Refused { base: self.base.clone(), status, detail: detail(status, &body) })
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ApiError> {
        serde_json::from_slice(body)
            .map_err(|error| ApiError::Foreign { base: self.base.clone(), cause: error.to_string() })
    }

    /// Fails unless the answer is successful.
    pub(super) async fn check(&self, path: &str, timeout: Duration) -> Result<(), ApiError> {
        let request = self.http.get(at(&self.base, path, &[])).timeout(timeout);
        let response = request.send().await.map_err(|error| no_answer(&self.base, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(ApiError::Refused { base: self.base.clone(), status, detail: detail(status, &body) })
    }
}

/// Returns a client for one server.
pub(super) fn http_client(base: &Url) -> anyhow::Result<reqwest::Client> {
    #[expect(clippy::disallowed_methods, reason = "this is the command line's configured client")]
    let mut builder = reqwest::Client::builder();
    if base.scheme() == "http" {
        // Without TLS no certificate authorities are needed, and a small container has none to load.
        builder = builder.tls_certs_only(std::iter::empty());
    }
    builder
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .context("failed to prepare an HTTPS client; are the system's certificate authorities installed?")
}

/// Base URL of a listener, as this machine reaches it. A wildcard address becomes loopback.
pub(super) fn listener_url(listen: SocketAddr) -> anyhow::Result<Url> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    anyhow::ensure!(
        listen.port() != 0,
        "port 0 is a new one each time; the command line must name the address"
    );
    Ok(format!("http://{}", SocketAddr::new(ip, listen.port())).parse()?)
}

/// Returns the URL of a path below a base, which may have a path itself.
pub(super) fn at(base: &Url, path: &str, query: &[(&str, String)]) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// Parses a base URL of the command line.
pub(super) fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let has_secret = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https")
        || has_secret
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(
            "it begins with http:// or https:// and has no user information, query or fragment".to_owned()
        );
    }
    Ok(url)
}

/// Returns the error of a call without a complete answer.
pub(super) fn no_answer(base: &Url, error: reqwest::Error) -> ApiError {
    let error = error.without_url();
    let base = base.clone();
    if error.is_timeout() && !error.is_connect() {
        return ApiError::Broken { base, cause: "it took too long".to_owned() };
    }
    let is_connect = error.is_connect();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let cause = cause.to_string();
    if is_connect { ApiError::Unreachable { base, cause } } else { ApiError::Broken { base, cause } }
}

/// Detail of a problem document, or the reason phrase of the status.
fn detail(status: StatusCode, body: &[u8]) -> String {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = ["detail", "title"].iter().map(|name| &problem[name]).find(|said| said.is_string());
    match said {
        Some(said) => super::output::field(said),
        None => status.canonical_reason().unwrap_or("no reason given").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{at, listener_url};

    #[rstest::rstest]
    #[case("127.0.0.1:81", "http://127.0.0.1:81/v1")]
    #[case("0.0.0.0:81", "http://127.0.0.1:81/v1")]
    #[case("[::]:81", "http://[::1]:81/v1")]
    #[case("192.0.2.7:81", "http://192.0.2.7:81/v1")]
    fn a_listener_is_reached_by_an_address_that_its_host_check_accepts(
        #[case] listen: &str,
        #[case] url: &str,
    ) {
        assert_eq!(at(&listener_url(listen.parse().unwrap()).unwrap(), "/v1", &[]).as_str(), url);
    }

    #[test]
    fn a_port_that_changes_cannot_be_reached() {
        assert!(listener_url("127.0.0.1:0".parse().unwrap()).is_err());
    }
}
