//! `remgate endpoint`: everything about endpoints from a shell.

use serde_json::Value;

use crate::support::engine::both_engines;
use crate::support::process::{Output, Process};
use crate::support::receiver::{Answer, Receiver};
use crate::support::service::{SECRET, Service, delivery, endpoint, uaid};

const KEY: &str = "rgk_admin-key-of-this-test-0123456789";

/// Runs a verb beside the service, with the service's configuration and the port that it got.
async fn verb(service: &Service, args: &[&str]) -> Output {
    let internal = service.process.internal_addr().to_string();
    let all: Vec<_> =
        ["endpoint"].iter().chain(args).copied().chain(["--internal-listen", &internal]).collect();
    Process::run(&all, &[], service.process.folder()).await
}

fn done(output: Output) -> Output {
    assert_eq!(output.code, Some(0), "{output:?}");
    output
}

fn object(output: Output) -> Value {
    serde_json::from_str(&done(output).stdout).expect("one JSON object")
}

both_engines! {
    async fn an_endpoint_can_be_managed_from_a_shell(engine: Engine) {
        let mut receiver = Receiver::start().await;
        let config = format!("internal.admin_key = \"{KEY}\"{}", delivery(""));
        let service = Service::start(&engine, &config).await;
        let file = |name: &str, text: &str| {
            let path = service.process.folder().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (headers, secret) = (file("headers", "X-Api-Key: planted\n\nx-b: a: b\n"), file("secret", SECRET));
        let url = receiver.url("/hook?key=planted");
        let added = verb(&service, &[
            "add", &url, "--name", "crm", "--header-file", &headers, "--secret-file", &secret, "--type", "remauth.subscribed",
            "--schedule", "5s,1m", "--timeout", "3s", "--max-in-flight", "2", "--rate-limit", "10/s", "--asymmetric", "--json",
        ]).await;
        assert!(added.stderr.contains("not shown again"), "{added:?}");
        let added = object(added);
        assert_eq!((&added["name"], &added["secret"], &added["timeout"]), (&"crm".into(), &SECRET.into(), &"3s".into()));
        assert_eq!(added["headers"], serde_json::json!({"x-api-key": "***", "x-b": "***"}));
        let bare = done(verb(&service, &["add", &receiver.url("/")]).await);
        let secret = bare.stdout.lines().find_map(|line| line.strip_prefix("secret"));
        assert!(secret.is_some_and(|item| item.trim().starts_with("whsec_")), "{bare:?}");

        let listed = done(verb(&service, &["list"]).await);
        assert!(listed.stdout.contains("crm") && listed.stdout.lines().count() == 3, "{listed:?}");
        assert!(!listed.stdout.contains("planted"), "a query may be a secret");
        let lines = done(verb(&service, &["list", "--json"]).await).stdout;
        assert_eq!(lines.lines().count(), 2);
        let id = added["id"].as_str().unwrap();
        for name in ["crm", id] {
            assert_eq!(object(verb(&service, &["show", name, "--json"]).await)["id"], id);
        }
        let changed = object(verb(&service, &["change", "crm", "--name", "erp", "--reset", "max-in-flight", "--json"]).await);
        assert_eq!((&changed["name"], &changed["max_in_flight"], &changed["timeout"]), (&"erp".into(), &16.into(), &"3s".into()));

        assert_eq!(object(verb(&service, &["test", "erp", "--json"]).await)["status"], 200);
        receiver.next().await.verify(SECRET).unwrap();
        receiver.answer(|_| Answer::status(500));
        let failed = verb(&service, &["test", "erp"]).await;
        assert!(failed.code == Some(1) && failed.stderr.contains("500") && failed.stdout.contains("500"), "{failed:?}");

        let disabled = object(verb(&service, &["disable", "erp", "--reason", "moving", "--json"]).await);
        assert_eq!((&disabled["enabled"], &disabled["disabled_reason"]), (&false.into(), &"moving".into()));
        assert!(done(verb(&service, &["list"]).await).stdout.contains("disabled"));
        assert_eq!(object(verb(&service, &["enable", "erp", "--json"]).await)["enabled"], true);
        let rotated = object(verb(&service, &["rotate", "erp", "--json"]).await);
        assert!(rotated["secret"].as_str().is_some_and(|item| item.starts_with("whsec_") && item != SECRET));
        done(verb(&service, &["remove", "erp"]).await);
        assert_eq!(verb(&service, &["show", id]).await.code, Some(1));
        let missing = verb(&service, &["show", "erp"]).await;
        assert!(missing.code == Some(1) && missing.stderr.contains("endpoint list"), "{missing:?}");
    }

    async fn refusals_of_the_server_are_printed_without_secrets(engine: Engine) {
        let config = delivery("") + &endpoint("crm", "http://127.0.0.1:9/", "");
        let service = Service::start(&engine, &config).await;
        service.store(&uaid(1)).await;
        let declared = verb(&service, &["remove", "crm"]).await;
        assert!(declared.code == Some(1) && declared.stderr.contains("remgate.toml"), "{declared:?}");
        let private = verb(&service, &["add", "http://10.0.0.1/"]).await;
        assert!(private.stderr.contains("delivery.allow_private_networks"), "{private:?}");
        let path = service.process.folder().join("headers");
        for (text, words) in [("planted", ":1: a header is written"), ("host: planted", "not for endpoints"), ("x: ***", "only shown")] {
            std::fs::write(&path, text).unwrap();
            let refused = verb(&service, &["add", "http://127.0.0.1:9/", "--header-file", "headers"]).await;
            assert!(refused.stderr.contains(words) && !refused.stderr.contains("planted"), "{refused:?}");
        }
        for usage in [&["add"][..], &["add", "nowhere"], &["change", "crm"], &["change", "crm", "--name", "a", "--reset", "name"],
            &["add", "http://127.0.0.1:9/", "--type", "remgate.test"]] {
            assert_eq!(verb(&service, usage).await.code, Some(2), "{usage:?}");
        }
    }
}
