//! Sign-in links: each works once, within a minute, for the holder of its code.

use std::time::Duration;

use http::Method;
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Gateway, Setup, gateway};
use crate::support::http::Client;

const LINK: &str = "https://login.remotepc.com/rpcnew/process/autologin/planted-link";

async fn upstream(status: u16, body: &serde_json::Value) -> MockServer {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).set_body_json(body);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

async fn start(upstream: &MockServer) -> (Gateway, Client) {
    let gateway = gateway(Setup::to(upstream.uri())).await;
    let client = gateway.running.internal.clone().bearer(&gateway.key);
    (gateway, client)
}

async fn opened() -> (Gateway, String) {
    let signed_in = json!({"status": "OK", "code": 200, "message": {"rpc_redirect_link": LINK}});
    let upstream = upstream(200, &signed_in).await;
    let (gateway, client) = start(&upstream).await;
    let wanted = json!({"username": "jane@example.com", "password": "planted-password"});
    let answer = client.post("/v1/remotepc/sessions", &wanted).await.expect(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.text().contains("planted"), "the link stays here: {}", answer.text());
    let opened = answer.json();
    assert_eq!(opened["expires_at"], "2026-11-22T21:05:05.123Z");
    (gateway, opened["url"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_link_is_followed_once_and_without_a_key() {
    let (gateway, url) = opened().await;
    let unauthenticated = &gateway.running.internal;
    assert_eq!(
        unauthenticated.request(Method::HEAD, &url, None).await.status,
        405,
        "a look does not use it up"
    );
    let answer = unauthenticated.get(&url).await.expect(303);
    assert_eq!(answer.header("location"), LINK);
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.text().is_empty());
    let again = unauthenticated.get(&url).await.expect(404).json();
    assert_eq!(again["errors"][0]["description"], "NOT_FOUND");
}

#[tokio::test]
async fn a_prefetch_does_not_use_a_link_up() {
    let (gateway, url) = opened().await;
    for (name, value) in
        [("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch"), ("x-moz", "prefetch")]
    {
        let browser = gateway.running.internal.clone().header(name, value);
        assert!(browser.get(&url).await.expect(204).headers.get("location").is_none());
    }
    gateway.running.internal.get(&url).await.expect(303);
}

#[tokio::test]
async fn of_two_who_follow_a_link_at_once_one_comes_in() {
    let (gateway, url) = opened().await;
    let unauthenticated = &gateway.running.internal;
    let asked = futures_util::future::join_all((0..20).map(|_| unauthenticated.get(&url))).await;
    let statuses: Vec<_> = asked.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|item| **item == 303).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|item| [303, 404].contains(item)), "{statuses:?}");
}

#[tokio::test]
async fn a_link_that_cannot_be_followed_is_no_success() {
    for link in [
        "https://login.example/planted\nlink".to_owned(),
        format!("https://login.example/{}", "x".repeat(9000)),
    ] {
        let upstream =
            upstream(200, &json!({"status": "OK", "code": 200, "message": {"rpc_redirect_link": link}}))
                .await;
        let (_gateway, client) = start(&upstream).await;
        let wanted = json!({"username": "jane@example.com", "password": "planted-password"});
        let refused = client.post("/v1/remotepc/sessions", &wanted).await.expect(502);
        assert!(
            refused.text().contains("REMOTEPC_BAD_RESPONSE") && !refused.text().contains("planted"),
            "{}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn a_link_is_gone_after_a_minute() {
    let (gateway, url) = opened().await;
    gateway.running.clock.advance(Duration::from_mins(1));
    gateway.running.internal.get(&url).await.expect(404);
}

#[tokio::test]
async fn codes_are_long_and_foreign_ones_open_nothing() {
    let (gateway, url) = opened().await;
    let code = url.strip_prefix("/admin/remotepc/sessions/").unwrap();
    assert!(code.len() >= 22, "128 bits at least: {code}");
    for foreign in ["x", "%ff", &code[1..], &format!("{code}x")] {
        gateway.running.internal.get(&format!("/admin/remotepc/sessions/{foreign}")).await.expect(404);
    }
    gateway.running.internal.get(&url).await.expect(303);
}

#[rstest::rstest]
#[case(400, "USERNAME_DOES_NOT_EXIST", 422)]
#[case(403, "Forbidden ", 502)]
#[case(500, "INTERNAL_SERVER_ERROR", 502)]
#[case(401, "NOT_AUTHORIZED", 502)]
#[tokio::test]
async fn a_refused_sign_in_is_a_problem(#[case] status: u16, #[case] word: &str, #[case] told: u16) {
    let body = json!({"status": "X", "code": status, "errorsCount": 1, "errors": [{"description": word}]});
    let (_gateway, client) = start(&upstream(status, &body).await).await;
    let wanted = json!({"username": "jane@example.com", "password": "planted-password"});
    let problem = client.post("/v1/remotepc/sessions", &wanted).await.expect(told).json();
    let expected = if status == 401 { "REMOTEPC_KEY_REJECTED" } else { word.trim() };
    assert!(problem["detail"].as_str().unwrap().contains(expected), "{problem}");
}

#[rstest::rstest]
#[case(json!({}), 422)]
#[case(json!({"username": "jane@example.com"}), 422)]
#[case(json!({"username": "", "password": "p"}), 422)]
#[case(json!({"username": "jane@example.com", "password": "p", "more": 1}), 422)]
#[case(json!({"username": "jane@example.com", "password": ["planted"]}), 422)]
#[tokio::test]
async fn bad_input_costs_no_call(#[case] wanted: serde_json::Value, #[case] status: u16) {
    let upstream = upstream(200, &json!({})).await;
    let (_gateway, client) = start(&upstream).await;
    let answer = client.post("/v1/remotepc/sessions", &wanted).await.expect(status);
    assert!(!answer.text().contains("planted"));
    assert!(upstream.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn only_a_key_opens_one() {
    let upstream = upstream(200, &json!({})).await;
    let (gateway, _) = start(&upstream).await;
    let wanted = json!({"username": "jane@example.com", "password": "p"});
    gateway.running.internal.post("/v1/remotepc/sessions", &wanted).await.expect(401);
}
