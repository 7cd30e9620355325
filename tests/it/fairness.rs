//! Bad receivers do not delay others: a good one's delay is the same beside twenty that hang, fail or reset connections.

use std::time::Duration;

use remgate::domain::{Clock, SystemClock};

use crate::support::engine::both_engines;
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{Service, delivery, endpoint, uaid};

/// Number of events that are followed.
const FOLLOWED: u64 = 41;

/// A busy machine's own noise, which is not what is compared here.
const NOISE: Duration = Duration::from_millis(10);

/// Returns the time of one event from its callback to the receiver.
async fn delay(service: &Service, receiver: &mut Receiver, number: u64) -> Duration {
    let begun = SystemClock.instant();
    service.store(&uaid(number)).await;
    receiver.next().await.at.saturating_duration_since(begun)
}

fn median(mut delays: Vec<Duration>) -> Duration {
    delays.sort_unstable();
    delays[delays.len() / 2]
}

both_engines! {
    async fn twenty_bad_receivers_beside_a_good_one(engine: Engine) {
        let (mut good, mut alone) = (Receiver::start().await, Receiver::start().await);
        let bad = [
            Receiver::answering(|_| Answer::hang()).await,
            Receiver::answering(|_| Answer::hang()).await,
            Receiver::answering(|_| Answer::reset()).await,
            Receiver::answering(|_| Answer::status(500)).await,
        ];
        let bad: String = (0..20)
            .map(|number| endpoint(&format!("bad{number}"), &bad[number % bad.len()].url("/"), ""))
            .collect();
        // Together they want far more than there is to share.
        let config = delivery("max_in_flight = 8") + &bad + &endpoint("good", &good.url("/"), "");
        let other_store = engine.another().await;
        let quiet = Service::start(&other_store, &(delivery("") + &endpoint("alone", &alone.url("/"), ""))).await;
        let service = Service::start(&engine, &config).await;
        // By then those that hang have taken what they can get, and those that fail are held back.
        for number in 1000..1060 {
            delay(&service, &mut good, number).await;
        }
        // In turns, so that whatever else the machine does falls on both.
        let (mut by_itself, mut beside) = (Vec::new(), Vec::new());
        for number in 0..FOLLOWED {
            by_itself.push(delay(&quiet, &mut alone, number).await);
            beside.push(delay(&service, &mut good, number).await);
        }
        let (by_itself, beside) = (median(by_itself), median(beside));
        assert!(beside <= by_itself * 2 + NOISE, "{beside:?} beside them, {by_itself:?} alone");
    }
}
