//! The internal listener: keys, problem documents, health, figures, and the limits that both listeners share.

use std::net::SocketAddr;
use std::time::Duration;

use remgate::domain::{Clock, SystemClock};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::engine::{Engine, both_engines};
use crate::support::postgres;
use crate::support::process::Launch;
use crate::support::raw::{self, Connection};
use crate::support::service::{Service, text, uaid};
use crate::support::within;

const KEY: &str = "rgk_admin-key-of-this-test-0123456789";

/// `Host` headers, and the answers of an open listener to them.
const HOSTS: [(&str, u16); 5] =
    [("localhost", 200), ("127.0.0.1:8081", 200), ("[::1]:9", 200), ("evil.example", 421), ("10.0.0.1", 421)];

/// Requests without a route or with a wrong method, and the statuses of their answers.
const UNSERVED: [(Method, &str, u16); 5] = [
    (Method::GET, "/", 404),
    (Method::GET, "/v2", 404),
    (Method::DELETE, "/v1/events", 405),
    (Method::POST, "/livez", 405),
    (Method::PUT, "/v1/endpoints", 405),
];

/// Lines of `/metrics` after one callback.
const METRICS: [&str; 6] = [
    "# TYPE remgate_callbacks_total counter",
    "remgate_callbacks_total{service=\"default\",type=\"authenticated\",outcome=\"stored\"} 1",
    "remgate_events_total{type=\"remauth.authenticated\"} 1",
    "remgate_intake_batch_size_sum 1",
    "# TYPE remgate_intake_commit_seconds histogram",
    "remgate_deliveries_pending 0",
];

/// A request with a target and further header lines.
fn get(target: &str, more: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
}

/// Sends a request and returns the status of its answer.
async fn status(addr: SocketAddr, request: String) -> String {
    raw::exchange(addr, request).await[9..12].to_owned()
}

both_engines! {
    async fn a_listener_with_a_key_requires_it(engine: Engine) {
        let service = Service::start(&engine, &format!("internal.admin_key = \"{KEY}\"")).await;
        for client in [service.internal.clone(), service.internal.clone().bearer("rgk_wrong")] {
            for path in ["/v1/events", "/v1/endpoints"] {
                let answer = client.get(path).await.expect(401);
                assert!(answer.header("www-authenticate").starts_with("Bearer"));
                assert_eq!(answer.header("content-type"), "application/problem+json");
                assert_eq!(answer.json()["type"], "urn:remgate:problem:unauthorized");
            }
            let answer = client.post("/admin/remotepc/user/list", &json!({})).await.expect(401);
            assert_eq!(answer.json()["errors"][0]["description"], "NOT_AUTHORIZED");
        }
        let with_key = service.internal.clone().bearer(KEY);
        with_key.get("/v1/events").await.expect(200);
        with_key.clone().header("host", "remgate.internal").get("/v1/events").await.expect(200);
        for path in ["/livez", "/readyz", "/metrics"] {
            service.internal.get(path).await.expect(200);
        }
        assert!(!service.process.log().contains(KEY));
    }

    async fn an_open_listener_serves_only_this_machine(service: Service) {
        let addr = service.process.internal_addr();
        for (host, status) in HOSTS {
            let request = format!("GET /v1/events HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let answer = raw::exchange(addr, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
        }
        let evil = service.internal.clone().header("origin", "https://evil.example");
        evil.get("/v1/events").await.expect(403);
        assert_eq!(evil.post("/admin/remotepc/user/list", &json!({})).await.expect(403).json()["code"], 403);
        let rebound = "GET /livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
        assert!(raw::exchange(addr, rebound).await.starts_with("HTTP/1.1 200 "));
    }

    async fn what_is_not_there_is_a_problem_document(service: Service) {
        for (method, path, status) in UNSERVED {
            let answer = service.internal.request(method.clone(), path, None).await.expect(status);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
            assert_eq!(answer.json()["status"], status);
            if status == 405 {
                assert!(answer.header("allow").contains("GET"), "{method} {path}");
            }
        }
        assert_eq!(service.internal.get("/admin/remotepc/nothing").await.expect(404).json()["code"], 404);
        service.internal.request(Method::HEAD, "/v1/events", None).await.expect(200);
    }

    async fn figures_are_told_in_prometheus_format(service: Service) {
        service.store(&uaid(1)).await;
        let answer = service.internal.get("/metrics").await.expect(200);
        assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
        let figures = answer.text();
        for line in METRICS {
            assert!(figures.contains(line), "{line} in {figures}");
        }
        assert!(!figures.contains(&uaid(1)), "no uaid is ever a label");
    }

    async fn a_request_id_goes_along(service: Service) {
        let brought = service.internal.clone().header("x-request-id", "from-elsewhere.1");
        assert_eq!(brought.get("/livez").await.header("x-request-id"), "from-elsewhere.1");
        let unfit = service.internal.clone().header("x-request-id", "two words");
        assert_eq!(unfit.get("/livez").await.header("x-request-id").len(), 28);
        let stranger = service.public.clone().header("x-request-id", "from-elsewhere.1");
        assert_ne!(stranger.get("/livez").await.header("x-request-id"), "from-elsewhere.1");
        let (one, other) = (service.public.get("/livez").await, service.public.get("/nothing").await);
        assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    }

    async fn limits_below_remotepc_are_in_its_envelope(service: Service) {
        let path = "/admin/remotepc/user/list";
        for (line, more, status) in [
            (format!("{path}?{}", "x".repeat(9_000)), String::new(), 414),
            (path.to_owned(), format!("X: {}\r\n", "x".repeat(17_000)), 431),
            (path.to_owned(), "X: y\r\n".repeat(70), 431),
            (path.to_owned(), "Host: other\r\n".to_owned(), 400),
        ] {
            let request = format!("POST {line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
            let answer = raw::exchange(service.process.internal_addr(), request).await;
            let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            assert_eq!((body["code"].as_u64(), body["errorsCount"].as_u64()), (Some(status), Some(1)), "{answer}");
        }
    }

    async fn lists_refuse_what_they_do_not_know(service: Service) {
        for path in [
            "/v1/events?foo=1", "/v1/consumers?foo=1", "/v1/endpoints?foo=1", "/v1/deliveries?foo=1", "/v1/deliveries?state=nonsense",
            "/v1/audit?foo=1", "/v1/audit?outcome=nonsense", "/v1/audit?action=nonsense", "/v1/keys?foo=1", "/v1/rejected-callbacks?foo=1",
            "/v1/remotepc/users?foo=1",
        ] {
            let problem = service.internal.get(path).await.expect(400);
            assert_eq!(problem.header("content-type"), "application/problem+json", "{path}");
        }
    }

    async fn refused_requests_are_logged_and_counted(engine: Engine) {
        let service = Service::start(&engine, "internal.admin_key = \"an-admin-key-of-these-tests\"").await;
        service.internal.get("/v1/events").await.expect(401);
        service.internal.get("/nothing/here").await.expect(404);
        let series = |route: &str, status: u16| {
            format!("remgate_requests_total{{listener=\"internal\",route=\"{route}\",status=\"{status}\"}}")
        };
        assert_eq!(service.metric(&series("/v1/events", 401)).await, 1);
        assert_eq!(service.metric(&series("other", 404)).await, 1);
        for status in ["401", "404"] {
            service.process.line(|line| line.contains("refused a request") && line.contains(status)).await;
        }
    }

    async fn heads_and_addresses_have_limits(service: Service) {
        for addr in [service.process.public_addr(), service.process.internal_addr()] {
            assert_eq!(status(addr, get("/livez", "")).await, "200");
            assert_eq!(status(addr, get(&format!("/livez?{}", "x".repeat(9_000)), "")).await, "414");
            assert_eq!(status(addr, get(&format!("/livez?{}", "x".repeat(17_000)), "")).await, "431");
            assert_eq!(status(addr, get("/livez", &format!("X: {}\r\n", "x".repeat(17_000)))).await, "431");
            assert_eq!(status(addr, get("/livez", &"X: y\r\n".repeat(70))).await, "431");
        }
    }

    async fn malformed_heads_are_refused_and_unusual_ones_are_read(service: Service) {
        for addr in [service.process.public_addr(), service.process.internal_addr()] {
            let twice = raw::exchange(addr, get("/livez", "Host: other\r\n")).await;
            assert!(twice.starts_with("HTTP/1.1 400 ") && twice.contains("two Host lines"), "{twice}");
            assert_eq!(status(addr, "nonsense\r\n\r\n".to_owned()).await, "400");
            // Lines that end in LF alone are read, as RFC 9112 allows. The body of a GET request is not waited for.
            assert_eq!(status(addr, "GET /livez HTTP/1.1\nHost: localhost\nConnection: close\n\n".to_owned()).await, "200");
            assert_eq!(status(addr, get("/livez", "Content-Length: 1048576\r\n")).await, "200");
        }
    }
}

/// A silent caller, one that says half a line, and one that drips: each is cut off, and none holds up the others.
#[tokio::test]
async fn slow_callers_are_cut_off() {
    let engine = Engine::sqlite();
    let service = Service::start(&engine, "public.idle_timeout = \"2s\"").await;
    let addr = service.process.public_addr();
    let silent = Connection::open(addr).await;
    let mut half = Connection::open(addr).await;
    half.send("GET /remauth_callb").await;
    let mut idle = Connection::open(addr).await;
    idle.send("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(idle.answer().await.starts_with("HTTP/1.1 200 "));
    let mut body = Connection::open(addr).await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 50\r\nConnection: close\r\n\r\nauth";
    body.send(format!("POST /remauth_callback HTTP/1.1\r\nHost: a\r\n{form}")).await;
    service.store(&uaid(1)).await;
    // The harness bounds each wait; none of these would end by itself.
    let (_, _, _, refused) = tokio::join!(silent.closed(), half.closed(), idle.closed(), body.closed());
    assert!(refused.starts_with("HTTP/1.1 408 "), "{refused}");
    assert!(refused.contains("\"code\":\"408\""), "{refused}");
}

#[tokio::test]
async fn without_its_postgres_it_lives_but_is_not_ready() {
    let mut server = postgres::server();
    let url = postgres::database_on(&server).await.url;
    let service = Service::of(Launch::new(&[]).config(&text(&url, "")).start().await);
    service.store(&uaid(1)).await;
    server.stop();
    service.internal.get("/readyz").await.expect(503);
    service.internal.get("/livez").await.expect(200);
    let refused = service.callback(&format!("authenticated={}", uaid(2))).await.expect(503);
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(refused.json()["code"], "503");
    let problem = service.internal.get("/v1/events").await.expect(503);
    assert_eq!(problem.json()["type"], "urn:remgate:problem:unavailable");
    assert!(!problem.header("retry-after").is_empty());
    server.start_again();
    service.internal.get("/readyz").await.expect(200);
    service.store(&uaid(2)).await;
    assert_eq!(service.count().await, 2);
}

#[tokio::test]
async fn a_postgres_that_restarts_between_two_requests_is_not_noticed() {
    let mut server = postgres::server();
    let url = postgres::database_on(&server).await.url;
    let service = Service::of(Launch::new(&[]).config(&text(&url, "")).start().await);
    // Several connections for reading, all of which the restart makes useless.
    for n in 0..20 {
        service.store(&uaid(n)).await;
    }
    futures_util::future::join_all((0..20).map(|_| service.events(""))).await;
    server.stop();
    server.start_again();
    service.store("000000000000000000000000000000ff").await;
    for _ in 0..20 {
        assert_eq!(service.count().await, 21);
    }
}

#[tokio::test]
async fn without_its_file_it_lives_but_is_not_ready() {
    let engine = Engine::sqlite();
    let service = Service::start(&engine, "").await;
    service.store(&uaid(1)).await;
    let file = engine.url().strip_prefix("sqlite://").unwrap();
    let aside = format!("{file}.aside");
    std::fs::rename(file, &aside).unwrap();
    service.internal.get("/readyz").await.expect(503);
    service.internal.get("/livez").await.expect(200);
    service.callback(&format!("authenticated={}", uaid(2))).await.expect(503);
    std::fs::rename(&aside, file).unwrap();
    service.internal.get("/readyz").await.expect(200);
    service.store(&uaid(2)).await;
}

/// A burst of connections is not turned away by the system while remgate is busy with something else.
#[tokio::test]
async fn a_burst_of_connections_waits_to_be_accepted() {
    const MANY: usize = 500;
    let engine = Engine::sqlite();
    let service = Service::start(&engine, "").await;
    service.process.signal(rustix::process::Signal::STOP);
    let mut all = Vec::new();
    for _ in 0..MANY {
        all.push(Connection::open(service.process.public_addr()).await);
    }
    service.process.signal(rustix::process::Signal::CONT);
    for connection in &mut all {
        connection.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(connection.answer().await.starts_with("HTTP/1.1 200 "));
    }
}

/// Sends the beginning of a request and then a byte of its body each second, until the other side closes; all that it said.
async fn drip(addr: std::net::SocketAddr, head: String, bytes: &'static [u8]) -> String {
    let (mut from, mut to) = tokio::net::TcpStream::connect(addr).await.unwrap().into_split();
    to.write_all(head.as_bytes()).await.unwrap();
    let dripping = async {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        while to.write_all(bytes).await.is_ok() {
            seconds.tick().await;
        }
        // What was answered before can still be read.
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let reading = async {
        tokio::select! {
            // A reset is an end, too.
            _ = from.read_to_end(&mut said) => {}
            () = dripping => {}
        }
    };
    within("the end of the connection", reading).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn dripped_bodies_are_cut_off_on_the_internal_listener() {
    let engine = Engine::sqlite();
    let service = Service::start(&engine, "remotepc.api_key = \"key\"").await;
    let addr = service.process.internal_addr();
    let paths = [
        ("/v1/endpoints", "", "urn:remgate:problem:request-timeout"),
        ("/v1/endpoints", "Idempotency-Key: a\r\n", "urn:remgate:problem:request-timeout"),
        ("/v1/remotepc/sessions", "", "urn:remgate:problem:request-timeout"),
        ("/admin/remotepc/user/add", "", "REQUEST_TIMEOUT"),
        ("/admin/remotepc/user/invite", "Idempotency-Key: a\r\n", "REQUEST_TIMEOUT"),
        ("/admin/remotepc/user/signin", "", "REQUEST_TIMEOUT"),
    ];
    let framings = [("Content-Length: 1000", b" ".as_slice()), ("Transfer-Encoding: chunked", b"1\r\n \r\n")];
    let begun = SystemClock.instant();
    let cases = paths.iter().flat_map(|path| framings.map(|framing| (path, framing)));
    let answers = cases.map(async |((path, header, word), (framing, bytes))| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{header}{framing}\r\n\r\n"
        );
        let answer = drip(addr, head, bytes).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(word), "{path} {framing}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    });
    futures_util::future::join_all(answers).await;
    assert!(begun.elapsed() >= Duration::from_secs(14), "{:?}", begun.elapsed());
}
