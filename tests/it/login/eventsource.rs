//! The stock client of npm follows both streams through restarts and from one replica to another.

use serde_json::json;

use super::{at, confirmed, expect, service};
use crate::support::clients::javascript;
use crate::support::engine::both_engines;
use crate::support::junction::Junction;
use crate::support::process::Process;
use crate::support::service::uaid;

const FOLLOW: &str = include_str!("follow.mjs");

/// Waits until it has heard so much; the lines of that, without those of the connection itself.
async fn hears(follower: &Process, count: usize) -> Vec<String> {
    follower.lines(count, |line| line.starts_with("remauth.") || line.starts_with("status ")).await
}

both_engines! {
    async fn events_are_followed_without_loss_or_repetition(engine: Engine) {
        let first = service(&engine, "").await;
        let key = json!({"name": "reader", "scopes": ["events:read"]});
        let key = first.internal.post("/v1/keys", &key).await.expect(201).json();
        let junction = Junction::to(first.process.internal_addr()).await;
        let url = junction.url("/v1/events/stream?after=0");
        let written = javascript(&[&[("follow.mjs", FOLLOW)]]);
        let follower = written.launch(0, &[&url, "remauth.authenticated"]).env("REMGATE_KEY", key["key"].as_str().unwrap()).spawn();
        for number in 1..=3 {
            confirmed(&first, number).await;
        }
        hears(&follower, 3).await;
        // PostgreSQL has another replica that goes on; a SQLite file is opened again.
        let second = if engine.name() == "postgres" {
            let second = service(&engine, "").await;
            junction.lead_to(second.process.internal_addr());
            confirmed(&second, 4).await;
            hears(&follower, 4).await;
            first.process.kill();
            second
        } else {
            confirmed(&first, 4).await;
            first.process.kill();
            first.process.wait().await;
            let second = service(&engine, "").await;
            junction.lead_to(second.process.internal_addr());
            second
        };
        for number in 5..=6 {
            confirmed(&second, number).await;
        }
        let all = hears(&follower, 6).await;
        let expected: Vec<_> = (1..=6).map(|number| (number.to_string(), uaid(number))).collect();
        let seen = all.iter().map(|line| {
            let mut parts = line.splitn(3, ' ').skip(1);
            let cursor = parts.next().unwrap().to_owned();
            let event: serde_json::Value = serde_json::from_str(parts.next().unwrap()).unwrap();
            (cursor, event["uaid"].as_str().unwrap().to_owned())
        });
        assert_eq!(seen.collect::<Vec<_>>(), expected);
        assert!(follower.log().lines().any(|line| line == "connecting again"), "it was cut off in between");
    }

    async fn a_ticket_is_followed_through_a_restart_to_its_end(engine: Engine) {
        let first = service(&engine, "").await;
        assert_eq!(expect(&first.internal, 1, 300).await, 201);
        let ticket = first.internal.post(&format!("{}/ticket", at(1)), &json!({})).await.expect(201).json();
        let junction = Junction::to(first.process.public_addr()).await;
        let written = javascript(&[&[("follow.mjs", FOLLOW)]]);
        let follower = written.launch(0, &[&junction.url(ticket["url"].as_str().unwrap()), "status"]).spawn();
        hears(&follower, 1).await;
        first.process.kill();
        first.process.wait().await;
        let second = service(&engine, "").await;
        junction.lead_to(second.process.public_addr());
        hears(&follower, 2).await;
        confirmed(&second, 1).await;
        // It asks once more, and is told by a 204 that there is nothing to come.
        assert_eq!(follower.wait().await, Some(0));
        let told = hears(&follower, 3).await;
        assert_eq!(told, ["status  {\"status\":\"pending\"}", "status  {\"status\":\"pending\"}", "status completed {\"status\":\"completed\"}"]);
        assert!(follower.log().ends_with("closed 204"), "{}", follower.log());
    }

    async fn a_ticket_that_runs_out_is_followed_no_longer(engine: Engine) {
        let service = service(&engine, "").await;
        assert_eq!(expect(&service.internal, 1, 2).await, 201);
        let ticket = service.internal.post(&format!("{}/ticket", at(1)), &json!({})).await.expect(201).json();
        let url = format!("{}{}", service.public.base(), ticket["url"].as_str().unwrap());
        let written = javascript(&[&[("follow.mjs", FOLLOW)]]);
        let follower = written.launch(0, &[&url, "status"]).spawn();
        assert_eq!(follower.wait().await, Some(0));
        assert_eq!(hears(&follower, 1).await.last().unwrap(), "status expired {\"status\":\"expired\"}");
        let end = follower.log().lines().last().unwrap().to_owned();
        assert!(end == "closed 204" || end == "closed 410", "{end}");
    }
}
