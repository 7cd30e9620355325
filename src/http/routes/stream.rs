//! `/v1/events/stream`: events as server-sent events.
//!
//! A stream has no queue. It reads a page from the store when its client has taken the one before, so that a slow
//! client costs a page of memory and delays no other. A client that takes no bytes loses its connection
//! (`http/write_timeout.rs`) and continues from its cursor later.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::HeaderMap;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::reading::{self, EventsState};
use crate::domain::{Cursor, CursorStatus, EventFilter, Invalid, Order, RetainedRange};
use crate::http::auth::Caller;
use crate::http::extract::Params;
use crate::http::problem::Problem;
use crate::http::sse::{self, LAST_EVENT_ID, SseChunk};
use crate::notifier::Subscriber;
use crate::store::StoreError;
use crate::telemetry::WaiterGuard;

/// Interval of comments on a quiet stream. The cursor is sent with them when it has moved.
const PING: Duration = Duration::from_secs(15);

/// Time after which a stream reads again without a notification. A lost LISTEN connection wakes all streams; this is
/// a safeguard.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Pause after the store could not be read.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Delay before a client connects again whose connection ended without a `retry`.
const COME_BACK: Duration = Duration::from_secs(2);

/// `GET /v1/events/stream`
pub(in crate::http) async fn stream(
    State(state): State<Arc<EventsState>>,
    caller: Caller,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let (asked, mut filter) = parse(&headers, params)?;
    caller.narrow(&mut filter);
    let permits = state.streams.open()?;
    let reader = StreamReader::open(state, caller, asked, filter, permits).await?;
    Ok(sse::response(unfold(reader, |mut reader| async { Some((reader.next().await?, reader)) })))
}

fn parse(headers: &HeaderMap, mut params: Params) -> Result<(Option<Cursor>, EventFilter), Problem> {
    let after = params.one::<Cursor>("after")?;
    // Polyfills of `EventSource` add the id as a parameter to the URL that they were given.
    let again = params.one::<LastEventId>("lastEventId")?.and_then(|id| id.0);
    let filter = reading::filter(Order::Ascending { after: Cursor::default() }, &mut params)?;
    params.finish()?;
    // A returning client repeats the URL of its first request; the id that it has received since is newer.
    Ok((last_event_id(headers)?.or(again).or(after), filter))
}

/// Returns the id that a client sends back. By the standard an empty one means none.
fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let mut all = headers.get_all(LAST_EVENT_ID).iter();
    let text = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().unwrap_or("?"),
        (Some(_), Some(_)) => return Err(Problem::bad_request("there are two Last-Event-ID lines")),
    };
    let parsed: Result<LastEventId, _> = text.parse();
    parsed.map(|id| id.0).map_err(|e| Problem::bad_request(format!("the Last-Event-ID is wrong: {e}")))
}

/// Id of the last event; `None` when it is empty.
struct LastEventId(Option<Cursor>);

impl FromStr for LastEventId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|cursor| Self(Some(cursor))) }
    }
}

/// Next step of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Read: there may be new events.
    Look,
    /// Wait: there were no more.
    Wait,
    /// Wait and read again: the store was not available.
    Retry,
    /// End.
    End,
}

/// One stream.
struct StreamReader {
    state: Arc<EventsState>,
    /// Caller, whose key can be revoked while the stream is open.
    caller: Caller,
    filter: EventFilter,
    watcher: Subscriber,
    /// First block.
    greeting: Option<SseChunk>,
    /// Cursor of the last event that was read.
    place: Cursor,
    /// Cursor up to which events were sent, or reported as filtered out.
    told: Cursor,
    next: Next,
    /// True while it reads events from before it was opened, which may be pruned meanwhile.
    catching_up: bool,
    _counted: WaiterGuard,
    _permit: OwnedSemaphorePermit,
}

impl StreamReader {
    async fn open(
        state: Arc<EventsState>,
        caller: Caller,
        asked: Option<Cursor>,
        filter: EventFilter,
        permits: OwnedSemaphorePermit,
    ) -> Result<Self, Problem> {
        // The subscription comes before the read: an event stored in between wakes it.
        let watcher = state.context.notifier.watch_events();
        let counted = state.context.metrics.waiter();
        // Read in any case: a stream must not begin with 200 while the store is not available.
        let kept = state.context.store.kept().await?;
        let place = asked.unwrap_or(kept.newest);
        // Without its cursor, a client that came with none and was cut off before the first event would miss events
        // stored
        // meanwhile.
        let greeting = SseChunk::default().retry(COME_BACK).place(place);
        Ok(Self {
            state,
            caller,
            filter,
            watcher,
            greeting: Some(greeting),
            place,
            told: place,
            next: Next::Look,
            catching_up: asked.is_some(),
            _counted: counted,
            _permit: permits,
        })
    }

    /// Returns the next chunk as soon as there is one.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting.into());
        }
        let state = Arc::clone(&self.state);
        let soft = state.context.lifecycle.soft();
        let mut quiet = state.context.clock.sleep(PING);
        loop {
            if self.next == Next::End {
                return None;
            }
            if self.next != Next::Wait {
                match soft.run_until_cancelled(self.look()).await {
                    Some(Ok(Some(piece))) => return Some(piece.into()),
                    Some(Ok(None)) => {}
                    Some(Err(e)) => self.complain(&e),
                    None => return Some(self.farewell()),
                }
            }
            let pause = if self.next == Next::Retry { RETRY_DELAY } else { POLL_INTERVAL };
            if self.next == Next::End {
                return None;
            }
            tokio::select! {
                () = soft.cancelled() => return Some(self.farewell()),
                () = self.watcher.woken() => {}
                () = tokio::time::sleep(pause) => {}
                () = &mut quiet => return Some(self.ping()),
            }
            if self.next == Next::Wait {
                self.next = Next::Look;
            }
        }
    }

    /// Reads the next page.
    async fn look(&mut self) -> Result<Option<SseChunk>, StoreError> {
        let state = Arc::clone(&self.state);
        let _turn = state.streams.read().await;
        self.filter.order = Order::Ascending { after: self.place };
        let page = state.context.store.events(&self.filter).await?;
        // Read after the page, so that events pruned before it are noticed.
        if self.catching_up {
            let kept = state.context.store.kept().await?;
            if let Some(reason) = self.lost(kept) {
                return Ok(Some(self.resync(reason, kept)));
            }
        } else if page.data.is_empty() && page.cursor == self.place {
            // Nothing moved: the store may have been set back to a time before this position.
            let kept = state.context.store.kept().await?;
            if kept.standing(self.place) == CursorStatus::Foreign {
                return Ok(Some(self.resync("unknown", kept)));
            }
        }
        self.next = if page.has_more { Next::Look } else { Next::Wait };
        self.catching_up = page.has_more;
        self.place = page.cursor;
        let Some(last) = page.data.last() else { return Ok(None) };
        if self.caller.still_good().await.is_err() {
            // The stream ends here; a client that returns is told the reason.
            self.next = Next::End;
            return Ok(None);
        }
        self.told = last.cursor;
        let said = page.data.iter().fold(SseChunk::default(), |piece, event| {
            piece.event(event.cursor, event.event_type.as_str(), event)
        });
        Ok(Some(said))
    }

    /// Reason why events after the cursor may be missing, if so.
    fn lost(&self, kept: RetainedRange) -> Option<&'static str> {
        match kept.standing(self.place) {
            CursorStatus::Good => None,
            CursorStatus::Pruned => Some("pruned"),
            CursorStatus::Foreign => Some("unknown"),
        }
    }

    /// Tells the client to begin anew, and continues from the oldest event.
    fn resync(&mut self, reason: &str, kept: RetainedRange) -> SseChunk {
        let asked = std::mem::replace(&mut self.place, kept.before_oldest());
        self.told = self.place;
        self.next = Next::Look;
        self.catching_up = true;
        let data = json!({"reason": reason, "asked": asked, "oldest": kept.oldest});
        SseChunk::default().event(self.place, "resync", &data)
    }

    /// Returns a comment, and the cursor if it has moved over events that the filter leaves out.
    fn ping(&mut self) -> Bytes {
        let ping = SseChunk::default().comment("ping");
        let moved = self.told < self.place;
        self.told = self.place;
        if moved { ping.place(self.place).into() } else { ping.into() }
    }

    /// Ends the stream with a random delay, so that clients do not all connect again at once.
    fn farewell(&mut self) -> Bytes {
        self.next = Next::End;
        let mut farewell = SseChunk::default().comment("stopping");
        if self.told < self.place {
            farewell = farewell.place(self.place);
        }
        farewell.retry(COME_BACK.mul_f64(0.5 + 2.0 * self.state.context.rng.fraction())).into()
    }

    fn complain(&mut self, e: &StoreError) {
        if std::mem::replace(&mut self.next, Next::Retry) != Next::Retry {
            tracing::warn!(error = %e, "failed to read events for a stream; trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, ids: &[&'static str]) -> Result<Option<i64>, u16> {
        let headers = ids.iter().map(|id| (LAST_EVENT_ID, http::HeaderValue::from_static(id)));
        let parsed = Params::parse(query).and_then(|params| {
            let mut all = HeaderMap::new();
            for (name, value) in headers {
                all.append(name, value);
            }
            parse(&all, params)
        });
        parsed.map(|(asked, _)| asked.map(|cursor| cursor.0)).map_err(|problem| problem.status().as_u16())
    }

    #[rstest::rstest]
    #[case("", &[], Ok(None))]
    #[case("after=5", &[], Ok(Some(5)))]
    #[case("after=5", &["7"], Ok(Some(7)))]
    #[case("after=5", &["3"], Ok(Some(3)))]
    #[case("after=5", &[""], Ok(Some(5)))]
    #[case("", &["0"], Ok(Some(0)))]
    #[case("type=remauth.subscribed&type=remauth.expired&service=a&uaid=b83ee873a9b44f2083c130db24dfbe91", &[], Ok(None))]
    #[case("after=0&lastEventId=2", &[], Ok(Some(2)))]
    #[case("lastEventId=2", &["7"], Ok(Some(7)))]
    #[case("after=5&lastEventId=", &[], Ok(Some(5)))]
    #[case("lastEventId=x", &[], Err(400))]
    #[case("after=x", &["7"], Err(400))]
    #[case("after=5", &["x"], Err(400))]
    #[case("", &["-1"], Err(400))]
    #[case("", &["7", "7"], Err(400))]
    #[case("limit=5", &[], Err(400))]
    #[case("wait=5", &[], Err(400))]
    #[case("since=2026-11-22T21:04:05Z", &[], Err(400))]
    #[case("type=nonsense", &[], Err(400))]
    fn places(#[case] query: &str, #[case] ids: &[&'static str], #[case] asked: Result<Option<i64>, u16>) {
        assert_eq!(read(query, ids), asked);
    }
}
