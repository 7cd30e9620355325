//! `/v1/consumers`: places that are kept for their readers.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::engine::both_engines;
use crate::support::gateway::TestGateway;
use crate::support::http::Client;
use crate::support::service::{Service, uaid};
use crate::support::sse::EventSource;

const ALL: &str = "/v1/consumers";

async fn start(engine: &crate::support::engine::Engine) -> TestGateway {
    TestGateway::start(engine.url(), "").await
}

async fn store(gateway: &TestGateway, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        gateway.public.get(&format!("/remauth_callback?authenticated={}", uaid(n))).await.expect(200);
    }
}

/// A page for a consumer: its uaids as numbers, its cursor, whether there is more.
async fn read(client: &Client, query: &str) -> (Vec<u64>, String, bool) {
    let page = client.get(&format!("{ALL}/{query}")).await.expect(200).json();
    let number = |event: &Value| u64::from_str_radix(event["uaid"].as_str().unwrap(), 16).unwrap();
    let numbers = page["data"].as_array().unwrap().iter().map(number).collect();
    (numbers, page["cursor"].as_str().unwrap().to_owned(), page["has_more"].as_bool().unwrap())
}

async fn post(client: &Client, path: &str, body: Value) -> Value {
    client.post(&format!("{ALL}/{path}"), &body).await.expect(200).json()
}

/// Returns the position of a consumer and the number of events behind it.
fn stands(consumer: &Value) -> (&str, u64) {
    (consumer["cursor"].as_str().unwrap(), consumer["lag"].as_u64().unwrap())
}

/// Takes the store back to its first event, as a restored backup does.
fn set_back(engine: &crate::support::engine::Engine) -> &'static str {
    if engine.name() == "sqlite" {
        "DELETE FROM events WHERE seq > 1; UPDATE sqlite_sequence SET seq = 1 WHERE name = 'events'"
    } else {
        "DELETE FROM events WHERE seq > 1; SELECT setval('events_seq_seq', 1)"
    }
}

both_engines! {
    async fn positions_ahead_of_a_restored_store_are_refused_also_while_they_wait(engine: Engine) {
        let service = Service::start(&engine, "").await;
        let app = &service.internal;
        for n in 1..=3 {
            service.store(&uaid(n)).await;
        }
        post(app, "crm/ack", json!({"cursor": "3"})).await;
        let mut stream = EventSource::open(service.process.internal_addr(), "/v1/events/stream", None).await;
        let waiting = join_all([
            "/v1/consumers/crm/events?wait=50",
            "/v1/consumers/crm/events?wait=50&type=remauth.subscribed",
            "/v1/events?after=3&wait=50",
        ].map(|path| app.get(path)));
        let restore = async {
            service.until_metric("remgate_waiters", 4).await;
            engine.run(set_back(&engine)).await;
            // A new event wakes the requests that wait.
            service.store(&uaid(9)).await;
        };
        let (answers, ()) = tokio::join!(waiting, restore);
        for answer in answers {
            assert_eq!(answer.expect(409).json()["code"], "cursor_ahead");
        }
        let resync = stream.event().await;
        assert_eq!(resync.event.as_deref(), Some("resync"));
        let refused = app.get(&format!("{ALL}/crm/events")).await.expect(409).json();
        assert_eq!((&refused["code"], &refused["newest"]), (&json!("cursor_ahead"), &json!("2")));
        app.get(&format!("{ALL}/crm")).await.expect(200);
        post(app, "crm/seek", json!({"to": "beginning"})).await;
        assert_eq!(read(app, "crm/events").await, (vec![1, 9], "2".to_owned(), false));
    }

    async fn it_reads_the_same_until_it_says_that_it_has_it(engine: Engine) {
        let gateway = start(&engine).await;
        let app = &gateway.internal;
        store(&gateway, 1..=5).await;
        let first = (vec![1, 2], "2".to_owned(), true);
        for _ in 0..2 {
            assert_eq!(read(app, "crm/events?limit=2").await, first);
        }
        gateway.clock.advance(Duration::from_secs(5));
        let told = post(app, "crm/ack", json!({"cursor": "2"})).await;
        assert_eq!(told, json!({"name": "crm", "cursor": "2", "lag": 3, "missed": false,
            "created_at": "2026-11-22T21:04:05.123Z", "updated_at": "2026-11-22T21:04:10.123Z"}));
        assert_eq!(read(app, "crm/events").await, (vec![3, 4, 5], "5".to_owned(), false));
        // What it has passed already it need not say again: nothing moves, not even the time.
        gateway.clock.advance(Duration::from_secs(5));
        for behind in ["2", "1", "0"] {
            assert_eq!(post(app, "crm/ack", json!({"cursor": behind})).await, told);
        }
        assert_eq!(stands(&post(app, "crm/ack", json!({"cursor": "5"})).await), ("5", 0));
        assert_eq!(read(app, "crm/events").await, (vec![], "5".to_owned(), false));
        // Another stands for itself.
        assert_eq!(read(app, "mail/events?limit=1").await, (vec![1], "1".to_owned(), true));
    }

    async fn it_can_be_moved_anywhere(engine: Engine) {
        let gateway = start(&engine).await;
        let app = &gateway.internal;
        for n in 1..=6 {
            store(&gateway, n..=n).await;
            gateway.clock.advance(Duration::from_secs(100));
        }
        for (to, cursor, lag) in [
            (json!({"to": "end"}), "6", 0),
            (json!({"cursor": "2"}), "2", 4),
            (json!({"cursor": "5"}), "5", 1),
            (json!({"to": "beginning"}), "0", 6),
            // The third was received 200 s after the first: since is inclusive.
            (json!({"since": "2026-11-22T21:07:25.123Z"}), "2", 4),
            (json!({"since": "2026-11-22T21:07:25.124Z"}), "3", 3),
            (json!({"since": "2026-11-22T22:09:05+01:00"}), "3", 3),
            (json!({"since": "2000-01-01T00:00:00Z"}), "0", 6),
            (json!({"since": "2100-01-01T00:00:00Z"}), "6", 0),
            (json!({"cursor": "0"}), "0", 6),
        ] {
            let told = post(app, "crm/seek", to.clone()).await;
            assert_eq!(stands(&told), (cursor, lag), "{to}");
            assert_eq!(app.get(&format!("{ALL}/crm")).await.expect(200).json(), told);
        }
    }

    /// The clocks of replicas differ a little: what was stored later may have been received earlier.
    async fn since_misses_nothing_where_clocks_differ(engine: Engine) {
        let gateway = start(&engine).await;
        for n in 1..=6 {
            store(&gateway, n..=n).await;
            gateway.clock.advance(Duration::from_secs(100));
        }
        engine.run("UPDATE events SET received_at = received_at - 120000 WHERE seq IN (3, 4)").await;
        for (since, cursor) in [("21:05:45.123", "1"), ("21:05:45.124", "3"), ("21:05:25.123", "1"), ("21:07:05.124", "4")] {
            let since = json!({"since": format!("2026-11-22T{since}Z")});
            assert_eq!(post(&gateway.internal, "crm/seek", since.clone()).await["cursor"], cursor, "{since}");
        }
    }

    async fn what_makes_no_sense_is_refused(engine: Engine) {
        let gateway = start(&engine).await;
        let app = &gateway.internal;
        store(&gateway, 1..=2).await;
        for (path, body) in [
            ("crm/ack", json!({"cursor": "3"})), ("crm/ack", json!({})), ("crm/ack", json!({"cursor": 2})),
            ("crm/ack", json!({"cursor": "x"})), ("crm/ack", json!({"cursor": "1", "more": 1})),
            ("crm/seek", json!({"cursor": "3"})), ("crm/seek", json!({})), ("crm/seek", json!({"to": "middle"})),
            ("crm/seek", json!({"since": "yesterday"})), ("crm/seek", json!({"cursor": "1", "to": "end"})),
            ("crm/seek", json!({"cursor": "1", "since": "2026-11-22T21:04:05Z"})), ("crm/seek", json!({"from": "1"})),
        ] {
            let answer = app.post(&format!("{ALL}/{path}"), &body).await.expect(422);
            assert_eq!(answer.json()["type"], "urn:remgate:problem:unprocessable", "{path} {body}");
        }
        // None of them was a first use.
        app.get(&format!("{ALL}/crm")).await.expect(404);
        for query in ["limit=0", "wait=61", "after=1", "since=2026-11-22T21:04:05Z", "type=x", "uaid=x"] {
            app.get(&format!("{ALL}/crm/events?{query}")).await.expect(400);
        }
        for name in ["two%20words", &"x".repeat(65), "a%2Fb", "%C3%A4"] {
            let problem = app.get(&format!("{ALL}/{name}/events")).await.expect(404).json();
            assert!(problem["detail"].as_str().unwrap().contains("a consumer's name is"), "{name}: {problem}");
        }
        app.request(Method::POST, &format!("{ALL}/crm/events"), Some(&json!({}))).await.expect(405);
    }

    async fn they_are_listed_by_name_and_can_be_removed(engine: Engine) {
        let gateway = start(&engine).await;
        let app = &gateway.internal;
        let list = async |query: &str| app.get(&format!("{ALL}?{query}")).await.expect(200).json();
        assert_eq!(list("").await, json!({"data": [], "cursor": "", "has_more": false}));
        store(&gateway, 1..=3).await;
        for (name, cursor) in [("c", "3"), ("A", "1"), ("b", "0")] {
            post(app, &format!("{name}/ack"), json!({"cursor": cursor})).await;
        }
        let page = list("after=&limit=2").await;
        let seen: Vec<_> = page["data"].as_array().unwrap().iter().map(|item| (item["name"].as_str().unwrap(), stands(item))).collect();
        assert_eq!(seen, [("A", ("1", 2)), ("b", ("0", 3))]);
        assert_eq!((&page["cursor"], &page["has_more"]), (&json!("b"), &json!(true)));
        let rest = list("after=b").await;
        assert_eq!((&rest["data"][0]["name"], &rest["data"][1], &rest["has_more"]), (&json!("c"), &Value::Null, &json!(false)));
        assert_eq!(list("after=c").await, json!({"data": [], "cursor": "c", "has_more": false}));
        for query in ["limit=0", "after=a%20b", "name=c"] {
            app.get(&format!("{ALL}?{query}")).await.expect(400);
        }
        app.delete(&format!("{ALL}/c")).await.expect(204);
        app.delete(&format!("{ALL}/c")).await.expect(404);
        app.get(&format!("{ALL}/c")).await.expect(404);
        // The next of its name is a new one.
        assert_eq!(read(app, "c/events?limit=1").await.0, [1]);
    }

    async fn who_waits_is_woken(engine: Engine) {
        let gateway = start(&engine).await;
        store(&gateway, 1..=2).await;
        post(&gateway.internal, "crm/seek", json!({"to": "end"})).await;
        let waiting = read(&gateway.internal, "crm/events?wait=60&type=remauth.subscribed");
        let telling = async {
            gateway.until_figure("remgate_waiters 1").await;
            store(&gateway, 3..=3).await;
            gateway.public.get(&format!("/remauth_callback?subscribed={}", uaid(4))).await.expect(200);
        };
        let (page, ()) = tokio::join!(waiting, telling);
        assert_eq!(page, (vec![4], "4".to_owned(), false));
    }

    async fn a_filter_belongs_to_a_read_and_not_to_the_consumer(engine: Engine) {
        let gateway = start(&engine).await;
        store(&gateway, 3..=3).await;
        gateway.public.get(&format!("/remauth_callback?subscribed={}", uaid(4))).await.expect(200);
        let (filtered, cursor, _) = read(&gateway.internal, "crm/events?type=remauth.subscribed").await;
        assert_eq!(filtered, [4]);
        assert_eq!(read(&gateway.internal, "crm/events").await.0, [3, 4]);
        assert_eq!(read(&gateway.internal, "crm/events?service=other").await, (vec![], cursor, false));
    }

    async fn two_replicas_keep_one_place(engine: Engine) {
        let one = start(&engine).await;
        let other = match engine.name() {
            "postgres" => Some(TestGateway::replica(2, engine.url(), "").await),
            _ => None,
        };
        let clients = [&one.internal, other.as_ref().map_or(&one.internal, |item| &item.internal)];
        store(&one, 1..=20).await;
        for client in clients {
            assert_eq!(read(client, "crm/events?limit=3").await.0, [1, 2, 3], "it is no queue");
        }
        // However they come, the place is the furthest of them.
        for round in 0..4_u64 {
            let name = format!("c{round}/ack");
            let acks = (1..=20).map(|n| {
                let (cursor, client) = ((n * 7 + round) % 21, clients[usize::try_from(n % 2).unwrap()]);
                post(client, &name, json!({"cursor": cursor.to_string()}))
            });
            let highest = (1..=20).map(|n| (n * 7 + round) % 21).max().unwrap().to_string();
            join_all(acks).await;
            for client in clients {
                let place = client.get(&format!("{ALL}/c{round}")).await.expect(200).json();
                assert_eq!(place["cursor"], json!(highest));
            }
        }
    }

    async fn one_place_survives_a_restart(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start_in(folder.path(), &engine, "").await;
        for n in 1..=3 {
            service.store(&uaid(n)).await;
        }
        assert_eq!(read(&service.internal, "crm/events?limit=2").await.0, [1, 2]);
        post(&service.internal, "crm/ack", json!({"cursor": "2"})).await;
        service.process.kill();
        service.process.wait().await;
        let service = Service::start_in(folder.path(), &engine, "").await;
        assert_eq!(read(&service.internal, "crm/events").await.0, [3]);
    }

    async fn what_was_pruned_is_missed(engine: Engine) {
        let gateway = start(&engine).await;
        let app = &gateway.internal;
        store(&gateway, 1..=9).await;
        for (name, cursor) in [("slow", "2"), ("quick", "5"), ("done", "9")] {
            post(app, &format!("{name}/ack"), json!({"cursor": cursor})).await;
        }
        engine.run("DELETE FROM events WHERE seq <= 5").await;
        for (name, lag, missed) in [("slow", 4, true), ("quick", 4, false), ("done", 0, false)] {
            let it = app.get(&format!("{ALL}/{name}")).await.expect(200).json();
            assert_eq!((stands(&it).1, &it["missed"]), (lag, &json!(missed)), "{name}");
        }
        assert_eq!(read(app, "slow/events?limit=1").await.0, [6]);
        assert_eq!(read(app, "new/events?limit=1").await.0, [6]);
        assert_eq!(stands(&app.get(&format!("{ALL}/new")).await.expect(200).json()), ("5", 4));
        assert_eq!(stands(&post(app, "slow/seek", json!({"to": "beginning"})).await), ("5", 4));
        // A consumer that has read everything may acknowledge the newest cursor.
        engine.run("DELETE FROM events").await;
        assert_eq!(stands(&post(app, "done/ack", json!({"cursor": "9"})).await), ("9", 0));
        store(&gateway, 10..=10).await;
        assert_eq!(read(app, "done/events").await, (vec![10], "10".to_owned(), false));
    }

    async fn they_are_not_made_without_end(engine: Engine) {
        let gateway = start(&engine).await;
        engine.run(
            "INSERT INTO consumers (service, name, place, created_at, updated_at) \
             WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 999) \
             SELECT '', 'n' || x, 0, 0, 0 FROM n UNION ALL SELECT 'portal', 'other', 0, 0, 0",
        )
        .await;
        let app = &gateway.internal;
        read(app, "last/events").await;
        let refused = app.get(&format!("{ALL}/more/events")).await.expect(409);
        assert_eq!(refused.json()["type"], "urn:remgate:problem:conflict");
        app.post(&format!("{ALL}/more/seek"), &json!({"to": "end"})).await.expect(409);
        read(app, "last/events").await;
        let all = app.get(&format!("{ALL}?limit=1000")).await.expect(200).json();
        assert_eq!(all["data"].as_array().unwrap().len(), 1_000, "those of others are not among them");
        app.get(&format!("{ALL}/other")).await.expect(404);
        app.delete(&format!("{ALL}/n1")).await.expect(204);
        read(app, "more/events").await;
    }
}
