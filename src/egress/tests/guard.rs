//! The guard by tables and properties.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::{Allowed, Guard, Names, local, net, url};
use crate::egress::GuardRefusal;

const PUBLIC: &[&str] = &[
    "1.0.0.0",
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2001:200::",
    "2001:4860:4860::8888",
    "2001:db7:ffff::",
    "2001:db9::",
    "2003::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "3ffe:ffff::",
    "::ffff:8.8.8.8",
    "::ffff:1.1.1.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b::101:101",
];

const SPECIAL: &[&str] = &[
    "0.0.0.0",
    "0.0.0.1",
    "0.255.255.255",
    "10.0.0.0",
    "10.0.0.5",
    "10.255.255.255",
    "100.64.0.0",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.0",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.17.0.1",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.9",
    "192.0.0.192",
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.1.1",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.9",
    "224.0.0.0",
    "224.0.0.251",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.254",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.5",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::ffff:0:127.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::",
    "64:ff9b:1::8.8.8.8",
    "64:ff9b:1:ffff::1",
    "64:ff9b:2::1",
    "100::",
    "100::1",
    "100:0:0:1::1",
    "100:0:0:2::1",
    "200::1",
    "1fff::1",
    "2001::",
    "2001::1",
    "2001:0:4136:e378::1",
    "2001:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff:ffff::",
    "2001:db8::1",
    "2001:db8:ffff::1",
    "2002::",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "4000::1",
    "5f00::1",
    "8000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fdff:ffff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ff0e::1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_tables_of_addresses() {
    assert!(PUBLIC.len() + SPECIAL.len() >= 120);
    let guard = Guard::new(Vec::new());
    for text in PUBLIC {
        assert_eq!(guard.check_ip(ip(text)), Ok(()), "{text} is public");
    }
    for text in SPECIAL {
        assert!(guard.check_ip(ip(text)).is_err(), "{text} is not public");
    }
}

#[rstest::rstest]
#[case("10.0.0.0/8", "10.1.2.3", true)]
#[case("10.0.0.0/8", "::ffff:10.1.2.3", true)]
#[case("10.0.0.0/8", "64:ff9b::10.1.2.3", true)]
#[case("10.0.0.0/8", "11.1.2.3", true)]
#[case("10.0.0.0/8", "127.0.0.1", false)]
#[case("10.0.0.0/8", "2002:a01:203::", false)]
#[case("::ffff:10.0.0.0/104", "10.1.2.3", true)]
#[case("::1/128", "::1", true)]
#[case("::1/128", "127.0.0.1", false)]
#[case("::/0", "127.0.0.1", false)]
#[case("::/0", "::ffff:127.0.0.1", false)]
#[case("::/0", "64:ff9b::127.0.0.1", false)]
#[case("::/0", "fe80::1", true)]
#[case("64:ff9b::127.0.0.1/128", "64:ff9b::127.0.0.1", false)]
#[case("64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", true)]
#[case("2002::/16", "2002:808:808::1", true)]
#[case("2002::/16", "2002:7f00:1::1", false)]
#[case("0.0.0.0/0", "127.0.0.1", true)]
fn what_is_listed_is_let_through(#[case] listed: &str, #[case] address: &str, #[case] through: bool) {
    assert_eq!(Guard::new(vec![net(listed)]).check_ip(ip(address)).is_ok(), through);
}

#[test]
fn a_refusal_names_the_address_and_the_key() {
    let refusal = Guard::new(Vec::new()).check_ip(ip("::ffff:10.0.0.5")).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "10.0.0.5 is not a public address (private); delivery.allow_private_networks can let it through"
    );
}

#[rstest::rstest]
#[case("hooks.internal", "http://hooks.internal/", true)]
#[case("Hooks.Internal.", "http://hooks.internal/", true)]
#[case("hooks.internal", "http://HOOKS.internal.:8080/", true)]
#[case("bücher.example", "http://xn--bcher-kva.example/", true)]
#[case("hooks.internal", "http://other.internal/", false)]
#[case("hooks.internal", "http://a.hooks.internal/", false)]
#[case("10.0.0.5", "http://10.0.0.5/", true)]
#[case("10.0.0.5", "http://hooks.internal/", true)]
#[case("10.0.0.6", "http://hooks.internal/", false)]
#[case("::1", "http://[::1]/", true)]
#[case("[::1]", "http://[::1]/", true)]
#[case("::ffff:10.0.0.5", "http://10.0.0.5/", true)]
#[tokio::test]
async fn a_listed_host_is_let_through_by_its_name(
    #[case] listed: &str,
    #[case] asked: &str,
    #[case] through: bool,
) {
    let guard =
        Guard::new(vec![Allowed::Host(listed.to_owned())]).resolving_by(Names::answering(&[&["10.0.0.5"]]));
    assert_eq!(guard.check_resolves(&url(asked)).await.is_ok(), through);
}

#[rstest::rstest]
#[case(&[], true)]
#[case(&["8.8.8.8"], true)]
#[case(&["10.0.0.5", "8.8.8.8"], true)]
#[case(&["10.0.0.5", "::1"], false)]
#[tokio::test]
async fn a_name_is_refused_when_nothing_of_it_is_let_through(#[case] found: &[&str], #[case] through: bool) {
    let guard = Guard::new(Vec::new()).resolving_by(Names::answering(&[found]));
    assert_eq!(guard.check_resolves(&url("http://a.example/")).await.is_ok(), through);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_no_reason_to_refuse() {
    let guard = Guard::new(Vec::new()).resolving_by(Names::nothing());
    assert_eq!(guard.check_resolves(&url("http://a.example/")).await, Ok(()));
    let refused = guard.check_resolves(&url("http://0x7f.1/")).await;
    assert!(matches!(refused, Err(GuardRefusal::NotPublic { host: None, .. })), "{refused:?}");
}

#[rstest::rstest]
#[case("127.0.0.1:8080", "http://127.0.0.1:8080/", false)]
#[case("127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080/", false)]
#[case("127.0.0.1:8080", "http://127.0.0.1:8081/", true)]
#[case("127.0.0.1:80", "http://127.0.0.1/", false)]
#[case("0.0.0.0:8080", "http://127.0.0.1:8080/", false)]
#[case("[::]:8080", "http://127.9.9.9:8080/", false)]
#[case("[::]:8080", "http://[::1]:8080/", false)]
#[case("[::ffff:127.0.0.1]:8080", "http://127.0.0.1:8080/", false)]
#[case("127.0.0.1:8080", "http://0.0.0.0:8080/", false)]
#[case("10.0.0.1:8080", "http://127.0.0.1:8080/", true)]
#[tokio::test]
async fn our_own_listeners_are_refused_even_when_listed(
    #[case] listener: SocketAddr,
    #[case] asked: &str,
    #[case] through: bool,
) {
    let listed = vec![net("0.0.0.0/0"), net("::/0"), Allowed::Host("a.internal".to_owned())];
    let asked = url(asked);
    let host = asked.as_url().host_str().unwrap().trim_matches(['[', ']']).to_owned();
    let guard = Guard::new(listed).forbid(vec![listener]).resolving_by(Names::answering(&[&[&host]]));
    assert_eq!(guard.check_url(&asked).is_ok(), through);
    let port = asked.as_url().port_or_known_default().unwrap();
    let by_name = guard.check_resolves(&url(&format!("http://a.internal:{port}/"))).await;
    assert_eq!(by_name.is_ok(), through, "{by_name:?}");
}

/// Every way to write an IPv4 address into a URL.
pub(super) fn notations(ip: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = ip.octets();
    let all = ip.to_bits();
    let last_two = all & 0xffff;
    let last_three = all & 0x00ff_ffff;
    let [hi, lo] = [all >> 16, all & 0xffff];
    vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{c}.{d}."),
        format!("{all}"),
        format!("0x{all:x}"),
        format!("0X{all:X}"),
        format!("0{all:o}"),
        format!("0x{a:x}.{last_three}"),
        format!("0{a:o}.{b}.{last_two}"),
        format!("0x{a:x}.0x{b:x}.0{c:o}.{d}"),
        format!("{}.{b}.{c}.{d}", percent(a)),
        format!("{a}.{b}.{c}.{d}").replace('.', "。"),
        format!("[::ffff:{a}.{b}.{c}.{d}]"),
        format!("[::ffff:{hi:x}:{lo:x}]"),
        format!("[0:0:0:0:0:ffff:{hi:x}:{lo:x}]"),
        format!("[64:ff9b::{a}.{b}.{c}.{d}]"),
        format!("[64:ff9b::{hi:x}:{lo:x}]"),
    ]
}

/// A number with its digits percent-encoded.
fn percent(number: u8) -> String {
    let digits: Vec<_> = number.to_string().bytes().map(|digit| format!("%{digit:02x}")).collect();
    digits.concat()
}

/// IPv6 addresses that end up with the owner of an IPv4 address, though not as plainly.
fn around(ip: Ipv4Addr, other: Ipv4Addr) -> Vec<Ipv6Addr> {
    let bits = u128::from(ip.to_bits());
    let other = u128::from(other.to_bits());
    let prefix = |text: &str| text.parse::<Ipv6Addr>().unwrap().to_bits();
    vec![
        Ipv6Addr::from_bits(prefix("2002::") | bits << 80 | 1),
        Ipv6Addr::from_bits(prefix("::ffff:0:0:0") | bits),
        Ipv6Addr::from_bits(prefix("64:ff9b:1::") | bits),
        Ipv6Addr::from_bits(prefix("2001::") | bits << 64 | (other ^ 0xffff_ffff)),
        Ipv6Addr::from_bits(prefix("2001::") | other << 64 | (bits ^ 0xffff_ffff)),
    ]
}

fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    let special: Vec<Ipv4Addr> = SPECIAL.iter().filter_map(|text| text.parse().ok()).collect();
    prop_oneof![any::<Ipv4Addr>(), prop::sample::select(special)]
}

proptest! {
    #[test]
    fn a_v4_is_judged_alike_in_every_notation(v4 in any_v4()) {
        for guard in [Guard::new(Vec::new()), local()] {
            let judged = guard.check_ip(v4.into()).is_ok();
            for host in notations(v4) {
                let asked = url(&format!("http://{host}/"));
                prop_assert_eq!(guard.check_url(&asked).is_ok(), judged, "{} as {}", v4, host);
            }
        }
    }

    #[test]
    fn a_v6_is_never_let_through_when_the_v4_inside_is_not(v4 in any_v4(), other in any_v4()) {
        let closed = Guard::new(Vec::new());
        let all_of_v6 = Guard::new(vec![net("::/0")]);
        for v6 in around(v4, other) {
            prop_assert!(closed.check_ip(v6.into()).is_err(), "{}", v6);
            if closed.check_ip(v4.into()).is_err() {
                prop_assert!(all_of_v6.check_ip(v6.into()).is_err(), "{} holds {}", v6, v4);
            }
        }
    }

    #[test]
    fn only_global_unicast_and_nat64_are_public_in_v6(bits: u128) {
        let v6 = Ipv6Addr::from_bits(bits);
        let public = Guard::new(Vec::new()).check_ip(v6.into()).is_ok();
        prop_assert!(!public || v6.segments()[0] >> 13 == 1);
    }

    #[test]
    fn what_is_public_without_a_list_stays_public_with_one(v4 in any_v4(), len in 0_u8..=32) {
        let listed = Guard::new(vec![net(&format!("{v4}/{len}"))]);
        prop_assert!(listed.check_ip(v4.into()).is_ok());
    }
}
