//! Rules for single values: the text about allowed values beside the function that parses one.
//!
//! A fault never repeats the value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url};

use super::key::{Shown, ValueKind, near_miss};
use super::merge::read_text;
use super::rule::{Rule, RuleContext, RuleResult, one_of};
use super::types::{AllowedNetwork, Database, LogFormat};
use crate::domain::{
    AsymmetricKey, AttemptTimeout, EndpointName, EndpointUrl, EventType, Format, HumanDuration, Invalid,
    MaxInFlight, PostgresUrl, ProvisioningMode, RateLimit, Schedule, ServiceName, SigningSecret, Trust,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
/// The shortest duration that can be written.
const SHORTEST: Duration = Duration::from_millis(1);

// Texts of the domain.
pub(super) const SERVICE_NAME: Rule<ServiceName> = Rule::text(ServiceName::ALLOWED, domain);
pub(super) const ENDPOINT_NAME: Rule<EndpointName> = Rule::text(EndpointName::ALLOWED, domain);
pub(super) const ENDPOINT_URL: Rule<EndpointUrl> =
    Rule::text("an absolute http:// or https:// URL without user information or fragment", domain)
        .shown(Shown::Url);
pub(super) const RATE_LIMIT: Rule<RateLimit> = Rule::text(RateLimit::ALLOWED, plain);
/// Name of a configured service.
pub(super) const SERVICE: Rule<ServiceName> = Rule::text("a list of names of configured services", service);

// Names of alternatives.
pub(super) const EVENT_TYPE: Rule<EventType> =
    Rule::text(r#"a list of event types such as "remauth.authenticated""#, |text, _| {
        one_of(text, EventType::ALL.iter().map(|event_type| (event_type.as_str(), *event_type)).collect())
    });
pub(super) const FORMAT: Rule<Format> =
    Rule::one_of(|| Format::ALL.iter().map(|format| (format.as_str(), *format)).collect());
pub(super) const MODE: Rule<ProvisioningMode> =
    Rule::one_of(|| ProvisioningMode::ALL.iter().map(|mode| (mode.as_str(), *mode)).collect());
pub(super) const MIN_TRUST: Rule<Trust> =
    Rule::one_of(|| vec![("token", Trust::Token), ("address", Trust::Address), ("none", Trust::None)]);
pub(super) const LOG_FORMAT: Rule<LogFormat> = Rule::one_of(|| {
    vec![("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)]
});

// Secrets.
pub(super) const ADMIN_KEY: Rule<SecretString> =
    Rule::secret("at least 24 visible ASCII characters, without spaces", |text, _| header_key(text, 24));
pub(super) const API_KEY: Rule<SecretString> =
    Rule::secret("visible ASCII characters without spaces", |text, _| header_key(text, 1));
pub(super) const TOKEN: Rule<SecretString> = Rule::secret(
    "a list of tokens, each at least 22 of the characters a-z, A-Z, 0-9, `-` and `_` (`remgate token new` makes one)",
    token,
);
pub(super) const SIGNING_SECRET: Rule<SigningSecret> = Rule::secret(SigningSecret::ALLOWED, plain);
pub(super) const SIGNING_KEY: Rule<AsymmetricKey> = Rule::secret(AsymmetricKey::ALLOWED, plain);
/// Value of a header. [`Headers`](crate::domain::Headers) checks it together with the name.
pub(super) const HEADER: Rule<SecretString> =
    Rule::text("a table of texts by the names of headers", |text, _| Ok(text.into())).shown(Shown::Secret);

// Numbers and switches.
pub(super) const SWITCH: Rule<bool> = Rule::of_kind(ValueKind::Switch, "true or false", plain);
pub(super) const LIMIT: Rule<usize> =
    Rule::of_kind(ValueKind::Number, MaxInFlight::ALLOWED, |text, _| number(text, 1..=10_000));
pub(super) const MAX_IN_FLIGHT: Rule<MaxInFlight> =
    Rule::of_kind(ValueKind::Number, MaxInFlight::ALLOWED, |text, _| {
        number::<u32>(text, 1..=10_000)?.try_into().map_err(|error: Invalid| error.to_string())
    });
pub(super) const COMPUTERS: Rule<u32> =
    Rule::of_kind(ValueKind::Number, "a whole number from 0 to 10000", |text, _| number(text, 0..=10_000));

// Durations.
pub(super) const TIMEOUT: Rule<Duration> =
    Rule::text(AttemptTimeout::ALLOWED, |text, _| duration(text, SHORTEST..=10 * MINUTE));
pub(super) const ATTEMPT_TIMEOUT: Rule<AttemptTimeout> =
    Rule::text(AttemptTimeout::ALLOWED, |text, context| {
        HumanDuration(TIMEOUT.parse(text, context)?).try_into().map_err(|error: Invalid| error.to_string())
    });
/// Time limit between two requests on a connection.
pub(super) const IDLE: Rule<Duration> =
    Rule::text(r#"a duration such as "75s", from "1s" to "1h""#, |text, _| {
        duration(text, SECOND..=60 * MINUTE)
    });
pub(super) const DRAIN: Rule<Duration> =
    Rule::text(r#"a duration such as "20s", at most "10m"; "0s" waits for nothing"#, |text, _| {
        duration(text, Duration::ZERO..=10 * MINUTE)
    });
pub(super) const RETENTION: Rule<Duration> =
    Rule::text(r#"a duration such as "30d", longer than nothing and at most "36500d""#, |text, _| {
        duration(text, SHORTEST..=36_500 * DAY)
    });
pub(super) const CLAIM_WITHIN: Rule<Duration> =
    Rule::text(r#"a duration such as "5m", from "1s" to "1d""#, |text, _| duration(text, SECOND..=DAY));
pub(super) const CACHE_TTL: Rule<Duration> =
    Rule::text(r#"a duration such as "1m", at most "1d"; "0s" keeps nothing"#, |text, _| {
        duration(text, Duration::ZERO..=DAY)
    });
/// Wait between two attempts.
pub(super) const WAIT: Rule<Duration> =
    Rule::text(Schedule::ALLOWED, |text, _| duration(text, Duration::ZERO..=365 * DAY)).max_elements(100);

// Addresses, URLs and files.
pub(super) const LISTEN: Rule<SocketAddr> =
    Rule::text(r#"an address and a port such as "127.0.0.1:8080" or "[::1]:8080""#, listen);
pub(super) const NETWORK: Rule<IpNet> =
    Rule::text(r#"a list of networks or addresses such as "203.0.113.0/24" or "2001:db8::7""#, network);
pub(super) const ALLOWED_NETWORK: Rule<AllowedNetwork> =
    Rule::text("a list of networks, addresses or host names", allowed_network);
pub(super) const HTTP_URL: Rule<Url> = Rule::text(
    "a URL that begins with http:// or https://, without user information, query or fragment",
    http_url,
)
.shown(Shown::Url);
pub(super) const ORIGIN: Rule<String> =
    Rule::text(r#"a list of origins such as "https://app.example.com""#, origin);
pub(super) const DATABASE: Rule<Database> =
    Rule::text("sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE", database)
        .shown(Shown::SecretUrl)
        .or_file();
pub(super) const PROXY: Rule<SecretString> =
    Rule::text("http://host:port or socks5://host:port", proxy).shown(Shown::SecretUrl);
pub(super) const CA_FILE: Rule<PathBuf> =
    Rule::text("the path of a readable file with certificates in PEM", ca_file);

/// Parses a text whose error adds nothing to the text about allowed values.
fn plain<T: FromStr>(text: &str, _: &RuleContext<'_>) -> RuleResult<T> {
    text.parse().map_err(|_| String::new())
}

fn domain<T: TryFrom<String, Error = Invalid>>(text: &str, _: &RuleContext<'_>) -> RuleResult<T> {
    T::try_from(text.to_owned()).map_err(|error| error.to_string())
}

fn fault<T>(text: &str) -> RuleResult<T> {
    Err(text.to_owned())
}

fn service(text: &str, context: &RuleContext<'_>) -> RuleResult<ServiceName> {
    match &context.services {
        Some(services) if !services.iter().any(|service| service == text) => {
            Err(match near_miss(text, services.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", services.join(", ")),
            })
        }
        _ => domain(text, context),
    }
}

/// Parses a token: at least 128 bits, in characters that need no escaping in a URL.
fn token(text: &str, _: &RuleContext<'_>) -> RuleResult<SecretString> {
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return fault("it holds other characters");
    }
    if text.len() < 22 { fault("it is too short") } else { Ok(text.into()) }
}

/// Parses a key that can be sent in a header.
fn header_key(text: &str, min_length: usize) -> RuleResult<SecretString> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return fault("it holds other characters");
    }
    if text.len() < min_length { fault("it is too short") } else { Ok(text.into()) }
}

fn number<T: TryFrom<i64>>(text: &str, range: RangeInclusive<i64>) -> RuleResult<T> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(String::new)
}

fn duration(text: &str, range: RangeInclusive<Duration>) -> RuleResult<Duration> {
    let length = text.parse::<HumanDuration>().map_err(|error| error.to_string())?.get();
    match length {
        _ if length > *range.end() => fault("it is too long"),
        _ if range.contains(&length) => Ok(length),
        Duration::ZERO => fault("nothing could happen in no time"),
        _ => fault("it is too short"),
    }
}

fn listen(text: &str, _: &RuleContext<'_>) -> RuleResult<SocketAddr> {
    let is_name = text.starts_with("localhost:");
    text.parse().or_else(|_| fault(if is_name { "names are not looked up here" } else { "" }))
}

/// Parses an absolute `http` or `https` URL without anything that could be a secret.
fn http_url(text: &str, _: &RuleContext<'_>) -> RuleResult<Url> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return fault("its scheme is another");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return fault("it holds user information");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return fault("it holds a query or a fragment");
    }
    Ok(url)
}

/// Parses an origin, as browsers send it in the `Origin` header.
fn origin(text: &str, context: &RuleContext<'_>) -> RuleResult<String> {
    let url = http_url(text, context)?;
    if url.path() == "/" { Ok(url.origin().ascii_serialization()) } else { fault("an origin has no path") }
}

/// Parses a network; an address counts as the network of that address alone. IPv4-mapped ones become the IPv4 network that
/// they stand for, since addresses are compared in that form.
fn network(text: &str, _: &RuleContext<'_>) -> RuleResult<IpNet> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| String::new())?.to_canonical()),
    };
    let mapped: Ipv6Addr = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
    match (net, net.prefix_len().checked_sub(96)) {
        (IpNet::V6(v6), Some(prefix)) => match v6.network().to_ipv4_mapped() {
            Some(network) => Ok(Ipv4Net::new(network, prefix).map_or(net, IpNet::V4)),
            None => Ok(net),
        },
        // All of IPv6 is a network of its own. A network between the two matches IPv6 addresses only, contrary to its text.
        (IpNet::V6(v6), None) if v6.prefix_len() > 0 && v6.contains(&mapped) => fault(
            "it holds all IPv4-mapped addresses; write the IPv4 networks that are meant, such as 203.0.113.0/24",
        ),
        _ => Ok(net),
    }
}

fn allowed_network(text: &str, context: &RuleContext<'_>) -> RuleResult<AllowedNetwork> {
    if let Ok(net) = network(text, context) {
        return Ok(AllowedNetwork::Net(net));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let plausible = name.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    });
    match Host::parse(&name) {
        Ok(Host::Domain(_)) if plausible && name.len() <= 253 => Ok(AllowedNetwork::Host(name)),
        _ => fault(""),
    }
}

/// Parses the URL of a database; the exact scheme tells the engine.
fn database(text: &str, context: &RuleContext<'_>) -> RuleResult<Database> {
    if let Some(path) = text.strip_prefix("sqlite://") {
        return sqlite(path).map(|path| Database::Sqlite(context.dir.join(path)));
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return PostgresUrl::parse(text).map(Database::Postgres);
    }
    fault(match text {
        _ if text.starts_with("sqlite:") => "after `sqlite:` there are two slashes and the path of a file",
        _ if text.starts_with("jdbc:") => "remove `jdbc:`",
        _ if text.starts_with(['"', '\'']) => "remove the quotes",
        _ if text.starts_with("postgres+") || text.starts_with("postgresql+") => {
            "remove the driver's name: the scheme is exactly `postgres` or `postgresql`"
        }
        _ if text.contains("host=") || text.contains("dbname=") => {
            "write a URL, postgres://USER:PASSWORD@HOST:PORT/DATABASE, instead of NAME=VALUE pairs"
        }
        _ => "the scheme is exactly `sqlite`, `postgres` or `postgresql`",
    })
}

fn sqlite(path: &str) -> RuleResult<PathBuf> {
    if path.contains(":memory:") || path.contains("mode=memory") {
        return fault("nothing is durable in memory");
    }
    if path.contains(['?', '#']) {
        return fault("a path takes no options; the file is created when it is missing");
    }
    match percent_decode_str(path).decode_utf8() {
        Ok(path) if !path.is_empty() && !path.ends_with('/') && !path.contains('\0') => {
            Ok(path.as_ref().into())
        }
        _ => fault("the path of a file follows the scheme"),
    }
}

fn proxy(text: &str, _: &RuleContext<'_>) -> RuleResult<SecretString> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "socks5") {
        return fault("its scheme is another");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return fault("it names no host");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return fault("nothing follows the port");
    }
    Ok(text.into())
}

/// Checks a file of certificates. The file is opened, so that a typing error is found at the start.
fn ca_file(text: &str, context: &RuleContext<'_>) -> RuleResult<PathBuf> {
    let path = context.dir.join(text);
    let pem = read_text(&path).map_err(|error| format!("it {error}"))?;
    if pem.contains("-----BEGIN CERTIFICATE-----") { Ok(path) } else { fault("it holds no certificate") }
}
