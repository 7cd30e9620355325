//! The command line against the running service, on both engines.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::engine::both_engines;
use crate::support::process::{Launch, Output, Process};
use crate::support::service::{Service, uaid};

const TOKEN: &str = "kZ3vX9mQ2rT7wB5nL8cJ4A";
const KEY: &str = "rgk_admin-key-of-this-test-0123456789";

/// Runs a verb beside the service, with the service's configuration and the ports that it got.
async fn verb(service: &Service, args: &[&str]) -> Output {
    let (public, internal) =
        (service.process.public_addr().to_string(), service.process.internal_addr().to_string());
    let addresses = ["--public-listen", &public, "--internal-listen", &internal];
    let all: Vec<_> = args.iter().copied().chain(addresses).collect();
    Process::run(&all, &[], service.process.folder()).await
}

both_engines! {
    async fn an_operator_can_try_everything_from_a_shell(engine: Engine) {
        let config = format!("callback.tokens = [\"{TOKEN}\"]\ninternal.admin_key = \"{KEY}\"");
        let service = Service::start(&engine, &config).await;
        assert_eq!(verb(&service, &["healthcheck"]).await.code, Some(0));
        let told = verb(&service, &["trigger", "registricated", &uaid(1), "--json"]).await;
        assert_eq!(told.code, Some(0), "{told:?}");
        let told: Value = serde_json::from_str(&told.stdout).unwrap();
        assert_eq!(told["uaid"], uaid(1));
        for _ in 0..3 {
            assert_eq!(verb(&service, &["trigger", "authenticated"]).await.code, Some(0), "a uaid of its own each");
        }
        let listed = verb(&service, &["event", "list", "--json", "--limit", "2", "--all"]).await;
        let events: Vec<Value> = listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((events.len(), &events[0]["type"], &events[0]["trust"]), (4, &"remauth.registricated".into(), &"token".into()));
        let id = events[0]["id"].as_str().unwrap();
        let shown = verb(&service, &["event", "show", id, "--json"]).await;
        assert_eq!(serde_json::from_str::<Value>(&shown.stdout).unwrap(), events[0]);
        let missing = verb(&service, &["event", "show", "evt_00000000000000000000000000000000"]).await;
        assert_eq!(missing.code, Some(1));
        for output in [&listed, &shown, &missing] {
            assert!(!output.stdout.contains(TOKEN) && !output.stderr.contains(KEY));
        }
    }

    async fn a_tail_follows_what_comes(service: Service) {
        service.store(&uaid(1)).await;
        let internal = service.process.internal_addr().to_string();
        let args = ["event", "tail", "--json", "--internal-listen", &internal];
        let tail = Launch::new(&args).in_folder(service.process.folder()).spawn();
        service.until_metric("remgate_waiters", 1).await;
        for n in 2..5 {
            service.store(&uaid(n)).await;
        }
        tail.line(|line| line.contains(&uaid(4))).await;
        let seen: Vec<_> = tail.log().lines().filter(|line| line.starts_with('{')).map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["uaid"].as_str().unwrap().to_owned()
        }).collect();
        assert_eq!(seen, [uaid(2), uaid(3), uaid(4)]);
        tail.signal(Signal::INT);
        assert_eq!(tail.wait().await, Some(0));
    }

    async fn a_migration_can_be_run_before_the_start(engine: Engine) {
        let folder = tempfile::tempdir().unwrap();
        let args = ["migrate", "--database-url", engine.url()];
        let output = Process::run(&args, &[], folder.path()).await;
        assert_eq!((output.code, output.stdout.trim()), (Some(0), "the database is up to date"), "{output:?}");
        let service = Service::start(&engine, "").await;
        service.store(&uaid(1)).await;
        assert_eq!(Process::run(&args, &[], folder.path()).await.code, Some(0), "also while it runs");
    }
}
