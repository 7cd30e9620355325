//! The `state` of an expectation comes back as the app wrote it, on every way out.

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::Method;
use serde_json::json;

use crate::support::engine::both_engines;
use crate::support::http::{Answer, Client};
use crate::support::process::Process;
use crate::support::receiver::Receiver;
use crate::support::service::{Service, delivery, endpoint, uaid};
use crate::support::sse::EventSource;

/// Values that a program which reads numbers into 64 bits, or objects into maps, would change.
const VALUES: &[&str] = &[
    "123456789012345678901234567890",
    "-9223372036854775809",
    "18446744073709551616",
    "1.0",
    "-0",
    "1e400",
    "0.1000000000000000055511151231257827021181583404541015625",
    r#"{"b":1,"a":2,"b":3}"#,
    r#"[1E+2,"\u00e9\/",{"":[]}]"#,
    r#""plain""#,
    "true",
];

async fn put(internal: &Client, number: u64, state: &str) -> Answer {
    let path = format!("/v1/authentications/{}", uaid(number));
    let body = format!("{{\"state\": {state} }}");
    internal
        .send(Method::PUT, &path, |request| request.header("content-type", "application/json").body(body))
        .await
}

#[track_caller]
fn assert_holds(text: &str, state: &str) {
    let member = format!("\"state\":{state}");
    let after = text.split(&member).nth(1).unwrap_or_else(|| panic!("no {member} in {text}"));
    assert!(after.starts_with([',', '}']), "{text}");
}

both_engines! {
    async fn a_state_comes_back_as_it_was_written(engine: Engine) {
        let formats = ["standard", "cloudevents", "remauth"];
        let mut receivers: Vec<_> = stream::iter(formats).then(|_| Receiver::start()).collect().await;
        let mut early = Receiver::start().await;
        let endpoints: String = formats.iter().zip(&receivers).map(|(format, receiver)| {
            endpoint(format, &receiver.url("/"), &format!("format = \"{format}\""))
        }).collect();
        let config = "authentications.min_trust = \"none\"\n".to_owned()
            + &delivery("") + &endpoints + &endpoint("early", &early.url("/"), "expected_only = true");
        let service = Service::start(&engine, &config).await;
        let mut stream = EventSource::open(service.process.internal_addr(), "/v1/events/stream?after=0", None).await;
        for (number, state) in (0..).zip(VALUES) {
            let made = put(&service.internal, number, state).await.expect(201);
            assert_holds(made.text(), state);
            put(&service.internal, number, &format!(" {state}")).await.expect(200);
            let id = service.store(&uaid(number)).await;
            let path = format!("/v1/authentications/{}", uaid(number));
            assert_holds(service.internal.get(&format!("{path}?wait=5")).await.expect(200).text(), state);
            assert_holds(service.internal.get(&format!("/v1/events/{id}")).await.expect(200).text(), state);
            let page = format!("/v1/events?uaid={}", uaid(number));
            assert_holds(service.internal.get(&page).await.expect(200).text(), state);
            let claimed = service.internal.post(&format!("{path}/claim"), &json!({})).await.expect(200);
            assert_holds(claimed.text(), state);
            let block = stream.event().await;
            assert_holds(block.data.as_ref().unwrap(), state);
            for receiver in receivers.iter_mut().take(2).chain([&mut early]) {
                let received = receiver.next().await;
                assert_holds(std::str::from_utf8(&received.body).unwrap(), state);
            }
            receivers[2].next().await;
            let internal = service.process.internal_addr().to_string();
            for (args, shown) in [(&["--json"][..], format!("\"state\":{state}")), (&[], "state".to_owned())] {
                let all = [&["event", "show", &id, "--internal-listen", &internal], args].concat();
                let output = Process::run(&all, &[], service.process.folder()).await;
                assert!(output.code == Some(0) && output.stdout.contains(&shown), "{output:?}");
            }
            let all = ["event", "list", "--internal-listen", &internal];
            assert_eq!(Process::run(&all, &[], service.process.folder()).await.code, Some(0));
        }
    }

    async fn a_state_that_comes_after_its_event_is_delivered_as_it_was_written(engine: Engine) {
        let mut early = Receiver::start().await;
        let config = delivery("") + &endpoint("early", &early.url("/"), "expected_only = true");
        let service = Service::start(&engine, &config).await;
        for (number, state) in (0..).zip(VALUES) {
            service.store(&uaid(number)).await;
            assert_holds(put(&service.internal, number, state).await.expect(201).text(), state);
            assert_holds(std::str::from_utf8(&early.next().await.body).unwrap(), state);
        }
    }

    async fn a_state_that_is_too_long_or_too_deep_is_refused(service: Service) {
        put(&service.internal, 1, &"1".repeat(4096)).await.expect(201);
        put(&service.internal, 2, &"1".repeat(4097)).await.expect(422);
        put(&service.internal, 3, &format!("{}{}", "[".repeat(127), "]".repeat(127))).await.expect(201);
        put(&service.internal, 4, &format!("{}{}", "[".repeat(128), "]".repeat(128))).await.expect(422);
        put(&service.internal, 5, "[1,]").await.expect(400);
        let spaces = format!("[{}1]", " ".repeat(5000));
        assert_holds(put(&service.internal, 6, &spaces).await.expect(201).text(), "[1]");
    }
}
