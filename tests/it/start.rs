//! Output at a start: one banner, or one sentence that names what failed, where, why, and the remedy.

use crate::support::http::Client;
use crate::support::postgres;
use crate::support::process::{Launch, Output};
use crate::support::within;

async fn start(args: &[&str]) -> Output {
    Launch::new(&[&["--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"], args].concat())
        .run()
        .await
}

#[rstest::rstest]
#[case("sqlite:///nonexistent/remgate.db", &["open the database file /nonexistent/remgate.db: No such file", "make the folder /nonexistent"])]
#[case("sqlite:///tmp", &["open the database file /tmp: Is a directory", "name a file"])]
#[case("sqlite:///proc/remgate.db", &["/proc/remgate.db: "])]
#[case("postgres://u:PLANTED@127.0.0.1:1/d", &["PostgreSQL at 127.0.0.1:1 (database d, user u): Connection refused", "is PostgreSQL running there"])]
#[case("postgres://u:PLANTED@127.0.0.1:1,127.0.0.1:2/d", &["127.0.0.1:1 or 127.0.0.1:2"])]
#[case("postgres://u:PLANTED@nowhere.invalid/d", &["nowhere.invalid:5432", "see host and port"])]
#[tokio::test]
async fn a_failed_start_says_one_sentence(#[case] url: &str, #[case] texts: &[&str]) {
    let output = start(&["--database-url", url]).await;
    assert_one_sentence(&output, texts);
}

#[tokio::test]
async fn what_the_server_refuses_is_explained() {
    let database = postgres::database().await;
    let missing = format!("{}_missing", database.url);
    assert_one_sentence(&start(&["--database-url", &missing]).await, &["does not exist", "createdb"]);
    let unknown = database.url.replace("remgate:", "stranger:");
    assert_one_sentence(&start(&["--database-url", &unknown]).await, &["stranger", "database.url"]);
    let encrypted = format!("{}?sslmode=require", database.url);
    assert_one_sentence(&start(&["--database-url", &encrypted]).await, &["TLS", "sslmode"]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Launch::new(&["--public-listen", &address]).run().await;
    let place = format!("the public listener at {address}");
    assert_one_sentence(&output, &[&place, "another program listens there", "public.listen"]);
}

#[track_caller]
fn assert_one_sentence(output: &Output, texts: &[&str]) {
    assert_eq!(output.code, Some(1), "{output:?}");
    let lines: Vec<_> = output.stderr.lines().filter(|line| !line.starts_with('{')).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("remgate: failed to "), "{output:?}");
    assert!(texts.iter().all(|text| lines[0].contains(text)) && !lines[0].contains("PLANTED"), "{output:?}");
    let parts: Vec<_> = lines[0].split(": ").collect();
    for (number, part) in parts.iter().enumerate() {
        assert!(!parts[..number].contains(part), "said twice: {output:?}");
    }
}

#[tokio::test]
async fn the_banner_is_said_once_and_its_commands_can_be_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let args =
            ["--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0", "--log-format", "pretty"];
        let process = Launch::new(&args).in_folder(folder.path()).spawn();
        process.line(|line| line.ends_with("/v1/events'")).await;
        let log = process.log();
        for text in ["is ready", "callback URL", "curl 'http"] {
            let expected = if text.starts_with("curl") { 2 } else { 1 };
            assert_eq!(log.matches(text).count(), expected, "{log}");
        }
        assert_eq!(log.matches("WARN").count(), 2, "one warning for each open listener: {log}");
        let commands: Vec<_> =
            log.lines().filter_map(|line| line.strip_prefix("curl '")?.strip_suffix('\'')).collect();
        within("the commands to work", async {
            Client::at(commands[0]).get("").await.expect(200);
            let events = Client::at(commands[1]).get("").await.expect(200).json();
            seen.push(events["data"].as_array().unwrap().len());
        })
        .await;
        process.signal(rustix::process::Signal::TERM);
        process.wait().await;
    }
    assert_eq!(seen, [1, 2], "each start shows another uaid");
}
