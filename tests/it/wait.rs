//! `/wait/{ticket}`: what a browser is told; and the assertion that the app gets, which others can check.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::engine::both_engines;
use crate::support::gateway::TestGateway;
use crate::support::http::Client;
use crate::support::service::uaid;
use crate::support::sse::EventSource;

fn path(number: u64) -> String {
    format!("/v1/authentications/{}", uaid(number))
}

async fn expect(internal: &Client, number: u64, seconds: u64) {
    internal.request(Method::PUT, &path(number), Some(&json!({"expires_in": seconds}))).await.expect(201);
}

/// The path of a new ticket.
async fn ticket(internal: &Client, number: u64) -> String {
    let made = internal.post(&format!("{}/ticket", path(number)), &json!({})).await.expect(201).json();
    made["url"].as_str().unwrap().to_owned()
}

fn addr(client: &Client) -> SocketAddr {
    client.base().strip_prefix("http://").expect("a URL").parse().expect("an address")
}

async fn callback(gateway: &TestGateway, number: u64) {
    gateway.public.get(&format!("/remauth_callback?authenticated={}", uaid(number))).await.expect(200);
}

/// The next status that a browser is told, and the place that it remembers.
async fn status(source: &mut EventSource) -> (Value, Option<String>) {
    let block = source.event().await;
    assert_eq!(block.event.as_deref(), Some("status"));
    (block.json(), block.id)
}

/// Expects an authentication and returns the path of a ticket for it.
async fn expected_ticket(gateway: &TestGateway, seconds: u64) -> String {
    expect(&gateway.internal, 1, seconds).await;
    ticket(&gateway.internal, 1).await
}

/// Opens the stream of a ticket.
async fn open(gateway: &TestGateway, ticket: &str) -> EventSource {
    EventSource::open(addr(&gateway.public), ticket, None).await
}

both_engines! {
    async fn a_browser_is_told_how_it_ends_and_comes_back_no_more(gateway: TestGateway) {
        let ticket = expected_ticket(&gateway, 300).await;
        assert!(ticket.starts_with("/wait/") && !ticket.contains(&uaid(1)), "{ticket}");
        let mut source = open(&gateway, &ticket).await;
        assert!(source.head.contains("text/event-stream") && source.head.contains("no-store"), "{}", source.head);
        assert_eq!(status(&mut source).await, (json!({"status": "pending"}), None));
        callback(&gateway, 1).await;
        assert_eq!(status(&mut source).await, (json!({"status": "completed"}), Some("completed".to_owned())));
        assert!(source.block().await.is_none(), "it ends");
        let again = gateway.public.clone().header("last-event-id", "completed").get(&ticket).await;
        assert_eq!((again.status, again.body.len()), (204, 0));
    }

    async fn a_browser_that_connects_late_is_told_at_once(gateway: TestGateway) {
        let ticket = expected_ticket(&gateway, 300).await;
        callback(&gateway, 1).await;
        let mut late = open(&gateway, &ticket).await;
        assert_eq!(status(&mut late).await.0, json!({"status": "completed"}));
    }

    async fn a_browser_is_told_that_the_time_is_over(gateway: TestGateway) {
        let ticket = expected_ticket(&gateway, 30).await;
        let mut source = open(&gateway, &ticket).await;
        status(&mut source).await;
        gateway.clock.advance(Duration::from_secs(30));
        assert_eq!(status(&mut source).await, (json!({"status": "expired"}), Some("expired".to_owned())));
        assert!(source.block().await.is_none());
        gateway.clock.advance(Duration::from_secs(2));
        let gone = gateway.public.get(&ticket).await.expect(410).json();
        assert_eq!(gone["type"], "urn:remgate:problem:ticket-expired");
        let none = gateway.internal.post(&format!("{}/ticket", path(1)), &json!({})).await.expect(410).json();
        assert_eq!(none["type"], "urn:remgate:problem:authentication-expired");
    }

    async fn only_expected_authentications_have_tickets(gateway: TestGateway) {
        gateway.internal.post(&format!("{}/ticket", path(1)), &json!({})).await.expect(404);
        callback(&gateway, 1).await;
        gateway.internal.post(&format!("{}/ticket", path(1)), &json!({})).await.expect(404);
    }

    async fn a_malformed_or_forged_ticket_is_refused(gateway: TestGateway) {
        let good = expected_ticket(&gateway, 300).await;
        for bad in ["/wait/x", &format!("/wait/{}", uaid(1)), &good[..good.len() - 4]] {
            let refused = gateway.public.get(bad).await.expect(400).json();
            assert_eq!(refused["type"], "urn:remgate:problem:ticket-malformed", "{bad}");
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(good.trim_start_matches("/wait/")).unwrap();
        bytes[12] ^= 1;
        let forged = format!("/wait/{}", URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(gateway.public.get(&forged).await.expect(403).json()["code"], "403");
        gateway.public.get("/wait/").await.expect(404);
        gateway.public.post(&good, &json!({})).await.expect(405);
        gateway.internal.get(&good).await.expect(404);
    }

    async fn only_listed_origins_may_read(engine: Engine) {
        let config = "public.cors_origins = [\"https://app.example\"]\npublic.url = \"https://remgate.example\"";
        let gateway = TestGateway::start(engine.url(), config).await;
        expect(&gateway.internal, 1, 300).await;
        let url = ticket(&gateway.internal, 1).await;
        let ticket = url.strip_prefix("https://remgate.example").expect("the outside's address");
        callback(&gateway, 1).await;
        for (origin, allowed) in [("https://app.example", true), ("https://else.example", false)] {
            let asked = gateway.public.clone().header("origin", origin);
            let answer = asked.get(ticket).await.expect(200);
            let preflight = asked.header("access-control-request-method", "GET").request(Method::OPTIONS, ticket, None).await.expect(200);
            for headers in [&answer.headers, &preflight.headers] {
                let named = headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
                assert_eq!(named, allowed.then_some(origin));
                assert!(headers.get("vary").is_some_and(|value| value.to_str().unwrap().contains("origin")));
            }
        }
        gateway.public.request(Method::OPTIONS, "/remauth_callback", None).await.expect(405);
    }

    async fn a_ticket_serves_sixteen_streams_at_most(gateway: TestGateway) {
        let ticket = expected_ticket(&gateway, 300).await;
        let mut streams = Vec::new();
        for _ in 0..16 {
            streams.push(open(&gateway, &ticket).await);
            status(streams.last_mut().unwrap()).await;
        }
        let crowded = gateway.public.get(&ticket).await.expect(429);
        assert!(crowded.headers.contains_key("retry-after"));
        callback(&gateway, 1).await;
        for source in &mut streams {
            assert_eq!(status(source).await.0, json!({"status": "completed"}), "all are woken");
        }
    }

    async fn replicas_wake_each_others_waiters_and_know_each_others_tickets(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), "").await;
        // SQLite has one process; there it is the same one.
        let other = if engine.name() == "postgres" { Some(TestGateway::replica(2, engine.url(), "").await) } else { None };
        let other = other.as_ref().unwrap_or(&gateway);
        for number in [1, 2] {
            expect(&gateway.internal, number, 300).await;
        }
        let ticket = ticket(&gateway.internal, 1).await;
        let mut source = EventSource::open(addr(&other.public), &ticket, None).await;
        assert_eq!(status(&mut source).await.0, json!({"status": "pending"}));
        let waiting = async { other.internal.get(&(path(2) + "?wait=60")).await.expect(200).json() };
        let (waited, ()) = tokio::join!(waiting, async {
            other.until_figure("remgate_waiters 2").await;
            callback(&gateway, 1).await;
            callback(&gateway, 2).await;
        });
        assert_eq!(waited["status"], "completed");
        assert_eq!(status(&mut source).await.0, json!({"status": "completed"}));
        let sets = [&gateway, other].map(|item| item.internal.get("/.well-known/jwks.json"));
        let [one, same] = sets;
        assert_eq!(one.await.expect(200).json(), same.await.expect(200).json());
    }

    async fn a_browser_that_leaves_gives_its_place_back_at_once(gateway: TestGateway) {
        let ticket = expected_ticket(&gateway, 300).await;
        for _ in 0..40 {
            let mut source = open(&gateway, &ticket).await;
            assert!(source.head.starts_with("HTTP/1.1 200 "), "{}", source.head);
            assert_eq!(status(&mut source).await.0, json!({"status": "pending"}));
            drop(source);
            gateway.until_figure("remgate_waiters 0").await;
        }
    }

    async fn the_key_set_is_on_both_listeners_and_cacheable(gateway: TestGateway) {
        let [public, internal] = [&gateway.public, &gateway.internal].map(|client| client.get("/.well-known/jwks.json"));
        let (public, internal) = (public.await.expect(200), internal.await.expect(200));
        assert_eq!(public.json(), internal.json());
        for answer in [&public, &internal] {
            assert_eq!(answer.header("cache-control"), "public, max-age=300");
        }
        gateway.public.request(Method::HEAD, "/.well-known/jwks.json", None).await.expect(200);
        gateway.public.request(Method::POST, "/.well-known/jwks.json", None).await.expect(405);
    }

    async fn the_subject_of_an_assertion_is_the_uaid_when_the_app_named_none(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), "authentications.min_trust = \"none\"").await;
        callback(&gateway, 1).await;
        let claimed = gateway.internal.post(&format!("{}/claim", path(1)), &json!({})).await.expect(200).json();
        let claims = claimed["assertion"].as_str().unwrap().split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!((&claims["sub"], &claims["expected"], &claims["iss"]), (&json!(uaid(1)), &json!(false), &json!("remgate")));
    }

    async fn a_ticket_lives_as_long_as_its_expectation(gateway: TestGateway) {
        let ticket = expected_ticket(&gateway, 60).await;
        let mut source = open(&gateway, &ticket).await;
        assert_eq!(status(&mut source).await.0, json!({"status": "pending"}));
        gateway.internal.request(Method::PUT, &path(1), Some(&json!({"expires_in": 3600}))).await.expect(200);
        // Beyond the end that the ticket had when it was made, with what a watcher lingers.
        gateway.clock.advance(Duration::from_secs(75));
        let mut later = open(&gateway, &ticket).await;
        assert_eq!(status(&mut later).await.0, json!({"status": "pending"}));
        callback(&gateway, 1).await;
        for source in [&mut source, &mut later] {
            assert_eq!(status(source).await.0, json!({"status": "completed"}));
        }
    }

    async fn who_was_told_that_it_expired_is_sent_away_for_good(gateway: TestGateway) {
        let ticket = expected_ticket(&gateway, 60).await;
        let mut source = open(&gateway, &ticket).await;
        assert_eq!(status(&mut source).await.0, json!({"status": "pending"}));
        gateway.clock.advance(Duration::from_mins(1));
        assert_eq!(status(&mut source).await, (json!({"status": "expired"}), Some("expired".to_owned())));
        gateway.clock.advance(Duration::from_hours(1));
        gateway.public.clone().header("last-event-id", "expired").get(&ticket).await.expect(204);
        gateway.public.get(&format!("{ticket}?lastEventId=expired")).await.expect(204);
        gateway.public.get(&ticket).await.expect(410);
        gateway.public.clone().header("last-event-id", "expired").get(&format!("{ticket}x")).await.expect(400);
    }

    async fn an_assertion_is_checked_with_the_key_set_and_names_its_audience(engine: Engine) {
        let config = "public.url = \"https://remgate.example\"\nauthentications.min_trust = \"none\"";
        let gateway = TestGateway::start(engine.url(), config).await;
        let said = json!({"subject": "jane@example.com"});
        gateway.internal.request(Method::PUT, &path(1), Some(&said)).await.expect(201);
        callback(&gateway, 1).await;
        let claimed = gateway.internal.post(&format!("{}/claim", path(1)), &json!({})).await.expect(200).json();
        let assertion = claimed["assertion"].as_str().unwrap();
        let set = gateway.internal.get("/.well-known/jwks.json").await.expect(200).json();
        let key = &set["keys"][0];
        assert_eq!(set["keys"].as_array().unwrap().len(), 1);
        assert!(key["d"].is_null(), "only the public half");
        assert_eq!(jsonwebtoken::decode_header(assertion).unwrap().kid.as_deref(), key["kid"].as_str());
        let public = DecodingKey::from_ed_der(&URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap());
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&["default"]);
        validation.set_issuer(&["https://remgate.example"]);
        // The gateway's clock is not the machine's.
        validation.validate_exp = false;
        let claims = decode::<Value>(assertion, &public, &validation).unwrap().claims;
        assert_eq!((&claims["sub"], &claims["uaid"], &claims["expected"]), (&json!("jane@example.com"), &json!(uaid(1)), &json!(true)));
        assert_eq!((&claims["event"], &claims["trust"], &claims["type"]), (&claimed["event"], &json!("none"), &json!("remauth.authenticated")));
        assert_eq!(claims["auth_time"], 1_795_381_445);
        let (issued, until) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!((until - issued, issued), (60, 1_795_381_445));
        assert!(claims["jti"].as_str().unwrap().len() >= 20);
        validation.set_audience(&["shop"]);
        assert!(decode::<Value>(assertion, &public, &validation).is_err(), "another service is not meant");
        let mut forged = assertion.to_owned();
        forged.replace_range(forged.len() - 8..forged.len() - 4, "AAAA");
        validation.set_audience(&["default"]);
        assert!(decode::<Value>(&forged, &public, &validation).is_err());
    }
}
