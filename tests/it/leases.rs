//! Leases that expire before their result is stored, and times that were stored by a clock that ran ahead.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};
use tokio_util::sync::CancellationToken;

use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::TestGateway;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{delivery, endpoint, uaid};
use crate::support::within;

const THREE_DAYS: Duration = Duration::from_hours(72);

/// Returns the lease token of the only delivery.
async fn lease(engine: &Engine) -> Option<String> {
    let query = "SELECT lease_token FROM deliveries";
    if engine.name() == "sqlite" {
        let mut connection = SqliteConnection::connect(engine.url()).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
    } else {
        let mut connection = PgConnection::connect(engine.url()).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
    }
}

async fn store(gateway: &TestGateway, number: u64) {
    gateway.public.get(&format!("/remauth_callback?authenticated={}", uaid(number))).await.expect(200);
}

/// Waits until the only delivery fits.
async fn delivery_that(gateway: &TestGateway, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    within(what, async {
        loop {
            let page = gateway.internal.get("/v1/deliveries").await.expect(200).json();
            if fits(&page["data"][0]) {
                return page["data"][0].clone();
            }
        }
    })
    .await
}

/// Returns whether a time of a document is within a minute and a half of the gateway's clock, or past.
fn is_near(gateway: &TestGateway, time: &Value) -> bool {
    use remgate::domain::Clock;
    let soon = gateway.clock.now().checked_add(Duration::from_secs(90)).unwrap();
    time.as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().unwrap() < soon)
}

fn one_endpoint(receiver: &Receiver) -> String {
    delivery("schedule = [\"1m\"]") + &endpoint("crm", &receiver.url("/"), "")
}

/// A receiver that accepts requests as soon as the token is cancelled.
async fn held_receiver() -> (Receiver, CancellationToken) {
    let gate = CancellationToken::new();
    let held = gate.clone();
    (Receiver::answering(move |_| Answer::status(200).after(&held)).await, gate)
}

/// Runs a gateway until the first attempt has failed. Returns the receiver, which accepts the next one.
async fn after_a_failure(engine: &Engine) -> Receiver {
    let mut receiver = Receiver::answering_in_turn(&[500, 200]).await;
    let gateway = TestGateway::start(engine.url(), &one_endpoint(&receiver)).await;
    store(&gateway, 1).await;
    receiver.next().await;
    delivery_that(&gateway, "the failure to be stored", |item| item["attempt_count"] == 1).await;
    receiver
}

both_engines! {
    async fn a_delivery_whose_result_waits_is_not_sent_again(engine: Engine) {
        let (mut receiver, gate) = held_receiver().await;
        let gateway = TestGateway::start(engine.url(), &one_endpoint(&receiver)).await;
        store(&gateway, 1).await;
        receiver.next().await;
        let first = lease(&engine).await;
        gateway.clock.advance(Duration::from_mins(5));
        within("the delivery to be leased again", async { while lease(&engine).await == first {} }).await;
        gate.cancel();
        let settled = delivery_that(&gateway, "the delivery to succeed", |item| item["state"] == "succeeded").await;
        assert_eq!(settled["attempt_count"], 1);
        receiver.expect_none();
    }

    async fn a_retry_does_not_wait_for_a_clock_that_was_put_back(engine: Engine) {
        let mut receiver = Receiver::answering_in_turn(&[500, 200]).await;
        let gateway = TestGateway::start(engine.url(), &one_endpoint(&receiver)).await;
        gateway.clock.advance(THREE_DAYS);
        store(&gateway, 1).await;
        receiver.next().await;
        delivery_that(&gateway, "the failure to be stored", |item| item["attempt_count"] == 1).await;
        gateway.clock.put_back(THREE_DAYS);
        delivery_that(&gateway, "the retry to be due soon", |item| is_near(&gateway, &item["next_attempt_at"])).await;
        gateway.clock.advance(Duration::from_mins(2));
        receiver.next().await;
    }

    async fn a_start_corrects_what_a_clock_that_was_ahead_has_stored(engine: Engine) {
        let mut receiver = after_a_failure(&engine).await;
        engine.run("UPDATE attempts SET at = at + 259200000").await;
        engine.run("UPDATE deliveries SET due_at = due_at + 259200000").await;
        let gateway = TestGateway::start(engine.url(), &one_endpoint(&receiver)).await;
        delivery_that(&gateway, "the retry to be due soon", |item| is_near(&gateway, &item["next_attempt_at"])).await;
        gateway.clock.advance(Duration::from_mins(2));
        receiver.next().await;
    }

    async fn a_lease_of_a_lost_replica_ends_after_a_clock_was_put_back(engine: Engine) {
        let mut receiver = after_a_failure(&engine).await;
        engine.run("UPDATE attempts SET at = at + 259200000").await;
        engine
            .run(
                "UPDATE deliveries SET due_at = due_at + 259200000, \
                 lease_token = 'lease_019aad3c000070008000000000000000'",
            )
            .await;
        let gateway = TestGateway::start(engine.url(), &one_endpoint(&receiver)).await;
        within("the lease to end", async {
            while receiver.arrived().is_empty() {
                gateway.clock.advance(Duration::from_secs(1));
                gateway.internal.get("/livez").await;
            }
        })
        .await;
    }

    async fn an_expectation_keeps_its_length_when_the_clock_is_put_back(gateway: TestGateway) {
        gateway.clock.advance(THREE_DAYS);
        let path = format!("/v1/authentications/{}", uaid(1));
        let body = json!({"expires_in": 60});
        gateway.internal.request(Method::PUT, &path, Some(&body)).await.expect(201);
        gateway.clock.put_back(THREE_DAYS);
        within("the expectation to be corrected", async {
            loop {
                let shown = gateway.internal.get(&path).await.expect(200).json();
                if is_near(&gateway, &shown["expires_at"]) {
                    return;
                }
            }
        })
        .await;
        gateway.clock.advance(Duration::from_mins(2));
        within("the expectation to expire", async {
            while gateway.internal.get(&path).await.expect(200).json()["status"] != "expired" {}
        })
        .await;
    }
}
