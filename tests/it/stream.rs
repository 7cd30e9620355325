//! `/v1/events/stream`: what it says, where it begins, and what becomes of a place that is gone.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::both_engines;
use crate::support::gateway::TestGateway;
use crate::support::service::{Service, uaid};
use crate::support::sse::{Block, EventSource};

const ALL: &str = "/v1/events/stream";

async fn open(service: &Service, query: &str) -> EventSource {
    EventSource::open(service.process.internal_addr(), &format!("{ALL}?{query}"), None).await
}

async fn again(service: &Service, query: &str, place: Option<&str>) -> EventSource {
    EventSource::open(service.process.internal_addr(), &format!("{ALL}?{query}"), place).await
}

fn internal_addr(gateway: &TestGateway) -> SocketAddr {
    gateway.internal.base().strip_prefix("http://").expect("a URL").parse().expect("an address")
}

fn place(block: &Block) -> &str {
    block.id.as_ref().expect("it has a place")
}

fn is_resync(block: &Block, data: &Value, id: &str) {
    assert_eq!((block.event.as_deref(), block.id.as_deref()), (Some("resync"), Some(id)), "{block:?}");
    assert_eq!(&block.json(), data);
}

async fn store(service: &Service, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        service.store(&uaid(number)).await;
    }
}

both_engines! {
    async fn it_says_what_the_list_says(service: Service) {
        service.callback(&format!("registricated={}", uaid(1))).await.expect(200);
        service.store(&uaid(2)).await;
        let mut stream = open(&service, "after=0").await;
        let head = stream.head.to_ascii_lowercase();
        for header in ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"] {
            assert!(head.contains(&format!("{header}\r\n")), "{head}");
        }
        assert_eq!(stream.block().await.unwrap().retry.unwrap(), "2000");
        let position = stream.block().await.unwrap();
        assert_eq!((position.id.as_deref(), position.event.as_deref()), (Some("0"), Some("cursor")));
        assert_eq!(position.json(), json!({"cursor": "0"}));
        service.store(&uaid(3)).await;
        for event in service.events("").await["data"].as_array().unwrap() {
            let block = stream.block().await.unwrap();
            assert_eq!(json!(block.id), event["cursor"]);
            assert_eq!(json!(block.event), event["type"]);
            assert_eq!(&block.json(), event);
        }
    }

    async fn without_a_place_it_starts_now(service: Service) {
        service.store(&uaid(1)).await;
        let mut stream = open(&service, "").await;
        service.store(&uaid(2)).await;
        assert_eq!(stream.uaids(1).await, [uaid(2)]);
        assert_eq!(service.metric("remgate_waiters").await, 1);
        drop(stream);
        service.until_metric("remgate_waiters", 0).await;
    }

    /// A polyfill brings the id back as a parameter, beside those that it began with.
    async fn the_last_id_counts_as_a_parameter_too(service: Service) {
        for number in 1..=3 {
            service.store(&uaid(number)).await;
        }
        assert_eq!(open(&service, "after=0&lastEventId=2").await.uaids(1).await, [uaid(3)]);
    }

    /// Its place is said at once: who is cut off before the first event has missed nothing.
    async fn cut_off_before_the_first_event_it_comes_back_to_it(service: Service) {
        service.store(&uaid(1)).await;
        let mut stream = open(&service, "").await;
        stream.block().await.unwrap();
        assert_eq!(place(&stream.block().await.unwrap()), "1");
        let known = stream.place.clone();
        drop(stream);
        service.store(&uaid(2)).await;
        assert_eq!(again(&service, "", known.as_deref()).await.uaids(1).await, [uaid(2)]);
    }

    async fn it_goes_on_where_its_reader_was(service: Service) {
        let all: Vec<_> = (1..=9).map(uaid).collect();
        store(&service, 1..=9).await;
        let mut stream = open(&service, "after=0").await;
        let mut seen = stream.uaids(4).await;
        // The place that it brings is newer than the address that it was given at first.
        let known = stream.place.clone();
        drop(stream);
        seen.extend(again(&service, "after=0", known.as_deref()).await.uaids(5).await);
        assert_eq!(seen, all);
        assert_eq!(open(&service, "after=7").await.uaids(2).await, all[7..]);
        assert_eq!(again(&service, "after=7", Some("")).await.uaids(2).await, all[7..]);
        assert_eq!(again(&service, "after=7", Some("2")).await.uaids(7).await, all[2..]);
    }

    async fn filters_choose(service: Service) {
        let mut subscribed = open(&service, "type=remauth.subscribed&type=remauth.registricated").await;
        let mut portal = open(&service, "service=portal&service=default").await;
        let mut one = open(&service, &format!("uaid={}", uaid(3))).await;
        service.store(&uaid(1)).await;
        service.callback(&format!("subscribed={}", uaid(2))).await.expect(200);
        service.store(&uaid(3)).await;
        service.callback(&format!("registricated={}", uaid(4))).await.expect(200);
        assert_eq!(subscribed.uaids(2).await, [uaid(2), uaid(4)]);
        assert_eq!(portal.uaids(4).await, [uaid(1), uaid(2), uaid(3), uaid(4)]);
        assert_eq!(one.uaids(1).await, [uaid(3)]);
    }

    async fn what_it_does_not_understand_it_refuses(service: Service) {
        for query in ["after=x", "after=-1", "after=1&after=2", "type=nonsense", "service=a%20b", "uaid=x", "limit=5", "order=desc", "afer=1"] {
            let answer = service.internal.get(&format!("{ALL}?{query}")).await.expect(400);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{query}");
        }
        let lost = service.internal.clone().header("last-event-id", "x");
        let problem = lost.get(ALL).await.expect(400).json();
        assert!(problem["detail"].as_str().unwrap().contains("Last-Event-ID"), "{problem}");
        assert_eq!(service.metric("remgate_waiters").await, 0);
    }

    async fn in_silence_it_pings(gateway: TestGateway) {
        let target = format!("{ALL}?type=remauth.subscribed");
        let mut stream = EventSource::open(internal_addr(&gateway), &target, None).await;
        assert!(stream.block().await.unwrap().retry.is_some());
        assert_eq!(place(&stream.block().await.unwrap()), "0");
        // It is silent from the moment in which it was last asked for more.
        let quiet = async |stream: &mut EventSource| {
            let passing = async {
                loop {
                    gateway.clock.advance(Duration::from_secs(1));
                    gateway.internal.get("/livez").await;
                }
            };
            tokio::select! {
                block = stream.block() => block.unwrap(),
                () = passing => unreachable!("time passes for ever"),
            }
        };
        let ping = Block { comment: Some("ping".to_owned()), ..Block::default() };
        assert_eq!(quiet(&mut stream).await, ping);
        assert_eq!(quiet(&mut stream).await, ping);
        // What the filter leaves out is passed over once, and not again after the next reconnect.
        gateway.public.get(&format!("/remauth_callback?authenticated={}", uaid(1))).await.expect(200);
        let mut moved = quiet(&mut stream).await;
        while moved.id.is_none() {
            moved = quiet(&mut stream).await;
        }
        assert_eq!((place(&moved), moved.event.as_deref(), moved.json()), ("1", Some("cursor"), json!({"cursor": "1"})));
        assert_eq!(quiet(&mut stream).await, ping);
    }

    async fn a_place_that_was_pruned(engine: Engine) {
        let service = Service::start(&engine, "").await;
        for n in 1..=9 {
            service.store(&uaid(n)).await;
        }
        engine.run("DELETE FROM events WHERE seq <= 5").await;
        let pruned = |asked: &str| json!({"reason": "pruned", "asked": asked, "oldest": "6"});
        for asked in ["1", "4"] {
            let mut stream = again(&service, "after=9", Some(asked)).await;
            is_resync(&stream.event().await, &pruned(asked), "5");
            assert_eq!(stream.uaids(4).await, (6..=9).map(uaid).collect::<Vec<_>>());
        }
        // A filter does not hide it.
        let mut stream = again(&service, "type=remauth.subscribed", Some("4")).await;
        is_resync(&stream.event().await, &pruned("4"), "5");
        // Who has seen all that was pruned has missed nothing, and who asks for what there is neither.
        for asked in ["0", "5"] {
            assert_eq!(open(&service, &format!("after={asked}")).await.uaids(1).await, [uaid(6)]);
        }
        assert_eq!(open(&service, "after=8").await.uaids(1).await, [uaid(9)]);
    }

    async fn an_empty_store_that_was_not_always_empty(engine: Engine) {
        let service = Service::start(&engine, "").await;
        store(&service, 1..=3).await;
        engine.run("DELETE FROM events").await;
        let mut now = open(&service, "").await;
        let mut knows_all = open(&service, "after=3").await;
        let mut missed = open(&service, "after=2").await;
        is_resync(&missed.event().await, &json!({"reason": "pruned", "asked": "2", "oldest": null}), "0");
        service.store(&uaid(4)).await;
        for stream in [&mut now, &mut knows_all, &mut missed] {
            assert_eq!(stream.uaids(1).await, [uaid(4)]);
        }
        assert_eq!(missed.place.unwrap(), "4");
    }

    async fn a_place_where_this_store_has_never_been(service: Service) {
        let mut empty = open(&service, "after=7").await;
        is_resync(&empty.event().await, &json!({"reason": "unknown", "asked": "7", "oldest": null}), "0");
        service.store(&uaid(1)).await;
        assert_eq!(empty.uaids(1).await, [uaid(1)]);
        let mut stream = again(&service, "", Some("2")).await;
        is_resync(&stream.event().await, &json!({"reason": "unknown", "asked": "2", "oldest": "1"}), "0");
        assert_eq!(stream.uaids(1).await, [uaid(1)]);
    }

    async fn there_is_room_for_so_many(engine: Engine) {
        let service = Service::start(&engine, "internal.max_streams = 2").await;
        let first = open(&service, "").await;
        let _second = open(&service, "").await;
        let refused = service.internal.get(ALL).await.expect(503);
        assert!(!refused.header("retry-after").is_empty());
        assert_eq!(refused.json()["type"], "urn:remgate:problem:unavailable");
        // Others are not kept out.
        service.store(&uaid(1)).await;
        assert_eq!(service.count().await, 1);
        drop(first);
        service.until_metric("remgate_waiters", 1).await;
        assert_eq!(open(&service, "after=0").await.uaids(1).await, [uaid(1)]);
    }
}
