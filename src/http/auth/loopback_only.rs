//! Check that a request comes from this machine, as far as it shows.

use std::net::IpAddr;

use http::{HeaderMap, header};

use crate::http::problem::Problem;

/// Refuses requests that web pages of other sites may have caused. A browser lets them reach a listener on loopback by a name that
/// resolves to loopback, which shows in `Host`, or by a cross-site request, which shows in `Origin`.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_this_machine(host) {
        return Err(Problem::misdirected(
            "while the internal listener has no admin key it answers only to localhost or a loopback address",
        ));
    }
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("?"));
    match origin.map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host)) {
        Some(host) if !is_this_machine(host) => Err(Problem::forbidden(
            "while the internal listener has no admin key it takes no requests from other sites' pages",
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

    #[test]
    fn an_open_listener_refuses_pages_of_other_sites() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:8081".parse().unwrap());
        headers.insert(header::ORIGIN, "http://localhost:3000".parse().unwrap());
        assert!(check(&headers).is_ok());
        headers.insert(header::ORIGIN, "https://evil.example".parse().unwrap());
        assert!(check(&headers).is_err());
    }
}
