//! A change of an endpoint that was confirmed is in force for every attempt that begins after it.

use std::time::Duration;

use futures_util::future::join_all;
use remgate::domain::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::endpoints::{at, make};
use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::TestGateway;
use crate::support::http::Client;
use crate::support::receiver::{Received, Receiver};
use crate::support::service::{Service, delivery, uaid};

/// Callbacks after each change.
const BURST: u64 = 20;

/// The time after which a change that another replica has confirmed is in force here.
const REPLICA_BOUND: Duration = Duration::from_secs(1);

async fn change(internal: &Client, endpoint: &Value, body: &Value) {
    internal.request(Method::PATCH, &at(endpoint), Some(body)).await.expect(200);
}

/// Stores events at once, beginning with this number.
async fn burst(public: &Client, first: u64) {
    let callback = |number| async move {
        public.get(&format!("/remauth_callback?authenticated={}", uaid(number))).await.expect(200)
    };
    join_all((first..first + BURST).map(callback)).await;
}

fn number(received: &Received) -> u64 {
    let text = received.json()["data"]["uaid"].as_str().expect("an event of a callback").to_owned();
    u64::from_str_radix(&text, 16).expect("a number")
}

both_engines! {
    async fn events_after_a_new_url_go_there(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let mut receivers = [Receiver::start().await, Receiver::start().await];
        let endpoint = make(&gateway.internal, &json!({"url": receivers[1].url("/")})).await;
        for round in 0..20 {
            let to = usize::try_from(round % 2).unwrap();
            let url = receivers[to].url("/");
            // Attempts are under way when the change is confirmed.
            let before = 1000 * (round + 1);
            let body = json!({"url": url});
            tokio::join!(burst(&gateway.public, before), change(&gateway.internal, &endpoint, &body));
            burst(&gateway.public, before + 100).await;
            let mut seen = 0;
            while seen < BURST {
                seen += u64::from(number(&receivers[to].next().await) >= before + 100);
            }
            let late = receivers[1 - to].arrived().iter().map(number).filter(|number| *number >= before + 100).count();
            assert_eq!(late, 0, "round {round}: events after the change went to the old URL");
        }
    }

    async fn events_after_a_rotation_and_new_headers_have_them(engine: Engine) {
        let gateway = Service::start(&engine, &delivery("")).await;
        let mut receiver = Receiver::start().await;
        let endpoint = make(&gateway.internal, &json!({"url": receiver.url("/")})).await;
        for round in 0..10 {
            burst(&gateway.public, 1000 * round).await;
            let path = format!("{}/secret/rotate", at(&endpoint));
            let rotated = gateway.internal.post(&path, &json!({})).await.expect(200).json();
            change(&gateway.internal, &endpoint, &json!({"headers": {"x-round": round.to_string()}})).await;
            burst(&gateway.public, 1000 * round + 100).await;
            for _ in 0..2 * BURST {
                let request = receiver.next().await;
                if number(&request) >= 1000 * round + 100 {
                    request.verify(rotated["secret"].as_str().unwrap()).expect("signed by the new secret");
                    assert_eq!(request.header("x-round"), round.to_string());
                }
            }
        }
    }

    async fn nothing_goes_to_an_endpoint_after_it_was_disabled_or_removed(engine: Engine) {
        let gateway = TestGateway::start(engine.url(), &delivery("")).await;
        let (mut receiver, mut other) = (Receiver::start().await, Receiver::start().await);
        make(&gateway.internal, &json!({"url": other.url("/")})).await;
        for round in 0..10 {
            let endpoint = make(&gateway.internal, &json!({"url": receiver.url("/")})).await;
            burst(&gateway.public, 1000 * round).await;
            if round % 2 == 0 {
                gateway.internal.post(&format!("{}/disable", at(&endpoint)), &json!({})).await.expect(200);
            } else {
                gateway.internal.delete(&at(&endpoint)).await.expect(204);
            }
            burst(&gateway.public, 1000 * round + 100).await;
            for _ in 0..2 * BURST {
                other.next().await;
            }
            let late = receiver.arrived().iter().filter(|item| number(item) >= 1000 * round + 100).count();
            assert_eq!(late, 0, "round {round}");
        }
    }
}

#[tokio::test]
async fn a_change_at_another_replica_is_in_force_within_a_second() {
    let engine = Engine::postgres().await;
    let one = TestGateway::replica(1, engine.url(), &delivery("")).await;
    let two = TestGateway::replica(2, engine.url(), &delivery("")).await;
    let mut receivers = [Receiver::start().await, Receiver::start().await];
    let endpoint = make(&one.internal, &json!({"url": receivers[1].url("/")})).await;
    for round in 0..10 {
        let to = usize::try_from(round % 2).unwrap();
        burst(&two.public, 1000 * round).await;
        change(&one.internal, &endpoint, &json!({"url": receivers[to].url("/")})).await;
        let begun = SystemClock.instant();
        let mut number_of_event = 1000 * round + 100;
        // One event after the other, until the change has arrived; from then on none goes to the old URL.
        loop {
            two.public
                .get(&format!("/remauth_callback?authenticated={}", uaid(number_of_event)))
                .await
                .expect(200);
            let received = {
                let [first, second] = &mut receivers;
                loop {
                    let (at, received) = tokio::select! {
                        received = first.next() => (0, received),
                        received = second.next() => (1, received),
                    };
                    if number(&received) == number_of_event {
                        break at;
                    }
                }
            };
            if received == to {
                break;
            }
            assert!(begun.elapsed() < REPLICA_BOUND, "round {round}");
            number_of_event += 1;
        }
        burst(&two.public, 1000 * round + 500).await;
        let mut seen = 0;
        while seen < BURST {
            seen += u64::from(number(&receivers[to].next().await) >= 1000 * round + 500);
        }
        let late =
            receivers[1 - to].arrived().iter().filter(|item| number(item) >= 1000 * round + 500).count();
        assert_eq!(late, 0, "round {round}");
    }
}
