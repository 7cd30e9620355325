//! RemotePC's four operations at our own listener, before upstreams that behave and upstreams that do not.
//!
//! Everything goes over HTTP through [`gateway`]: what stands behind its address is that function's business alone.

mod admin_client;
mod audit;
mod cli;
mod documented;
mod failures;
mod idempotency;
mod leaks;
mod provisioning;
mod refused;
mod secrecy;
mod sessions;
mod upstream;
mod users;
mod wire;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use remgate::remotepc::RemotePcSettings;
use serde_json::{Value, json};

use crate::support::gateway::TestGateway;

/// The key that the gateway has at upstream.
const UPSTREAM_KEY: &str = "key-at-upstream";

/// Settings of an operator under `[remotepc]`.
struct Setup {
    base_url: String,
    api_key: Option<&'static str>,
    timeout: Duration,
    proxy: Option<String>,
    ca_file: Option<PathBuf>,
}

impl Setup {
    fn to(base_url: impl Into<String>) -> Self {
        let timeout = Duration::from_secs(10);
        Self { base_url: base_url.into(), api_key: Some(UPSTREAM_KEY), timeout, proxy: None, ca_file: None }
    }

    /// For an upstream that lets us wait: long enough to get there, short enough for a test.
    fn impatient(base_url: impl Into<String>) -> Self {
        Self { timeout: Duration::from_millis(300), ..Self::to(base_url) }
    }
}

/// A gateway that runs: where it is, a key that may do everything, and its figures.
struct Gateway {
    base_url: String,
    key: String,
    running: TestGateway,
    _folder: tempfile::TempDir,
}

const ADMIN_KEY: &str = "rgk_may-do-everything-here";

/// Starts a gateway in this process and on this thread, so that a test can watch its logs.
async fn gateway(setup: Setup) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let optional =
        |key: &str, value: Option<String>| value.map(|value| format!("remotepc.{key} = {value:?}\n"));
    let keys = [
        Some(format!("remotepc.base_url = {:?}\n", setup.base_url)),
        Some(format!("remotepc.timeout = \"{}ms\"\n", setup.timeout.as_millis())),
        optional("api_key", setup.api_key.map(str::to_owned)),
        optional("proxy", setup.proxy),
        optional("ca_file", setup.ca_file.map(|file| file.display().to_string())),
    ];
    let remotepc: String = keys.into_iter().flatten().collect();
    let database = format!("sqlite://{}", folder.path().join("remgate.db").display());
    let config = format!("internal.admin_key = \"{ADMIN_KEY}\"\n{remotepc}");
    let running = TestGateway::start(&database, &config).await;
    let base_url = running.internal.base().to_owned();
    Gateway { base_url, key: ADMIN_KEY.to_owned(), running, _folder: folder }
}

fn settings(setup: Setup) -> RemotePcSettings {
    install_provider();
    RemotePcSettings {
        max_in_flight: 8,
        base_url: setup.base_url.parse().unwrap(),
        api_key: setup.api_key.map(Into::into),
        timeout: setup.timeout,
        proxy: setup.proxy.map(Into::into),
        ca_file: setup.ca_file,
        resolver: Arc::new(remgate::resolver::SystemResolver::default()),
    }
}

fn install_provider() {
    // Every test may be the first one; the others find it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Runs beside the test and ends with it.
#[expect(clippy::disallowed_methods, reason = "the test's own runtime ends with the test")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

/// Answers of the gateway.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("every answer is JSON")
    }

    /// The status and the one description of an error of ours; everything around them is checked here.
    #[track_caller]
    fn refusal(&self) -> (u16, String) {
        let (status, mut words) = self.refusals();
        assert_eq!(words.len(), 1);
        (status, words.remove(0))
    }

    #[track_caller]
    fn refusals(&self) -> (u16, Vec<String>) {
        let body = self.json();
        let errors = body["errors"].as_array().expect("errors is a list");
        let word = |error: &Value| error["description"].as_str().expect("a description is a text").to_owned();
        assert_eq!(body["code"], json!(self.status.as_u16()));
        assert_eq!(body["errorsCount"], json!(errors.len()));
        assert!(body["status"].is_string());
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(4));
        (self.status.as_u16(), errors.iter().map(word).collect())
    }
}

impl Gateway {
    async fn post(&self, operation: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::POST, &path(operation), Some("application/json"), body.into()).await
    }

    #[expect(clippy::disallowed_methods, reason = "a client of the gateway's, not one of its own")]
    async fn send(&self, method: Method, path: &str, content_type: Option<&str>, body: Bytes) -> Reply {
        install_provider();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client
            .request(method, format!("{}{path}", self.base_url))
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .body(body);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["cache-control"], "no-store");
        Reply { status, headers, body: response.bytes().await.unwrap() }
    }

    /// The figures, as they are told.
    async fn figures(&self) -> String {
        self.running.internal.get("/metrics").await.text().to_owned()
    }

    /// Returns the number of operations with an outcome.
    async fn count(&self, operation: &str, outcome: &str) -> u64 {
        let line =
            format!(r#"remgate_remotepc_requests_total{{operation="{operation}",outcome="{outcome}"}} "#);
        self.figures().await.lines().find_map(|l| l.strip_prefix(&line)).map_or(0, |n| n.parse().unwrap())
    }
}

fn path(operation: &str) -> String {
    format!("/admin/remotepc/user/{operation}")
}

/// A body that the document would call a good one.
fn good_body(operation: &str) -> String {
    match operation {
        "add" => json!({"firstName": "Jane", "lastName": "Doe", "invitedUserEmailId": "jane@example.com",
            "password": "pass-word", "allotedComputers": 1, "sendEmailToUser": true}),
        "invite" => json!([{"invitedUserEmailId": "jane@example.com", "allotedComputers": 10}]),
        "signin" => json!({"username": "jane", "password": "pass-word"}),
        _ => return String::new(),
    }
    .to_string()
}

const OPERATIONS: [&str; 4] = ["add", "invite", "signin", "list"];
