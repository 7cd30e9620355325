//! `/remauth_callback`: all that docs/reference/api.md promises of it, asked from outside.

use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::engine::{Engine, both_engines};
use crate::support::http::Answer;
use crate::support::process::Launch;
use crate::support::raw::Connection;
use crate::support::service::{Service, text, uaid};

const SAMPLE: &str = "b83ee873a9b44f2083c130db24dfbe91";
const TOKEN: &str = "kZ3vX9mQ2rT7wB5nL8cJ4A";
const OTHER: &str = "pH6sD1fG0yU_eR-iO3aK2w";

fn ids(answer: &Value) -> Vec<&str> {
    match &answer["data"] {
        Value::String(id) => vec![id],
        Value::Array(list) => list.iter().map(|id| id.as_str().unwrap()).collect(),
        other => panic!("no ids: {other}"),
    }
}

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

async fn post(service: &Service, path: &str, kind: &'static str, body: String) -> Answer {
    let with = |request: reqwest::RequestBuilder| request.header("content-type", kind).body(body);
    service.public.send(Method::POST, path, with).await
}

/// Addresses that arrive altered. T is the token, U the uaid, Y the uaid with dashes.
const ALTERED: [&str; 12] = [
    "/remauth_callback/T/?authenticated=U",
    "//remauth_callback/T?authenticated=U",
    "/remauth_callback//T?authenticated=U",
    "/remauth_callback/?token=T&authenticated=U",
    "/remauth_callback?token=T&amp;authenticated=U",
    "/remauth_callback/T%3Fauthenticated=U",
    "/remauth_callback?token=T%26authenticated=U",
    "/remauth_callback/T?authenticated=%20U%20",
    "/remauth_callback/T?authenticated=%22U%22",
    "/remauth_callback/T?authenticated=U/",
    "/remauth_callback/T?authenticated=Y",
    "/remauth_callback/T?authenticated=%7BY%7D",
];

/// Addresses without the right token.
fn unauthenticated() -> [String; 5] {
    let nearly = format!("{}B", &TOKEN[..TOKEN.len() - 1]);
    [
        format!("/remauth_callback?authenticated={SAMPLE}"),
        format!("/remauth_callback/{nearly}?authenticated={SAMPLE}"),
        format!("/remauth_callback?token=&authenticated={SAMPLE}"),
        format!("/remauth_callback?token={OTHER}&authenticated={SAMPLE}"),
        "/remauth_callback?authenticated=bad".to_owned(),
    ]
}

/// The service with a token, after a request that is refused for each reason, with the connection of the last one.
async fn after_refusals(engine: &Engine) -> (Service, Connection) {
    let service = Service::start(engine, &format!("callback.tokens = [\"{TOKEN}\"]")).await;
    for (path, status) in [("/wp-login.php", 404), ("/remauth_callback/a/b", 404), ("/remauth_callback", 403)]
    {
        service.public.get(path).await.expect(status);
    }
    service.public.request(Method::PUT, "/remauth_callback", None).await.expect(405);
    let mut connection = Connection::open(service.process.public_addr()).await;
    connection.send("GET /nonsense\r\n\r\n".to_owned()).await;
    (service, connection)
}

/// Series of a token, by the beginning of its SHA-256 digest as `sha256sum` prints it.
fn series(digest: &str) -> String {
    format!("remgate_callback_tokens_total{{service=\"default\",token=\"{digest}\"}}")
}

both_engines! {
    async fn a_callback_is_answered_in_the_envelope_of_remauth(service: Service) {
        let answer = service.callback(&format!("authenticated={SAMPLE}")).await.expect(200);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(!answer.header("x-request-id").is_empty());
        let told = answer.json();
        let id = told["data"].as_str().unwrap();
        assert_eq!(told, json!({"code": "200", "msg": "OK", "data": id}));
    }

    async fn a_callback_is_listed_as_an_event(service: Service) {
        let id = service.store(SAMPLE).await;
        let page = service.events("").await;
        let received_at = page["data"][0]["received_at"].as_str().unwrap();
        assert!(received_at.ends_with('Z') && received_at.len() == 24, "{received_at}");
        let event = json!({
            "id": id, "cursor": "1", "type": "remauth.authenticated", "service": "default", "uaid": SAMPLE,
            "trust": "none", "source_ip": "127.0.0.1", "received_at": received_at, "duplicates": 0,
            "expected": false,
        });
        assert_eq!(page, json!({"data": [event], "cursor": "1", "has_more": false}));
        assert_eq!(service.internal.get(&format!("/v1/events/{id}")).await.expect(200).json(), event);
    }

    async fn each_parameter_is_a_type_and_each_case_a_digit(service: Service) {
        for name in ["authenticated", "registricated", "subscribed"] {
            service.callback(&format!("{name}={}", SAMPLE.to_uppercase())).await.expect(200);
        }
        let page = service.events("").await;
        let seen: Vec<_> = page["data"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!(seen, ["remauth.authenticated", "remauth.registricated", "remauth.subscribed"]);
        assert!(page["data"].as_array().unwrap().iter().all(|item| item["uaid"] == SAMPLE));
    }

    async fn several_parameters_are_several_events(service: Service) {
        let query = format!("authenticated={0}&subscribed={0}&authenticated={1}&other=x", uaid(1), uaid(2));
        let told = service.callback(&query).await.expect(200).json();
        assert_eq!(ids(&told).len(), 3);
        assert_eq!(service.count().await, 3);
        let again = service.callback(&query).await.expect(200).json();
        assert_eq!(again, told, "the same ids in the same order");
    }

    async fn the_same_value_twice_is_one_event(service: Service) {
        let told = service.callback(&format!("authenticated={SAMPLE}&authenticated={SAMPLE}")).await.expect(200).json();
        assert!(told["data"].is_string());
        assert_eq!(service.events("").await["data"][0]["duplicates"], 0);
    }

    async fn a_callback_that_comes_again_is_counted(service: Service) {
        let first = service.store(SAMPLE).await;
        assert_eq!(service.store(&SAMPLE.to_uppercase()).await, first);
        assert_eq!(service.store(SAMPLE).await, first);
        let page = service.events("").await;
        assert_eq!(page["data"].as_array().unwrap().len(), 1);
        assert_eq!(page["data"][0]["duplicates"], 2);
        let outcome = |item| format!("remgate_callbacks_total{{service=\"default\",type=\"authenticated\",outcome=\"{item}\"}}");
        assert_eq!(service.metric(&outcome("stored")).await, 1);
        assert_eq!(service.metric(&outcome("duplicate")).await, 2);
    }

    async fn many_at_once_lose_and_double_nothing(service: Service) {
        // Each uaid comes from four callers at the same time.
        let asked = (0..400).map(|n| {
            let service = &service;
            async move { (n / 4, service.store(&uaid(n / 4)).await) }
        });
        let told = futures_util::future::join_all(asked).await;
        let known: std::collections::HashMap<_, _> = told.iter().cloned().collect();
        assert!(told.iter().all(|(n, id)| known[n] == *id), "one uaid, one id");
        let page = service.events("limit=1000").await;
        let events = page["data"].as_array().unwrap();
        assert_eq!(events.len(), 100);
        assert!(events.iter().all(|item| item["duplicates"] == 3));
    }

    async fn what_is_wrong_is_named_and_nothing_is_stored(service: Service) {
        let good = SAMPLE;
        let long = "a".repeat(33);
        for (query, name) in [
            (String::new(), "authenticated"),
            ("other=1".to_owned(), "authenticated"),
            ("authenticated=".to_owned(), "authenticated"),
            ("authenticated".to_owned(), "authenticated"),
            (format!("Authenticated={good}"), "authenticated"),
            ("subscribed=xyz".to_owned(), "subscribed"),
            (format!("registricated={long}"), "registricated"),
            ("registricated=%zz".to_owned(), "registricated"),
            ("registricated=%ff%fe".to_owned(), "registricated"),
            (format!("authenticated={good}&subscribed=bad"), "subscribed"),
            (format!("subscribed=bad&registricated=worse&authenticated={good}"), "subscribed"),
            (format!("authenticated={good}%20x"), "authenticated"),
        ] {
            let told = service.callback(&query).await.expect(400).json();
            let msg = "Invalid parameter. See data for details";
            assert_eq!(told, json!({"code": "601", "msg": msg, "data": name}), "{query}");
        }
        assert_eq!(service.count().await, 0);
    }

    async fn only_get_and_post_make_events(service: Service) {
        let path = format!("/remauth_callback?authenticated={SAMPLE}");
        for method in [Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = service.public.request(method.clone(), &path, None).await.expect(405);
            assert_eq!(answer.header("allow"), "GET, POST", "{method}");
            assert_eq!(answer.header("cache-control"), "no-store");
            if method != Method::HEAD {
                assert_eq!(answer.json(), json!({"code": "405", "msg": "Wrong HTTP method"}));
            }
        }
        assert_eq!(service.count().await, 0);
    }

    async fn a_form_is_read_and_json_is_not(service: Service) {
        post(&service, "/remauth_callback", FORM, format!("subscribed={SAMPLE}")).await.expect(200);
        let both = format!("/remauth_callback?authenticated={SAMPLE}");
        assert_eq!(ids(&post(&service, &both, FORM, format!("registricated={SAMPLE}")).await.expect(200).json()).len(), 2);
        let told = post(&service, "/remauth_callback", "application/json", json!({"authenticated": SAMPLE}).to_string()).await;
        assert_eq!(told.expect(400).json()["data"], "authenticated");
        let told = post(&service, "/remauth_callback", FORM, "x".repeat(65 * 1024)).await.expect(413).json();
        assert_eq!(told["code"], "413");
        assert_eq!(service.count().await, 3);
    }

    async fn a_token_comes_in_its_three_places_and_in_mangled_queries(engine: Engine) {
        let portal = format!("\n[[service]]\nname = \"portal\"\ntokens = [\"{OTHER}\"]\n");
        let service = Service::start(&engine, &format!("callback.tokens = [\"{TOKEN}\"]\n{portal}")).await;
        let at = |n: u64| format!("authenticated={}", uaid(n));
        for (n, path) in (0..).zip([
            format!("/remauth_callback/{TOKEN}?{}", at(0)),
            format!("/remauth_callback?token={TOKEN}&{}", at(1)),
            format!("/remauth_callback?token={TOKEN}?{}", at(2)),
            format!("/remauth_callback?{}&token={TOKEN}", at(3)),
            format!("/remauth_callback/{TOKEN}&{}", at(4)),
            format!("/remauth_callback/{TOKEN}??{}", at(5)),
        ]) {
            service.public.get(&path).await.expect(200);
            let page = service.events(&format!("uaid={}", uaid(n))).await;
            assert_eq!((&page["data"][0]["service"], &page["data"][0]["trust"]), (&json!("default"), &json!("token")));
        }
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("remauth:{OTHER}"));
        let client = service.public.clone().header("authorization", &format!("Basic {basic}"));
        client.get(&format!("/remauth_callback?{}", at(9))).await.expect(200);
        assert_eq!(service.events(&format!("uaid={}", uaid(9))).await["data"][0]["service"], "portal");
    }

    async fn mangled_addresses_and_values_are_understood(engine: Engine) {
        let service = Service::start(&engine, &format!("callback.tokens = [\"{TOKEN}\"]")).await;
        let dashes = |n: u64| format!("00000000-0000-0000-0000-{n:012x}");
        for (n, address) in (0..).zip(ALTERED) {
            let address = address.replace('T', TOKEN).replace('U', &uaid(n)).replace('Y', &dashes(n));
            service.public.get(&address).await.expect(200);
            assert_eq!(service.events(&format!("uaid={}", uaid(n))).await["data"].as_array().unwrap().len(), 1, "{address}");
        }
    }

    async fn which_token_was_used_is_logged_and_counted_by_its_digest(engine: Engine) {
        let tokens = format!("callback.tokens = [\"{TOKEN}\", \"{OTHER}\"]");
        let service = Service::start(&engine, &tokens).await;
        service.public.get(&format!("/remauth_callback/{TOKEN}?authenticated={SAMPLE}")).await.expect(200);
        assert_eq!(service.metric(&series("bde88b")).await, 1);
        let metrics = service.internal.get("/metrics").await.expect(200);
        assert!(metrics.text().contains(&format!("{} 0", series("a7a04f"))), "a token that is not used shows as 0");
        let line = service.process.line(|line| line.contains("callback stored")).await;
        assert!(line.contains("bde88b") && !line.contains(TOKEN), "{line}");
        service.public.get(&format!("/remauth_callback/{TOKEN}?authenticated={SAMPLE}")).await.expect(200);
        service.process.line(|line| line.contains("callback seen before")).await;
    }

    async fn every_refusal_on_the_public_listener_is_counted(engine: Engine) {
        let (service, _connection) = after_refusals(&engine).await;
        let outcome = |item| format!("remgate_callbacks_total{{service=\"\",type=\"\",outcome=\"{item}\"}}");
        assert_eq!(service.metric(&outcome("not_found")).await, 2);
        assert_eq!(service.metric(&outcome("forbidden")).await, 1);
        assert_eq!(service.metric(&outcome("method")).await, 1);
        service.until_metric(&outcome("invalid"), 1).await;
        assert_eq!(service.metric("remgate_requests_total{listener=\"public\",route=\"other\",status=\"404\"}").await, 2);
    }

    async fn every_refusal_on_the_public_listener_is_logged(engine: Engine) {
        let (service, _connection) = after_refusals(&engine).await;
        let line = service.process.line(|line| line.contains("/wp-login.php")).await;
        assert!(line.contains("nothing is served at this path"), "{line}");
        service.process.line(|line| line.contains("its head cannot be parsed")).await;
        service.process.line(|line| line.contains("wrong HTTP method")).await;
    }

    async fn without_the_right_token_nothing_is_stored_or_told(engine: Engine) {
        let config = format!("callback.tokens = [\"{TOKEN}\"]");
        let service = Service::start(&engine, &config).await;
        for path in unauthenticated() {
            let told = service.public.get(&path).await.expect(403);
            assert_eq!(told.header("cache-control"), "no-store");
            assert_eq!(told.json(), json!({"code": "403", "msg": "Forbidden access"}), "{path}");
        }
        assert_eq!(service.count().await, 0);
        assert_eq!(service.metric("remgate_callbacks_total{service=\"\",type=\"\",outcome=\"forbidden\"}").await, 5);
        assert!(!service.process.log().contains(TOKEN) && !service.process.log().contains(OTHER));
    }

    async fn what_is_no_text_is_no_token(service: Service) {
        let path = format!("/remauth_callback/%ff?authenticated={SAMPLE}");
        assert_eq!(service.public.get(&path).await.expect(403).json()["code"], "403");
        service.public.request(Method::HEAD, &path, None).await.expect(405).header("allow");
        let problem = service.internal.get("/v1/events/%ff").await.expect(404);
        assert_eq!(problem.header("content-type"), "application/problem+json");
        assert_eq!(service.count().await, 0);
    }

    async fn a_hundred_parameters_are_a_hundred_events(service: Service) {
        let query: Vec<_> = (0..100).map(|n| format!("subscribed={}", uaid(n))).collect();
        assert_eq!(ids(&service.callback(&query.join("&")).await.expect(200).json()).len(), 100);
        assert_eq!(service.count().await, 100);
    }

    async fn a_wrong_token_is_wrong_on_an_open_service_too(service: Service) {
        let told = service.public.get(&format!("/remauth_callback/{TOKEN}?authenticated={SAMPLE}")).await;
        told.expect(403);
        assert_eq!(service.count().await, 0);
    }

    async fn an_address_is_believed_from_a_trusted_proxy_alone(engine: Engine) {
        let proxy = "public.trusted_proxies = [\"127.0.0.1/32\"]\n";
        // The proxy's own address is on the list too, and does not count for clients behind the proxy.
        let config = format!("{proxy}callback.allow_from = [\"203.0.113.0/24\", \"127.0.0.1/32\"]");
        let service = Service::start(&engine, &config).await;
        let from = |chain: &str| service.public.clone().header("x-forwarded-for", chain);
        let path = format!("/remauth_callback?authenticated={SAMPLE}");
        from("198.51.100.1").get(&path).await.expect(403);
        from("203.0.113.9, nonsense").get(&path).await.expect(403);
        from("198.51.100.1").header("forwarded", "for=127.0.0.1").get(&path).await.expect(403);
        from("203.0.113.9, 198.51.100.1").get(&path).await.expect(403);
        from("203.0.113.9").header("forwarded", "for=198.51.100.1").get(&path).await.expect(403);
        let forwarded = |line: &str| service.public.clone().header("forwarded", line);
        forwarded("for=198.51.100.7;host=\"a,for=203.0.113.9\";proto=https").get(&path).await.expect(403);
        forwarded("for=198.51.100.7;host=\"a\\\",for=203.0.113.9\"").get(&path).await.expect(403);
        forwarded("for=203.0.113.9, proto=https").get(&path).await.expect(403);
        assert_eq!(service.count().await, 0);
        from("198.51.100.1, 203.0.113.9").get(&path).await.expect(200);
        let page = service.events("").await;
        let event = &page["data"][0];
        assert_eq!((&event["trust"], &event["source_ip"]), (&json!("address"), &json!("203.0.113.9")));
    }

    async fn without_a_trusted_proxy_headers_count_for_nothing(engine: Engine) {
        let service = Service::start(&engine, "callback.allow_from = [\"203.0.113.0/24\"]").await;
        let client = service.public.clone().header("x-forwarded-for", "203.0.113.9");
        client.get(&format!("/remauth_callback?authenticated={SAMPLE}")).await.expect(403);
    }

    /// RemAuth may hang up before it has heard us, and says a thing but once.
    async fn who_hangs_up_early_is_heard_all_the_same(service: Service) {
        for n in 0..20 {
            let mut connection = Connection::open(service.process.public_addr()).await;
            connection.send(format!("GET /remauth_callback?authenticated={} HTTP/1.1\r\nHost: a\r\n\r\n", uaid(n))).await;
            drop(connection);
        }
        service.until_metric("remgate_events_total{type=\"remauth.authenticated\"}", 20).await;
        assert_eq!(service.count().await, 20);
    }

    async fn no_token_is_logged_at_any_level(engine: Engine) {
        let config = text(engine.url(), &format!("callback.tokens = [\"{TOKEN}\"]\ninternal.admin_key = \"{OTHER}-key\""));
        let launch = Launch::new(&[]).config(&config).env("RUST_LOG", "trace");
        let service = Service::of(launch.start().await);
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("remauth:{TOKEN}"));
        for path in [format!("/remauth_callback/{TOKEN}?authenticated={SAMPLE}"), format!("/remauth_callback?token={TOKEN}&authenticated={SAMPLE}"),
            format!("/remauth_callback/{TOKEN}/more"), format!("/nothing?token={TOKEN}"), format!("/remauth_callback?token={TOKEN}&authenticated=bad")] {
            service.public.get(&path).await;
        }
        let client = service.public.clone().header("authorization", &format!("Basic {basic}"));
        client.get(&format!("/remauth_callback?authenticated={SAMPLE}")).await.expect(200);
        service.internal.clone().bearer(&format!("{OTHER}-key")).get("/v1/events").await.expect(200);
        service.process.signal(rustix::process::Signal::TERM);
        service.process.wait().await;
        let log = service.process.log();
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "the level took effect");
        for secret in [TOKEN, basic.as_str(), OTHER, SAMPLE] {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
    }

    async fn the_public_listener_has_no_other_routes(service: Service) {
        for path in ["/", "/v1/events", "/metrics", "/readyz", "/admin/remotepc/user/list", "/remauth_callback/a/b"] {
            let told = service.public.get(path).await.expect(404).json();
            assert_eq!(told, json!({"code": "404", "msg": "Unknown endpoint"}), "{path}");
        }
        service.public.get("/livez").await.expect(200);
        service.internal.get(&format!("/remauth_callback?authenticated={SAMPLE}")).await.expect(404);
    }
}
