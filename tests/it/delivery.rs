//! Forwarding: who gets what, signed how, how often, and what survives.

use std::collections::HashSet;

use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::support::engine::both_engines;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{SECRET, Service, delivery, endpoint, uaid};

/// Retries that come at once, so that no test waits for one.
const QUICK: &str = "schedule = [\"1ms\", \"1ms\", \"1ms\", \"1ms\", \"1ms\", \"1ms\", \"1ms\", \"1ms\"]";

both_engines! {
    async fn an_event_is_delivered_signed(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let config = delivery("") + &endpoint("crm", &receiver.url("/hook?key=1"), "");
        let service = Service::start(&engine, &config).await;
        let id = service.store(&uaid(1)).await;
        let got = receiver.next().await;
        assert_eq!((got.method.as_str(), got.target.as_str()), ("POST", "/hook?key=1"));
        assert_eq!(got.header("webhook-id"), id);
        assert_eq!(got.header("content-type"), "application/json");
        got.verify(SECRET).unwrap();
        let event = service.events("").await["data"][0].clone();
        let mut data = event.clone();
        data.as_object_mut().unwrap().retain(|name, _| name != "cursor" && name != "duplicates");
        assert_eq!(got.json(), json!({"type": "remauth.authenticated", "timestamp": event["received_at"], "data": data}));
        service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 1).await;
        service.until_metric("remgate_deliveries_pending", 0).await;
        assert_eq!(service.metric("remgate_attempts_total{outcome=\"accepted\"}").await, 1);
        // The same callback again is the same event, and owes nothing.
        service.store(&uaid(1)).await;
        assert_eq!(service.metric("remgate_deliveries_total{state=\"pending\"}").await, 1);
        receiver.expect_none();
    }

    async fn a_failed_attempt_is_made_again_with_the_same_bytes(engine: Engine) {
        let mut receiver = Receiver::answering_in_turn(&[500, 302, 404, 204]).await;
        let config = delivery(QUICK) + &endpoint("crm", &receiver.url("/"), "");
        let service = Service::start(&engine, &config).await;
        let id = service.store(&uaid(1)).await;
        let mut bodies = HashSet::new();
        for _ in 0..4 {
            let got = receiver.next().await;
            got.verify(SECRET).unwrap();
            assert_eq!(got.header("webhook-id"), id);
            bodies.insert(got.body);
        }
        assert_eq!(bodies.len(), 1);
        service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 1).await;
        receiver.expect_none();
    }

    async fn attempts_are_counted_by_their_outcome(engine: Engine) {
        let receiver = Receiver::answering_in_turn(&[500, 302, 404, 204]).await;
        let service = Service::start(&engine, &(delivery(QUICK) + &endpoint("crm", &receiver.url("/"), ""))).await;
        service.store(&uaid(1)).await;
        service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 1).await;
        for (outcome, count) in [("status_5xx", 1), ("status_3xx", 1), ("status_4xx", 1), ("accepted", 1)] {
            assert_eq!(service.metric(&format!("remgate_attempts_total{{outcome=\"{outcome}\"}}")).await, count);
        }
    }

    async fn a_schedule_that_is_used_up_exhausts_the_delivery(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(503)).await;
        let config = delivery("schedule = [\"1ms\", \"1ms\"]") + &endpoint("crm", &receiver.url("/"), "");
        let service = Service::start(&engine, &config).await;
        service.store(&uaid(1)).await;
        service.until_metric("remgate_deliveries_total{state=\"exhausted\"}", 1).await;
        assert_eq!(receiver.arrived().len(), 3, "one attempt and two retries");
        assert_eq!(service.metric("remgate_deliveries_pending").await, 0);
    }

    async fn a_wait_is_never_cut_short(engine: Engine) {
        let mut receiver = Receiver::answering_in_turn(&[500, 200]).await;
        let config = delivery("schedule = [\"700ms\"]") + &endpoint("crm", &receiver.url("/"), "");
        let service = Service::start(&engine, &config).await;
        service.store(&uaid(1)).await;
        let first = receiver.next().await;
        let second = receiver.next().await;
        let waited = second.at.duration_since(first.at);
        assert!(waited.as_millis() >= 700, "{waited:?}");
    }

    async fn endpoints_get_what_they_ask_for(engine: Engine) {
        let mut unwanted = Receiver::start().await;
        let [mut all, mut some, mut theirs, mut verbatim] =
            [Receiver::start().await, Receiver::start().await, Receiver::start().await, Receiver::start().await];
        let config = "callback.allow_unauthenticated = true\ncallback.tokens = [\"kZ3vX9mQ2rT7wB5nL8cJ4A\"]\n".to_owned()
            + "[[service]]\nname = \"portal\"\ntokens = [\"pH6sD1fG0yU_eR-iO3aK2w\"]\n"
            + &delivery("")
            + &endpoint("all", &all.url("/"), "")
            + &endpoint("some", &some.url("/"), "types = [\"remauth.subscribed\"]")
            + &endpoint("theirs", &theirs.url("/"), "services = [\"portal\"]")
            + &endpoint("verbatim", &verbatim.url("/cb?a=b"), "format = \"remauth\"")
            + &endpoint("expecting", &unwanted.url("/"), "expected_only = true");
        let service = Service::start(&engine, &config).await;
        let ours = format!("/remauth_callback/kZ3vX9mQ2rT7wB5nL8cJ4A?authenticated={}", uaid(1));
        let others = format!("/remauth_callback/pH6sD1fG0yU_eR-iO3aK2w?subscribed={}", uaid(2));
        service.public.get(&ours).await.expect(200);
        service.public.get(&others).await.expect(200);
        service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 6).await;
        let kinds = |receiver: &mut Receiver| {
            receiver.arrived().iter().map(|item| item.json()["data"]["uaid"].clone()).collect::<HashSet<Value>>()
        };
        assert_eq!(kinds(&mut all), HashSet::from([json!(uaid(1)), json!(uaid(2))]));
        assert_eq!(kinds(&mut some), HashSet::from([json!(uaid(2))]));
        assert_eq!(kinds(&mut theirs), HashSet::from([json!(uaid(2))]));
        let got = verbatim.arrived();
        let targets: HashSet<_> = got.iter().map(|item| (item.method.as_str(), item.target.clone())).collect();
        let expected = [format!("/cb?a=b&authenticated={}", uaid(1)), format!("/cb?a=b&subscribed={}", uaid(2))];
        assert_eq!(targets, expected.map(|target| ("GET", target)).into());
        assert!(got.iter().all(|item| item.verify(SECRET).is_ok()));
        unwanted.expect_none();
    }

    async fn a_receiver_that_hangs_holds_up_nobody_else(engine: Engine) {
        let hanging = Receiver::answering(|_| Answer::hang()).await;
        let mut good = Receiver::start().await;
        let dead = (0..20).map(|n| endpoint(&format!("dead{n}"), &hanging.url("/"), "")).collect::<String>();
        // Their own places and the shared ones are all taken, and the good one still has its own.
        let config = delivery("max_in_flight = 4") + &dead + &endpoint("good", &good.url("/"), "");
        let service = Service::start(&engine, &config).await;
        for n in 0..20 {
            service.store(&uaid(n)).await;
            assert_eq!(good.next().await.json()["data"]["uaid"], uaid(n));
        }
    }

    async fn one_endpoint_gets_no_more_at_once_than_it_may(engine: Engine) {
        let gate = CancellationToken::new();
        let held = gate.clone();
        let mut receiver = Receiver::answering(move |_| Answer::status(200).after(&held)).await;
        let mut other = Receiver::start().await;
        let config = delivery("max_in_flight_per_endpoint = 3")
            + &endpoint("crm", &receiver.url("/"), "")
            + &endpoint("other", &other.url("/"), "");
        let service = Service::start(&engine, &config).await;
        for n in 0..12 {
            service.store(&uaid(n)).await;
            // What the other one has got, the driver has looked at for both.
            other.next().await;
        }
        service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 12).await;
        assert_eq!(receiver.arrived().len(), 3, "three are under way, and nine wait");
        gate.cancel();
        service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 24).await;
        assert_eq!(receiver.arrived().len(), 9);
    }

    async fn a_kill_loses_nothing_that_was_answered(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Receiver::answering(|_| Answer::hang()).await;
        let config = delivery("") + &endpoint("crm", &receiver.url("/"), "");
        let service = Service::start_in(folder.path(), &engine, &config).await;
        let ids: HashSet<_> = futures_util::future::join_all((0..40).map(|n| {
            let service = &service;
            async move { service.store(&uaid(n)).await }
        }))
        .await
        .into_iter()
        .collect();
        receiver.next().await;
        service.process.kill();
        service.process.wait().await;
        receiver.answer(|_| Answer::status(200));
        receiver.arrived();
        if engine.name() == "postgres" {
            // Where others could be alive, a lease is left alone until it has run out: here it does so at once.
            let mut conn = PgConnection::connect(engine.url()).await.unwrap();
            conn.execute("UPDATE deliveries SET due_at = 0 WHERE due_at IS NOT NULL").await.unwrap();
        }
        let service = Service::start_in(folder.path(), &engine, &config).await;
        assert_eq!(service.count().await, 40);
        let mut delivered = HashSet::new();
        while delivered.len() < 40 {
            delivered.insert(receiver.next().await.header("webhook-id").to_owned());
        }
        assert_eq!(delivered, ids);
        service.until_metric("remgate_deliveries_pending", 0).await;
    }

    async fn what_a_restart_finds_open_is_delivered(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let config = delivery("schedule = [\"400ms\", \"400ms\", \"400ms\"]") + &endpoint("crm", &receiver.url("/"), "");
        let service = Service::start_in(folder.path(), &engine, &config).await;
        let id = service.store(&uaid(1)).await;
        receiver.next().await;
        service.process.signal(rustix::process::Signal::TERM);
        assert_eq!(service.process.wait().await, Some(0));
        receiver.answer(|_| Answer::status(200));
        receiver.arrived();
        let _service = Service::start_in(folder.path(), &engine, &config).await;
        assert_eq!(receiver.next().await.header("webhook-id"), id);
    }

    async fn an_endpoint_that_is_no_longer_declared_waits(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let with = delivery("schedule = [\"1ms\", \"30d\"]") + &endpoint("crm", &receiver.url("/"), "");
        let end = async |service: Service| {
            service.process.signal(rustix::process::Signal::TERM);
            assert_eq!(service.process.wait().await, Some(0));
        };
        let service = Service::start_in(folder.path(), &engine, &with).await;
        service.store(&uaid(1)).await;
        receiver.next().await;
        receiver.next().await;
        end(service).await;

        let service = Service::start_in(folder.path(), &engine, &delivery("")).await;
        let listed = service.internal.get("/v1/endpoints").await.expect(200).json();
        let crm = &listed["data"][0];
        assert_eq!((&crm["enabled"], &crm["declared"]), (&json!(false), &json!(false)));
        assert_eq!(crm["disabled_reason"], "no longer declared in the configuration");
        service.store(&uaid(2)).await;
        assert_eq!(service.metric("remgate_deliveries_pending").await, 1, "nothing new is owed to it");
        end(service).await;

        receiver.answer(|_| Answer::status(200));
        let service = Service::start_in(folder.path(), &engine, &with).await;
        let listed = service.internal.get("/v1/endpoints").await.expect(200).json();
        assert_eq!((&listed["data"][0]["enabled"], &listed["data"][0]["id"]), (&json!(true), &crm["id"]));
        let id = service.store(&uaid(3)).await;
        assert_eq!(receiver.next().await.header("webhook-id"), id);
    }

    async fn the_guard_stands_before_private_addresses(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let config = format!("delivery.schedule = [\"1ms\"]\n{}", endpoint("crm", &receiver.url("/"), ""));
        let service = Service::start(&engine, &config).await;
        service.store(&uaid(1)).await;
        service.until_metric("remgate_attempts_total{outcome=\"refused\"}", 2).await;
        receiver.expect_none();
        let log = service.process.log();
        assert!(log.contains("delivery.allow_private_networks"), "{log}");
    }

    async fn declared_endpoints_can_be_read_and_not_changed(engine: Engine) {
        let receiver = Receiver::start().await;
        let more = "types = [\"remauth.authenticated\"]\nservices = [\"default\"]\nformat = \"cloudevents\"";
        let service = Service::start(&engine, &(delivery("") + &endpoint("crm", &receiver.url("/x"), more))).await;
        let listed = service.internal.get("/v1/endpoints").await.expect(200);
        assert!(!listed.text().contains("whsec_"));
        let listed = listed.json();
        let crm = &listed["data"][0];
        let (id, created_at) = (crm["id"].as_str().unwrap(), &crm["created_at"]);
        assert!(id.starts_with("ep_"));
        assert_eq!(listed, json!({"cursor": "0", "has_more": false, "data": [{
            "id": id, "name": "crm", "url": receiver.url("/x"), "types": ["remauth.authenticated"],
            "services": ["default"], "format": "cloudevents", "expected_only": false, "headers": {}, "enabled": true,
            "schedule": ["1s", "5s", "30s", "2m", "10m", "1h", "3h", "6h", "12h", "1d", "1d", "1d"], "timeout": "15s",
            "rate_limit": null, "public_key": null,
            "health": {"state": "good", "failures": 0, "failing_since": null, "next_probe_at": null},
            "disabled_reason": null, "max_in_flight": 16, "declared": true, "created_at": created_at,
        }]}));
        assert_eq!(&service.internal.get(&format!("/v1/endpoints/{id}")).await.expect(200).json(), crm);
        for method in [reqwest::Method::PATCH, reqwest::Method::DELETE] {
            let problem = service.internal.request(method, &format!("/v1/endpoints/{id}"), None).await.expect(409);
            let problem = problem.json();
            assert_eq!(problem["type"], "urn:remgate:problem:conflict");
            assert!(problem["detail"].as_str().unwrap().contains("remgate.toml"), "{problem}");
        }
        service.internal.delete("/v1/endpoints/ep_00000000000000000000000000000000").await.expect(404);
    }
}

#[tokio::test]
async fn two_replicas_share_the_work_and_double_nothing() {
    let engine = crate::support::engine::Engine::postgres().await;
    let mut receiver = Receiver::start().await;
    let config = delivery("") + &endpoint("crm", &receiver.url("/"), "");
    let (one, other) = (Service::start(&engine, &config).await, Service::start(&engine, &config).await);
    let stored = futures_util::future::join_all((0..200).map(|n| {
        let service = if n % 2 == 0 { &one } else { &other };
        async move { service.store(&uaid(n)).await }
    }))
    .await;
    let mut delivered = Vec::new();
    while delivered.len() < 200 {
        delivered.push(receiver.next().await.header("webhook-id").to_owned());
    }
    one.until_metric("remgate_deliveries_pending", 0).await;
    receiver.expect_none();
    assert_eq!(delivered.into_iter().collect::<HashSet<_>>(), stored.into_iter().collect());
}
