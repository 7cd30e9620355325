//! A key for one service: nothing of another one is there.

use serde_json::{Value, json};

use super::{ADMIN, locked, make};
use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::TestGateway;
use crate::support::http::Client;
use crate::support::service::uaid;

const TOKENS: [(&str, &str); 2] =
    [("portal", "portal-0123456789-0123456789"), ("desk", "desk-0123456789-0123456789")];

async fn start(engine: &Engine) -> (TestGateway, Client, Client) {
    let services =
        TOKENS.map(|(name, token)| format!("[[service]]\nname = \"{name}\"\ntokens = [\"{token}\"]\n"));
    let gateway = TestGateway::start(engine.url(), &(locked() + &services.concat())).await;
    let admin = gateway.internal.clone().bearer(ADMIN);
    let wanted =
        json!({"name": "portal's", "scopes": ["events:read", "authentications:write"], "service": "portal"});
    let limited = make(&admin, &wanted).await;
    assert_eq!(admin.get(&limited.path()).await.json()["service"], "portal");
    let limited = limited.on(&gateway.internal);
    (gateway, admin, limited)
}

/// Stores one event of a service; its id.
async fn store(gateway: &TestGateway, service: &str, number: u64) -> String {
    let (_, token) = TOKENS.iter().find(|(name, _)| *name == service).unwrap();
    let path = format!("/remauth_callback/{token}?authenticated={}", uaid(number));
    gateway.public.get(&path).await.expect(200).json()["data"].as_str().unwrap().to_owned()
}

/// The ids on a page.
async fn ids(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/v1/events?{query}")).await.expect(200).json();
    let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
    page["data"].as_array().unwrap().iter().map(id).collect()
}

both_engines! {
    async fn lists_are_filtered_and_single_events_are_not_there(engine: Engine) {
        let (gateway, admin, limited) = start(&engine).await;
        let own = [store(&gateway, "portal", 1).await, store(&gateway, "portal", 3).await];
        let hidden = store(&gateway, "desk", 2).await;
        assert_eq!(ids(&admin, "").await.len(), 3);
        for query in ["", "service=portal", "service=desk&service=portal", "since=2020-01-01T00:00:00Z"] {
            assert_eq!(ids(&limited, query).await, own, "{query}");
        }
        assert_eq!(ids(&limited, "order=desc").await, [own[1].clone(), own[0].clone()]);
        for query in ["service=desk", "service=nobody", &format!("uaid={}", uaid(2)), "service=desk&order=desc"] {
            assert_eq!(ids(&limited, query).await, [""; 0], "{query}");
        }
        limited.get(&format!("/v1/events/{}", own[0])).await.expect(200);
        let (there, nowhere) = (format!("/v1/events/{hidden}"), "/v1/events/evt_0190a0a0a0a07a0a8a0a0a0a0a0a0a0a");
        let (there, nowhere) = (limited.get(&there).await.expect(404), limited.get(nowhere).await.expect(404));
        assert_eq!(there.json()["type"], nowhere.json()["type"], "it does not show that it is there");
        limited.get("/v1/endpoints").await.expect(403);
        limited.get("/v1/keys").await.expect(403);
    }

    async fn waiting_is_not_ended_by_what_is_not_seen(engine: Engine) {
        let (gateway, _, limited) = start(&engine).await;
        let happen = async {
            gateway.until_figure("remgate_waiters 1").await;
            store(&gateway, "desk", 1).await;
            store(&gateway, "portal", 2).await
        };
        let (seen, own) = tokio::join!(ids(&limited, "wait=60&after=0"), happen);
        assert_eq!(seen, [own]);
    }
}
