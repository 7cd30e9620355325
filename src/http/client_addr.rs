//! Address of the client behind trusted proxies.

use std::net::IpAddr;
#[cfg(test)]
use std::net::SocketAddr;

use http::{HeaderMap, header};
use ipnet::IpNet;

use super::forwarded;
use super::peer::Peer;

/// The proxies whose word about the client's address is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts these networks, and no others.
    #[must_use]
    pub fn new(nets: Vec<IpNet>) -> Self {
        Self(nets)
    }

    /// Returns the address of the client.
    ///
    /// The chain of hops is read from the right: each trusted hop vouches for the one before it, and the first hop
    /// that is not trusted is the client. Elements further left may have been written by any client. The address is
    /// not certain where the chain breaks off in an element that is no address, and where `X-Forwarded-For` and
    /// `Forwarded` are both present and disagree: a proxy fills one of them, so the other was forged.
    #[must_use]
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> ClientAddress {
        let peer = peer.0.ip().to_canonical();
        let x_forwarded_for = lines(headers, "x-forwarded-for").map(forwarded::x_forwarded_for);
        let forwarded = lines(headers, header::FORWARDED.as_str()).and_then(forwarded::forwarded);
        match (x_forwarded_for, forwarded) {
            (None, None) => ClientAddress { seen: peer, certain: true },
            (Some(chain), None) | (None, Some(chain)) => self.walk(peer, &chain),
            (Some(one), Some(other)) => {
                let client = self.walk(peer, &one);
                if client == self.walk(peer, &other) {
                    client
                } else {
                    ClientAddress { seen: peer, certain: false }
                }
            }
        }
    }

    fn walk(&self, peer: IpAddr, chain: &[Option<IpAddr>]) -> ClientAddress {
        let mut seen = peer;
        // A header that names no hop at all, sent by a proxy that is believed, says nothing about the client.
        if chain.is_empty() {
            return ClientAddress { seen, certain: !self.trusts(peer) };
        }
        for hop in chain.iter().rev() {
            if !self.trusts(seen) {
                break;
            }
            match hop {
                Some(address) => seen = *address,
                None => return ClientAddress { seen, certain: false },
            }
        }
        ClientAddress { seen, certain: true }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// Address of the client, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// Last address that a trusted hop reported; for logs and the event.
    pub seen: IpAddr,
    /// True if it is the client's. An uncertain address is on no list.
    pub certain: bool,
}

impl ClientAddress {
    /// The address that lists of addresses are asked about.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        self.certain.then_some(self.seen)
    }
}

/// The values of all lines of a header; nothing when the header is not there.
fn lines<'h>(headers: &'h HeaderMap, name: &str) -> Option<Vec<&'h [u8]>> {
    let lines: Vec<_> = headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    (!lines.is_empty()).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    // Without a trusted proxy headers are ignored.
    #[case("198.51.100.7", &[("x-forwarded-for", "203.0.113.9")], "198.51.100.7")]
    // One proxy.
    #[case("10.0.0.1", &[("x-forwarded-for", "203.0.113.9")], "203.0.113.9")]
    #[case("10.0.0.1", &[("x-forwarded-for", "203.0.113.9:1234")], "203.0.113.9")]
    #[case("::ffff:10.0.0.1", &[("x-forwarded-for", "203.0.113.9")], "203.0.113.9")]
    #[case("10.0.0.1", &[("forwarded", "for=\"[2001:db8::1]:4711\";proto=https")], "2001:db8::1")]
    #[case("10.0.0.1", &[("forwarded", "proto=https; For=203.0.113.9")], "203.0.113.9")]
    // What the client itself wrote stands left of what the proxy added.
    #[case("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, 203.0.113.9")], "203.0.113.9")]
    #[case("10.0.0.1", &[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "203.0.113.9")], "203.0.113.9")]
    // Two proxies, both trusted.
    #[case("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, 203.0.113.9, 10.0.0.2")], "203.0.113.9")]
    // Every hop is trusted: the leftmost is the client.
    #[case("10.0.0.1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3")]
    // Garbage: the hop that passed it on, and no certainty.
    #[case("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, unknown, 10.0.0.2")], "10.0.0.2?")]
    #[case("10.0.0.1", &[("x-forwarded-for", "")], "10.0.0.1?")]
    // A `Forwarded` without `for` says nothing about the client; an element without it breaks the chain.
    #[case("10.0.0.1", &[("forwarded", "proto=https")], "10.0.0.1")]
    #[case("10.0.0.1", &[("x-forwarded-for", "203.0.113.9"), ("forwarded", "proto=https;host=a")], "203.0.113.9")]
    #[case("10.0.0.1", &[("forwarded", "for=203.0.113.9, proto=https")], "10.0.0.1?")]
    #[case("10.0.0.1", &[("forwarded", "for=198.51.100.7;host=\"a,for=203.0.113.9\";proto=https")], "198.51.100.7")]
    #[case("10.0.0.1", &[("x-forwarded-for", "192.0.2.1, , 203.0.113.9,")], "203.0.113.9")]
    // Both headers: believed when they agree.
    #[case("10.0.0.1", &[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")], "203.0.113.9")]
    #[case("10.0.0.1", &[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=192.0.2.1")], "10.0.0.1?")]
    fn clients(#[case] peer: &str, #[case] lines: &[(&'static str, &str)], #[case] client: &str) {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(http::HeaderName::from_static(name), value.parse().unwrap());
        }
        let peer = Peer(SocketAddr::new(peer.parse().unwrap(), 1));
        let (client, certain) = client.strip_suffix('?').map_or((client, true), |client| (client, false));
        assert_eq!(proxies.client(peer, &map), ClientAddress { seen: client.parse().unwrap(), certain });
    }
}
