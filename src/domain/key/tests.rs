//! Inclusion of scopes, allowed combinations, and the text of a digest.

use secrecy::ExposeSecret;

use super::*;
use crate::domain::Order;

fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

#[test]
fn who_may_write_may_read_and_an_admin_may_all() {
    for has in Scope::ALL {
        for wanted in Scope::ALL {
            let (kind, right) = has.as_str().split_once(':').unwrap_or((has.as_str(), ""));
            let included = has == wanted
                || kind == "admin"
                || (right == "write" && wanted.as_str() == format!("{kind}:read"));
            assert_eq!(has.includes(*wanted), included, "{has} {wanted}");
        }
    }
}

#[test]
fn only_what_is_divided_by_service_goes_with_one() {
    for scope in Scope::ALL {
        let allowed = matches!(scope.as_str().split(':').next(), Some("events" | "authentications"));
        assert_eq!(Grant::new(&[Scope::EventsRead, *scope], Some(service("a"))).is_ok(), allowed, "{scope}");
        assert!(Grant::new(&[*scope], None).is_ok());
    }
    assert!(Grant::new(&[], None).is_err());
}

#[test]
fn scopes_are_kept_once_and_in_order() {
    let grant = Grant::new(&[Scope::RemotePcRead, Scope::EventsRead, Scope::RemotePcRead], None).unwrap();
    assert_eq!(grant.scopes(), [Scope::RemotePcRead, Scope::EventsRead]);
}

/// The service a key is for, the services asked for, and what is asked for in the end; none = nothing can match.
#[rstest::rstest]
#[case(None, &[], Some(vec![]))]
#[case(None, &["b"], Some(vec!["b"]))]
#[case(Some("a"), &[], Some(vec!["a"]))]
#[case(Some("a"), &["b", "a"], Some(vec!["a"]))]
#[case(Some("a"), &["b"], None)]
fn a_filter_is_narrowed_to_what_is_seen(
    #[case] own: Option<&str>,
    #[case] asked: &[&str],
    #[case] left: Option<Vec<&str>>,
) {
    let grant = Grant::new(&[Scope::EventsRead], own.map(service)).unwrap();
    let mut filter = EventFilter {
        services: asked.iter().map(|name| service(name)).collect(),
        ..EventFilter::new(Order::Descending { before: None })
    };
    grant.narrow(&mut filter);
    assert_eq!(filter.until.is_some(), left.is_none());
    if let Some(left) = left {
        assert_eq!(filter.services, left.into_iter().map(service).collect::<Vec<_>>());
    }
}

#[test]
fn a_limit_hides_other_services_and_what_has_none() {
    let limited = Grant::new(&[Scope::EventsRead], Some(service("a"))).unwrap();
    assert!(limited.sees(Some(&service("a"))));
    assert!(!limited.sees(Some(&service("b"))) && !limited.sees(None));
    assert!(Grant::everything().sees(None) && Grant::everything().sees(Some(&service("b"))));
}

#[test]
fn keys_are_long_and_differ_and_their_digests_are_not_shown() {
    let rng = RandomSource::seeded(1);
    let one = new_key(&rng);
    let other = new_key(&rng);
    assert_eq!(one.expose_secret().len(), KEY_PREFIX.len() + 43);
    assert_ne!(one.expose_secret(), other.expose_secret());
    let digest = KeyDigest::of(one.expose_secret());
    assert!(digest.matches(&KeyDigest::of(one.expose_secret())));
    assert!(!digest.matches(&KeyDigest::of(other.expose_secret())));
    assert_eq!(format!("{digest:?}"), "KeyDigest(..)");
    assert_eq!(
        KeyDigest::of("abc").to_hex(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[rstest::rstest]
#[case(&[], AdminKeys::None)]
#[case(&[None], AdminKeys::Valid)]
#[case(&[Some(9)], AdminKeys::Expired)]
#[case(&[Some(10)], AdminKeys::Expired)]
#[case(&[Some(10), Some(11)], AdminKeys::Valid)]
fn expired_admin_keys_are_not_no_admin_keys(#[case] ends: &[Option<i64>], #[case] expected: AdminKeys) {
    let at = |second| Timestamp::from_second(second).unwrap();
    let ends: Vec<_> = ends.iter().map(|end| end.map(at)).collect();
    assert_eq!(AdminKeys::of(&ends, at(10)), expected);
}

#[rstest::rstest]
#[case("portal's reader, 2nd", true)]
#[case("größer", true)]
#[case("", false)]
#[case("   ", false)]
#[case("a\u{1b}[31m", false)]
#[case("line\nbreak", false)]
fn names(#[case] text: &str, #[case] fits: bool) {
    assert_eq!(text.parse::<KeyName>().is_ok(), fits);
    assert!("x".repeat(101).parse::<KeyName>().is_err());
}
