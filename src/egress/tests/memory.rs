//! However much receivers say, little of it is held.

use std::time::Duration;

use futures_util::StreamExt;

use super::receiver::Receiver;
use super::tls::{Stream, believing, https_doing};
use super::{in_a_child, send};
use crate::egress::Sender;

/// Attempts at once.
const CONCURRENT: usize = 16;

/// More than all of them may hold together, with what the receivers need, who live in the same process; less than a
/// few of them would hold if somewhere nothing stopped them.
const ALLOWED_KIB: u64 = 12 * 1024;

/// Heads, each with bytes that are sent after it until the connection ends.
const FLOODS: &[(&str, &str)] = &[
    ("HTTP/1.1 200 OK\r\n\r\n", "xxxxxxxxxxxxxxxx"),
    ("HTTP/1.1 500 No\r\ncontent-length: 99999999999\r\n\r\n", "xxxxxxxxxxxxxxxx"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7fffffff\r\n", "xxxxxxxxxxxxxxxx"),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "x-trailer: y\r\n"),
    ("HTTP/1.1 200 OK\r\n", "x-header: y\r\n"),
    ("HTTP/1.1 200 OK\r\nx: ", "yyyyyyyyyyyyyyyy"),
    ("", "HTTP/1.1 100 Continue\r\n\r\n"),
];

/// A figure of this process, in KiB.
fn kib(figure: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse().unwrap()
}

/// Each receiver is asked `rounds` times.
async fn ask(sender: &Sender, receivers: &[String], rounds: usize) {
    let sends = (0..rounds).flat_map(|_| receivers).map(|to| send(sender, to));
    let mut sends = futures_util::stream::iter(sends).buffer_unordered(CONCURRENT);
    while let Some(report) = sends.next().await {
        assert!(report.response.len() <= 16 * 1024);
    }
}

#[test]
fn floods_are_not_held() {
    in_a_child("memory::child_that_is_flooded", &[]);
}

#[tokio::test]
#[ignore = "another test runs it in a process of its own"]
async fn child_that_is_flooded() {
    let mut kept = Vec::new();
    let mut receivers = Vec::new();
    for (head, again) in FLOODS {
        let behaviour = move |stream: &mut dyn Stream| {
            let many = again.repeat(1024);
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(many.as_bytes()).is_ok() {}
        };
        let plain = Receiver::doing(move |stream| behaviour(stream));
        receivers.extend([plain.url(), format!("https://{}/", https_doing(behaviour))]);
        kept.push(plain);
    }
    let sender = believing(Duration::from_secs(2));
    // Once for what stays: threads, certificates, the allocator's own.
    ask(&sender, &receivers, 1).await;
    let before = kib("VmRSS");
    ask(&sender, &receivers, 10).await;
    let grown = kib("VmHWM").saturating_sub(before);
    assert!(grown < ALLOWED_KIB, "{grown} KiB more than the {before} KiB before");
}
