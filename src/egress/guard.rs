//! Egress guard: addresses that deliveries may connect to.
//!
//! A caller that can create an endpoint would otherwise reach everything that remgate reaches: the metadata service
//! of the cloud, internal databases, remgate's own internal listener. The addresses of a name are checked when the
//! connection is made, because an earlier look-up proves nothing.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use url::Host;

use super::ranges::{embedded, special};
use crate::domain::EndpointUrl;
use crate::resolver::{Resolve, SystemResolver};

/// Address or host that the operator admits besides public addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Addresses.
    Net(IpNet),
    /// A host by its name, whatever it resolves to.
    Host(String),
}

/// Reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardRefusal {
    /// The address is not public.
    #[error("{} not a public address ({what}); delivery.allow_private_networks can let it through", subject(.host.as_deref(), *.ip))]
    NotPublic {
        /// Name that resolved to the address; `None` for a literal address.
        host: Option<String>,
        /// The address.
        ip: IpAddr,
        /// Kind of the address.
        what: &'static str,
    },
    /// remgate itself listens there.
    #[error("{} one of remgate's own listeners on that port, which nothing lets through", subject(.host.as_deref(), *.ip))]
    OwnListener {
        /// Name that resolved to the address; `None` for a literal address.
        host: Option<String>,
        /// The address.
        ip: IpAddr,
    },
}

fn subject(host: Option<&str>, ip: IpAddr) -> String {
    host.map_or_else(|| format!("{ip} is"), |host| format!("{host} resolves to {ip}, which is"))
}

/// Maximum time for a look-up. A slower name counts as unresolved.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Decides whether an address may be connected to: public and listed ones, but never remgate's own listeners.
#[derive(Clone)]
pub struct Guard {
    nets: Vec<IpNet>,
    hosts: HashSet<String>,
    listeners: Vec<SocketAddr>,
    resolver: Arc<dyn Resolve>,
}

impl Guard {
    /// Returns a guard that admits public and listed addresses, with the system's resolver.
    #[must_use]
    pub fn new(allowed: Vec<Allowed>) -> Self {
        let mut nets = Vec::new();
        let mut hosts = HashSet::new();
        for item in allowed {
            match item {
                Allowed::Net(net) => nets.push(canonical(net)),
                Allowed::Host(name) => match address(&name) {
                    Some(ip) => nets.push(canonical(ip.into())),
                    None => drop(hosts.insert(spelled(&name))),
                },
            }
        }
        Self { nets, hosts, listeners: Vec::new(), resolver: Arc::new(SystemResolver::default()) }
    }

    /// Refuses remgate's own listeners, listed or not: a delivery to them would come from loopback, with its permissions.
    ///
    /// A listener on all addresses is refused on loopback.
    #[must_use]
    pub fn forbid(mut self, listeners: Vec<SocketAddr>) -> Self {
        self.listeners = listeners;
        for listener in &mut self.listeners {
            listener.set_ip(listener.ip().to_canonical());
        }
        self
    }

    /// Resolves names by `resolver`.
    #[must_use]
    pub fn resolving_by(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Checks an address, for a port on which remgate does not listen.
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), GuardRefusal> {
        self.judge(None, ip, false)
    }

    /// Checks a URL with a literal address, in whatever notation. A URL with a name passes.
    pub fn check_url(&self, url: &EndpointUrl) -> Result<(), GuardRefusal> {
        let ip = match url.as_url().host() {
            Some(Host::Ipv4(ip)) => IpAddr::from(ip),
            Some(Host::Ipv6(ip)) => IpAddr::from(ip),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        self.check_target(ip, port(url))
    }

    /// Checks an address before a connection.
    pub(super) fn check_target(&self, ip: IpAddr, port: u16) -> Result<(), GuardRefusal> {
        self.judge(None, ip, self.is_own_port(port))
    }

    /// Checks a URL by the current addresses of its name.
    ///
    /// A name that does not resolve passes, because it may do so later. This check tells the author of an endpoint
    /// early; the check at each connection is what protects.
    ///
    /// # Errors
    ///
    /// None of the addresses is admitted.
    pub async fn check_resolves(&self, url: &EndpointUrl) -> Result<(), GuardRefusal> {
        self.check_url(url)?;
        let Some(Host::Domain(host)) = url.as_url().host() else { return Ok(()) };
        match tokio::time::timeout(LOOKUP_TIMEOUT, self.resolver.resolve(host)).await {
            Ok(Ok(found)) => self.admit(host, found, port(url)).map(drop),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Returns whether remgate listens on the port.
    fn is_own_port(&self, port: u16) -> bool {
        self.listeners.iter().any(|listener| listener.port() == port)
    }

    pub(super) fn resolver(&self) -> &dyn Resolve {
        &*self.resolver
    }

    /// Returns the admitted addresses of a name for `port`.
    ///
    /// # Errors
    ///
    /// The error is the refusal of the first address.
    pub(super) fn admit(
        &self,
        host: &str,
        found: Vec<SocketAddr>,
        port: u16,
    ) -> Result<Vec<SocketAddr>, GuardRefusal> {
        let own_port = self.is_own_port(port);
        let mut refusal = None;
        let mut admitted = found;
        admitted.retain(|addr| match self.judge(Some(host), addr.ip(), own_port) {
            Ok(()) => true,
            Err(refused) => {
                refusal.get_or_insert(refused);
                false
            }
        });
        match refusal {
            Some(refusal) if admitted.is_empty() => Err(refusal),
            _ => Ok(admitted),
        }
    }

    /// `own_port` is true if the port is that of a listener of remgate.
    fn judge(&self, host: Option<&str>, ip: IpAddr, own_port: bool) -> Result<(), GuardRefusal> {
        let ip = ip.to_canonical();
        let named = || host.map(str::to_owned);
        if own_port && self.is_own_listener(ip) {
            return Err(GuardRefusal::OwnListener { host: named(), ip });
        }
        if host.is_some_and(|host| self.hosts.contains(&plain(host))) {
            return Ok(());
        }
        match self.forbidden(ip) {
            Some(what) => Err(GuardRefusal::NotPublic { host: named(), ip, what }),
            None => Ok(()),
        }
    }

    /// Kind of an address that is not admitted, also of an IPv4 address embedded in it.
    fn forbidden(&self, ip: IpAddr) -> Option<&'static str> {
        let inside = match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => embedded(ip).find_map(|v4| self.forbidden(v4.into())),
        };
        let itself = || if self.nets.iter().any(|net| net.contains(&ip)) { None } else { special(ip) };
        inside.or_else(itself)
    }

    /// Ports are left out on purpose: see [`Guard::is_own_port`]. At worst another program on one of our addresses and
    /// with one of our ports is refused, and connecting to "no address" is connecting to loopback.
    fn is_own_listener(&self, ip: IpAddr) -> bool {
        let here = ip.is_loopback() || ip.is_unspecified();
        self.listeners.iter().any(|listener| {
            listener.ip() == ip
                || (here && listener.ip().is_unspecified())
                || (ip.is_unspecified() && listener.ip().is_loopback())
        })
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nets, hosts, listeners, resolver: _ } = self;
        let mut debug = f.debug_struct("Guard");
        debug.field("nets", nets).field("hosts", hosts).field("listeners", listeners).finish_non_exhaustive()
    }
}

fn port(url: &EndpointUrl) -> u16 {
    url.as_url().port_or_known_default().expect("http and https have ports")
}

/// Returns the literal address of a host.
fn address(name: &str) -> Option<IpAddr> {
    let parsed = Host::parse(name).ok().and_then(|host| match host {
        Host::Ipv4(ip) => Some(IpAddr::from(ip)),
        Host::Ipv6(ip) => Some(IpAddr::from(ip)),
        Host::Domain(_) => None,
    });
    parsed.or_else(|| name.parse().ok())
}

/// Returns a listed name in the form of URLs: names in other scripts are encoded there.
fn spelled(name: &str) -> String {
    Host::parse(name).map_or_else(|_| plain(name), |host| plain(&host.to_string()))
}

/// Returns a name in the form for comparison: lower case, without a final full stop.
fn plain(name: &str) -> String {
    let mut name = name.to_ascii_lowercase();
    if name.ends_with('.') {
        name.pop();
    }
    name
}

/// Addresses written as `::ffff:10.0.0.0/104` are those of `10.0.0.0/8`.
fn canonical(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (ip @ IpAddr::V4(_), Some(len)) if net.addr().is_ipv6() => IpNet::new(ip, len).unwrap_or(net),
        _ => net,
    }
}
