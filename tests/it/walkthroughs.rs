//! The first screen of the README, the tutorial, and the simulated RemotePC account, followed to the letter but for the
//! ports: those of the tests are free ones.

use std::path::Path;

use serde_json::Value;

use crate::support::http::Client;
use crate::support::process::{Launch, Output, Process};

/// Blocks of one language below a heading of a page.
fn blocks(page: &str, heading: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let (_, from) = text.split_once(&format!("\n## {heading}\n")).expect("there is such a heading");
    let section = from.split("\n## ").next().unwrap();
    let fence = format!("```{language}\n");
    section.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Free addresses below the ports that the system assigns by itself, so that no other test gets one of them between two
/// starts.
fn free_addresses(skip: usize) -> [String; 3] {
    let first = 15_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let addresses = (first..first + 1000).map(|port| format!("127.0.0.1:{port}"));
    let mut free = addresses.filter(|address| std::net::TcpListener::bind(address).is_ok()).skip(skip);
    std::array::from_fn(|_| free.next().expect("some port is free"))
}

/// A folder in which a page is followed, with the addresses that replace those of the page.
struct Walkthrough {
    folder: tempfile::TempDir,
    public: String,
    internal: String,
    other: String,
}

impl Walkthrough {
    fn new(skip: usize) -> Self {
        let [public, internal, other] = free_addresses(skip);
        Self { folder: tempfile::tempdir().unwrap(), public, internal, other }
    }

    fn here(&self, text: &str) -> String {
        text.replace("127.0.0.1:8080", &self.public)
            .replace("127.0.0.1:8081", &self.internal)
            .replace("127.0.0.1:9000", &self.other)
            .replace("127.0.0.1:8090", &self.other)
    }

    /// `cargo run` without a subcommand.
    fn serve(&self) -> Launch {
        let addresses = ["--public-listen", &self.public, "--internal-listen", &self.internal];
        Launch::new(&addresses).in_folder(self.folder.path())
    }

    /// `cargo run -- ...` of a subcommand that keeps running, with further flags.
    fn launch(&self, line: &str, flags: &[&str]) -> Launch {
        let words: Vec<_> = line.trim().strip_prefix("cargo run -- ").expect("ours").split(' ').collect();
        Launch::new(&[&words[..], flags].concat()).in_folder(self.folder.path())
    }

    /// `cargo run -- ...` of a subcommand that ends.
    async fn run(&self, line: &str) -> String {
        let words: Vec<_> = line.strip_prefix("cargo run -- ").expect("ours").split(' ').collect();
        let addresses = [
            ("REMGATE__PUBLIC__LISTEN", self.public.as_str()),
            ("REMGATE__INTERNAL__LISTEN", self.internal.as_str()),
        ];
        let Output { code, stdout, stderr } = Process::run(&words, &addresses, self.folder.path()).await;
        assert_eq!(code, Some(0), "{line}: {stderr}");
        stdout
    }

    /// A line of a shell: `cargo run -- ...`, or a line for `sh` that prints JSON.
    async fn shell(&self, line: &str) -> Value {
        if line.starts_with("cargo run") {
            return Value::String(self.run(line).await);
        }
        let command = self.here(line);
        let run = move || std::process::Command::new("sh").args(["-c", &command]).output();
        let output = tokio::task::spawn_blocking(run).await.unwrap().expect("there is a shell");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{line}: {e}: {output:?}"))
    }

    /// Every line of the blocks below a heading, and what each printed.
    async fn follow(&self, page: &str, heading: &str) -> Vec<Value> {
        let mut printed = Vec::new();
        for line in blocks(page, heading, "sh").iter().flat_map(|block| block.lines()) {
            printed.push(self.shell(line).await);
        }
        printed
    }
}

#[tokio::test]
async fn the_first_screen_works_in_an_empty_folder() {
    let walk = Walkthrough::new(0);
    let [serve, ask] = &blocks("README.md", "Try it", "sh")[..] else { panic!("two blocks") };
    assert_eq!(serve.trim(), "cargo run");
    let _service = walk.serve().start().await;
    let [trigger, list] = ask.lines().collect::<Vec<_>>()[..] else { panic!("two lines: {ask}") };
    walk.run(trigger).await;
    assert_eq!(walk.shell(list).await["data"][0]["uaid"], "b83ee873a9b44f2083c130db24dfbe91");
}

#[tokio::test]
async fn the_tutorial_works_in_an_empty_folder() {
    const TUTORIAL: &str = "docs/tutorial.md";
    let walk = Walkthrough::new(300);
    assert_eq!(blocks(TUTORIAL, "Start remgate", "sh")[0].trim(), "cargo run");
    let service = walk.serve().start().await;
    let sent = walk.follow(TUTORIAL, "Send a callback").await;
    assert_eq!((&sent[0]["code"], &sent[1]["data"][0]["trust"]), (&"200".into(), &"none".into()));
    service.signal(rustix::process::Signal::INT);
    assert_eq!(service.wait().await, Some(0));

    let config = walk.here(&blocks(TUTORIAL, "Configure a token and a receiver", "toml")[0]);
    let _service = walk.serve().config(&config).start().await;
    let [simulate, trigger] = &blocks(TUTORIAL, "Deliver an event", "sh")[..] else { panic!("two blocks") };
    let receiver = walk.launch(simulate, &["--listen", &walk.other]).spawn();
    receiver.line(|line| line.contains("waiting for webhooks")).await;
    walk.run(trigger.trim()).await;
    let line = receiver.line(|line| line.contains("remauth.authenticated evt_")).await;
    assert!(line.ends_with("genuine, signed with the secret of the endpoint try  -> 204"), "{line}");
    let body: Value = serde_json::from_str(&receiver.line(|line| line.starts_with("  {")).await).unwrap();
    assert_eq!(body["data"]["trust"], "token");

    let app = walk.follow(TUTORIAL, "Let an app wait for a user").await;
    let [expected, _, completed, claimed] = &app[..] else { panic!("four lines: {app:?}") };
    assert_eq!((&expected["status"], &completed["status"]), (&"pending".into(), &"completed".into()));
    assert_eq!(claimed["subject"], "jane@example.com");
    let claim = blocks(TUTORIAL, "Let an app wait for a user", "sh");
    assert_eq!(walk.shell(claim.last().unwrap().trim()).await["code"], "already_claimed");
}

#[tokio::test]
async fn remotepc_works_without_an_account() {
    let walk = Walkthrough::new(600);
    let shell = blocks("docs/how-to/give-remotepc-access.md", "Without an account", "sh");
    let [simulate, serve, ask] = &shell[..] else { panic!("three blocks: {shell:?}") };
    let simulator = walk.launch(simulate, &["--listen", &walk.other]).spawn();
    simulator.line(|line| line.contains(&format!("http://{}/rpc-api/reseller/private", walk.other))).await;

    let serve = walk.here(serve.trim());
    let (variables, command): (Vec<_>, Vec<_>) = serve.split(' ').partition(|word| word.contains('='));
    assert_eq!(command, ["cargo", "run"]);
    let variables = variables.iter().filter_map(|word| word.split_once('='));
    let _service =
        variables.fold(walk.serve(), |launch, (name, value)| launch.env(name, value)).start().await;

    let [invite, list, audit] = ask.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {ask}") };
    assert!(walk.run(invite).await.contains("INVITED"));
    let listed = walk.run(list).await;
    assert!(listed.contains("jane@example.com") && listed.lines().count() > 3, "{listed}");
    let url = walk.here(audit.split('\'').nth(1).expect("a quoted URL"));
    let log = Client::at(&url).get("").await.expect(200).json();
    assert_eq!(log["data"][0]["whom"], "jane@example.com");
}
