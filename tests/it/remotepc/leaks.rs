//! Planted passwords and links, looked for in everything that the real binary leaves: its log at its loudest, its
//! database, its figures.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};

use super::admin_client::{invited, user};
use crate::simulator::simulator;
use crate::support::engine::{Engine, both_engines};
use crate::support::http::Client;
use crate::support::process::Launch;
use crate::support::service::{Service, text};

/// A password in the shapes in which it could be found: as it is, in JSON, in base64, in hexadecimal digits.
fn shapes(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    use sha2::Digest;
    let hex = |bytes: &[u8]| {
        let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    };
    let digest = sha2::Sha256::digest(secret);
    let standard = base64::engine::general_purpose::STANDARD;
    vec![
        secret.to_owned(),
        hex(secret.as_bytes()),
        standard.encode(secret),
        hex(&digest),
        standard.encode(digest),
    ]
}

/// Everything in the store, as a dump would show it.
async fn dump(engine: &Engine) -> String {
    let Some(file) = engine.url().strip_prefix("sqlite://") else { return dump_tables(engine.url()).await };
    let beside = ["", "-wal", "-shm"].map(|end| format!("{file}{end}"));
    let there = beside.iter().filter(|file| Path::new(file).exists());
    let bytes: Vec<_> = there.flat_map(|file| std::fs::read(file).unwrap()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn dump_tables(url: &str) -> String {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
    let mut all = String::new();
    for table in sqlx::query(tables).fetch_all(&mut conn).await.unwrap() {
        let name: String = table.get(0);
        let rows = format!("SELECT CAST(t.* AS TEXT) FROM \"{name}\" t");
        for row in sqlx::query(sqlx::AssertSqlSafe(rows)).fetch_all(&mut conn).await.unwrap() {
            all += &row.get::<String, _>(0);
            all.push('\n');
        }
    }
    all
}

async fn sign_in(client: &Client, password: &str) -> (String, String) {
    let body = json!({"username": "jane@example.com", "password": password});
    let told: Value = client.post("/admin/remotepc/user/signin", &body).await.expect(200).json();
    let opened = client.post("/v1/remotepc/sessions", &body).await.expect(201).json();
    let followed = client.get(opened["url"].as_str().unwrap()).await.expect(303);
    let direct = told["message"]["rpc_redirect_link"].as_str().unwrap().to_owned();
    (direct, followed.header("location").to_owned())
}

both_engines! {
    async fn no_password_and_no_link_stays_anywhere(engine: Engine) {
        let (_simulator, config) = simulator(&[]).await;
        let launch = Launch::new(&[]).config(&text(engine.url(), &config)).env("RUST_LOG", "trace");
        let service = Service::of(launch.start().await);
        let client = &service.internal;
        let password = "planted-Pass-w0rd!";
        let post = async |operation: &str, body: &Value, key: &str| {
            let path = format!("/admin/remotepc/user/{operation}");
            client.clone().header("idempotency-key", key).post(&path, body).await
        };
        let mut jane = user("jane@example.com");
        jane["password"] = json!(password);
        jane["passwordAgain"] = json!(password);
        jane["note"] = json!(format!("it is {password}"));
        for key in ["k-1", "k-1", "k-2"] {
            post("add", &jane, key).await;
        }
        for name in ["sim-down", "sim-garbage", "sim-error", "sim-unauthorized"] {
            jane["invitedUserEmailId"] = json!(format!("{name}@example.com"));
            post("add", &jane, name).await;
        }
        jane["invitedUserEmailId"] = json!(password);
        post("add", &jane, "k-3").await.expect(400);
        post("invite", &invited(&[password, "a@example.com"]), "k-4").await.expect(400);
        let (direct, followed) = sign_in(client, password).await;
        let wrong = json!({"username": "jane@example.com", "password": format!("{password}-wrong")});
        client.post("/admin/remotepc/user/signin", &wrong).await.expect(400);
        client.post("/v1/remotepc/sessions", &wrong).await.expect(422);
        client.post("/v1/remotepc/sessions", &json!({"username": "jane@example.com", "password": [password]})).await.expect(422);

        let (log, figures) = (service.process.log(), client.get("/metrics").await.text().to_owned());
        let audit = client.get("/v1/audit?limit=1000").await.expect(200).text().to_owned();
        let store = dump(&engine).await;
        assert!(log.contains("DEBUG") && log.contains("answered a request to RemotePC"), "{log}");
        assert!(figures.contains("remgate_remotepc_requests_total") && audit.contains("remotepc.session.use"));
        assert!(store.contains("jane@example.com") && store.contains("remotepc:open"), "the store was read");
        let token = |link: &str| link.rsplit('/').next().unwrap().to_owned();
        for secret in [password.to_owned(), token(&direct), token(&followed)] {
            for shape in shapes(&secret) {
                for (place, text) in [("log", &log), ("figures", &figures), ("audit", &audit), ("store", &store)] {
                    let line = text.lines().find(|line| line.contains(&shape));
                    assert!(line.is_none(), "{shape} in the {place}: {line:?}");
                }
            }
        }
    }
}
