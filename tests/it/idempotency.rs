//! `Idempotency-Key`: what is sent again is not done again.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tokio_util::sync::CancellationToken;

use crate::endpoints::{ALL, at, make};
use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::{Replicas, TestGateway};
use crate::support::http::Client;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::delivery;

/// A client whose requests have this key.
fn keyed(client: &Client, key: &str) -> Client {
    client.clone().header("idempotency-key", key)
}

async fn count(client: &Client) -> usize {
    client.get(ALL).await.json()["data"].as_array().expect("a list").len()
}

fn plain() -> Value {
    json!({"url": "http://127.0.0.1:9/"})
}

both_engines! {
    async fn the_same_request_gets_the_same_answer(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let client = keyed(&gateway.internal, "k-1");
        let first = client.post(ALL, &plain()).await.expect(201);
        assert!(first.headers.get("idempotent-replayed").is_none());
        let again = client.post(ALL, &plain()).await.expect(201);
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(again.header("content-type"), "application/json");
        assert_eq!(again.json(), first.json(), "the secret too: the first answer may have been lost");
        assert_eq!(count(&gateway.internal).await, 1);
    }

    async fn a_refusal_is_an_answer_and_other_keys_are_other_requests(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let refused = keyed(&gateway.internal, "k-2").post(ALL, &json!({"url": "x"})).await.expect(422);
        let again = keyed(&gateway.internal, "k-2").post(ALL, &json!({"url": "x"})).await.expect(422);
        assert_eq!((again.header("idempotent-replayed"), again.header("content-type")), ("true", "application/problem+json"));
        assert_eq!(again.json(), refused.json());
        // Another key, or none, is another request.
        keyed(&gateway.internal, "k-3").post(ALL, &plain()).await.expect(201);
        gateway.internal.post(ALL, &plain()).await.expect(201);
        assert_eq!(count(&gateway.internal).await, 2);
    }

    async fn a_key_belongs_to_one_request(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let client = keyed(&gateway.internal, "k");
        let made = client.post(ALL, &plain()).await.expect(201).json();
        let other = client.post(ALL, &json!({"url": "http://127.0.0.1:10/"})).await.expect(422);
        assert!(other.json()["detail"].as_str().unwrap().contains("Idempotency-Key"));
        client.post(&format!("{}/disable", at(&made)), &plain()).await.expect(422);
        // Only POST goes by it.
        client.request(Method::PATCH, &at(&made), Some(&json!({"name": "a"}))).await.expect(200);
        client.get(&at(&made)).await.expect(200);
        assert_eq!(count(&gateway.internal).await, 1);
    }

    async fn a_malformed_key_or_a_long_body_creates_nothing(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        for bad in ["two words", &"x".repeat(256)] {
            keyed(&gateway.internal, bad).post(ALL, &plain()).await.expect(400);
        }
        keyed(&keyed(&gateway.internal, "a"), "b").post(ALL, &plain()).await.expect(400);
        let long = json!({"url": "http://127.0.0.1:9/", "name": "x".repeat(1024 * 1024)});
        keyed(&gateway.internal, "long").post(ALL, &long).await.expect(413);
        assert_eq!(count(&gateway.internal).await, 0);
    }

    async fn a_key_is_forgotten_after_a_day(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let client = keyed(&gateway.internal, "k");
        let first = client.post(ALL, &plain()).await.expect(201).json();
        gateway.clock.advance(Duration::from_hours(24) - Duration::from_millis(1));
        assert_eq!(client.post(ALL, &plain()).await.expect(201).json(), first);
        gateway.clock.advance(Duration::from_millis(1));
        // Rows that are too old go when another begins, not only when they are asked for.
        keyed(&gateway.internal, "other").post(ALL, &plain()).await.expect(201);
        assert_eq!(rows(&engine).await, 1);
        assert_ne!(client.post(ALL, &plain()).await.expect(201).json(), first);
        assert_eq!(rows(&engine).await, 2);
    }

    async fn a_twin_is_told_to_come_back(engine: Engine) {
        let gate = CancellationToken::new();
        let (answer, waits) = (Answer::status(200), gate.clone());
        let mut receiver = Receiver::answering(move |_| answer.clone().after(&waits)).await;
        let replicas = Replicas::start(&engine, &delivery("")).await;
        let path = format!("{}/test", at(&make(replicas.clients()[0], &json!({"url": receiver.url("/")})).await));
        let [one, twin] = replicas.clients().map(|client| keyed(client, "k"));
        let nothing = json!({});
        let second = async {
            receiver.next().await;
            let problem = twin.post(&path, &nothing).await.expect(409);
            assert_eq!(problem.json()["type"], "urn:remgate:problem:conflict");
            gate.cancel();
        };
        let (first, ()) = tokio::join!(one.post(&path, &nothing), second);
        let first = first.expect(200).json();
        assert_eq!(twin.post(&path, &nothing).await.expect(200).json(), first);
        receiver.expect_none();
    }

    async fn of_many_twins_one_is_done(engine: Engine) {
        let replicas = Replicas::start(&engine, &delivery("")).await;
        let clients = replicas.clients();
        let body = plain();
        for round in 0..5 {
            let key = format!("k-{round}");
            let twins: Vec<_> = (0..8).map(|n| keyed(clients[n % 2], &key)).collect();
            let answers = join_all(twins.iter().map(|twin| twin.post(ALL, &body))).await;
            assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)), "{answers:?}");
            assert!(answers.iter().any(|answer| answer.status == 201));
        }
        assert_eq!(count(clients[0]).await, 5);
    }

    async fn what_a_dead_process_began_can_be_begun_again(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let client = keyed(&gateway.internal, "k");
        client.post(ALL, &plain()).await.expect(201);
        run(&engine, "UPDATE idempotency SET status = NULL, body = NULL").await;
        client.post(ALL, &plain()).await.expect(409);
        gateway.clock.advance(Duration::from_millis(59_999));
        client.post(ALL, &plain()).await.expect(409);
        gateway.clock.advance(Duration::from_millis(1));
        client.post(ALL, &json!({"url": "http://127.0.0.1:10/"})).await.expect(422);
        let answer = client.post(ALL, &plain()).await.expect(201);
        assert!(answer.headers.get("idempotent-replayed").is_none());
        assert_eq!(client.post(ALL, &plain()).await.expect(201).json(), answer.json());
    }

    async fn a_fault_of_ours_is_not_kept(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let client = keyed(&gateway.internal, "k");
        run(&engine, "ALTER TABLE endpoints RENAME TO away").await;
        client.post(ALL, &plain()).await.expect(503);
        run(&engine, "ALTER TABLE away RENAME TO endpoints").await;
        client.post(ALL, &plain()).await.expect(201);
    }
}

async fn run(engine: &Engine, statement: &'static str) {
    if engine.name() == "sqlite" {
        let mut conn = SqliteConnection::connect(engine.url()).await.unwrap();
        conn.execute(statement).await.unwrap();
    } else {
        let mut conn = PgConnection::connect(engine.url()).await.unwrap();
        conn.execute(statement).await.unwrap();
    }
}

async fn rows(engine: &Engine) -> i64 {
    let query = "SELECT COUNT(*) FROM idempotency";
    if engine.name() == "sqlite" {
        let mut conn = SqliteConnection::connect(engine.url()).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut conn).await.unwrap()
    } else {
        let mut conn = PgConnection::connect(engine.url()).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut conn).await.unwrap()
    }
}

/// A client that disconnects and repeats its request gets the answer to the first.
#[tokio::test]
async fn the_work_goes_on_when_the_caller_hangs_up() {
    let engine = Engine::sqlite();
    let gate = CancellationToken::new();
    let (answer, waits) = (Answer::status(200), gate.clone());
    let mut receiver = Receiver::answering(move |_| answer.clone().after(&waits)).await;
    let gateway = TestGateway::start(engine.url(), &delivery("")).await;
    let made = make(&gateway.internal, &json!({"url": receiver.url("/")})).await;
    let path = format!("{}/test", at(&made));
    let (client, nothing) = (keyed(&gateway.internal, "k"), json!({}));
    tokio::select! {
        _ = client.post(&path, &nothing) => panic!("the receiver holds its answer back"),
        _ = receiver.next() => {}
    }
    client.post(&path, &nothing).await.expect(409);
    gate.cancel();
    let answer = crate::support::within("the answer to be kept", async {
        loop {
            let answer = client.post(&path, &nothing).await;
            if answer.status == 200 {
                return answer;
            }
        }
    });
    assert_eq!(answer.await.header("idempotent-replayed"), "true");
    receiver.expect_none();
}
