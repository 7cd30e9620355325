//! The harness holds what it promises: a test that passes because its tools are blind would be worse than none.

use remgate::domain::{Clock, EventId, RandomSource, SigningSecret, SystemClock, webhook_headers};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tokio_util::sync::CancellationToken;

use crate::support::engine::both_engines;
use crate::support::http::Client;
use crate::support::postgres;
use crate::support::process::{Launch, Process};
use crate::support::raw::{self, Connection as Raw};
use crate::support::receiver::{Answer, Receiver};

both_engines! {
    /// The store is there, and it is empty: nothing of another test is in it.
    async fn a_store_of_ones_own(engine: Engine) {
        assert!(engine.url().starts_with(&format!("{}://", engine.name())));
        let create = "CREATE TABLE once (id BIGINT)";
        if engine.name() == "sqlite" {
            let url = format!("{}?mode=rwc", engine.url());
            SqliteConnection::connect(&url).await.unwrap().execute(create).await.unwrap();
        } else {
            PgConnection::connect(engine.url()).await.unwrap().execute(create).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_postgres_that_goes_and_comes_back_has_its_data() {
    let mut server = postgres::server();
    let url = postgres::database_on(&server).await.url;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("CREATE TABLE kept (id BIGINT)").await.unwrap();
    server.stop();
    assert!(connection.ping().await.is_err());
    assert!(PgConnection::connect(&url).await.is_err());
    server.start_again();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("SELECT id FROM kept").await.unwrap();
}

#[tokio::test]
async fn a_receiver_notes_what_arrives_and_answers_as_told() {
    let mut receiver = Receiver::answering_in_turn(&[500, 429]).await;
    let client = Client::at(&receiver.url("")).bearer("key").header("x-more", "1");
    receiver.expect_none();
    let before = SystemClock.instant();
    client.post("/hook?a=b", &json!({"n": 1})).await.expect(500);
    client.delete("/hook").await.expect(429);
    client.get("/hook").await.expect(429);
    let first = receiver.next().await;
    assert_eq!((first.method.as_str(), first.target.as_str()), ("POST", "/hook?a=b"));
    assert_eq!((first.header("authorization"), first.header("x-more")), ("Bearer key", "1"));
    assert_eq!(first.json(), json!({"n": 1}));
    assert!(first.at > before);
    assert_eq!(receiver.next().await.method, "DELETE");
    assert_eq!(receiver.arrived().len(), 1);
    receiver.expect_none();
    receiver.answer(|request| Answer::status(200).body(request.target.clone()).header("x-own", "yes"));
    let answer = client.get("/echo").await.expect(200);
    assert_eq!((answer.text(), answer.header("x-own")), ("/echo", "yes"));
    receiver.answer(|_| Answer::status(200).body(r#"{"ok":true}"#));
    assert_eq!(client.get("/").await.json(), json!({"ok": true}));
}

#[tokio::test]
#[should_panic(expected = "nothing was to arrive")]
async fn a_receiver_does_not_overlook_anything() {
    let mut receiver = Receiver::start().await;
    Client::at(&receiver.url("")).get("/").await.expect(200);
    receiver.expect_none();
}

#[tokio::test]
async fn a_receiver_can_misbehave() {
    let mut receiver = Receiver::start().await;
    let ask = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    let gate = CancellationToken::new();
    let held = Answer::status(204).after(&gate);
    receiver.answer(move |_| held.clone());
    let mut waiting = Raw::open(receiver.addr()).await;
    waiting.send(ask).await;
    receiver.next().await;
    gate.cancel();
    assert!(waiting.answer().await.starts_with("HTTP/1.1 204"));

    receiver.answer(|_| Answer::reset());
    assert_eq!(raw::exchange(receiver.addr(), ask).await, "");
    receiver.next().await;

    receiver.answer(|_| Answer::status(200).body("more ").never_ending());
    let mut endless = Raw::open(receiver.addr()).await;
    endless.send(ask).await;
    assert!(endless.answer().await.contains("transfer-encoding: chunked"));
    receiver.next().await;

    receiver.answer(|_| Answer::hang());
    let mut hung = Raw::open(receiver.addr()).await;
    hung.send(ask).await;
    receiver.next().await;
    drop(receiver);
    assert_eq!(hung.closed().await, "", "a receiver takes its connections with it");
}

#[tokio::test]
async fn a_signature_is_checked() {
    let mut receiver = Receiver::start().await;
    let rng = RandomSource::seeded(1);
    let secret = SigningSecret::generate(&rng);
    let now = SystemClock.now();
    let signed = webhook_headers([&secret], None, &EventId::new(now, &rng), now, b"{}");
    let client =
        signed.into_iter().fold(Client::at(&receiver.url("")), |c, (name, value)| c.header(name, &value));
    for body in ["{}", "{ }"] {
        client.send(http::Method::POST, "/", |request| request.body(body)).await.expect(200);
    }
    let (whole, altered) = (receiver.next().await, receiver.next().await);
    let secret = secret.reveal();
    whole.verify(secret.expose_secret()).unwrap();
    assert!(altered.verify(secret.expose_secret()).is_err());
}

const READY: &str = r#"
trap 'exit 7' TERM
echo "starting in $PWD with ${REMGATE__X:-nothing}, ${DATABASE_URL:-nothing}" >&2
printf '{"fields":{"message":"remgate is ready","public_addr":"127.0.0.1:81","internal_addr":"127.0.0.1:82"}}\n' >&2
while :; do read -r line < pipe || exit 9; done
"#;

#[tokio::test]
async fn a_process_is_started_told_and_waited_for() {
    let launch = Launch::program("/bin/sh".as_ref(), &["-c", &format!("mkfifo pipe; {READY}")]);
    let process = launch.config("[public]").env("REMGATE__X", "y").start().await;
    assert_eq!(process.public_url(), "http://127.0.0.1:81");
    assert_eq!(process.internal_url(), "http://127.0.0.1:82");
    let first = process.line(|line| line.contains("starting")).await;
    assert!(first.contains("with y, nothing"), "{first}");
    assert!(process.log().contains(process.folder().to_str().unwrap()));
    assert_eq!(std::fs::read_to_string(process.folder().join("remgate.toml")).unwrap(), "[public]");
    process.signal(Signal::TERM);
    assert_eq!(process.wait().await, Some(7));
    process.signal(Signal::TERM);
}

#[tokio::test]
async fn a_dropped_process_is_killed() {
    let launch = Launch::program("/bin/sh".as_ref(), &["-c", &format!("mkfifo pipe; {READY}")]);
    let process = launch.start().await;
    let proc = std::path::PathBuf::from(format!("/proc/{}/cwd", process.pid()));
    assert!(proc.read_link().is_ok());
    let end = process.wait();
    drop(process);
    assert_eq!(end.await, None);
    assert!(proc.read_link().is_err());
}

#[tokio::test]
async fn a_command_is_run_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let script = "cat remgate.toml; echo out; echo err >&2; exit 3";
    let launch = Launch::program("/bin/sh".as_ref(), &["-c", script]).in_folder(folder.path());
    let output = launch.file("remgate.toml", "told\n").run().await;
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (Some(3), "told\nout\n", "err\n")
    );
}

#[tokio::test]
async fn the_binary_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = Process::run(&["--version"], &[("RUST_LOG", "info")], folder.path()).await;
    assert_eq!(output.code, Some(0), "{output:?}");
}
