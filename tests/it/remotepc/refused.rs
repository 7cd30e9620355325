//! Bad input is refused in upstream's words and never costs a call.

use bytes::Bytes;
use http::Method;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Gateway, OPERATIONS, Setup, gateway, good_body, path};

/// Gateway before an upstream that must not be called; checked when it is dropped.
async fn uncalled() -> (Gateway, MockServer) {
    let upstream = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(500)).expect(0).mount(&upstream).await;
    (gateway(Setup::to(upstream.uri())).await, upstream)
}

#[rstest::rstest]
#[case("add", "{}", &["FIRSTNAME_REQUIRED", "LASTNAME_REQUIRED", "EMAILID_REQUIRED", "PASSWORD_REQUIRED"])]
#[case("add", r#"{"firstName":" ","lastName":"L","invitedUserEmailId":"u","password":"p"}"#, &["FIRSTNAME_REQUIRED", "ENTER_VALID_EMAIL"])]
#[case("add", r#"{"firstName":"F","lastName":"L","invitedUserEmailId":"u@example.com","password":"p","allotedComputers":-1}"#, &["INVALID_REQUEST"])]
#[case("add", "[]", &["INVALID_REQUEST"])]
#[case("add", "", &["INVALID_REQUEST"])]
#[case("invite", r#"[{"invitedUserEmailId":"u"},{}]"#, &["ENTER_VALID_EMAIL", "EMAILID_REQUIRED"])]
#[case("invite", "[]", &["INVALID_REQUEST"])]
#[case("invite", r#"{"invitedUserEmailId":"u@example.com"}"#, &["INVALID_REQUEST"])]
#[case("signin", r#"{"username":null}"#, &["USERNAME_REQUIRED", "PASSWORD_REQUIRED"])]
#[case("signin", r#"{"username":"u","password":"p""#, &["INVALID_REQUEST"])]
#[tokio::test]
async fn a_fault_has_a_word(#[case] operation: &str, #[case] body: &'static str, #[case] words: &[&str]) {
    let (gateway, _upstream) = uncalled().await;
    let reply = gateway.post(operation, body).await;
    assert_eq!(reply.refusals(), (400, words.iter().map(ToString::to_string).collect()));
    assert_eq!(reply.json()["status"], "BAD_REQUEST");
    assert_eq!(gateway.count(operation, "refused").await, 1);
}

#[rstest::rstest]
#[case(Some("text/plain"), false)]
#[case(Some("application/x-www-form-urlencoded"), false)]
#[case(Some("application/jsonp"), false)]
#[case(Some("APPLICATION/JSON ; charset=utf-8"), true)]
#[case(Some("application/vnd.remotepc+json"), true)]
#[case(None, true)]
#[tokio::test]
async fn a_body_that_says_it_is_something_else_is_not_read(
    #[case] says: Option<&str>,
    #[case] is_read: bool,
) {
    let (gateway, _upstream) = uncalled().await;
    // What is read shows by its own fault: there is no user name in it.
    let body = r#"{"password":"p"}"#;
    let reply = gateway.send(Method::POST, &path("signin"), says, body.into()).await;
    let word = if is_read { "USERNAME_REQUIRED" } else { "INVALID_REQUEST" };
    assert_eq!(reply.refusal(), (400, word.to_owned()));
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_read_and_no_more() {
    let (gateway, _upstream) = uncalled().await;
    let most = 1024 * 1024;
    let reply = gateway.post("add", " ".repeat(most)).await;
    assert_eq!(reply.refusal(), (400, "INVALID_REQUEST".to_owned()));
    let reply = gateway.post("add", " ".repeat(most + 1)).await;
    assert_eq!(reply.refusal(), (413, "PAYLOAD_TOO_LARGE".to_owned()));
    assert_eq!(gateway.count("add", "refused").await, 2);
}

#[rstest::rstest]
#[case(Method::GET, "add", "POST")]
#[case(Method::PUT, "invite", "POST")]
#[case(Method::DELETE, "signin", "POST")]
#[case(Method::OPTIONS, "add", "POST")]
#[case(Method::PATCH, "list", "GET,HEAD,POST")]
#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones(
    #[case] method: Method,
    #[case] operation: &str,
    #[case] allow: &str,
) {
    let (gateway, _upstream) = uncalled().await;
    let reply = gateway.send(method, &path(operation), None, Bytes::new()).await;
    assert_eq!(reply.refusal(), (405, "METHOD_NOT_ALLOWED".to_owned()));
    assert_eq!(reply.headers["allow"], allow);
}

#[rstest::rstest]
#[tokio::test]
async fn an_unknown_path_is_not_found(
    #[values(
        "",
        "/",
        "/user",
        "/user/",
        "/user/add/",
        "/user/remove",
        "/user/add/x",
        "/user//add",
        "/User/add"
    )]
    rest: &str,
) {
    let (gateway, _upstream) = uncalled().await;
    let path = format!("/admin/remotepc{rest}");
    let reply = gateway.send(Method::POST, &path, None, good_body("add").into()).await;
    assert_eq!(reply.refusal(), (404, "NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn without_a_key_nothing_is_called() {
    let (_, upstream) = uncalled().await;
    for api_key in [None, Some("")] {
        let gateway = gateway(Setup { api_key, ..Setup::to(upstream.uri()) }).await;
        for operation in OPERATIONS {
            let reply = gateway.post(operation, good_body(operation)).await;
            assert_eq!(reply.refusal(), (503, "REMOTEPC_NOT_CONFIGURED".to_owned()));
            assert_eq!(reply.json()["status"], "SERVICE_UNAVAILABLE");
            assert_eq!(gateway.count(operation, "not_configured").await, 1);
        }
    }
}
