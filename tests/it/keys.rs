//! API keys: made, shown once, listed, revoked; what they are kept as, and whose requests are whose.

mod access;
mod scopes;
mod secrecy;
mod service;
mod shell;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::both_engines;
use crate::support::gateway::TestGateway;
use crate::support::http::Client;
use crate::support::service::delivery;
use crate::support::within;

const ALL: &str = "/v1/keys";

/// The configured key.
const ADMIN: &str = "rgk_admin-key-of-this-test-0123456789";

/// Configuration that locks a gateway with [`ADMIN`].
fn locked() -> String {
    format!("internal.admin_key = \"{ADMIN}\"\n")
}

/// A key that was made.
struct Made {
    id: String,
    key: String,
}

impl Made {
    /// The same client with this key.
    fn on(&self, client: &Client) -> Client {
        client.clone().bearer(&self.key)
    }

    fn path(&self) -> String {
        format!("{ALL}/{}", self.id)
    }
}

/// Makes a key as `client` may.
async fn make(client: &Client, wanted: &Value) -> Made {
    let made = client.post(ALL, wanted).await.expect(201).json();
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    Made { id: text("id"), key: text("key") }
}

/// Makes a key with these scopes.
async fn with_scopes(client: &Client, scopes: &[&str]) -> Made {
    make(client, &json!({"name": scopes.join(" "), "scopes": scopes})).await
}

both_engines! {
    async fn a_key_is_shown_once_and_opens_until_it_is_revoked(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &locked()).await;
        let admin = gateway.internal.clone().bearer(ADMIN);
        let wanted = json!({"name": "the portal's reader", "scopes": ["events:read", "audit:read", "events:read"]});
        let answer = admin.post(ALL, &wanted).await.expect(201);
        assert_eq!(answer.header("cache-control"), "no-store");
        let mut made = answer.json();
        let key = made.as_object_mut().unwrap().remove("key").unwrap();
        let key = key.as_str().unwrap();
        let random = key.strip_prefix("rgk_").unwrap();
        assert!(random.len() == 43 && random.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let id = made["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("key_"));
        assert_eq!(made, json!({
            "id": id, "name": "the portal's reader", "scopes": ["events:read", "audit:read"], "service": null,
            "expires_at": null, "created_at": "2026-11-22T21:04:05.123Z", "last_used_at": null,
        }));
        let path = format!("{ALL}/{id}");
        assert_eq!(admin.get(&path).await.expect(200).json(), made);
        assert_eq!(admin.get(ALL).await.expect(200).json(), json!({"data": [made], "cursor": "0", "has_more": false}));

        let reader = gateway.internal.clone().bearer(key);
        reader.get("/v1/events").await.expect(200);
        let lower = gateway.internal.clone().header("authorization", &format!("bearer {key}"));
        lower.get("/v1/events").await.expect(200);
        reader.get(ALL).await.expect(403);
        assert!(admin.delete(&path).await.expect(204).body.is_empty());
        for refused in [reader.get("/v1/events").await, gateway.internal.get("/v1/events").await] {
            let refused = refused.expect(401);
            assert!(refused.header("www-authenticate").starts_with("Bearer"));
            assert_eq!(refused.json()["type"], "urn:remgate:problem:unauthorized");
        }
        admin.get(&path).await.expect(404);
        admin.delete(&path).await.expect(404);
        admin.delete("/v1/keys/ep_1").await.expect(404);
    }

    async fn what_no_key_can_be_is_refused(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &locked()).await;
        let admin = gateway.internal.clone().bearer(ADMIN);
        let with = |name: &str, value: Value| {
            let mut wanted = json!({"name": "a", "scopes": ["events:read"]});
            wanted[name] = value;
            wanted
        };
        for (wanted, words) in [
            (json!({}), "name"),
            (json!({"name": "a"}), "scopes"),
            (with("name", json!(" ")), "a key's name"),
            (with("name", json!("a\nb")), "a key's name"),
            (with("scopes", json!([])), "at least one scope"),
            (with("scopes", json!(["events:write"])), "events:read, authentications:read"),
            (with("service", json!("nobody")), "the services are default"),
            (with("expires_at", json!("2026-11-22T21:04:05.123Z")), "has passed already"),
            (with("expires_at", json!("planted")), "a time such as"),
            (with("expires_in", json!(300)), "expires_in"),
            (with("key", json!("rgk_planted")), "unknown field"),
        ] {
            let answer = admin.post(ALL, &wanted).await.expect(422);
            let said = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(said.contains(words) && !said.contains("planted"), "{wanted}: {said}");
        }
        for scope in [
            "endpoints:read", "endpoints:write", "remotepc:read", "remotepc:write", "audit:read", "admin",
        ] {
            let wanted = json!({"name": "a", "scopes": ["events:read", scope], "service": "default"});
            let said = admin.post(ALL, &wanted).await.expect(422).json();
            assert!(said["detail"].as_str().unwrap().contains("a key for one service"), "{scope}: {said}");
        }
        admin.get("/v1/keys?limit=1").await.expect(400);
        assert_eq!(admin.get(ALL).await.json()["data"], json!([]));
    }

    async fn a_key_opens_until_it_expires(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &locked()).await;
        let admin = gateway.internal.clone().bearer(ADMIN);
        let wanted = json!({
            "name": "guest", "scopes": ["events:read"], "expires_at": "2026-11-22T22:04:05.123456+01:00",
        });
        let refused = admin.post(ALL, &wanted).await.expect(422);
        assert!(refused.text().contains("has passed"), "an hour east of here it has");
        let wanted = json!({"name": "guest", "scopes": ["events:read"], "expires_at": "2026-11-22T22:05:05.123+01:00"});
        let guest = make(&admin, &wanted).await;
        assert_eq!(admin.get(&guest.path()).await.json()["expires_at"], "2026-11-22T21:05:05.123Z");
        let client = guest.on(&gateway.internal);
        gateway.clock.advance(Duration::from_millis(59_999));
        client.get("/v1/events").await.expect(200);
        gateway.clock.advance(Duration::from_millis(1));
        let refused = client.get("/v1/events").await.expect(401);
        assert!(refused.text().contains("expired"), "{refused:?}");
        assert_eq!(admin.get(ALL).await.json()["data"][0]["id"], guest.id, "it is still there to be seen");
        admin.delete(&guest.path()).await.expect(204);
    }

    async fn the_last_use_is_noted_to_the_minute(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &locked()).await;
        let admin = gateway.internal.clone().bearer(ADMIN);
        let reader = with_scopes(&admin, &["events:read"]).await;
        let client = reader.on(&gateway.internal);
        let used = async || admin.get(&reader.path()).await.expect(200).json()["last_used_at"].clone();
        let until_used = async |at: &str| {
            within(&format!("the use at {at} to be noted"), async {
                while used().await != at {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        };
        assert_eq!(used().await, Value::Null);
        client.get("/v1/events").await.expect(200);
        until_used("2026-11-22T21:04:05.123Z").await;
        gateway.clock.advance(Duration::from_secs(59));
        client.get("/v1/events").await.expect(200);
        gateway.clock.advance(Duration::from_secs(1));
        client.get("/v1/endpoints").await.expect(403);
        until_used("2026-11-22T21:05:05.123Z").await;
    }

    async fn two_callers_may_use_the_same_idempotency_key(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &(locked() + &delivery(""))).await;
        let admin = gateway.internal.clone().bearer(ADMIN);
        let (one, other) =
            (with_scopes(&admin, &["endpoints:write"]).await, with_scopes(&admin, &["endpoints:write"]).await);
        let endpoint = json!({"url": "http://127.0.0.1:9/"});
        let mut ids = Vec::new();
        for caller in [one.on(&gateway.internal), other.on(&gateway.internal), admin.clone()] {
            let caller = caller.header("idempotency-key", "k");
            let first = caller.post("/v1/endpoints", &endpoint).await.expect(201);
            let again = caller.post("/v1/endpoints", &endpoint).await.expect(201);
            assert!(!first.headers.contains_key("idempotent-replayed"));
            assert_eq!(again.header("idempotent-replayed"), "true");
            assert_eq!(first.json(), again.json());
            ids.push(first.json()["id"].as_str().unwrap().to_owned());
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 3);
        // No answer that shows a key is kept: what is asked for twice is made twice.
        let keyed = admin.clone().header("idempotency-key", "k");
        let (first, second) = (with_scopes(&keyed, &["admin"]).await, with_scopes(&keyed, &["admin"]).await);
        assert!(first.key != second.key && first.id != second.id);
    }
}
