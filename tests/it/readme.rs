//! The README's first screen, followed to the letter but for the ports: those of the tests are free ones.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::http::Client;
use crate::support::process::{Launch, Process};

/// The blocks of one language between two headings.
fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, from) = readme.split_once("## Try it").expect("the first screen has a heading");
    let (screen, _) = from.split_once("\n## ").expect("another follows");
    let fence = format!("```{language}\n");
    screen.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The example receiver, which is built with the tests.
fn receiver() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.ancestors().nth(2).unwrap().join("examples/receiver");
    assert!(path.exists(), "build it first: cargo build --example receiver");
    path
}

/// Addresses to use again after a restart: below the ports that the system hands out by itself, so that no other test
/// is given one of them in between.
fn free() -> impl Iterator<Item = String> {
    let first = 15_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let addresses = (first..first + 1000).map(|port| format!("127.0.0.1:{port}"));
    addresses.filter(|address| std::net::TcpListener::bind(address).is_ok())
}

#[tokio::test]
async fn the_first_screen_works_in_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut free = free();
    let [public, internal, hook] = std::array::from_fn(|_| free.next().expect("some port is free"));
    let here = |text: &str| {
        text.replace("127.0.0.1:8080", &public)
            .replace("127.0.0.1:8081", &internal)
            .replace("127.0.0.1:9000", &hook)
    };
    let shell = blocks("sh");
    assert_eq!(shell[0].trim(), "cargo run");
    let launch = || {
        let addresses = ["--public-listen", &public, "--internal-listen", &internal];
        Launch::new(&addresses).in_folder(folder.path())
    };
    let service = launch().start().await;

    let urls: Vec<_> =
        shell[1].lines().map(|line| here(line.split('\'').nth(1).expect("a quoted URL"))).collect();
    let ask = async |url: &str| Client::at(url).get("").await.expect(200).json();
    assert_eq!(ask(&urls[0]).await["code"], "200");
    assert_eq!(ask(&urls[1]).await["data"].as_array().unwrap().len(), 1);
    let trigger = async |uaid: &str| {
        let flags = ["trigger", "authenticated", uaid, "--public-listen", &public];
        let output = Process::run(&flags, &[], folder.path()).await;
        assert_eq!(output.code, Some(0), "{output:?}");
    };
    let (waited, ()) = tokio::join!(ask(&urls[2]), trigger("00000000000000000000000000000002"));
    assert_eq!(waited["data"][0]["uaid"], "00000000000000000000000000000002");

    assert_eq!(shell[2].trim(), "cargo run --example receiver");
    let receiver = Launch::program(&receiver(), &[&hook]).spawn();
    receiver.line(|line| line.contains("waiting for webhooks")).await;
    service.signal(rustix::process::Signal::INT);
    assert_eq!(service.wait().await, Some(0));
    let config = here(&blocks("toml")[0]);
    let _service = launch().config(&config).start().await;

    assert_eq!(shell[3].trim(), "cargo run -- trigger authenticated");
    trigger("00000000000000000000000000000003").await;
    let line = receiver.line(|line| line.starts_with("evt_")).await;
    assert!(line.contains("signed with our secret") && !line.contains("NOT"), "{line}");
    let (_, body) = line.split_once(": ").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["data"]["uaid"], "00000000000000000000000000000003");
}
