//! States of endpoints: enabling, disabling, testing, rotating, removing, and endpoints of the configuration.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::endpoints::{ALL, at, make};
use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::TestGateway;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{SECRET, Service, delivery, endpoint, uaid};
use crate::support::within;

/// Returns the number of closed deliveries with a state, as the database has it.
async fn closed(engine: &Engine, state: &str) -> i64 {
    let text = "SELECT COUNT(*) FROM deliveries WHERE state = $1 AND settled_at IS NOT NULL AND due_at IS NULL \
        AND lease_token IS NULL";
    if engine.name() == "sqlite" {
        let mut conn = SqliteConnection::connect(engine.url()).await.unwrap();
        sqlx::query_scalar(text).bind(state.to_owned()).fetch_one(&mut conn).await.unwrap()
    } else {
        let mut conn = PgConnection::connect(engine.url()).await.unwrap();
        sqlx::query_scalar(text).bind(state.to_owned()).fetch_one(&mut conn).await.unwrap()
    }
}

/// Writes deliveries down that are due: so many, for an endpoint.
async fn owe(engine: &Engine, endpoint: &str, count: i64) {
    let text = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2) \
        INSERT INTO deliveries (event_seq, endpoint_id, created_at, due_at) SELECT 1, CAST($1 AS TEXT), 1, 1 FROM n";
    if engine.name() == "sqlite" {
        let mut conn = SqliteConnection::connect(engine.url()).await.unwrap();
        sqlx::query(text).bind(endpoint.to_owned()).bind(count).execute(&mut conn).await.unwrap();
    } else {
        let mut conn = PgConnection::connect(engine.url()).await.unwrap();
        sqlx::query(text).bind(endpoint.to_owned()).bind(count).execute(&mut conn).await.unwrap();
    }
}

async fn callback(gateway: &TestGateway, number: u64) {
    gateway.public.get(&format!("/remauth_callback?authenticated={}", uaid(number))).await.expect(200);
}

both_engines! {
    async fn a_disabled_endpoint_gets_nothing_until_it_is_enabled(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let made = make(&gateway.internal, &json!({"url": receiver.url("/")})).await;
        let post = async |what: &str, body: Value| {
            gateway.internal.post(&format!("{}/{what}", at(&made)), &body).await
        };
        callback(&gateway, 1).await;
        receiver.next().await;
        gateway.until_figure("remgate_attempts_total{outcome=\"status_5xx\"} 1").await;
        let disabled = post("disable", json!({"reason": "they are moving"})).await.expect(200).json();
        assert_eq!((&disabled["enabled"], &disabled["disabled_reason"]), (&json!(false), &json!("they are moving")));
        let again = post("disable", json!({})).await.expect(200).json();
        assert_eq!(again["disabled_reason"], "they are moving");
        for bad in [json!({"reason": ""}), json!({"reason": "two\nlines"}), json!({"why": "x"})] {
            post("disable", bad).await.expect(422);
        }
        // What is owed waits, and nothing is made for what comes meanwhile.
        callback(&gateway, 2).await;
        gateway.clock.advance(Duration::from_mins(1));
        gateway.until_figure("remgate_deliveries_pending 1").await;
        receiver.expect_none();
        receiver.answer(|_| Answer::status(200));
        let enabled = post("enable", json!({})).await.expect(200).json();
        assert_eq!((&enabled["enabled"], &enabled["disabled_reason"]), (&json!(true), &json!(null)));
        assert_eq!(receiver.next().await.json()["data"]["uaid"], uaid(1));
        gateway.until_figure("remgate_deliveries_pending 0").await;
        post("enable", json!({})).await.expect(200);
        receiver.expect_none();
    }

    async fn removing_cancels_what_is_open(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let made = make(&gateway.internal, &json!({"url": receiver.url("/"), "name": "crm"})).await;
        let mut other = Receiver::answering(|_| Answer::status(500)).await;
        make(&gateway.internal, &json!({"url": other.url("/")})).await;
        for n in 0..3 {
            callback(&gateway, n).await;
            receiver.next().await;
            other.next().await;
        }
        gateway.until_figure("remgate_attempts_total{outcome=\"status_5xx\"} 6").await;
        gateway.until_figure("remgate_deliveries_pending 6").await;
        assert!(gateway.internal.delete(&at(&made)).await.expect(204).body.is_empty());
        assert_eq!(closed(&engine, "cancelled").await, 3);
        gateway.until_figure("remgate_deliveries_pending 3").await;
        for (method, what) in [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/test"), (Method::POST, "/enable")] {
            gateway.internal.request(method, &format!("{}{what}", at(&made)), None).await.expect(404);
        }
        gateway.clock.advance(Duration::from_mins(1));
        other.next().await;
        receiver.expect_none();
        make(&gateway.internal, &json!({"url": receiver.url("/"), "name": "crm"})).await;
    }

    async fn removing_cancels_however_much_is_open(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let made = make(&gateway.internal, &json!({"url": "http://127.0.0.1:9/"})).await;
        gateway.internal.post(&format!("{}/disable", at(&made)), &json!({})).await.expect(200);
        owe(&engine, made["id"].as_str().unwrap(), 12_000).await;
        gateway.internal.delete(&at(&made)).await.expect(204);
        assert_eq!(closed(&engine, "cancelled").await, 12_000);
        gateway.internal.get(&at(&made)).await.expect(404);
    }

    async fn an_attempt_under_way_does_not_bring_a_removed_one_back(engine: Engine) {
        let gate = tokio_util::sync::CancellationToken::new();
        let (answer, waits) = (Answer::status(500), gate.clone());
        let mut receiver = Receiver::answering(move |_| answer.clone().after(&waits)).await;
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let made = make(&gateway.internal, &json!({"url": receiver.url("/")})).await;
        callback(&gateway, 1).await;
        receiver.next().await;
        gateway.internal.delete(&at(&made)).await.expect(204);
        gate.cancel();
        gateway.until_figure("remgate_attempts_total{outcome=\"status_5xx\"} 1").await;
        gateway.until_figure("remgate_deliveries_pending 0").await;
        assert_eq!(closed(&engine, "cancelled").await, 1);
    }

    async fn a_test_is_sent_at_once_and_stored_nowhere(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let gateway = TestGateway::start(engine.url(), &delivery("timeout = \"300ms\"\nconnect_timeout = \"300ms\"")).await;
        let body = json!({"url": receiver.url("/hook"), "name": "crm", "secret": SECRET});
        let made = make(&gateway.internal, &body).await;
        let test = async || gateway.internal.post(&format!("{}/test", at(&made)), &json!({})).await.expect(200).json();
        gateway.internal.post(&format!("{}/disable", at(&made)), &json!({})).await.expect(200);
        let told = test().await;
        assert_eq!((&told["status"], &told["error"]), (&json!(200), &json!(null)));
        assert!(told["elapsed_ms"].is_u64() && told.as_object().unwrap().len() == 3, "{told}");
        let got = receiver.next().await;
        let sent = got.json();
        assert_eq!((&sent["type"], &sent["data"]["type"]), (&json!("remgate.test"), &json!("remgate.test")));
        assert_eq!((&sent["data"]["trust"], &sent["data"]["uaid"]), (&json!("self"), &json!(null)));
        assert_eq!(sent["data"]["detail"], json!({"endpoint": made["id"], "name": "crm"}));
        // The library goes by the machine's clock, and the test's stands still; so it is asked without the time.
        let signature = standardwebhooks::Webhook::new(SECRET).unwrap().sign(
            got.header("webhook-id"), got.header("webhook-timestamp").parse().unwrap(), &got.body,
        );
        assert_eq!(got.header("webhook-signature"), signature.unwrap());
        receiver.answer(|_| Answer::status(500));
        assert_eq!(test().await["status"], 500);
        receiver.answer(|_| Answer::hang());
        let told = test().await;
        assert!(told["status"].is_null() && told["error"].as_str().unwrap().starts_with("timeout"), "{told}");
        drop(receiver);
        assert!(test().await["error"].as_str().unwrap().starts_with("connect"));
        assert_eq!(gateway.internal.get("/v1/events").await.json()["data"], json!([]));
        let shown = gateway.internal.get(&at(&made)).await.json();
        assert_eq!((&shown["health"]["state"], &shown["enabled"]), (&json!("good"), &json!(false)));
    }

    async fn a_test_says_what_it_cannot_do(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let made = make(&gateway.internal, &json!({"url": "http://127.0.0.1:9/", "format": "remauth"})).await;
        let problem = gateway.internal.post(&format!("{}/test", at(&made)), &json!({})).await.expect(422);
        assert!(problem.json()["detail"].as_str().unwrap().contains("remgate trigger"));
    }

    async fn a_rotated_secret_signs_from_then_on(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let service = Service::start(&engine, &delivery("")).await;
        let made = make(&service.internal, &json!({"url": receiver.url("/")})).await;
        let rotate = format!("{}/secret/rotate", at(&made));
        let told = service.internal.post(&rotate, &json!({})).await.expect(200).json();
        assert_eq!(told.as_object().unwrap().len(), 1);
        assert_ne!(told["secret"], made["secret"]);
        service.store(&uaid(1)).await;
        receiver.next().await.verify(told["secret"].as_str().unwrap()).unwrap();
    }

    async fn a_chosen_secret_replaces_the_old_one(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let service = Service::start(&engine, &delivery("")).await;
        let made = make(&service.internal, &json!({"url": receiver.url("/")})).await;
        let rotate = format!("{}/secret/rotate", at(&made));
        let chosen = service.internal.post(&rotate, &json!({"secret": SECRET})).await.expect(200).json();
        assert_eq!(chosen, json!({"secret": SECRET}));
        service.internal.post(&rotate, &json!({"secret": "whsec_weak"})).await.expect(422);
        service.internal.post(&format!("{}/test", at(&made)), &json!({})).await.expect(200);
        receiver.next().await.verify(SECRET).unwrap();
    }

    async fn what_is_declared_is_changed_in_the_configuration(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let declared = delivery("") + &endpoint("crm", &receiver.url("/"), "headers = { x-key = \"planted\" }\nmax_in_flight = 3");
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start_in(folder.path(), &engine, &declared).await;
        let crm = service.internal.get(ALL).await.json()["data"][0].clone();
        assert_eq!((&crm["declared"], &crm["headers"], &crm["max_in_flight"]), (&json!(true), &json!({"x-key": "***"}), &json!(3)));
        let edits = [
            (Method::PATCH, ""), (Method::DELETE, ""), (Method::POST, "/enable"), (Method::POST, "/disable"),
            (Method::POST, "/secret/rotate"),
        ];
        for (method, what) in edits.clone() {
            let problem = service.internal.request(method, &format!("{}{what}", at(&crm)), Some(&json!({}))).await.expect(409);
            assert!(problem.json()["detail"].as_str().unwrap().contains("remgate.toml"), "{problem:?}");
        }
        assert_eq!(service.internal.get(&at(&crm)).await.json(), crm);
        service.internal.post(&format!("{}/test", at(&crm)), &json!({})).await.expect(200);
        receiver.next().await.verify(SECRET).unwrap();
        service.internal.post(ALL, &json!({"url": receiver.url("/"), "name": "crm"})).await.expect(409);
        drop(service);
        // No longer declared it can be removed, and nothing else.
        let service = Service::start_in(folder.path(), &engine, &delivery("")).await;
        let gone = service.internal.get(&at(&crm)).await.json();
        assert_eq!((&gone["declared"], &gone["enabled"]), (&json!(false), &json!(false)));
        for (method, what) in edits.iter().filter(|(method, _)| *method != Method::DELETE) {
            let problem = service.internal.request(method.clone(), &format!("{}{what}", at(&crm)), Some(&json!({}))).await;
            assert!(problem.expect(409).json()["detail"].as_str().unwrap().contains("not any more"));
        }
        service.internal.delete(&at(&crm)).await.expect(204);
        drop(service);
        let service = Service::start_in(folder.path(), &engine, &declared).await;
        let back = service.internal.get(ALL).await.json()["data"][0].clone();
        assert_eq!((&back["name"], &back["enabled"]), (&json!("crm"), &json!(true)));
    }

    async fn what_was_disabled_and_then_declared_can_be_enabled(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start_in(folder.path(), &engine, &delivery("")).await;
        let made = make(&service.internal, &json!({"url": "http://127.0.0.1:9/", "name": "crm"})).await;
        service.internal.post(&format!("{}/disable", at(&made)), &json!({})).await.expect(200);
        drop(service);
        let declared = delivery("") + &endpoint("crm", "http://127.0.0.1:9/", "");
        let service = Service::start_in(folder.path(), &engine, &declared).await;
        let shown = service.internal.get(&at(&made)).await.json();
        assert_eq!((&shown["declared"], &shown["enabled"]), (&json!(true), &json!(false)));
        let enabled = service.internal.post(&format!("{}/enable", at(&made)), &json!({})).await.expect(200).json();
        assert_eq!(enabled["enabled"], true);
    }

    async fn what_an_endpoint_left_behind_is_cancelled_at_the_next_start(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        drop(Service::start_in(folder.path(), &engine, "").await);
        owe(&engine, "ep_gone", 1).await;
        let service = Service::start_in(folder.path(), &engine, "").await;
        assert_eq!(closed(&engine, "cancelled").await, 1);
        service.until_metric("remgate_deliveries_pending", 0).await;
    }
}

/// An append that began when the endpoint was there, and commits when it is gone.
#[tokio::test]
async fn what_comes_too_late_for_a_removed_endpoint_is_cancelled() {
    let engine = Engine::postgres().await;
    let gateway = TestGateway::start(engine.url(), &delivery("")).await;
    let made = make(&gateway.internal, &json!({"url": "http://127.0.0.1:9/"})).await;
    let mut conn = PgConnection::connect(engine.url()).await.unwrap();
    // The lock that appends take turns by.
    sqlx::query("SELECT pg_advisory_lock(8241996507418201)").execute(&mut conn).await.unwrap();
    let waiting = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let begun = tokio_util::sync::CancellationToken::new();
    let release = async {
        for waiters in 1..=2 {
            within(&format!("{waiters} to wait"), async {
                while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut conn).await.unwrap() < waiters {}
            })
            .await;
            if waiters == 1 {
                begun.cancel();
            }
        }
        sqlx::query("SELECT pg_advisory_unlock(8241996507418201)").execute(&mut conn).await.unwrap();
    };
    let remove = async {
        begun.cancelled().await;
        gateway.internal.delete(&at(&made)).await.expect(204);
    };
    tokio::join!(callback(&gateway, 1), remove, release);
    gateway.until_figure("remgate_deliveries_pending 0").await;
    assert_eq!(closed(&engine, "cancelled").await, 1);
}
