//! Each route asks for its scope: all of those that the source declares, with every scope there is.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::json;

use super::{ADMIN, locked, with_scopes};
use crate::support::engine::both_engines;
use crate::support::gateway::TestGateway;
use crate::support::source::rust_files;

const SCOPES: [&str; 9] = [
    "events:read",
    "authentications:read",
    "authentications:write",
    "endpoints:read",
    "endpoints:write",
    "remotepc:read",
    "remotepc:write",
    "audit:read",
    "admin",
];

/// Every route behind a key, with the scope that it asks for.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/v1/events", "events:read"),
    ("GET", "/v1/events/{id}", "events:read"),
    ("GET", "/v1/events/stream", "events:read"),
    ("GET", "/v1/consumers", "events:read"),
    ("GET", "/v1/consumers/{name}", "events:read"),
    ("DELETE", "/v1/consumers/{name}", "events:read"),
    ("GET", "/v1/consumers/{name}/events", "events:read"),
    ("POST", "/v1/consumers/{name}/ack", "events:read"),
    ("POST", "/v1/consumers/{name}/seek", "events:read"),
    ("GET", "/v1/authentications/{uaid}", "authentications:read"),
    ("PUT", "/v1/authentications/{uaid}", "authentications:write"),
    ("POST", "/v1/authentications/{uaid}/claim", "authentications:write"),
    ("POST", "/v1/authentications/{uaid}/ticket", "authentications:write"),
    ("GET", "/v1/rejected-callbacks", "events:read"),
    ("GET", "/v1/rejected-callbacks/{id}", "events:read"),
    ("DELETE", "/v1/rejected-callbacks/{id}", "admin"),
    ("POST", "/v1/rejected-callbacks/{id}/accept", "admin"),
    ("GET", "/v1/audit", "audit:read"),
    ("GET", "/v1/endpoints", "endpoints:read"),
    ("POST", "/v1/endpoints", "endpoints:write"),
    ("GET", "/v1/endpoints/{id}", "endpoints:read"),
    ("PATCH", "/v1/endpoints/{id}", "endpoints:write"),
    ("DELETE", "/v1/endpoints/{id}", "endpoints:write"),
    ("POST", "/v1/endpoints/{id}/enable", "endpoints:write"),
    ("POST", "/v1/endpoints/{id}/disable", "endpoints:write"),
    ("POST", "/v1/endpoints/{id}/test", "endpoints:write"),
    ("POST", "/v1/endpoints/{id}/secret/rotate", "endpoints:write"),
    ("POST", "/v1/endpoints/{id}/recover", "endpoints:write"),
    ("GET", "/v1/deliveries", "endpoints:read"),
    ("GET", "/v1/deliveries/{id}", "endpoints:read"),
    ("POST", "/v1/deliveries/{id}/retry", "endpoints:write"),
    ("POST", "/v1/deliveries/{id}/cancel", "endpoints:write"),
    ("POST", "/v1/events/{id}/replay", "endpoints:write"),
    ("GET", "/v1/remotepc/users", "remotepc:read"),
    ("POST", "/v1/remotepc/sessions", "remotepc:write"),
    ("GET", "/v1/keys", "admin"),
    ("POST", "/v1/keys", "admin"),
    ("GET", "/v1/keys/{id}", "admin"),
    ("DELETE", "/v1/keys/{id}", "admin"),
    ("GET", "/admin/remotepc/user/list", "remotepc:read"),
    ("POST", "/admin/remotepc/user/list", "remotepc:read"),
    ("POST", "/admin/remotepc/user/add", "remotepc:write"),
    ("POST", "/admin/remotepc/user/invite", "remotepc:write"),
    ("POST", "/admin/remotepc/user/signin", "remotepc:write"),
    ("ANY", "/admin/remotepc", "remotepc:write"),
    ("ANY", "/admin/remotepc/", "remotepc:write"),
    ("ANY", "/admin/remotepc/{*rest}", "remotepc:write"),
];

/// Every route of both listeners that requires no key.
const OPEN: &[&str] = &[
    "/remauth_callback",
    "/remauth_callback/{token}",
    "/livez",
    "/readyz",
    "/metrics",
    "/wait/{ticket}",
    "/.well-known/jwks.json",
    "/admin/remotepc/sessions/{code}",
];

/// Routes and methods of each `.route("PATH", METHODS)` in a text.
fn declared(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for rest in text.split(".route(").skip(1) {
        let rest = rest.trim_start();
        let Some((path, rest)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) else {
            panic!("a route's path is no text that can be read here: {}", &rest[..rest.len().min(60)]);
        };
        let mut depth = 1;
        let methods: String = rest
            .chars()
            .take_while(|c| {
                depth += i32::from(*c == '(') - i32::from(*c == ')');
                depth > 0
            })
            .collect();
        let words = methods.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '(');
        let methods = words.filter_map(|word| {
            let (name, _) = word.split_once('(')?;
            let known = ["get", "post", "put", "patch", "delete", "any"].contains(&name);
            known.then(|| name.to_uppercase())
        });
        found.push((path.to_owned(), methods.collect()));
    }
    found
}

#[test]
fn every_route_of_the_source_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let texts = rust_files(&folder).into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    let declared: Vec<_> = texts.flat_map(|text| declared(&text)).collect();
    let mut missing = Vec::new();
    let mut found = BTreeSet::new();
    for (path, methods) in &declared {
        if OPEN.contains(&path.as_str()) {
            continue;
        }
        assert!(!methods.is_empty(), "{path}: no methods can be read");
        for method in methods {
            found.insert((method.as_str(), path.as_str()));
            if !ROUTES.iter().any(|(known, at, _)| known == method && at == path) {
                missing.push(format!("{method} {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "put these into ROUTES, or into OPEN if they need no key: {missing:?}");
    for (method, path, _) in ROUTES {
        assert!(found.contains(&(*method, *path)), "{method} {path} is in the table alone");
    }
}

#[test]
fn routes_are_read_from_the_source() {
    let text =
        "x.route(\"/a\", get(list).post(m::add)).route(\n \"/b/{id}\",\n patch(change).delete(f(1))) get(y)";
    let methods = |names: &[&str]| names.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        declared(text),
        [("/a".to_owned(), methods(&["GET", "POST"])), ("/b/{id}".to_owned(), methods(&["PATCH", "DELETE"]))]
    );
}

/// A path without its placeholders: nothing has the name that stands there.
fn real(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "nothing" } else { part });
    let path = parts.collect::<Vec<_>>().join("/");
    // A stream that is let begin does not end.
    if path.ends_with("/stream") { path + "?after=nowhere" } else { path }
}

/// A scope to write includes the one to read, and `admin` includes all.
fn reaches(has: &str, needed: &str) -> bool {
    let kind = needed.strip_suffix(":read");
    has == "admin" || has == needed || kind.is_some_and(|kind| has == format!("{kind}:write"))
}

both_engines! {
    async fn each_scope_opens_its_routes_and_no_other(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &locked()).await;
        let admin = gateway.internal.clone().bearer(ADMIN);
        let mut clients = Vec::new();
        for scope in SCOPES {
            clients.push((scope, with_scopes(&admin, &[scope]).await.on(&gateway.internal)));
        }
        for (method, path, needed) in ROUTES {
            let method = if *method == "ANY" { Method::PUT } else { method.parse().unwrap() };
            let path = real(path);
            let upstreams = path.starts_with("/admin");
            let body = json!({});
            let ask = async |client: &crate::support::http::Client| client.request(method.clone(), &path, Some(&body)).await;
            let unauthenticated = ask(&gateway.internal).await.expect(401);
            assert_eq!(unauthenticated.header("www-authenticate"), "Bearer realm=\"remgate\"");
            assert_eq!(unauthenticated.json()[if upstreams { "code" } else { "status" }], 401);
            for (scope, client) in &clients {
                let answer = ask(client).await;
                if reaches(scope, needed) {
                    assert!(![401, 403].contains(&answer.status), "{scope}, {method} {path}: {answer:?}");
                    continue;
                }
                let refused = answer.expect(403);
                assert!(refused.header("www-authenticate").contains(&format!("scope=\"{needed}\"")));
                let said = refused.json();
                if upstreams {
                    assert_eq!(said["errors"][0]["description"], format!("SCOPE_REQUIRED: {needed}"));
                } else {
                    assert_eq!(said["type"], "urn:remgate:problem:missing-scope");
                    assert!(said["detail"].as_str().unwrap().contains(needed), "{said}");
                }
            }
        }
        for path in ["/livez", "/readyz", "/metrics"] {
            gateway.internal.get(path).await.expect(200);
        }
        gateway.internal.get("/admin/remotepc/sessions/nothing").await.expect(404);
        gateway.internal.get("/nothing").await.expect(404);
    }

    async fn one_key_may_have_several_scopes(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &locked()).await;
        let admin = gateway.internal.clone().bearer(ADMIN);
        let both = with_scopes(&admin, &["events:read", "endpoints:read"]).await.on(&gateway.internal);
        both.get("/v1/events").await.expect(200);
        both.get("/v1/endpoints").await.expect(200);
        both.request(Method::HEAD, "/v1/endpoints", None).await.expect(200);
        both.post("/v1/endpoints", &json!({})).await.expect(403);
        both.request(Method::DELETE, "/v1/events", None).await.expect(405);
        both.request(Method::OPTIONS, "/v1/endpoints", None).await.expect(403);
    }
}
