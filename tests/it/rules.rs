//! Rules about endpoints: held back, probed, disabled, rate-limited; and the events about them.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::TestGateway;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{delivery, endpoint, uaid};
use crate::support::within;

/// Stores so many events, numbered from `first`.
async fn store(gateway: &TestGateway, first: u64, count: u64) {
    for number in first..first + count {
        gateway.public.get(&format!("/remauth_callback?authenticated={}", uaid(number))).await.expect(200);
    }
}

/// The endpoint of that name, as the API shows it.
async fn shown(gateway: &TestGateway, name: &str) -> Value {
    let listed = gateway.internal.get("/v1/endpoints").await.expect(200).json();
    let found = listed["data"].as_array().unwrap().iter().find(|item| item["name"] == name);
    found.expect("an endpoint of this name").clone()
}

/// Waits until the endpoint looks as it is wanted to.
async fn until(gateway: &TestGateway, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    within(&format!("the endpoint {name} to change"), async {
        loop {
            let shown = shown(gateway, name).await;
            if wanted(&shown) {
                return shown;
            }
        }
    })
    .await
}

/// The events of one type.
async fn events(gateway: &TestGateway, event_type: &str) -> Vec<Value> {
    let page = gateway.internal.get(&format!("/v1/events?type={event_type}")).await.expect(200).json();
    page["data"].as_array().unwrap().clone()
}

/// Has the driver look at the store once more: an event for another endpoint makes it.
async fn look(gateway: &TestGateway, other: &mut Receiver, number: u64) {
    gateway.public.get(&format!("/remauth_callback?subscribed={}", uaid(number))).await.expect(200);
    other.next().await;
}

const ALL: u64 = 120;

/// A gateway with an endpoint whose deliveries are held back, and another one that is well. The first has failed at
/// least 50 times and has more that were never tried.
async fn held_back(database: &str) -> (TestGateway, Receiver, Receiver) {
    let dead = Receiver::answering(|_| Answer::status(500)).await;
    let well = Receiver::start().await;
    let config = delivery("schedule = [\"1h\", \"1h\"]")
        + &endpoint("dead", &dead.url("/"), "types = [\"remauth.authenticated\"]")
        + &endpoint(
            "well",
            &well.url("/"),
            "types = [\"remauth.subscribed\", \"remgate.endpoint.recovered\"]",
        );
    let gateway = TestGateway::start(database, &config).await;
    store(&gateway, 0, ALL).await;
    let health =
        until(&gateway, "dead", |item| item["health"]["state"] == "held_back").await["health"].clone();
    assert!(health["failures"].as_u64().unwrap() >= 50, "{health}");
    assert_eq!(health["next_probe_at"], "2026-11-22T21:04:35.123Z");
    // Those that were under way end, too.
    let tried = within("attempts under way to end", async {
        loop {
            let failures = shown(&gateway, "dead").await["health"]["failures"].as_u64().unwrap();
            let figure = format!("remgate_attempts_total{{outcome=\"status_5xx\"}} {failures}");
            let figures = gateway.internal.get("/metrics").await.text().to_owned();
            if figures.lines().any(|line| line == figure)
                && figures.contains("remgate_deliveries_pending 120")
            {
                return failures;
            }
        }
    })
    .await;
    assert!(tried < ALL, "all were tried: {tried}");
    (gateway, dead, well)
}

/// A gateway with these settings of deliveries and one endpoint, `crm`.
async fn with_endpoint(engine: &Engine, settings: &str, receiver: &Receiver) -> TestGateway {
    let config = delivery(settings) + &endpoint("crm", &receiver.url("/"), "");
    TestGateway::start(engine.url(), &config).await
}

/// Waits for the next attempt and until the endpoint has failed this often in a row.
async fn attempted(gateway: &TestGateway, receiver: &mut Receiver, failures: u64) -> Value {
    receiver.next().await;
    until(gateway, "crm", |item| item["health"]["failures"] == failures).await
}

both_engines! {
    async fn a_dead_endpoint_costs_one_attempt_in_30_seconds(engine: Engine) {
        let (gateway, mut dead, mut well) = held_back(engine.url()).await;
        dead.arrived();
        for round in 1..4 {
            gateway.clock.advance(Duration::from_secs(29));
            look(&gateway, &mut well, 1000 + 2 * round).await;
            dead.expect_none();
            gateway.clock.advance(Duration::from_secs(1));
            dead.next().await;
            look(&gateway, &mut well, 1001 + 2 * round).await;
            dead.expect_none();
        }
        // Holding back is no attempt: what was never tried still has its whole schedule.
        assert_eq!(shown(&gateway, "dead").await["enabled"], true);
    }

    async fn one_success_lets_everything_flow_again(engine: Engine) {
        let (gateway, mut dead, mut well) = held_back(engine.url()).await;
        let failed = shown(&gateway, "dead").await["health"]["failures"].as_u64().unwrap();
        dead.arrived();
        dead.answer(|_| Answer::status(204));
        gateway.clock.advance(Duration::from_secs(30));
        // All that were never tried go out now, and those that failed when their own wait is over.
        gateway.until_figure(&format!("remgate_deliveries_pending {failed}")).await;
        let health = shown(&gateway, "dead").await["health"].clone();
        assert_eq!((&health["state"], &health["failures"], &health["next_probe_at"]), (&json!("good"), &json!(0), &json!(null)));
        let told = events(&gateway, "remgate.endpoint.recovered").await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["detail"]["endpoint_name"], "dead");
        assert_eq!((&told[0]["trust"], &told[0]["uaid"], &told[0]["source_ip"]), (&json!("self"), &json!(null), &json!(null)));
        assert_eq!(well.next().await.json()["type"], "remgate.endpoint.recovered");
        gateway.clock.advance(Duration::from_hours(2));
        gateway.until_figure("remgate_deliveries_pending 0").await;
        gateway.until_figure(&format!("remgate_deliveries_total{{state=\"succeeded\"}} {}", ALL + 1)).await;
    }

    async fn a_few_failures_hold_nothing_back(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let gateway = with_endpoint(&engine, "schedule = [\"1h\"]", &receiver).await;
        store(&gateway, 0, 49).await;
        let failing = until(&gateway, "crm", |item| item["health"]["failures"] == 49).await;
        assert_eq!((&failing["health"]["state"], &failing["health"]["failing_since"]), (&json!("failing"), &json!("2026-11-22T21:04:05.123Z")));
        receiver.arrived();
        receiver.answer(|_| Answer::status(200));
        store(&gateway, 49, 1).await;
        receiver.next().await;
        let good = until(&gateway, "crm", |item| item["health"]["failures"] == 0).await;
        assert_eq!(good["health"], json!({"state": "good", "failures": 0, "failing_since": null, "next_probe_at": null}));
        assert!(events(&gateway, "remgate.endpoint.recovered").await.is_empty(), "it was never held back");
    }

    async fn gone_disables_at_once_and_loses_nothing(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(410)).await;
        let mut watching = Receiver::start().await;
        // Not even the last attempt of a schedule: the delivery waits for an endpoint that is enabled again.
        let config = delivery("schedule = []")
            + &endpoint("crm", &receiver.url("/"), "types = [\"remauth.authenticated\", \"remgate.endpoint.disabled\"]")
            + &endpoint("watch", &watching.url("/"), "types = [\"remgate.endpoint.disabled\", \"remgate.delivery.exhausted\"]");
        let gateway = TestGateway::start(engine.url(), &config).await;
        store(&gateway, 1, 1).await;
        receiver.next().await;
        let told = watching.next().await.json();
        assert_eq!((&told["type"], &told["data"]["trust"]), (&json!("remgate.endpoint.disabled"), &json!("self")));
        let disabled = shown(&gateway, "crm").await;
        assert_eq!(told["data"]["detail"], json!({"endpoint": disabled["id"], "endpoint_name": "crm", "reason": disabled["disabled_reason"]}));
        assert_eq!(disabled["enabled"], false);
        assert!(disabled["disabled_reason"].as_str().unwrap().contains("410"), "{disabled}");
        store(&gateway, 2, 1).await;
        gateway.until_figure("remgate_deliveries_pending 1").await;
        receiver.answer(|_| Answer::status(200));
        let id = disabled["id"].as_str().unwrap();
        gateway.internal.post(&format!("/v1/endpoints/{id}/enable"), &json!({})).await.expect(200);
        assert_eq!(receiver.next().await.json()["data"]["uaid"], uaid(1));
        gateway.until_figure("remgate_deliveries_pending 0").await;
        // Nothing was ever made for it about itself, nor for what came while it was disabled.
        receiver.expect_none();
        watching.expect_none();
        assert_eq!(events(&gateway, "remgate.endpoint.disabled").await.len(), 1);
    }

    async fn nothing_but_failures_for_long_disables(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let gateway = with_endpoint(&engine, "disable_after = \"3h\"\nschedule = [\"1h\", \"1h\", \"1h\", \"1h\"]", &receiver).await;
        store(&gateway, 1, 1).await;
        for attempt in 1..4 {
            let shown = attempted(&gateway, &mut receiver, attempt).await;
            assert_eq!(shown["enabled"], true);
            gateway.clock.advance(Duration::from_secs(72 * 60 + 1));
        }
        receiver.next().await;
        let disabled = until(&gateway, "crm", |item| item["enabled"] == false).await;
        assert_eq!(disabled["disabled_reason"], "nothing but failures for 3h (delivery.disable_after)");
        assert_eq!(events(&gateway, "remgate.endpoint.disabled").await.len(), 1);
        gateway.clock.advance(Duration::from_secs(72 * 60 + 1));
        gateway.until_figure("remgate_deliveries_pending 1").await;
        receiver.expect_none();
    }

    async fn a_long_pause_between_two_failures_starts_the_time_anew(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let gateway = with_endpoint(&engine, "disable_after = \"5d\"\nschedule = []", &receiver).await;
        store(&gateway, 1, 1).await;
        receiver.next().await;
        until(&gateway, "crm", |shown| shown["health"]["failures"] == 1).await;
        gateway.clock.advance(Duration::from_hours(6 * 24));
        store(&gateway, 2, 1).await;
        receiver.next().await;
        let shown = until(&gateway, "crm", |shown| shown["health"]["failures"] == 2).await;
        assert_eq!((&shown["enabled"], &shown["health"]["failing_since"]), (&json!(true), &json!("2026-11-28T21:04:05.123Z")));
    }

    async fn a_success_in_between_starts_the_time_anew(engine: Engine) {
        let mut receiver = Receiver::answering_in_turn(&[500, 200, 500]).await;
        let gateway = with_endpoint(&engine, "disable_after = \"2h\"\nschedule = [\"1h\", \"1h\"]", &receiver).await;
        store(&gateway, 1, 1).await;
        attempted(&gateway, &mut receiver, 1).await;
        gateway.clock.advance(Duration::from_mins(72));
        attempted(&gateway, &mut receiver, 0).await;
        gateway.clock.advance(Duration::from_mins(72));
        store(&gateway, 2, 1).await;
        let failing = attempted(&gateway, &mut receiver, 1).await;
        assert_eq!(failing["enabled"], true);
    }

    async fn a_delivery_that_was_given_up_is_told_of_once_and_not_to_its_own_endpoint(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let mut other = Receiver::answering(|_| Answer::status(500)).await;
        let config = delivery("schedule = []")
            + &endpoint("crm", &receiver.url("/"), "types = [\"remauth.authenticated\", \"remgate.delivery.exhausted\"]")
            + &endpoint("ops", &other.url("/"), "types = [\"remgate.delivery.exhausted\"]");
        let gateway = TestGateway::start(engine.url(), &config).await;
        store(&gateway, 1, 1).await;
        receiver.next().await;
        let told = other.next().await.json();
        let detail = &told["data"]["detail"];
        let exhausted = events(&gateway, "remauth.authenticated").await;
        assert_eq!((&detail["event"], &detail["endpoint_name"], &detail["attempt_count"], &detail["status"]), (&exhausted[0]["id"], &json!("crm"), &json!(1), &json!(500)));
        // That one is given up as well, and nothing more is said: two dead endpoints would never come to an end.
        gateway.until_figure("remgate_deliveries_total{state=\"exhausted\"} 2").await;
        gateway.until_figure("remgate_deliveries_pending 0").await;
        assert_eq!(events(&gateway, "remgate.delivery.exhausted").await.len(), 1);
        receiver.expect_none();
        other.expect_none();
    }

    async fn an_endpoint_has_its_own_schedule_limit_and_pace(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::hang()).await;
        let config = delivery("schedule = [\"1h\"]") + &endpoint("crm", &receiver.url("/"), "max_in_flight = 3\ntimeout = \"10m\"");
        let gateway = TestGateway::start(engine.url(), &config).await;
        store(&gateway, 0, 10).await;
        for _ in 0..3 {
            receiver.next().await;
        }
        gateway.until_figure("remgate_deliveries_pending 10").await;
        receiver.expect_none();
    }

    async fn a_rate_is_kept_after_an_outage(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let mut well = Receiver::start().await;
        let config = delivery("")
            + &endpoint("slow", &receiver.url("/"), "types = [\"remauth.authenticated\"]\nrate_limit = \"2/s\"")
            + &endpoint("well", &well.url("/"), "types = [\"remauth.subscribed\"]");
        let gateway = TestGateway::start(engine.url(), &config).await;
        store(&gateway, 0, 6).await;
        receiver.next().await;
        for left in (0..5).rev() {
            gateway.clock.advance(Duration::from_millis(499));
            look(&gateway, &mut well, 100 + left).await;
            receiver.expect_none();
            gateway.clock.advance(Duration::from_millis(1));
            receiver.next().await;
        }
        gateway.until_figure("remgate_deliveries_pending 0").await;
    }

    async fn an_endpoint_may_have_a_schedule_of_its_own(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let config = delivery("schedule = [\"1h\", \"1h\", \"1h\"]") + &endpoint("crm", &receiver.url("/"), "schedule = [\"10s\"]");
        let gateway = TestGateway::start(engine.url(), &config).await;
        store(&gateway, 1, 1).await;
        receiver.next().await;
        until(&gateway, "crm", |item| item["health"]["failures"] == 1).await;
        gateway.clock.advance(Duration::from_secs(12));
        receiver.next().await;
        gateway.until_figure("remgate_deliveries_total{state=\"exhausted\"} 1").await;
    }
}

/// Two processes share a database, and the receiver says 410 to all that they send: it is disabled, and told of, once.
#[tokio::test]
async fn replicas_disable_and_tell_once() {
    let mut receiver = Receiver::answering(|_| Answer::status(410)).await;
    let mut watching = Receiver::start().await;
    let database = crate::support::postgres::database().await;
    let config = delivery("")
        + &endpoint("crm", &receiver.url("/"), "types = [\"remauth.authenticated\"]")
        + &endpoint("watch", &watching.url("/"), "types = [\"remgate.endpoint.disabled\"]");
    let one = TestGateway::replica(1, &database.url, &config).await;
    let other = TestGateway::replica(2, &database.url, &config).await;
    let (one, other) = (&one, &other);
    join_all((0..20).map(|number| store(if number % 2 == 0 { one } else { other }, number, 1))).await;
    receiver.next().await;
    until(one, "crm", |item| item["enabled"] == false).await;
    watching.next().await;
    // All that was under way has ended when nothing is sent any more.
    within("all attempts to be settled", async {
        loop {
            let told = refused(one).await + refused(other).await;
            if shown(one, "crm").await["health"]["failures"] == told {
                return;
            }
        }
    })
    .await;
    assert_eq!(events(one, "remgate.endpoint.disabled").await.len(), 1);
    watching.expect_none();
}

/// Returns the number of attempts that were answered with 4xx.
async fn refused(gateway: &TestGateway) -> u64 {
    let figures = gateway.internal.get("/metrics").await.text().to_owned();
    let line =
        figures.lines().find_map(|item| item.strip_prefix("remgate_attempts_total{outcome=\"status_4xx\"} "));
    line.map_or(0, |count| count.parse().expect("a whole figure"))
}
