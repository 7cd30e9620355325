//! HTTP client of the calls: name resolution, proxy, certificate authorities, no redirects.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Proxy};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::ClientError;
use super::error::chain;
use super::settings::RemotePcSettings;
use crate::resolver::Resolve;

const USER_AGENT: &str = concat!("remgate/", env!("CARGO_PKG_VERSION"));
/// Maximum time for a connection, so that most of the deadline is left for the answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Time after which an idle connection is not used again. Servers close theirs after 5 s or more; a request on a closing
/// connection is lost, and these requests must not be sent twice.
const IDLE_MAX: Duration = Duration::from_secs(2);

#[expect(clippy::disallowed_methods, reason = "this is where the configured client is made")]
pub(super) fn http_client(settings: &RemotePcSettings) -> Result<reqwest::Client, ClientError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .dns_resolver(Names(Arc::clone(&settings.resolver)))
        .pool_idle_timeout(IDLE_MAX)
        .connect_timeout(CONNECT_MAX.min(settings.timeout))
        .timeout(settings.timeout);
    if let Some(url) = &settings.proxy {
        builder = builder.proxy(proxy(url)?);
    }
    if let Some(path) = &settings.ca_file {
        builder = builder.tls_certs_merge(authorities(path)?);
    }
    builder.build().map_err(|error| ClientError::Build(chain(&error)))
}

/// Lets the HTTP client resolve names by the resolver of its settings.
struct Names(Arc<dyn Resolve>);

impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolving = self.0.resolve(name.as_str());
        Box::pin(async move {
            let found = resolving.await?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

fn proxy(url: &SecretString) -> Result<Proxy, ClientError> {
    // `socks5` would resolve the name here, which may be possible at the proxy only.
    let url = match url.expose_secret().strip_prefix("socks5://") {
        Some(rest) => Url::parse(&format!("socks5h://{rest}")),
        None => Url::parse(url.expose_secret()),
    };
    let url = url.map_err(|_| ClientError::Proxy)?;
    let usable =
        matches!(url.scheme(), "http" | "socks5h") && url.host_str().is_some_and(|host| !host.is_empty());
    if !usable {
        return Err(ClientError::Proxy);
    }
    Proxy::all(url).map_err(|_| ClientError::Proxy)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let pem = std::fs::read(path).map_err(|source| ClientError::CaFile { path: path.to_owned(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ClientError::NoCertificate(path.to_owned())),
    }
}
