//! `/v1/events`: filters, and values that are refused.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::engine::both_engines;
use crate::support::service::{Service, uaid};

fn uaids(page: &Value) -> Vec<String> {
    let events = page["data"].as_array().unwrap().iter();
    events.map(|event| event["uaid"].as_str().unwrap().to_owned()).collect()
}

const TWO_SERVICES: &str = "
callback.tokens = [\"kZ3vX9mQ2rT7wB5nL8cJ4A\"]
[[service]]
name = \"portal\"
tokens = [\"pH6sD1fG0yU_eR-iO3aK2w\"]
";

/// The default service takes callbacks without a token, and `portal` with one.
const OPEN_BESIDE_A_TOKEN: &str = "
callback.allow_unauthenticated = true
[[service]]
name = \"portal\"
tokens = [\"pH6sD1fG0yU_eR-iO3aK2w\"]
";

/// Queries with a bad value, or with values that exclude each other.
const BAD_QUERIES: [&str; 28] = [
    "limit=0",
    "limit=1001",
    "limit=ten",
    "limit=",
    "wait=61",
    "wait=-1",
    "wait=x",
    "after=x",
    "after=-1",
    "after=99999999999999999999",
    "type=nonsense",
    "type=",
    "service=a%20b",
    "uaid=xyz",
    "since=yesterday",
    "until=2026-13-01T00:00:00Z",
    "order=up",
    "order=desc&after=1",
    "order=desc&wait=1",
    "before=1",
    "limit=1&limit=2",
    "after=%zz",
    "limt=5",
    "trust=much",
    "trust=",
    "subject=",
    "subject=a&subject=b",
    "subject=%00",
];

both_engines! {
    async fn filters_choose(engine: Engine) {
        let service = Service::start(&engine, TWO_SERVICES).await;
        let (ours, theirs) = ("/remauth_callback/kZ3vX9mQ2rT7wB5nL8cJ4A", "/remauth_callback/pH6sD1fG0yU_eR-iO3aK2w");
        for (path, name, n) in [(ours, "authenticated", 1), (ours, "subscribed", 1), (theirs, "registricated", 2), (theirs, "authenticated", 3)] {
            service.public.get(&format!("{path}?{name}={}", uaid(n))).await.expect(200);
        }
        let one = uaid(1);
        for (query, expected) in [
            ("type=remauth.authenticated", vec![1, 3]),
            ("type=remauth.subscribed&type=remauth.registricated", vec![1, 2]),
            ("service=portal", vec![2, 3]),
            ("service=portal&service=default", vec![1, 1, 2, 3]),
            ("service=portal&type=remauth.authenticated", vec![3]),
            ("service=nobody", vec![]),
            (&format!("uaid={one}"), vec![1, 1]),
            (&format!("uaid={}&order=desc", one.to_uppercase()), vec![1, 1]),
            (&format!("uaid={one}&type=remauth.subscribed"), vec![1]),
            ("since=2000-01-01T00:00:00Z", vec![1, 1, 2, 3]),
            ("until=2000-01-01T00:00:00Z", vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(uaid).collect();
            assert_eq!(uaids(&service.events(query).await), expected, "{query}");
        }
        let third = service.events("").await["data"][2]["received_at"].as_str().unwrap().to_owned();
        let since = uaids(&service.events(&format!("since={third}")).await);
        assert!(since.contains(&uaid(2)) && since.contains(&uaid(3)), "since is inclusive");
        assert!(!uaids(&service.events(&format!("until={third}")).await).contains(&uaid(2)), "until is exclusive");
    }

    async fn trust_and_subject_choose_events(engine: Engine) {
        let service = Service::start(&engine, OPEN_BESIDE_A_TOKEN).await;
        for (n, subject) in [(1, "ann@example.com"), (2, "bob@example.com")] {
            let body = json!({"subject": subject, "service": "portal"});
            let path = format!("/v1/authentications/{}", uaid(n));
            service.internal.request(Method::PUT, &path, Some(&body)).await.expect(201);
            let callback = format!("/remauth_callback/pH6sD1fG0yU_eR-iO3aK2w?authenticated={}", uaid(n));
            service.public.get(&callback).await.expect(200);
        }
        service.store(&uaid(3)).await;
        for (query, expected) in [
            ("trust=token", vec![1, 2]),
            ("trust=none", vec![3]),
            ("trust=none&trust=token", vec![1, 2, 3]),
            ("trust=self", vec![]),
            ("subject=ann@example.com", vec![1]),
            ("subject=ann%40example.com&trust=none", vec![]),
            ("subject=bob@example.com&order=desc", vec![2]),
            (&format!("subject=ann@example.com&uaid={}", uaid(2)), vec![]),
            (&format!("subject=ann@example.com&uaid={}", uaid(1)), vec![1]),
            ("subject=ann", vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(uaid).collect();
            assert_eq!(uaids(&service.events(query).await), expected, "{query}");
        }
    }

    async fn a_filter_that_leaves_out_much_still_moves_on(service: Service) {
        for n in 0..5 {
            service.store(&uaid(n)).await;
        }
        let page = service.events("type=remauth.subscribed").await;
        assert_eq!(page, json!({"data": [], "cursor": "5", "has_more": false}), "what was left out is not looked at again");
        service.callback(&format!("subscribed={}", uaid(9))).await.expect(200);
        assert_eq!(uaids(&service.events("type=remauth.subscribed&after=5").await), [uaid(9)]);
    }

    async fn bad_values_are_refused_and_never_clamped(service: Service) {
        for query in BAD_QUERIES {
            let answer = service.internal.get(&format!("/v1/events?{query}")).await.expect(400);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{query}");
            let problem = answer.json();
            assert_eq!(problem["type"], "urn:remgate:problem:bad-request");
            assert_eq!(problem["status"], 400);
            let name = query.split('=').next().unwrap();
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(name) || query.contains("%zz"), "{query}: {detail}");
        }
    }
}
