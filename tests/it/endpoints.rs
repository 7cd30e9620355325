//! Endpoints that are managed by requests: made, read, changed, removed, and what is refused.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::{Replicas, TestGateway};
use crate::support::http::{Answer, Client};
use crate::support::process::Launch;
use crate::support::receiver::Receiver;
use crate::support::service::{SECRET, Service, delivery, text, uaid};
use crate::support::within;

/// Path of all endpoints.
pub(crate) const ALL: &str = "/v1/endpoints";

/// The path of an endpoint.
pub(crate) fn at(endpoint: &Value) -> String {
    format!("{ALL}/{}", endpoint["id"].as_str().expect("an endpoint has an id"))
}

/// Makes an endpoint.
pub(crate) async fn make(internal: &Client, body: &Value) -> Value {
    internal.post(ALL, body).await.expect(201).json()
}

async fn patch(internal: &Client, path: &str, body: &Value) -> Answer {
    internal.request(Method::PATCH, path, Some(body)).await
}

/// Document of an endpoint without the fields that differ for each.
fn plain(mut endpoint: Value) -> Value {
    let fields = endpoint.as_object_mut().expect("an endpoint is an object");
    for own in ["id", "name", "secret"] {
        fields.remove(own);
    }
    endpoint
}

both_engines! {
    async fn an_endpoint_needs_only_a_url(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let made = make(&gateway.internal, &json!({"url": "http://127.0.0.1:9/hook?key=a"})).await;
        assert!(made["id"].as_str().unwrap().starts_with("ep_"));
        assert!(made["name"].as_str().unwrap().starts_with("endpoint-"));
        assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
        let expected = json!({
            "url": "http://127.0.0.1:9/hook?key=a", "types": [], "services": [], "format": "standard",
            "expected_only": false, "headers": {},
            "schedule": ["1s", "5s", "30s", "2m", "10m", "1h", "3h", "6h", "12h", "1d", "1d", "1d"],
            "timeout": "15s", "max_in_flight": 16, "rate_limit": null, "public_key": null, "enabled": true,
            "disabled_reason": null, "declared": false,
            "health": {"state": "good", "failures": 0, "failing_since": null, "next_probe_at": null},
            "created_at": "2026-11-22T21:04:05.123Z",
        });
        assert_eq!(plain(made.clone()), expected);
        let shown = gateway.internal.get(&at(&made)).await.expect(200).json();
        assert_eq!(shown.get("secret"), None, "it is shown once");
        assert_eq!(plain(shown.clone()), expected);
        let listed = gateway.internal.get(ALL).await.expect(200).json();
        assert_eq!(listed, json!({"data": [shown], "cursor": "0", "has_more": false}));
        let other = make(&gateway.internal, &json!({"url": "http://127.0.0.1:9/hook?key=a"})).await;
        assert_ne!(made["name"], other["name"]);
    }

    async fn what_is_set_can_be_changed_and_put_back(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let made = make(&gateway.internal, &json!({
            "url": "http://127.0.0.1:9/", "name": "crm", "secret": SECRET, "types": ["remauth.subscribed", "remauth.subscribed"],
            "services": ["default"], "format": "cloudevents", "expected_only": true,
            "headers": {"X-Api-Key": "planted-a", "x-b": "planted-b"}, "schedule": ["5s", "90s"], "timeout": "3s",
            "max_in_flight": 2, "rate_limit": "10/m", "asymmetric": true,
        })).await;
        assert_eq!(made["secret"], SECRET);
        assert_eq!(made["types"], json!(["remauth.subscribed"]));
        assert_eq!(made["headers"], json!({"x-api-key": "***", "x-b": "***"}));
        assert_eq!((&made["schedule"], &made["timeout"]), (&json!(["5s", "1m 30s"]), &json!("3s")));
        assert_eq!((&made["max_in_flight"], &made["rate_limit"]), (&json!(2), &json!("10/m")));
        let key = made["public_key"].as_str().unwrap().to_owned();
        assert!(key.starts_with("whpk_"));
        // What is not named stays; so does a header whose value is the one that is shown.
        let path = at(&made);
        let body = json!({"name": "crm-2", "headers": {"x-api-key": "***", "x-b": null, "x-c": "c"}, "asymmetric": true});
        let changed = patch(&gateway.internal, &path, &body).await.expect(200).json();
        let mut expected = made.clone();
        expected.as_object_mut().unwrap().remove("secret");
        expected["name"] = json!("crm-2");
        expected["headers"] = json!({"x-api-key": "***", "x-c": "***"});
        assert_eq!(changed, expected, "the key is the same too");
        assert_eq!(patch(&gateway.internal, &path, &json!({})).await.expect(200).json(), expected);
        assert_eq!(gateway.internal.get(&path).await.expect(200).json(), expected);
        let back = json!({
            "name": null, "types": null, "services": null, "format": null, "expected_only": null, "headers": null,
            "schedule": null, "timeout": null, "max_in_flight": null, "rate_limit": null, "asymmetric": null,
        });
        let back = patch(&gateway.internal, &path, &back).await.expect(200).json();
        assert!(back["name"].as_str().unwrap().starts_with("endpoint-"));
        let bare = make(&gateway.internal, &json!({"url": "http://127.0.0.1:9/"})).await;
        assert_eq!(plain(back), plain(bare));
        let once = patch(&gateway.internal, &path, &json!({"schedule": []})).await.expect(200).json();
        assert_eq!(once["schedule"], json!([]), "one attempt only");
    }

    async fn what_cannot_be_is_refused_and_not_repeated(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let made = make(&gateway.internal, &json!({"url": "http://127.0.0.1:9/"})).await;
        let refused = [
            (json!({"url": "planted"}), "url is absolute"),
            (json!({"url": "ftp://planted/"}), "http://"),
            (json!({"url": "https://planted:b@a.example/"}), "user information"),
            (json!({"url": null}), "needs a `url`"),
            (json!({"secret": "whsec_planted"}), "secret"),
            (json!({"type": ["remauth.subscribed"]}), "unknown field `type`"),
            (json!({"types": ["remgate.test"]}), "an event's type is one of"),
            (json!({"types": "planted"}), "a sequence"),
            (json!({"services": ["planted"]}), "there are default"),
            (json!({"format": "planted"}), "standard, cloudevents, remauth"),
            (json!({"name": "planted with spaces"}), "1 to 64"),
            (json!({"headers": {"x-a": 7_777}}), "a string"),
            (json!({"headers": {"host": "planted"}}), "not for endpoints"),
            (json!({"headers": {"x-a": "planted\n"}}), "visible ASCII"),
            (json!({"headers": {"x-a": "***"}}), "only shown"),
            (json!({"schedule": ["planted"]}), "a duration"),
            (json!({"schedule": ["366d"]}), "365d"),
            (json!({"timeout": "11m"}), "10m"),
            (json!({"max_in_flight": 0}), "1 to 10000"),
            (json!({"rate_limit": "planted"}), "50/s"),
            (json!({"asymmetric": "planted"}), "a boolean"),
        ];
        for (part, words) in refused {
            let mut whole = part.clone();
            if whole.get("url").is_none() {
                whole["url"] = json!("http://127.0.0.1:9/");
            }
            let created = gateway.internal.post(ALL, &whole).await.expect(422);
            let changed = patch(&gateway.internal, &at(&made), &part).await.expect(422);
            for problem in [created, changed] {
                assert_eq!(problem.json()["type"], "urn:remgate:problem:unprocessable");
                let detail = problem.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains(words) || part.get("secret").is_some(), "{part}: {detail}");
                assert!(!problem.text().contains("planted") && !problem.text().contains("7777"), "{detail}");
            }
        }
        gateway.internal.post(ALL, &json!({})).await.expect(422);
        patch(&gateway.internal, "/v1/endpoints/ep_00000000000000000000000000000000", &json!({})).await.expect(404);
        gateway.internal.get("/v1/events?type=remgate.test").await.expect(400);
        let listed = gateway.internal.get(ALL).await.expect(200).json();
        assert_eq!(listed["data"].as_array().unwrap().len(), 1, "nothing came of any of it");
    }

    async fn the_guard_speaks_early(gateway: TestGateway) {
        let made = make(&gateway.internal, &json!({"url": "https://nowhere.invalid/"})).await;
        for url in ["http://127.0.0.1:9/", "http://localhost:9/", "http://2130706433/", "http://[::ffff:10.0.0.1]/"] {
            let body = json!({"url": url});
            for problem in [gateway.internal.post(ALL, &body).await, patch(&gateway.internal, &at(&made), &body).await] {
                let detail = problem.expect(422).json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains("delivery.allow_private_networks"), "{detail}");
            }
        }
        let own = json!({"url": gateway.internal.base()});
        assert!(gateway.internal.post(ALL, &own).await.expect(422).text().contains("own listeners"));
        patch(&gateway.internal, &at(&made), &json!({"name": "later"})).await.expect(200);
    }

    async fn names_are_unique(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let body = json!({"url": "http://127.0.0.1:9/", "name": "crm"});
        let answers = join_all((0..8).map(|_| gateway.internal.post(ALL, &body))).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
        let other = make(&gateway.internal, &json!({"url": "http://127.0.0.1:9/", "name": "erp"})).await;
        let problem = patch(&gateway.internal, &at(&other), &json!({"name": "crm"})).await.expect(409);
        assert!(problem.json()["detail"].as_str().unwrap().contains("`crm`"));
        assert_eq!(gateway.internal.get(&at(&other)).await.json()["name"], "erp");
        patch(&gateway.internal, &at(&other), &json!({"name": "erp"})).await.expect(200);
    }

    async fn no_change_is_lost(engine: Engine) {
        let replicas = Replicas::start(&engine, &delivery("")).await;
        let clients = replicas.clients();
        let path = at(&make(clients[0], &json!({"url": "http://127.0.0.1:9/"})).await);
        let changes = (0..24).map(|n| {
            let name = format!("x-{n}");
            let (client, path) = (clients[n % 2], &path);
            async move { patch(client, path, &json!({"headers": {name: "v"}})).await.expect(200) }
        });
        join_all(changes).await;
        let shown = clients[0].get(&path).await.json();
        assert_eq!(shown["headers"].as_object().unwrap().len(), 24, "{shown}");
    }

    async fn a_new_endpoint_gets_what_comes_signed_with_its_secret(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let service = Service::start(&engine, &delivery("")).await;
        service.store(&uaid(1)).await;
        let made = make(&service.internal, &json!({"url": receiver.url("/hook")})).await;
        let id = service.store(&uaid(2)).await;
        let got = receiver.next().await;
        assert_eq!(got.header("webhook-id"), id, "and nothing from before it was there");
        got.verify(made["secret"].as_str().unwrap()).unwrap();
    }

    async fn a_changed_filter_holds_for_the_next_event(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let service = Service::start(&engine, &delivery("")).await;
        let made = make(&service.internal, &json!({"url": receiver.url("/hook")})).await;
        let body = json!({"types": ["remauth.subscribed"]});
        patch(&service.internal, &at(&made), &body).await.expect(200);
        service.store(&uaid(3)).await;
        service.callback(&format!("subscribed={}", uaid(4))).await.expect(200);
        assert_eq!(receiver.next().await.json()["type"], "remauth.subscribed");
    }
}

#[tokio::test]
async fn nothing_secret_reaches_log_or_answer() {
    let (engine, mut receiver) = (Engine::sqlite(), Receiver::start().await);
    let launch = Launch::new(&[]).config(&text(engine.url(), &delivery("")));
    let service = Service::of(launch.env("RUST_LOG", "trace").start().await);
    let secret = "whsec_cGxhbnRlZC1wbGFudGVkLXBsYW50ZWQtMDE=";
    let body = json!({
        "url": receiver.url("/hook?key=planted-query"), "name": "crm", "secret": secret,
        "headers": {"x-api-key": "planted-value"}, "asymmetric": true,
    });
    let keyed = service.internal.clone().header("idempotency-key", "planted-once");
    let made = keyed.post(ALL, &body).await.expect(201).json();
    let path = at(&made);
    let change = json!({"headers": {"x-other": "planted-other"}});
    let mut answers = vec![patch(&service.internal, &path, &change).await.expect(200)];
    let fresh = json!({"secret": "whsec_YW5vdGhlci1hbm90aGVyLWFub3RoZXItMDEyMzQ="});
    service.internal.post(&format!("{path}/secret/rotate"), &fresh).await.expect(200);
    service.internal.post(&format!("{path}/test"), &json!({})).await.expect(200);
    receiver.next().await;
    service.store(&uaid(1)).await;
    receiver.next().await;
    service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 1).await;
    receiver.answer(|_| crate::support::receiver::Answer::status(500));
    service.store(&uaid(2)).await;
    receiver.next().await;
    service.until_metric("remgate_attempts_total{outcome=\"status_5xx\"}", 1).await;
    for path in [ALL, &path] {
        answers.push(service.internal.get(path).await.expect(200));
    }
    let log = service.process.log();
    assert!(log.contains("created an endpoint"), "it was traced");
    for planted in ["planted", "cGxhbnRlZC1", "YW5vdGhlci", "whsk_"] {
        assert!(!log.contains(planted), "{planted} in {log}");
    }
    // A URL is shown whole to those who may read endpoints.
    for answer in answers {
        let text = answer.text().replace("planted-query", "");
        assert!(!text.contains("planted") && !text.contains("whsec_") && !text.contains("whsk_"), "{text}");
    }
}

/// Another replica has begun to change the endpoint, and not ended.
#[tokio::test]
async fn a_change_waits_for_the_one_before_it() {
    let engine = Engine::postgres().await;
    let gateway = TestGateway::start(engine.url(), &delivery("")).await;
    let made = make(&gateway.internal, &json!({"url": "http://127.0.0.1:9/"})).await;
    let mut conn = PgConnection::connect(engine.url()).await.unwrap();
    let mut other = PgConnection::connect(engine.url()).await.unwrap();
    conn.execute("BEGIN; UPDATE endpoints SET name = 'theirs'").await.unwrap();
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let change = async {
        let body = json!({"types": ["remauth.subscribed"]});
        patch(&gateway.internal, &at(&made), &body).await.expect(200).json()
    };
    let commit = async {
        within("the change to wait", async {
            while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut other).await.unwrap() == 0 {}
        })
        .await;
        conn.execute("COMMIT").await.unwrap();
    };
    let (changed, ()) = tokio::join!(change, commit);
    assert_eq!((&changed["name"], &changed["types"]), (&json!("theirs"), &json!(["remauth.subscribed"])));
    assert_eq!(gateway.internal.get(&at(&made)).await.json(), changed);
}
