//! Answer of a receiver, or the error without one, as a text that can be stored and shown.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Extensions, HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use jiff::Timestamp;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use super::UnsupportedEvent;
use super::connect::ConnectError;
use super::connection::StatusSniffer;
use crate::domain::{AttemptError, retry_after};

/// Maximum size of the stored part of an answer in bytes.
const MAX_KEPT: usize = 16 * 1024;

/// Returns the report of an attempt that got the head of an answer.
pub(super) struct ReceivedResponse {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) text: String,
}

impl ReceivedResponse {
    /// Reads the beginning of the body, for no longer than `limit`, and lets go of the rest with its connection.
    pub(super) async fn read(mut response: Response<Incoming>, limit: Duration, now: Timestamp) -> Self {
        let status = response.status();
        let retry_after = hint(status, response.headers(), now);
        let mut kept = Vec::new();
        let reading = async {
            // The head decides the outcome: a broken body counts as ended.
            while kept.len() < MAX_KEPT
                && let Some(Ok(frame)) = response.frame().await
            {
                if let Some(chunk) = frame.data_ref() {
                    let space = MAX_KEPT - kept.len();
                    kept.extend_from_slice(&chunk[..chunk.len().min(space)]);
                }
                // Otherwise a body of many small pieces that are available at once would never let the timer run.
                consume_budget().await;
            }
        };
        let _ = timeout(limit, reading).await;
        Self { status, retry_after, text: text(&kept) }
    }

    /// Returns an answer whose head is complete but declares an impossible body. The status counts whatever the body
    /// does.
    pub(super) fn from_invalid_head(error: &legacy::Error) -> Option<Self> {
        let error_in_http = causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>())?;
        let text = error_in_http.to_string();
        let mut extras = Extensions::new();
        error.connect_info()?.get_extras(&mut extras);
        let seen: &StatusSniffer = extras.get()?;
        let came = text == IMPOSSIBLE_LENGTH || (error_in_http.is_parse_too_large() && seen.is_whole());
        came.then_some(Self { status: seen.status()?, retry_after: None, text })
    }
}

/// Text of the HTTP library for most impossible lengths; some count as too large, like a head. The library has no
/// type for this; a test checks the text.
const IMPOSSIBLE_LENGTH: &str = "invalid content-length parsed";

/// Text that every store can hold: no byte is invalid, none is NUL, and it is not longer than what was read.
fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.retain(|c| c != '\0');
    text.truncate(text.floor_char_boundary(MAX_KEPT));
    text
}

/// Time of `Retry-After` of an overloaded receiver; `None` if it cannot be read.
fn hint(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// Returns the report of an attempt without an answer.
#[derive(Debug)]
pub(super) struct SendFailure {
    pub(super) error: AttemptError,
    pub(super) text: String,
}

impl SendFailure {
    /// No head of an answer came within the attempt's timeout.
    pub(super) fn timeout(limit: Duration) -> Self {
        Self { error: AttemptError::Timeout, text: format!("no answer within {limit:?}") }
    }

    /// The URL is valid by the URL standard but not for HTTP.
    pub(super) fn unwritable() -> Self {
        Self {
            error: AttemptError::Refused,
            text: "the endpoint's url cannot be written into a request; it may be too long".to_owned(),
        }
    }
}

impl From<UnsupportedEvent> for SendFailure {
    fn from(unsendable: UnsupportedEvent) -> Self {
        Self { error: AttemptError::Refused, text: unsendable.to_string() }
    }
}

impl From<legacy::Error> for SendFailure {
    fn from(error: legacy::Error) -> Self {
        Self { error: kind(&error), text: text(words(&error).as_bytes()) }
    }
}

fn kind(error: &legacy::Error) -> AttemptError {
    if let Some(why) = causes(error).find_map(|cause| cause.downcast_ref::<ConnectError>()) {
        why.kind()
    } else if causes(error).any(<dyn StdError>::is::<rustls::Error>) {
        AttemptError::Tls
    } else if error.is_connect() {
        AttemptError::Connect
    } else if causes(error).any(is_timeout) {
        AttemptError::Timeout
    } else {
        AttemptError::Protocol
    }
}

/// The system or the HTTP library found that the other side is silent.
fn is_timeout(cause: &(dyn StdError + 'static)) -> bool {
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout)
        || cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Returns whether the receiver stated by HTTP/2 that it did not process the request: it was closing the connection,
/// or had too many streams.
pub(super) fn was_not_begun(error: &legacy::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<h2::Error>()).any(|error| {
        error.is_remote()
            && ((error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR))
                || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)))
    })
}

/// Returns an error and its causes.
fn causes(error: &legacy::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |cause| beneath(*cause))
}

/// `source` of an I/O error leaves out the error that it wraps.
fn beneath<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => cause.source(),
    }
}

/// Text of the error, without the outer layers that only name parts of the library, and without repetitions.
fn words(error: &legacy::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in causes(error).map(ToString::to_string) {
        let says_nothing = part.starts_with("client error (");
        if !says_nothing && !parts.iter().any(|said| said.contains(&part)) {
            parts.push(part);
        }
    }
    if parts.is_empty() { error.to_string() } else { parts.join(": ") }
}
