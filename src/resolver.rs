//! Name resolution: the hosts file, then DNS.
//!
//! Everything is asynchronous. The C library's `getaddrinfo` would occupy a thread of the blocking pool for as long as a
//! name server is silent, even after the attempt that asked has ended. Here a look-up is a future: it ends with its
//! attempt, and attempts that need the same name share one query.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::select_all;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, Resolver as Dns, TokioResolver};
use tokio::time::timeout;

use crate::domain::{Clock, SystemClock};

#[cfg(test)]
mod tests;

/// The pending addresses of a name. Their ports have no meaning.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Resolves names to addresses.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`, the preferred ones first. Dropping the future ends the look-up.
    ///
    /// # Errors
    /// The name does not exist, has no address, or no name server answered.
    fn resolve(&self, host: &str) -> Resolving;
}

/// The age at which the two configuration files are looked at again.
const FILES_MAX_AGE: Duration = Duration::from_secs(5);
/// The time given to the second address family after the first has answered. Some name servers never answer for
/// AAAA.
const SECOND_FAMILY_DELAY: Duration = Duration::from_millis(250);
/// The longest time an answer is cached, whatever its TTL.
const POSITIVE_MAX_TTL: Duration = Duration::from_hours(1);
/// The longest time the absence of a name is cached. A name that was just created works soon.
const NEGATIVE_MAX_TTL: Duration = Duration::from_secs(5);
/// Cached answers.
const CACHE_SIZE: u64 = 4096;
/// The address families, the preferred one first (RFC 8305, section 4).
const FAMILIES: [RecordType; 2] = [RecordType::AAAA, RecordType::A];

/// Resolves names by the machine's hosts file and the name servers in its `resolv.conf`, with search domains.
///
/// Answers are cached as long as their TTL says. A change of either file is in force after 5 seconds at most. Other
/// sources of the C library (mDNS, LDAP, `nscd`) are not asked.
#[derive(Debug)]
pub struct SystemResolver {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    port: Option<u16>,
    loaded: Mutex<Option<LoadedHosts>>,
}

/// The content of both files.
#[derive(Debug, Clone)]
struct LoadedHosts {
    checked: Instant,
    versions: [Option<Version>; 2],
    hosts: Arc<Hosts>,
    dns: TokioResolver,
}

/// Modification time and length of a file, to notice that it has changed.
type Version = (SystemTime, u64);

impl Default for SystemResolver {
    fn default() -> Self {
        Self::from_files("/etc/resolv.conf".into(), "/etc/hosts".into(), None)
    }
}

impl SystemResolver {
    /// Reads other files than the system's. `port` replaces the port of the name servers, which `resolv.conf` cannot
    /// express.
    #[must_use]
    pub fn from_files(resolv_conf: PathBuf, hosts: PathBuf, port: Option<u16>) -> Self {
        Self { resolv_conf, hosts, port, loaded: Mutex::new(None) }
    }

    /// Makes the next look-up look at the files.
    #[cfg(test)]
    fn expire(&self) {
        if let Some(known) = self.loaded.lock().unwrap().as_mut() {
            known.checked -= FILES_MAX_AGE;
        }
    }

    fn current(&self) -> io::Result<LoadedHosts> {
        let now = SystemClock.instant();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.as_mut() {
            if now.saturating_duration_since(known.checked) < FILES_MAX_AGE {
                return Ok(known.clone());
            }
            known.checked = now;
        }
        let versions = [version(&self.resolv_conf), version(&self.hosts)];
        match loaded.as_ref() {
            Some(known) if known.versions == versions => Ok(known.clone()),
            known => match self.load(now, versions) {
                Ok(new) => Ok(loaded.insert(new).clone()),
                // A file that is being written right now; the earlier content is still good.
                Err(_) if known.is_some() => Ok(known.expect("it was matched").clone()),
                Err(error) => Err(error),
            },
        }
    }

    fn load(&self, checked: Instant, versions: [Option<Version>; 2]) -> io::Result<LoadedHosts> {
        let mut hosts = Hosts::default();
        match File::open(&self.hosts) {
            Ok(file) => hosts.read_hosts_conf(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(about(&self.hosts, &error)),
        }
        let dns = self.dns().map_err(|error| about(&self.resolv_conf, &error))?;
        Ok(LoadedHosts { checked, versions, hosts: Arc::new(hosts), dns })
    }

    fn dns(&self) -> io::Result<TokioResolver> {
        let (mut config, mut options) = match fs::read(&self.resolv_conf) {
            Ok(text) if names_a_server(&text) => parse_resolv_conf(text).map_err(io::Error::other)?,
            Ok(_) => on_this_machine(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => on_this_machine(),
            Err(error) => return Err(error),
        };
        if let Some(port) = self.port {
            let (domain, search, mut servers) = config.into_parts();
            for connection in servers.iter_mut().flat_map(|server| &mut server.connections) {
                connection.port = port;
            }
            config = ResolverConfig::from_parts(domain, search, servers);
        }
        options.cache_size = CACHE_SIZE;
        options.positive_max_ttl = Some(POSITIVE_MAX_TTL);
        options.negative_max_ttl = Some(NEGATIVE_MAX_TTL);
        let mut builder = Dns::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map_err(io::Error::other)
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> Resolving {
        let loaded = self.current();
        let name = Name::from_ascii(host);
        Box::pin(async move {
            let LoadedHosts { hosts, dns, .. } = loaded?;
            let name = name.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a host name"))?;
            match listed(&hosts, &name) {
                found if found.is_empty() => queried(&dns, name).await,
                found => Ok(found),
            }
        })
    }
}

/// The addresses that stand in the hosts file. One family there is enough: DNS is not asked for the other.
fn listed(hosts: &Hosts, name: &Name) -> Vec<SocketAddr> {
    let listed = FAMILIES.map(|family| hosts.lookup_static_host(&Query::query(name.clone(), family)));
    listed.iter().flatten().flat_map(addresses).collect()
}

/// The addresses that the name servers tell.
async fn queried(dns: &TokioResolver, name: Name) -> io::Result<Vec<SocketAddr>> {
    let queries = FAMILIES.map(|family| dns.lookup(name.clone(), family).boxed());
    let (first, position, mut rest) = select_all(queries).await;
    let second = rest.pop().expect("two families were asked for");
    let second = match &first {
        Ok(_) => timeout(SECOND_FAMILY_DELAY, second).await.ok(),
        Err(_) => Some(second.await),
    };
    let (preferred, other) = if position == 0 { (Some(first), second) } else { (second, Some(first)) };
    let mut found = Vec::new();
    let mut failure = None;
    for answer in [preferred, other].into_iter().flatten() {
        match answer {
            Ok(answer) => found.extend(addresses(&answer)),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if found.is_empty() => Err(failed(&error)),
        _ => Ok(found),
    }
}

fn addresses(lookup: &Lookup) -> impl Iterator<Item = SocketAddr> + '_ {
    lookup.answers().iter().filter_map(|record| Some(SocketAddr::new(record.data.ip_addr()?, 0)))
}

fn failed(error: &NetError) -> io::Error {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => {
            io::Error::new(io::ErrorKind::NotFound, "no address is known for the name")
        }
        NetError::Timeout | NetError::NoConnections | NetError::Busy => {
            io::Error::new(io::ErrorKind::TimedOut, "no name server answered")
        }
        other => io::Error::other(other.to_string()),
    }
}

/// The C library's default: a name server on this machine.
fn on_this_machine() -> (ResolverConfig, ResolverOpts) {
    let server = NameServerConfig::udp_and_tcp(IpAddr::V4(Ipv4Addr::LOCALHOST));
    (ResolverConfig::from_parts(None, Vec::new(), vec![server]), ResolverOpts::default())
}

fn names_a_server(resolv_conf: &[u8]) -> bool {
    resolv_conf.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_start().starts_with(b"nameserver"))
}

fn version(path: &Path) -> Option<Version> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
