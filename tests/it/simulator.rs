//! Every request, answer and error of RemotePC's document, through our own listener to the simulated account.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::engine::{Engine, both_engines};
use crate::support::http::Client;
use crate::support::process::{Launch, Process};
use crate::support::service::Service;

const KEY: &str = "simulated-reseller-key";

/// A simulated account, and a service that has a key to it.
struct Simulation {
    service: Service,
    simulator: Process,
}

/// A simulated account, and the configuration that leads to it.
pub(crate) async fn simulator(args: &[&str]) -> (Process, String) {
    let all = [&["simulate", "remotepc", "--listen", "127.0.0.1:0"], args].concat();
    let simulator = Launch::new(&all).spawn();
    let base = simulator.line(|line| line.starts_with("http://127.0.0.1:")).await;
    let config = format!("[remotepc]\nbase_url = \"{base}\"\napi_key = \"{KEY}\"\ntimeout = \"2s\"\n");
    (simulator, config)
}

impl Simulation {
    async fn open(engine: &Engine, args: &[&str]) -> Self {
        let (simulator, config) = simulator(args).await;
        Self { service: Service::start(engine, &config).await, simulator }
    }

    async fn ask(&self, operation: &str, body: &Value) -> (u16, Value) {
        let path = format!("/admin/remotepc/user/{operation}");
        let answer = self.service.internal.post(&path, body).await;
        (answer.status, answer.json())
    }
}

fn ok(message: &Value) -> (u16, Value) {
    (200, json!({"status": "OK", "code": 200, "message": message}))
}

fn error(code: u16, status: &str, words: &[&str]) -> (u16, Value) {
    let errors: Vec<_> = words.iter().map(|word| json!({"description": word})).collect();
    (code, json!({"status": status, "code": code, "errorsCount": words.len(), "errors": errors}))
}

fn bad(words: &[&str]) -> (u16, Value) {
    error(400, "BAD_REQUEST", words)
}

fn server_error() -> (u16, Value) {
    error(500, "INTERNAL_SERVER_ERROR", &["INTERNAL_SERVER_ERROR"])
}

/// Upstream's 401 is about our key, so it is our trouble and not the client's.
fn key_rejected() -> (u16, Value) {
    error(502, "BAD_GATEWAY", &["REMOTEPC_KEY_REJECTED"])
}

fn user(email: &str) -> Value {
    json!({"firstName": "Jane", "lastName": "Doe", "invitedUserEmailId": email, "password": "planted-password"})
}

fn without(name: &str) -> Value {
    let mut user = user("left-out@example.com");
    user.as_object_mut().expect("an object").remove(name);
    user
}

fn additions() -> Vec<(&'static str, Value, (u16, Value))> {
    let whole = json!({"firstName": "firstname", "lastName": "lastname", "invitedUserEmailId": "jane@example.com",
        "password": "planted-password", "allotedComputers": 1, "sendEmailToUser": true});
    let mut short = user("short@example.com");
    short["password"] = json!("12345");
    vec![
        ("add", whole.clone(), ok(&json!("SUCCESS"))),
        ("add", whole, bad(&["EMAIL_EXISTS"])),
        ("add", without("firstName"), bad(&["FIRSTNAME_REQUIRED"])),
        ("add", without("lastName"), bad(&["LASTNAME_REQUIRED"])),
        ("add", without("invitedUserEmailId"), bad(&["EMAILID_REQUIRED"])),
        ("add", without("password"), bad(&["PASSWORD_REQUIRED"])),
        ("add", user("no address"), bad(&["ENTER_VALID_EMAIL"])),
        ("add", short, bad(&["INVALID_PASSWORD"])),
        ("add", user("sim-exists@example.com"), bad(&["EMAIL_EXISTS"])),
        ("add", user("sim-unauthorized@example.com"), key_rejected()),
        ("add", user("sim-error@example.com"), server_error()),
        ("add", user("sim-forbidden@example.com"), error(403, "Forbidden", &["Forbidden "])),
        ("add", user("sim-slow@example.com"), error(504, "GATEWAY_TIMEOUT", &["REMOTEPC_TIMEOUT"])),
        ("add", user("sim-down@example.com"), error(502, "BAD_GATEWAY", &["REMOTEPC_UNREACHABLE"])),
        ("add", user("sim-garbage@example.com"), error(502, "BAD_GATEWAY", &["REMOTEPC_BAD_RESPONSE"])),
        ("add", user("sim-redirect@example.com"), error(502, "BAD_GATEWAY", &["REMOTEPC_BAD_RESPONSE"])),
    ]
}

fn invitations() -> Vec<(&'static str, Value, (u16, Value))> {
    let invited = |email: &str| json!([{"invitedUserEmailId": email, "allotedComputers": 10}]);
    let three = json!([
        {"invitedUserEmailId": "john@example.com", "allotedComputers": 425},
        {"invitedUserEmailId": "jane@example.com"},
        {"invitedUserEmailId": "john@example.com"},
    ]);
    let statuses = json!([
        {"username": "john@example.com", "status": "INVITED"},
        {"username": "jane@example.com", "status": "EXISTS"},
        {"username": "john@example.com", "status": "ALREADY_INVITED"},
    ]);
    vec![
        ("invite", three, ok(&statuses)),
        ("invite", json!([{"allotedComputers": 1}]), bad(&["EMAILID_REQUIRED"])),
        ("invite", invited("no address"), bad(&["ENTER_VALID_EMAIL"])),
        ("invite", json!([]), bad(&["INVALID_REQUEST"])),
        ("invite", invited("sim-unauthorized@example.com"), key_rejected()),
        ("invite", invited("sim-error@example.com"), server_error()),
        ("invite", invited("sim-forbidden@example.com"), error(403, "Forbidden", &["Forbidden "])),
    ]
}

fn sign_ins() -> Vec<(&'static str, Value, (u16, Value))> {
    let by = |name: &str, password: &str| json!({"username": name, "password": password});
    let refused = |local: &str| by(&format!("{local}@example.com"), "planted-password");
    vec![
        ("signin", by("nobody@example.com", "planted-password"), bad(&["USERNAME_DOES_NOT_EXIST"])),
        ("signin", by("john@example.com", "planted-password"), bad(&["USERNAME_DOES_NOT_EXIST"])),
        ("signin", by("jane@example.com", "wrong-password"), bad(&["INVALID_PASSWORD"])),
        ("signin", by("jane", "planted-password"), bad(&["INVALID_EMAIL"])),
        ("signin", json!({"password": "planted-password"}), bad(&["USERNAME_REQUIRED"])),
        ("signin", json!({"username": "jane@example.com"}), bad(&["PASSWORD_REQUIRED"])),
        ("signin", refused("sim-suspended"), bad(&["ACTION_PARENT_ACCOUNT_SUSPENDED"])),
        ("signin", refused("sim-blocked"), bad(&["IP_ADDRESS_BLOCKED"])),
        ("signin", refused("sim-cancelled"), bad(&["CANCELLED_ACCOUNT"])),
        ("signin", refused("sim-emailid"), bad(&["EMAILID_REQUIRED"])),
        ("signin", refused("sim-email"), bad(&["INVALID_EMAIL"])),
        ("signin", refused("sim-unauthorized"), key_rejected()),
        ("signin", refused("sim-error"), server_error()),
        ("signin", refused("sim-forbidden"), error(403, "Forbidden", &["Forbidden "])),
    ]
}

both_engines! {
    async fn the_whole_document(engine: Engine) {
        let simulation = Simulation::open(&engine, &[]).await;
        for (operation, body, expected) in [additions(), invitations(), sign_ins()].concat() {
            assert_eq!(simulation.ask(operation, &body).await, expected, "{operation} {body}");
        }
        let (status, signed_in) = simulation.ask("signin", &json!({"username": "jane@example.com", "password": "planted-password"})).await;
        let link = signed_in["message"]["rpc_redirect_link"].as_str().expect("a link").to_owned();
        assert!(status == 200 && link.contains("/autologin/"), "{signed_in}");
        let (status, listed) = simulation.ask("list", &Value::Null).await;
        let users = listed["message"]["resellerUsersList"].as_array().expect("a list");
        let shown: Vec<_> = users.iter().map(|item| (item["username"].as_str().unwrap(), item["alloted_computers"].as_u64().unwrap(), item["isActive"].as_bool().unwrap())).collect();
        assert_eq!((status, shown), (200, vec![("jane@example.com", 1, true), ("john@example.com", 425, false)]));
        let date = users[0]["created_date"].as_str().expect("a date");
        assert!(date.len() == 10 && date.as_bytes()[2] == b'-' && date.as_bytes()[5] == b'-', "{date}");
        let told = simulation.simulator.log();
        assert!(!told.contains("planted") && !told.contains(link.rsplit('/').next().unwrap()), "{told}");
    }

    async fn a_whole_account_in_trouble(engine: Engine) {
        for (trouble, expected) in [
            ("key-rejected", key_rejected()),
            ("forbidden", error(403, "Forbidden", &["Forbidden "])),
            ("error", server_error()),
            ("down", error(502, "BAD_GATEWAY", &["REMOTEPC_UNREACHABLE"])),
            ("garbage", error(502, "BAD_GATEWAY", &["REMOTEPC_BAD_RESPONSE"])),
            ("redirect", error(502, "BAD_GATEWAY", &["REMOTEPC_BAD_RESPONSE"])),
            ("slow", error(504, "GATEWAY_TIMEOUT", &["REMOTEPC_TIMEOUT"])),
        ] {
            let simulation = Simulation::open(&engine, &["--trouble", trouble]).await;
            assert_eq!(simulation.ask("list", &Value::Null).await, expected, "{trouble}");
        }
    }
}

/// Without remgate in between: what the account itself says, and whom it knows.
#[tokio::test]
async fn the_whole_document_at_the_account_itself() {
    let (_simulator, config) = simulator(&[]).await;
    let base = config.split('"').nth(1).expect("the base comes first").to_owned();
    let ask = async |key: &str, operation: &str, body: &Value| {
        let client = Client::at(&base).bearer(key);
        let answer = client
            .request(Method::POST, &format!("/user/{operation}"), (!body.is_null()).then_some(body))
            .await;
        (answer.status, answer.json())
    };
    // What we say where it says nothing that can be passed on.
    let ours = ["REMOTEPC_TIMEOUT", "REMOTEPC_UNREACHABLE", "REMOTEPC_BAD_RESPONSE"];
    let unauthorized = |word: &str| error(401, "UNAUTHORIZED", &[word]);
    for (operation, body, expected) in [additions(), invitations(), sign_ins()].concat() {
        let word = expected.1["errors"][0]["description"].as_str().unwrap_or_default();
        if ours.contains(&word) {
            continue;
        }
        let expected =
            if word == "REMOTEPC_KEY_REJECTED" { unauthorized("NOT_AUTHORIZED") } else { expected };
        assert_eq!(ask(KEY, operation, &body).await, expected, "{operation} {body}");
    }
    for operation in ["add", "invite", "signin"] {
        assert_eq!(ask("another-key", operation, &json!({})).await, unauthorized("NOT_AUTHORIZED"));
    }
    assert_eq!(ask("another-key", "list", &Value::Null).await, unauthorized("UNAUTHORIZED_ACCESS"));
    let (status, listed) = ask(KEY, "list", &Value::Null).await;
    let users = listed["message"]["resellerUsersList"].as_array().expect("a list");
    let names: Vec<_> = users[0].as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!((status, users.len()), (200, 2));
    assert_eq!(names, ["alloted_computers", "created_date", "isActive", "username", "utilized_computers"]);
}
