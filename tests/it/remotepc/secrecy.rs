//! Passwords, links, keys and addresses go through, and stay nowhere.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use super::upstream::{OK, answering, by_hand, fixture};
use super::wire::over_http2;
use super::{Setup, gateway};

thread_local! {
    /// Lines that were logged on this thread since [`watch`].
    static WATCHED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Watches everything that is logged on this thread, down to the last trace, from now on.
///
/// There is one subscriber for the whole process: with one for each thread, threads that begin at the same time take
/// each other's events away.
fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The HTTP client logs through `log`.
        tracing_log::LogTracer::init().unwrap();
        let watched = dynamic_filter_fn(|_, _| WATCHED.with_borrow(Option::is_some));
        let fmt = tracing_subscriber::fmt::layer().with_span_events(FmtSpan::FULL).with_ansi(false);
        let layer = fmt.with_writer(|| Watched).with_filter(watched);
        tracing::subscriber::set_global_default(Registry::default().with(layer)).unwrap();
    });
    WATCHED.set(Some(Vec::new()));
}

/// Ends [`watch`] and returns the lines that were logged on this thread.
fn watched() -> String {
    String::from_utf8(WATCHED.take().expect("`watch` was called")).unwrap()
}

struct Watched;

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        WATCHED.with_borrow_mut(|watched| watched.iter_mut().for_each(|log| log.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const KEY: &str = "planted-key";
const LINK: &str =
    r#"{"status":"OK","code":200,"message":{"rpc_redirect_link":"https://login.example/planted-link"}}"#;

const BODIES: [(&str, &str); 5] = [
    ("signin", r#"{"username":"planted-user@example.com","password":"planted-password"}"#),
    (
        "add",
        r#"{"firstName":"planted-first","lastName":"planted-last","invitedUserEmailId":"planted-user@example.com","password":"planted-password"}"#,
    ),
    (
        "add",
        r#"{"firstName":7,"lastName":"planted-last","invitedUserEmailId":"planted-user","password":"planted-password"}"#,
    ),
    (
        "invite",
        r#"[{"invitedUserEmailId":"planted-user@example.com"},{"invitedUserEmailId":"planted-user"}]"#,
    ),
    ("signin", r#"{"username":"planted-user@example.com","password":"planted-password",}"#),
];

/// Asks everything that has a secret in it, and gives what was logged meanwhile.
async fn logged(setup: Setup) -> String {
    watch();
    let gateway = gateway(Setup { api_key: Some(KEY), ..setup }).await;
    for (operation, body) in BODIES {
        gateway.post(operation, body).await;
    }
    gateway.post("list", "").await;
    assert!(!gateway.figures().await.contains("planted"));
    watched()
}

#[track_caller]
fn assert_hidden(log: &str) {
    // Secrets in the encodings that a header or a dump would show them in, too.
    for planted in ["planted", "cGxhbnRlZC", "706c616e746564", "112, 108, 97, 110, 116, 101, 100"] {
        if let Some(line) = log.lines().find(|line| line.contains(planted)) {
            panic!("logged: {line}");
        }
    }
}

#[tokio::test]
async fn nothing_is_logged_of_what_upstream_answers() {
    let upstream = over_http2(LINK).await;
    let log =
        logged(Setup { ca_file: Some(fixture("ca.pem")), ..Setup::to(format!("https://{upstream}")) }).await;
    assert!(log.contains("TRACE") && log.contains("h2::"), "the layers below are heard");
    assert_hidden(&log);
}

#[rstest::rstest]
#[case::answered(OK)]
#[case::link(
    b"HTTP/1.1 200 OK\r\nContent-Length: 95\r\n\r\n{\"status\":\"OK\",\"code\":200,\"message\":{\"rpc_redirect_link\":\"https://login.example/planted-link\"}}"
)]
#[case::garbage(b"planted planted planted\r\n\r\n")]
#[case::page(b"HTTP/1.1 200 planted\r\nX-Planted: planted\r\nContent-Length: 7\r\n\r\nplanted")]
#[case::redirect(
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/planted-link\r\nContent-Length: 0\r\n\r\n"
)]
#[case::rejected(b"HTTP/1.1 401 planted\r\nContent-Length: 7\r\n\r\nplanted")]
#[case::nearly(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"status\":\"planted\",\"code\":\"planted\",\"message\":{}}")]
#[tokio::test]
async fn nothing_is_logged_whatever_goes_wrong(#[case] bytes: &'static [u8]) {
    let upstream = answering(bytes).await;
    let log = logged(Setup::to(format!("http://{upstream}"))).await;
    assert!(log.contains("hyper_util::client"), "the layers below are heard");
    assert_hidden(&log);
}

#[tokio::test]
async fn nothing_is_logged_of_a_proxys_password() {
    let http = answering(OK).await;
    let socks = by_hand(|mut stream| async move {
        let mut hello = [0; 4];
        stream.read_exact(&mut hello).await.unwrap();
        stream.write_all(&[5, 2]).await.unwrap();
        let mut password = [0; 64];
        let read = stream.read(&mut password).await.unwrap();
        assert!(String::from_utf8_lossy(&password[..read]).contains("planted-password"));
        stream.write_all(&[1, 1]).await.unwrap();
    })
    .await;
    for proxy in [
        format!("http://planted-user:planted-password@{http}"),
        format!("socks5://planted-user:planted-password@{socks}"),
    ] {
        assert_hidden(&logged(Setup { proxy: Some(proxy), ..Setup::to("http://upstream.example") }).await);
    }
}

#[tokio::test]
async fn each_operation_logs_one_line_that_can_be_queried() {
    let upstream = answering(OK).await;
    let log = logged(Setup::to(format!("http://{upstream}"))).await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("remgate::http::routes::remotepc")).collect();
    assert_eq!(lines.len(), BODIES.len() + 1);
    assert!(lines.iter().all(|line| line.contains(" INFO ") && line.contains(" elapsed_ms=")));
    assert!(lines[0].contains(r#"operation="signin" outcome="ok" upstream_status=200 "#), "{}", lines[0]);
    assert!(lines[2].contains(r#"operation="add" outcome="refused" elapsed_ms="#), "{}", lines[2]);
    assert!(lines[2].contains("INVALID_REQUEST, ENTER_VALID_EMAIL"), "{}", lines[2]);
}
