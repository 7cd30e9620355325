//! The users for people: our own shape, kept for a while, filtered, sorted, counted, and as a table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::upstream::{OK, by_hand, read_request};
use super::{Gateway, Setup, gateway};

fn listed(name: &str, allotted: u64, used: u64, created: &str, active: bool) -> Value {
    json!({"alloted_computers": allotted, "created_date": created, "isActive": active,
        "utilized_computers": used, "username": name})
}

async fn upstream() -> MockServer {
    let users = [
        listed("jane@example.com", 5, 2, "01-25-2023", true),
        listed("Amy@example.com", 1, 1, "01-13-2023", true),
        listed("=cmd@other.example", 425, 0, "12-31-2022", false),
    ];
    let body = json!({"status": "OK", "code": 200, "message": {"resellerUsersList": users}});
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(body)).mount(&server).await;
    server
}

async fn before(upstream: &MockServer) -> Gateway {
    gateway(Setup::to(upstream.uri())).await
}

impl Gateway {
    async fn users(&self, query: &str) -> Value {
        let client = self.running.internal.clone().bearer(&self.key);
        client.get(&format!("/v1/remotepc/users?{query}")).await.expect(200).json()
    }
}

fn names(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|item| item["username"].as_str().unwrap()).collect()
}

async fn calls(upstream: &MockServer) -> usize {
    upstream.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn they_are_told_in_our_own_shape() {
    let upstream = upstream().await;
    let gateway = before(&upstream).await;
    insta::assert_json_snapshot!(gateway.users("active=true&sort=created_on&limit=1").await, @r#"
    {
      "as_of": "2026-11-22T21:04:05.123Z",
      "cursor": "1",
      "data": [
        {
          "active": true,
          "allotted_computers": 1,
          "created_on": "2023-01-13",
          "used_computers": 1,
          "username": "Amy@example.com"
        }
      ],
      "has_more": true,
      "totals": {
        "active": 2,
        "allotted_computers": 6,
        "used_computers": 3,
        "users": 2
      }
    }
    "#);
}

#[rstest::rstest]
#[case("", &["=cmd@other.example", "Amy@example.com", "jane@example.com"])]
#[case("order=desc", &["jane@example.com", "Amy@example.com", "=cmd@other.example"])]
#[case("sort=allotted_computers&order=desc", &["=cmd@other.example", "jane@example.com", "Amy@example.com"])]
#[case("sort=used_computers", &["=cmd@other.example", "Amy@example.com", "jane@example.com"])]
#[case("sort=created_on", &["=cmd@other.example", "Amy@example.com", "jane@example.com"])]
#[case("q=EXAMPLE.com", &["Amy@example.com", "jane@example.com"])]
#[case("active=false", &["=cmd@other.example"])]
#[case("q=nobody", &[])]
#[case("limit=2", &["=cmd@other.example", "Amy@example.com"])]
#[case("limit=2&after=2", &["jane@example.com"])]
#[case("after=99", &[])]
#[tokio::test]
async fn they_are_filtered_sorted_and_paged(#[case] query: &str, #[case] expected: &[&str]) {
    let upstream = upstream().await;
    let gateway = before(&upstream).await;
    assert_eq!(names(&gateway.users(query).await), expected);
}

#[rstest::rstest]
#[tokio::test]
async fn bad_values_are_refused_without_a_call(
    #[values("sort=name", "active=maybe", "order=up", "limit=0", "after=-1", "format=xml", "page=2")]
    query: &str,
) {
    let upstream = upstream().await;
    let gateway = before(&upstream).await;
    let client = gateway.running.internal.clone().bearer(&gateway.key);
    client.get(&format!("/v1/remotepc/users?{query}")).await.expect(400);
    assert_eq!(calls(&upstream).await, 0);
}

#[tokio::test]
async fn a_list_is_kept_for_a_while_and_asked_for_again_on_demand() {
    let upstream = upstream().await;
    let gateway = before(&upstream).await;
    for (query, passed, expected) in
        [("", 0, 1), ("q=jane", 59, 1), ("refresh=1", 0, 2), ("", 59, 2), ("", 1, 3)]
    {
        gateway.running.clock.advance(Duration::from_secs(passed));
        gateway.users(query).await;
        assert_eq!(calls(&upstream).await, expected, "{query} after {passed} s");
    }
}

#[tokio::test]
async fn the_table_is_safe_to_open_in_a_spreadsheet() {
    let upstream = upstream().await;
    let gateway = before(&upstream).await;
    let client = gateway.running.internal.clone().bearer(&gateway.key);
    let answer = client.get("/v1/remotepc/users?format=csv&limit=1").await.expect(200);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    insta::assert_snapshot!(answer.text(), @r"
    username,active,allotted_computers,used_computers,created_on
    '=cmd@other.example,false,425,0,2022-12-31
    Amy@example.com,true,1,1,2023-01-13
    jane@example.com,true,5,2,2023-01-25
    ");
}

#[tokio::test]
async fn upstream_in_trouble_is_a_problem_that_names_it_and_is_not_kept() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).up_to_n_times(1).mount(&server).await;
    let gateway = before(&server).await;
    let client = gateway.running.internal.clone().bearer(&gateway.key);
    let problem = client.get("/v1/remotepc/users").await.expect(502).json();
    assert_eq!(problem["type"], "urn:remgate:problem:upstream");
    assert!(problem["detail"].as_str().unwrap().starts_with("REMOTEPC_KEY_REJECTED"), "{problem}");
    server.reset().await;
    let users = json!({"status": "OK", "code": 200, "message": {"resellerUsersList": []}});
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(users)).mount(&server).await;
    assert_eq!(gateway.users("").await["totals"]["users"], 0);
}

/// An upstream that breaks off the first so many connections after it has read the request.
async fn breaking_off(first: usize) -> (String, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let address = by_hand(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            read_request(&mut stream).await;
            if counted.fetch_add(1, Ordering::SeqCst) >= first {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, OK).await;
            }
        }
    })
    .await;
    (address, seen)
}

#[rstest::rstest]
#[case("list", 200, 2)]
#[case("add", 502, 1)]
#[case("invite", 502, 1)]
#[case("signin", 502, 1)]
#[tokio::test]
async fn only_the_list_is_asked_for_again(
    #[case] operation: &str,
    #[case] status: u16,
    #[case] requests: usize,
) {
    let (address, seen) = breaking_off(1).await;
    let gateway = gateway(Setup::to(format!("http://{address}"))).await;
    let reply = gateway.post(operation, super::good_body(operation)).await;
    assert_eq!((reply.status.as_u16(), seen.load(Ordering::SeqCst)), (status, requests));
}
