//! The configuration as the rest of the house sees it: typed, complete, valid.

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
    /// The door to the outside.
    pub public: Public,
    /// The door to our own apps and people.
    pub internal: Internal,
    /// Where events are kept.
    pub database: Database,
    /// Every RemAuth service, `default` first if there is one. Never empty.
    pub services: Vec<Service>,
    /// Whether a service may stand open off loopback.
    pub allow_unauthenticated: bool,
    /// The endpoints declared in the configuration.
    pub endpoints: Vec<EndpointSettings>,
    /// How events are forwarded.
    pub delivery: Delivery,
    /// The reseller API.
    pub remotepc: RemotePc,
    /// Who is invited to `RemotePC` when they sign up.
    pub provisioning: Provisioning,
    /// What apps wait for.
    pub authentications: Authentications,
    /// How long things are kept.
    pub retention: Retention,
    /// What is told about the running.
    pub telemetry: Telemetry,
}

/// The door to the outside.
#[derive(Debug, Clone)]
pub struct Public {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How the outside world reaches it.
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

impl Public {
    /// The path that RemAuth calls, with a token or without one.
    #[must_use]
    pub fn callback_path(token: Option<&str>) -> String {
        token.map_or_else(|| "/remauth_callback".to_owned(), |token| format!("/remauth_callback/{token}"))
    }

    /// The URL to register in the Customer Center; only its path when nobody said how the outside world reaches us.
    #[must_use]
    pub fn callback_url(&self, token: Option<&str>) -> String {
        let base = self.url.as_ref().map_or("", |url| url.as_str().trim_end_matches('/'));
        format!("{base}{}", Self::callback_path(token))
    }
}

/// The door to our own apps and people.
#[derive(Debug, Clone)]
pub struct Internal {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The first key, with the scope `admin`.
    pub admin_key: Option<SecretString>,
    /// How many event streams may be open at once.
    pub max_streams: usize,
    /// Time limit between two requests on a connection.
    pub idle_timeout: Duration,
}

impl Internal {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }
}

/// Which engine keeps the events, and where.
#[derive(Debug, Clone)]
pub enum Database {
    /// One file.
    Sqlite(PathBuf),
    /// A server; the URL may hold a password.
    Postgres(PostgresUrl),
}

/// A RemAuth service and who may call for it.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Any of these opens it.
    pub tokens: Vec<SecretString>,
    /// Only from these addresses; empty = from any.
    pub allow_from: Vec<IpNet>,
}

impl Service {
    /// Whether a callback needs anything at all to be let in.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        !self.tokens.is_empty() || !self.allow_from.is_empty()
    }
}

/// How events are forwarded.
#[derive(Debug, Clone)]
pub struct Delivery {
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
    /// What the egress guard lets through besides public addresses.
    pub allow_private_networks: Vec<AllowedNetwork>,
    /// `http://` or `socks5://`; may hold a password.
    pub proxy: Option<SecretString>,
    /// Further certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
}

/// What the egress guard lets through besides public addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedNetwork {
    /// Addresses.
    Net(IpNet),
    /// A host by its name, lower case, whatever it resolves to.
    Host(String),
}

/// The reseller API.
#[derive(Debug, Clone)]
pub struct RemotePc {
    /// Its root.
    pub base_url: Url,
    /// Our key there; nothing = the routes answer that they are not configured.
    pub api_key: Option<SecretString>,
    /// For a whole call.
    pub timeout: Duration,
    /// Calls at once.
    pub max_in_flight: usize,
    /// How long a list of users is kept for `/v1/remotepc/users`.
    pub list_cache: Duration,
    /// `http://` or `socks5://`; may hold a password.
    pub proxy: Option<SecretString>,
    /// Further certificate authorities, PEM.
    pub ca_file: Option<PathBuf>,
}

/// Who is invited to `RemotePC` when they sign up.
#[derive(Debug, Clone)]
pub struct Provisioning {
    /// Whether anybody is.
    pub mode: ProvisioningMode,
    /// Only who signed up at these services; empty = at any.
    pub services: Vec<ServiceName>,
    /// How many computers each may set up.
    pub computers: u32,
    /// The waits after attempt 1, 2, ...
    pub schedule: Vec<Duration>,
}

/// What apps wait for.
#[derive(Debug, Clone)]
pub struct Authentications {
    /// How long after its completion an authentication can be claimed.
    pub claim_within: Duration,
    /// Minimum trust of an authentication that is claimed.
    pub min_trust: Trust,
}

/// How long things are kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Events, with their settled deliveries and attempts.
    pub events: Duration,
    /// The audit trail.
    pub audit: Duration,
}

/// What is told about the running.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// How logs look.
    pub log_format: LogFormat,
    /// Where traces go.
    pub otlp_endpoint: Option<Url>,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON else.
    Auto,
    /// For people.
    Pretty,
    /// For machines.
    Json,
}
