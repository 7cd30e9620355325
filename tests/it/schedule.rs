//! The default schedule, walked through with a clock that the test moves.

use std::time::Duration;

use remgate::domain::{HumanDuration, Retry, RetryPolicy};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::support::engine::{Engine, both_engines};
use crate::support::gateway::{TestGateway, load};
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{delivery, endpoint, text, uaid};
use crate::support::within;

/// Maximum of the random addition to a wait.
const JITTER: f64 = 1.2;

both_engines! {
    /// Thirteen attempts in nearly four days, each at its time by the gateway's own clock, and then no other.
    async fn every_wait_of_the_default_schedule_is_kept(engine: Engine) {
        let mut receiver = Receiver::answering(|_| Answer::status(500)).await;
        let config = delivery("") + &endpoint("crm", &receiver.url("/"), "");
        let schedule = load(&text(engine.url(), &config)).delivery.schedule;
        let gateway = TestGateway::start(engine.url(), &config).await;
        gateway.public.get(&format!("/remauth_callback?authenticated={}", uaid(1))).await.expect(200);
        let mut sent_at = sent(&mut receiver).await;
        for (made, wait) in (1..).zip(&schedule) {
            // The clock stands still until the attempt before has been written down: a jump past the end of a lease
            // that is still held would rightly lead to another attempt.
            until_written(&engine, made).await;
            gateway.clock.advance(wait.mul_f64(JITTER) + Duration::from_millis(1));
            let next = sent(&mut receiver).await;
            assert!(next - sent_at >= i64::try_from(wait.as_secs()).unwrap(), "{wait:?}: {}", next - sent_at);
            sent_at = next;
        }
        gateway.until_figure("remgate_deliveries_total{state=\"exhausted\"} 1").await;
        gateway.clock.advance(Duration::from_hours(1000));
        gateway.until_figure("remgate_deliveries_pending 0").await;
        receiver.expect_none();
    }
}

/// Waits until the store knows of so many attempts.
async fn until_written(engine: &Engine, attempts: i64) {
    let written = "SELECT attempt_count FROM deliveries";
    within("an attempt to be written down", async {
        loop {
            let count: i64 = if engine.name() == "sqlite" {
                let mut conn = SqliteConnection::connect(engine.url()).await.unwrap();
                sqlx::query_scalar(written).fetch_one(&mut conn).await.unwrap()
            } else {
                let mut conn = PgConnection::connect(engine.url()).await.unwrap();
                sqlx::query_scalar(written).fetch_one(&mut conn).await.unwrap()
            };
            if count == attempts {
                return;
            }
        }
    })
    .await;
}

/// Returns the time of a request in seconds, by the clock of the gateway.
async fn sent(receiver: &mut Receiver) -> i64 {
    let got = receiver.next().await;
    // The library that verifies signatures goes by the machine's clock, so only the headers are looked at.
    assert!(got.header("webhook-signature").starts_with("v1,"));
    got.header("webhook-timestamp").parse().unwrap()
}

#[test]
fn the_default_schedule_tries_for_nearly_four_days() {
    let config = load(&text("sqlite://remgate.db", ""));
    let policy = RetryPolicy::new(config.delivery.schedule.clone());
    let told = include_str!("../../docs/reference/webhooks.md");
    let horizon = HumanDuration(policy.horizon()).to_string();
    assert!(
        told.contains(&format!("That is {horizon} from the first")),
        "docs/reference/webhooks.md says it is {horizon}"
    );
    let hours = policy.horizon().as_secs_f64() / 3600.0;
    assert!((93.0..96.0).contains(&hours), "{hours} hours");
    let last = u32::try_from(config.delivery.schedule.len()).unwrap() + 1;
    assert_eq!(policy.next(last, jiff::Timestamp::UNIX_EPOCH, None, 0.0), Retry::Never);
    assert_eq!(last, 13);
}
