//! What the benchmark is made of. It looks at the binary from outside only, as an operator's load would.

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

/// Where `needle` begins in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// How many bytes the first HTTP message in `bytes` has, when all of it is there: by its `content-length`.
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
