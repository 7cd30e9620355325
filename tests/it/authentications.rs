//! `/v1/authentications`: expected, waited for, claimed.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::engine::both_engines;
use crate::support::gateway::TestGateway;
use crate::support::http::{Answer, Client};
use crate::support::receiver::Receiver;
use crate::support::service::{delivery, endpoint, uaid};
use reqwest::Method;

/// Two services, each with a token.
const TWO: &str = "
[[service]]
name = \"portal\"
tokens = [\"portal-token-0123456789012\"]
[[service]]
name = \"shop\"
tokens = [\"shop-token-012345678901234\"]
";

/// Lets a callback without a token be claimed.
const ANY_TRUST: &str = "authentications.min_trust = \"none\"\n";

/// The token of a service that has one.
const TOKEN: &str = "a-token-of-these-tests-0123";

fn path(number: u64) -> String {
    format!("/v1/authentications/{}", uaid(number))
}

async fn put(internal: &Client, number: u64, body: Value) -> Answer {
    internal.request(Method::PUT, &path(number), Some(&body)).await
}

async fn claim(internal: &Client, number: u64) -> Answer {
    internal.post(&format!("{}/claim", path(number)), &json!({})).await
}

/// The callback for it; the id of the event.
async fn callback(gateway: &TestGateway, number: u64) -> String {
    let path = format!("/remauth_callback?authenticated={}", uaid(number));
    gateway.public.get(&path).await.expect(200).json()["data"].as_str().unwrap().to_owned()
}

async fn event(gateway: &TestGateway, id: &str) -> Value {
    gateway.internal.get(&format!("/v1/events/{id}")).await.expect(200).json()
}

/// Waits until one request waits.
async fn until_waiting(gateway: &TestGateway, count: usize) {
    gateway.until_figure(&format!("remgate_waiters {count}")).await;
}

both_engines! {
    async fn what_is_expected_is_told_as_it_comes(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let config = delivery("") + &endpoint("crm", &receiver.url("/"), "");
        let gateway = TestGateway::start(engine.url(), &config).await;
        let said = json!({"subject": "jane@example.com", "state": {"cart": [1, "é"]}, "expires_in": 60});
        let expected = put(&gateway.internal, 1, said.clone()).await.expect(201).json();
        assert_eq!(expected, json!({
            "uaid": uaid(1), "service": "default", "status": "pending", "type": null, "trust": null, "expected": true,
            "subject": "jane@example.com", "state": {"cart": [1, "é"]}, "expected_at": "2026-11-22T21:04:05.123Z",
            "expires_at": "2026-11-22T21:05:05.123Z", "completed_at": null, "claimed_at": null, "late": false, "event": null,
        }));
        assert_eq!(gateway.internal.get(&path(1)).await.expect(200).json(), expected);

        // The callback wakes a request that waits.
        let waiting = async { gateway.internal.get(&(path(1) + "?wait=60")).await };
        let (waited, id) = tokio::join!(async { waiting.await.expect(200).json() }, async {
            until_waiting(&gateway, 1).await;
            callback(&gateway, 1).await
        });
        assert_eq!((&waited["status"], &waited["event"], &waited["type"]), (&json!("completed"), &json!(id), &json!("remauth.authenticated")));
        assert_eq!((&waited["completed_at"], &waited["trust"]), (&json!("2026-11-22T21:04:05.123Z"), &json!("none")));
        let stored = event(&gateway, &id).await;
        assert_eq!((&stored["expected"], &stored["subject"], &stored["state"]), (&json!(true), &said["subject"], &said["state"]));
        let got = receiver.next().await.json();
        assert_eq!((&got["data"]["expected"], &got["data"]["subject"], &got["data"]["state"]), (&json!(true), &said["subject"], &said["state"]));
        assert!(got["data"]["late"].is_null());

        // A later word changes neither the event nor the authentication, which is over.
        let later = put(&gateway.internal, 1, json!({"subject": "else"})).await.expect(200).json();
        assert_eq!(later["subject"], "jane@example.com");
        assert_eq!(event(&gateway, &id).await, stored);
    }

    async fn the_order_of_saying_waiting_and_coming_does_not_matter(gateway: TestGateway) {
        // Waiting first, then saying, then coming.
        let waiting = async { gateway.internal.get(&(path(1) + "?wait=60")).await };
        let (waited, ()) = tokio::join!(async { waiting.await.expect(200).json() }, async {
            until_waiting(&gateway, 1).await;
            put(&gateway.internal, 1, json!({"subject": "j"})).await.expect(201);
            callback(&gateway, 1).await;
        });
        assert_eq!((&waited["status"], &waited["subject"]), (&json!("completed"), &json!("j")));
        // The callback comes first: it is stored as unexpected, and the later expectation is completed at once.
        let id = callback(&gateway, 2).await;
        assert_eq!(event(&gateway, &id).await["expected"], false);
        let unexpected = gateway.internal.get(&(path(2) + "?wait=60")).await.expect(200).json();
        assert_eq!((&unexpected["status"], &unexpected["expected"], &unexpected["expires_at"]), (&json!("completed"), &json!(false), &json!(null)));
        let expected = put(&gateway.internal, 2, json!({"subject": "j"})).await.expect(201).json();
        assert_eq!((&expected["status"], &expected["expected"], &expected["subject"]), (&json!("completed"), &json!(true), &json!("j")));
        assert_eq!(event(&gateway, &id).await["expected"], false, "what was stored stays");
        // Coming twice, as something else: the first stays.
        gateway.public.get(&format!("/remauth_callback?subscribed={}", uaid(2))).await.expect(200);
        assert_eq!(gateway.internal.get(&path(2)).await.json()["type"], "remauth.authenticated");
        // Nothing at all.
        let waiting = async { gateway.internal.get(&(path(3) + "?wait=2")).await };
        let (waited, ()) = tokio::join!(async { waiting.await.expect(404).json() }, async {
            until_waiting(&gateway, 1).await;
            gateway.clock.advance(Duration::from_secs(2));
        });
        assert_eq!(waited["type"], "urn:remgate:problem:not-found");
        assert_eq!(gateway.internal.get(&path(3)).await.expect(404).json(), waited);
    }

    async fn what_is_said_again_counts_while_it_is_pending(gateway: TestGateway) {
        put(&gateway.internal, 1, json!({"subject": "j", "state": 1})).await.expect(201);
        gateway.clock.advance(Duration::from_secs(10));
        let again = put(&gateway.internal, 1, json!({"state": 2, "expires_in": 20})).await.expect(200).json();
        assert_eq!((&again["subject"], &again["state"], &again["expected_at"], &again["expires_at"]),
            (&json!(null), &json!(2), &json!("2026-11-22T21:04:05.123Z"), &json!("2026-11-22T21:04:35.123Z")));
    }

    async fn of_fifty_claims_one_is_answered(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), ANY_TRUST).await;
        // On PostgreSQL half of them come to another replica.
        let other = if engine.name() == "postgres" { Some(TestGateway::replica(2, engine.url(), ANY_TRUST).await) } else { None };
        let other = other.as_ref().unwrap_or(&gateway);
        put(&gateway.internal, 1, json!({})).await.expect(201);
        assert_eq!(claim(&gateway.internal, 1).await.expect(409).json()["code"], "not_completed");
        let id = callback(&gateway, 1).await;
        let claims = (0..50).map(|number| claim(if number % 2 == 0 { &gateway.internal } else { &other.internal }, 1));
        let answers = join_all(claims).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 49));
        let won = won[0].json();
        assert_eq!((&won["status"], &won["event"], &won["claimed_at"]), (&json!("completed"), &json!(id), &json!("2026-11-22T21:04:05.123Z")));
        assert!(lost.iter().all(|answer| answer.status == 409 && answer.json()["type"] == "urn:remgate:problem:already-claimed"));
        assert_eq!(gateway.internal.get(&path(1)).await.json()["claimed_at"], won["claimed_at"]);
        assert!(gateway.internal.get(&path(1)).await.json()["assertion"].is_null(), "only the winner gets one");
        // An unexpected authentication can be claimed, too, and expected afterwards.
        callback(&gateway, 2).await;
        claim(&gateway.internal, 2).await.expect(200);
        claim(&gateway.internal, 2).await.expect(409);
        let late = put(&gateway.internal, 2, json!({"subject": "j"})).await.expect(201).json();
        assert_eq!((&late["status"], late["claimed_at"].is_string()), (&json!("completed"), true));
        claim(&gateway.internal, 3).await.expect(404);
    }

    async fn a_claim_is_good_for_five_minutes(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), ANY_TRUST).await;
        callback(&gateway, 1).await;
        callback(&gateway, 2).await;
        gateway.clock.advance(Duration::from_mins(5));
        claim(&gateway.internal, 1).await.expect(200);
        gateway.clock.advance(Duration::from_millis(1));
        let late = claim(&gateway.internal, 2).await.expect(410).json();
        assert_eq!(late["type"], "urn:remgate:problem:claim-too-late");
        claim(&gateway.internal, 1).await.expect(409);
    }

    async fn a_claim_needs_the_trust_that_it_and_the_configuration_ask_for(engine: Engine) {
        let open = TestGateway::start(engine.url(), "").await;
        put(&open.internal, 1, json!({})).await.expect(201);
        callback(&open, 1).await;
        for body in [json!({}), json!({"min_trust": "none"}), json!({"min_trust": "token"})] {
            let refused = open.internal.post(&format!("{}/claim", path(1)), &body).await.expect(403).json();
            assert_eq!(refused["code"], "insufficient_trust", "{body}");
        }
        for wrong in [json!({"min_trust": "much"}), json!({"expected": "yes"}), json!({"trust": "token"})] {
            open.internal.post(&format!("{}/claim", path(1)), &wrong).await.expect(422);
        }
        assert_eq!(open.internal.get(&path(1)).await.expect(200).json()["claimed_at"], json!(null));
    }

    async fn a_claim_may_ask_that_it_was_expected(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &format!("callback.tokens = [\"{TOKEN}\"]")).await;
        let terms = json!({"min_trust": "token", "expected": true});
        let claim = async |number: u64| gateway.internal.post(&format!("{}/claim", path(number)), &terms).await;
        put(&gateway.internal, 1, json!({"subject": "jane@example.com"})).await.expect(201);
        for number in [1, 2] {
            gateway.public.get(&format!("/remauth_callback/{TOKEN}?authenticated={}", uaid(number))).await.expect(200);
        }
        assert_eq!(claim(2).await.expect(403).json()["code"], "insufficient_trust");
        let claimed = claim(1).await.expect(200).json();
        assert_eq!((&claimed["trust"], &claimed["expected"], &claimed["subject"]), (&json!("token"), &json!(true), &json!("jane@example.com")));
        assert_eq!(claim(1).await.expect(409).json()["code"], "already_claimed");
    }

    async fn an_idempotency_key_keeps_final_answers_only(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), ANY_TRUST).await;
        put(&gateway.internal, 1, json!({})).await.expect(201);
        let client = gateway.internal.clone().header("idempotency-key", "claim-1");
        for _ in 0..2 {
            assert_eq!(claim(&client, 1).await.expect(409).json()["code"], "not_completed");
        }
        callback(&gateway, 1).await;
        let claimed = claim(&client, 1).await.expect(200).json();
        assert_eq!(claim(&client, 1).await.expect(200).json(), claimed, "a final answer is given again");
    }

    async fn an_idempotency_key_does_not_keep_an_unknown_authentication(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), ANY_TRUST).await;
        let unknown = gateway.internal.clone().header("idempotency-key", "claim-2");
        claim(&unknown, 2).await.expect(404);
        callback(&gateway, 2).await;
        claim(&unknown, 2).await.expect(200);
    }

    async fn an_event_that_came_first_is_offered_once_it_is_expected(engine: Engine) {
        let (mut all, mut expected) = (Receiver::start().await, Receiver::start().await);
        let mut other = Receiver::start().await;
        let config = delivery("") + &endpoint("all", &all.url("/"), "")
            + &endpoint("expected", &expected.url("/"), "expected_only = true")
            + &endpoint("other", &other.url("/"), "expected_only = true\ntypes = [\"remauth.subscribed\"]");
        let gateway = TestGateway::start(engine.url(), &config).await;
        let id = callback(&gateway, 1).await;
        assert_eq!(all.next().await.json()["data"]["expected"], json!(false));
        expected.expect_none();
        let said = json!({"subject": "jane@example.com", "state": {"cart": 7}});
        assert_eq!(put(&gateway.internal, 1, said.clone()).await.expect(201).json()["status"], "completed");
        let told = expected.next().await;
        assert_eq!(told.header("webhook-id"), id);
        let data = &told.json()["data"];
        assert_eq!((&data["expected"], &data["subject"], &data["state"]), (&json!(true), &json!("jane@example.com"), &json!({"cart": 7})));
        put(&gateway.internal, 1, said).await.expect(200);
        gateway.until_figure("remgate_deliveries_pending 0").await;
        all.expect_none();
        expected.expect_none();
        other.expect_none();
    }

    async fn callbacks_and_expectations_at_the_same_time_are_all_offered(engine: Engine) {
        let mut expected = Receiver::start().await;
        let config = delivery("") + &endpoint("expected", &expected.url("/"), "expected_only = true");
        let gateway = TestGateway::start(engine.url(), &config).await;
        let other = if engine.name() == "postgres" { Some(TestGateway::replica(2, engine.url(), &config).await) } else { None };
        let other = other.as_ref().unwrap_or(&gateway);
        let stored = &gateway;
        let pairs = (0..60).map(|number| async move {
            tokio::join!(callback(stored, number), put(&other.internal, number, json!({"subject": "j"})))
        });
        let ids: std::collections::BTreeSet<_> = join_all(pairs).await.into_iter().map(|(id, _)| id).collect();
        let mut told = std::collections::BTreeSet::new();
        while told.len() < ids.len() {
            let request = expected.next().await;
            assert_eq!(request.json()["data"]["subject"], "j");
            assert!(told.insert(request.header("webhook-id").to_owned()), "each once");
        }
        assert_eq!(told, ids);
        gateway.until_figure("remgate_deliveries_pending 0").await;
        expected.expect_none();
    }

    async fn a_callback_at_another_service_is_another_authentication(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), TWO).await;
        let said = json!({"service": "portal", "subject": "j"});
        assert_eq!(put(&gateway.internal, 1, said).await.expect(201).json()["service"], "portal");
        gateway.public.get(&format!("/remauth_callback/shop-token-012345678901234?authenticated={}", uaid(1))).await.expect(200);
        let at = async |service: &str| gateway.internal.get(&format!("{}?service={service}", path(1))).await.expect(200).json();
        assert_eq!((&at("portal").await["status"], &at("shop").await["status"]), (&json!("pending"), &json!("completed")));
        assert_eq!((&at("shop").await["expected"], &at("shop").await["subject"]), (&json!(false), &json!(null)));
        gateway.internal.post(&format!("{}/claim?service=portal", path(1)), &json!({})).await.expect(409);
        gateway.internal.post(&format!("{}/claim?service=shop", path(1)), &json!({})).await.expect(200);
    }

    async fn an_ambiguous_authentication_needs_a_service(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), TWO).await;
        for answer in [gateway.internal.get(&path(1)).await, claim(&gateway.internal, 1).await, put(&gateway.internal, 1, json!({})).await] {
            assert!(answer.expect(422).json()["detail"].as_str().unwrap().contains("several"));
        }
        put(&gateway.internal, 1, json!({"service": "nowhere"})).await.expect(422);
        gateway.internal.get(&format!("{}?service=nowhere", path(1))).await.expect(422);
    }

    async fn a_key_of_a_service_sees_its_own_only(engine: Engine) {
        let config = format!("internal.admin_key = \"admin-key-of-this-test-0123456789\"{TWO}");
        let gateway = TestGateway::start(engine.url(), &config).await;
        let admin = gateway.internal.clone().bearer("admin-key-of-this-test-0123456789");
        let key = async |scope: &str, service: Value| {
            let body = json!({"name": "app", "scopes": [scope], "service": service});
            let made = admin.post("/v1/keys", &body).await.expect(201).json();
            gateway.internal.clone().bearer(made["key"].as_str().unwrap())
        };
        let portal = key("authentications:write", json!("portal")).await;
        let reader = key("authentications:read", json!(null)).await;
        // Its own service is meant when none is named.
        assert_eq!(put(&portal, 1, json!({})).await.expect(201).json()["service"], "portal");
        portal.get(&path(1)).await.expect(200);
        put(&admin, 2, json!({"service": "shop"})).await.expect(201);
        gateway.public.get(&format!("/remauth_callback/shop-token-012345678901234?authenticated={}", uaid(2))).await.expect(200);
        // An authentication of another service looks like an unknown one.
        let foreign = portal.get(&format!("{}?service=shop", path(2))).await.expect(404).json();
        let nowhere = portal.get(&path(2)).await.expect(404).json();
        assert_eq!(foreign, nowhere);
        portal.post(&format!("{}/claim?service=shop", path(2)), &json!({})).await.expect(404);
        portal.post(&format!("{}/ticket?service=shop", path(2)), &json!({})).await.expect(404);
        put(&portal, 2, json!({"service": "shop"})).await.expect(403);
        // Reading is not writing.
        reader.get(&format!("{}?service=shop", path(2))).await.expect(200);
        let refused = put(&reader, 3, json!({"service": "shop"})).await.expect(403).json();
        assert!(refused["detail"].as_str().unwrap().contains("authentications:write"), "{refused}");
        claim(&reader, 2).await.expect(403);
    }

    async fn only_endpoints_that_want_it_get_what_nobody_expected(engine: Engine) {
        let (mut all, mut expected) = (Receiver::start().await, Receiver::start().await);
        let config = delivery("") + &endpoint("all", &all.url("/"), "")
            + &endpoint("expected", &expected.url("/"), "expected_only = true");
        let gateway = TestGateway::start(engine.url(), &config).await;
        callback(&gateway, 1).await;
        put(&gateway.internal, 2, json!({})).await.expect(201);
        callback(&gateway, 2).await;
        assert_eq!(expected.next().await.json()["data"]["uaid"], uaid(2));
        assert_eq!([all.next().await.json()["data"]["expected"].clone(), all.next().await.json()["data"]["expected"].clone()], [json!(false), json!(true)]);
        gateway.until_figure("remgate_deliveries_pending 0").await;
        expected.expect_none();
    }

    async fn bad_words_are_refused(gateway: TestGateway) {
        for (body, words) in [
            (json!({"expires_in": 0}), "expires_in"), (json!({"expires_in": 86401}), "expires_in"), (json!({"expires_in": "5m"}), "hold"),
            (json!({"subject": ""}), "subject"), (json!({"subject": "a".repeat(321)}), "320"), (json!({"subject": "a\u{0}"}), "subject"),
            (json!({"state": "a".repeat(4097)}), "4096"), (json!({"expires": 1}), "expires"), (json!({"service": "no such"}), "service"),
        ] {
            let refused = put(&gateway.internal, 1, body.clone()).await.expect(422).json();
            assert!(refused["detail"].as_str().unwrap().contains(words), "{body}: {refused}");
        }
        gateway.internal.get(&path(1)).await.expect(404);
        for bad in ["x", &"g".repeat(32), &"a".repeat(31)] {
            gateway.internal.request(Method::PUT, &format!("/v1/authentications/{bad}"), Some(&json!({}))).await.expect(422);
            gateway.internal.get(&format!("/v1/authentications/{bad}")).await.expect(404);
        }
        let upper = uaid(0x00ab_cdef).to_uppercase();
        gateway.internal.request(Method::PUT, &format!("/v1/authentications/{upper}"), Some(&json!({"state": "\u{0}"}))).await.expect(201);
        assert_eq!(gateway.internal.get(&path(0x00ab_cdef)).await.expect(200).json()["state"], "\u{0}");
        for query in ["wait=61", "wait=x", "wait=-1", "service=", "limit=1"] {
            gateway.internal.get(&format!("{}?{query}", path(1))).await.expect(400);
        }
        gateway.internal.delete(&path(1)).await.expect(405);
        gateway.internal.get(&format!("{}/claim", path(1))).await.expect(405);
    }
}
