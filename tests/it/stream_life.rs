//! Streams that are cut: by a restart, by another replica, by a store that is away, by a reader that does not read.

use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;

use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::TestGateway;
use crate::support::service::{Service, uaid};
use crate::support::sse::EventSource;
use crate::support::within;

const ALL: &str = "/v1/events/stream";

/// Reads on from `place` until there are `count` in `seen`, or the stream ends.
async fn read_on(service: &Service, place: &mut Option<String>, seen: &mut Vec<String>, count: usize) {
    let target = format!("{ALL}?after=0");
    let mut stream = EventSource::open(service.process.internal_addr(), &target, place.as_deref()).await;
    while seen.len() < count {
        let Some(block) = stream.block().await else { break };
        if block.is_event() {
            seen.push(block.json()["uaid"].as_str().expect("an event has one").to_owned());
        }
    }
    place.clone_from(&stream.place);
}

/// A form with as many callbacks in it as are allowed.
async fn store_many(gateway: &TestGateway, from: u64) {
    let form =
        (from..from + 1_000).map(|n| format!("authenticated={}", uaid(n))).collect::<Vec<_>>().join("&");
    let answer = gateway.public.send(reqwest::Method::POST, "/remauth_callback", |request| {
        request.header("content-type", "application/x-www-form-urlencoded").body(form)
    });
    answer.await.expect(200);
}

both_engines! {
    async fn told_to_stop_it_ends_whole(service: Service) {
        let addr = service.process.internal_addr();
        let streams = join_all((0..5).map(|_| EventSource::open(addr, ALL, None))).await;
        service.process.signal(Signal::TERM);
        for stream in streams {
            let (blocks, whole) = stream.rest().await;
            assert!(whole, "the last chunk is there: {blocks:?}");
            let wait: u64 = blocks.last().unwrap().retry.as_ref().expect("when to come back").parse().unwrap();
            assert!((1_000..=5_000).contains(&wait), "{wait}");
        }
        assert_eq!(service.process.wait().await, Some(0));
    }

    /// One end is announced, the next comes without a word; between them come events that no stream reads.
    async fn no_restart_loses_or_repeats(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        let (mut place, mut seen, mut stored) = (None, Vec::new(), 0);
        for round in 0..3 {
            let service = Service::start_in(folder.path(), &engine, "").await;
            for _ in 0..10 {
                service.store(&uaid(stored)).await;
                stored += 1;
            }
            // It stands somewhere in the middle when the process goes.
            let until = seen.len() + 7;
            read_on(&service, &mut place, &mut seen, until).await;
            if round == 0 {
                service.process.signal(Signal::TERM);
            } else {
                service.process.kill();
            }
            service.process.wait().await;
        }
        let service = Service::start_in(folder.path(), &engine, "").await;
        read_on(&service, &mut place, &mut seen, 30).await;
        assert_eq!(seen, (0..30).map(uaid).collect::<Vec<_>>());
    }

    /// On PostgreSQL two replicas are written to at once, and readers change between them.
    async fn readers_that_change_replicas_miss_and_repeat_nothing(engine: Engine) {
        let first = Service::start(&engine, "").await;
        let second = if engine.name() == "postgres" { Some(Service::start(&engine, "").await) } else { None };
        let replicas: Vec<_> = [Some(&first), second.as_ref()].into_iter().flatten().collect();
        let total = 600;
        let writers = join_all((0..6).map(|writer| {
            let service = replicas[usize::try_from(writer).unwrap() % replicas.len()];
            async move {
                for n in 0..total / 6 {
                    service.store(&uaid(writer * 1_000 + n)).await;
                }
            }
        }));
        let readers = join_all((0..4).map(|reader| {
            let replicas = &replicas;
            async move {
                let (mut place, mut seen, mut turn) = (None, Vec::new(), reader);
                let all = usize::try_from(total).unwrap();
                while seen.len() < all {
                    let until = (seen.len() + 13).min(all);
                    read_on(replicas[turn % replicas.len()], &mut place, &mut seen, until).await;
                    turn += 1;
                }
                seen
            }
        }));
        let (_, seen) = tokio::join!(writers, readers);
        let distinct: std::collections::HashSet<_> = seen[0].iter().collect();
        assert_eq!(distinct.len(), seen[0].len(), "nothing twice");
        assert!(seen.iter().all(|order| order == &seen[0]), "the same order for everybody");
    }

    async fn a_store_that_is_away_for_a_while_is_waited_for(engine: Engine) {
        let service = Service::start(&engine, "").await;
        let mut stream = EventSource::open(service.process.internal_addr(), ALL, None).await;
        service.store(&uaid(1)).await;
        assert_eq!(stream.uaids(1).await, [uaid(1)]);
        engine.run("ALTER TABLE events RENAME TO away").await;
        service.internal.get(ALL).await.expect(503);
        engine.run("ALTER TABLE away RENAME TO events").await;
        // What is stored now cannot be read: a wake-up comes, and cannot be followed.
        let (spoil, mend) = match engine.name() {
            "sqlite" => (
                "CREATE TRIGGER spoil AFTER INSERT ON events \
                    BEGIN UPDATE events SET trust = 'spoilt' WHERE seq = NEW.seq; END",
                "DROP TRIGGER spoil; UPDATE events SET trust = 'none'",
            ),
            _ => (
                "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS \
                    $$ BEGIN NEW.trust := 'spoilt'; RETURN NEW; END $$; \
                CREATE TRIGGER spoil BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION spoil()",
                "DROP TRIGGER spoil ON events; UPDATE events SET trust = 'none'",
            ),
        };
        engine.run(spoil).await;
        service.store(&uaid(2)).await;
        service.process.line(|line| line.contains("failed to read events for a stream")).await;
        engine.run(mend).await;
        service.store(&uaid(3)).await;
        assert_eq!(stream.uaids(2).await, [uaid(2), uaid(3)]);
    }
}

/// A reader that takes nothing is given up after half a minute. Until then it costs others nothing, and afterwards it
/// comes back with its place.
#[tokio::test]
async fn a_reader_that_does_not_read_harms_nobody() {
    let engine = Engine::sqlite();
    let gateway = TestGateway::start(engine.url(), "").await;
    let addr = gateway.internal.base().strip_prefix("http://").unwrap().parse().unwrap();
    let mut stuck = EventSource::unread(addr, &format!("{ALL}?after=0")).await;
    let mut reading = EventSource::open(addr, &format!("{ALL}?after=0"), None).await;
    gateway.until_figure("remgate_waiters 2").await;
    // More than the system buffers for a client that does not read.
    let total = 20_000;
    let writing = async {
        for from in 0..total / 1_000 {
            store_many(&gateway, from * 1_000).await;
        }
    };
    let count = usize::try_from(total).unwrap();
    let (seen, ()) = tokio::join!(reading.uaids(count), writing);
    // Events of one callback stand in an order of their own.
    let all = seen.clone();
    let distinct: std::collections::HashSet<_> = seen.into_iter().collect();
    assert_eq!(distinct, (0..total).map(uaid).collect());
    drop(reading);
    gateway.until_figure("remgate_waiters 1").await;
    // It waits from the moment in which nothing more could be written.
    within("the end of the reader that does not read", async {
        while gateway.internal.get("/metrics").await.text().lines().all(|line| line != "remgate_waiters 0") {
            gateway.clock.advance(Duration::from_secs(1));
        }
    })
    .await;
    let mut got = Vec::new();
    while let Some(block) = stuck.block().await {
        if block.is_event() {
            got.push(block.json()["uaid"].as_str().unwrap().to_owned());
        }
    }
    assert!(got.len() < all.len(), "it was dropped in the middle");
    let mut back = EventSource::open(addr, &format!("{ALL}?after=0"), stuck.place.as_deref()).await;
    got.extend(back.uaids(all.len() - got.len()).await);
    assert_eq!(got, all);
}
