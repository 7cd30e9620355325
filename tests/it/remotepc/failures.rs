//! Every way in which upstream fails to answer, as our client sees it.

use std::time::Duration;

use http::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::upstream::{OK, answering, by_hand, read_request};
use super::{Gateway, OPERATIONS, Reply, Setup, gateway, good_body, path};

const UNREACHABLE: (u16, &str) = (502, "REMOTEPC_UNREACHABLE");
const BAD_RESPONSE: (u16, &str) = (502, "REMOTEPC_BAD_RESPONSE");
const TIMEOUT: (u16, &str) = (504, "REMOTEPC_TIMEOUT");

async fn asked(setup: Setup, operation: &str) -> (Gateway, Reply) {
    let gateway = gateway(setup).await;
    let reply = gateway.post(operation, good_body(operation)).await;
    (gateway, reply)
}

async fn assert_failed((gateway, reply): &(Gateway, Reply), operation: &str, expected: (u16, &str)) {
    assert_eq!(reply.refusal(), (expected.0, expected.1.to_owned()));
    let outcome = expected.1.trim_start_matches("REMOTEPC_").to_ascii_lowercase();
    assert_eq!(gateway.count(operation, &outcome).await, 1);
}

#[rstest::rstest]
#[tokio::test]
async fn a_refused_connection_is_unreachable(#[values("add", "invite", "signin", "list")] operation: &str) {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let asked = asked(Setup::to(format!("http://{address}")), operation).await;
    assert_failed(&asked, operation, UNREACHABLE).await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unreachable() {
    // A label this long is no name in the first place: the resolver refuses it without a request.
    let base = format!("http://{}.example", "a".repeat(64));
    assert_failed(&asked(Setup::to(base), "add").await, "add", UNREACHABLE).await;
}

#[tokio::test]
async fn a_connection_that_ends_before_an_answer_is_unreachable() {
    let upstream = by_hand(|mut stream| async move { drop(read_request(&mut stream).await) }).await;
    assert_failed(&asked(Setup::to(format!("http://{upstream}")), "add").await, "add", UNREACHABLE).await;
}

#[rstest::rstest]
#[case::silence(b"")]
#[case::half_a_head(b"HTTP/1.1 200 OK\r\nContent-")]
#[case::head_without_body(b"HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n")]
#[case::half_a_body(b"HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n{\"status\":")]
#[case::a_body_without_end(
    b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"OK\",\"code\":200,\"message\":\"SUCCESS\"}"
)]
#[tokio::test]
async fn whoever_hangs_times_out(#[case] bytes: &'static [u8]) {
    let upstream = by_hand(move |mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(bytes).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    for operation in OPERATIONS {
        let asked = asked(Setup::impatient(format!("http://{upstream}")), operation).await;
        assert_failed(&asked, operation, TIMEOUT).await;
        assert_eq!(asked.1.json()["status"], "GATEWAY_TIMEOUT");
    }
}

#[tokio::test]
async fn a_body_that_drips_times_out() {
    let upstream = by_hand(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while stream.write_all(b"1\r\n \r\n").await.is_ok() {
            pace.tick().await;
        }
    })
    .await;
    assert_failed(&asked(Setup::impatient(format!("http://{upstream}")), "add").await, "add", TIMEOUT).await;
}

#[tokio::test]
async fn a_handshake_that_hangs_times_out() {
    let upstream = by_hand(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    assert_failed(&asked(Setup::impatient(format!("https://{upstream}")), "add").await, "add", TIMEOUT).await;
}

#[rstest::rstest]
#[tokio::test]
async fn an_endless_body_is_a_bad_response(#[values("add", "invite", "signin", "list")] operation: &str) {
    let upstream = by_hand(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"").await.unwrap();
        while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
    })
    .await;
    assert_failed(&asked(Setup::to(format!("http://{upstream}")), operation).await, operation, BAD_RESPONSE)
        .await;
}

#[rstest::rstest]
#[case::no_http(b"220 mail.example ESMTP\r\n\r\n")]
#[case::zeros(&[0; 512])]
#[case::broken_head(b"HTTP/1.1 two hundred\r\n\r\n")]
#[case::two_lengths(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}")]
#[case::page(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")]
#[case::outage_page(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 6\r\n\r\n<html>")]
#[case::nothing(b"HTTP/1.1 204 No Content\r\n\r\n")]
#[case::empty(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]
#[case::other_json(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"result\":\"ok\"}")]
#[case::cut_off(b"HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n{\"status\":")]
#[case::cut_off_chunk(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"status\":")]
#[case::announced_too_large(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{")]
#[case::packed(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00")]
#[case::not_utf8(b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n{\"status\":\"OK\",\"code\":200,\"message\":\"\xff\xff\xff\"}")]
#[tokio::test]
async fn what_is_not_upstreams_envelope_is_a_bad_response(#[case] bytes: &'static [u8]) {
    let upstream = answering(bytes).await;
    for operation in OPERATIONS {
        let asked = asked(Setup::to(format!("http://{upstream}")), operation).await;
        assert_failed(&asked, operation, BAD_RESPONSE).await;
    }
}

#[rstest::rstest]
#[tokio::test]
async fn a_redirect_is_not_followed(#[values(300, 301, 302, 303, 304, 307, 308)] status: u16) {
    let elsewhere = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).expect(0).mount(&elsewhere).await;
    let upstream = MockServer::start().await;
    let answer = ResponseTemplate::new(status)
        .insert_header("location", elsewhere.uri())
        .set_body_raw(&OK[OK.len() - 46..], "application/json");
    Mock::given(any()).respond_with(answer).expect(1).mount(&upstream).await;
    assert_failed(&asked(Setup::to(upstream.uri()), "signin").await, "signin", BAD_RESPONSE).await;
}

#[tokio::test]
async fn a_failure_is_not_tried_again_and_does_not_last() {
    let upstream = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(502).set_body_string("<html>"))
        .up_to_n_times(1)
        .expect(1)
        .mount(&upstream)
        .await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_raw(&OK[OK.len() - 46..], "application/json"))
        .expect(1)
        .mount(&upstream)
        .await;
    let asked = asked(Setup::to(upstream.uri()), "add").await;
    assert_failed(&asked, "add", BAD_RESPONSE).await;
    assert_eq!(asked.0.post("add", good_body("add")).await.status, 200);
}

#[tokio::test]
async fn a_head_request_for_the_list_has_no_body() {
    let upstream = answering(OK).await;
    let gateway = gateway(Setup::to(format!("http://{upstream}"))).await;
    let reply = gateway.send(Method::HEAD, &path("list"), None, "".into()).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
}
