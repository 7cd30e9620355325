//! Errors of attempts, and their `Retry-After`.

use std::net::TcpListener;
use std::time::Duration;

use super::receiver::Receiver;
use super::{LONG, Names, local, send, sender};
use crate::domain::AttemptError;

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let sender = sender(local().resolving_by(Names::nothing()), LONG);
    let report = send(&sender, "http://nowhere.example/?key=hidden").await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Dns)));
    assert!(
        report.response.ends_with("no such name") && !report.response.contains("hidden"),
        "{}",
        report.response
    );
}

#[tokio::test]
async fn a_name_without_addresses() {
    let report =
        send(&sender(local().resolving_by(Names::answering(&[&[]])), LONG), "http://empty.example/").await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Dns)), "{}", report.response);
}

#[tokio::test]
async fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let report = send(&sender(local(), LONG), &format!("http://127.0.0.1:{port}/?key=hidden")).await;
    assert_eq!((report.status, report.error), (None, Some(AttemptError::Connect)));
    assert!(
        report.response.contains("refused") && !report.response.contains("hidden"),
        "{}",
        report.response
    );
}

#[rstest::rstest]
#[case("429 Slow", "120", Some(120))]
#[case("503 Busy", "0", Some(0))]
#[case("503 Busy", " 7 ", Some(7))]
#[case("503 Busy", "99999999999999999999", Some(4_294_967_295))]
#[case("503 Busy", "Sun, 06 Nov 1994 08:49:37 GMT", Some(0))]
#[case("503 Busy", "Sunday, 06-Nov-94 08:49:37 GMT", Some(0))]
#[case("503 Busy", "soon", None)]
#[case("503 Busy", "-1", None)]
#[case("503 Busy", "+1", None)]
#[case("503 Busy", "1.5", None)]
#[case("503 Busy", "", None)]
#[case("500 Broken", "120", None)]
#[case("200 OK", "120", None)]
#[tokio::test]
async fn retry_after_is_heard_from_those_who_are_overloaded(
    #[case] head: &str,
    #[case] hint: &str,
    #[case] seconds: Option<u64>,
) {
    let answer = format!("HTTP/1.1 {head}\r\nretry-after: {hint}\r\ncontent-length: 0\r\n\r\n");
    let report = send(&sender(local(), LONG), &Receiver::answering(answer).url()).await;
    assert_eq!(report.retry_after, seconds.map(Duration::from_secs), "{report:?}");
}

#[tokio::test]
async fn retry_after_can_be_a_date_to_come() {
    let then = std::time::UNIX_EPOCH + Duration::from_hours(9_028_800);
    let hint = httpdate::fmt_http_date(then);
    let answer = format!("HTTP/1.1 429 Slow\r\nretry-after: {hint}\r\ncontent-length: 0\r\n\r\n");
    let report = send(&sender(local(), LONG), &Receiver::answering(answer).url()).await;
    let wait = report.retry_after.unwrap().as_secs();
    let passed = u64::try_from(report.at.as_second()).unwrap();
    assert!((9_028_800 * 3600 - passed).abs_diff(wait) < 60, "{wait}");
}
