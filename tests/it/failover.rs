//! After a failover of PostgreSQL everything goes to the new primary: writes, reads, and announcements of other replicas.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use remgate::domain::{Clock, SystemClock};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::support::junction::Junction;
use crate::support::postgres::{self, Server};
use crate::support::process::Launch;
use crate::support::service::{Service, text, uaid};
use crate::support::within;

/// The time from a failover until all reads see the new primary. A new connection is made in that time, on a machine that may be
/// busy.
const BOUND: Duration = Duration::from_secs(5);

async fn sql(server: &Server, statement: &'static str) {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    connection.execute(statement).await.unwrap();
}

async fn set_read_only(server: &Server, setting: &'static str) {
    sql(server, setting).await;
    sql(server, "SELECT pg_reload_conf()").await;
}

async fn service_at(url: &str) -> Service {
    Service::of(Launch::new(&[]).config(&text(url, "")).start().await)
}

fn address(server: &Server) -> SocketAddr {
    let url: url::Url = server.url("postgres").parse().unwrap();
    SocketAddr::new("127.0.0.1".parse().unwrap(), url.port().unwrap())
}

/// Returns whether as many reads at once as use all connections see the event.
async fn is_seen_by_all(service: &Service, uaid: &str) -> bool {
    let path = format!("/v1/events?uaid={uaid}");
    let answers = join_all((0..16).map(|_| service.internal.get(&path))).await;
    answers.iter().all(|answer| {
        answer.status == 200 && answer.json()["data"].as_array().is_some_and(|events| events.len() == 1)
    })
}

#[derive(Clone, Copy)]
enum Former {
    /// The server answers, and takes no writes.
    ReadOnly,
    /// Its connections stay open, and nothing comes from them any more.
    Silent,
}

#[rstest::rstest]
#[case::read_only(Former::ReadOnly)]
#[case::silent(Former::Silent)]
#[tokio::test]
async fn reads_and_announcements_come_from_the_new_primary(#[case] former: Former) {
    let (old, new) = (postgres::server(), postgres::server());
    let junction = Junction::to(address(&old)).await;
    let service = service_at(&junction.postgres_url("remgate@", "/postgres")).await;
    let replica = service_at(&new.url("postgres")).await;
    service.store(&uaid(1)).await;
    assert!(is_seen_by_all(&service, &uaid(1)).await, "every connection is used");

    let begun = SystemClock.instant();
    match former {
        Former::ReadOnly => set_read_only(&old, "ALTER SYSTEM SET default_transaction_read_only = on").await,
        Former::Silent => junction.freeze(),
    }
    junction.lead_to(address(&new));
    replica.store(&uaid(2)).await;
    within("all reads to see the new primary", async { while !is_seen_by_all(&service, &uaid(2)).await {} })
        .await;
    let taken = begun.elapsed();
    assert!(taken < BOUND, "{taken:?}");

    let newest = service.events("order=desc&limit=1").await["data"][0]["cursor"].clone();
    let path = format!("/v1/events?after={}&wait=20", newest.as_str().unwrap());
    let waiting = service.internal.get(&path);
    let third = uaid(3);
    let (answer, _) = tokio::join!(waiting, replica.store(&third));
    let events = answer.expect(200).json();
    assert_eq!(events["data"][0]["uaid"], Value::from(uaid(3)), "another replica's event wakes a reader");
    service.store(&uaid(4)).await;
    assert!(is_seen_by_all(&replica, &uaid(4)).await, "writes go to the new primary");
}

#[tokio::test]
async fn among_several_servers_the_one_that_takes_writes_is_used() {
    let (first, mut second) = (postgres::server(), postgres::server());
    drop(service_at(&first.url("postgres")).await);
    set_read_only(&first, "ALTER SYSTEM SET default_transaction_read_only = on").await;
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", address(&first).port(), address(&second).port());
    let url = format!(
        "postgres://remgate@{hosts}/postgres?target_session_attrs=read-write&connect_timeout=2&sslmode=prefer\
         &channel_binding=prefer&gssencmode=disable&keepalives=1&application_name=crm&options=-c%20search_path%3Dpublic"
    );
    let service = service_at(&url).await;
    service.store(&uaid(1)).await;
    sql(&second, "SELECT 1 / count(*) FROM events").await;

    set_read_only(&first, "ALTER SYSTEM SET default_transaction_read_only = off").await;
    let begun = SystemClock.instant();
    second.stop();
    within("a callback to be stored", async {
        while service.callback(&format!("authenticated={}", uaid(2))).await.status != 200 {}
        while !is_seen_by_all(&service, &uaid(2)).await {}
    })
    .await;
    let taken = begun.elapsed();
    assert!(taken < BOUND, "{taken:?}");
    sql(&first, "SELECT 1 / count(*) FROM events").await;
}
