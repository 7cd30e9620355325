//! Clients of the event stream and the event list: what `docs/reference/api.md` shows, and other clients that are in use, each
//! through a crash and a restart, without a loss.

use serde_json::json;

use super::{at, confirmed, expect, service};
use crate::support::clients::{javascript, python, snippet};
use crate::support::engine::Engine;
use crate::support::junction::Junction;
use crate::support::process::{Launch, Process};
use crate::support::service::uaid;
use crate::support::within;

/// Prints each event that npm's `event-source-polyfill` dispatches, whatever its type.
const POLYFILL: &str = r#"
import polyfill from "event-source-polyfill";
const [url, type] = process.argv.slice(2);
const headers = process.env.REMGATE_KEY ? { authorization: `Bearer ${process.env.REMGATE_KEY}` } : {};
const source = new polyfill.EventSourcePolyfill(url, { headers });
for (const name of ["message", type]) source.addEventListener(name, (event) => console.log(name, event.data));
source.addEventListener("error", () => { if (source.readyState === 2) { console.log("closed"); process.exit(0); } });
"#;

/// Prints each event that Python's `sseclient-py` dispatches, whatever its type; comes back with the last id.
const SSECLIENT: &str = r#"
import json, os, time, urllib.request, sseclient
last = "0"
while True:
    headers = {"Authorization": "Bearer " + os.environ["REMGATE_KEY"], "Last-Event-ID": last}
    try:
        request = urllib.request.Request(os.environ["REMGATE_URL"] + "/v1/events/stream", headers=headers)
        for event in sseclient.SSEClient(urllib.request.urlopen(request, timeout=60)).events():
            last = event.id or last
            data = json.loads(event.data)
            if "uaid" in data:
                print(data["uaid"], flush=True)
    except OSError:
        time.sleep(0.2)
"#;

/// Lets a client follow six events, with a crash and a restart after the third.
async fn follows_through_a_restart(client: impl Fn(&str) -> Launch) {
    let engine = Engine::sqlite();
    let first = service(&engine, "").await;
    let key = json!({"name": "reader", "scopes": ["events:read"]});
    let key = first.internal.post("/v1/keys", &key).await.expect(201).json();
    let junction = Junction::to(first.process.internal_addr()).await;
    let launch = client(&junction.url("")).env("REMGATE_KEY", key["key"].as_str().unwrap());
    let follower = launch.env("REMGATE_URL", &junction.url("")).spawn();
    for number in 1..=3 {
        confirmed(&first, number).await;
    }
    let seen = async |follower: &Process, count: usize| {
        let lines = follower.lines(count, |line| line.contains("00000000")).await;
        lines.join("\n")
    };
    seen(&follower, 1).await;
    first.process.kill();
    first.process.wait().await;
    let second = service(&engine, "").await;
    junction.lead_to(second.process.internal_addr());
    for number in 4..=6 {
        confirmed(&second, number).await;
    }
    let mut lines = 1;
    while !seen(&follower, lines).await.contains(&uaid(6)) {
        lines += 1;
    }
    let all = seen(&follower, lines).await;
    for number in 1..=6 {
        assert_eq!(all.matches(&uaid(number)).count(), 1, "{number}: {all}");
    }
}

#[tokio::test]
async fn the_node_client_of_the_page_survives_a_restart() {
    let code = snippet("reference/api.md", "In Node", "js");
    let written = javascript(&[&[("follow.mjs", &code)]]);
    follows_through_a_restart(|_| written.launch(0, &[])).await;
}

#[tokio::test]
async fn the_python_client_of_the_page_survives_a_restart() {
    let code = snippet("reference/api.md", "In Python", "python");
    follows_through_a_restart(|_| python(&[("follow.py", &code)], &[])).await;
}

#[tokio::test]
async fn a_simple_python_client_gets_nothing_that_it_cannot_read() {
    follows_through_a_restart(|_| python(&[("follow.py", SSECLIENT)], &[])).await;
}

#[tokio::test]
async fn the_polyfill_follows_events_through_a_restart() {
    let written = javascript(&[&[("follow.mjs", POLYFILL)]]);
    follows_through_a_restart(|at| {
        written.launch(0, &[&format!("{at}/v1/events/stream?after=0"), "remauth.authenticated"])
    })
    .await;
}

#[tokio::test]
async fn the_shell_loop_of_the_page_survives_a_restart() {
    let code = snippet("reference/api.md", "In a shell", "sh");
    let code = code.replace("curl -s", "curl -s -H \"Authorization: Bearer $REMGATE_KEY\"");
    follows_through_a_restart(|_| Launch::program("/bin/sh".as_ref(), &["loop.sh"]).file("loop.sh", &code))
        .await;
}

/// `completed` comes once; the reconnect with `?lastEventId=` is sent away by 204.
#[tokio::test]
async fn the_polyfill_is_told_the_end_of_a_ticket_once() {
    let engine = Engine::sqlite();
    let service = service(&engine, "").await;
    assert_eq!(expect(&service.internal, 1, 300).await, 201);
    let ticket = service.internal.post(&format!("{}/ticket", at(1)), &json!({})).await.expect(201).json();
    let url = format!("{}{}", service.public.base(), ticket["url"].as_str().unwrap());
    let written = javascript(&[&[("follow.mjs", POLYFILL)]]);
    let follower = written.launch(0, &[&url, "status"]).spawn();
    follower.line(|line| line.contains("pending")).await;
    confirmed(&service, 1).await;
    // By `fetch` it takes an answer without a body for a broken connection and asks again, but nothing is told twice.
    within("the polyfill to be sent away twice", async {
        let series = "remgate_requests_total{listener=\"public\",route=\"/wait/{ticket}\",status=\"204\"}";
        while service.metric(series).await < 2 {}
    })
    .await;
    assert_eq!(follower.log().matches("completed").count(), 1, "{}", follower.log());
}
