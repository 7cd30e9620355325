//! The README's first screens, followed to the letter but for the ports: those of the tests are free ones.

use std::path::Path;

use serde_json::Value;

use crate::support::http::Client;
use crate::support::process::{Launch, Process};

/// The blocks of one language below a heading.
fn blocks(heading: &str, language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, from) = readme.split_once(&format!("\n## {heading}\n")).expect("there is such a heading");
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
    let shell = blocks("Try it", "sh");
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
    let config = here(&blocks("Try it", "toml")[0]);
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

#[tokio::test]
async fn the_desk_without_an_account_works() {
    let folder = tempfile::tempdir().unwrap();
    let mut free = free().skip(100);
    let [public, internal, account] = std::array::from_fn(|_| free.next().expect("some port is free"));
    let shell = blocks("RemotePC without an account", "sh");
    let [simulate, serve, ask] = &shell[..] else { panic!("three blocks: {shell:?}") };
    let words = |line: &str| line.trim().split(' ').map(str::to_owned).collect::<Vec<_>>();

    let simulate = words(simulate.strip_prefix("cargo run -- ").expect("ours"));
    let simulate: Vec<_> = simulate.iter().map(String::as_str).chain(["--listen", &account]).collect();
    let simulator = Launch::new(&simulate).spawn();
    simulator.line(|line| line.contains(&format!("http://{account}/rpc-api/reseller/private"))).await;

    let serve = words(&serve.replace("127.0.0.1:8090", &account));
    let variables: Vec<_> = serve.iter().filter_map(|word| word.split_once('=')).collect();
    assert_eq!((variables.len(), &serve[2..]), (2, &["cargo".to_owned(), "run".to_owned()][..]));
    let launch =
        Launch::new(&["--public-listen", &public, "--internal-listen", &internal]).in_folder(folder.path());
    let _service =
        variables.iter().fold(launch, |launch, (name, value)| launch.env(name, value)).start().await;

    let [invite, list, audit] = ask.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {ask}") };
    let run = async |line: &str| {
        let words = words(line.strip_prefix("cargo run -- ").expect("ours"));
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let output = Process::run(&words, &[("REMGATE__INTERNAL__LISTEN", &internal)], folder.path()).await;
        assert_eq!(output.code, Some(0), "{output:?}");
        output.stdout
    };
    assert!(run(invite).await.contains("INVITED"));
    let listed = run(list).await;
    assert!(listed.contains("jane@example.com") && listed.lines().count() > 3, "{listed}");
    let url = audit.split('\'').nth(1).expect("a quoted URL").replace("127.0.0.1:8081", &internal);
    let trail = Client::at(&url).get("").await.expect(200).json();
    assert_eq!(trail["data"][0]["whom"], "jane@example.com");
}
