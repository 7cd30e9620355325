//! Who may come through the internal door.

use std::net::IpAddr;

use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::asker::who;
use super::problem::Problem;
use crate::domain::Who;

/// The keys that open the internal door. Without any it stands open, but only to this machine.
#[derive(Debug)]
pub struct Keys {
    admin: Option<[u8; 32]>,
}

impl Keys {
    /// With this admin key, or open without one. Keys are kept as digests.
    #[must_use]
    pub fn new(admin: Option<&SecretString>) -> Self {
        Self { admin: admin.map(|key| Sha256::digest(key.expose_secret()).into()) }
    }

    /// Lets a request in, and says whose it is; or why not.
    pub fn admit(&self, headers: &HeaderMap) -> Result<Who, Problem> {
        let Some(admin) = &self.admin else { return from_this_machine(headers).map(|()| who("open")) };
        let presented = headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| Problem::unauthorized("send your key as `Authorization: Bearer <key>`"))?;
        let key = presented.to_str().ok().and_then(bearer).ok_or_else(|| {
            Problem::unauthorized("the Authorization header is not of the form `Bearer <key>`")
        })?;
        let presented: [u8; 32] = Sha256::digest(key).into();
        if bool::from(admin.ct_eq(&presented)) {
            Ok(who("admin_key"))
        } else {
            Err(Problem::unauthorized("this key is not known"))
        }
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// An open door is on loopback, where other people's web pages can reach it through a browser: by a name of theirs
/// that resolves to loopback, which shows in `Host`, or by a plain cross-site request, which shows in `Origin`.
fn from_this_machine(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_this_machine(host) {
        return Err(Problem::misdirected(
            "while the internal door has no key (internal.admin_key) it answers only to localhost or a loopback address",
        ));
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("?"));
    match origin.map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host)) {
        Some(host) if !is_this_machine(host) => Err(Problem::forbidden(
            "while the internal door has no key (internal.admin_key) it takes no requests from other sites' pages",
        )),
        _ => Ok(()),
    }
}

fn is_this_machine(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    fn loopback_hosts(
        #[values(
            "localhost",
            "LOCALHOST:8081",
            "localhost.",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:8081",
            "[::1]"
        )]
        host: &str,
    ) {
        assert!(is_this_machine(host));
    }

    #[rstest::rstest]
    fn other_hosts(
        #[values(
            "",
            "evil.example",
            "localhost.evil.example:8081",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "null"
        )]
        host: &str,
    ) {
        assert!(!is_this_machine(host));
    }

    #[rstest::rstest]
    #[case(None, true, 401)]
    #[case(Some("Bearer 0123456789-0123456789-key"), true, 200)]
    #[case(Some("bearer  0123456789-0123456789-key"), true, 200)]
    #[case(Some("Bearer wrong"), true, 401)]
    #[case(Some("Basic 0123456789-0123456789-key"), true, 401)]
    #[case(None, false, 200)]
    fn keys(#[case] sent: Option<&str>, #[case] locked: bool, #[case] status: u16) {
        let key = SecretString::from("0123456789-0123456789-key");
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        if let Some(sent) = sent {
            headers.insert(header::AUTHORIZATION, sent.parse().unwrap());
        }
        let outcome = Keys::new(locked.then_some(&key)).admit(&headers);
        assert_eq!(outcome.map_or_else(|problem| problem.status().as_u16(), |_| 200), status);
    }

    #[test]
    fn an_open_door_is_closed_to_other_sites_pages() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:8081".parse().unwrap());
        headers.insert(header::ORIGIN, "http://localhost:3000".parse().unwrap());
        assert!(Keys::new(None).admit(&headers).is_ok());
        headers.insert(header::ORIGIN, "https://evil.example".parse().unwrap());
        assert!(Keys::new(None).admit(&headers).is_err());
    }
}
