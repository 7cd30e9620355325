//! What came back: the beginning of an answer, or why there was none, in words that can be stored and shown.

use std::error::Error as StdError;
use std::io;
use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use reqwest::Response;
use tokio::time::timeout;

use super::{Refusal, Unsendable};
use crate::domain::AttemptError;

/// The most of an answer that is read and kept.
const MAX_KEPT: usize = 16 * 1024;

/// An attempt that got the head of an answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) text: String,
}

impl Answer {
    /// Reads the beginning of the body, for no longer than `patience`, and lets go of the rest with its connection.
    pub(super) async fn read(mut response: Response, patience: Duration, now: Timestamp) -> Self {
        let status = response.status();
        let retry_after = retry_after(status, response.headers(), now);
        let mut kept = Vec::new();
        let reading = async {
            // The head has decided already: a body that breaks is one that ends.
            while kept.len() < MAX_KEPT
                && let Ok(Some(chunk)) = response.chunk().await
            {
                let room = MAX_KEPT - kept.len();
                kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
        };
        let _ = timeout(patience, reading).await;
        Self { status, retry_after, text: text(&kept) }
    }
}

/// Text that every store can hold: no byte is invalid, none is NUL, and it is not longer than what was read.
fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.retain(|c| c != '\0');
    text.truncate(text.floor_char_boundary(MAX_KEPT));
    text
}

/// How long a receiver that is overloaded asks us to wait; nothing when it does not say so in a readable way.
fn retry_after(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let hint = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !hint.is_empty() && hint.bytes().all(|b| b.is_ascii_digit()) {
        // More than that many seconds is longer than anybody waits.
        return Some(Duration::from_secs(hint.parse::<u32>().unwrap_or(u32::MAX).into()));
    }
    let then = httpdate::parse_http_date(hint).ok()?;
    Some(then.duration_since(SystemTime::from(now)).unwrap_or_default())
}

/// An attempt that got no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: AttemptError,
    pub(super) text: String,
}

impl Failure {
    /// No head of an answer came within the time for the whole attempt.
    pub(super) fn timeout(limit: Duration) -> Self {
        Self { error: AttemptError::Timeout, text: format!("no answer within {limit:?}") }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { error: AttemptError::Refused, text: refusal.to_string() }
    }
}

impl From<Unsendable> for Failure {
    fn from(unsendable: Unsendable) -> Self {
        Self { error: AttemptError::Refused, text: unsendable.to_string() }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // The URL's query may be the receiver's secret.
        let error = error.without_url();
        if let Some(refusal) = causes(&error).find_map(|cause| cause.downcast_ref::<Refusal>()) {
            return refusal.clone().into();
        }
        let kind = kind(&error);
        if kind == AttemptError::Connect && error.is_timeout() {
            return Self { error: kind, text: "no connection in time".to_owned() };
        }
        Self { error: kind, text: text(words(&error).as_bytes()) }
    }
}

fn kind(error: &reqwest::Error) -> AttemptError {
    if error.is_dns() {
        AttemptError::Dns
    } else if causes(error).any(<dyn StdError>::is::<rustls::Error>) {
        AttemptError::Tls
    } else if error.is_connect() {
        AttemptError::Connect
    } else if error.is_timeout() {
        AttemptError::Timeout
    } else {
        AttemptError::Protocol
    }
}

/// An error and all that lies beneath it.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |cause| beneath(*cause))
}

/// An I/O error hides what it wraps from `source`, so it is asked for that.
fn beneath<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => cause.source(),
    }
}

/// What the error says, without the outer layers that only name the library's parts, and nothing twice.
fn words(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in causes(error).map(ToString::to_string) {
        let says_nothing = part.starts_with("error sending request") || part.starts_with("client error (");
        if !says_nothing && !parts.iter().any(|said| said.contains(&part)) {
            parts.push(part);
        }
    }
    if parts.is_empty() { error.to_string() } else { parts.join(": ") }
}
