//! Client of the API: one connection policy, one deadline, bounded answers.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use reqwest::Response;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::connect::http_client;
use super::request::Forwarded;
use super::settings::RemotePcSettings;
use crate::domain::{Clock, SystemClock};

use super::{AddUser, BadResponse, CallError, ClientError, InviteUsers, SignIn, UpstreamResponse};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Pause before a call is repeated.
const PAUSE: Duration = Duration::from_millis(200);
/// Maximum size of a user list in bytes: about 50,000 users.
const LIST_MAX: usize = 8 * 1024 * 1024;
/// Maximum size of any other answer in bytes, without the addition of [`Operation::answer_max`].
const ANSWER_MAX: usize = 64 * 1024;

/// Operation of the reseller API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Add a user.
    Add,
    /// Invite users.
    Invite,
    /// Request a link that signs a user in.
    SignIn,
    /// List the users.
    List,
}

impl Operation {
    /// Returns the last segment of the path, which is also the label of logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Invite => "invite",
            Self::SignIn => "signin",
            Self::List => "list",
        }
    }

    /// Returns the maximum size of an answer. An answer to an invitation repeats each address, so it grows with the request.
    fn answer_max(self, request: usize) -> usize {
        match self {
            Self::List => LIST_MAX,
            Self::Invite => ANSWER_MAX + 4 * request,
            Self::Add | Self::SignIn => ANSWER_MAX,
        }
    }
}

/// Client of the reseller API. rustls' process-wide provider has to be installed before it is built.
pub struct Client {
    http: reqwest::Client,
    base_url: Url,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    places: Semaphore,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("configured", &self.is_configured()).finish_non_exhaustive()
    }
}

impl Client {
    /// Builds a client. Reads the file of authorities and opens no connection.
    pub fn new(settings: RemotePcSettings) -> Result<Self, ClientError> {
        check_base(&settings.base_url)?;
        let authorization = settings.api_key.as_ref().map(bearer).transpose()?.flatten();
        let http = http_client(&settings)?;
        let places = Semaphore::new(settings.max_in_flight);
        Ok(Self { http, base_url: settings.base_url, authorization, timeout: settings.timeout, places })
    }

    /// Returns whether an API key is configured.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.authorization.is_some()
    }

    /// Adds a user.
    pub async fn add(&self, user: &AddUser) -> Result<UpstreamResponse, CallError> {
        self.call(Operation::Add, Some(user.body())).await
    }

    /// Invites users.
    pub async fn invite(&self, users: &InviteUsers) -> Result<UpstreamResponse, CallError> {
        self.call(Operation::Invite, Some(users.body())).await
    }

    /// Requests a sign-in link. The link signs in as that user without a password, so it is a secret.
    pub async fn sign_in(&self, user: &SignIn) -> Result<UpstreamResponse, CallError> {
        self.call(Operation::SignIn, Some(user.body())).await
    }

    /// Lists the users.
    pub async fn list(&self) -> Result<UpstreamResponse, CallError> {
        self.call(Operation::List, None).await
    }

    /// Makes one call within one deadline: the wait for a permit, the call, and its repetition where a repetition is
    /// safe.
    async fn call(
        &self,
        operation: Operation,
        body: Option<&Forwarded>,
    ) -> Result<UpstreamResponse, CallError> {
        let authorization = self.authorization.as_ref().ok_or(CallError::NotConfigured)?;
        let body = body.map(Forwarded::bytes).unwrap_or_default();
        let deadline = SystemClock.instant() + self.timeout;
        let deadline = Instant::from_std(deadline);
        let turn = timeout_at(deadline, self.places.acquire()).await.map_err(|_| CallError::Crowded)?;
        let _place = turn.expect("this semaphore is never closed");
        let once = || self.call_once(operation, authorization, body.clone());
        match by(deadline, once()).await {
            Err(e) if may_repeat(operation, &e) => {
                by(deadline, async {
                    sleep(PAUSE).await;
                    once().await
                })
                .await
            }
            outcome => outcome,
        }
    }

    async fn call_once(
        &self,
        operation: Operation,
        authorization: &HeaderValue,
        body: Bytes,
    ) -> Result<UpstreamResponse, CallError> {
        let answer_max = operation.answer_max(body.len());
        let response = self
            .http
            .post(self.url(operation))
            .header(AUTHORIZATION, authorization.clone())
            .header(CONTENT_TYPE, JSON)
            // Would be left out for an empty body, and some servers answer 411 to a POST without it.
            .header(CONTENT_LENGTH, body.len())
            .header(ACCEPT, JSON)
            .body(body)
            .send()
            .await
            .map_err(|error| CallError::from_http(error, None))?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            return Err(CallError::KeyRejected { status });
        }
        if status.is_redirection() {
            return Err(CallError::BadResponse { status: Some(status), reason: BadResponse::Redirect });
        }
        let headers = response.headers().clone();
        UpstreamResponse::read(status, &headers, bounded(response, answer_max).await?)
    }

    fn url(&self, operation: Operation) -> Url {
        let mut url = self.base_url.clone();
        url.path_segments_mut()
            .expect("a url with a host has a path")
            .pop_if_empty()
            .extend(["user", operation.as_str()]);
        url
    }
}

async fn by(
    deadline: Instant,
    call: impl Future<Output = Result<UpstreamResponse, CallError>>,
) -> Result<UpstreamResponse, CallError> {
    timeout_at(deadline, call).await.unwrap_or(Err(CallError::Timeout))
}

/// Returns whether the same call may be made again: the list changes nothing, and a request that never reached
/// upstream had no effect. An addition or invitation that may have arrived is never repeated, nor is a sign-in,
/// because upstream may count attempts.
fn may_repeat(operation: Operation, failed: &CallError) -> bool {
    match failed {
        CallError::NotConnected(_) => true,
        CallError::Unreachable(_) | CallError::BadResponse { reason: BadResponse::Truncated, .. } => {
            operation == Operation::List
        }
        _ => false,
    }
}

async fn bounded(mut response: Response, limit: usize) -> Result<Bytes, CallError> {
    let status = Some(response.status());
    let too_large = || CallError::BadResponse { status, reason: BadResponse::TooLarge { limit } };
    if response.content_length().is_some_and(|announced| announced > limit as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| CallError::from_http(error, status))? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(super::without_mark(body.freeze()))
}

fn check_base(url: &Url) -> Result<(), ClientError> {
    let wrong = if !matches!(url.scheme(), "http" | "https") {
        "begins with https:// or http://"
    } else if url.host_str().is_none_or(str::is_empty) {
        "names a host"
    } else if !url.username().is_empty() || url.password().is_some() {
        "holds no user information; the key belongs into remotepc.api_key"
    } else if url.query().is_some() || url.fragment().is_some() {
        "has neither query nor fragment"
    } else {
        return Ok(());
    };
    Err(ClientError::BaseUrl(wrong))
}

/// Returns the header with the API key, marked as sensitive: libraries log headers at the level trace.
fn bearer(key: &SecretString) -> Result<Option<HeaderValue>, ClientError> {
    let key = key.expose_secret().trim();
    if key.is_empty() {
        return Ok(None);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ClientError::ApiKey)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use std::sync::Arc;

    use super::*;
    use crate::resolver::SystemResolver;

    fn settings() -> RemotePcSettings {
        let _ = rustls::crypto::ring::default_provider().install_default();
        RemotePcSettings {
            base_url: "https://upstream.example/rpc-api/reseller/private".parse().unwrap(),
            api_key: Some("key-planted".into()),
            timeout: Duration::from_secs(1),
            max_in_flight: 8,
            proxy: None,
            ca_file: None,
            resolver: Arc::new(SystemResolver::default()),
        }
    }

    fn refused(settings: RemotePcSettings) -> String {
        Client::new(settings).unwrap_err().to_string()
    }

    #[rstest::rstest]
    #[case("https://a.example/private", "https://a.example/private/user/list")]
    #[case("https://a.example/private/", "https://a.example/private/user/list")]
    #[case("http://a.example:81", "http://a.example:81/user/list")]
    fn paths_are_below_the_base(#[case] base: &str, #[case] url: &str) {
        let client = Client::new(RemotePcSettings { base_url: base.parse().unwrap(), ..settings() }).unwrap();
        assert_eq!(client.url(Operation::List).as_str(), url);
    }

    #[rstest::rstest]
    fn a_base_that_cannot_be_called_is_refused(
        #[values(
            "ftp://a.example/",
            "mailto:a@example.com",
            "https://u:planted@a.example/",
            "https://a.example/?q",
            "https://a.example/#f"
        )]
        base: &str,
    ) {
        let text = refused(RemotePcSettings { base_url: base.parse().unwrap(), ..settings() });
        assert!(text.starts_with("remotepc.base_url ") && !text.contains("planted"), "{text}");
    }

    #[rstest::rstest]
    fn a_proxy_that_cannot_be_used_is_refused_without_showing_it(
        #[values(
            "",
            "proxy.example:3128",
            "ftp://u:planted@proxy.example",
            "http://u:planted@",
            "http://u:planted@[::1",
            "socks4://planted"
        )]
        proxy: &str,
    ) {
        let text = refused(RemotePcSettings { proxy: Some(proxy.into()), ..settings() });
        assert!(text.starts_with("remotepc.proxy ") && !text.contains("planted"), "{text}");
    }

    #[rstest::rstest]
    fn a_proxy_of_each_kind_is_taken(
        #[values("http://u:p@proxy.example:3128", "socks5://proxy.example")] proxy: &str,
    ) {
        assert!(Client::new(RemotePcSettings { proxy: Some(proxy.into()), ..settings() }).is_ok());
    }

    #[test]
    fn a_file_of_authorities_has_to_be_there_and_to_hold_one() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let missing = file.path().with_extension("missing");
        let text = refused(RemotePcSettings { ca_file: Some(missing.clone()), ..settings() });
        assert!(text.contains(missing.to_str().unwrap()) && text.contains("No such file"), "{text}");

        file.write_all(b"not a certificate").unwrap();
        let text = refused(RemotePcSettings { ca_file: Some(file.path().to_owned()), ..settings() });
        assert!(text.contains("no certificate in PEM form"), "{text}");

        file.write_all(b"\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let text = refused(RemotePcSettings { ca_file: Some(file.path().to_owned()), ..settings() });
        assert!(text.contains("cannot be made"), "{text}");
    }

    #[test]
    fn a_key_is_trimmed_marked_as_sensitive_and_never_shown() {
        let value = bearer(&" key-planted\n".into()).unwrap().unwrap();
        assert_eq!(value.as_bytes(), b"Bearer key-planted");
        assert!(value.is_sensitive());
        assert!(bearer(&" \n".into()).unwrap().is_none());
        let text = refused(RemotePcSettings { api_key: Some("key\nplanted".into()), ..settings() });
        assert!(text.starts_with("remotepc.api_key ") && !text.contains("planted"), "{text}");
        assert_eq!(format!("{:?}", Client::new(settings()).unwrap()), "Client { configured: true, .. }");
    }
}
