//! Replaying an event, recovering an endpoint: through the API and from a shell.

use serde_json::{Value, json};

use crate::support::engine::both_engines;
use crate::support::gateway::TestGateway;
use crate::support::process::{Output, Process};
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{SECRET, Service, delivery, endpoint, uaid};

/// The id of the endpoint of that name.
async fn id_of(gateway: &TestGateway, name: &str) -> String {
    let listed = gateway.internal.get("/v1/endpoints").await.expect(200).json();
    let found = listed["data"].as_array().unwrap().iter().find(|item| item["name"] == name);
    found.expect("an endpoint of this name")["id"].as_str().unwrap().to_owned()
}

/// Stores an event; its id.
async fn store(gateway: &TestGateway, kind: &str, number: u64) -> String {
    let path = format!("/remauth_callback?{kind}={}", uaid(number));
    gateway.public.get(&path).await.expect(200).json()["data"].as_str().unwrap().to_owned()
}

/// Returns the answer to the recovery of an endpoint.
async fn recover(gateway: &TestGateway, id: &str, body: Value) -> Value {
    gateway.internal.post(&format!("/v1/endpoints/{id}/recover"), &body).await.expect(200).json()
}

/// Made through the API, since only such endpoints can be disabled by it.
async fn made(gateway: &TestGateway, name: &str, url: &str) -> String {
    let body = json!({"name": name, "url": url, "secret": SECRET, "schedule": []});
    gateway.internal.post("/v1/endpoints", &body).await.expect(201).json()["id"].as_str().unwrap().to_owned()
}

async fn post(gateway: &TestGateway, path: &str) {
    gateway.internal.post(path, &json!({})).await.expect(200);
}

async fn states(gateway: &TestGateway, endpoint: &str, state: &str) -> usize {
    let path = format!("/v1/deliveries?endpoint={endpoint}&state={state}&limit=1000");
    gateway.internal.get(&path).await.expect(200).json()["data"].as_array().unwrap().len()
}

const ALWAYS: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2027-01-01T00:00:00Z";

both_engines! {
    async fn a_replay_is_marked_and_told_to_receivers_only(engine: Engine) {
        let (mut wanting, mut other) = (Receiver::start().await, Receiver::start().await);
        let config = delivery("") + &endpoint("wanting", &wanting.url("/"), "")
            + &endpoint("other", &other.url("/"), "types = [\"remauth.subscribed\"]");
        let gateway = TestGateway::start(engine.url(), &config).await;
        let event = store(&gateway, "authenticated", 1).await;
        let first = wanting.next().await;
        assert!(!first.headers.contains_key("remgate-replay"));

        let path = format!("/v1/events/{event}/replay");
        let all = gateway.internal.post(&path, &json!({})).await.expect(202).json();
        assert_eq!(all["deliveries"].as_array().unwrap().len(), 1);
        let again = wanting.next().await;
        assert_eq!((again.header("remgate-replay"), again.header("webhook-id"), &again.body), ("true", event.as_str(), &first.body));
        let made = all["deliveries"][0].as_str().unwrap();
        assert_eq!(gateway.internal.get(&format!("/v1/deliveries/{made}")).await.expect(200).json()["replay"], true);

        // By name also to one that wants no such event.
        let named = json!({"endpoints": [id_of(&gateway, "other").await]});
        gateway.internal.post(&path, &named).await.expect(202);
        assert_eq!(other.next().await.header("webhook-id"), event);
        wanting.expect_none();
        let events = gateway.internal.get("/v1/events").await.expect(200).json();
        assert_eq!(events["data"].as_array().unwrap().len(), 1);
        assert_eq!(events["data"][0]["duplicates"], 0);
    }

    async fn a_replay_that_cannot_be_is_refused(engine: Engine) {
        let receiver = Receiver::start().await;
        let config = delivery("") + &endpoint("get", &receiver.url("/"), "format = \"remauth\"");
        let gateway = TestGateway::start(engine.url(), &config).await;
        let off = made(&gateway, "off", &receiver.url("/")).await;
        let about = made(&gateway, "about", &receiver.url("/")).await;
        post(&gateway, &format!("/v1/endpoints/{off}/disable")).await;
        receiver.answer(|_| Answer::status(410));
        let event = store(&gateway, "authenticated", 1).await;
        gateway.until_figure("remgate_events_total{type=\"remgate.endpoint.disabled\"} 2").await;
        let own = gateway.internal.get("/v1/events?type=remgate.endpoint.disabled").await.expect(200).json();
        let own = own["data"].as_array().unwrap().iter().find(|item| item["detail"]["endpoint"] == about.as_str()).unwrap()["id"].as_str().unwrap().to_owned();
        receiver.answer(|_| Answer::status(200));
        for id in [about.clone(), id_of(&gateway, "get").await] {
            post(&gateway, &format!("/v1/endpoints/{id}/enable")).await;
        }
        let path = |id: &str| format!("/v1/events/{id}/replay");
        for (id, body, status, words) in [
            (&event, json!({"endpoints": []}), 422, "1 to 1000"),
            (&event, json!({"endpoints": ["ep_00000000000000000000000000000000"]}), 422, "no endpoint"),
            (&event, json!({"endpoints": ["crm"]}), 422, "ep_"),
            (&event, json!({"endpoint": []}), 422, "endpoints"),
            (&event, json!({"endpoints": [off]}), 409, "disabled"),
            (&own, json!({"endpoints": [about]}), 422, "about that endpoint"),
            (&own, json!({"endpoints": [id_of(&gateway, "get").await]}), 422, "no parameter"),
        ] {
            let refused = gateway.internal.post(&path(id), &body).await.expect(status).json();
            assert!(refused["detail"].as_str().unwrap().contains(words), "{body}: {refused}");
        }
        gateway.internal.post(&path("evt_01890a5d-ac96-774b-bcce-b302099a8057"), &json!({})).await.expect(404);
    }

    async fn an_endpoint_gets_what_it_missed_and_nothing_twice(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let earlier = store(&gateway, "authenticated", 0).await;
        let id = made(&gateway, "crm", &receiver.url("/")).await;
        let succeeded = store(&gateway, "authenticated", 1).await;
        assert_eq!(receiver.next().await.header("webhook-id"), succeeded);
        receiver.answer(|_| Answer::status(500));
        let given_up = store(&gateway, "authenticated", 2).await;
        store(&gateway, "authenticated", 3).await;
        gateway.until_figure("remgate_deliveries_total{state=\"exhausted\"} 2").await;
        receiver.arrived();
        post(&gateway, &format!("/v1/endpoints/{id}/disable")).await;
        let listed = gateway.internal.get("/v1/deliveries?state=exhausted").await.expect(200).json();
        let withdrawn = listed["data"][1]["id"].as_str().unwrap();
        let path = |what: &str| format!("/v1/deliveries/{withdrawn}/{what}");
        gateway.internal.post(&path("retry"), &json!({})).await.expect(202);
        gateway.internal.post(&path("cancel"), &json!({})).await.expect(200);
        let missed = store(&gateway, "authenticated", 4).await;
        receiver.answer(|_| Answer::status(200));

        let window = |dry_run: bool| json!({"since": ALWAYS, "until": LATER, "dry_run": dry_run});
        let before = recover(&gateway, &id, window(true)).await;
        assert_eq!(before, json!({"count": 3, "dry_run": true}));
        assert_eq!(recover(&gateway, &id, window(true)).await, before, "a dry run changes nothing");
        let done = recover(&gateway, &id, window(false)).await;
        assert_eq!((&done["count"], &done["dry_run"]), (&before["count"], &json!(false)));
        assert_eq!(recover(&gateway, &id, window(false)).await["count"], 0);
        receiver.expect_none();
        post(&gateway, &format!("/v1/endpoints/{id}/enable")).await;
        gateway.until_figure("remgate_deliveries_pending 0").await;
        let mut ids: Vec<_> = receiver.arrived().iter().map(|item| item.header("webhook-id").to_owned()).collect();
        ids.sort();
        let mut expected = vec![earlier, given_up, missed];
        expected.sort();
        assert_eq!(ids, expected);
    }

    async fn what_a_replay_has_brought_is_not_recovered(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let id = made(&gateway, "crm", &receiver.url("/")).await;
        let event = store(&gateway, "authenticated", 1).await;
        gateway.until_figure("remgate_deliveries_total{state=\"exhausted\"} 1").await;
        receiver.answer(|_| Answer::status(200));
        let window = json!({"since": ALWAYS, "until": LATER});
        gateway.internal.post(&format!("/v1/events/{event}/replay"), &json!({})).await.expect(202);
        gateway.until_figure("remgate_deliveries_total{state=\"succeeded\"} 1").await;
        assert_eq!(recover(&gateway, &id, window).await["count"], 0);
        assert_eq!(receiver.arrived().len(), 2);
    }

    async fn a_window_holds_its_beginning_and_not_its_end(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        for number in 0..3 {
            store(&gateway, "authenticated", number).await;
            gateway.clock.advance(std::time::Duration::from_secs(10));
        }
        let id = made(&gateway, "crm", "http://127.0.0.1:9/").await;
        let count = async |since: &str, until: &str| recover(&gateway, &id, json!({"since": since, "until": until, "dry_run": true})).await["count"].clone();
        assert_eq!(count("2026-11-22T21:04:05.123Z", "2026-11-22T21:04:15.123Z").await, 1);
        assert_eq!(count("2026-11-22T21:04:05.124Z", "2026-11-22T21:04:25.124Z").await, 2);
        assert_eq!(recover(&gateway, &id, json!({"since": ALWAYS, "dry_run": true})).await["count"], 3, "until now");
        let path = format!("/v1/endpoints/{id}/recover");
        for (body, words) in [
            (json!({}), "since"), (json!({"since": "yesterday"}), "2026-11-22T21:04:05Z"), (json!({"since": LATER, "until": ALWAYS}), "earlier"),
            (json!({"since": LATER}), "earlier"), (json!({"since": ALWAYS, "dryrun": true}), "dryrun"),
        ] {
            let refused = gateway.internal.post(&path, &body).await.expect(422).json();
            assert!(refused["detail"].as_str().unwrap().contains(words), "{body}: {refused}");
        }
        gateway.internal.post("/v1/endpoints/ep_00000000000000000000000000000000/recover", &json!({"since": ALWAYS})).await.expect(404);
    }

    /// More events than one transaction looks at, more callbacks meanwhile, and everybody recovers at once.
    async fn recoveries_at_once_owe_each_event_once(engine: Engine) {
        const BEFORE: u64 = 1500;
        const MEANWHILE: u64 = 100;
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        // On PostgreSQL the second one is another replica.
        let other = if engine.name() == "postgres" { Some(TestGateway::replica(2, engine.url(), &delivery("")).await) } else { None };
        let other = other.as_ref().unwrap_or(&gateway);
        let numbers: Vec<_> = (0..BEFORE).collect();
        for many in numbers.chunks(500) {
            let query: Vec<_> = many.iter().map(|number| format!("authenticated={}", uaid(*number))).collect();
            for part in query.chunks(100) {
                gateway.public.get(&format!("/remauth_callback?{}", part.join("&"))).await.expect(200);
            }
        }
        let id = made(&gateway, "crm", "http://127.0.0.1:9/").await;
        post(&gateway, &format!("/v1/endpoints/{id}/disable")).await;
        let window = json!({"since": ALWAYS, "until": LATER});
        let callbacks = async {
            for number in BEFORE..BEFORE + MEANWHILE {
                store(other, "authenticated", number).await;
            }
        };
        let (one, two, ()) = tokio::join!(recover(&gateway, &id, window.clone()), recover(other, &id, window.clone()), callbacks);
        let rest = recover(&gateway, &id, window).await["count"].as_u64().unwrap();
        assert_eq!(one["count"].as_u64().unwrap() + two["count"].as_u64().unwrap() + rest, BEFORE + MEANWHILE);
        let listed = gateway.internal.get(&format!("/v1/deliveries?endpoint={id}&limit=1000&after=0")).await.expect(200).json();
        let more = gateway.internal.get(&format!("/v1/deliveries?endpoint={id}&limit=1000&after={}", listed["cursor"].as_str().unwrap())).await.expect(200).json();
        let mut events: Vec<_> = [&listed, &more].iter().flat_map(|page| page["data"].as_array().unwrap()).map(|item| item["event"].as_str().unwrap()).collect();
        events.sort_unstable();
        events.dedup();
        assert_eq!(events.len() as u64, BEFORE + MEANWHILE);
        assert_eq!(states(&gateway, &id, "pending").await, 1000, "a page of them");
    }

    async fn deliveries_can_be_mended_from_a_shell(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500).body("no")).await;
        let config = delivery("schedule = []") + &endpoint("crm", &receiver.url("/"), "");
        let service = Service::start(&engine, &config).await;
        let event = service.store(&uaid(1)).await;
        service.store(&uaid(2)).await;
        service.until_metric("remgate_deliveries_total{state=\"exhausted\"}", 2).await;
        let listed = done(verb(&service, &["delivery", "list", "--endpoint", "crm", "--state", "exhausted", "--json"]).await);
        let ids: Vec<_> = listed.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 2);
        let table = done(verb(&service, &["delivery", "list", "--event", &event]).await);
        assert!(table.stdout.lines().count() == 2 && table.stdout.contains(&ids[0]), "{table:?}");
        let shown = done(verb(&service, &["delivery", "show", &ids[0]]).await);
        assert!(shown.stdout.contains("exhausted") && shown.stdout.contains("500"), "{shown:?}");

        receiver.answer(|_| Answer::status(200));
        receiver.arrived();
        // One that is unknown holds up no other.
        let retried = verb(&service, &["delivery", "retry", "dlv_999", &ids[0]]).await;
        assert!(retried.code == Some(1) && retried.stderr.contains("dlv_999") && retried.stdout.contains(&ids[0]), "{retried:?}");
        assert_eq!(receiver.next().await.header("webhook-id"), event);
        let dry = done(verb(&service, &["endpoint", "recover", "crm", "--since", "1h", "--dry-run", "--json"]).await);
        assert_eq!(serde_json::from_str::<Value>(&dry.stdout).unwrap(), json!({"count": 1, "dry_run": true}));
        let recovered = done(verb(&service, &["endpoint", "recover", "crm", "--since", "1h"]).await);
        assert_eq!(recovered.stdout, "1 will be delivered\n");
        receiver.next().await;
        let replayed = done(verb(&service, &["event", "replay", &event, "--endpoint", "crm"]).await);
        assert!(replayed.stdout.starts_with("dlv_"), "{replayed:?}");
        assert_eq!(receiver.next().await.header("remgate-replay"), "true");
        service.until_metric("remgate_deliveries_pending", 0).await;
        let over = verb(&service, &["delivery", "cancel", &ids[0]]).await;
        assert!(over.code == Some(1) && over.stderr.contains("over already"), "{over:?}");
        for usage in [&["delivery", "retry"][..], &["delivery", "show", "x"], &["endpoint", "recover", "crm"], &["delivery", "list", "--state", "done"]] {
            assert_eq!(verb(&service, usage).await.code, Some(2), "{usage:?}");
        }
    }
}

/// Runs a verb beside the service, with the service's configuration and the port that it got.
async fn verb(service: &Service, args: &[&str]) -> Output {
    let internal = service.process.internal_addr().to_string();
    let all: Vec<_> = args.iter().copied().chain(["--internal-listen", &internal]).collect();
    Process::run(&all, &[], service.process.folder()).await
}

fn done(output: Output) -> Output {
    assert_eq!(output.code, Some(0), "{output:?}");
    output
}
