//! Answers of upstream's document, and of later versions of it, are passed on unchanged.

use http::Method;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Gateway, OPERATIONS, Reply, Setup, UPSTREAM_KEY, gateway, good_body, path};

const BASE: &str = "/rpc-api/reseller/private";

async fn upstream(status: u16, body: &str) -> MockServer {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status)
        .insert_header("retry-after", "7")
        .insert_header("set-cookie", "session=1")
        .insert_header("cache-control", "public, max-age=600")
        .set_body_raw(body, "application/json; charset=utf-8");
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

async fn before(upstream: &MockServer) -> Gateway {
    gateway(Setup::to(format!("{}{BASE}", upstream.uri()))).await
}

async fn answered(operation: &str, status: u16, body: &str) -> (Gateway, Reply) {
    let upstream = upstream(status, body).await;
    let gateway = before(&upstream).await;
    let reply = gateway.post(operation, good_body(operation)).await;
    assert_eq!(upstream.received_requests().await.unwrap().len(), 1);
    (gateway, reply)
}

#[rstest::rstest]
#[case("add", "{\n\"status\": \"OK\",\n\"code\": 200,\n\"message\": \"SUCCESS\"\n}")]
#[case("invite", r#"{"status":"OK","code":200,"message":[{"username":"a@example.com","status":"ALREADY_INVITED"},{"username":"b@example.com","status":"EXISTS"},{"username":"c@example.com","status":"INVITED"}]}"#)]
#[case("signin", r#"{"status":"OK","code":200,"message":{"rpc_redirect_link":"https://login.remotepc.com/rpcnew/process/autologin/eyJhbGciOiJIUzUxMiJ9"}}"#)]
#[case("list", r#"{"status":"OK","code":200,"message":{"resellerUsersList":[{"alloted_computers":1,"created_date":"01-13-2023","isActive":true,"utilized_computers":0,"username":"a@example.com"}]}}"#)]
#[case(
    "add",
    r#"{"code":200,"status":"OK","message":"SUCCESS","trace":{"b":1.50,"a":[null]},"errors":null}"#
)]
#[case("list", r#"{"status":"OK","code":200,"message":{"resellerUsersList":"not what the document says"}}"#)]
#[tokio::test]
async fn a_success_passes_byte_for_byte(#[case] operation: &str, #[case] body: &str) {
    let (gateway, reply) = answered(operation, 200, body).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, body.as_bytes()));
    assert_eq!(gateway.count(operation, "ok").await, 1);
}

#[rstest::rstest]
#[case(
    "add",
    400,
    r#"{"status":"BAD_REQUEST","code":400,"errorsCount":1,"errors":[{"description":"EMAIL_EXISTS"}]}"#
)]
#[case(
    "add",
    400,
    r#"{"status":"BAD_REQUEST","code":400,"errorsCount":1,"errors":[{"description":"INVALID_PASSWORD"}]}"#
)]
#[case("signin", 400, r#"{"status":"BAD_REQUEST","code":400,"errorsCount":1,"errors":[{"description":"USERNAME_DOES_NOT_EXIST"}]}"#)]
#[case("signin", 400, r#"{"status":"BAD_REQUEST","code":400,"errorsCount":1,"errors":[{"description":"ACTION_PARENT_ACCOUNT_SUSPENDED"}]}"#)]
#[case(
    "signin",
    400,
    r#"{"status":"BAD_REQUEST","code":400,"errorsCount":1,"errors":[{"description":"IP_ADDRESS_BLOCKED"}]}"#
)]
#[case(
    "signin",
    400,
    r#"{"status":"BAD_REQUEST","code":400,"errorsCount":1,"errors":[{"description":"CANCELLED_ACCOUNT"}]}"#
)]
#[case(
    "invite",
    403,
    r#"{"status":"Forbidden","code":403,"errorsCount":1,"errors":[{"description":"Forbidden "}]}"#
)]
#[case("list", 500, r#"{"status":"INTERNAL_SERVER_ERROR","code":500,"errorsCount":1,"errors":[{"description":"INTERNAL_SERVER_ERROR"}]}"#)]
#[case("add", 429, r#"{"status":"TOO_MANY_REQUESTS","code":429,"message":"slow down","limit":10}"#)]
#[case(
    "add",
    200,
    r#"{"status":"BAD_REQUEST","code":400,"errorsCount":1,"errors":[{"description":"EMAIL_EXISTS"}]}"#
)]
#[case("add", 500, r#"{"status":"OK","code":200,"message":"SUCCESS"}"#)]
#[tokio::test]
async fn an_error_passes_byte_for_byte(#[case] operation: &str, #[case] status: u16, #[case] body: &str) {
    let (gateway, reply) = answered(operation, status, body).await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (status, body.as_bytes()));
    assert_eq!(gateway.count(operation, "upstream_error").await, 1);
    assert_eq!(reply.headers["retry-after"], "7");
    assert!(!reply.headers.contains_key("set-cookie"));
}

#[rstest::rstest]
#[case(
    401,
    r#"{"status":"UNAUTHORIZED","code":401,"errorsCount":1,"errors":[{"description":"NOT_AUTHORIZED"}]}"#
)]
#[case(401, r#"{"status":"UNAUTHORIZED","code":401,"errorsCount":1,"errors":[{"description":"UNAUTHORIZED_ACCESS"}]}"#)]
#[case(401, "<html>no envelope</html>")]
#[case(
    200,
    r#"{"status":"UNAUTHORIZED","code":401,"errorsCount":1,"errors":[{"description":"NOT_AUTHORIZED"}]}"#
)]
#[tokio::test]
async fn a_401_is_about_our_key_and_not_about_the_clients(#[case] status: u16, #[case] body: &str) {
    for operation in OPERATIONS {
        let (gateway, reply) = answered(operation, status, body).await;
        assert_eq!(reply.refusal(), (502, "REMOTEPC_KEY_REJECTED".to_owned()));
        assert_eq!(reply.json()["status"], "BAD_GATEWAY");
        assert_eq!(gateway.count(operation, "key_rejected").await, 1);
    }
}

#[rstest::rstest]
#[case("add", r#"{"firstName": "firstname", "lastName": "lastname",
    "invitedUserEmailId": "user@example.com", "password": "password", "allotedComputers": 1, "sendEmailToUser": true}"#)]
#[case("add", r#"{"nickname":{"b":1.50,"a":12345678901234567890123},"password":"p","invitedUserEmailId":"u@example.com","lastName":"L","firstName":"F"}"#)]
#[case("invite", "[\n{\n\"invitedUserEmailId\": \"user@example.com\",\n\"allotedComputers\": 10\n}\n]")]
#[case("invite", r#"[{"invitedUserEmailId":"u@example.com","team":null},{"invitedUserEmailId":"v@example.com","allotedComputers":null}]"#)]
#[case("signin", "{\n\"username\": \"username\",\n\"password\": \"password\"\n}")]
#[case("signin", r#"{"username":"not an address","password":"\u0070","otp":"123"}"#)]
#[tokio::test]
async fn a_request_goes_on_byte_for_byte_and_with_our_key(
    #[case] operation: &str,
    #[case] body: &'static str,
) {
    let upstream = upstream(200, r#"{"status":"OK","code":200,"message":"SUCCESS"}"#).await;
    let reply = before(&upstream).await.post(operation, body).await;
    assert_eq!(reply.status, 200);
    let requests = upstream.received_requests().await.unwrap();
    let [request] = &requests[..] else { panic!("one request, not {}", requests.len()) };
    assert_eq!(request.body, body.as_bytes());
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", &*format!("{BASE}/user/{operation}")));
    assert_eq!(request.headers["authorization"], format!("Bearer {UPSTREAM_KEY}"));
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(!request.headers.contains_key("accept-encoding"), "nothing would unpack it");
}

#[rstest::rstest]
#[case(Method::POST, "")]
#[case(Method::POST, "{\"ignored\":true}")]
#[case(Method::POST, "not even json")]
#[case(Method::GET, "")]
#[tokio::test]
async fn a_list_is_a_post_without_a_body(#[case] method: Method, #[case] body: &'static str) {
    let upstream = upstream(200, r#"{"status":"OK","code":200,"message":{"resellerUsersList":[]}}"#).await;
    let gateway = before(&upstream).await;
    let reply = gateway.send(method, &path("list"), Some("text/plain"), body.into()).await;
    assert_eq!(reply.json()["message"], json!({"resellerUsersList": []}));
    let requests = upstream.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].method.as_str(), "POST");
    assert_eq!(requests[0].headers["content-length"], "0");
    assert!(requests[0].body.is_empty());
}

#[tokio::test]
async fn a_long_list_passes_whole() {
    let user = json!({"alloted_computers": 1, "created_date": "01-13-2023", "isActive": true,
        "utilized_computers": 0, "username": "somebody@example.com"});
    let users = vec![user; 40_000];
    let body = json!({"status": "OK", "code": 200, "message": {"resellerUsersList": users}}).to_string();
    let (_, reply) = answered("list", 200, &body).await;
    assert_eq!(reply.body.len(), body.len());
}

#[tokio::test]
async fn an_invitation_of_many_gets_its_answer_whole() {
    let address = |n: usize| format!("somebody-{n}@example.com");
    let request: Vec<Value> = (0..5_000).map(|n| json!({"invitedUserEmailId": address(n)})).collect();
    let results: Vec<Value> =
        (0..5_000).map(|n| json!({"username": address(n), "status": "ALREADY_INVITED"})).collect();
    let body = json!({"status": "OK", "code": 200, "message": results}).to_string();
    let upstream = upstream(200, &body).await;
    let reply = before(&upstream).await.post("invite", json!(request).to_string()).await;
    assert_eq!(reply.body, body);
}
