//! Rejected callbacks: what an admitted sender sent and could not be understood is kept, shown, accepted or discarded.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::engine::both_engines;
use crate::support::http::Client;
use crate::support::receiver::Receiver;
use crate::support::service::{Service, delivery, endpoint, uaid};

const TOKEN: &str = "kZ3vX9mQ2rT7wB5nL8cJ4A";
const PORTAL: &str = "pH6sD1fG0yU_eR-iO3aK2w";
const ADMIN: &str = "an-admin-key-of-these-tests";

fn config(more: &str) -> String {
    format!(
        "internal.admin_key = \"{ADMIN}\"\ncallback.tokens = [\"{TOKEN}\"]\n{more}\n[[service]]\nname = \"portal\"\ntokens = [\"{PORTAL}\"]\n"
    )
}

/// The running service and a client with the admin key.
async fn start(engine: &crate::support::engine::Engine, more: &str) -> (Service, Client) {
    let service = Service::start(engine, &config(more)).await;
    let admin = service.internal.clone().bearer(ADMIN);
    (service, admin)
}

async fn rejected(admin: &Client, query: &str) -> Vec<Value> {
    let page = admin.get(&format!("/v1/rejected-callbacks?{query}")).await.expect(200).json();
    page["data"].as_array().unwrap().clone()
}

/// Sends a callback that is rejected, and returns the path that accepts it.
async fn reject_one(service: &Service, admin: &Client) -> String {
    service.public.get(&format!("/remauth_callback/{TOKEN}?authenticated=bad")).await.expect(400);
    format!("/v1/rejected-callbacks/{}/accept", rejected(admin, "").await[0]["id"].as_str().unwrap())
}

both_engines! {
    async fn what_cannot_be_understood_is_kept_without_its_token(engine: Engine) {
        let (service, admin) = start(&engine, "").await;
        for path in [
            format!("/remauth_callback/{TOKEN}?authenticated=bad"),
            format!("/remauth_callback?token={TOKEN}&nothing=here"),
            format!("/remauth_callback/{PORTAL}?authenticated={}&subscribed=bad", uaid(1)),
        ] {
            service.public.get(&path).await.expect(400);
        }
        let stray = format!("/remauth_callback/{TOKEN}/extra?authenticated={}", uaid(2));
        service.public.get(&stray).await.expect(404);
        let json = |request: reqwest::RequestBuilder| {
            request.header("content-type", "application/json").body(format!("{{\"authenticated\":\"{}\",\"t\":\"{TOKEN}\"}}", uaid(3)))
        };
        service.public.send(Method::POST, &format!("/remauth_callback/{TOKEN}"), json).await.expect(400);
        let kept = rejected(&admin, "").await;
        let requests: Vec<_> = kept.iter().map(|row| row["request"].as_str().unwrap().to_owned()).collect();
        assert_eq!(requests, [
            "GET /remauth_callback/***?authenticated=bad".to_owned(),
            "GET /remauth_callback?token=***&nothing=here".to_owned(),
            format!("GET /remauth_callback/***?authenticated={}&subscribed=bad", uaid(1)),
            format!("GET /remauth_callback/***/extra?authenticated={}", uaid(2)),
            format!("POST /remauth_callback/***\n{{\"authenticated\":\"{}\",\"t\":\"***\"}}", uaid(3)),
        ]);
        let first = &kept[0];
        assert_eq!((&first["service"], &first["trust"], &first["source_ip"], &first["reason"]), (&json!("default"), &json!("token"), &json!("127.0.0.1"), &json!("authenticated")));
        assert_eq!((&kept[2]["service"], &kept[2]["reason"], &kept[3]["reason"]), (&json!("portal"), &json!("subscribed"), &json!("path")));
        assert_eq!(admin.get(&format!("/v1/rejected-callbacks/{}", first["id"].as_str().unwrap())).await.expect(200).json()["reason"], "authenticated");
        assert_eq!(admin.get("/v1/events").await.expect(200).json()["data"], json!([]));
        assert!(!service.process.log().contains(TOKEN));
    }

    async fn what_is_not_admitted_leaves_no_row(engine: Engine) {
        let (service, admin) = start(&engine, "").await;
        service.public.get("/remauth_callback/wrong-token-0123456789?authenticated=bad").await.expect(403);
        service.public.get("/remauth_callback/a/b?authenticated=bad").await.expect(404);
        assert_eq!(rejected(&admin, "").await, Vec::<Value>::new());
    }

    async fn one_that_is_accepted_becomes_the_event_that_it_meant(engine: Engine) {
        let mut crm = Receiver::start().await;
        let more = endpoint("crm", &crm.url("/"), "") + &delivery("");
        let (service, admin) = start(&engine, &more).await;
        let accept = reject_one(&service, &admin).await;
        admin.post(&accept, &json!({"type": "remauth.expired", "uaid": uaid(7)})).await.expect(422);
        admin.post(&accept, &json!({"type": "remauth.authenticated", "uaid": "bad"})).await.expect(422);
        let event = admin.post(&accept, &json!({"type": "remauth.authenticated", "uaid": uaid(7)})).await.expect(200).json();
        assert_eq!((&event["trust"], &event["service"], &event["uaid"]), (&json!("token"), &json!("default"), &json!(uaid(7))));
        assert_eq!(crm.next().await.header("webhook-id"), event["id"].as_str().unwrap());
        assert_eq!(admin.get("/v1/events").await.expect(200).json()["data"][0], event);
        assert_eq!(rejected(&admin, "").await, Vec::<Value>::new());
        admin.post(&accept, &json!({"type": "remauth.authenticated", "uaid": uaid(7)})).await.expect(404);
    }

    async fn one_that_is_accepted_twice_at_once_becomes_one_event(engine: Engine) {
        let (service, admin) = start(&engine, "").await;
        for round in 0..10 {
            let accept = reject_one(&service, &admin).await;
            let bodies: Vec<_> = (0..8).map(|n| json!({"type": "remauth.authenticated", "uaid": uaid(100 * round + n)})).collect();
            let answers = futures_util::future::join_all(bodies.iter().map(|body| admin.post(&accept, body))).await;
            let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 404, 404, 404, 404, 404, 404, 404]);
            let accepted = answers.iter().find(|answer| answer.status == 200).unwrap().json();
            let events = admin.get("/v1/events?limit=1000").await.expect(200).json()["data"].as_array().unwrap().clone();
            assert_eq!((events.len() as u64, events.last()), (round + 1, Some(&accepted)));
        }
    }

    async fn one_that_is_accepted_wakes_the_request_that_waits_for_it(engine: Engine) {
        let (service, admin) = start(&engine, "").await;
        let path = reject_one(&service, &admin).await;
        let expectation = format!("/v1/authentications/{}", uaid(7));
        admin.request(Method::PUT, &expectation, Some(&json!({}))).await.expect(201);
        let waiting = format!("{expectation}?wait=50");
        let accept = async {
            service.until_metric("remgate_waiters", 1).await;
            let body = json!({"type": "remauth.authenticated", "uaid": uaid(7)});
            admin.post(&path, &body).await.expect(200)
        };
        let (waited, _) = tokio::join!(admin.get(&waiting), accept);
        assert_eq!(waited.expect(200).json()["status"], "completed");
    }

    async fn the_list_pages_filters_and_shows_a_key_its_own_service(engine: Engine) {
        let (service, admin) = start(&engine, "").await;
        for n in 0..3 {
            service.public.get(&format!("/remauth_callback/{TOKEN}?authenticated=bad{n}")).await.expect(400);
        }
        service.public.get(&format!("/remauth_callback/{PORTAL}?authenticated=portal")).await.expect(400);
        let page = admin.get("/v1/rejected-callbacks?limit=2").await.expect(200).json();
        assert_eq!((&page["has_more"], page["data"].as_array().unwrap().len()), (&json!(true), 2));
        let rest = rejected(&admin, &format!("after={}", page["cursor"].as_str().unwrap())).await;
        assert_eq!(rest.len(), 2);
        assert!(rejected(&admin, "order=desc&limit=1").await[0]["request"].as_str().unwrap().ends_with("portal"));
        assert_eq!(rejected(&admin, "service=portal").await.len(), 1);
        for wrong in ["nonsense=1", "limit=0", "order=up", "after=x", "before=1"] {
            admin.get(&format!("/v1/rejected-callbacks?{wrong}")).await.expect(400);
        }
        let made = admin.post("/v1/keys", &json!({"name": "portal", "scopes": ["events:read"], "service": "portal"})).await.expect(201).json();
        let portal = service.internal.clone().bearer(made["key"].as_str().unwrap());
        assert_eq!(rejected(&portal, "").await.len(), 1);
        assert_eq!(rejected(&portal, "service=default").await.len(), 0);
        let foreign = rejected(&admin, "service=default").await[0]["id"].as_str().unwrap().to_owned();
        portal.get(&format!("/v1/rejected-callbacks/{foreign}")).await.expect(404);
        portal.delete(&format!("/v1/rejected-callbacks/{foreign}")).await.expect(403);
        admin.delete(&format!("/v1/rejected-callbacks/{foreign}")).await.expect(204);
        admin.delete(&format!("/v1/rejected-callbacks/{foreign}")).await.expect(404);
        assert_eq!(rejected(&admin, "").await.len(), 3);
    }

    async fn no_more_than_a_thousand_are_kept_and_none_is_long(engine: Engine) {
        let (service, admin) = start(&engine, "").await;
        let long = |request: reqwest::RequestBuilder| request.header("content-type", "text/plain").body("x ".repeat(20_000));
        service.public.send(Method::POST, &format!("/remauth_callback/{TOKEN}"), long).await.expect(400);
        let request = rejected(&admin, "").await[0]["request"].as_str().unwrap().to_owned();
        assert!(request.len() <= 16 * 1024 && request.len() > 8 * 1024, "{}", request.len());
        let send = |n: u64| {
            let public = service.public.clone();
            async move { public.get(&format!("/remauth_callback/{TOKEN}?authenticated=bad{n}")).await.expect(400) }
        };
        for chunk in 0..26 {
            futures_util::future::join_all((0..40).map(|n| send(chunk * 40 + n))).await;
        }
        let kept = rejected(&admin, "limit=1000").await;
        assert_eq!(kept.len(), 1000);
        assert!(kept.iter().all(|row| row["request"].as_str().unwrap().contains("bad")), "the oldest went first");
    }
}
