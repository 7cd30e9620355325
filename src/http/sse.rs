//! Server-sent events.

use std::convert::Infallible;
use std::fmt::{Display, Write};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::respond::with_body;

/// Header with the id of the last event that a returning client has received.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Id of the last event that a reader has received: the header `Last-Event-ID`, else the parameter `lastEventId`, which
/// polyfills of `EventSource` send instead because older browsers cannot set headers.
pub(super) fn last_event_id(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let header = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
    header.or_else(|| {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == "lastEventId").map(|(_, value)| value.into_owned())
    })
}

/// Header that asks proxies not to buffer a stream.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Returns 200 with a stream, which is polled only when the client has taken what came before.
pub(super) fn response(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let body = Body::from_stream(chunks.map(Ok::<_, Infallible>));
    let mut response = with_body(StatusCode::OK, "text/event-stream", body);
    response.headers_mut().extend([UNBUFFERED]);
    response
}

/// Chunk of a stream: whole blocks only.
#[derive(Debug, Default)]
pub(super) struct SseChunk(String);

impl SseChunk {
    /// Adds an event with its id.
    #[must_use]
    pub(super) fn event(mut self, id: impl Display, name: &str, data: &impl Serialize) -> Self {
        // serde_json writes no line breaks.
        let data = serde_json::to_string(data).expect("our own documents are JSON");
        self.line("id", id);
        self.line("event", name);
        self.line("data", data);
        self.end()
    }

    /// Adds an event without an id: the client's position stays.
    #[must_use]
    pub(super) fn message(mut self, name: &str, data: &impl Serialize) -> Self {
        let data = serde_json::to_string(data).expect("our own documents are JSON");
        self.line("event", name);
        self.line("data", data);
        self.end()
    }

    /// Adds an event that only carries a position. By the standard a block with an id and no data is enough, but some clients
    /// pass it to the app as an event with empty data.
    #[must_use]
    pub(super) fn place(self, id: impl Display) -> Self {
        let cursor = json!({"cursor": id.to_string()});
        self.event(id, "cursor", &cursor)
    }

    /// Adds the delay before the client connects again.
    #[must_use]
    pub(super) fn retry(mut self, wait: Duration) -> Self {
        self.line("retry", wait.as_millis());
        self.end()
    }

    /// Adds a comment, which keeps proxies from closing the connection.
    #[must_use]
    pub(super) fn comment(mut self, text: &str) -> Self {
        self.line("", text);
        self.end()
    }

    fn line(&mut self, field: &str, value: impl Display) {
        writeln!(self.0, "{field}: {value}").expect("a text takes whatever is written");
    }

    fn end(mut self) -> Self {
        self.0.push('\n');
        self
    }
}

impl From<SseChunk> for Bytes {
    fn from(piece: SseChunk) -> Self {
        piece.0.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks() {
        let piece = SseChunk::default()
            .retry(Duration::from_secs(2))
            .place(7)
            .event(8, "a.b", &json!({"text": "two\nlines"}))
            .comment("ping");
        let expected = "retry: 2000\n\nid: 7\nevent: cursor\ndata: {\"cursor\":\"7\"}\n\nid: 8\nevent: a.b\ndata: {\"text\":\"two\\nlines\"}\n\n: ping\n\n";
        assert_eq!(Bytes::from(piece), expected);
    }
}
