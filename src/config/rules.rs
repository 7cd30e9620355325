//! Rules for single values: each takes a text and returns the typed value.
//!
//! An error names the fault, in addition to the text about allowed values, and never repeats the value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url};

use super::merge::read_text;
use super::schema::near_miss;
use super::{AllowedNetwork, Database, LogFormat};
use crate::domain::{HumanDuration, PostgresUrl, ProvisioningMode, ServiceName, Trust};

const DAY: Duration = Duration::from_hours(24);

/// Result of a rule: the value, or the fault, in addition to the text about allowed values. The fault may be empty.
pub(super) type Ruled<T> = Result<T, String>;

/// Nothing to add to what is allowed.
fn plain<T, E>(result: Result<T, E>) -> Ruled<T> {
    result.map_err(|_| String::new())
}

fn told<T>(why: &str) -> Ruled<T> {
    Err(why.to_owned())
}

/// A text of the domain's; the domain's own words go with the error.
pub(super) fn domain<T: TryFrom<String, Error = crate::domain::Invalid>>(text: &str) -> Ruled<T> {
    T::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// One of the names that a kind of thing has.
pub(super) fn one_of<T: Copy>(text: &str, all: &[(&str, T)]) -> Ruled<T> {
    if let Some((_, value)) = all.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let near = near_miss(text, all.iter().map(|(name, _)| *name));
    Err(near.map_or_else(String::new, |near| format!("did you mean {near:?}?")))
}

pub(super) fn log_format(text: &str) -> Ruled<LogFormat> {
    one_of(text, &[("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)])
}

pub(super) fn min_trust(text: &str) -> Ruled<Trust> {
    one_of(text, &[("token", Trust::Token), ("address", Trust::Address), ("none", Trust::None)])
}

pub(super) fn provisioning_mode(text: &str) -> Ruled<ProvisioningMode> {
    let all: Vec<_> = ProvisioningMode::ALL.iter().map(|mode| (mode.as_str(), *mode)).collect();
    one_of(text, &all)
}

pub(super) fn listen(text: &str) -> Ruled<SocketAddr> {
    text.parse().or_else(|_| {
        if text.starts_with("localhost:") { told("names are not looked up here") } else { told("") }
    })
}

/// An absolute `http` or `https` URL without anything that could be a secret.
pub(super) fn http_url(text: &str) -> Ruled<Url> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return told("its scheme is another");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return told("it holds user information");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return told("it holds a query or a fragment");
    }
    Ok(url)
}

/// Origin, as browsers send it in the `Origin` header.
pub(super) fn origin(text: &str) -> Ruled<String> {
    let url = http_url(text)?;
    let origin = url.origin().ascii_serialization();
    if url.path() == "/" { Ok(origin) } else { told("an origin has no path") }
}

/// A network; an address counts as the network of that address alone. IPv4-mapped ones become the IPv4 network that they
/// stand for, since addresses are compared in that form.
pub(super) fn net(text: &str) -> Ruled<IpNet> {
    let net = match text.parse::<IpNet>() {
        Ok(net) => net.trunc(),
        Err(_) => IpNet::from(plain(text.parse::<IpAddr>())?.to_canonical()),
    };
    let mapped: Ipv6Addr = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
    match (net, net.prefix_len().checked_sub(96)) {
        (IpNet::V6(v6), Some(prefix)) => match v6.network().to_ipv4_mapped() {
            Some(network) => plain(Ipv4Net::new(network, prefix)).map(IpNet::V4),
            None => Ok(net),
        },
        // All of IPv6 is a network of its own; anything between would match IPv6 addresses alone, unlike it reads.
        (IpNet::V6(v6), None) if v6.prefix_len() > 0 && v6.contains(&mapped) => told(
            "it holds all IPv4-mapped addresses; write the IPv4 networks that are meant, such as 203.0.113.0/24",
        ),
        _ => Ok(net),
    }
}

/// A network, an address or a host's name.
pub(super) fn allowed_network(text: &str) -> Ruled<AllowedNetwork> {
    if let Ok(net) = net(text) {
        return Ok(AllowedNetwork::Net(net));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let plausible = name.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    });
    match Host::parse(&name) {
        Ok(Host::Domain(_)) if plausible && name.len() <= 253 => Ok(AllowedNetwork::Host(name)),
        _ => told(""),
    }
}

/// A duration longer than nothing and at most `most`.
pub(super) fn duration(most: Duration) -> impl Fn(&str) -> Ruled<Duration> {
    move |text| {
        let length = text.parse::<HumanDuration>().map_err(|error| error.to_string())?.get();
        if length.is_zero() {
            told("nothing could happen in no time")
        } else if length > most {
            told("it is too long")
        } else {
            Ok(length)
        }
    }
}

/// For one call to the outside.
pub(super) fn timeout(text: &str) -> Ruled<Duration> {
    duration(Duration::from_mins(10))(text)
}

/// For what is kept.
pub(super) fn kept(text: &str) -> Ruled<Duration> {
    duration(DAY * 36_500)(text)
}

/// For what is good only for a while.
pub(super) fn fresh(text: &str) -> Ruled<Duration> {
    duration(DAY)(text)
}

/// For connections between two requests: 1 s to 1 h.
pub(super) fn idle(text: &str) -> Ruled<Duration> {
    let length = duration(Duration::from_hours(1))(text)?;
    if length < Duration::from_secs(1) { told("it is too short") } else { Ok(length) }
}

/// For the listener to stay open at a stop, at least.
pub(super) fn drain(text: &str) -> Ruled<Duration> {
    let length = text.parse::<HumanDuration>().map_err(|error| error.to_string())?.get();
    if length > Duration::from_mins(10) { told("it is too long") } else { Ok(length) }
}

/// For an answer that is shown again for a while; no time at all is one way to do that.
pub(super) fn shown_again(text: &str) -> Ruled<Duration> {
    let length = text.parse::<HumanDuration>().map_err(|error| error.to_string())?.get();
    if length > DAY { told("it is too long") } else { Ok(length) }
}

/// Between two attempts; no time at all is one way to wait.
pub(super) fn wait(text: &str) -> Ruled<Duration> {
    let length = text.parse::<HumanDuration>().map_err(|error| error.to_string())?.get();
    if length > DAY * 365 { told("it is too long") } else { Ok(length) }
}

/// Database engine, by the exact scheme of the URL.
pub(super) fn database(dir: &Path) -> impl Fn(&str) -> Ruled<Database> {
    move |text| {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return sqlite(path).map(|path| Database::Sqlite(dir.join(path)));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return told(match text {
                _ if text.starts_with("sqlite:") => {
                    "after `sqlite:` there are two slashes and the path of a file"
                }
                _ if text.starts_with("jdbc:") => "remove `jdbc:`",
                _ if text.starts_with(['"', '\'']) => "remove the quotes",
                _ if text.starts_with("postgres+") || text.starts_with("postgresql+") => {
                    "remove the driver's name: the scheme is exactly `postgres` or `postgresql`"
                }
                _ if text.contains("host=") || text.contains("dbname=") => {
                    "write a URL, postgres://USER:PASSWORD@HOST:PORT/DATABASE, instead of NAME=VALUE pairs"
                }
                _ => "the scheme is exactly `sqlite`, `postgres` or `postgresql`",
            });
        }
        PostgresUrl::parse(text).map(Database::Postgres)
    }
}

fn sqlite(path: &str) -> Ruled<PathBuf> {
    if path.contains(":memory:") || path.contains("mode=memory") {
        return told("nothing is durable in memory");
    }
    if path.contains(['?', '#']) {
        return told("a path takes no options; the file is created when it is missing");
    }
    match percent_decode_str(path).decode_utf8() {
        Ok(path) if !path.is_empty() && !path.ends_with('/') && !path.contains('\0') => {
            Ok(path.as_ref().into())
        }
        _ => told("the path of a file follows the scheme"),
    }
}

/// At least 128 bits, in characters that need no escaping in a URL.
pub(super) fn token(text: &str) -> Ruled<SecretString> {
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return told("it holds other characters");
    }
    if text.len() < 22 { told("it is too short") } else { Ok(text.into()) }
}

/// A key that can be sent in a header.
pub(super) fn header_key(least: usize) -> impl Fn(&str) -> Ruled<SecretString> {
    move |text| {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return told("it holds other characters");
        }
        if text.len() < least { told("it is too short") } else { Ok(text.into()) }
    }
}

/// A proxy; its password is kept secret.
pub(super) fn proxy(text: &str) -> Ruled<SecretString> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "socks5") {
        return told("its scheme is another");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return told("it names no host");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return told("nothing follows the port");
    }
    Ok(text.into())
}

/// A file of certificates; it is opened, so that a typing error is found now and not at the first delivery.
pub(super) fn ca_file(dir: &Path) -> impl Fn(&str) -> Ruled<PathBuf> {
    move |text| {
        let path = dir.join(text);
        let held = read_text(&path).map_err(|error| format!("it {error}"))?;
        if held.contains("-----BEGIN CERTIFICATE-----") { Ok(path) } else { told("it holds no certificate") }
    }
}

/// The name of a configured service.
pub(super) fn service(text: &str, known: Option<&[&str]>) -> Ruled<ServiceName> {
    match known {
        Some(known) if !known.contains(&text) => Err(near_miss(text, known.iter().copied()).map_or_else(
            || format!("there are {}", known.join(", ")),
            |near| format!("did you mean {near:?}?"),
        )),
        _ => domain(text),
    }
}
