//! Clients that leave: a half-closed or reset connection gives its place back at once, and a callback is still answered.

use crate::support::engine::both_engines;
use crate::support::raw::Connection;
use crate::support::service::{Service, uaid};

/// Requests of the internal listener that wait.
const WAITING: [&str; 4] = [
    "/v1/events?wait=50",
    "/v1/consumers/crm/events?wait=50",
    "/v1/authentications/000000000000000000000000000000ff?wait=50",
    "/v1/events/stream",
];

async fn waiting(service: &Service, path: &str) -> Connection {
    let mut connection = Connection::open(service.process.internal_addr()).await;
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    service.until_metric("remgate_waiters", 1).await;
    connection
}

/// Callbacks by GET, by POST, and in HTTP 1.0.
fn callbacks() -> [String; 3] {
    let form = format!("authenticated={}", uaid(2));
    [
        format!("GET /remauth_callback?authenticated={} HTTP/1.1\r\nHost: a\r\n\r\n", uaid(1)),
        format!(
            "POST /remauth_callback HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        ),
        format!("GET /remauth_callback?authenticated={} HTTP/1.0\r\n\r\n", uaid(3)),
    ]
}

both_engines! {
    async fn a_client_that_leaves_waits_no_longer(service: Service) {
        for path in WAITING {
            waiting(&service, path).await.reset();
            service.until_metric("remgate_waiters", 0).await;
            let mut half_closed = waiting(&service, path).await;
            half_closed.finish().await;
            service.until_metric("remgate_waiters", 0).await;
            half_closed.closed().await;
        }
    }

    async fn a_sender_that_closes_its_half_is_answered(service: Service) {
        for request in callbacks() {
            let mut sender = Connection::open(service.process.public_addr()).await;
            sender.send(request).await;
            sender.finish().await;
            let answer = sender.closed().await;
            assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 ") && answer.contains("evt_"), "{answer}");
        }
        assert_eq!(service.count().await, 3);
    }
}

/// The place of a stream is free for the next one, however the one before left.
#[tokio::test]
async fn a_stream_that_left_takes_no_place() {
    let engine = crate::support::engine::Engine::sqlite();
    let service = Service::start(&engine, "internal.max_streams = 1").await;
    for round in 0..40 {
        let mut stream = waiting(&service, "/v1/events/stream").await;
        if round % 2 == 0 {
            stream.reset();
        } else {
            stream.finish().await;
        }
        service.until_metric("remgate_waiters", 0).await;
    }
}
