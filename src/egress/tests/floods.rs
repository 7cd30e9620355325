//! The same ill will over HTTP/1 with TLS and without: what each receiver does, and what is made of stream.

use std::thread;
use std::time::Duration;

use super::receiver::Receiver;
use super::tls::{Stream, believing, https_doing};
use super::{LONG, local, send, sender};
use crate::domain::{AttemptError, AttemptReport};

/// For a whole attempt that is expected to take all of stream.
const SHORT: Duration = Duration::from_secs(1);

/// A busy machine may be slow, but not this slow.
const SLACK: Duration = Duration::from_secs(6);

type Behaviour = fn(&mut dyn Stream);

/// Reports of one attempt at each kind of receiver.
async fn both(timeout: Duration, behaviour: Behaviour) -> [AttemptReport; 2] {
    let plain = Receiver::doing(move |stream| behaviour(stream));
    let secure = https_doing(behaviour);
    let reports = [
        bounded(timeout, &sender(local(), timeout), &plain.url()).await,
        bounded(timeout, &believing(timeout), &format!("https://{secure}/")).await,
    ];
    for report in &reports {
        assert!(report.response.len() <= 16 * 1024, "{}", report.response.len());
    }
    reports
}

async fn bounded(timeout: Duration, sender: &crate::egress::Sender, to: &str) -> AttemptReport {
    let report = tokio::time::timeout(LONG, send(sender, to)).await.expect("the send ends");
    assert!(report.elapsed < timeout.min(LONG / 2) + SLACK, "{:?}", report.elapsed);
    report
}

fn flood(stream: &mut dyn Stream, bytes: &[u8]) {
    let many = bytes.repeat(16 * 1024 / bytes.len() + 1);
    while stream.write_all(&many).is_ok() {}
}

fn drip(stream: &mut dyn Stream, bytes: &[u8]) {
    while stream.write_all(bytes).and_then(|()| stream.flush()).is_ok() {
        thread::sleep(Duration::from_millis(10));
    }
}

fn say(stream: &mut dyn Stream, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

/// Says stream, and waits until the other side has had enough.
fn say_and_hang(stream: &mut dyn Stream, text: &str) {
    say(stream, text);
    while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
}

/// Floods at full speed, which end before the timeout.
#[rstest::rstest]
#[case::continues(|stream: &mut dyn Stream| flood(stream, b"HTTP/1.1 100 Continue\r\n\r\n"))]
#[case::hints(|stream: &mut dyn Stream| flood(stream, b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"))]
#[case::many_headers(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 200 OK\r\n"); flood(stream, b"x: y\r\n") })]
#[case::one_header(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 200 OK\r\nx: "); flood(stream, b"y") })]
#[case::name(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 200 OK\r\n"); flood(stream, b"y") })]
#[case::reason(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 200 "); flood(stream, b"y") })]
#[case::empty_lines(|stream: &mut dyn Stream| flood(stream, b"\r\n"))]
#[case::zeros(|stream: &mut dyn Stream| flood(stream, b"\0"))]
#[case::hints_and_headers(|stream: &mut dyn Stream| {
    say(stream, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n");
    flood(stream, b"x: y\r\n");
})]
#[tokio::test]
async fn a_flood_before_the_end_of_the_head_is_cut_off(#[case] behaviour: Behaviour) {
    for report in both(LONG, behaviour).await {
        assert_eq!((report.status, report.error), (None, Some(AttemptError::Protocol)), "{report:?}");
        assert!(!report.response.is_empty());
    }
}

#[rstest::rstest]
#[case::continues(|stream: &mut dyn Stream| drip(stream, b"HTTP/1.1 100 Continue\r\n\r\n"))]
#[case::head(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 200 OK\r\nx: "); drip(stream, b"y") })]
#[case::first_line(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 200 "); drip(stream, b"y") })]
#[case::silence(|stream: &mut dyn Stream| say_and_hang(stream, ""))]
#[case::half_a_head(|stream: &mut dyn Stream| say_and_hang(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"))]
#[tokio::test]
async fn a_head_that_does_not_come_runs_into_the_timeout(#[case] behaviour: Behaviour) {
    for report in both(SHORT, behaviour).await {
        assert_eq!((report.status, report.error), (None, Some(AttemptError::Timeout)), "{report:?}");
        assert_eq!(report.response, "no answer within 1s");
    }
}

/// The head came, and decides.
#[rstest::rstest]
#[case::endless(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 200 OK\r\n\r\n"); flood(stream, b"x") })]
#[case::endless_with_a_length(|stream: &mut dyn Stream| {
    say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\n");
    flood(stream, b"x");
})]
#[case::small_chunks(|stream: &mut dyn Stream| { chunked(stream); flood(stream, b"1\r\nx\r\n") })]
#[case::one_chunk(|stream: &mut dyn Stream| { chunked(stream); say(stream, "7fffffffffffffff\r\n"); flood(stream, b"x") })]
#[case::huge_chunk(|stream: &mut dyn Stream| { chunked(stream); say_and_hang(stream, "fffffffffffffffff\r\nx") })]
#[case::chunk_extensions(|stream: &mut dyn Stream| { chunked(stream); flood(stream, b"1;a=b\r\nx\r\n") })]
#[case::one_extension(|stream: &mut dyn Stream| { chunked(stream); say(stream, "1;"); flood(stream, b"a") })]
#[case::trailers(|stream: &mut dyn Stream| { chunked(stream); say(stream, "0\r\n"); flood(stream, b"x: y\r\n") })]
#[case::no_chunk(|stream: &mut dyn Stream| { chunked(stream); say_and_hang(stream, "what?\r\n") })]
#[case::dripping(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 200 OK\r\n\r\n"); drip(stream, b"x") })]
#[case::hanging(|stream: &mut dyn Stream| say_and_hang(stream, "HTTP/1.1 200 OK\r\n\r\n"))]
#[case::more_than_declared(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"); flood(stream, b"x") })]
#[case::less_than_declared(|stream: &mut dyn Stream| say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"))]
#[case::none_allowed(|stream: &mut dyn Stream| { say(stream, "HTTP/1.1 204 No Content\r\n\r\n"); flood(stream, b"x") })]
#[case::after_an_interim_answer(|stream: &mut dyn Stream| say(stream, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx"))]
#[tokio::test]
async fn a_body_does_as_it_likes(#[case] behaviour: Behaviour) {
    for report in both(LONG, behaviour).await {
        assert!(report.accepted() && report.error.is_none(), "{report:?}");
        assert!(report.elapsed < SLACK, "{:?}", report.elapsed);
    }
}

fn chunked(stream: &mut dyn Stream) {
    say(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
}

/// Nothing can be read of such a body, and its status counts all the same.
#[rstest::rstest]
#[case(|stream: &mut dyn Stream| absurd(stream, "200", "content-length: 99999999999999999999999\r\n"), 200)]
#[case(|stream: &mut dyn Stream| absurd(stream, "200", "content-length: 18446744073709551615\r\n"), 200)]
#[case(|stream: &mut dyn Stream| absurd(stream, "201", "content-length: -1\r\n"), 201)]
#[case(|stream: &mut dyn Stream| absurd(stream, "202", "content-length: +5\r\n"), 202)]
#[case(|stream: &mut dyn Stream| absurd(stream, "200", "content-length: 1e3\r\n"), 200)]
#[case(|stream: &mut dyn Stream| absurd(stream, "200", "content-length:\r\n"), 200)]
#[case(|stream: &mut dyn Stream| absurd(stream, "200", "content-length: 1\r\ncontent-length: 2\r\n"), 200)]
#[case(|stream: &mut dyn Stream| absurd(stream, "200", "content-length: 1, 2\r\n"), 200)]
#[case(|stream: &mut dyn Stream| absurd(stream, "410", "content-length: many\r\n"), 410)]
#[case(|stream: &mut dyn Stream| absurd(stream, "503", "content-length: many\r\n"), 503)]
#[tokio::test]
async fn a_length_that_cannot_be_is_as_no_body(#[case] behaviour: Behaviour, #[case] status: u16) {
    for report in both(LONG, behaviour).await {
        assert_eq!((report.status, report.error), (Some(status), None), "{report:?}");
    }
}

fn absurd(stream: &mut dyn Stream, status: &str, header: &str) {
    say_and_hang(stream, &format!("HTTP/1.1 {status} Such\r\n{header}\r\nx"));
}

#[rstest::rstest]
#[case::nothing(|_: &mut dyn Stream| {})]
#[case::before_http_had_heads(|stream: &mut dyn Stream| say(stream, "<html>an answer as in 1991</html>"))]
#[case::later_http(|stream: &mut dyn Stream| say(stream, "HTTP/3.0 200 OK\r\n\r\n"))]
#[case::no_http(|stream: &mut dyn Stream| say(stream, "220 mail.example ESMTP\r\n"))]
#[case::h2_without_being_asked(|stream: &mut dyn Stream| say(stream, "\0\0\0\u{4}\0\0\0\0\0"))]
#[case::half_a_head(|stream: &mut dyn Stream| say(stream, "HTTP/1.1 200 OK\r\ncontent-le"))]
#[case::only_an_interim_answer(|stream: &mut dyn Stream| say(stream, "HTTP/1.1 100 Continue\r\n\r\n"))]
#[case::an_absurd_interim_answer(|stream: &mut dyn Stream| say(stream, "HTTP/1.1 100 Continue\r\ncontent-length: x\r\n\r\n"))]
#[case::two_ways_to_end(|stream: &mut dyn Stream| say(stream, "HTTP/1.1 200 OK\r\n\0: y\r\n\r\n"))]
#[case::a_status_like_no_other(|stream: &mut dyn Stream| say(stream, "HTTP/1.1 099 Low\r\n\r\n"))]
#[tokio::test]
async fn what_is_no_answer_is_a_protocol_error(#[case] behaviour: Behaviour) {
    for report in both(LONG, behaviour).await {
        assert_eq!((report.status, report.error), (None, Some(AttemptError::Protocol)), "{report:?}");
    }
}
