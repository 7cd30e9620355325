//! Parts of the benchmarks. They use the binary from outside only, as an operator's load would.

pub(crate) mod endpoint;
pub(crate) mod gateway;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod measure;
pub(crate) mod report;
#[path = "../../tests/it/support/postgres/server.rs"]
#[expect(dead_code, reason = "the benchmark never takes the database away")]
pub(crate) mod server;

use std::time::Instant;

use remgate::domain::{Clock, SystemClock};

/// A point on the monotonic clock.
pub(crate) fn now() -> Instant {
    SystemClock.instant()
}

/// Returns the position of `needle` in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// Returns the length of the first HTTP message in `bytes` by its `content-length`, if the message is complete.
pub(crate) fn message_length(bytes: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let lines = bytes[..head].split(|byte| *byte == b'\n');
    let value = lines
        .filter_map(|line| line.split_at_checked(NAME.len()))
        .find_map(|(name, value)| name.eq_ignore_ascii_case(NAME).then_some(value));
    let digits = value.unwrap_or_default().iter().filter(|byte| byte.is_ascii_digit());
    let body = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    (bytes.len() >= head + body).then_some(head + body)
}
