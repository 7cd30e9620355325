//! The README's first screen, followed to the letter but for the ports: those of the tests are free ones.

use std::path::Path;

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

    service.signal(rustix::process::Signal::INT);
    assert_eq!(service.wait().await, Some(0));
    let config = here(&blocks("toml")[0]);
    let _service = launch().config(&config).start().await;

    let [practise, again] = shell[2].lines().collect::<Vec<_>>()[..] else {
        panic!("two lines: {}", shell[2])
    };
    assert_eq!(again, "cargo run -- trigger authenticated");
    let flags: Vec<_> = practise.strip_prefix("cargo run -- ").expect("ours").split(' ').collect();
    let receiver = Launch::new(&[&flags[..], &["--listen", &hook]].concat()).in_folder(folder.path()).spawn();
    receiver.line(|line| line.contains("waiting for webhooks")).await;
    trigger("00000000000000000000000000000003").await;
    let line = receiver.line(|line| line.contains("remauth.authenticated evt_")).await;
    assert!(line.ends_with("genuine, signed with the secret of the endpoint try  -> 204"), "{line}");
    let body = receiver.line(|line| line.starts_with("  {")).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["data"]["uaid"], "00000000000000000000000000000003");
}
