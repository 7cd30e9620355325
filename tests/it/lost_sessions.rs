//! Sessions on PostgreSQL that stop answering while they hold locks, and rows that another transaction holds.

use std::time::Duration;

use remgate::domain::{Clock, SystemClock};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, PgConnection, Row};

use crate::support::junction::Junction;
use crate::support::postgres::{self, Database};
use crate::support::process::Launch;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{Service, delivery, endpoint, text, uaid};
use crate::support::within;

/// Maximum time for which a lost session may cost callbacks, with some more for a machine that is busy.
const CALLBACK_BOUND: Duration = Duration::from_secs(4);

/// Lock of the appends on PostgreSQL, taken by a session until it is closed.
const HOLD_APPENDS: &str = "SELECT pg_advisory_lock(8241996507418201)";

async fn replica(url: &str, config: &str) -> Service {
    Service::of(Launch::new(&[]).config(&text(url, config)).start().await)
}

async fn session(database: &Database) -> PgConnection {
    PgConnection::connect(&database.url).await.unwrap()
}

/// Waits until a query has a row.
async fn until_found(session: &mut PgConnection, what: &str, query: &'static str) -> PgRow {
    within(what, async {
        loop {
            if let Some(row) = session.fetch_optional(query).await.unwrap() {
                return row;
            }
        }
    })
    .await
}

/// Sends one callback after the other until it is stored, and returns the time that this took.
async fn until_stored(service: &Service, uaid: &str) -> Duration {
    let begun = SystemClock.instant();
    within("a callback to be stored", async {
        while service.callback(&format!("authenticated={uaid}")).await.status != 200 {}
    })
    .await;
    begun.elapsed()
}

/// The first replica holds the lock of the appends in a transaction, and is suspended before it can commit.
#[tokio::test]
async fn a_suspended_replica_does_not_stop_callbacks_at_another() {
    let database = postgres::database().await;
    let config = "callback.tokens = [\"kZ3vX9mQ2rT7wB5nL8cJ4A\"]\n";
    let frozen = replica(&database.url, config).await;
    let other = replica(&database.url, "").await;
    frozen.public.get("/remauth_callback/kZ3vX9mQ2rT7wB5nL8cJ4A?authenticated=unreadable").await.expect(400);
    let page = frozen.internal.get("/v1/rejected-callbacks").await.expect(200).json();
    let path = format!("/v1/rejected-callbacks/{}/accept", page["data"][0]["id"].as_str().unwrap());
    let mut admin = session(&database).await;
    admin.execute("BEGIN; LOCK TABLE events IN EXCLUSIVE MODE").await.unwrap();
    let body = json!({"type": "remauth.authenticated", "uaid": uaid(1)});
    let accepting = frozen.internal.request(Method::POST, &path, Some(&body));
    let freezing = async {
        let mut watching = session(&database).await;
        let waits = "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database \
            WHERE datname = current_database() AND relation = 'events'::regclass AND NOT granted";
        let waiting = until_found(&mut watching, "the append to wait for the table", waits).await;
        let backend: i32 = waiting.get("pid");
        frozen.process.signal(Signal::STOP);
        admin.execute("COMMIT").await.unwrap();
        for number in [2, 3] {
            let taken = until_stored(&other, &uaid(number)).await;
            assert!(taken < CALLBACK_BOUND, "{taken:?}");
        }
        within("the server to end the frozen session", async {
            let exists = "SELECT 1 FROM pg_stat_activity WHERE pid = $1";
            while watching.fetch_optional(sqlx::query(exists).bind(backend)).await.unwrap().is_some() {}
        })
        .await;
        frozen.process.signal(Signal::CONT);
    };
    let (answer, ()) = tokio::join!(accepting, freezing);
    assert_ne!(answer.status, 200, "its transaction was rolled back: {answer:?}");
    let path = format!("/remauth_callback/kZ3vX9mQ2rT7wB5nL8cJ4A?authenticated={}", uaid(4));
    within("the replica to go on", async { while frozen.public.get(&path).await.status != 200 {} }).await;
}

/// A firewall forgets the connections: they stay open, and nothing arrives any more.
#[tokio::test]
async fn connections_that_went_silent_are_replaced() {
    let database = postgres::database().await;
    let mut receiver = Receiver::start().await;
    let url: url::Url = database.url.parse().unwrap();
    let server = format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap();
    let junction = Junction::to(server).await;
    let user = format!("{}@", url.username());
    let config = delivery("") + &endpoint("crm", &receiver.url("/"), "");
    let service = replica(&junction.postgres_url(&user, url.path()), &config).await;
    service.store(&uaid(1)).await;
    receiver.next().await;
    junction.freeze();
    let begun = SystemClock.instant();
    let taken = until_stored(&service, &uaid(2)).await;
    assert!(taken < CALLBACK_BOUND, "{taken:?}");
    receiver.next_within(Duration::from_secs(10)).await;
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(6), "{taken:?}");
}

#[tokio::test]
async fn callbacks_are_refused_in_time_while_the_store_is_stuck() {
    let database = postgres::database().await;
    let service = replica(&database.url, "").await;
    service.store(&uaid(1)).await;
    let mut holder = session(&database).await;
    holder.execute(HOLD_APPENDS).await.unwrap();
    let begun = SystemClock.instant();
    let callbacks = (2..10).map(|number| {
        let service = &service;
        async move {
            let begun = SystemClock.instant();
            let answer = service.callback(&format!("authenticated={}", uaid(number))).await.expect(503);
            assert!(answer.header("retry-after").parse::<u64>().is_ok());
            begun.elapsed()
        }
    });
    let readiness = within("the readiness check to fail", async {
        while service.internal.get("/readyz").await.status != 503 {}
        begun.elapsed()
    });
    let (refused, unready) = tokio::join!(futures_util::future::join_all(callbacks), readiness);
    assert!(refused.iter().all(|taken| *taken < Duration::from_millis(4500)), "{refused:?}");
    assert!(unready < Duration::from_millis(4500), "{unready:?}");
    holder.close().await.unwrap();
    until_stored(&service, &uaid(10)).await;
    service.internal.get("/readyz").await.expect(200);
}

/// Statements that were given up do not stay on the server, where each would keep a connection.
#[tokio::test]
async fn abandoned_statements_end_on_the_server() {
    let database = postgres::database().await;
    let service = replica(&database.url, "").await;
    let mut holder = session(&database).await;
    holder.execute(HOLD_APPENDS).await.unwrap();
    for number in 0..3 {
        service.callback(&format!("authenticated={}", uaid(number))).await.expect(503);
    }
    let waiting = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database \
        WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)";
    until_found(&mut holder, "no statement to wait on the server", waiting).await;
}

/// Rows that are held for as long as the test wants.
#[rstest::rstest]
#[case::endpoint("BEGIN; SELECT * FROM endpoints WHERE name = 'failing' FOR UPDATE")]
#[case::deliveries(
    "BEGIN; SELECT d.* FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id WHERE e.name = 'failing' FOR UPDATE OF d"
)]
#[tokio::test]
async fn a_held_row_delays_nothing_but_its_own_endpoint(#[case] hold: &'static str) {
    let database = postgres::database().await;
    let gate = tokio_util::sync::CancellationToken::new();
    let held = gate.clone();
    let mut failing = Receiver::answering(move |_| Answer::status(500).after(&held)).await;
    let mut good = Receiver::start().await;
    let config = delivery("schedule = [\"1h\"]")
        + &endpoint("failing", &failing.url("/"), "")
        + &endpoint("good", &good.url("/"), "");
    let service = replica(&database.url, &config).await;
    service.store(&uaid(1)).await;
    failing.next().await;
    let mut holder = session(&database).await;
    holder.execute(hold).await.unwrap();
    gate.cancel();
    for number in 2..30 {
        service.store(&uaid(number)).await;
    }
    for _ in 1..30 {
        good.next_within(Duration::from_secs(5)).await;
    }
    service.until_metric("remgate_deliveries_total{state=\"succeeded\"}", 29).await;
    holder.execute("ROLLBACK").await.unwrap();
    let mut watching = session(&database).await;
    let failed = "SELECT 1 FROM endpoints WHERE name = 'failing' AND failures >= 10";
    until_found(&mut watching, "the health to be recorded", failed).await;
    let settled = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE lease_token IS NOT NULL)";
    until_found(&mut watching, "every result to be stored", settled).await;
    let twice = "SELECT 1 FROM attempts GROUP BY delivery_seq HAVING COUNT(*) > 1";
    assert!(watching.fetch_optional(twice).await.unwrap().is_none(), "a delivery was attempted twice");
}
