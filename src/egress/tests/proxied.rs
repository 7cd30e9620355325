//! Deliveries through a proxy: what it is asked, and what it can do to us.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::receiver::{OK, Receiver};
use super::{LONG, Names, local, send, tls};
use crate::domain::{AttemptError, AttemptReport, SystemClock};
use crate::egress::{EgressError, Guard, Sender, SenderSettings};

/// A proxy made by hand: `talk` says what it does with a connection, and where that is to lead.
struct FakeProxy {
    addr: SocketAddr,
    asked: mpsc::Receiver<Vec<u8>>,
}

impl FakeProxy {
    fn start(
        talk: impl Fn(&mut TcpStream) -> io::Result<(Vec<u8>, SocketAddr)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::channel();
        let talk = Arc::new(talk);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let tell = tell.clone();
                let talk = talk.clone();
                thread::spawn(move || {
                    let Ok((said, to)) = talk(&mut stream) else { return };
                    let _ = tell.send(said);
                    let onward = TcpStream::connect(to).unwrap();
                    let mut from = stream.try_clone().unwrap();
                    let mut back = onward.try_clone().unwrap();
                    thread::spawn(move || {
                        let _ = io::copy(&mut back, &mut stream);
                        let _ = stream.shutdown(Shutdown::Both);
                    });
                    let _ = io::copy(&mut from, &mut &onward);
                    let _ = onward.shutdown(Shutdown::Both);
                });
            }
        });
        Self { addr, asked }
    }

    /// Speaks HTTP, and connects to where it is asked.
    fn http() -> Self {
        Self::start(|stream| {
            let head = head(stream)?;
            let text = String::from_utf8(head.clone()).unwrap();
            let to = text.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().parse().unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nvia: fake\r\n\r\n")?;
            Ok((head, to))
        })
    }

    /// Speaks SOCKS 5, and wants a name and a password when it may.
    fn socks5() -> Self {
        Self::start(|stream| {
            let mut said = vec![0; 2];
            stream.read_exact(&mut said)?;
            let mut methods = vec![0; said[1].into()];
            stream.read_exact(&mut methods)?;
            let login = methods.contains(&2);
            said.extend(methods);
            stream.write_all(&[5, if login { 2 } else { 0 }])?;
            if login {
                for _ in 0..2 {
                    let skip = if said.ends_with(&[2]) { 2 } else { 1 };
                    let mut length = vec![0; skip];
                    stream.read_exact(&mut length)?;
                    let mut text = vec![0; (*length.last().unwrap()).into()];
                    stream.read_exact(&mut text)?;
                    said.extend([length, text].concat());
                }
                stream.write_all(&[1, 0])?;
            }
            let mut request = [0; 10];
            stream.read_exact(&mut request)?;
            said.extend(request);
            let [5, 1, 0, 1, a, b, c, d, high, low] = request else { panic!("an IPv4 address: {request:?}") };
            stream.write_all(b"\x05\x00\x00\x03\x04fake\x00\x00")?;
            Ok((said, SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))))
        })
    }

    /// Reads the beginning and then does as it likes.
    fn rude(does: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start(move |stream| {
            stream.read_exact(&mut [0; 3])?;
            does(stream)?;
            Err(io::ErrorKind::Other.into())
        })
    }
}

fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(head)
}

fn hang(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 1024])? > 0 {}
    Ok(())
}

fn through(proxy: &str, guard: Guard, connect_timeout: Duration) -> Result<Sender, EgressError> {
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    ca.write_all(tls::AUTHORITY).unwrap();
    let ca_file = Some(ca.path().to_owned());
    let settings = SenderSettings { connect_timeout, timeout: LONG, proxy: Some(proxy.into()), ca_file };
    Sender::new(settings, Arc::new(guard), Arc::new(SystemClock))
}

/// Guard of a name at an address without a listener; only a proxy that ignores the address could connect.
fn named() -> Guard {
    local().resolving_by(Names::answering(&[&["127.0.0.1"]]))
}

#[tokio::test]
async fn http_and_https_go_through_an_http_proxy_by_address() {
    let proxy = FakeProxy::http();
    let plain = Receiver::answering(OK);
    let secure = tls::https();
    let sender = through(&format!("http://us%65r:p%40ss@{}", proxy.addr), named(), LONG).unwrap();
    for (url, port) in [
        (format!("http://receiver.test:{}/hook", plain.addr.port()), plain.addr.port()),
        (format!("https://receiver.test:{}/hook", secure.port()), secure.port()),
    ] {
        let report = send(&sender, &url).await;
        assert!(report.accepted(), "{}", report.response);
        let asked = String::from_utf8(proxy.asked.recv_timeout(LONG).unwrap()).unwrap();
        assert_eq!(
            asked,
            format!(
                "CONNECT 127.0.0.1:{port} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\
                 proxy-authorization: Basic dXNlcjpwQHNz\r\n\r\n"
            )
        );
    }
    let heard = plain.heard();
    assert_eq!(heard.line, "POST /hook HTTP/1.1", "the receiver sees a request like any other");
    assert!(!heard.headers.contains_key("proxy-authorization"));
    assert_eq!(heard.headers["host"], format!("receiver.test:{}", plain.addr.port()).as_str());
    // TLS ends at the receiver: another name than the certificate's is an impostor's, proxy or not.
    let report = send(&sender, &format!("https://impostor.test:{}/", secure.port())).await;
    assert_eq!(report.error, Some(AttemptError::Tls), "{}", report.response);
}

#[rstest::rstest]
#[case("", &[5, 1, 0])]
#[case("user:p%40ss@", b"\x05\x02\x00\x02\x01\x04user\x04p@ss")]
#[tokio::test]
async fn a_socks_proxy_is_asked_for_an_address_too(#[case] login: &str, #[case] greeting: &[u8]) {
    let proxy = FakeProxy::socks5();
    let receiver = Receiver::answering(OK);
    let sender = through(&format!("socks5://{login}{}", proxy.addr), named(), LONG).unwrap();
    let report = send(&sender, &format!("http://receiver.test:{}/", receiver.addr.port())).await;
    assert!(report.accepted(), "{}", report.response);
    let port = receiver.addr.port().to_be_bytes();
    let asked = proxy.asked.recv_timeout(LONG).unwrap();
    assert_eq!(asked, [greeting, &[5, 1, 0, 1, 127, 0, 0, 1], &port].concat());
}

/// The proxy is on loopback, where nothing is let through here.
#[rstest::rstest]
#[case("http")]
#[case("socks5")]
#[tokio::test]
async fn the_guard_judges_the_target_and_not_the_proxy(#[case] scheme: &str) {
    let proxy = FakeProxy::http();
    let receiver = Receiver::answering(OK);
    let closed = Guard::new(Vec::new()).resolving_by(Names::answering(&[&["10.0.0.5"]]));
    let sender = through(&format!("{scheme}://{}", proxy.addr), closed, LONG).unwrap();
    for url in [receiver.url(), "http://rebinding.test/".to_owned(), "http://[::ffff:10.0.0.5]/".to_owned()] {
        let report = send(&sender, &url).await;
        assert_eq!(report.error, Some(AttemptError::Refused), "{url}: {}", report.response);
        assert!(report.response.contains("delivery.allow_private_networks"), "{}", report.response);
    }
    assert!(proxy.asked.try_recv().is_err());
    assert_eq!(receiver.accepts(), 0);
}

#[tokio::test]
async fn a_proxy_has_a_name_of_its_own_to_be_found_by() {
    let proxy = FakeProxy::http();
    let receiver = Receiver::answering(OK);
    let sender = through(&format!("http://proxy.test:{}", proxy.addr.port()), named(), LONG).unwrap();
    assert!(send(&sender, &receiver.url()).await.accepted());
}

async fn refused(proxy: &FakeProxy, scheme: &str, connect_timeout: Duration) -> AttemptReport {
    let receiver = Receiver::answering(OK);
    let sender =
        through(&format!("{scheme}://planted:secret@{}", proxy.addr), named(), connect_timeout).unwrap();
    let report = send(&sender, &receiver.url()).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Connect)), "{}", report.response);
    for secret in ["planted", "secret", "cGxhbnRlZDpzZWNyZXQ"] {
        assert!(!report.response.contains(secret), "{}", report.response);
    }
    assert_eq!(receiver.accepts(), 0, "no connection went around the proxy");
    report
}

#[rstest::rstest]
#[case("http", b"HTTP/1.1 407 Who\r\nproxy-authenticate: Basic\r\n\r\nplanted", "these credentials")]
#[case("http", b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 7\r\n\r\nplanted", "status 502")]
#[case("http", b"HTTP/1.0 403 No\r\n\r\n", "status 403")]
#[case("http", b"HTTP/1.1 301 There\r\nlocation: http://127.0.0.1/\r\n\r\n", "status 301")]
#[case("http", b"HTTP/1.1 200 OK\r\n\r\nand more", "not that of a proxy of this kind")]
#[case("http", b"HTTP/1.1 200 OK\r\n", "broke")]
#[case("http", b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "not that of a proxy of this kind")]
#[case("http", b"\x05\x00\r\n\r\n", "not that of a proxy of this kind")]
#[case("http", b"", "broke")]
#[case("socks5", b"\x05\xff", "these credentials")]
#[case("socks5", b"\x05\x02\x01\x01", "these credentials")]
#[case("socks5", b"\x05\x02\x05\x00", "not that of a proxy of this kind")]
#[case("socks5", b"\x05\x00\x05\x02\x00\x01", "its rules forbid it")]
#[case("socks5", b"\x05\x00\x05\x63\x00\x01", "no known reason")]
#[case("socks5", b"\x05\x00\x05\x00\x00\x07", "not that of a proxy of this kind")]
#[case("socks5", b"\x05\x00\x05\x00\x00\x01\x7f", "broke")]
#[case("socks5", b"HTTP/1.1 400 What\r\n\r\n", "not that of a proxy of this kind")]
#[case("socks5", b"\x04\x5a", "not that of a proxy of this kind")]
#[case("socks5", b"", "broke")]
#[tokio::test]
async fn a_proxy_that_does_not_connect_is_named(
    #[case] scheme: &str,
    #[case] answer: &'static [u8],
    #[case] reason: &str,
) {
    let proxy = FakeProxy::rude(move |stream| {
        stream.write_all(answer)?;
        // Until the other side goes, or the system would send a reset instead.
        stream.shutdown(Shutdown::Write)?;
        hang(stream)
    });
    let report = refused(&proxy, scheme, LONG).await;
    assert!(report.response.starts_with("delivery.proxy: "), "{}", report.response);
    assert!(report.response.contains(reason), "{}", report.response);
}

#[rstest::rstest]
#[tokio::test]
async fn a_proxy_that_keeps_us_waiting_is_no_connection(
    #[values("http", "socks5")] scheme: &'static str,
    #[values(true, false)] drips: bool,
) {
    let proxy = FakeProxy::rude(move |stream| {
        if !drips {
            return hang(stream);
        }
        stream.write_all(if scheme == "http" {
            b"HTTP/1.1 200 OK\r\nx: "
        } else {
            b"\x05\x00\x05\x00\x00\x03\xff"
        })?;
        loop {
            stream.write_all(b"x")?;
            thread::sleep(Duration::from_millis(10));
        }
    });
    let report = refused(&proxy, scheme, Duration::from_millis(300)).await;
    assert_eq!(report.response, "no connection in time");
}

#[tokio::test]
async fn a_proxy_that_floods_is_cut_off() {
    for (scheme, begin) in [("http", &b"HTTP/1.1 200 OK\r\n"[..]), ("http", b""), ("socks5", b"")] {
        let proxy = FakeProxy::rude(move |stream| {
            stream.write_all(begin)?;
            loop {
                stream.write_all(&[b'x'; 4096])?;
            }
        });
        let report = refused(&proxy, scheme, LONG).await;
        assert!(report.response.contains("not that of a proxy of this kind"), "{}", report.response);
        assert!(report.elapsed < Duration::from_secs(5), "{:?}", report.elapsed);
    }
}

#[tokio::test]
async fn a_proxy_that_is_away_is_told_from_a_receiver_that_is() {
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sender = through(&format!("socks5://planted:secret@{away}"), named(), LONG).unwrap();
    let report = send(&sender, "http://127.0.0.1:1/").await;
    assert_eq!(report.error, Some(AttemptError::Connect));
    assert!(report.response.starts_with("delivery.proxy: there is no connection to the proxy"), "{report:?}");
}

#[rstest::rstest]
fn a_proxy_that_cannot_be_used_is_not_shown(
    #[values("planted", "ftp://u:planted@h", "http://", "https://u:planted@h", "socks5h://planted@h")]
    url: &str,
) {
    let error = through(url, local(), LONG).unwrap_err();
    assert!(matches!(error, EgressError::Proxy), "{error}");
    assert!(!format!("{error} {error:?}").contains("planted"));
}

#[test]
fn a_login_that_socks_cannot_carry_is_refused() {
    let long = "x".repeat(256);
    assert!(through(&format!("socks5://{long}:p@h"), local(), LONG).is_err());
    assert!(through(&format!("http://{long}:p@h"), local(), LONG).is_ok());
}
