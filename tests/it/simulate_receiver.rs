//! `simulate receiver`, through the binary: what it tells of what a real remgate sends, and every way in which it can be
//! told to behave badly.

use http::Method;
use remgate::domain::{Clock, SigningSecret, SystemClock};
use rstest::rstest;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::support::engine::{Engine, both_engines};
use crate::support::http::{Answer, Client};
use crate::support::process::{Launch, Process};
use crate::support::raw::Connection;
use crate::support::service::{SECRET, Service, delivery, endpoint, uaid};

const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const BODY: &str = r#"{"type":"remauth.authenticated", "data":{"b":1,"a":2}}"#;

/// A receiver that knows a secret, on a free port.
struct Practice {
    process: Process,
    url: String,
}

impl Practice {
    async fn start(flags: &[&str]) -> Self {
        Self::knowing(SECRET, flags).await
    }

    async fn knowing(secret: &str, flags: &[&str]) -> Self {
        let all = [&["simulate", "receiver", "--listen", "127.0.0.1:0", "--secret-file", "secret"], flags];
        let process = Launch::new(&all.concat()).file("secret", secret).spawn();
        let line = process.line(|line| line.contains("waiting for webhooks on ")).await;
        let (_, url) = line.split_once("on ").expect("it says where");
        Self { process, url: url.trim_end_matches('/').to_owned() }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The line about a request that fits; waits for it.
    async fn told(&self, fits: impl Fn(&Json) -> bool) -> Json {
        let read = |line: &str| serde_json::from_str::<Json>(line).ok();
        let line =
            self.process.line(|line| read(line).is_some_and(|told| told.is_object() && fits(&told))).await;
        read(&line).expect("it was read before")
    }

    /// Sends what remgate would, without one.
    async fn send(&self, path: &str, id: &str, secret: &str) -> Answer {
        let at = SystemClock.now().as_second();
        let signature = secret.parse::<SigningSecret>().unwrap().sign(id, at, BODY.as_bytes());
        let client = Client::at(&self.url);
        let send = client.send(Method::POST, path, |request| {
            let request = request.header("webhook-id", id).header("webhook-timestamp", at);
            request.header("webhook-signature", signature).body(BODY)
        });
        send.await
    }

    async fn ends(self) {
        self.process.signal(Signal::TERM);
        assert_eq!(self.process.wait().await, Some(0), "{}", self.process.log());
    }
}

/// A service that retries at once, with an endpoint of its own for each path of the receiver.
async fn service(engine: &Engine, receiver: &Practice, endpoints: &[(&str, &str, &str)]) -> Service {
    let mut config = delivery("schedule = [\"1ms\", \"1ms\", \"1ms\", \"1ms\", \"1ms\"]");
    for (name, path, more) in endpoints {
        config += &endpoint(name, &receiver.at(path), more);
    }
    Service::start(engine, &config).await
}

both_engines! {
    async fn what_remgate_sends_is_told(engine: Engine) {
        let receiver = Practice::start(&["--json"]).await;
        let keyed = "signing_key = \"whsk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\"";
        let service = service(&engine, &receiver, &[
            ("standard", "/standard", keyed),
            ("events", "/events", "format = \"cloudevents\""),
            ("like-remauth", "/like?a=b", "format = \"remauth\""),
        ]).await;
        let id = service.store(&uaid(1)).await;
        for (path, method, query) in [
            ("/standard", "POST", Json::Null),
            ("/events", "POST", Json::Null),
            ("/like", "GET", json!(format!("a=b&authenticated={}", uaid(1)))),
        ] {
            let told = receiver.told(|told| told["path"] == path).await;
            let part = json!([told["method"], told["query"], told["id"], told["type"], told["attempt"],
                              told["duplicate"], told["replay"], told["genuine"], told["signed_with"], told["faults"]]);
            let expected = json!([method, query, id, "remauth.authenticated", 1, false, false, true, "the secret of secret", null]);
            assert_eq!(part, expected, "{told}");
            assert_eq!(told["answer"], json!({"status": 204, "retry_after": null, "trouble": null, "after_ms": 0}));
            if method == "POST" {
                assert_eq!(told["body"]["data"]["uaid"], uaid(1), "{told}");
            }
        }
        service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 3).await;
        receiver.ends().await;
    }

    async fn each_attempt_is_told_until_one_is_accepted(engine: Engine) {
        let receiver = Practice::start(&["--json"]).await;
        let service = service(&engine, &receiver, &[("crm", "/crm/fail-first/2", "")]).await;
        for number in 1..=2 {
            let id = service.store(&uaid(number)).await;
            for (attempt, status) in [(1, 500), (2, 500), (3, 204)] {
                let told = receiver.told(|told| told["id"] == id && told["attempt"] == attempt).await;
                assert_eq!((&told["answer"]["status"], &told["duplicate"]), (&json!(status), &json!(false)), "{told}");
            }
        }
        service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 2).await;
    }

    /// Returns the result of a real attempt of remgate for each.
    async fn it_behaves_as_badly_as_its_path_says(engine: Engine) {
        let receiver = Practice::start(&["--json"]).await;
        let all = [
            ("well", "/", 204, ""),
            ("status", "/status/418", 418, ""),
            ("gone", "/gone", 410, ""),
            ("redirect", "/redirect", 302, ""),
            ("endless", "/endless", 200, ""),
            ("late", "/slow/5ms", 204, ""),
            ("slow", "/slow/1h", 0, "timeout"),
            ("hang", "/hang", 0, "timeout"),
            ("drip", "/drip", 0, "timeout"),
            ("reset", "/reset", 0, "protocol"),
            ("flood", "/flood", 0, "protocol"),
            ("garbage", "/garbage", 0, "protocol"),
            ("nonsense", "/slow/soon", 404, ""),
        ];
        // Only those that never answer are not waited for.
        let patience = |error| if error == "timeout" { "timeout = \"1s\"" } else { "" };
        let endpoints = all.map(|(name, path, _, error)| (name, path, patience(error)));
        let service = service(&engine, &receiver, &endpoints).await;
        let listed = service.internal.get("/v1/endpoints?limit=100").await.expect(200).json();
        for (name, path, status, error) in all {
            let made = listed["data"].as_array().unwrap().iter().find(|item| item["name"] == name).expect("it is declared");
            let test = format!("/v1/endpoints/{}/test", made["id"].as_str().unwrap());
            let tried = service.internal.post(&test, &json!({})).await.expect(200).json();
            let (class, _) = tried["error"].as_str().unwrap_or_default().split_once(':').unwrap_or_default();
            assert_eq!((&tried["status"], class), (&json!((status > 0).then_some(status)), error), "{path}: {tried}");
            let told = receiver.told(|told| told["path"] == path).await;
            assert_eq!((&told["type"], &told["genuine"]), (&json!("remgate.test"), &json!(true)), "{told}");
        }
        receiver.ends().await;
    }
}

#[rstest]
#[case(&["--status", "503", "--retry-after", "90s"], 503, Some("90"))]
#[case(&["--gone"], 410, None)]
#[case(&["--trouble", "redirect"], 302, None)]
#[case(&["--fail-first", "1"], 500, None)]
#[case(&["--fail-first", "1", "--status", "429", "--retry-after", "1500ms"], 429, Some("2"))]
#[case(&["--slow", "1ms"], 204, None)]
#[tokio::test]
async fn flags_hold_for_every_path(
    #[case] flags: &[&str],
    #[case] status: u16,
    #[case] retry_after: Option<&str>,
) {
    let receiver = Practice::start(flags).await;
    for path in ["/", "/some/path"] {
        let answer = receiver.send(path, "evt_1", SECRET).await.expect(status);
        let told = answer.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(told, retry_after, "{flags:?}");
    }
}

#[tokio::test]
async fn more_than_the_rate_is_told_to_come_later() {
    let receiver = Practice::start(&["--json", "--rate-limit", "2/h"]).await;
    for (id, status) in [("evt_1", 204), ("evt_2", 204), ("evt_3", 429), ("evt_3", 429)] {
        let answer = receiver.send("/", id, SECRET).await.expect(status);
        if status == 429 {
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((3500..=3600).contains(&wait), "{wait}");
        }
    }
    let told = receiver.told(|told| told["id"] == "evt_3").await;
    assert_eq!(
        (&told["answer"]["status"], &told["attempt"]),
        (&json!(429), &json!(0)),
        "it was not looked at"
    );
    receiver.send("/elsewhere", "evt_3", SECRET).await.expect(204);
}

#[tokio::test]
async fn what_is_not_genuine_is_refused_and_what_came_before_is_told() {
    let receiver = Practice::start(&["--json"]).await;
    receiver.send("/", "evt_1", OTHER).await.expect(401);
    receiver.send("/", "evt_1", SECRET).await.expect(204);
    receiver.send("/", "evt_1", SECRET).await.expect(204);
    let nth = async |attempt: u32| receiver.told(|told| told["attempt"] == attempt).await;
    let (forged, first, second) = (nth(1).await, nth(2).await, nth(3).await);
    assert_eq!((&forged["genuine"], &forged["faults"][0]["fault"]), (&json!(false), &json!("no_fit")));
    assert_eq!([&first["duplicate"], &second["duplicate"]], [&json!(false), &json!(true)]);
    Client::at(&receiver.url).header("remgate-replay", "true").get("/unsigned").await.expect(401);
    let told = receiver.told(|told| told["path"] == "/unsigned").await;
    assert_eq!((&told["replay"], &told["id"], &told["attempt"]), (&json!(true), &Json::Null, &json!(0)));
}

#[tokio::test]
async fn people_read_lines_that_steer_no_terminal() {
    let receiver = Practice::start(&[]).await;
    receiver.send("/crm", "evt_1", SECRET).await.expect(204);
    let line = receiver.process.line(|line| line.contains("POST /crm")).await;
    assert!(
        line.ends_with("remauth.authenticated evt_1  genuine, signed with the secret of secret  -> 204"),
        "{line}"
    );
    receiver.process.line(|line| line == format!("  {BODY}")).await;
    receiver.send("/crm", "evt_1", SECRET).await.expect(204);
    receiver.process.line(|line| line.contains(", a DUPLICATE of what was accepted before  -> 204")).await;
    receiver.send("/hm/status/503/retry-after/9s/slow/1ms", "evt_1", OTHER).await.expect(503);
    receiver
        .process
        .line(|line| line.ends_with("NOT GENUINE: no signature fits  -> 503 with Retry-After 9 after 1ms"))
        .await;
    let client = Client::at(&receiver.url);
    client.send(Method::POST, "/steer", |request| request.body("\u{1b}[2J\u{1b}]0;x\u{7}")).await.expect(401);
    receiver.process.line(|line| line.contains("[2J")).await;
    assert!(!receiver.process.log().contains('\u{1b}'));
    assert!(!receiver.process.log().contains("MfKQ9r8"), "the secret is not told");
}

#[tokio::test]
async fn without_a_secret_nothing_is_checked_and_that_is_said() {
    let process = Launch::new(&["simulate", "receiver", "--listen", "127.0.0.1:0"]).spawn();
    let line = process.line(|line| line.contains("waiting for webhooks on")).await;
    assert!(line.contains("signatures are not checked"), "{line}");
    let url = process.line(|line| line.starts_with("http://127.0.0.1:")).await;
    Client::at(&url).get("").await.expect(204);
    process.line(|line| line.contains("not checked  -> 204")).await;
}

#[rstest]
#[case(Signal::TERM)]
#[case(Signal::INT)]
#[tokio::test]
async fn it_stops_at_once_whatever_hangs(#[case] signal: Signal) {
    let receiver = Practice::start(&["--json"]).await;
    let address = receiver.url.trim_start_matches("http://").parse().unwrap();
    let mut open = Vec::new();
    for path in ["/hang", "/drip", "/endless", "/slow/1h"] {
        let mut connection = Connection::open(address).await;
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\nwebhook-id: evt_1\r\n\r\n")).await;
        receiver.told(|told| told["path"] == path).await;
        open.push(connection);
    }
    receiver.process.signal(signal);
    assert_eq!(receiver.process.wait().await, Some(0), "{}", receiver.process.log());
}

#[tokio::test]
async fn it_says_why_it_does_not_start() {
    let receiver = Practice::start(&[]).await;
    let taken = receiver.url.trim_start_matches("http://");
    for (flags, code, said) in [
        (["--listen", taken], 1, "failed to listen on"),
        (["--status", "99"], 2, "200 to 599"),
        (["--rate-limit", "5"], 2, "a rate is"),
        (["--endpoint", "nobody"], 2, "declares no endpoint nobody"),
    ] {
        let output = Launch::new(&[&["simulate", "receiver"], &flags[..]].concat()).run().await;
        assert_eq!(output.code, Some(code), "{output:?}");
        assert!(output.stderr.contains(said), "{output:?}");
    }
}
