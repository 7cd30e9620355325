//! `/v1/events`: pages, filters, waiting, and no gaps.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;

use remgate::domain::{Clock, SystemClock};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::engine::both_engines;
use crate::support::postgres;
use crate::support::process::Launch;
use crate::support::service::{Service, text, uaid};
use crate::support::within;

fn uaids(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|item| item["uaid"].as_str().unwrap().to_owned()).collect()
}

both_engines! {
    async fn a_position_that_was_never_given_is_refused(service: Service) {
        service.store(&uaid(1)).await;
        for query in ["after=2", "after=999999", "after=2&wait=50", "after=2&uaid=00000000000000000000000000000009"] {
            let refused = service.internal.get(&format!("/v1/events?{query}")).await.expect(409).json();
            assert_eq!((&refused["code"], &refused["newest"]), (&json!("cursor_ahead"), &json!("1")), "{query}");
        }
        service.events("after=1").await;
        service.events("after=0").await;
    }

    async fn in_a_store_without_any_event_a_cursor_is_refused_with_the_first(service: Service) {
        assert_eq!(service.events("after=999999").await["data"], json!([]));
        let waiting = service.internal.get("/v1/events?after=999999&wait=50");
        let first = async {
            service.until_metric("remgate_waiters", 1).await;
            service.store(&uaid(1)).await;
        };
        let (refused, ()) = tokio::join!(waiting, first);
        assert_eq!(refused.expect(409).json()["newest"], "1");
        service.internal.get("/v1/events?after=999999").await.expect(409);
    }

    async fn the_last_moment_of_all_is_a_time(service: Service) {
        service.store(&uaid(1)).await;
        let page = service.events("until=9999-12-31T23:59:59Z&since=2000-01-01T00:00:00Z").await;
        assert_eq!(page["data"].as_array().unwrap().len(), 1);
        for bad in ["9999-12-32T00:00:00Z", "9999-12-31T25:00:00Z", "10000-01-01T00:00:00Z", "tomorrow"] {
            service.internal.get(&format!("/v1/events?until={bad}")).await.expect(400);
        }
    }

    async fn an_empty_store_has_a_place_to_begin(service: Service) {
        assert_eq!(service.events("").await, json!({"data": [], "cursor": "0", "has_more": false}));
        assert_eq!(service.events("order=desc").await, json!({"data": [], "cursor": "0", "has_more": false}));
    }

    async fn pages_follow_each_other_both_ways(service: Service) {
        let all: Vec<_> = (0..7).map(uaid).collect();
        for it in &all {
            service.store(it).await;
        }
        let mut seen = Vec::new();
        let mut page = service.events("limit=3").await;
        loop {
            seen.extend(uaids(&page));
            if page["has_more"] == false {
                break;
            }
            page = service.events(&format!("limit=3&after={}", page["cursor"].as_str().unwrap())).await;
        }
        assert_eq!(seen, all);
        let end = page["cursor"].as_str().unwrap().to_owned();
        assert_eq!(service.events(&format!("after={end}")).await, json!({"data": [], "cursor": end, "has_more": false}));

        let mut back = uaids(&service.events("order=desc&limit=4").await);
        let cursor = service.events("order=desc&limit=4").await["cursor"].as_str().unwrap().to_owned();
        let rest = service.events(&format!("order=desc&limit=4&before={cursor}")).await;
        assert_eq!(rest["has_more"], false);
        back.extend(uaids(&rest));
        back.reverse();
        assert_eq!(back, all);
    }

    async fn an_event_that_is_not_there(service: Service) {
        for id in ["evt_00000000000000000000000000000000", "evt_x", "nonsense"] {
            let problem = service.internal.get(&format!("/v1/events/{id}")).await.expect(404).json();
            assert_eq!((&problem["type"], &problem["status"]), (&json!("urn:remgate:problem:not-found"), &json!(404)));
        }
    }

    async fn who_waits_is_woken_by_what_fits(service: Service) {
        service.store(&uaid(1)).await;
        let waiting = service.internal.get("/v1/events?wait=60&after=1&type=remauth.subscribed");
        let telling = async {
            service.until_metric("remgate_waiters", 1).await;
            service.store(&uaid(2)).await;
            service.callback(&format!("subscribed={}", uaid(3))).await.expect(200);
        };
        let (answer, ()) = tokio::join!(waiting, telling);
        let page = answer.expect(200).json();
        assert_eq!((uaids(&page), &page["cursor"]), (vec![uaid(3)], &json!("3")));
        service.until_metric("remgate_waiters", 0).await;
    }

    async fn who_waits_in_vain_gets_an_empty_page(service: Service) {
        assert_eq!(service.events("wait=1").await, json!({"data": [], "cursor": "0", "has_more": false}));
        service.store(&uaid(1)).await;
        assert_eq!(uaids(&service.events("wait=60").await), [uaid(1)], "what is there needs no waiting");
    }

    async fn readers_that_follow_cursors_miss_and_repeat_nothing(engine: Engine) {
        // Two replicas where the engine allows them, one otherwise, written to by eight at a time.
        let first = Service::start(&engine, "").await;
        let second = if engine.name() == "postgres" { Some(Service::start(&engine, "").await) } else { None };
        let replicas: Vec<_> = [Some(&first), second.as_ref()].into_iter().flatten().collect();
        let total = 800;
        let writers = join_all((0..8).map(|writer| {
            let service = replicas[usize::try_from(writer).unwrap() % replicas.len()];
            async move {
                for n in 0..total / 8 {
                    service.store(&uaid(writer * 1_000 + n)).await;
                }
            }
        }));
        let readers = join_all((0..4).map(|reader| {
            let service = replicas[reader % replicas.len()];
            async move {
                let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
                while seen.len() < usize::try_from(total).unwrap() {
                    let page = service.events(&format!("limit=7&wait=20&after={cursor}")).await;
                    assert!(!uaids(&page).is_empty(), "a reader waits in vain: {} seen", seen.len());
                    seen.extend(uaids(&page));
                    cursor = page["cursor"].as_str().unwrap().to_owned();
                }
                seen
            }
        }));
        let ((), seen) = tokio::join!(async { drop(writers.await) }, readers);
        for order in &seen {
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), order.len(), "nothing twice");
            assert_eq!(order, &seen[0], "the same order for everybody");
        }
    }
}

#[tokio::test]
async fn a_waiter_at_one_replica_is_woken_by_another() {
    let database = postgres::database().await;
    let start = async || Service::of(Launch::new(&[]).config(&text(&database.url, "")).start().await);
    let (one, other) = (start().await, start().await);
    let waiting = one.internal.get("/v1/events?wait=60");
    let telling = async {
        one.until_metric("remgate_waiters", 1).await;
        let begun = SystemClock.instant();
        other.store(&uaid(7)).await;
        begun
    };
    let (answer, begun) = tokio::join!(waiting, telling);
    assert_eq!(uaids(&answer.expect(200).json()), [uaid(7)]);
    // By LISTEN, that is, and not by the slow poll that stands beside it.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// Replica A has its number and hangs in its COMMIT; replica B stores meanwhile. Were B's event to become visible
/// first, a reader would pass A's for ever.
#[tokio::test]
async fn a_slow_commit_at_one_replica_is_not_overtaken_by_another() {
    let database = postgres::database().await;
    let start = async || Service::of(Launch::new(&[]).config(&text(&database.url, "")).start().await);
    let (one, other) = (start().await, start().await);
    let mut admin = PgConnection::connect(&database.url).await.unwrap();
    let slow = "
        CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.uaid = decode('000000000000000000000000000000aa', 'hex')) EXECUTE FUNCTION hang();
        SELECT pg_advisory_lock(1);";
    sqlx::raw_sql(slow).execute(&mut admin).await.unwrap();
    let hanging = one.store("000000000000000000000000000000aa");
    let meanwhile = async {
        // A's transaction is in its COMMIT when a session waits for our lock.
        within("a transaction that waits in its commit", async {
            let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted";
            while admin.fetch_optional(waits).await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let second = uaid(0xbb);
        let overtaking = other.store(&second);
        let reading = async {
            // Either B waits for A, or what B stored is there to be read before what A stores.
            let queues = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid <> 1 AND NOT granted";
            let page = within("the second replica to wait or to overtake", async {
                loop {
                    let page = other.events("").await;
                    if !uaids(&page).is_empty() || admin.fetch_optional(queues).await.unwrap().is_some() {
                        return page;
                    }
                }
            })
            .await;
            let cursor = page["cursor"].as_str().unwrap().to_owned();
            admin.execute("SELECT pg_advisory_unlock(1)").await.unwrap();
            (uaids(&page), cursor)
        };
        let (_, (mut seen, mut cursor)) = tokio::join!(overtaking, reading);
        while seen.len() < 2 {
            let page = other.events(&format!("wait=20&after={cursor}")).await;
            assert!(!uaids(&page).is_empty(), "the reader passed an event: {seen:?}");
            seen.extend(uaids(&page));
            cursor = page["cursor"].as_str().unwrap().to_owned();
        }
        seen
    };
    let (_, seen) = tokio::join!(hanging, meanwhile);
    assert_eq!(seen, [uaid(0xaa), uaid(0xbb)]);
}
