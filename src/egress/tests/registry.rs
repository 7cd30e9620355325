//! The guard against IANA's registries of special-purpose addresses, written down here once more.
//!
//! The table is independent of the guard's own and says more: the special ranges, and those of them that the
//! registries call globally reachable. The guard may refuse the latter, where no receiver can be; it must refuse all
//! others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::guard::notations;
use super::{Guard, Names, url};

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>, the multicast registry, and one range of a cloud's.
const V4: &[(&str, bool)] = &[
    ("0.0.0.0/8", false),
    ("0.0.0.0/32", false),
    ("10.0.0.0/8", false),
    ("100.64.0.0/10", false),
    ("127.0.0.0/8", false),
    ("168.63.129.16/32", false),
    ("169.254.0.0/16", false),
    ("172.16.0.0/12", false),
    ("192.0.0.0/24", false),
    ("192.0.0.0/29", false),
    ("192.0.0.8/32", false),
    ("192.0.0.9/32", true),
    ("192.0.0.10/32", true),
    ("192.0.0.170/32", false),
    ("192.0.0.171/32", false),
    ("192.0.2.0/24", false),
    ("192.31.196.0/24", true),
    ("192.52.193.0/24", true),
    ("192.88.99.0/24", false),
    ("192.88.99.2/32", false),
    ("192.168.0.0/16", false),
    ("192.175.48.0/24", true),
    ("198.18.0.0/15", false),
    ("198.51.100.0/24", false),
    ("203.0.113.0/24", false),
    ("224.0.0.0/4", false),
    ("240.0.0.0/4", false),
    ("255.255.255.255/32", false),
];

/// <https://www.iana.org/assignments/iana-ipv6-special-registry>, the address space's own registry, and the forms with
/// an IPv4 address inside that RFCs 4291, 6052 and 2765 define.
const V6: &[(&str, bool)] = &[
    ("::1/128", false),
    ("::/128", false),
    ("::/96", false),
    ("::ffff:0:0:0/96", false),
    ("64:ff9b:1::/48", false),
    ("100::/64", false),
    ("100:0:0:1::/64", false),
    ("2001::/23", false),
    ("2001::/32", false),
    ("2001:1::1/128", true),
    ("2001:1::2/128", true),
    ("2001:1::3/128", true),
    ("2001:2::/48", false),
    ("2001:3::/32", true),
    ("2001:4:112::/48", true),
    ("2001:10::/28", false),
    ("2001:20::/28", true),
    ("2001:30::/28", true),
    ("2001:db8::/32", false),
    ("2002::/16", false),
    ("2620:4f:8000::/48", true),
    ("3fff::/20", false),
    ("5f00::/16", false),
    ("fc00::/7", false),
    ("fe80::/10", false),
    ("fec0::/10", false),
    ("ff00::/8", false),
];

/// Ranges whose addresses are judged by the IPv4 address at their end.
const AS_THE_V4_INSIDE: &[&str] = &["::ffff:0:0/96", "64:ff9b::/96"];

/// Range of all assigned unicast addresses.
const UNICAST: &str = "2000::/3";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Refused,
    Passed,
    /// Special, and reachable.
    Either,
}

/// By the longest range of the registry.
fn listed(table: &[(&str, bool)], ip: IpAddr) -> Option<bool> {
    let ranges = table.iter().map(|(range, reachable)| (range.parse::<IpNet>().unwrap(), *reachable));
    let within = ranges.filter(|(range, _)| range.contains(&ip));
    within.max_by_key(|(range, _)| range.prefix_len()).map(|(_, reachable)| reachable)
}

fn expected(ip: IpAddr) -> Expected {
    let within = |range: &str| range.parse::<IpNet>().unwrap().contains(&ip);
    let (table, otherwise) = match ip {
        IpAddr::V4(_) => (V4, Expected::Passed),
        IpAddr::V6(v6) if AS_THE_V4_INSIDE.iter().copied().any(within) => {
            let [.., a, b, c, d] = v6.octets();
            return expected(Ipv4Addr::new(a, b, c, d).into());
        }
        IpAddr::V6(_) if within(UNICAST) => (V6, Expected::Passed),
        IpAddr::V6(_) => (V6, Expected::Refused),
    };
    match listed(table, ip) {
        Some(false) => Expected::Refused,
        Some(true) => Expected::Either,
        None => otherwise,
    }
}

fn agrees(expected: Expected, passed: bool) -> bool {
    match expected {
        Expected::Refused => !passed,
        Expected::Passed => passed,
        Expected::Either => true,
    }
}

/// One of a range: its first, its last, any, or the neighbours outside.
fn around_v4(range: Ipv4Net) -> impl Strategy<Value = Ipv4Addr> {
    let first = range.network().to_bits();
    let last = range.broadcast().to_bits();
    let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
    prop_oneof![first..=last, prop::sample::select(edges.to_vec())].prop_map(Ipv4Addr::from_bits)
}

fn around_v6(range: Ipv6Net) -> impl Strategy<Value = Ipv6Addr> {
    let first = range.network().to_bits();
    let last = range.broadcast().to_bits();
    let edges = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
    prop_oneof![first..=last, prop::sample::select(edges.to_vec())].prop_map(Ipv6Addr::from_bits)
}

fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    let ranges: Vec<Ipv4Net> = V4.iter().map(|(range, _)| range.parse().unwrap()).collect();
    prop_oneof![
        any::<u32>().prop_map(Ipv4Addr::from_bits),
        prop::sample::select(ranges).prop_flat_map(around_v4)
    ]
}

fn any_v6() -> impl Strategy<Value = Ipv6Addr> {
    let named = V6.iter().map(|(range, _)| *range).chain(AS_THE_V4_INSIDE.iter().copied()).chain([UNICAST]);
    let ranges: Vec<Ipv6Net> = named.map(|range| range.parse().unwrap()).collect();
    prop_oneof![
        any::<u128>().prop_map(Ipv6Addr::from_bits),
        prop::sample::select(ranges).prop_flat_map(around_v6)
    ]
}

/// Every way to write an IPv6 address into a URL.
fn notations_v6(ip: Ipv6Addr) -> Vec<String> {
    let groups = ip.segments();
    let joined = |form: fn(u16) -> String| groups.map(form).join(":");
    let [.., a, b, c, d] = ip.octets();
    let six = groups[..6].iter().map(|group| format!("{group:x}")).collect::<Vec<_>>().join(":");
    vec![
        format!("[{ip}]"),
        format!("[{}]", ip.to_string().to_uppercase()),
        format!("[{}]", joined(|group| format!("{group:x}"))),
        format!("[{}]", joined(|group| format!("{group:04X}"))),
        format!("[{six}:{a}.{b}.{c}.{d}]"),
    ]
}

/// IPv6 addresses of every kind that an IPv4 address can stand in, with whether they can be public.
fn embeddings(v4: Ipv4Addr) -> Vec<(Ipv6Addr, bool)> {
    let bits = u128::from(v4.to_bits());
    let at = |prefix: &str, shift: u32| {
        Ipv6Addr::from_bits(prefix.parse::<Ipv6Addr>().unwrap().to_bits() | bits << shift)
    };
    let teredo = Ipv6Addr::from_bits(at("2001:0:808:808::", 0).to_bits() ^ 0xffff_ffff);
    vec![
        (at("::ffff:0:0", 0), true),
        (at("64:ff9b::", 0), true),
        (at("64:ff9b:1::", 0), false),
        (at("64:ff9b:1:abcd::", 0), false),
        (at("::", 0), false),
        (at("::ffff:0:0:0", 0), false),
        (at("2002::", 80), false),
        (at("2001::", 64), false),
        (teredo, false),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_v4_is_judged_as_the_registry_says(v4 in any_v4()) {
        let guard = Guard::new(Vec::new());
        let expected = expected(v4.into());
        prop_assert!(agrees(expected, guard.check_ip(v4.into()).is_ok()), "{} is to be {:?}", v4, expected);
        for host in notations(v4) {
            let judged = guard.check_url(&url(&format!("http://{host}/")));
            prop_assert!(agrees(expected, judged.is_ok()), "{} as {} is to be {:?}", v4, host, expected);
            if let Err(refusal) = judged {
                prop_assert!(refusal.to_string().contains("delivery.allow_private_networks"));
            }
        }
    }

    #[test]
    fn a_v6_is_judged_as_the_registry_says(v6 in any_v6()) {
        let guard = Guard::new(Vec::new());
        let expected = expected(v6.into());
        prop_assert!(agrees(expected, guard.check_ip(v6.into()).is_ok()), "{} is to be {:?}", v6, expected);
        for host in notations_v6(v6) {
            let judged = guard.check_url(&url(&format!("http://{host}:8443/a?b=c")));
            prop_assert!(agrees(expected, judged.is_ok()), "{} as {} is to be {:?}", v6, host, expected);
        }
    }

    #[test]
    fn a_v6_that_holds_a_v4_is_never_more_public_than_that(v4 in any_v4()) {
        let guard = Guard::new(Vec::new());
        for (v6, may_be_public) in embeddings(v4) {
            let expected = if may_be_public { expected(v4.into()) } else { Expected::Refused };
            prop_assert!(agrees(expected, guard.check_ip(v6.into()).is_ok()), "{} holds {}", v6, v4);
        }
    }

    #[test]
    fn a_name_is_judged_as_its_address(ip in prop_oneof![any_v4().prop_map(IpAddr::from), any_v6().prop_map(IpAddr::from)]) {
        let names = Names::answering(&[&[ip.to_string().as_str()]]);
        let guard = Guard::new(Vec::new()).resolving_by(names);
        let asked = url("https://a.example/");
        let judged = guard.check_ip(ip).is_ok();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        prop_assert_eq!(runtime.block_on(guard.check_resolves(&asked)).is_ok(), judged, "{}", ip);
    }
}

/// The table would prove nothing if the guard refused everything that is in a range of it.
#[test]
fn the_registry_is_read_by_its_longest_range() {
    for (text, what) in [
        ("192.0.0.9", Expected::Either),
        ("192.0.0.11", Expected::Refused),
        ("192.31.196.1", Expected::Either),
        ("2001:4:112::1", Expected::Either),
        ("2001:5::1", Expected::Refused),
        ("2001:200::1", Expected::Passed),
        ("64:ff9b::808:808", Expected::Passed),
        ("64:ff9b::a00:1", Expected::Refused),
        ("4000::1", Expected::Refused),
        ("9.9.9.9", Expected::Passed),
    ] {
        assert_eq!(expected(text.parse().unwrap()), what, "{text}");
    }
}
