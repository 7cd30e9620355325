//! Authentication of callbacks: tokens and address lists of each service.

use std::net::IpAddr;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::domain::{ServiceName, Trust};

/// A service's rules.
#[derive(Debug)]
pub struct GateRule {
    /// Its name.
    pub service: ServiceName,
    /// Tokens, any of which authenticates a callback.
    pub tokens: Vec<SecretString>,
    /// Addresses that callbacks may come from; empty means any.
    pub allow_from: Vec<IpNet>,
}

/// Authenticates callbacks.
#[derive(Debug)]
pub struct CallbackAuth {
    services: Vec<ServiceRule>,
}

/// An admitted sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission<'a> {
    /// Service of the callback.
    pub service: &'a ServiceName,
    /// Trust of its events.
    pub trust: Trust,
    /// First 6 hexadecimal digits of the SHA-256 of the token that was used.
    pub token: Option<&'a str>,
}

/// Digest of a token, with the part of it that is shown.
#[derive(Debug)]
struct Token {
    digest: [u8; 32],
    shown: String,
    length: usize,
}

impl Token {
    fn of(token: &str) -> Self {
        let digest = digest(token);
        let [first, second, third, ..] = digest;
        let shown = format!("{first:02x}{second:02x}{third:02x}");
        Self { digest, shown, length: token.len() }
    }
}

#[derive(Debug)]
struct ServiceRule {
    service: ServiceName,
    tokens: Vec<Token>,
    allow_from: Vec<IpNet>,
}

impl CallbackAuth {
    /// Returns an authenticator with these rules. Only digests of the tokens are kept.
    #[must_use]
    pub fn new(rules: Vec<GateRule>) -> Self {
        let services = rules.into_iter().map(|rule| ServiceRule {
            service: rule.service,
            tokens: rule.tokens.iter().map(|token| Token::of(token.expose_secret())).collect(),
            allow_from: rule.allow_from,
        });
        Self { services: services.collect() }
    }

    /// Returns the service of a callback and its trust; `None` when no service accepts it.
    ///
    /// A token that was sent must be valid, also where none is required. Without a token only the service `default`
    /// accepts a callback. A client with an uncertain address is on no list.
    #[must_use]
    pub fn admit(&self, token: Option<&str>, client: Option<IpAddr>) -> Option<Admission<'_>> {
        let mut used = None;
        let (rule, trust) = if let Some(token) = token {
            let (rule, token) = self.by_token(token)?;
            used = Some(token.shown.as_str());
            (rule, Trust::Token)
        } else {
            let default = ServiceName::default_service();
            let rule = self.services.iter().find(|rule| rule.service == default && rule.tokens.is_empty())?;
            (rule, if rule.allow_from.is_empty() { Trust::None } else { Trust::Address })
        };
        let allowed = rule.allow_from.is_empty()
            || client.is_some_and(|client| rule.allow_from.iter().any(|net| net.contains(&client)));
        allowed.then_some(Admission { service: &rule.service, trust, token: used })
    }

    /// Returns whether a text is a token of any service. Used for masking.
    pub(super) fn token_in(&self, text: &str) -> Option<std::ops::Range<usize>> {
        let lengths = self.services.iter().flat_map(|rule| &rule.tokens).map(|token| token.length);
        let mut lengths: Vec<_> = lengths.filter(|length| *length <= text.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut found = lengths
            .into_iter()
            .rev()
            .flat_map(|length| (0..=text.len() - length).map(move |at| at..at + length));
        found.find(|range| text.get(range.clone()).is_some_and(|word| self.by_token(word).is_some()))
    }

    /// Returns every service with the shown part of each of its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = (&ServiceName, &str)> {
        self.services
            .iter()
            .flat_map(|rule| rule.tokens.iter().map(|token| (&rule.service, token.shown.as_str())))
    }

    /// Compares with every token of every service, so that the time taken says nothing about any of them.
    fn by_token(&self, token: &str) -> Option<(&ServiceRule, &Token)> {
        let presented = digest(token);
        let mut found = u32::MAX;
        let all = || self.services.iter().flat_map(|rule| rule.tokens.iter().map(move |token| (rule, token)));
        for (index, (_, known)) in (0_u32..).zip(all()) {
            let same: Choice = known.digest.ct_eq(&presented);
            found.conditional_assign(&index, same);
        }
        all().nth(usize::try_from(found).ok()?)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-token-0123456789abc";
    const NEW: &str = "new-token-0123456789abc";
    const PORTAL: &str = "portal-token-0123456789";

    fn gate(default: (&[&str], &[&str])) -> CallbackAuth {
        let rule = |service: &str, (tokens, nets): (&[&str], &[&str])| GateRule {
            service: service.parse().unwrap(),
            tokens: tokens.iter().map(|t| (*t).into()).collect(),
            allow_from: nets.iter().map(|n| n.parse().unwrap()).collect(),
        };
        CallbackAuth::new(vec![rule("default", default), rule("portal", (&[PORTAL], &[]))])
    }

    #[rstest::rstest]
    #[case::open(&[], &[], None, Some(("default", Trust::None)))]
    #[case::wrong_token_on_open(&[], &[], Some("wrong"), None)]
    #[case::empty_token_on_open(&[], &[], Some(""), None)]
    #[case::token(&[OLD, NEW], &[], Some(NEW), Some(("default", Trust::Token)))]
    #[case::rotated(&[OLD, NEW], &[], Some(OLD), Some(("default", Trust::Token)))]
    #[case::missing(&[OLD], &[], None, None)]
    #[case::other_service(&[OLD], &[], Some(PORTAL), Some(("portal", Trust::Token)))]
    #[case::address(&[], &["203.0.113.0/24"], None, Some(("default", Trust::Address)))]
    #[case::wrong_address(&[], &["192.0.2.0/24"], None, None)]
    #[case::both(&[OLD], &["203.0.113.0/24"], Some(OLD), Some(("default", Trust::Token)))]
    #[case::token_from_elsewhere(&[OLD], &["192.0.2.0/24"], Some(OLD), None)]
    #[case::address_without_token(&[OLD], &["203.0.113.0/24"], None, None)]
    fn admits(
        #[case] tokens: &[&str],
        #[case] nets: &[&str],
        #[case] token: Option<&str>,
        #[case] expected: Option<(&str, Trust)>,
    ) {
        let gate = gate((tokens, nets));
        let admitted = gate.admit(token, Some("203.0.113.9".parse().unwrap()));
        assert_eq!(admitted.map(|sender| (sender.service.as_str(), sender.trust)), expected);
        assert_eq!(
            admitted.and_then(|sender| sender.token).is_some(),
            expected.is_some_and(|(_, trust)| trust == Trust::Token)
        );
        let unknown = gate.admit(token, None);
        assert_eq!(unknown.is_some(), expected.is_some() && nets.is_empty());
    }

    #[test]
    fn a_token_is_shown_by_the_beginning_of_its_digest() {
        let gate = gate((&["abcdefghijklmnopqrstuv"], &[]));
        let shown: Vec<_> = gate.tokens().map(|(service, token)| (service.as_str(), token)).collect();
        assert_eq!(shown[0], ("default", "f69f9b"));
        assert_eq!(gate.admit(Some("abcdefghijklmnopqrstuv"), None).unwrap().token, Some("f69f9b"));
    }
}
