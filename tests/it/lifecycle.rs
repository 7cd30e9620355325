//! Start and stop of the process.

use std::time::Duration;

use remgate::domain::{Clock, SystemClock};
use rustix::process::Signal;
use serde_json::json;

use crate::support::engine::both_engines;
use crate::support::process::{Launch, field};
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{Service, delivery, endpoint, text, uaid};

both_engines! {
    async fn told_to_stop_it_answers_who_waits_and_ends(service: Service) {
        let begun = SystemClock.instant();
        let waiting = futures_util::future::join_all((0..20).map(|_| service.internal.get("/v1/events?wait=60")));
        let telling = async {
            service.until_metric("remgate_waiters", 20).await;
            service.process.signal(Signal::TERM);
        };
        let (answers, ()) = tokio::join!(waiting, telling);
        for answer in answers {
            assert_eq!(answer.expect(200).json(), json!({"data": [], "cursor": "0", "has_more": false}));
        }
        assert_eq!(service.process.wait().await, Some(0));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    async fn an_attempt_that_hangs_does_not_hold_up_the_end(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Receiver::answering(|_| Answer::hang()).await;
        let config = delivery("timeout = \"60s\"") + &endpoint("crm", &receiver.url("/"), "");
        let service = Service::start_in(folder.path(), &engine, &config).await;
        let id = service.store(&uaid(1)).await;
        receiver.next().await;
        let begun = SystemClock.instant();
        service.process.signal(Signal::TERM);
        assert_eq!(service.process.wait().await, Some(0));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        // Its lease was given back: the next process need not wait for it to run out.
        receiver.answer(|_| Answer::status(200));
        let _service = Service::start_in(folder.path(), &engine, &config).await;
        assert_eq!(receiver.next().await.header("webhook-id"), id);
    }

    async fn an_idle_service_ends_at_once(service: Service) {
        service.store(&uaid(1)).await;
        let begun = SystemClock.instant();
        service.process.signal(Signal::INT);
        assert_eq!(service.process.wait().await, Some(0));
        assert!(begun.elapsed() < Duration::from_secs(6), "it waited for its grace to end: {:?}", begun.elapsed());
    }
}

/// A wish to stop that comes while it starts is a wish to stop.
#[tokio::test]
async fn told_to_stop_at_once_it_stops_at_once() {
    let database = "sqlite://remgate.db";
    let process = Launch::new(&[]).config(&text(database, "")).spawn();
    process.line(|line| line.contains("accepts requests without a secret")).await;
    process.signal(Signal::TERM);
    assert_eq!(process.wait().await, Some(0), "{}", process.log());
}

/// No configuration, an empty folder: everything works, on loopback, and the log says what to do next.
#[tokio::test]
async fn it_starts_with_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let anywhere = ["--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"];
    let service = Service::of(Launch::new(&anywhere).in_folder(folder.path()).start().await);
    service.store("b83ee873a9b44f2083c130db24dfbe91").await;
    assert_eq!(service.count().await, 1);
    assert!(folder.path().join("remgate.db").exists());
    let ready =
        service.process.line(|line| field(line, "message").as_deref() == Some("remgate is ready")).await;
    assert_eq!(
        field(&ready, "callback_url").unwrap(),
        format!("{}/remauth_callback", service.process.public_url())
    );
    let open = service
        .process
        .log()
        .lines()
        .filter(|line| line.contains("accepts requests without a secret"))
        .count();
    assert_eq!(open, 2, "one warning for each listener: {}", service.process.log());
}

#[tokio::test]
async fn an_address_in_use_stops_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Launch::new(&["--public-listen", &address]).run().await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains(&address) && output.stderr.contains("public.listen"), "{output:?}");
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let config = text("postgres://someone:hunter2-secret@127.0.0.1:1/db", "");
    let output = Launch::new(&[]).config(&config).run().await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("failed to connect to PostgreSQL"), "{output:?}");
    assert!(output.stderr.contains("refused"), "the cause is not hidden: {output:?}");
    assert!(!output.stderr.contains("hunter2"), "{output:?}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let output = Launch::new(&[]).config(&text("sqlite://no/such/folder/remgate.db", "")).run().await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("no/such/folder/remgate.db"), "{output:?}");
}
