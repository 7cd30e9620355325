//! Receivers that mean us ill, or are broken: each send ends in bounded time and memory.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::receiver::Receiver;
use super::{LONG, local, send, sender};
use crate::domain::{AttemptError, AttemptReport};

/// For a whole attempt, in most of these tests.
const SHORT: Duration = Duration::from_secs(1);

/// A busy machine may be slow, but not this slow.
const SLACK: Duration = Duration::from_secs(5);

async fn within(timeout: Duration, bound: Duration, to: &str) -> AttemptReport {
    let report = tokio::time::timeout(bound, send(&sender(local(), timeout), to)).await;
    let report = report.expect("the send ends in time");
    assert!(report.elapsed < bound, "{:?}", report.elapsed);
    assert!(report.response.len() <= 16 * 1024);
    report
}

/// Writes the same bytes until the connection ends.
fn flood(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the other side has had enough.
fn hang(stream: &mut TcpStream) {
    while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
}

#[rstest::rstest]
#[case(200, true)]
#[case(500, false)]
#[tokio::test]
async fn an_endless_body_is_read_for_16_kib_and_dropped(#[case] status: u16, #[case] accepted: bool) {
    let mut receiver = Receiver::doing(move |stream| {
        write!(stream, "HTTP/1.1 {status} Such\r\n\r\n").unwrap();
        flood(stream, &[b'x'; 4096]);
    });
    let report = within(LONG, SLACK, &receiver.url()).await;
    assert_eq!((report.status, report.error, report.accepted()), (Some(status), None, accepted));
    assert_eq!(report.response, "x".repeat(16 * 1024));
    receiver.over().await;
}

#[rstest::rstest]
#[tokio::test]
async fn a_huge_declared_body_is_not_waited_for(#[values(200, 503)] status: u16) {
    let mut receiver = Receiver::doing(move |stream| {
        write!(stream, "HTTP/1.1 {status} Such\r\ncontent-length: 1099511627776\r\n\r\npart").unwrap();
        hang(stream);
    });
    let report = within(SHORT, SLACK, &receiver.url()).await;
    assert_eq!((report.status, report.error, report.response.as_str()), (Some(status), None, "part"));
    receiver.over().await;
}

#[rstest::rstest]
#[case(SHORT)]
#[case(LONG)]
#[tokio::test]
async fn a_dripping_body_does_not_hold_up_the_verdict(#[case] timeout: Duration) {
    let mut receiver = Receiver::doing(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
        drip(stream, b"1\r\nx\r\n");
    });
    let report = within(timeout, SLACK, &receiver.url()).await;
    assert!(report.accepted() && report.response.starts_with("xx"), "{report:?}");
    receiver.over().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    for (head, status) in [("200 OK", 200), ("410 Gone", 410)] {
        let receiver = Receiver::doing(move |stream| {
            write!(stream, "HTTP/1.1 {head}\r\ncontent-length: 100\r\n\r\nhalf").unwrap();
        });
        let report = within(LONG, SLACK, &receiver.url()).await;
        assert_eq!((report.status, report.error, report.response.as_str()), (Some(status), None, "half"));
    }
}

#[tokio::test]
async fn a_body_that_is_not_text_becomes_text_that_every_store_can_hold() {
    let mut answer = b"HTTP/1.1 500 Such\r\ncontent-length: 20000\r\n\r\n".to_vec();
    answer.extend_from_slice(b"a\0b\xff");
    answer.resize(answer.len() + 20_000, 0xfe);
    let report = within(LONG, SLACK, &Receiver::answering(answer).url()).await;
    assert!(report.response.starts_with("ab\u{fffd}\u{fffd}"));
    assert!(!report.response.contains('\0'));
    assert!(report.response.len() > 16_000);
}

#[tokio::test]
async fn heads_without_end_are_cut_off() {
    let head: &[u8] = b"HTTP/1.1 200 OK\r\n";
    let floods: [(&'static [u8], &'static [u8]); 3] = [
        (head, b"x-more: and more\r\n"),
        (head, b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        (b"HTTP/1.1 200 ", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ];
    for (begin, more) in floods {
        let mut receiver = Receiver::doing(move |stream| {
            stream.write_all(begin).unwrap();
            flood(stream, more);
        });
        let report = within(SHORT, SLACK, &receiver.url()).await;
        assert_eq!((report.status, report.error), (None, Some(AttemptError::Protocol)), "{report:?}");
        receiver.over().await;
    }
}

#[tokio::test]
async fn a_receiver_that_only_ever_says_continue_runs_into_the_timeout() {
    let mut receiver = Receiver::doing(|stream| drip(stream, b"HTTP/1.1 100 Continue\r\n\r\n"));
    let report = within(SHORT, SLACK, &receiver.url()).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Timeout)), "{report:?}");
    receiver.over().await;
}

#[tokio::test]
async fn a_head_that_drips_runs_into_the_timeout() {
    let mut receiver = Receiver::doing(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").unwrap();
        drip(stream, b"y");
    });
    let report = within(SHORT, SLACK, &receiver.url()).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Timeout)));
    assert_eq!(report.response, "no answer within 1s");
    receiver.over().await;
}

#[tokio::test]
async fn a_receiver_that_says_nothing_runs_into_the_timeout() {
    let mut receiver = Receiver::doing(hang);
    let report = within(SHORT, SLACK, &receiver.url()).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Timeout)));
    assert!(report.elapsed >= SHORT);
    receiver.over().await;
}

/// The status decides, however carelessly the headers are written.
#[tokio::test]
async fn careless_headers_do_not_make_an_accepted_delivery_fail() {
    let answers: [&'static [u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nServer : x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nServer: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nServer: a\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nServer: \xe4\r\nContent-Length: 0\r\n\r\n",
    ];
    for answer in answers {
        let receiver = Receiver::doing(move |stream| stream.write_all(answer).unwrap());
        let report = within(LONG, SLACK, &receiver.url()).await;
        assert_eq!((report.status, report.error), (Some(200), None), "{report:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    let answers: [&'static [u8]; 6] = [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\0\0\x12\x04\0\0\0\0\0",
        b"HTTP/1.1 nine hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"<html>an answer as in 1991</html>",
    ];
    for answer in answers {
        let receiver = Receiver::doing(move |stream| stream.write_all(answer).unwrap());
        let report = within(LONG, SLACK, &receiver.url()).await;
        assert_eq!((report.status, report.error), (None, Some(AttemptError::Protocol)), "{report:?}");
        assert!(!report.response.is_empty() && !report.response.contains("hook"), "{}", report.response);
    }
}

#[tokio::test]
async fn a_reset_is_a_protocol_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // What is left unread when a socket closes makes the system send a reset.
        stream.peek(&mut [0]).unwrap();
    });
    let report = within(LONG, SLACK, &to).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Protocol)), "{report:?}");
}

/// Breaks each connection after having read and said so much.
async fn breaking(reads: usize, says: &'static [u8]) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let breaks = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read_exact(&mut vec![0; reads]).await;
            let _ = stream.write_all(says).await;
            // Closing a connection that does not linger is what sends the reset.
            stream.set_zero_linger().unwrap();
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the test's own runtime ends with the test")]
    tokio::spawn(breaks);
    addr
}

#[rstest::rstest]
#[case::at_once("http", 0, b"", &[AttemptError::Protocol, AttemptError::Connect])]
#[case::in_the_request("http", 20, b"", &[AttemptError::Protocol])]
#[case::in_the_head("http", 300, b"HTTP/1.1 200 O", &[AttemptError::Protocol])]
#[case::before_the_handshake("https", 0, b"", &[AttemptError::Connect])]
#[case::in_the_handshake("https", 100, b"", &[AttemptError::Connect])]
#[case::after_a_record_that_is_none("https", 100, b"\x16\x03\x03\x40\x00", &[AttemptError::Connect, AttemptError::Tls])]
#[tokio::test]
async fn a_reset_ends_an_attempt_wherever_it_comes(
    #[case] scheme: &str,
    #[case] reads: usize,
    #[case] says: &'static [u8],
    #[case] errors: &[AttemptError],
) {
    let addr = breaking(reads, says).await;
    let report = within(LONG, SLACK, &format!("{scheme}://{addr}/?key=hidden")).await;
    assert!(report.error.is_some_and(|error| errors.contains(&error)), "{report:?}");
    assert!(!report.response.contains("hidden"), "{report:?}");
}
