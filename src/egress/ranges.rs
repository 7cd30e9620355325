//! Tables of special-purpose addresses.
//!
//! From IANA's registries for IPv4 and IPv6 and the RFCs that they name. Ranges that the registries call globally
//! reachable, but in which no receiver can be (such as anycast addresses of relays), count as special too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const V4: &[(Ipv4Net, &str)] = &[
    (v4([0, 0, 0, 0], 8), "this network"),
    (v4([10, 0, 0, 0], 8), "private"),
    (v4([100, 64, 0, 0], 10), "shared by a provider's customers"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([168, 63, 129, 16], 32), "a cloud's own services"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([172, 16, 0, 0], 12), "private"),
    (v4([192, 0, 0, 0], 24), "for protocols"),
    (v4([192, 0, 2, 0], 24), "documentation"),
    (v4([192, 88, 99, 0], 24), "6to4 relays"),
    (v4([192, 168, 0, 0], 16), "private"),
    (v4([198, 18, 0, 0], 15), "benchmarking"),
    (v4([198, 51, 100, 0], 24), "documentation"),
    (v4([203, 0, 113, 0], 24), "documentation"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([255, 255, 255, 255], 32), "broadcast"),
    (v4([240, 0, 0, 0], 4), "reserved"),
];

/// The first match counts, so the narrower range stands before the wider one.
const V6: &[(Ipv6Net, &str)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback"),
    (V4_COMPATIBLE, "IPv4-compatible"),
    (V4_TRANSLATED, "IPv4-translated"),
    (NAT64_LOCAL, "local NAT64"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "discarded"),
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64), "a dummy prefix"),
    (TEREDO, "Teredo"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "for protocols"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "documentation"),
    (SIX_TO_FOUR, "6to4"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "documentation"),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "segment routing"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "private"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "site-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

/// Global unicast addresses. The rest of IPv6 is not assigned.
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

const V4_COMPATIBLE: Ipv6Net = v6([0, 0, 0, 0, 0, 0, 0, 0], 96);
const V4_MAPPED: Ipv6Net = v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);
const V4_TRANSLATED: Ipv6Net = v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const NAT64_LOCAL: Ipv6Net = v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

/// Ends in an IPv4 address.
const V4_AT_THE_END: [Ipv6Net; 5] = [V4_COMPATIBLE, V4_MAPPED, V4_TRANSLATED, NAT64, NAT64_LOCAL];

const fn v4(octets: [u8; 4], len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from_octets(octets), len)
}

const fn v6(segments: [u16; 8], len: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_segments(segments), len)
}

/// Returns the kind of a special address, `None` for a public one.
///
/// The well-known NAT64 prefix is as public as the IPv4 address in it, which [`embedded`] returns: networks with IPv6
/// alone reach every IPv4 receiver by it.
pub(super) fn special(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => V4.iter().find(|(net, _)| net.contains(&ip)).map(|(_, what)| *what),
        IpAddr::V6(ip) => {
            let found = V6.iter().find(|(net, _)| net.contains(&ip)).map(|(_, what)| *what);
            let ordinary = GLOBAL_UNICAST.contains(&ip) || NAT64.contains(&ip) || V4_MAPPED.contains(&ip);
            found.or((!ordinary).then_some("unallocated"))
        }
    }
}

/// Returns the IPv4 addresses embedded in an IPv6 address.
pub(super) fn embedded(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let bits = ip.to_bits();
    let at =
        |shift: u32| Ipv4Addr::from_bits(u32::try_from((bits >> shift) & 0xffff_ffff).unwrap_or_default());
    let found = if ip.is_unspecified() || ip.is_loopback() {
        [None, None]
    } else if V4_AT_THE_END.iter().any(|net| net.contains(&ip)) {
        [Some(at(0)), None]
    } else if SIX_TO_FOUR.contains(&ip) {
        [Some(at(80)), None]
    } else if TEREDO.contains(&ip) {
        // The server's address, then the client's with inverted bits.
        [Some(at(64)), Some(Ipv4Addr::from_bits(!at(0).to_bits()))]
    } else {
        [None, None]
    };
    found.into_iter().flatten()
}
