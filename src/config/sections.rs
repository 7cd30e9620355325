//! The configuration as the other modules see it: typed, complete, valid.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use crate::domain::{EndpointSettings, PostgresUrl, ProvisioningMode, ServiceName, Trust};

/// All that an operator decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// Public listener, for RemAuth.
    pub public: PublicConfig,
    /// Internal listener, for apps and operators.
    pub internal: InternalConfig,
    /// Store of the events.
    pub database: Database,
    /// Every RemAuth service, `default` first if there is one. Never empty.
    pub services: Vec<ServiceConfig>,
    /// True if a service may have neither a token nor an address list off loopback.
    pub allow_unauthenticated: bool,
    /// The endpoints declared in the configuration.
    pub endpoints: Vec<EndpointSettings>,
    /// Delivery of events to endpoints.
    pub delivery: DeliveryConfig,
    /// The reseller API.
    pub remotepc: RemotePcConfig,
    /// Invitations to `RemotePC` after a registration.
    pub provisioning: ProvisioningConfig,
    /// Authentications.
    pub authentications: AuthenticationsConfig,
    /// Retention periods.
    pub retention: RetentionConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
}

/// Public listener, for RemAuth.
#[derive(Debug, Clone)]
pub struct PublicConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// URL under which RemAuth reaches the public listener.
    pub url: Option<Url>,
    /// The proxies whose word about the client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The browsers' origins that may open `/wait/{ticket}`.
    pub cors_origins: Vec<String>,
    /// Time limit between two requests on a connection.
    pub idle_timeout: Duration,
    /// Minimum time that the listener stays open after SIGTERM.
    pub drain: Duration,
}

impl PublicConfig {
    /// The path that RemAuth calls, with a token or without one.
    #[must_use]
    pub fn callback_path(token: Option<&str>) -> String {
        token.map_or_else(|| "/remauth_callback".to_owned(), |token| format!("/remauth_callback/{token}"))
    }

    /// URL to register in the Customer Center; its path alone when `public.url` is not set.
    #[must_use]
    pub fn callback_url(&self, token: Option<&str>) -> String {
        let base = self.url.as_ref().map_or("", |url| url.as_str().trim_end_matches('/'));
        format!("{base}{}", Self::callback_path(token))
    }
}

/// Internal listener, for apps and operators.
#[derive(Debug, Clone)]
pub struct InternalConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// The first key, with the scope `admin`.
    pub admin_key: Option<SecretString>,
    /// Maximum number of open event streams.
    pub max_streams: usize,
    /// Time limit between two requests on a connection.
    pub idle_timeout: Duration,
}

impl InternalConfig {
    /// Returns whether only this machine can reach the listener.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }
}

/// Database engine and location.
#[derive(Debug, Clone)]
pub enum Database {
    /// One file.
    Sqlite(PathBuf),
    /// A server; the URL may hold a password.
    Postgres(PostgresUrl),
}

/// A RemAuth service and who may call for it.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// Its name.
    pub name: ServiceName,
    /// Any of these opens it.
    pub tokens: Vec<SecretString>,
    /// Only from these addresses; empty = from any.
    pub allow_from: Vec<IpNet>,
}

impl ServiceConfig {
    /// Returns whether a callback needs a token or an allowed address.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        !self.tokens.is_empty() || !self.allow_from.is_empty()
    }
}

/// Delivery of events to endpoints.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// The waits after attempt 1, 2, ...
    pub schedule: Vec<Duration>,
    /// For the connection alone.
    pub connect_timeout: Duration,
    /// For a whole attempt.
    pub timeout: Duration,
    /// Attempts at once beyond one per endpoint.
    pub max_in_flight: usize,
    /// Attempts at once to one endpoint.
    pub max_in_flight_per_endpoint: usize,
    /// Of nothing but failures.
    pub disable_after: Duration,
    /// Addresses that the egress guard admits besides public ones.
    pub allow_private_networks: Vec<AllowedNetwork>,
    /// `http://` or `socks5://`; may hold a password.
    pub proxy: Option<SecretString>,
    /// Further certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Address or host that the egress guard admits besides public ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedNetwork {
    /// Addresses.
    Net(IpNet),
    /// A host by its name, lower case, whatever it resolves to.
    Host(String),
}

/// The reseller API.
#[derive(Debug, Clone)]
pub struct RemotePcConfig {
    /// Its root.
    pub base_url: Url,
    /// Our key there; nothing = the routes answer that they are not configured.
    pub api_key: Option<SecretString>,
    /// For a whole call.
    pub timeout: Duration,
    /// Calls at once.
    pub max_in_flight: usize,
    /// Time for which a list of users is cached for `/v1/remotepc/users`.
    pub list_cache: Duration,
    /// `http://` or `socks5://`; may hold a password.
    pub proxy: Option<SecretString>,
    /// Further certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Invitations to `RemotePC` after a registration.
#[derive(Debug, Clone)]
pub struct ProvisioningConfig {
    /// True if and how users are invited.
    pub mode: ProvisioningMode,
    /// Only who signed up at these services; empty = at any.
    pub services: Vec<ServiceName>,
    /// Number of computers that an invited user may set up.
    pub computers: u32,
    /// The waits after attempt 1, 2, ...
    pub schedule: Vec<Duration>,
}

/// Authentications.
#[derive(Debug, Clone)]
pub struct AuthenticationsConfig {
    /// Time after its completion within which an authentication can be claimed.
    pub claim_within: Duration,
    /// Minimum trust of an authentication that is claimed.
    pub min_trust: Trust,
}

/// Retention periods.
#[derive(Debug, Clone)]
pub struct RetentionConfig {
    /// Events, with their settled deliveries and attempts.
    pub events: Duration,
    /// The audit trail.
    pub audit: Duration,
}

/// Logs and traces.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// Format of log lines.
    pub log_format: LogFormat,
    /// Collector of traces.
    pub otlp_endpoint: Option<Url>,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON else.
    Auto,
    /// For people.
    Pretty,
    /// For machines.
    Json,
}
