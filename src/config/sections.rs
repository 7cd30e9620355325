//! The configuration as the other modules use it: typed, complete, valid.
//!
//! Each section has one row for each key: the field, its type and its rule. The defaults stand in `config/remgate.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::key::{ConfigKey, Section};
use super::reader::{Field, Reported, TableKeys, TableReader, keys, section};
use super::rules;
use super::types::{AllowedNetwork, Database, LogFormat};
use crate::domain::{
    AsymmetricKey, AttemptTimeout, EndpointName, EndpointSettings, EndpointUrl, EventType, Format, Headers,
    MaxInFlight, ProvisioningMode, RateLimit, Schedule, Sending, ServiceName, SigningSecret, Trust,
};

/// Every section, in the order of the file.
pub(super) static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(|| {
    vec![
        PublicConfig::section("public"),
        InternalConfig::section("internal"),
        DatabaseKeys::section("database"),
        Callback::section("callback"),
        ServiceConfig::repeated("service"),
        EndpointSettings::repeated("endpoint"),
        DeliveryConfig::section("delivery"),
        RemotePcConfig::section("remotepc"),
        ProvisioningConfig::section("provisioning"),
        AuthenticationsConfig::section("authentications"),
        RetentionConfig::section("retention"),
        TelemetryConfig::section("telemetry"),
    ]
});

/// The section of that name.
pub(super) fn find(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// All settings of the operator.
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

section! {
    /// Public listener, for RemAuth.
    pub struct PublicConfig {
        /// Address to listen on.
        pub listen: SocketAddr = rules::LISTEN,
        /// URL under which RemAuth reaches the public listener.
        pub url: Option<Url> = rules::HTTP_URL,
        /// Proxies whose statement about the client's address is trusted.
        pub trusted_proxies: Vec<IpNet> = rules::NETWORK,
        /// Origins of browsers that may open `/wait/{ticket}`.
        pub cors_origins: Vec<String> = rules::ORIGIN,
        /// Time limit between two requests on a connection.
        pub idle_timeout: Duration = rules::IDLE,
        /// Minimum time that the listener stays open after SIGTERM.
        pub drain: Duration = rules::DRAIN,
    }
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

section! {
    /// Internal listener, for apps and operators.
    pub struct InternalConfig {
        /// Address to listen on.
        pub listen: SocketAddr = rules::LISTEN,
        /// The first key, with the scope `admin`.
        pub admin_key: Option<SecretString> = rules::ADMIN_KEY,
        /// Maximum number of open event streams.
        pub max_streams: usize = rules::LIMIT,
        /// Time limit between two requests on a connection.
        pub idle_timeout: Duration = rules::IDLE,
    }
}

impl InternalConfig {
    /// Returns whether only this machine can reach the listener.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }
}

section! {
    /// Store of the events.
    pub(super) struct DatabaseKeys {
        pub(super) url: Database = rules::DATABASE,
    }
}

section! {
    /// Access to the service `default`.
    pub(super) struct Callback {
        pub(super) tokens: Vec<SecretString> = rules::TOKEN,
        pub(super) allow_from: Vec<IpNet> = rules::NETWORK,
        pub(super) allow_unauthenticated: Result<bool, Reported> = rules::SWITCH,
    }
}

section! {
    /// A RemAuth service and the access to its callback URL.
    pub struct ServiceConfig {
        /// Name of the service.
        pub name: ServiceName = rules::SERVICE_NAME,
        /// Tokens, each of which is accepted.
        pub tokens: Vec<SecretString> = rules::TOKEN,
        /// Addresses of callers; empty = any.
        pub allow_from: Vec<IpNet> = rules::NETWORK,
    }
}

impl ServiceConfig {
    /// Returns whether a callback needs a token or an allowed address.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        !self.tokens.is_empty() || !self.allow_from.is_empty()
    }
}

keys!(EndpointSettings {
    name: EndpointName = rules::ENDPOINT_NAME,
    url: EndpointUrl = rules::ENDPOINT_URL,
    secret: SigningSecret = rules::SIGNING_SECRET,
    types: Vec<EventType> = rules::EVENT_TYPE,
    services: Vec<ServiceName> = rules::SERVICE,
    format: Format = rules::FORMAT,
    expected_only: bool = rules::SWITCH,
    ..sending: Sending,
});

keys!(Sending {
    headers: Headers = rules::HEADER,
    schedule: Option<Schedule> = rules::WAIT,
    timeout: Option<AttemptTimeout> = rules::ATTEMPT_TIMEOUT,
    max_in_flight: Option<MaxInFlight> = rules::MAX_IN_FLIGHT,
    rate_limit: Option<RateLimit> = rules::RATE_LIMIT,
    signing_key: Option<AsymmetricKey> = rules::SIGNING_KEY,
});

section! {
    /// Delivery of events to endpoints.
    pub struct DeliveryConfig {
        /// The waits after attempt 1, 2, ...
        pub schedule: Vec<Duration> = rules::WAIT,
        /// Time limit for the connection alone.
        pub connect_timeout: Duration = rules::TIMEOUT,
        /// Time limit for a whole attempt.
        pub timeout: Duration = rules::TIMEOUT,
        /// Maximum number of concurrent attempts beyond one per endpoint.
        pub max_in_flight: usize = rules::LIMIT,
        /// Maximum number of concurrent attempts per endpoint.
        pub max_in_flight_per_endpoint: usize = rules::LIMIT,
        /// Time of failures without a success after which an endpoint is disabled.
        pub disable_after: Duration = rules::RETENTION,
        /// Addresses that the egress guard admits besides public ones.
        pub allow_private_networks: Vec<AllowedNetwork> = rules::ALLOWED_NETWORK,
        /// `http://` or `socks5://`; may hold a password.
        pub proxy: Option<SecretString> = rules::PROXY,
        /// Further certificate authorities, PEM.
        pub ca_file: Option<PathBuf> = rules::CA_FILE,
    }
}

section! {
    /// The reseller API.
    pub struct RemotePcConfig {
        /// Root of the API.
        pub base_url: Url = rules::HTTP_URL,
        /// Key for the API. Without a key the routes answer that they are not configured.
        pub api_key: Option<SecretString> = rules::API_KEY,
        /// Time limit for a whole call.
        pub timeout: Duration = rules::TIMEOUT,
        /// Maximum number of concurrent calls.
        pub max_in_flight: usize = rules::LIMIT,
        /// Time for which a list of users is cached for `/v1/remotepc/users`.
        pub list_cache: Duration = rules::CACHE_TTL,
        /// `http://` or `socks5://`; may hold a password.
        pub proxy: Option<SecretString> = rules::PROXY,
        /// Further certificate authorities, PEM.
        pub ca_file: Option<PathBuf> = rules::CA_FILE,
    }
}

section! {
    /// Invitations to `RemotePC` after a registration.
    pub struct ProvisioningConfig {
        /// Mode of the rule.
        pub mode: ProvisioningMode = rules::MODE,
        /// Services whose new users are invited; empty = all.
        pub services: Vec<ServiceName> = rules::SERVICE,
        /// Number of computers that an invited user may set up.
        pub computers: u32 = rules::COMPUTERS,
        /// The waits after attempt 1, 2, ...
        pub schedule: Vec<Duration> = rules::WAIT,
    }
}

section! {
    /// Authentications.
    pub struct AuthenticationsConfig {
        /// Time after its completion within which an authentication can be claimed.
        pub claim_within: Duration = rules::CLAIM_WITHIN,
        /// Minimum trust of an authentication that is claimed.
        pub min_trust: Trust = rules::MIN_TRUST,
    }
}

section! {
    /// Retention periods.
    pub struct RetentionConfig {
        /// Events, with their settled deliveries and attempts.
        pub events: Duration = rules::RETENTION,
        /// The audit log.
        pub audit: Duration = rules::RETENTION,
    }
}

section! {
    /// Logs and traces.
    pub struct TelemetryConfig {
        /// Format of log lines.
        pub log_format: LogFormat = rules::LOG_FORMAT,
        /// Collector of traces.
        pub otlp_endpoint: Option<Url> = rules::HTTP_URL,
    }
}
