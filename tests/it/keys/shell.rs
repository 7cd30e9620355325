//! `remgate key`: keys from a shell.

use serde_json::Value;

use super::{ADMIN, locked};
use crate::support::engine::both_engines;
use crate::support::process::{Output, Process};
use crate::support::service::Service;

/// Runs a verb beside the service, with the service's configuration and the port that it got.
async fn verb(service: &Service, args: &[&str]) -> Output {
    let internal = service.process.internal_addr().to_string();
    let all: Vec<_> = ["key"].iter().chain(args).copied().chain(["--internal-listen", &internal]).collect();
    Process::run(&all, &[], service.process.folder()).await
}

fn done(output: Output) -> Output {
    assert_eq!(output.code, Some(0), "{output:?}");
    output
}

both_engines! {
    async fn keys_are_made_listed_and_revoked_from_a_shell(engine: Engine) {
        let service = Service::start(&engine, &locked()).await;
        let made = done(verb(&service, &[
            "add", "reader", "--scope", "events:read", "--scope", "authentications:read", "--service", "default",
            "--expires-in", "90d",
        ]).await);
        let key = made.stdout.trim_end();
        assert!(key.starts_with("rgk_") && key.lines().count() == 1, "{made:?}");
        assert!(made.stderr.contains("only now") && !made.stderr.contains(key), "{made:?}");
        service.internal.clone().bearer(key).get("/v1/events").await.expect(200);

        let made = done(verb(&service, &["add", "--name", "ops", "--scope", "admin", "--json"]).await);
        let admin: Value = serde_json::from_str(&made.stdout).unwrap();
        assert!(admin["key"].as_str().unwrap().starts_with("rgk_") && admin["name"] == "ops", "{admin}");

        let listed = done(verb(&service, &["list"]).await);
        assert_eq!(listed.stdout.lines().count(), 3);
        assert!(listed.stdout.contains("events:read,authentications:read") && !listed.stdout.contains("rgk_"));
        let listed = done(verb(&service, &["list", "--json"]).await);
        let keys: Vec<Value> = listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let reader = keys.iter().find(|item| item["name"] == "reader").unwrap();
        assert!(keys.len() == 2 && reader["expires_at"].is_string() && reader["service"] == "default", "{keys:?}");

        done(verb(&service, &["revoke", reader["id"].as_str().unwrap()]).await);
        service.internal.clone().bearer(key).get("/v1/events").await.expect(401);
        let again = verb(&service, &["revoke", reader["id"].as_str().unwrap()]).await;
        assert!(again.code == Some(1) && again.stderr.contains("there is no key"), "{again:?}");
        assert!(!service.process.log().contains(ADMIN));
    }

    async fn what_cannot_be_made_is_said(service: Service) {
        let refused = verb(&service, &["add", "a", "--scope", "admin", "--service", "default"]).await;
        assert!(refused.code == Some(1) && refused.stderr.contains("a key for one service"), "{refused:?}");
        for usage in [
            &["add"][..], &["add", "a"], &["add", "--scope", "admin"], &["add", "a", "--scope", "all"],
            &["add", "a", "--name", "b", "--scope", "admin"], &["add", "a", "--scope", "admin", "--expires-in", "soon"],
            &["revoke"], &["revoke", "reader"],
        ] {
            assert_eq!(verb(&service, usage).await.code, Some(2), "{usage:?}");
        }
        // The first admin key closes the open listener through which it was made.
        let made = done(verb(&service, &["add", "ops", "--scope", "admin"]).await);
        let closed = verb(&service, &["list"]).await;
        assert!(closed.code == Some(1) && closed.stderr.contains("--key-file"), "{closed:?}");
        std::fs::write(service.process.folder().join("key"), made.stdout).unwrap();
        done(verb(&service, &["list", "--key-file", "key"]).await);
    }
}
