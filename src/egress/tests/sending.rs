//! One send through a real socket: what arrives, and what never even connects.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::receiver::{OK, Receiver};
use super::{LONG, Names, endpoint, event, in_a_child, lease, local, own_event, send, sender, url};
use crate::domain::{AttemptError, Clock, Format, SystemClock};
use crate::egress::{Allowed, EgressError, Guard, Sender, SenderSettings};

#[rstest::rstest]
#[case(Format::Standard, "POST /hook?key=1 HTTP/1.1", Some("application/json"))]
#[case(Format::CloudEvents, "POST /hook?key=1 HTTP/1.1", Some("application/cloudevents+json"))]
#[case(Format::RemAuth, "GET /hook?key=1&authenticated=b83ee873a9b44f2083c130db24dfbe91 HTTP/1.1", None)]
#[tokio::test]
async fn the_reference_library_accepts_what_arrives(
    #[case] format: Format,
    #[case] line: &str,
    #[case] content_type: Option<&str>,
) {
    let receiver = Receiver::answering(OK);
    let to = endpoint(&format!("{}?key=1", receiver.url()), format);
    let lease = lease(event(), false);
    let at = SystemClock.now();
    let report = sender(local(), LONG).send(&to, &lease, at).await;
    assert_eq!((report.status, report.error, report.response.as_str()), (Some(200), None, "ok"));
    assert_eq!((report.at, report.accepted()), (at, true));

    let heard = receiver.heard();
    assert_eq!(heard.line, line);
    let oracle = standardwebhooks::Webhook::new(to.settings.secret.reveal().expose_secret()).unwrap();
    oracle.verify(&heard.body, &heard.headers).unwrap();
    assert!(oracle.verify(b"{}", &heard.headers).is_err());
    assert_eq!(heard.headers["webhook-id"], lease.event.id.as_str());
    assert_eq!(heard.headers["user-agent"], concat!("remgate/", env!("CARGO_PKG_VERSION")));
    assert_eq!(heard.headers.get("content-type").map(|value| value.to_str().unwrap()), content_type);
    for absent in ["remgate-replay", "referer", "accept-encoding", "cookie", "authorization"] {
        assert!(!heard.headers.contains_key(absent), "{absent}");
    }
}

#[tokio::test]
async fn every_try_has_the_same_bytes_and_id_and_a_time_of_its_own() {
    let receiver = Receiver::answering(OK);
    let sender = sender(local(), LONG);
    let to = endpoint(&receiver.url(), Format::Standard);
    let lease = lease(event(), false);
    let now = SystemClock.now();
    sender.send(&to, &lease, now).await;
    let first = receiver.heard();
    sender.send(&to, &lease, now + Duration::from_secs(61)).await;
    let second = receiver.heard();
    assert_eq!(first.body, second.body);
    assert_eq!(first.headers["webhook-id"], second.headers["webhook-id"]);
    assert_ne!(first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]);
    assert_ne!(first.headers["webhook-signature"], second.headers["webhook-signature"]);
    assert_eq!(receiver.accepts(), 1, "the connection is used again");
}

#[tokio::test]
async fn a_replay_says_so() {
    let receiver = Receiver::answering(OK);
    let to = endpoint(&receiver.url(), Format::RemAuth);
    sender(local(), LONG).send(&to, &lease(event(), true), SystemClock.now()).await;
    assert_eq!(receiver.heard().headers["remgate-replay"], "true");
}

#[tokio::test]
async fn a_remauth_endpoint_is_never_told_of_our_own_events() {
    let receiver = Receiver::answering(OK);
    let to = endpoint(&receiver.url(), Format::RemAuth);
    let lease = lease(own_event(), false);
    let report = sender(local(), LONG).send(&to, &lease, SystemClock.now()).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Refused)));
    assert!(report.response.contains("remgate.endpoint.disabled"), "{}", report.response);
    assert_eq!(receiver.accepts(), 0);
}

/// Whichever way loopback is written, nothing may get there.
#[tokio::test]
async fn no_notation_of_loopback_is_connected_to() {
    let receiver = Receiver::answering(OK);
    let port = receiver.addr.port();
    let closed = sender(Guard::new(Vec::new()), LONG);
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "2130706433.",
        "0x7f000001",
        "017700000001",
        "0x7f.1",
        "0177.1",
        "0177.0.0.01",
        "0x7f.0x0.0x0.0x1",
        "%31%32%37.0.0.1",
        "127。0。0。1",
        "１２７.0.0.1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[2002:7f00:1::]",
        "localhost",
        "LOCALHOST",
        "0.0.0.0",
        "0",
        "[::]",
    ] {
        let report = send(&closed, &format!("http://{host}:{port}/hook?key=hidden")).await;
        assert_eq!(
            (report.status, report.error),
            (None, Some(AttemptError::Refused)),
            "{host}: {}",
            report.response
        );
        assert!(report.response.contains("delivery.allow_private_networks"), "{host}: {}", report.response);
        assert!(!report.response.contains("hidden"), "{host}: {}", report.response);
    }
    // Not every system knows it with the full stop at its end.
    let report = send(&closed, &format!("http://localhost.:{port}/")).await;
    assert!(matches!(report.error, Some(AttemptError::Refused | AttemptError::Dns)), "{}", report.response);
    assert_eq!(receiver.accepts(), 0);

    // The same receiver is reached by those who may, so the nought above means something.
    let open = sender(local(), LONG);
    for host in ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"] {
        let report = send(&open, &format!("http://{host}:{port}/hook")).await;
        assert!(report.accepted(), "{host}: {}", report.response);
    }
    assert!(receiver.accepts() > 0);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_after_the_check_is_refused() {
    let receiver = Receiver::answering(OK);
    let names = Names::answering(&[&["93.184.216.34"], &["127.0.0.1"]]);
    let guard = Guard::new(Vec::new()).resolving_by(names);
    let to = format!("http://rebinding.example:{}/", receiver.addr.port());
    assert_eq!(guard.check_resolves(&url(&to)).await, Ok(()));
    let report = send(&sender(guard, LONG), &to).await;
    assert_eq!(report.error, Some(AttemptError::Refused));
    assert_eq!(
        report.response,
        "rebinding.example resolves to 127.0.0.1, which is not a public address (loopback); \
         delivery.allow_private_networks can let it through"
    );
    assert_eq!(receiver.accepts(), 0);
}

#[tokio::test]
async fn of_several_addresses_only_those_let_through_are_tried() {
    let receiver = Receiver::answering(OK);
    let guard = local().resolving_by(Names::answering(&[&["10.255.255.1", "127.0.0.1", "fe80::1"]]));
    let report = send(&sender(guard, LONG), &format!("http://mixed.example:{}/", receiver.addr.port())).await;
    assert!(report.accepted(), "{}", report.response);
}

#[tokio::test]
async fn our_own_listener_is_not_connected_to_by_name_either() {
    let listener = Receiver::answering(OK);
    let neighbour = Receiver::answering(OK);
    let guard = Guard::new(vec![Allowed::Host("a.internal".to_owned())])
        .forbid(vec![listener.addr])
        .resolving_by(Names::answering(&[&["127.0.0.1"]]));
    let sender = sender(guard, LONG);
    let report = send(&sender, &format!("http://a.internal:{}/", listener.addr.port())).await;
    assert_eq!(report.error, Some(AttemptError::Refused));
    assert!(report.response.contains("own listeners"), "{}", report.response);
    assert_eq!(listener.accepts(), 0);
    let report = send(&sender, &format!("http://a.internal:{}/", neighbour.addr.port())).await;
    assert!(report.accepted(), "{}", report.response);
}

#[rstest::rstest]
#[tokio::test]
async fn redirects_are_not_followed(#[values(301, 302, 303, 307, 308)] status: u16) {
    let other = Receiver::answering(OK);
    let location = other.url();
    let receiver = Receiver::answering(format!(
        "HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
    ));
    let report = send(&sender(local(), LONG), &receiver.url()).await;
    assert_eq!((report.status, report.error, report.accepted()), (Some(status), None, false));
    assert_eq!((receiver.accepts(), other.accepts()), (1, 0));
}

#[test]
fn proxies_of_the_environment_are_ignored() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let mut environment: Vec<_> = names.iter().map(|name| (*name, address.as_str())).collect();
    environment.extend([("NO_PROXY", ""), ("no_proxy", "")]);
    in_a_child("sending::child_that_sends", &environment);
    proxy.set_nonblocking(true).unwrap();
    assert_eq!(
        proxy.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "no connection reached the proxy"
    );
}

#[tokio::test]
#[ignore = "another test runs it in an environment of its own"]
async fn child_that_sends() {
    let receiver = Receiver::answering(OK);
    let guard = local().resolving_by(Names::answering(&[&["127.0.0.1"]]));
    let sender = sender(guard, Duration::from_secs(5));
    let by_name = format!("http://a.example:{}/", receiver.addr.port());
    for to in [receiver.url(), by_name] {
        let report = send(&sender, &to).await;
        assert!(report.accepted(), "{}", report.response);
    }
}

#[test]
fn a_machine_without_certificate_authorities_is_told_what_to_do() {
    let nowhere = tempfile::tempdir().unwrap();
    let nowhere = nowhere.path().to_str().unwrap();
    let nothing = format!("{nowhere}/none.pem");
    in_a_child(
        "sending::child_without_authorities",
        &[("SSL_CERT_FILE", &nothing), ("SSL_CERT_DIR", nowhere)],
    );
}

#[tokio::test]
#[ignore = "another test runs it in an environment of its own"]
async fn child_without_authorities() {
    let new = |ca_file| {
        let settings = SenderSettings { connect_timeout: LONG, timeout: LONG, proxy: None, ca_file };
        Sender::new(settings, Guard::new(Vec::new()).into(), std::sync::Arc::new(SystemClock))
    };
    let error = new(None).unwrap_err();
    assert!(matches!(error, EgressError::NoCertificateAuthorities), "{error}");
    assert!(error.to_string().contains("ca-certificates") && error.to_string().contains("delivery.ca_file"));

    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(include_bytes!("tls/ca.pem")).unwrap();
    new(Some(file.path().to_owned())).unwrap();
}
