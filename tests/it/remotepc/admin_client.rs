//! A gateway before a simulated upstream, with a client of its RemotePC routes.

use reqwest::Method;
use serde_json::{Value, json};
use wiremock::matchers::path_regex;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::path;
use crate::support::engine::Engine;
use crate::support::gateway::TestGateway;
use crate::support::http::{Answer, Client};

/// Gateway whose internal listener requires no key, with a client of it.
pub(super) struct AdminClient {
    pub(super) running: TestGateway,
    pub(super) client: Client,
}

impl AdminClient {
    /// On this store, with this upstream and more lines of configuration.
    pub(super) async fn before(engine: &Engine, upstream: &str, more: &str) -> Self {
        Self::replica(1, engine, upstream, more).await
    }

    /// One of several.
    pub(super) async fn replica(number: u64, engine: &Engine, upstream: &str, more: &str) -> Self {
        let config =
            format!("remotepc.base_url = {upstream:?}\nremotepc.api_key = \"key-at-upstream\"\n{more}");
        let running = TestGateway::replica(number, engine.url(), &config).await;
        let client = running.internal.clone();
        Self { running, client }
    }

    /// Asks for one of the four operations.
    pub(super) async fn call(&self, operation: &str, body: &Value) -> Answer {
        self.client.post(&path(operation), body).await
    }

    /// The same with an `Idempotency-Key`.
    pub(super) async fn call_with_key(&self, key: &str, operation: &str, body: &Value) -> Answer {
        self.client.clone().header("idempotency-key", key).post(&path(operation), body).await
    }

    /// The body of `GET /v1/audit`.
    pub(super) async fn audit_page(&self, query: &str) -> Value {
        self.client.get(&format!("/v1/audit?{query}")).await.expect(200).json()
    }

    /// Returns action, target and outcome of each audit entry.
    pub(super) async fn audit_lines(&self, query: &str) -> Vec<String> {
        let page = self.audit_page(query).await;
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let line = |item: &Value| [&item["action"], &item["whom"], &item["outcome"]].map(text).join(" ");
        page["data"].as_array().expect("a list").iter().map(line).collect()
    }
}

/// An upstream that answers each operation so.
pub(super) async fn upstream(operation: &str, status: u16, body: Value) -> MockServer {
    let server = MockServer::start().await;
    answer(&server, operation, status, body).await;
    server
}

/// The same for one more operation.
pub(super) async fn answer(server: &MockServer, operation: &str, status: u16, body: Value) {
    let template = ResponseTemplate::new(status).set_body_json(body);
    Mock::given(path_regex(format!("/user/{operation}$"))).respond_with(template).mount(server).await;
}

/// Returns the number of requests that upstream has received.
pub(super) async fn calls(server: &MockServer) -> usize {
    server.received_requests().await.expect("they are recorded").len()
}

pub(super) fn ok(message: &Value) -> Value {
    json!({"status": "OK", "code": 200, "message": message})
}

pub(super) fn bad(word: &str) -> Value {
    json!({"status": "BAD_REQUEST", "code": 400, "errorsCount": 1, "errors": [{"description": word}]})
}

pub(super) fn user(email: &str) -> Value {
    json!({"firstName": "Jane", "lastName": "Doe", "invitedUserEmailId": email, "password": "planted-password"})
}

pub(super) fn invited(emails: &[&str]) -> Value {
    emails.iter().map(|email| json!({"invitedUserEmailId": email, "allotedComputers": 1})).collect()
}

/// A list, as upstream is asked for it.
pub(super) async fn list(admin: &AdminClient) -> Answer {
    admin.client.request(Method::POST, &path("list"), None).await
}
