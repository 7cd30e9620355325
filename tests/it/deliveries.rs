//! `/v1/deliveries`: what became of forwarding, trying again, withdrawing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::engine::both_engines;
use crate::support::gateway::TestGateway;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{delivery, endpoint, uaid};
use crate::support::within;

/// The list that a query gives.
async fn listed(gateway: &TestGateway, query: &str) -> Vec<Value> {
    let page = gateway.internal.get(&format!("/v1/deliveries?{query}")).await.expect(200).json();
    page["data"].as_array().unwrap().clone()
}

async fn shown(gateway: &TestGateway, id: &str) -> Value {
    gateway.internal.get(&format!("/v1/deliveries/{id}")).await.expect(200).json()
}

/// Waits until a delivery looks as it is wanted to.
async fn until(gateway: &TestGateway, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    within(&format!("{id} to change"), async {
        loop {
            let shown = shown(gateway, id).await;
            if wanted(&shown) {
                return shown;
            }
        }
    })
    .await
}

/// Stores an event; its id.
async fn store(gateway: &TestGateway, number: u64) -> String {
    let path = format!("/remauth_callback?authenticated={}", uaid(number));
    gateway.public.get(&path).await.expect(200).json()["data"].as_str().unwrap().to_owned()
}

/// The id of the only delivery that there is.
async fn only(gateway: &TestGateway) -> String {
    let all = listed(gateway, "").await;
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]["id"].as_str().unwrap().to_owned()
}

fn post(id: &str, what: &str) -> String {
    format!("/v1/deliveries/{id}/{what}")
}

both_engines! {
    async fn deliveries_are_listed_with_what_each_attempt_saw(engine: Engine) {
        let failing = Receiver::answering(|_| Answer::status(500).body("the disk is full")).await;
        let mut well = Receiver::start().await;
        let config = delivery("schedule = [\"1h\"]") + &endpoint("failing", &failing.url("/"), "") + &endpoint("well", &well.url("/"), "");
        let gateway = TestGateway::start(engine.url(), &config).await;
        let events = [store(&gateway, 1).await, store(&gateway, 2).await];
        gateway.until_figure("remgate_attempts_total{outcome=\"status_5xx\"} 2").await;
        gateway.until_figure("remgate_deliveries_total{state=\"succeeded\"} 2").await;
        well.next().await;

        let all = listed(&gateway, "").await;
        assert_eq!(all.len(), 4);
        let endpoints = gateway.internal.get("/v1/endpoints").await.expect(200).json();
        let id_of = |name: &str| endpoints["data"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap()["id"].as_str().unwrap().to_owned();
        let failed = listed(&gateway, &format!("endpoint={}&event={}", id_of("failing"), events[0])).await;
        assert_eq!(failed.len(), 1);
        let mut it = shown(&gateway, failed[0]["id"].as_str().unwrap()).await;
        let attempts = it.as_object_mut().unwrap().remove("attempts").unwrap();
        assert_eq!(it, failed[0], "the single one is the listed one with its attempts");
        let next = it["next_attempt_at"].as_str().unwrap().to_owned();
        assert!(("2026-11-22T22:04:05.123Z".to_owned()..="2026-11-22T22:16:05.123Z".to_owned()).contains(&next), "{next}");
        assert_eq!(it, json!({
            "id": failed[0]["id"], "event": events[0], "endpoint": id_of("failing"), "state": "pending", "attempt_count": 1,
            "next_attempt_at": next, "created_at": "2026-11-22T21:04:05.123Z", "settled_at": null, "replay": false,
        }));
        let elapsed = attempts[0]["elapsed_ms"].as_u64().expect("a whole number");
        assert_eq!(attempts, json!([{
            "at": "2026-11-22T21:04:05.123Z", "status": 500, "error": null, "elapsed_ms": elapsed, "response": "the disk is full",
        }]));
        let done = listed(&gateway, "state=succeeded").await;
        assert!(done.len() == 2 && done.iter().all(|item| item["endpoint"] == id_of("well") && item["next_attempt_at"].is_null()));
        assert_eq!(done[0]["settled_at"], "2026-11-22T21:04:05.123Z");
        for (query, count) in [("state=pending", 2), ("state=sending", 0), ("state=exhausted", 0), ("state=cancelled", 0), ("limit=3", 3)] {
            assert_eq!(listed(&gateway, query).await.len(), count, "{query}");
        }
    }

    async fn pages_follow_each_other_both_ways(engine: Engine) {
        let receiver = Receiver::answering(|_| Answer::status(500)).await;
        let config = delivery("schedule = []") + &endpoint("crm", &receiver.url("/"), "");
        let gateway = TestGateway::start(engine.url(), &config).await;
        for number in 0..5 {
            store(&gateway, number).await;
        }
        gateway.until_figure("remgate_deliveries_total{state=\"exhausted\"} 5").await;
        for filter in ["", "&state=exhausted"] {
            for (order, place) in [("asc", "after"), ("desc", "before")] {
                let (mut ids, mut from) = (Vec::new(), String::new());
                loop {
                    let query = format!("/v1/deliveries?limit=2&order={order}{filter}{from}");
                    let page = gateway.internal.get(&query).await.expect(200).json();
                    ids.extend(page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()[4..].parse::<u64>().unwrap()));
                    from = format!("&{place}={}", page["cursor"].as_str().unwrap());
                    if page["has_more"] == false {
                        break;
                    }
                }
                let sorted = if order == "asc" { ids.is_sorted() } else { ids.iter().rev().is_sorted() };
                assert!(ids.len() == 5 && sorted, "{ids:?}");
            }
        }
    }

    async fn what_was_given_up_can_be_tried_again_from_the_start(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let config = delivery("schedule = [\"1h\"]") + &endpoint("crm", &receiver.url("/"), "");
        let gateway = TestGateway::start(engine.url(), &config).await;
        store(&gateway, 1).await;
        let id = only(&gateway).await;
        until(&gateway, &id, |item| item["attempt_count"] == 1).await;
        // One that waits for its time is tried at once, and its schedule goes on.
        gateway.internal.post(&post(&id, "retry"), &json!({})).await.expect(202);
        let given_up = until(&gateway, &id, |item| item["state"] == "exhausted").await;
        assert_eq!((&given_up["attempt_count"], &given_up["next_attempt_at"]), (&json!(2), &json!(null)));
        assert!(given_up["settled_at"].is_string());

        let answer = gateway.internal.post(&post(&id, "retry"), &json!({})).await.expect(202).json();
        assert_eq!(answer["id"], id.as_str());
        let again = until(&gateway, &id, |item| item["attempt_count"] == 3).await;
        assert_eq!((&again["state"], &again["settled_at"]), (&json!("pending"), &json!(null)), "it has a wait left");
        receiver.answer(|_| Answer::status(200));
        gateway.clock.advance(Duration::from_mins(73));
        let done = until(&gateway, &id, |item| item["state"] == "succeeded").await;
        assert_eq!(done["attempts"].as_array().unwrap().len(), 4);
        assert_eq!(receiver.arrived().len(), 4);
        let refused = gateway.internal.post(&post(&id, "retry"), &json!({})).await.expect(409).json();
        assert!(refused["detail"].as_str().unwrap().contains("replay"), "{refused}");
        gateway.internal.post(&post(&id, "cancel"), &json!({})).await.expect(409);
    }

    async fn what_is_withdrawn_is_not_sent_until_it_is_retried(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let config = delivery("schedule = [\"1h\"]") + &endpoint("crm", &receiver.url("/"), "");
        let gateway = TestGateway::start(engine.url(), &config).await;
        store(&gateway, 1).await;
        let id = only(&gateway).await;
        until(&gateway, &id, |item| item["attempt_count"] == 1).await;
        receiver.next().await;
        let cancelled = gateway.internal.post(&post(&id, "cancel"), &json!({})).await.expect(200).json();
        assert_eq!((&cancelled["state"], &cancelled["next_attempt_at"]), (&json!("cancelled"), &json!(null)));
        let twice = gateway.internal.post(&post(&id, "cancel"), &json!({})).await.expect(409).json();
        assert!(twice["detail"].as_str().unwrap().contains("cancelled"), "{twice}");
        gateway.until_figure("remgate_deliveries_pending 0").await;
        gateway.clock.advance(Duration::from_hours(3));
        receiver.answer(|_| Answer::status(200));
        // Another event goes its way; the withdrawn one does not come with it.
        store(&gateway, 2).await;
        assert_eq!(receiver.next().await.json()["data"]["uaid"], uaid(2));
        receiver.expect_none();
        gateway.internal.post(&post(&id, "retry"), &json!({})).await.expect(202);
        assert_eq!(receiver.next().await.json()["data"]["uaid"], uaid(1));
        until(&gateway, &id, |item| item["state"] == "succeeded").await;
    }

    async fn an_attempt_under_way_is_shown_left_alone_and_can_be_withdrawn(engine: Engine) {
        let hold = CancellationToken::new();
        let gate = hold.clone();
        let mut receiver = Receiver::answering(move |_| Answer::status(200).after(&gate)).await;
        let config = delivery("") + &endpoint("crm", &receiver.url("/"), "");
        let gateway = TestGateway::start(engine.url(), &config).await;
        store(&gateway, 1).await;
        receiver.next().await;
        let id = only(&gateway).await;
        let sending = shown(&gateway, &id).await;
        assert_eq!((&sending["state"], &sending["next_attempt_at"]), (&json!("sending"), &json!(null)));
        assert_eq!(listed(&gateway, "state=sending").await.len(), 1);
        assert_eq!(listed(&gateway, "state=pending").await.len(), 0);
        assert_eq!(gateway.internal.post(&post(&id, "retry"), &json!({})).await.expect(202).json()["state"], "sending");
        gateway.internal.post(&post(&id, "cancel"), &json!({})).await.expect(200);
        hold.cancel();
        // What the attempt saw is kept; what was decided stays.
        let ended = until(&gateway, &id, |item| item["attempts"].as_array().is_some_and(|all| !all.is_empty())).await;
        assert_eq!((&ended["state"], &ended["attempts"][0]["status"]), (&json!("cancelled"), &json!(200)));
        assert_eq!(ended["attempt_count"], 1, "it was made, whatever was decided meanwhile");
        receiver.expect_none();
    }

    async fn bad_questions_get_clear_answers(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        for (query, words) in [
            ("state=done", "state"), ("endpoint=crm", "ep_"), ("event=1", "evt_"), ("limit=0", "limit"), ("after=x", "cursor"),
            ("order=up", "asc or desc"), ("before=1", "order=desc"), ("order=desc&after=1", "before"), ("since=1", "since"),
        ] {
            let refused = gateway.internal.get(&format!("/v1/deliveries?{query}")).await.expect(400).json();
            assert!(refused["detail"].as_str().unwrap().contains(words), "{query}: {refused}");
        }
    }

    async fn unknown_deliveries_are_not_found(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        for id in ["dlv_1", "dlv_0", "1", "dlv_x"] {
            gateway.internal.get(&format!("/v1/deliveries/{id}")).await.expect(404);
            for what in ["retry", "cancel"] {
                gateway.internal.post(&post(id, what), &json!({})).await.expect(404);
            }
        }
        gateway.internal.post(&post("dlv_1", "retry"), &json!({"at": 1})).await.expect(422);
        gateway.internal.get(&post("dlv_1", "retry")).await.expect(405);
    }
}
