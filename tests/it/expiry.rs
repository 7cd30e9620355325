//! Expectations that run out: said once, delivered as anything else, and final: what comes late completes nothing.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use sqlx::{Connection, PgConnection};

use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::TestGateway;
use crate::support::receiver::Receiver;
use crate::support::service::{delivery, endpoint, uaid};
use crate::support::within;

async fn expect(gateway: &TestGateway, number: u64, body: Value) -> u16 {
    let path = format!("/v1/authentications/{}", uaid(number));
    gateway.internal.request(Method::PUT, &path, Some(&body)).await.status
}

async fn look(gateway: &TestGateway, number: u64, query: &str) -> Value {
    gateway.internal.get(&format!("/v1/authentications/{}{query}", uaid(number))).await.expect(200).json()
}

async fn events(gateway: &TestGateway) -> Vec<Value> {
    let page = gateway.internal.get("/v1/events?limit=1000").await.expect(200).json();
    page["data"].as_array().unwrap().clone()
}

const RAN_OUT: &str = "remgate_events_total{type=\"remauth.expired\"}";

both_engines! {
    async fn what_runs_out_is_said_and_stays_so(engine: Engine) {
        let (mut standard, mut remauth) = (Receiver::start().await, Receiver::start().await);
        let config = delivery("") + &endpoint("standard", &standard.url("/"), "")
            + &endpoint("remauth", &remauth.url("/"), "format = \"remauth\"");
        let gateway = TestGateway::start(engine.url(), &config).await;
        assert_eq!(expect(&gateway, 1, json!({"subject": "j", "state": 7, "expires_in": 30})).await, 201);
        // One that comes in time does not run out.
        assert_eq!(expect(&gateway, 2, json!({"expires_in": 30})).await, 201);
        gateway.public.get(&format!("/remauth_callback?authenticated={}", uaid(2))).await.expect(200);
        assert_eq!(standard.next().await.json()["data"]["uaid"], uaid(2));
        remauth.next().await;
        let waiting = async { look(&gateway, 1, "?wait=60").await };
        let (waited, ()) = tokio::join!(waiting, async {
            gateway.until_figure("remgate_waiters 1").await;
            gateway.clock.advance(Duration::from_secs(30));
        });
        assert_eq!((&waited["status"], &waited["event"], &waited["completed_at"]), (&json!("expired"), &json!(null), &json!(null)));
        gateway.until_figure(&format!("{RAN_OUT} 1")).await;
        let said = events(&gateway).await[1].clone();
        assert_eq!((&said["type"], &said["trust"], &said["source_ip"], &said["uaid"], &said["service"]),
            (&json!("remauth.expired"), &json!("self"), &json!(null), &json!(uaid(1)), &json!("default")));
        assert_eq!((&said["expected"], &said["subject"], &said["state"], &said["late"]), (&json!(true), &json!("j"), &json!(7), &json!(null)));
        let told = standard.next().await;
        assert_eq!((told.header("webhook-id"), &told.json()["type"]), (said["id"].as_str().unwrap(), &json!("remauth.expired")));
        gateway.until_figure("remgate_deliveries_pending 0").await;
        remauth.expect_none();

        assert_eq!(expect(&gateway, 1, json!({})).await, 409);
        let claim = format!("/v1/authentications/{}/claim", uaid(1));
        let refused = gateway.internal.post(&claim, &json!({})).await.expect(410).json();
        assert_eq!(refused["type"], "urn:remgate:problem:authentication-expired");
        gateway.public.get(&format!("/remauth_callback?registricated={}", uaid(1))).await.expect(200);
        let late = standard.next().await.json();
        assert_eq!((&late["data"]["late"], &late["data"]["expected"], &late["data"]["subject"]), (&json!(true), &json!(true), &json!("j")));
        // Final: the late callback is stored and told, and completes nothing.
        let still = look(&gateway, 1, "").await;
        assert_eq!((&still["status"], &still["late"], &still["type"], &still["event"]), (&json!("expired"), &json!(true), &json!(null), &json!(null)));
        gateway.internal.post(&claim, &json!({})).await.expect(410);
    }

    async fn replicas_say_it_once(engine: Engine) {
        const MANY: u64 = 450;
        let mut receiver = Receiver::start().await;
        let config = delivery("") + &endpoint("crm", &receiver.url("/"), "types = [\"remauth.expired\"]");
        let gateway = TestGateway::start(engine.url(), &config).await;
        let other = if engine.name() == "postgres" { Some(TestGateway::replica(2, engine.url(), &config).await) } else { None };
        for number in 0..MANY {
            assert_eq!(expect(&gateway, number, json!({"expires_in": 5})).await, 201);
        }
        // Some come at the very moment at which the others run out.
        let clocks = async {
            gateway.clock.advance(Duration::from_secs(5));
            if let Some(other) = &other {
                other.clock.advance(Duration::from_secs(5));
            }
        };
        let callbacks = async {
            for number in 0..50 {
                gateway.public.get(&format!("/remauth_callback?authenticated={}", uaid(number))).await.expect(200);
            }
        };
        tokio::join!(callbacks, clocks);
        let everything_is_over = async {
            loop {
                let mut over = 0;
                for number in 0..MANY {
                    over += u64::from(look(&gateway, number, "").await["status"] != "pending");
                }
                if over == MANY {
                    return;
                }
            }
        };
        crate::support::within("everything to be over", everything_is_over).await;
        let all = events(&gateway).await;
        let ran_out: Vec<_> = all.iter().filter(|event| event["type"] == "remauth.expired").collect();
        assert!(ran_out.iter().all(|event| event["duplicates"] == 0), "each is said once");
        for event in all.iter().filter(|event| event["type"] == "remauth.authenticated") {
            let before = ran_out.iter().any(|other| other["uaid"] == event["uaid"]);
            let earlier = ran_out.iter().find(|other| other["uaid"] == event["uaid"]).is_none_or(|other| {
                other["cursor"].as_str().unwrap().parse::<u64>().unwrap() < event["cursor"].as_str().unwrap().parse::<u64>().unwrap()
            });
            assert!(earlier, "what had come did not run out: {event}");
            assert!(before || event["late"].is_null());
        }
        let mut told = std::collections::BTreeSet::new();
        for _ in 0..ran_out.len() {
            told.insert(receiver.next().await.header("webhook-id").to_owned());
        }
        assert_eq!(told.len(), ran_out.len());
        receiver.expect_none();
    }

    async fn what_ran_out_while_nobody_was_there_is_said_at_the_start(engine: Engine) {
        let first = TestGateway::start(engine.url(), "").await;
        assert_eq!(expect(&first, 1, json!({"expires_in": 1})).await, 201);
        drop(first);
        let second = TestGateway::replica(2, engine.url(), "").await;
        second.clock.advance(Duration::from_secs(1));
        second.until_figure(&format!("{RAN_OUT} 1")).await;
        assert_eq!(look(&second, 1, "").await["status"], "expired");
    }
}

/// On SQLite there is one writer, and nothing waits at a lock of the appends.
#[tokio::test]
async fn a_callback_that_waits_while_its_expectation_runs_out_is_late() {
    let engine = Engine::postgres().await;
    let gateway = TestGateway::start(engine.url(), "").await;
    assert_eq!(expect(&gateway, 1, json!({"expires_in": 60})).await, 201);
    let mut holder = PgConnection::connect(engine.url()).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(8241996507418201)").execute(&mut holder).await.unwrap();
    let waiting = async |count: i64, holder: &mut PgConnection| {
        let query = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        within("the lock to be waited for", async {
            while sqlx::query_scalar::<_, i64>(query).fetch_one(&mut *holder).await.unwrap() < count {}
        })
        .await;
    };
    gateway.clock.advance(Duration::from_mins(1));
    waiting(1, &mut holder).await;
    let path = format!("/remauth_callback?authenticated={}", uaid(1));
    let (stored, ()) = tokio::join!(gateway.public.get(&path), async {
        waiting(2, &mut holder).await;
        sqlx::query("SELECT pg_advisory_unlock(8241996507418201)").execute(&mut holder).await.unwrap();
    });
    stored.expect(200);
    assert_eq!(look(&gateway, 1, "").await["status"], "expired");
    let told = events(&gateway).await;
    let order: Vec<_> =
        told.iter().map(|event| (event["type"].as_str().unwrap(), event["late"].as_bool())).collect();
    assert_eq!(order, [("remauth.expired", None), ("remauth.authenticated", Some(true))]);
}
