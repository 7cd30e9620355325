//! The command line, through the binary, against a server that answers as remgate does.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use wiremock::matchers::{header, method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockBuilder, MockServer, Request, ResponseTemplate};

use crate::config::{Place, Ran};

const TOKEN: &str = "PLANTED-token-0123456789abc";
const KEY: &str = "PLANTED-admin-key-0123456789";
const UAID: &str = "b83ee873a9b44f2083c130db24dfbe91";

/// A place whose internal listener is the server; it listens everywhere, and is reached on loopback.
fn internal(server: &MockServer) -> Place {
    let port = server.address().port();
    Place::with(&format!("[internal]\nlisten = \"0.0.0.0:{port}\"\nadmin_key = \"{KEY}\"\n"))
}

/// A place whose public listener is the server.
fn public(server: &MockServer) -> Place {
    let address = server.address();
    Place::with(&format!(
        "[public]\nlisten = \"{address}\"\n[callback]\ntokens = [\"{TOKEN}\", \"PLANTED-older-0123456789abc\"]\n\
         [[service]]\nname = \"portal\"\ntokens = [\"PLANTED-portal-0123456789abc\"]\n"
    ))
}

/// Folder of a service that does not run.
fn stopped_service() -> Place {
    Place::with(&format!(
        "[public]\nlisten = \"127.0.0.1:1\"\n[internal]\nlisten = \"127.0.0.1:2\"\n[callback]\ntokens = [\"{TOKEN}\"]\n"
    ))
}

fn events() -> MockBuilder {
    Mock::given(method("GET")).and(path("/v1/events"))
}

fn id(number: u32) -> String {
    format!("evt_{number:032x}")
}

fn event(number: u32) -> Json {
    json!({
        "id": id(number), "cursor": number.to_string(), "type": "remauth.authenticated", "service": "default",
        "uaid": UAID, "trust": "token", "source_ip": "203.0.113.9", "received_at": "2026-11-22T21:04:05.123Z",
        "duplicates": 0
    })
}

fn page(numbers: &[u32], cursor: &str, has_more: bool) -> ResponseTemplate {
    let events: Vec<_> = numbers.iter().copied().map(event).collect();
    ResponseTemplate::new(200).set_body_json(json!({"data": events, "cursor": cursor, "has_more": has_more}))
}

fn cursors(text: &str) -> Vec<String> {
    let parsed = text.lines().map(|line| serde_json::from_str::<Json>(line).expect("each line is JSON"));
    parsed.map(|event| event["cursor"].as_str().expect("a cursor is text").to_owned()).collect()
}

fn failed(ran: &Ran, said: &str) {
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(ran.err.contains(said), "{said:?} is not in {}", ran.err);
    assert!(!ran.err.contains("PLANTED"), "{}", ran.err);
}

#[tokio::test]
async fn events_are_listed_as_a_table_or_as_json_lines() {
    let server = MockServer::start().await;
    let key = format!("Bearer {KEY}");
    events().and(header("authorization", key)).respond_with(page(&[1, 2], "2", true)).mount(&server).await;
    let table = internal(&server).run(&["event", "list"]);
    let lines: Vec<_> = table.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", table.err);
    assert!(lines[0].starts_with("RECEIVED ") && lines[0].ends_with(" ID"), "{}", lines[0]);
    for part in ["2026-11-22T21:04:05.123Z", "remauth.authenticated", "default", UAID, "token", &id(1)] {
        assert!(lines[1].contains(part), "{part} is not in {}", lines[1]);
    }
    assert_eq!(lines[0].find("UAID"), lines[1].find(UAID));
    assert!(table.err.contains("--after 2"), "{}", table.err);
    let json = internal(&server).run(&["event", "list", "--json"]);
    assert_eq!(cursors(&json.out), ["1", "2"]);
}

#[tokio::test]
async fn the_flags_of_the_list_become_its_query() {
    let server = MockServer::start().await;
    events().respond_with(page(&[], "9", false)).mount(&server).await;
    let ran = internal(&server).run(&[
        "event",
        "list",
        "--type",
        "remauth.authenticated",
        "--type",
        "remauth.expired",
        "--service",
        "a",
        "--service",
        "b",
        "--uaid",
        UAID,
        "--since",
        "2026-11-22T00:00:00Z",
        "--until",
        "1h",
        "--before",
        "9",
        "--limit",
        "3",
        "--order",
        "desc",
        "--json",
    ]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let asked: Vec<Request> = server.received_requests().await.unwrap();
    let query = asked[0].url.query().unwrap();
    let until: Vec<_> = query.split('&').filter(|pair| pair.starts_with("until=20")).collect();
    assert_eq!(until.len(), 1, "{query}");
    assert_eq!(
        query.replace(until[0], "until"),
        format!(
            "type=remauth.authenticated&type=remauth.expired&service=a&service=b&uaid={UAID}&\
             since=2026-11-22T00%3A00%3A00Z&until&limit=3&order=desc&before=9"
        )
    );
}

#[tokio::test]
async fn all_pages_are_followed_by_cursor() {
    let server = MockServer::start().await;
    events().and(query_param_is_missing("after")).respond_with(page(&[1, 2], "2", true)).mount(&server).await;
    events().and(query_param("after", "2")).respond_with(page(&[3], "3", false)).mount(&server).await;
    let ran = internal(&server).run(&["event", "list", "--all", "--json"]);
    assert_eq!(cursors(&ran.out), ["1", "2", "3"]);
    assert_eq!(ran.err, "");
}

#[rstest]
fn a_command_line_that_makes_no_sense_ends_with_2(
    #[values(
        &["frobnicate"], &["event", "list", "--limit", "0"], &["event", "list", "--type", "remauth.x"],
        &["event", "list", "--before", "1"], &["event", "list", "--order", "desc", "--after", "1"],
        &["event", "list", "--since", "soon"], &["event", "show", "x"], &["event", "show"],
        &["trigger", "exploded"], &["trigger", "authenticated", "x"], &["trigger", "authenticated", "--service", "x"],
        &["event", "list", "--server", "ftp://a"], &["healthcheck", "--server", "http://u:p@a"], &["completions", "x"]
    )]
    args: &[&str],
) {
    let ran = Place::empty().run(args);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert_ne!(ran.err, "");
}

#[tokio::test]
async fn one_event_is_shown() {
    let server = MockServer::start().await;
    let shown = ResponseTemplate::new(200).set_body_json(event(7));
    Mock::given(path(format!("/v1/events/{}", id(7)))).respond_with(shown).mount(&server).await;
    let json = internal(&server).run(&["event", "show", &id(7), "--json"]);
    assert_eq!(serde_json::from_str::<Json>(&json.out).unwrap(), event(7));
    let people = internal(&server).run(&["event", "show", &id(7)]);
    assert!(people.out.lines().any(|line| line == format!("uaid         {UAID}")), "{}", people.out);
}

#[rstest]
#[case(
    401,
    r#"{"title":"Unauthorized","status":401,"detail":"a key is needed"}"#,
    "401 Unauthorized: a key is needed; the key comes from internal.admin_key"
)]
#[case(
    403,
    r#"{"title":"Forbidden","detail":"the scope events:read is missing"}"#,
    "the scope events:read is missing; another key can be given with --key-file"
)]
#[case(404, r#"{"title":"Not found"}"#, "404 Not Found: Not found")]
#[case(500, "<html>\u{1b}[31m", "500 Internal Server Error: Internal Server Error")]
#[case(200, "<html>", "did not answer like the internal listener")]
#[case(301, "", "301 Moved Permanently")]
#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words(#[case] status: u16, #[case] body: &str, #[case] said: &str) {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).set_body_string(body).insert_header("location", "/elsewhere");
    events().respond_with(answer).mount(&server).await;
    failed(&internal(&server).run(&["event", "list"]), said);
}

#[rstest]
fn a_server_that_is_not_there_is_told_as_such(
    #[values(&["event", "list"], &["event", "tail"], &["healthcheck"], &["trigger", "authenticated"])]
    args: &[&str],
) {
    failed(&stopped_service().run(args), "is remgate running there?");
}

#[tokio::test]
async fn another_server_gets_only_the_key_that_was_meant_for_it() {
    let server = MockServer::start().await;
    events().respond_with(page(&[1], "1", false)).mount(&server).await;
    let place = stopped_service().env("REMGATE__INTERNAL__ADMIN_KEY", KEY);
    place.write("key", "another-key\n");
    let url = format!("{}/", server.uri());
    assert_eq!(place.run(&["event", "list", "--server", &url]).code, 0);
    assert_eq!(place.run(&["event", "list", "--server", &url, "--key-file", "key"]).code, 0);
    let asked = server.received_requests().await.unwrap();
    assert_eq!(asked[0].headers.get("authorization"), None);
    assert_eq!(asked[1].headers["authorization"], "Bearer another-key");
    failed(&place.run(&["event", "list", "--key-file", "nowhere"]), "failed to read nowhere");
}

#[tokio::test]
async fn the_tail_begins_now_outlives_the_server_and_ends_with_ctrl_c() {
    let server = MockServer::start().await;
    let newest = events().and(query_param("order", "desc")).and(query_param("limit", "1"));
    newest.respond_with(page(&[7], "7", true)).expect(1).mount(&server).await;
    let from_7 = || events().and(query_param("after", "7")).and(query_param("wait", "30"));
    from_7().respond_with(ResponseTemplate::new(503)).up_to_n_times(1).expect(1).mount(&server).await;
    from_7().respond_with(page(&[8, 9], "9", false)).expect(1).mount(&server).await;
    let held = page(&[], "9", false).set_delay(std::time::Duration::from_mins(1));
    events().and(query_param("after", "9")).respond_with(held).mount(&server).await;
    let place = internal(&server);
    let mut command = place.command(&["event", "tail", "--json"]);
    let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let two: Vec<_> = lines.take(2).map(Result::unwrap).collect();
    assert_eq!(cursors(&two.join("\n")), ["8", "9"]);
    kill_process(Pid::from_child(&tail), Signal::INT).unwrap();
    let ended = tail.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let err = String::from_utf8(ended.stderr).unwrap();
    assert!(err.contains("503") && err.contains("trying again"), "{err}");
}

#[rstest]
#[case(200, 0, "")]
#[case(503, 1, "503 Service Unavailable: the database is gone")]
#[tokio::test]
async fn the_healthcheck_is_quiet_when_all_is_well(
    #[case] status: u16,
    #[case] code: i32,
    #[case] said: &str,
) {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).set_body_json(json!({"detail": "the database is gone"}));
    Mock::given(method("GET")).and(path("/readyz")).respond_with(answer).expect(1).mount(&server).await;
    let ran = internal(&server).run(&["healthcheck"]);
    assert_eq!((ran.code, ran.out.as_str()), (code, ""));
    assert!(ran.err.contains(said) && ran.err.is_empty() == said.is_empty(), "{}", ran.err);
}

#[rstest]
#[case(&["trigger", "authenticated", UAID, "--json"], TOKEN, "authenticated", "default")]
#[case(&["trigger", "registricated", UAID, "--json", "--service", "portal"], "PLANTED-portal-0123456789abc", "registricated", "portal")]
#[tokio::test]
async fn a_trigger_is_a_callback_with_the_services_token(
    #[case] args: &[&str],
    #[case] token: &str,
    #[case] parameter: &str,
    #[case] service: &str,
) {
    let server = MockServer::start().await;
    let stored = ResponseTemplate::new(200).set_body_json(json!({"code": "200", "msg": "OK", "data": id(1)}));
    let callback = Mock::given(method("GET")).and(path(format!("/remauth_callback/{token}")));
    callback.and(query_param(parameter, UAID)).respond_with(stored).expect(1).mount(&server).await;
    let ran = public(&server).run(args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let kind = format!("remauth.{parameter}");
    let said = json!({"event": id(1), "uaid": UAID, "type": kind, "service": service});
    assert_eq!(serde_json::from_str::<Json>(&ran.out).unwrap(), said);
}

#[tokio::test]
async fn a_trigger_without_a_uaid_makes_one_up_and_prints_it() {
    let server = MockServer::start().await;
    let stored = ResponseTemplate::new(200).set_body_json(json!({"code": "200", "msg": "OK", "data": id(1)}));
    Mock::given(path(format!("/base/remauth_callback/{TOKEN}"))).respond_with(stored).mount(&server).await;
    let url = format!("{}/base/", server.uri());
    let ran = public(&server).run(&["trigger", "subscribed", "--url", &url]);
    let asked = server.received_requests().await.unwrap();
    let uaid = asked[0].url.query().unwrap().strip_prefix("subscribed=").unwrap();
    assert_eq!(uaid.len(), 32);
    assert_eq!(ran.out, format!("event  {}\nuaid   {uaid}\n", id(1)));
}

#[rstest]
#[case(403, r#"{"code":"403","msg":"Forbidden access"}"#, "refused the callback: 403 Forbidden access")]
#[case(
    400,
    r#"{"code":"601","msg":"Invalid parameter. See data for details","data":"authenticated"}"#,
    "601 Invalid parameter. See data for details (authenticated)"
)]
#[case(200, r#"{"code":"601","msg":"odd"}"#, "601 odd")]
#[case(404, "nothing here", "404 Not Found, but not as remgate's public listener does")]
#[tokio::test]
async fn a_refused_trigger_says_what_the_envelope_says(
    #[case] status: u16,
    #[case] body: &str,
    #[case] said: &str,
) {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status).set_body_string(body);
    Mock::given(method("GET")).respond_with(answer).mount(&server).await;
    failed(&public(&server).run(&["trigger", "authenticated"]), said);
}

#[test]
fn a_new_token_is_good_enough_for_the_configuration() {
    let place = Place::with("[public]\nurl = \"https://myservice.com/base/\"");
    let ran = place.run(&["token", "new"]);
    let token = ran.out.trim_end();
    assert_eq!((ran.code, ran.err.as_str(), token.len()), (0, "", 43));
    assert_ne!(place.run(&["token", "new"]).out, ran.out);
    let checked = Place::empty().env("REMGATE__CALLBACK__TOKENS", token).run(&["config", "check"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    let json: Json = serde_json::from_str(&place.run(&["token", "new", "--json"]).out).unwrap();
    let url = json["callback_url"].as_str().unwrap();
    assert_eq!(
        url,
        format!("https://myservice.com/base/remauth_callback/{}", json["token"].as_str().unwrap())
    );
}

#[test]
fn a_token_is_made_even_if_the_configuration_is_not_ready() {
    let ran =
        Place::with("[callback]\ntokens = [\"...\"]").run(&["token", "new", "--json", "--service", "portal"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let json: Json = serde_json::from_str(&ran.out).unwrap();
    assert!(json["callback_url"].as_str().unwrap().starts_with("/remauth_callback/"), "{json}");
}

#[rstest]
#[case("bash", "complete -F _remgate")]
#[case("zsh", "#compdef remgate")]
#[case("fish", "complete -c remgate")]
fn shells_can_complete(#[case] shell: &str, #[case] said: &str) {
    let ran = Place::empty().run(&["completions", shell]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains(said) && ran.out.contains("healthcheck"), "{shell}");
    // The script is one that the shell itself can read, where the shell is there.
    if let Ok(checked) = Command::new(shell).args(["-n", "-c", &ran.out]).output() {
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[rstest]
fn help_never_shows_the_environment(
    #[values(
        &["--help"], &["serve", "--help"], &["config", "--help"], &["config", "show", "--help"], &["event", "--help"],
        &["event", "list", "--help"], &["event", "tail", "--help"], &["trigger", "--help"], &["token", "new", "--help"],
        &["healthcheck", "--help"], &["migrate", "--help"], &["-h"]
    )]
    args: &[&str],
) {
    let ran = Place::empty()
        .env("DATABASE_URL", "postgres://u:PLANTED@h/d")
        .env("REMGATE_CONFIG", "PLANTED")
        .env("REMGATE__DATABASE__URL", "postgres://u:PLANTED@h/d")
        .env("REMGATE__PUBLIC__LISTEN", "PLANTED")
        .run(args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("Usage:") && !ran.out.contains("PLANTED"), "{}", ran.out);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = Place::empty().command(&["config", "default"]).stdout(writer).output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}
